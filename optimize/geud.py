"""The generalised equivalent uniform dose: its value, and the tangent that a linear limit on it needs.

For a >= 1 the gEUD is convex in the doses and for a <= 1 (0 left out) concave: it is a norm, or a power mean, of
non-negative numbers (Choi and Deasy, Phys Med Biol 47:3579, 2002). So an upper limit is convex for a >= 1, a lower one
for a <= 1, and the tangent at any dose is a cut that no plan within the limit violates.
"""

from __future__ import annotations

import math

import numpy as np
import numpy.typing as npt

from dosecalc.errors import InputError

from .voxel_doses import checked


def geud(dose_gy: npt.ArrayLike, cc: npt.ArrayLike, a: float) -> float:
    """Generalised equivalent uniform dose (sum v_i d_i^a)^(1/a), v_i the shares of the volume.

    Niemierko, Med Phys 26:1100 (1999). a = 1 is the mean; the maximum is its limit for large a, the minimum that for
    large negative a.

    Parameters
    ----------
    dose_gy, cc : (n,) array
        Dose (physical or biological) and volume of each voxel.
    a : float
        Not 0; 1/n of the Lyman model.

    Returns
    -------
    float
        In the unit of the doses; 0 for negative `a` where a voxel has no dose.

    Raises
    ------
    InputError
        `a` is 0 or not finite, or doses and volumes cannot be used.
    """
    dose, volume = checked(dose_gy, cc)
    _check_exponent(a)
    pivot = float(dose.max() if a > 0 else dose.min())
    if pivot <= 0:
        return 0.0
    # Relative to the largest term, so that no power overflows.
    return float(pivot * np.average((dose / pivot) ** a, weights=volume) ** (1.0 / a))


def _check_exponent(a: float) -> None:
    if not (math.isfinite(a) and a != 0):
        raise InputError(f"the exponent of a gEUD must be finite and not 0, got {a!r}.")

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

from .voxel_doses import Float64Array, checked


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


def geud_tangent(dose_gy: npt.ArrayLike, cc: npt.ArrayLike, a: float) -> tuple[float, Float64Array]:
    """The gEUD and its slope at a dose: d gEUD / d d_i = v_i (d_i / gEUD)^(a - 1), v_i the shares of the volume.

    The gEUD is homogeneous of degree one, so the tangent passes through the origin: slope @ dose is the gEUD itself,
    and slope @ d <= gEUD(d) for every d >= 0 where a >= 1 (>= where a <= 1).

    Parameters
    ----------
    dose_gy, cc, a
        As for `geud`.

    Returns
    -------
    value : float
        In the unit of the doses.
    slope : (n,) float64
        Where the gEUD is 0 that of the mean for a >= 1, a valid slope there too; zeros for a < 1, where none is known.

    Raises
    ------
    InputError
        As `geud`.
    """
    dose, volume = checked(dose_gy, cc)
    value, shares = geud(dose, volume, a), volume / volume.sum()
    if value <= 0:
        return 0.0, shares if a >= 1 else np.zeros(dose.size)
    return value, shares * (dose / value) ** (a - 1.0)


def _check_exponent(a: float) -> None:
    if not (math.isfinite(a) and a != 0):
        raise InputError(f"the exponent of a gEUD must be finite and not 0, got {a!r}.")

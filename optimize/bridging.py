"""Dose between lesions: the highest isodose surface that joins them."""

from __future__ import annotations

from itertools import combinations
from typing import Any

import numpy as np
import numpy.typing as npt
from scipy import ndimage

from dosecalc.grid import Volume

BRIDGE_STEPS = 20
"""Halvings of the range of doses: a millionth of the highest."""


def bridging_dose_gy(dose: Volume, first: npt.ArrayLike, second: npt.ArrayLike) -> float:
    """The highest dose at which one isodose surface holds voxels of both regions.

    Parameters
    ----------
    dose : Volume
        Course-total Gy.
    first, second : (n,) int
        C-order flat voxel indices of the regions.

    Returns
    -------
    float
        The dose D for which some voxel of each lies in one face-connected part of {dose >= D}, and for no higher
        one: on the best path from one region to the other the lowest dose is D.
    """
    values: npt.NDArray[Any] = np.asarray(dose.values)
    a, b = np.asarray(first), np.asarray(second)
    low, high = 0.0, float(values.max())
    for _ in range(BRIDGE_STEPS):
        middle = 0.5 * (low + high)
        parts = ndimage.label(values >= middle)[0].reshape(-1)
        joined = np.intersect1d(parts[a][parts[a] > 0], parts[b][parts[b] > 0]).size > 0
        low, high = (middle, high) if joined else (low, middle)
    return low


def bridging_lines(dose: Volume, lesions: dict[str, npt.NDArray[np.int64]], prescribed_gy: float) -> tuple[str, ...]:
    """One sentence for each pair of lesions."""
    told = []
    for first, second in combinations(lesions, 2):
        bridge = bridging_dose_gy(dose, lesions[first], lesions[second])
        share = f" ({bridge / prescribed_gy:.0%} of the reached dose)" if prescribed_gy > 0 else ""
        told.append(f"{first} and {second}: the isodose of {bridge:.1f} Gy{share} and all lower ones join them.")
    return tuple(told)

"""Compiled twins of `numpy_places`, which documents them."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
from numba import njit, prange

Array = npt.NDArray[Any]


@njit(parallel=True, cache=True, error_model="numpy")
def project(points_mm: Array, isocentre_mm: Array, axes: Array, sad_mm: float) -> tuple[Array, Array, Array]:
    u_mm, v_mm, magnification = np.empty(len(points_mm)), np.empty(len(points_mm)), np.empty(len(points_mm))
    for n in prange(len(points_mm)):
        x = points_mm[n, 0] - isocentre_mm[0]
        y = points_mm[n, 1] - isocentre_mm[1]
        z = points_mm[n, 2] - isocentre_mm[2]
        magnification[n] = (sad_mm - (x * axes[0, 2] + y * axes[1, 2] + z * axes[2, 2])) / sad_mm
        u_mm[n] = (x * axes[0, 0] + y * axes[1, 0] + z * axes[2, 0]) / magnification[n]
        v_mm[n] = (x * axes[0, 1] + y * axes[1, 1] + z * axes[2, 1]) / magnification[n]
    return u_mm, v_mm, magnification

"""Compiled twin of `numpy_gamma`, which documents it."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
from numba import njit, prange

Array = npt.NDArray[Any]


@njit(parallel=True, cache=True)
def gamma_search(
    dose: Array,
    points: Array,
    expected: Array,
    criterion: Array,
    offsets: Array,
    scale: Array,
    step: float,
    most: float,
) -> Array:
    last_x, last_y, last_z = dose.shape[2] - 1, dose.shape[1] - 1, dose.shape[0] - 1
    nearest = np.empty(len(offsets))
    for m in range(len(offsets)):
        r = offsets[m]
        nearest[m] = max(0.0, np.sqrt(r[0] * r[0] + r[1] * r[1] + r[2] * r[2]) - np.sqrt(3.0) * step) ** 2
    gamma = np.empty(len(points))
    for n in prange(len(points)):
        best = most * most
        for m in range(len(offsets)):
            if nearest[m] >= best:
                break
            r = offsets[m]
            x, y, z = points[n, 0] + r[0] * scale[0], points[n, 1] + r[1] * scale[1], points[n, 2] + r[2] * scale[2]
            if 0 <= x <= last_x and 0 <= y <= last_y and 0 <= z <= last_z:
                best = min(best, _least_around(dose, (x, y, z), expected[n], criterion[n], r, scale, step))
        gamma[n] = np.sqrt(best)
    return gamma


@njit(cache=True)
def _least_around(
    dose: Array,
    place: tuple[float, float, float],
    expected: float,
    criterion: float,
    offset: Array,
    scale: Array,
    step: float,
) -> float:
    x, y, z = place
    i, j, k = _cell(x, dose.shape[2]), _cell(y, dose.shape[1]), _cell(z, dose.shape[0])
    value, along_x, along_y, along_z = _linear(dose, i, j, k, x - i, y - j, z - k)
    excess = (value - expected) / criterion
    gx, gy, gz = along_x * scale[0] / criterion, along_y * scale[1] / criterion, along_z * scale[2] / criterion
    pull = (excess - (gx * offset[0] + gy * offset[1] + gz * offset[2])) / (1.0 + (gx * gx + gy * gy + gz * gz))
    dx = _cut(-offset[0] - gx * pull, step, (i - x) / scale[0], (i + 1 - x) / scale[0])
    dy = _cut(-offset[1] - gy * pull, step, (j - y) / scale[1], (j + 1 - y) / scale[1])
    dz = _cut(-offset[2] - gz * pull, step, (k - z) / scale[2], (k + 1 - z) / scale[2])
    rx, ry, rz = offset[0] + dx, offset[1] + dy, offset[2] + dz
    left = excess + (gx * dx + gy * dy + gz * dz)
    return rx * rx + ry * ry + rz * rz + left * left


@njit(cache=True, inline="always")
def _cell(place: float, count: int) -> int:
    return min(int(place), max(count - 2, 0))


@njit(cache=True, inline="always")
def _cut(wished: float, step: float, low: float, high: float) -> float:
    return min(max(wished, max(-step, low)), min(step, high))


@njit(cache=True)
def _linear(dose: Array, i: int, j: int, k: int, x: float, y: float, z: float) -> tuple[float, float, float, float]:
    right, behind, over = min(i + 1, dose.shape[2] - 1), min(j + 1, dose.shape[1] - 1), min(k + 1, dose.shape[0] - 1)
    s0, s1, s2, s3 = dose[k, j, i], dose[k, behind, i], dose[over, j, i], dose[over, behind, i]
    d0, d1 = dose[k, j, right] - s0, dose[k, behind, right] - s1
    d2, d3 = dose[over, j, right] - s2, dose[over, behind, right] - s3
    l0, l1, l2, l3 = s0 + d0 * x, s1 + d1 * x, s2 + d2 * x, s3 + d3 * x
    below, above = l0 + (l1 - l0) * y, l2 + (l3 - l2) * y
    along_x = (d0 + (d1 - d0) * y) * (1.0 - z) + (d2 + (d3 - d2) * y) * z
    along_y = (l1 - l0) * (1.0 - z) + (l3 - l2) * z
    return below + (above - below) * z, along_x, along_y, above - below

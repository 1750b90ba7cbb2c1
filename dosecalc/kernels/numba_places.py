"""Compiled twins of `numpy_places`, which documents them."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import numpy.typing as npt
from numba import njit, prange

Array = npt.NDArray[Any]

POLE = math.sqrt(8.0) - 3.0
"""Of the quadratic spline's recursive filter: Unser, IEEE Signal Process Mag 16(6):22 (1999), box 2."""
GAIN = (1.0 - POLE) * (1.0 - 1.0 / POLE)
REACH = 50
"""Nodes: POLE to the power of REACH is nothing beside 1."""
SIDE_BY_SIDE = 64
"""Axes that are filtered together, in vector lanes."""


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


def spline_coefficients(values: Array, negligible: float, real: npt.DTypeLike) -> Array:
    result = np.empty(values.shape, real)
    _spline_coefficients(values.reshape(len(values), -1), negligible, result.reshape(len(values), -1))
    return result


@njit(parallel=True, cache=True)
def _spline_coefficients(values: Array, negligible: float, result: Array) -> None:
    columns = values.shape[1]
    for block in prange((columns + SIDE_BY_SIDE - 1) // SIDE_BY_SIDE):
        own = slice(block * SIDE_BY_SIDE, min((block + 1) * SIDE_BY_SIDE, columns))
        filtered = _filtered(values[:, own])
        for k in range(len(values)):
            for m in range(filtered.shape[1]):
                value = GAIN * filtered[k, m]
                result[k, own.start + m] = value if abs(value) >= negligible else 0.0


@njit(cache=True)
def _filtered(values: Array) -> Array:
    """The recursive filter down the first axis and up again, without its gain; lanes across the second."""
    last, (nodes, columns) = len(values) - 1, values.shape
    filtered = np.empty((nodes, columns))
    filtered[0] = values[0] + POLE**last * values[last]
    for k in range(1, last):
        # The axis mirrored at its end is back at its begin after 2 last nodes.
        power = (POLE**k if k < REACH else 0.0) + (POLE ** (2 * last - k) if 2 * last - k < REACH else 0.0)
        if power != 0.0:
            for m in range(columns):
                filtered[0, m] += power * values[k, m]
    filtered[0] /= 1.0 - POLE ** (2 * last)
    for k in range(1, nodes):
        for m in range(columns):
            filtered[k, m] = values[k, m] + POLE * filtered[k - 1, m]
    for m in range(columns):
        filtered[last, m] = POLE / (POLE * POLE - 1.0) * (filtered[last, m] + POLE * filtered[last - 1, m])
    for k in range(last - 1, -1, -1):
        for m in range(columns):
            filtered[k, m] = POLE * (filtered[k + 1, m] - filtered[k, m])
    return filtered

"""Compiled twins of `numpy_pairs`, which documents them: the direct sum of error functions."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import numpy.typing as npt
from numba import njit, prange

from .error_function import END, erf
from .numba_lanes import LANES, add_scaled, lanes, load, minus, store, times
from .numba_profiles import BLOCK, buffers, cells, products

Array = npt.NDArray[Any]
Axis = tuple[Array, Array, Array, Array]

# Unsigned, as all that indices are made of: a signed index would be tested for counting from the end.
_1, _LANES = np.uint64(1), np.uint64(LANES)

POINT_SOURCE = 1e300
"""1 / (sqrt(2) sigma) of a point source: any offset but zero lies beyond `END`, and zero stays zero."""


def blurred_squares(t_mm: Array, centre_mm: Array, width_mm: Array, sigma_mm: Array) -> Array:
    axis, place = _axis(centre_mm, width_mm, sigma_mm)
    return _blurred_squares(np.asarray(t_mm, np.float64), axis, place)


@njit(parallel=True, cache=True)
def _blurred_squares(t_mm: Array, axis: Axis, place: Array) -> Array:
    components, edges = len(axis[2]), _edges(axis)
    result = np.empty((len(t_mm), components, len(place)))
    for block in prange((len(t_mm) + BLOCK - 1) // BLOCK):
        steps = np.empty(len(axis[0]))
        for n in range(block * BLOCK, min((block + 1) * BLOCK, len(t_mm))):
            _steps(t_mm[n], axis, 0, components * edges, steps)
            for c in range(components):
                for j in range(len(place)):
                    low = np.uint64(c * edges + place[j])
                    result[n, c, j] = 0.5 * (steps[low] - steps[low + _1])
    return result


def direct_dose(
    u_mm: Array,
    v_mm: Array,
    weights: Array,
    field: Array,
    columns: tuple[Array, Array, Array],
    rows: tuple[Array, Array, Array],
) -> Array:
    (across, column), (along, row) = _axis(*columns), _axis(*rows)
    # Whole lanes of it are read; beyond the beamlets it is zero.
    lattice = np.zeros((row[-1] + 1, -(-(column[-1] + 1) // LANES) * LANES))
    lattice[np.ix_(row, column)] = field
    dose: Array = _direct_dose(u_mm, v_mm, weights, lattice, across, along)
    return dose


def direct_rows(
    u_mm: Array,
    v_mm: Array,
    weights: Array,
    columns: tuple[Array, Array, Array],
    rows: tuple[Array, Array, Array],
    row: Array,
    column: Array,
    output: Array,
    result: Array,
) -> None:
    (across, place_u), (along, place_v) = _axis(*columns), _axis(*rows)
    _direct_rows(u_mm, v_mm, weights, across, along, place_v[row], place_u[column], output, result)


def _axis(centre: Array, width: Array, sigma: Array) -> tuple[Axis, Array]:
    """Edges along one axis, and between which of them and the next each beamlet lies, (J,).

    The edges are told for every component, one after the other, (C E,), and with them 1 / (sqrt(2) sigma), (C E,), both
    with as much again behind them as lanes may read; then from where to where the component sees anything of the
    beamlets, (C,) both. Beamlets that touch share an edge; between those that do not there is a space that is no
    beamlet's.
    """
    low, high = centre - width / 2, centre + width / 2
    own = np.append(True, np.abs(low[1:] - high[:-1]) > 1e-9)
    upper = np.cumsum(own) + np.arange(len(centre))
    edge = np.empty(upper[-1] + 1)
    edge[upper - 1], edge[upper] = low, high
    scale = np.full(len(sigma), POINT_SOURCE)
    np.divide(1.0 / math.sqrt(2.0), sigma, out=scale, where=sigma > 0)
    reach = edge.min() - END / scale, edge.max() + END / scale
    spare = np.zeros(LANES)
    edges, scales = np.append(np.tile(edge, len(sigma)), spare), np.append(np.repeat(scale, len(edge)), spare)
    return (edges, scales, *reach), upper - 1


@njit(cache=True)
def _edges(axis: Axis) -> int:
    return (len(axis[0]) - LANES) // len(axis[2])


@njit(cache=True)
def _first_seen(t: float, axis: Axis, first: int) -> int:
    """The first component, from a given one on, that sees anything of the beamlets."""
    nearest, furthest = axis[2], axis[3]
    while first < len(nearest) and not nearest[first] <= t <= furthest[first]:
        first += 1
    return first


@njit(cache=True)
def _last_used(weights: Array, n: int) -> int:
    """One more than the last component with a weight."""
    last = weights.shape[1]
    while last > 0 and weights[n, last - 1] == 0.0:
        last -= 1
    return last


@njit(cache=True)
def _steps(t: float, axis: Axis, begin: int, end: int, steps: Array) -> None:
    """Error function of the edges begin..end of all components as seen from t; a few behind them are written too."""
    for i in range(np.uint64(begin), np.uint64(end), _LANES):
        store(steps, i, erf(times(minus(lanes(t), load(axis[0], i)), load(axis[1], i))))


@njit(parallel=True, cache=True)
def _direct_dose(u_mm: Array, v_mm: Array, weights: Array, lattice: Array, columns: Axis, rows: Axis) -> Array:
    dose, wide, high = np.empty(len(u_mm)), _edges(columns), _edges(rows)
    flat, length, lines = lattice.reshape(lattice.size), np.uint64(lattice.shape[1]), np.uint64(lattice.shape[0])
    for block in prange((len(u_mm) + BLOCK - 1) // BLOCK):
        # Lanes are read from up to one lattice row behind the last component.
        across, along = np.zeros(len(columns[0]) + lattice.shape[1]), np.zeros(len(rows[0]))
        total = np.empty(LANES)
        for n in range(block * BLOCK, min((block + 1) * BLOCK, len(u_mm))):
            # Narrow components, which come first, see nothing of the field from most voxels.
            first = _first_seen(v_mm[n], rows, _first_seen(u_mm[n], columns, 0))
            last = _last_used(weights, n)
            _steps(u_mm[n], columns, first * wide, last * wide, across)
            _steps(v_mm[n], rows, first * high, last * high, along)
            parts = lanes(0.0)
            for k in range(np.uint64(0), length, _LANES):
                for c in range(np.uint64(first), np.uint64(last)):
                    line, at = lanes(0.0), c * np.uint64(high)
                    for j in range(lines):
                        line = add_scaled(line, along[at + j] - along[at + j + _1], load(flat, j * length + k))
                    at = c * np.uint64(wide) + k
                    seen = minus(load(across, at), load(across, at + _1))
                    parts = add_scaled(parts, weights[n, c], times(line, seen))
            store(total, np.uint64(0), parts)
            # Steps of the error function are twice as high as those of the blurred edges, along and across.
            dose[n] = 0.25 * total.sum()
    return dose


@njit(parallel=True, cache=True)
def _direct_rows(
    u_mm: Array,
    v_mm: Array,
    weights: Array,
    columns: Axis,
    rows: Axis,
    row: Array,
    column: Array,
    output: Array,
    result: Array,
) -> None:
    components, wide, high = weights.shape[1], _edges(columns), _edges(rows)
    for block in prange((len(u_mm) + BLOCK - 1) // BLOCK):
        steps_u, steps_v = np.empty(len(columns[0])), np.empty(len(rows[0]))
        across, along, lattice, length = buffers(components, high - 1, wide - 1, weights)
        size = np.uint64(high - 1), np.uint64(wide - 1)
        cell = cells(row, column, length)
        for n in range(block * BLOCK, min((block + 1) * BLOCK, len(u_mm))):
            _steps(u_mm[n], columns, 0, components * wide, steps_u)
            _steps(v_mm[n], rows, 0, components * high, steps_v)
            for c in range(components):
                for k in range(wide - 1):
                    across[c * (wide - 1) + k] = steps_u[c * wide + k] - steps_u[c * wide + k + 1]
                quarter = 0.25 * weights[n, c]
                for j in range(high - 1):
                    along[c * (high - 1) + j] = quarter * (steps_v[c * high + j] - steps_v[c * high + j + 1])
            products(along, across, size, np.uint64(components), length, lattice)
            for b in range(len(cell)):
                result[n, b] = lattice[cell[b]] * output[b]

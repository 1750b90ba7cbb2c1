"""Compiled twins of `numpy_pairs`, which documents them."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import numpy.typing as npt
from numba import njit, prange

from .error_function import END, erf

Array = npt.NDArray[Any]
Edges = tuple[Array, Array, Array]

# Sums over components and taps may be re-associated into vector lanes; nothing else is relaxed.
_LANES = {"reassoc", "contract"}

BLOCK = 128
"""Voxels that share one set of buffers."""
LANE = 8
"""Lattice lines are padded to this: loops over them then have no remainder to run in scalars."""
POINT_SOURCE = 1e300
"""1 / (sqrt(2) sigma) of a point source: any offset but zero lies beyond `END`, and zero stays zero."""


def direct_dose(
    u_mm: Array,
    v_mm: Array,
    weights: Array,
    field: Array,
    columns: tuple[Array, Array, Array],
    rows: tuple[Array, Array, Array],
) -> Array:
    across, along = _edges(columns[0], columns[1]), _edges(rows[0], rows[1])
    dose: Array = _direct_dose(u_mm, v_mm, weights, field, across, along, _scale(columns[2]), _scale(rows[2]))
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
    across, along = _edges(columns[0], columns[1]), _edges(rows[0], rows[1])
    scales = _scale(columns[2]), _scale(rows[2])
    _direct_rows(u_mm, v_mm, weights, across, along, *scales, row, column, output, result)


def _edges(centre: Array, width: Array) -> Edges:
    """Edges of the beamlets, those that touch once, and where the lower and the upper edge of each one stands."""
    low, high = centre - width / 2, centre + width / 2
    own = np.append(True, np.abs(low[1:] - high[:-1]) > 1e-9)
    upper = np.cumsum(own) + np.arange(len(centre))
    edge = np.empty(len(centre) + int(own.sum()))
    edge[upper - 1], edge[upper] = low, high
    return edge, upper - 1, upper


def _scale(sigma: Array) -> Array:
    """1 / (sqrt(2) sigma) of each component."""
    scale = np.full(len(sigma), POINT_SOURCE)
    return np.divide(1.0 / math.sqrt(2.0), sigma, out=scale, where=sigma > 0)


@njit(cache=True)
def _blurred(t: float, edges: Edges, scale: float, steps: Array, result: Array) -> bool:
    """One row of `blurred_squares`; False, and nothing written, where nothing of the beamlets is seen."""
    edge, lower, upper = edges
    if (t - edge[0]) * scale <= -END or (t - edge[-1]) * scale >= END:
        return False
    for e in range(len(edge)):
        steps[e] = erf((t - edge[e]) * scale)
    for j in range(len(lower)):
        result[j] = 0.5 * (steps[lower[j]] - steps[upper[j]])
    return True


@njit(parallel=True, cache=True, fastmath=_LANES)
def _direct_dose(
    u_mm: Array,
    v_mm: Array,
    weights: Array,
    field: Array,
    columns: Edges,
    rows: Edges,
    scale_u: Array,
    scale_v: Array,
) -> Array:
    dose = np.empty(len(u_mm))
    for block in prange((len(u_mm) + BLOCK - 1) // BLOCK):
        steps = np.empty(max(len(columns[0]), len(rows[0])))
        across, along = np.empty(len(columns[1])), np.empty(len(rows[1]))
        for n in range(block * BLOCK, min((block + 1) * BLOCK, len(u_mm))):
            total = 0.0
            for c in range(weights.shape[1]):
                # Narrow components see nothing of the field from most voxels.
                if not _blurred(u_mm[n], columns, scale_u[c], steps, across):
                    continue
                if not _blurred(v_mm[n], rows, scale_v[c], steps, along):
                    continue
                component = 0.0
                for j in range(len(along)):
                    if along[j] > 0.0:
                        line = 0.0
                        for k in range(len(across)):
                            line += field[j, k] * across[k]
                        component += along[j] * line
                total += weights[n, c] * component
            dose[n] = total
    return dose


@njit(parallel=True, cache=True, fastmath=_LANES)
def _direct_rows(
    u_mm: Array,
    v_mm: Array,
    weights: Array,
    columns: Edges,
    rows: Edges,
    scale_u: Array,
    scale_v: Array,
    row: Array,
    column: Array,
    output: Array,
    result: Array,
) -> None:
    components = weights.shape[1]
    for block in prange((len(u_mm) + BLOCK - 1) // BLOCK):
        steps = np.empty(max(len(columns[0]), len(rows[0])))
        across, along, lattice = _buffers(components, len(rows[1]), len(columns[1]), weights)
        flat, cell = lattice.reshape(lattice.size), _cells(row, column, lattice)
        for n in range(block * BLOCK, min((block + 1) * BLOCK, len(u_mm))):
            across[:], along[:] = 0.0, 0.0
            for c in range(components):
                _blurred(u_mm[n], columns, scale_u[c], steps, across[c])
                _blurred(v_mm[n], rows, scale_v[c], steps, along[c])
            _products(along, weights[n], across, lattice)
            for b in range(len(cell)):
                result[n, b] = flat[cell[b]] * output[b]


@njit(parallel=True, cache=True, fastmath=_LANES)
def spline_rows(
    table_v: Array,
    table_u: Array,
    iv: Array,
    iu: Array,
    fv: Array,
    fu: Array,
    weights: Array,
    row: Array,
    column: Array,
    output: Array,
    result: Array,
) -> None:
    for block in prange((len(iv) + BLOCK - 1) // BLOCK):
        across, along, lattice = _buffers(weights.shape[1], table_v.shape[2], table_u.shape[2], weights)
        flat, cell = lattice.reshape(lattice.size), _cells(row, column, lattice)
        for n in range(block * BLOCK, min((block + 1) * BLOCK, len(iv))):
            _read(table_u, iu[n], fu[n], across)
            _read(table_v, iv[n], fv[n], along)
            _products(along, weights[n], across, lattice)
            for b in range(len(cell)):
                result[n, b] = flat[cell[b]] * output[b]


@njit(cache=True)
def _buffers(components: int, lines: int, columns: int, like: Array) -> tuple[Array, Array, Array]:
    """Profiles across and along, and their products on the lattice; columns padded with zeros."""
    padded = (columns + LANE - 1) // LANE * LANE
    across = np.zeros((components, padded), like.dtype)
    return across, np.empty((components, lines), like.dtype), np.empty((lines, padded), like.dtype)


@njit(cache=True)
def _cells(row: Array, column: Array, lattice: Array) -> Array:
    """Where each beamlet's cell lies in the lattice, flat; unsigned indices spare the test for negative ones."""
    return (row * lattice.shape[1] + column).astype(np.uint64)


@njit(cache=True, fastmath=_LANES)
def _read(table: Array, node: int, offset: float, result: Array) -> None:
    """Table values (C, J) at one node and offset."""
    half = table.dtype.type(0.5)
    low = half * (half - offset) * (half - offset)
    here = table.dtype.type(0.75) - offset * offset
    high = half * (half + offset) * (half + offset)
    below, middle, above = np.uint64(node - 1), np.uint64(node), np.uint64(node + 1)
    for c in range(table.shape[1]):
        for j in range(table.shape[2]):
            result[c, j] = low * table[below, c, j] + here * table[middle, c, j] + high * table[above, c, j]


@njit(cache=True, fastmath=_LANES)
def _products(along: Array, weights: Array, across: Array, lattice: Array) -> None:
    """sum_c a_c E_v E_u, six components at a time: what is added to is then loaded and stored a sixth as often."""
    components, lines = along.shape
    for j in range(lines):
        for k in range(lattice.shape[1]):
            lattice[j, k] = 0.0
        for c in range(0, components - components % 6, 6):
            b, d, e = np.uint64(c), np.uint64(c + 1), np.uint64(c + 2)
            f, g, h = np.uint64(c + 3), np.uint64(c + 4), np.uint64(c + 5)
            ab, ad, ae = along[b, j] * weights[b], along[d, j] * weights[d], along[e, j] * weights[e]
            af, ag, ah = along[f, j] * weights[f], along[g, j] * weights[g], along[h, j] * weights[h]
            for k in range(lattice.shape[1]):
                lattice[j, k] += (
                    ab * across[b, k] + ad * across[d, k] + ae * across[e, k]
                    + af * across[f, k] + ag * across[g, k] + ah * across[h, k]
                )  # fmt: skip
        for c in range(components - components % 6, components):
            a = along[c, j] * weights[c]
            for k in range(lattice.shape[1]):
                lattice[j, k] += a * across[c, k]


@njit(parallel=True, cache=True)
def count_kept(
    values: Array,
    position: tuple[Array, Array],
    centre: tuple[Array, Array],
    first: Array,
    cutoff_mm: float,
    least: Array,
) -> Array:
    counts = np.empty(len(values), np.int64)
    square = cutoff_mm * cutoff_mm
    every = least.max() == -np.inf
    for n in prange(len(values)):
        count = 0
        for beam in range(len(first) - 1):
            u, v = position[0][n, beam], position[1][n, beam]
            # Unsigned indices spare the test for negative ones, which would keep the loop from vector lanes.
            for b in range(np.uint64(first[beam]), np.uint64(first[beam + 1])):
                across, along = u - centre[0][b], v - centre[1][b]
                if across * across + along * along <= square and (every or values[n, b] > least[b]):
                    count += 1
        counts[n] = count
    return counts


@njit(parallel=True, cache=True)
def fill_kept(
    values: Array,
    position: tuple[Array, Array],
    centre: tuple[Array, Array],
    first: Array,
    cutoff_mm: float,
    least: Array,
    start: Array,
    data: Array,
    indices: Array,
) -> None:
    square = cutoff_mm * cutoff_mm
    for n in prange(len(values)):
        at = np.uint64(start[n])
        for beam in range(len(first) - 1):
            u, v = position[0][n, beam], position[1][n, beam]
            for b in range(np.uint64(first[beam]), np.uint64(first[beam + 1])):
                across, along = u - centre[0][b], v - centre[1][b]
                if across * across + along * along <= square and values[n, b] > least[b]:
                    data[at], indices[at] = values[n, b], np.int32(b)
                    at += np.uint64(1)


@njit(cache=True)
def largest_near(
    values: Array,
    position: tuple[Array, Array],
    centre: tuple[Array, Array],
    first: Array,
    cutoff_mm: float,
    largest: Array,
) -> None:
    square = cutoff_mm * cutoff_mm
    for n in range(len(values)):
        for beam in range(len(first) - 1):
            u, v = position[0][n, beam], position[1][n, beam]
            for b in range(np.uint64(first[beam]), np.uint64(first[beam + 1])):
                across, along = u - centre[0][b], v - centre[1][b]
                if values[n, b] > largest[b] and across * across + along * along <= square:
                    largest[b] = values[n, b]

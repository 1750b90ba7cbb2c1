"""Compiled twins of `numpy_pairs`, which documents them: the direct sum of error functions."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import numpy.typing as npt
from numba import njit, prange

from .error_function import END, erf
from .numba_profiles import BLOCK, buffers, cells, products

Array = npt.NDArray[Any]
Edges = tuple[Array, Array, Array]

# Sums over components and taps may be re-associated into vector lanes; nothing else is relaxed.
_LANES = {"reassoc", "contract"}

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
        across, along, lattice = buffers(components, len(rows[1]), len(columns[1]), weights)
        flat, cell = lattice.reshape(lattice.size), cells(row, column, lattice)
        for n in range(block * BLOCK, min((block + 1) * BLOCK, len(u_mm))):
            across[:], along[:] = 0.0, 0.0
            for c in range(components):
                _blurred(u_mm[n], columns, scale_u[c], steps, across[c])
                _blurred(v_mm[n], rows, scale_v[c], steps, along[c])
            for c in range(components):
                along[c] *= weights[n, c]
            products(along, across, len(rows[1]), lattice)
            for b in range(len(cell)):
                result[n, b] = flat[cell[b]] * output[b]

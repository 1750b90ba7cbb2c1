"""Compiled twins of `numpy_rays`, which documents them."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import numpy.typing as npt
from numba import njit, prange

from .exponential import decay

Array = npt.NDArray[Any]

# Sums may be re-associated into vector lanes; nothing else is relaxed (NaN stays NaN).
_LANES = {"reassoc", "contract"}

RAYS_PER_BLOCK = 512
"""Rays that share one set of buffers."""


@njit(parallel=True, cache=True)
def trace(
    density: Array, source: Array, targets: Array, spacing: Array, range_mm: Array, air: float
) -> tuple[Array, Array]:
    depth = np.zeros(len(targets))
    average = np.ones((len(targets), len(range_mm)))
    blocks = (len(targets) + RAYS_PER_BLOCK - 1) // RAYS_PER_BLOCK
    most_cells = density.shape[0] + density.shape[1] + density.shape[2]
    count = len(range_mm)
    for block in prange(blocks):
        added, here = np.empty(most_cells), np.empty(most_cells)
        fade, other = np.empty(most_cells), np.empty(most_cells)
        for n in range(block * RAYS_PER_BLOCK, min((block + 1) * RAYS_PER_BLOCK, len(targets))):
            depth[n], cells = _cross_cells(density, source, targets[n], spacing, air, added, here)
            for q in range(0, count, 2):
                p = min(q + 1, count - 1)
                per_mm = 1.0 / range_mm[q], 1.0 / range_mm[p]
                average[n, q], average[n, p] = _upstream_averages(cells, added, here, per_mm, fade, other)
    return depth, average


@njit(cache=True)
def _inside_grid(source: float, ray: float, count: int, t_in: float, t_out: float) -> tuple[float, float, float]:
    """1 / ray along one axis, and t_in and t_out narrowed to the grid's extent along it."""
    if ray == 0.0:
        outside = source < -0.5 or source >= count - 0.5
        return math.inf, t_in, -1.0 if outside else t_out
    inverse = 1.0 / ray
    low, high = (-0.5 - source) * inverse, (count - 0.5 - source) * inverse
    return inverse, max(t_in, min(low, high)), min(t_out, max(low, high))


@njit(cache=True)
def _first_cell(source: float, ray: float, inverse: float, count: int, t: float) -> tuple[int, int, float]:
    """Cell along one axis at t, the step to the next one and where the ray takes it."""
    cell = min(max(math.floor(source + t * ray + 0.5), 0), count - 1)
    if ray == 0.0:
        return cell, 0, math.inf
    step = 1 if ray > 0.0 else -1
    return cell, step, (cell + 0.5 * step - source) * inverse


@njit(cache=True)
def _cross_cells(
    density: Array, source: Array, target: Array, spacing: Array, air: float, added: Array, here: Array
) -> tuple[float, int]:
    """Radiological depth of one ray; depth added by and density of its cells that are no air are written."""
    nz, ny, nx = density.shape
    rx, ry, rz = target[0] - source[0], target[1] - source[1], target[2] - source[2]
    inverse_x, t, t_out = _inside_grid(source[0], rx, nx, 0.0, 1.0)
    inverse_y, t, t_out = _inside_grid(source[1], ry, ny, t, t_out)
    inverse_z, t, t_out = _inside_grid(source[2], rz, nz, t, t_out)
    length_mm = math.sqrt((rx * spacing[0]) ** 2 + (ry * spacing[1]) ** 2 + (rz * spacing[2]) ** 2)
    x, step_x, next_x = _first_cell(source[0], rx, inverse_x, nx, t)
    y, step_y, next_y = _first_cell(source[1], ry, inverse_y, ny, t)
    z, step_z, next_z = _first_cell(source[2], rz, inverse_z, nz, t)
    depth, cells = 0.0, 0
    while t < t_out and 0 <= x < nx and 0 <= y < ny and 0 <= z < nz:
        # Comparisons instead of min() and max(): those look for NaN, and this is the innermost loop.
        crossing = next_x if next_x < next_y else next_y
        crossing = crossing if crossing < next_z else next_z
        t_next = crossing if crossing < t_out else t_out
        value = float(density[z, y, x])
        path = (t_next - t if t_next > t else 0.0) * length_mm * value
        depth += path
        if value >= air:
            added[cells], here[cells] = path, value
            cells += 1
        t = t_next if t_next > t else t
        if next_x == crossing:
            x += step_x
            next_x = (x + 0.5 * step_x - source[0]) * inverse_x
        elif next_y == crossing:
            y += step_y
            next_y = (y + 0.5 * step_y - source[1]) * inverse_y
        else:
            z += step_z
            next_z = (z + 0.5 * step_z - source[2]) * inverse_z
    return depth, cells


@njit(cache=True, fastmath=_LANES)
def _upstream_averages(
    cells: int, added: Array, here: Array, per_mm: tuple[float, float], fade: Array, other: Array
) -> tuple[float, float]:
    """Average densities over the cells of one ray for two ranges.

    Loops of their own for the exponentials run in vector lanes; the recursions of two ranges side by side wait for
    each other's results, not each for its own.
    """
    depth = 0.0
    for i in range(cells):
        fade[i], other[i] = decay(added[i] * per_mm[0]), decay(added[i] * per_mm[1])
        depth += added[i]
    first = second = 0.0
    for i in range(cells):
        first = here[i] + (first - here[i]) * fade[i]
        second = here[i] + (second - here[i]) * other[i]
    unseen, unseen_too = decay(depth * per_mm[0]), decay(depth * per_mm[1])
    return (first / (1.0 - unseen) if unseen < 1.0 else 1.0, second / (1.0 - unseen_too) if unseen_too < 1.0 else 1.0)


@njit(parallel=True, cache=True)
def component_weights(
    depth_nodes_mm: Array,
    log_scale_nodes: Array,
    primary: Array,
    scatter: Array,
    depth_mm: Array,
    log_scale: tuple[Array, Array],
    factor: Array,
) -> Array:
    weights = np.empty((len(depth_mm), primary.shape[2]), factor.dtype)
    for n in prange(len(depth_mm)):
        k, t = _bracket(depth_nodes_mm, depth_mm[n])
        p, x = _bracket(log_scale_nodes, log_scale[0][n])
        s, y = _bracket(log_scale_nodes, log_scale[1][n])
        for c in range(primary.shape[2]):
            above = (1 - x) * primary[k, p, c] + x * primary[k, p + 1, c]
            above += (1 - y) * scatter[k, s, c] + y * scatter[k, s + 1, c]
            below = (1 - x) * primary[k + 1, p, c] + x * primary[k + 1, p + 1, c]
            below += (1 - y) * scatter[k + 1, s, c] + y * scatter[k + 1, s + 1, c]
            weights[n, c] = ((1 - t) * above + t * below) * factor[n]
    return weights


@njit(cache=True)
def _bracket(nodes: Array, value: float) -> tuple[int, float]:
    k = min(max(int(np.searchsorted(nodes, value, side="right")) - 1, 0), len(nodes) - 2)
    return k, (value - nodes[k]) / (nodes[k + 1] - nodes[k])

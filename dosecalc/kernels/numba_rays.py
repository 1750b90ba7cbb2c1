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
    # One more than a ray can cross: cells of air are written too, and written over.
    most_cells = density.shape[0] + density.shape[1] + density.shape[2] + 1
    count = len(range_mm)
    for block in prange(blocks):
        added, here = np.empty(most_cells), np.empty(most_cells)
        fade, other, share, other_share = (
            np.empty(most_cells), np.empty(most_cells), np.empty(most_cells), np.empty(most_cells)
        )  # fmt: skip
        for n in range(block * RAYS_PER_BLOCK, min((block + 1) * RAYS_PER_BLOCK, len(targets))):
            depth[n], cells = _cross_cells(density, source, targets[n], spacing, air, added, here)
            for q in range(0, count, 2):
                p = min(q + 1, count - 1)
                per_mm = 1.0 / range_mm[q], 1.0 / range_mm[p]
                _fade(cells, added, here, per_mm, fade, share, other, other_share)
                average[n, q], average[n, p] = _upstream_averages(cells, added, per_mm, fade, share, other, other_share)
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
def _fastest_first(ray: tuple[float, float, float]) -> tuple[int, int, int]:
    """The axes, that along which the ray crosses most cells first."""
    first, second = (1, 0) if abs(ray[1]) > abs(ray[0]) else (0, 1)
    return (2, second, first) if abs(ray[2]) > abs(ray[first]) else (first, second, 2)


@njit(cache=True)
def _cross_cells(
    density: Array, source: Array, target: Array, spacing: Array, air: float, added: Array, here: Array
) -> tuple[float, int]:
    """Radiological depth of one ray; depth added by and density of its cells that are no air are written.

    Cells in a row along the axis on which the ray moves fastest follow each other in a loop of their own: which cell is
    next is then asked only where the ray leaves such a row.
    """
    counts = density.shape[2], density.shape[1], density.shape[0]
    ray = target[0] - source[0], target[1] - source[1], target[2] - source[2]
    length_mm = math.sqrt((ray[0] * spacing[0]) ** 2 + (ray[1] * spacing[1]) ** 2 + (ray[2] * spacing[2]) ** 2)
    x, y, z = _fastest_first(ray)
    strides = 1, counts[0], counts[0] * counts[1]
    inverse_x, t, t_out = _inside_grid(source[x], ray[x], counts[x], 0.0, 1.0)
    inverse_y, t, t_out = _inside_grid(source[y], ray[y], counts[y], t, t_out)
    inverse_z, t, t_out = _inside_grid(source[z], ray[z], counts[z], t, t_out)
    depth, cells = 0.0, 0
    if not t < t_out:
        return depth, cells
    cell_x, step_x, next_x = _first_cell(source[x], ray[x], inverse_x, counts[x], t)
    cell_y, step_y, next_y = _first_cell(source[y], ray[y], inverse_y, counts[y], t)
    cell_z, step_z, next_z = _first_cell(source[z], ray[z], inverse_z, counts[z], t)
    flat, at = density.reshape(density.size), cell_x * strides[x] + cell_y * strides[y] + cell_z * strides[z]
    left = counts[x] - 1 - cell_x if step_x > 0 else cell_x
    face, source_x, stride_x = cell_x + 0.5 * step_x, source[x], step_x * strides[x]
    while True:
        # Comparisons instead of min() and max(): those look for NaN.
        leaving = next_y if next_y < next_z else next_z
        leaving = leaving if leaving < t_out else t_out
        while next_x < leaving and left > 0:
            value = float(flat[np.uint64(at)])
            path = (next_x - t if next_x > t else 0.0) * length_mm * value
            depth += path
            added[np.uint64(cells)], here[np.uint64(cells)] = path, value
            cells += value >= air
            t = next_x if next_x > t else t
            at += stride_x
            left -= 1
            face += step_x
            next_x = (face - source_x) * inverse_x
        value = float(flat[np.uint64(at)])
        path = (leaving - t if leaving > t else 0.0) * length_mm * value
        depth += path
        added[np.uint64(cells)], here[np.uint64(cells)] = path, value
        cells += value >= air
        t = leaving if leaving > t else t
        if not t < t_out:
            return depth, cells
        if next_y == leaving:
            cell_y += step_y
            at += step_y * strides[y]
            next_y = (cell_y + 0.5 * step_y - source[y]) * inverse_y
        else:
            cell_z += step_z
            at += step_z * strides[z]
            next_z = (cell_z + 0.5 * step_z - source[z]) * inverse_z
        if not (0 <= cell_y < counts[y] and 0 <= cell_z < counts[z]):
            return depth, cells


@njit(cache=True, fastmath=_LANES)
def _fade(
    cells: int,
    added: Array,
    here: Array,
    per_mm: tuple[float, float],
    fade: Array,
    share: Array,
    other: Array,
    other_share: Array,
) -> None:
    """What each cell leaves of the averages before it, and what it adds: a loop of its own runs in vector lanes."""
    for i in range(cells):
        left, left_too = decay(added[i] * per_mm[0]), decay(added[i] * per_mm[1])
        fade[i], share[i] = left, here[i] * (1.0 - left)
        other[i], other_share[i] = left_too, here[i] * (1.0 - left_too)


@njit(cache=True, fastmath=_LANES)
def _upstream_averages(
    cells: int, added: Array, per_mm: tuple[float, float], fade: Array, share: Array, other: Array, other_share: Array
) -> tuple[float, float]:
    """Average densities over the cells of one ray for two ranges.

    The recursions of two ranges side by side wait for each other's results, not each for its own.
    """
    depth = first = second = 0.0
    for i in range(cells):
        depth += added[i]
        first = first * fade[i] + share[i]
        second = second * other[i] + other_share[i]
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
    for block in prange((len(depth_mm) + RAYS_PER_BLOCK - 1) // RAYS_PER_BLOCK):
        k = p = s = 0
        for n in range(block * RAYS_PER_BLOCK, min((block + 1) * RAYS_PER_BLOCK, len(depth_mm))):
            k, t = _bracket(depth_nodes_mm, depth_mm[n], k)
            p, x = _bracket(log_scale_nodes, log_scale[0][n], p)
            s, y = _bracket(log_scale_nodes, log_scale[1][n], s)
            for c in range(primary.shape[2]):
                above = (1 - x) * primary[k, p, c] + x * primary[k, p + 1, c]
                above += (1 - y) * scatter[k, s, c] + y * scatter[k, s + 1, c]
                below = (1 - x) * primary[k + 1, p, c] + x * primary[k + 1, p + 1, c]
                below += (1 - y) * scatter[k + 1, s, c] + y * scatter[k + 1, s + 1, c]
                weights[n, c] = ((1 - t) * above + t * below) * factor[n]
    return weights


@njit(cache=True)
def _bracket(nodes: Array, value: float, k: int) -> tuple[int, float]:
    """Node below a value and the fraction of the way to the next, looked for from node k on: neighbours lie close."""
    while k < len(nodes) - 2 and nodes[k + 1] <= value:
        k += 1
    while k > 0 and nodes[k] > value:
        k -= 1
    return k, (value - nodes[k]) / (nodes[k + 1] - nodes[k])

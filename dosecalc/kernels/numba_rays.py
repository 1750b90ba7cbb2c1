"""Compiled twins of `numpy_rays`, which documents them."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import numpy.typing as npt
from numba import njit, prange

from .exponential import decay
from .numba_front import passed_shares
from .numpy_rays import looked_up

Array = npt.NDArray[Any]
Faces = tuple[float, float, int]
Point = tuple[float, float, float]
Entry = tuple[int, float, float, float, float, int, Faces, Faces, Faces]

# Sums may be re-associated into vector lanes; nothing else is relaxed (NaN stays NaN).
_LANES = {"reassoc", "contract"}
_ORDERED = {"contract", "nnan", "reassoc", "nsz"}
"""Nothing that is compared here can be NaN."""

RAYS_PER_BLOCK = 512
"""Rays that share one set of buffers."""
BEFORE_THE_END = 1.0 - 1e-12
"""Times where a ray leaves the grid: faces that lie beyond bound it. They are summed up, with a rounding at each."""
TOGETHER = 16
"""The cells of a ray are filled up to a multiple of these: the loop over them then runs in vector lanes to its end."""


@njit(parallel=True, cache=True)
def trace(
    density: Array, source: Array, targets: Array, spacing: Array, range_mm: Array, air: float
) -> tuple[Array, Array]:
    depth = np.zeros(len(targets))
    average = np.ones((len(range_mm), len(targets)))
    blocks = (len(targets) + RAYS_PER_BLOCK - 1) // RAYS_PER_BLOCK
    counts, flat = (density.shape[2], density.shape[1], density.shape[0]), density.reshape(density.size)
    # Numbers, no arrays: to make a view for a ray counts one more user of its memory, by an atomic instruction.
    start, size = (source[0], source[1], source[2]), (spacing[0], spacing[1], spacing[2])
    eighth = len(range_mm) == 2 and range_mm[1] == 8.0 * range_mm[0]
    # No ray crosses more cells; one of air is written too, and written over.
    passed, in_front = passed_shares(density, source, targets, air), float(flat[0])
    most_cells = counts[0] + counts[1] + counts[2] + 1 + TOGETHER
    for block in prange(blocks):
        end, here = np.empty(most_cells), np.empty(most_cells)
        for n in range(block * RAYS_PER_BLOCK, min((block + 1) * RAYS_PER_BLOCK, len(targets))):
            target = targets[n, 0], targets[n, 1], targets[n, 2]
            entry = _entered(counts, start, target, size, passed[n])
            depth[n], cells = _cross_cells(flat, entry, air, in_front, end, here)
            if cells == 0:
                continue
            filled = _fill_up(cells, end, here)
            if eighth:
                average[0, n], average[1, n] = _averages_of_an_eighth_and_one(filled, end, here, 1.0 / range_mm[1])
                continue
            for q in range(len(range_mm)):
                average[q, n] = _upstream_average(filled, end, here, 1.0 / range_mm[q])
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
def _cell_at(source: float, ray: float, count: int, t: float) -> int:
    return min(max(math.floor(source + t * ray + 0.5), 0), count - 1)


@njit(cache=True)
def _first_face(source: float, ray: float, inverse: float, count: int, cell: int, stride: int) -> Faces:
    """The faces across one axis: where the ray meets the first and how far apart they are, infinite where there is
    none, and what the flat index changes by at each."""
    step = 1 if ray > 0.0 else -1
    if ray == 0.0 or cell == (count - 1 if step > 0 else 0):
        return math.inf, 0.0, step * stride
    return (cell + 0.5 * step - source) * inverse, abs(inverse), step * stride


@njit(cache=True)
def _fastest_first(ray: Point) -> tuple[int, int, int]:
    """The axes, that along which the ray crosses most cells first."""
    first, second = (1, 0) if abs(ray[1]) > abs(ray[0]) else (0, 1)
    return (2, second, first) if abs(ray[2]) > abs(ray[first]) else (first, second, 2)


@njit(cache=True, fastmath=_ORDERED)
def _entered(counts: tuple[int, int, int], source: Point, target: Point, spacing: Point, passed: float) -> Entry:
    """Where a ray begins in the grid, not before the share of it that may be passed, and what it meets there.

    How many layers of cells it crosses along the axis on which it moves fastest, none if it misses the grid; what was
    passed inside the grid and the length of the ray, mm; from and to which share of it cells are crossed; the first of
    them; the first face across that axis, how far apart they are and the step of the flat index; and the faces across
    the two other axes.
    """
    ray = target[0] - source[0], target[1] - source[1], target[2] - source[2]
    length_mm = math.sqrt((ray[0] * spacing[0]) ** 2 + (ray[1] * spacing[1]) ** 2 + (ray[2] * spacing[2]) ** 2)
    x, y, z = _fastest_first(ray)
    strides = 1, counts[0], counts[0] * counts[1]
    inverse_x, t, t_out = _inside_grid(source[x], ray[x], counts[x], 0.0, 1.0)
    inverse_y, t, t_out = _inside_grid(source[y], ray[y], counts[y], t, t_out)
    inverse_z, t, t_out = _inside_grid(source[z], ray[z], counts[z], t, t_out)
    entered, t = t, max(t, min(passed, t_out))
    cell_x = _cell_at(source[x], ray[x], counts[x], t)
    cell_y = _cell_at(source[y], ray[y], counts[y], t)
    cell_z = _cell_at(source[z], ray[z], counts[z], t)
    step = 1 if ray[x] > 0.0 else -1
    faces_x = (cell_x + 0.5 * step - source[x]) * inverse_x, abs(inverse_x), step * strides[x]
    faces_y = _first_face(source[y], ray[y], inverse_y, counts[y], cell_y, strides[y])
    faces_z = _first_face(source[z], ray[z], inverse_z, counts[z], cell_z, strides[z])
    layers = abs(_cell_at(source[x], ray[x], counts[x], t_out) - cell_x) + 1
    at = cell_x * strides[x] + cell_y * strides[y] + cell_z * strides[z]
    passed_mm = max(t - entered, 0.0) * length_mm
    layers = layers if length_mm > 0.0 and t < t_out else 0
    return layers, passed_mm, length_mm, t, t_out, at, faces_x, faces_y, faces_z


@njit(cache=True, fastmath=_ORDERED)
def _cross_cells(flat: Array, entry: Entry, air: float, in_front: float, end: Array, here: Array) -> tuple[float, int]:
    """Radiological depth of one ray, and how many of its cells are no air; depth at their ends and density are written.

    Between two faces across the axis on which the ray moves fastest it crosses one face of each other axis at most. A
    piece is added in three places, in so many words: a function that is handed arrays counts as one more user of them.
    """
    layers, passed_mm, length_mm, t, t_out, at, (face, per_face, on_x), faces_y, faces_z = entry
    (next_y, apart_y, on_y), (next_z, apart_z, on_z) = faces_y, faces_z
    depth, met, cells = passed_mm * in_front, 0.0, 0
    stop = t_out * BEFORE_THE_END
    for _ in range(layers):
        leaving = min(face, t_out)
        face += per_face
        bound = min(leaving, stop)
        first, second = min(next_y, next_z), max(next_y, next_z)
        value = float(flat[np.uint64(at)])
        path = (min(first, leaving) - t) * length_mm * value
        depth += path
        if value >= air:
            met += path
            end[np.uint64(cells)], here[np.uint64(cells)] = met, value
            cells += 1
        if first < bound:
            y_first, both = next_y <= next_z, second < bound
            at += on_y if y_first else on_z
            value = float(flat[np.uint64(at)])
            path = (min(second, leaving) - first) * length_mm * value
            depth += path
            if value >= air:
                met += path
                end[np.uint64(cells)], here[np.uint64(cells)] = met, value
                cells += 1
            if both:
                at += on_z if y_first else on_y
                value = float(flat[np.uint64(at)])
                path = (leaving - second) * length_mm * value
                depth += path
                if value >= air:
                    met += path
                    end[np.uint64(cells)], here[np.uint64(cells)] = met, value
                    cells += 1
            next_y += apart_y if y_first or both else 0.0
            next_z += apart_z if both or not y_first else 0.0
        t, at = leaving, at + on_x
    return depth, cells


@njit(cache=True)
def _fill_up(cells: int, end: Array, here: Array) -> int:
    """Repeat the last cell, without length, up to a multiple of `TOGETHER` and one more; how many but for that one."""
    filled = (cells + TOGETHER - 1) // TOGETHER * TOGETHER
    for i in range(np.uint64(cells), np.uint64(filled + 1)):
        end[i], here[i] = end[np.uint64(cells - 1)], here[np.uint64(cells - 1)]
    return filled


@njit(cache=True, fastmath=_LANES)
def _upstream_average(cells: int, end: Array, here: Array, per_mm: float) -> float:
    """Average density upstream of the last cell's end.

    The recursion of the twin, solved: a sum over the faces between cells of what the density drops by, faded.
    """
    depth, total = end[cells], 0.0
    for i in range(np.uint64(cells)):
        total += (here[i] - here[i + np.uint64(1)]) * decay((depth - end[i]) * per_mm)
    unseen = decay(depth * per_mm)
    total += here[cells] - here[0] * unseen
    return total / (1.0 - unseen) if unseen < 1.0 else 1.0


@njit(cache=True, fastmath=_LANES)
def _averages_of_an_eighth_and_one(cells: int, end: Array, here: Array, per_mm: float) -> tuple[float, float]:
    """The same for an eighth of a range and for the range: one exponential is the eighth power of the other."""
    depth, first, second = end[cells], 0.0, 0.0
    for i in range(np.uint64(cells)):
        drop, slow = here[i] - here[i + np.uint64(1)], decay((depth - end[i]) * per_mm)
        second += drop * slow
        first += drop * _eighth_power(slow)
    unseen = decay(depth * per_mm)
    sooner = _eighth_power(unseen)
    first, second = first + here[cells] - here[0] * sooner, second + here[cells] - here[0] * unseen
    return first / (1.0 - sooner) if sooner < 1.0 else 1.0, second / (1.0 - unseen) if unseen < 1.0 else 1.0


@njit(cache=True, inline="always")
def _eighth_power(x: float) -> float:
    x *= x
    x *= x
    return x * x


def component_weights(
    depth_nodes_mm: Array,
    scale_nodes: Array,
    primary: Array,
    scatter: Array,
    depth_mm: Array,
    scales: Array,
    magnification: Array,
    gy: float,
    real: npt.DTypeLike,
) -> Array:
    log_nodes, log_scale, factor = looked_up(scale_nodes, scales, magnification, gy, real)
    weights: Array = _component_weights(depth_nodes_mm, log_nodes, primary, scatter, depth_mm, log_scale, factor)
    return weights


@njit(parallel=True, cache=True)
def _component_weights(
    depth_nodes_mm: Array,
    log_scale_nodes: Array,
    primary: Array,
    scatter: Array,
    depth_mm: Array,
    log_scale: Array,
    factor: Array,
) -> Array:
    weights = np.empty((len(depth_mm), primary.shape[2]), factor.dtype)
    components, scales = np.uint64(primary.shape[2]), np.uint64(primary.shape[1])
    of_primary, of_scatter, deeper = primary.reshape(primary.size), scatter.reshape(scatter.size), scales * components
    for block in prange((len(depth_mm) + RAYS_PER_BLOCK - 1) // RAYS_PER_BLOCK):
        k = p = s = 0
        for n in range(block * RAYS_PER_BLOCK, min((block + 1) * RAYS_PER_BLOCK, len(depth_mm))):
            k, t = _bracket(depth_nodes_mm, depth_mm[n], k)
            p, x = _bracket(log_scale_nodes, log_scale[0, n], p)
            s, y = _bracket(log_scale_nodes, log_scale[1, n], s)
            above, below = (1.0 - t) * factor[n], t * factor[n]
            a = (np.uint64(k) * scales + np.uint64(p)) * components
            b = (np.uint64(k) * scales + np.uint64(s)) * components
            for c in range(components):
                upper = (1.0 - x) * of_primary[a + c] + x * of_primary[a + c + components]
                upper += (1.0 - y) * of_scatter[b + c] + y * of_scatter[b + c + components]
                lower = (1.0 - x) * of_primary[a + c + deeper] + x * of_primary[a + c + deeper + components]
                lower += (1.0 - y) * of_scatter[b + c + deeper] + y * of_scatter[b + c + deeper + components]
                weights[n, c] = above * upper + below * lower
    return weights


@njit(cache=True)
def _bracket(nodes: Array, value: float, k: int) -> tuple[int, float]:
    """Node below a value and the fraction of the way to the next, looked for from node k on: neighbours lie close."""
    while k < len(nodes) - 2 and nodes[k + 1] <= value:
        k += 1
    while k > 0 and nodes[k] > value:
        k -= 1
    return k, (value - nodes[k]) / (nodes[k + 1] - nodes[k])

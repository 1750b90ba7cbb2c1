"""The hot path compiled by numba for threads; same names and arguments as `numpy_kernels`, which documents them."""

from __future__ import annotations

import math
from typing import Any

import numba
import numpy as np
import numpy.typing as npt
from numba import njit, prange

from .error_function import erf

Array = npt.NDArray[Any]

# Sums over components and taps may be re-associated into vector lanes; nothing else is relaxed (NaN stays NaN).
_LANES = {"reassoc", "contract"}


@njit(parallel=True, cache=True)
def radiological_depth(density: Array, source: Array, targets: Array, spacing: Array) -> Array:
    nz, ny, nx = density.shape
    counts = (nx, ny, nz)
    depth = np.zeros(len(targets))
    for n in prange(len(targets)):
        length2 = 0.0
        t_in = 0.0
        t_out = 1.0
        for a in range(3):
            ray = targets[n, a] - source[a]
            length2 += (ray * spacing[a]) ** 2
            if ray != 0.0:
                low = (-0.5 - source[a]) / ray
                high = (counts[a] - 0.5 - source[a]) / ray
                t_in = max(t_in, min(low, high))
                t_out = min(t_out, max(low, high))
            elif source[a] < -0.5 or source[a] >= counts[a] - 0.5:
                t_out = -1.0
        if t_in >= t_out:
            continue
        length = np.sqrt(length2)
        cell = np.empty(3, np.int64)
        step = np.empty(3, np.int64)
        for a in range(3):
            ray = targets[n, a] - source[a]
            cell[a] = min(max(int(np.floor(source[a] + t_in * ray + 0.5)), 0), counts[a] - 1)
            step[a] = 1 if ray > 0 else (-1 if ray < 0 else 0)
        t = t_in
        total = 0.0
        while True:
            axis = 0
            crossing = np.inf
            for a in range(3):
                if step[a] != 0:
                    candidate = (cell[a] + 0.5 * step[a] - source[a]) / (targets[n, a] - source[a])
                    if candidate < crossing:
                        crossing = candidate
                        axis = a
            t_next = min(crossing, t_out)
            total += max(t_next - t, 0.0) * length * density[cell[2], cell[1], cell[0]]
            t = max(t, t_next)
            cell[axis] += step[axis]
            if t_next >= t_out or cell[axis] < 0 or cell[axis] >= counts[axis]:
                break
        depth[n] = total
    return depth


@njit(parallel=True, cache=True, fastmath=_LANES)
def field_maps(table_v: Array, field: Array, table_u: Array) -> Array:
    nodes_v, lines, components = table_v.shape
    nodes_u, columns, _ = table_u.shape
    maps = np.empty((nodes_v, nodes_u, components), table_v.dtype)
    for a in prange(nodes_v):
        partly = np.zeros((columns, components), table_v.dtype)
        for j in range(lines):
            for k in range(columns):
                for c in range(components):
                    partly[k, c] += table_v[a, j, c] * field[j, k]
        for b in range(nodes_u):
            for c in range(components):
                maps[a, b, c] = 0.0
            for k in range(columns):
                for c in range(components):
                    maps[a, b, c] += partly[k, c] * table_u[b, k, c]
    return maps


@njit(parallel=True, cache=True, fastmath=_LANES)
def gather(maps: Array, iv: Array, iu: Array, fv: Array, fu: Array, weights: Array) -> Array:
    components = maps.shape[2]
    # The three taps of a map row are contiguous, and unsigned indices spare the test for negative ones.
    rows = maps.reshape(maps.shape[0], maps.shape[1] * components)
    span = np.uint64(3 * components)
    half = weights.dtype.type(0.5)
    centre = weights.dtype.type(0.75)
    dose = np.empty(len(iv), weights.dtype)
    for n in prange(len(iv)):
        y, x = fv[n], fu[n]
        v0, v1, v2 = half * (half - y) * (half - y), centre - y * y, half * (half + y) * (half + y)
        u0, u1, u2 = half * (half - x) * (half - x), centre - x * x, half * (half + x) * (half + x)
        first = np.uint64((iu[n] - 1) * components)
        low = rows[np.uint64(iv[n] - 1), first : first + span]
        mid = rows[np.uint64(iv[n]), first : first + span]
        high = rows[np.uint64(iv[n] + 1), first : first + span]
        total = weights.dtype.type(0.0)
        for c in range(components):
            below = u0 * low[c] + u1 * low[components + c] + u2 * low[2 * components + c]
            here = u0 * mid[c] + u1 * mid[components + c] + u2 * mid[2 * components + c]
            above = u0 * high[c] + u1 * high[components + c] + u2 * high[2 * components + c]
            total += weights[n, c] * (v0 * below + v1 * here + v2 * above)
        dose[n] = total
    return dose


def scatter(values: Array, shape: tuple[int, int], iv: Array, iu: Array, fv: Array, fu: Array, weights: Array) -> Array:
    # One private map per thread: no atomics, and the same bits for the same thread count.
    parts = np.zeros((numba.get_num_threads(), *shape, weights.shape[1]), weights.dtype)
    _scatter_parts(parts, values.astype(weights.dtype, copy=False), iv, iu, fv, fu, weights)
    return parts.sum(axis=0)


@njit(parallel=True, cache=True, fastmath=_LANES)
def _scatter_parts(parts: Array, values: Array, iv: Array, iu: Array, fv: Array, fu: Array, weights: Array) -> None:
    components = weights.shape[1]
    half = weights.dtype.type(0.5)
    centre = weights.dtype.type(0.75)
    chunk = (len(iv) + len(parts) - 1) // len(parts)
    for p in prange(len(parts)):
        for n in range(p * chunk, min((p + 1) * chunk, len(iv))):
            if values[n] == 0:
                continue
            y, x = fv[n], fu[n]
            tap_v = (half * (half - y) * (half - y), centre - y * y, half * (half + y) * (half + y))
            tap_u = (half * (half - x) * (half - x), centre - x * x, half * (half + x) * (half + x))
            for a in range(3):
                for b in range(3):
                    share = tap_v[a] * tap_u[b] * values[n]
                    for c in range(components):
                        parts[p, iv[n] + a - 1, iu[n] + b - 1, c] += share * weights[n, c]


@njit(cache=True)
def _blurred_row(t: float, centre: Array, width: Array, sigma: float, result: Array) -> float:
    """One row of `blurred_squares` and its sum; beamlets that touch share the error function of their edge."""
    scale = 1.0 / (math.sqrt(2.0) * sigma) if sigma > 0.0 else math.inf
    edge = value = total = 0.0
    for j in range(len(centre)):
        low = centre[j] - width[j] / 2
        high = centre[j] + width[j] / 2
        if j == 0 or abs(low - edge) > 1e-9:
            value = _step(t - low, scale)
        above = _step(t - high, scale)
        result[j] = 0.5 * (value - above)
        total += result[j]
        edge = high
        value = above
    return total


@njit(cache=True)
def _step(offset: float, scale: float) -> float:
    """erf(offset * scale), a sharp step for a point source; 0 * inf would be NaN."""
    return float(erf(offset * scale)) if offset != 0.0 else 0.0


@njit(parallel=True, cache=True, fastmath=_LANES)
def direct_dose(
    u_mm: Array,
    v_mm: Array,
    weights: Array,
    field: Array,
    columns: tuple[Array, Array, Array],
    rows: tuple[Array, Array, Array],
) -> Array:
    dose = np.empty(len(u_mm))
    for n in prange(len(u_mm)):
        across = np.empty(len(columns[0]))
        along = np.empty(len(rows[0]))
        total = 0.0
        for c in range(weights.shape[1]):
            # Narrow components see nothing of the field from most voxels.
            if _blurred_row(u_mm[n], columns[0], columns[1], columns[2][c], across) == 0.0:
                continue
            if _blurred_row(v_mm[n], rows[0], rows[1], rows[2][c], along) == 0.0:
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

"""The hot path compiled by numba for threads; same names and arguments as `numpy_kernels`, which documents them."""

from __future__ import annotations

from typing import Any

import numba
import numpy as np
import numpy.typing as npt
from numba import njit, prange

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
def gather(maps: Array, iv: Array, iu: Array, fv: Array, fu: Array, weights: Array) -> Array:
    components = maps.shape[2]
    half = weights.dtype.type(0.5)
    centre = weights.dtype.type(0.75)
    dose = np.empty(len(iv), weights.dtype)
    for n in prange(len(iv)):
        y, x = fv[n], fu[n]
        tap_v = (half * (half - y) * (half - y), centre - y * y, half * (half + y) * (half + y))
        tap_u = (half * (half - x) * (half - x), centre - x * x, half * (half + x) * (half + x))
        total = weights.dtype.type(0.0)
        for a in range(3):
            for b in range(3):
                tap = tap_v[a] * tap_u[b]
                partial = weights.dtype.type(0.0)
                for c in range(components):
                    partial += maps[iv[n] + a - 1, iu[n] + b - 1, c] * weights[n, c]
                total += tap * partial
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

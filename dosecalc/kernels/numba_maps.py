"""Compiled twins of `numpy_maps`, which documents them."""

from __future__ import annotations

from typing import Any

import numba
import numpy as np
import numpy.typing as npt
from numba import njit, prange

Array = npt.NDArray[Any]

# Sums over components and taps may be re-associated into vector lanes; nothing else is relaxed (NaN stays NaN).
_LANES = {"reassoc", "contract"}


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
    planes: Array = _planes(parts)
    return planes


@njit(parallel=True, cache=True)
def _planes(parts: Array) -> Array:
    """Sum of the parts (P, Nv, Nu, C), by component: (C, Nv, Nu)."""
    count, nodes_v, nodes_u, components = parts.shape
    planes = np.empty((components, nodes_v, nodes_u), parts.dtype)
    for a in prange(nodes_v):
        for c in range(components):
            for b in range(nodes_u):
                total = parts[0, a, b, c]
                for p in range(1, count):
                    total += parts[p, a, b, c]
                planes[c, a, b] = total
    return planes


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
                # Unsigned indices spare the test for negative ones.
                row = np.uint64(iv[n] + a - 1)
                for b in range(3):
                    column = np.uint64(iu[n] + b - 1)
                    share = tap_v[a] * tap_u[b] * values[n]
                    for c in range(components):
                        parts[p, row, column, c] += share * weights[n, c]

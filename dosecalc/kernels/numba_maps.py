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
    # Flat, with unsigned indices, which spare the test for negative ones.
    components, flat = np.uint64(maps.shape[2]), maps.reshape(maps.size)
    line = np.uint64(maps.shape[1]) * components
    half = weights.dtype.type(0.5)
    centre = weights.dtype.type(0.75)
    dose = np.empty(len(iv), weights.dtype)
    for n in prange(len(iv)):
        y, x = fv[n], fu[n]
        v0, v1, v2 = half * (half - y) * (half - y), centre - y * y, half * (half + y) * (half + y)
        u0, u1, u2 = half * (half - x) * (half - x), centre - x * x, half * (half + x) * (half + x)
        mid = np.uint64(iv[n]) * line + np.uint64(iu[n]) * components
        low, high = mid - line, mid + line
        total = weights.dtype.type(0.0)
        for c in range(components):
            below = u0 * flat[low + c - components] + u1 * flat[low + c] + u2 * flat[low + c + components]
            here = u0 * flat[mid + c - components] + u1 * flat[mid + c] + u2 * flat[mid + c + components]
            above = u0 * flat[high + c - components] + u1 * flat[high + c] + u2 * flat[high + c + components]
            total += weights[n, c] * (v0 * below + v1 * here + v2 * above)
        dose[n] = total
    return dose


def scatter(values: Array, shape: tuple[int, int], iv: Array, iu: Array, fv: Array, fu: Array, weights: Array) -> Array:
    # One private map per thread: no atomics, and the same bits for the same thread count.
    parts = np.zeros((numba.get_num_threads(), *shape, weights.shape[1]), weights.dtype)
    own = np.ascontiguousarray(weights)
    _scatter_parts(parts, values.astype(weights.dtype, copy=False), iv, iu, fv, fu, own)
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
    components, flat, own = np.uint64(weights.shape[1]), parts.reshape(parts.size), weights.reshape(weights.size)
    line = np.uint64(parts.shape[2]) * components
    half = weights.dtype.type(0.5)
    centre = weights.dtype.type(0.75)
    chunk = (len(iv) + len(parts) - 1) // len(parts)
    for p in prange(len(parts)):
        part = np.uint64(p) * np.uint64(parts.shape[1]) * line
        for n in range(p * chunk, min((p + 1) * chunk, len(iv))):
            value = values[n]
            if value == 0:
                continue
            y, x, first = fv[n], fu[n], np.uint64(n) * components
            v0, v1, v2 = half * (half - y) * (half - y), centre - y * y, half * (half + y) * (half + y)
            u0, u1, u2 = half * (half - x) * (half - x), centre - x * x, half * (half + x) * (half + x)
            low = part + np.uint64(iv[n] - 1) * line + np.uint64(iu[n]) * components
            for v in (v0 * value, v1 * value, v2 * value):
                for c in range(components):
                    share = v * own[first + c]
                    flat[low + c - components] += u0 * share
                    flat[low + c] += u1 * share
                    flat[low + c + components] += u2 * share
                low += line

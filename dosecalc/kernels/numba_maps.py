"""Compiled twins of `numpy_maps`, which documents them."""

from __future__ import annotations

from typing import Any

import numba
import numpy as np
import numpy.typing as npt
from numba import njit, prange

from .numba_lanes import LANES, add_scaled, fetch_ahead, from_lane, lanes, load, plus, scaled, store, times, total

Array = npt.NDArray[Any]

AHEAD = np.uint64(24)
"""How many voxels later the weights are used that are asked for: the pages of memory, where the processor would stop to
fetch ahead by itself, end after some eighty voxels. With it, voxels are read in two thirds of the time."""


def gather(maps: Array, iv: Array, iu: Array, fv: Array, fu: Array, weights: Array) -> Array:
    missing = max(LANES - weights.shape[1], 0)
    if missing:
        maps, weights = np.pad(maps, ((0, 0), (0, 0), (0, missing))), np.pad(weights, ((0, 0), (0, missing)))
    dose: Array = _gather(maps, iv, iu, fv, fu, np.ascontiguousarray(weights))
    return dose


@njit(parallel=True, cache=True)
def _gather(maps: Array, iv: Array, iu: Array, fv: Array, fu: Array, weights: Array) -> Array:
    # Flat, with unsigned indices, which spare the test for negative ones.
    components, flat, own = np.uint64(maps.shape[2]), maps.reshape(maps.size), weights.reshape(weights.size)
    line, last = np.uint64(maps.shape[1]) * components, components - np.uint64(LANES)
    half, zero = weights.dtype.type(0.5), weights.dtype.type(0.0)
    centre = weights.dtype.type(0.75)
    dose = np.empty(len(iv), weights.dtype)
    for n in prange(len(iv)):
        y, x = fv[n], fu[n]
        v0, v1, v2 = half * (half - y) * (half - y), centre - y * y, half * (half + y) * (half + y)
        u0, u1, u2 = half * (half - x) * (half - x), centre - x * x, half * (half + x) * (half + x)
        node, first = np.uint64(iv[n]) * line + np.uint64(iu[n]) * components, np.uint64(n) * components
        fetch_ahead(own, first + AHEAD * components)
        found = lanes(zero)
        for block in range(np.uint64(0), components, np.uint64(LANES)):
            # The last eight components stand for what is left, without those that came before.
            start = block if block < last else last
            mid = node + start
            here = _across(flat, mid, components, u0, u1, u2)
            part = scaled(v0, _across(flat, mid - line, components, u0, u1, u2))
            part = add_scaled(part, v1, here)
            part = add_scaled(part, v2, _across(flat, mid + line, components, u0, u1, u2))
            found = plus(found, from_lane(times(part, load(own, first + start)), np.uint32(block - start)))
        dose[n] = total(found)
    return dose


@njit(inline="always")
def _across(flat: Array, mid: Any, step: Any, u0: Any, u1: Any, u2: Any) -> Any:
    """Eight components at three nodes of a line of the map, weighted."""
    return add_scaled(add_scaled(scaled(u0, load(flat, mid - step)), u1, load(flat, mid)), u2, load(flat, mid + step))


def scatter(values: Array, shape: tuple[int, int], iv: Array, iu: Array, fv: Array, fu: Array, weights: Array) -> Array:
    # One private map per thread: no atomics, and the same bits for the same thread count. Its components fill whole
    # registers; what stands in the lanes beyond the last component is left aside.
    components = weights.shape[1]
    filled = -(-components // LANES) * LANES
    parts = np.zeros((numba.get_num_threads(), *shape, filled), weights.dtype)
    own = np.ascontiguousarray(weights)
    _scatter_parts(parts, values.astype(weights.dtype, copy=False), iv, iu, fv, fu, own)
    planes: Array = _planes(parts, components)
    return planes


@njit(parallel=True, cache=True)
def _planes(parts: Array, components: int) -> Array:
    """Sum of the parts (P, Nv, Nu, C or more), by component: (C, Nv, Nu)."""
    count, nodes_v, nodes_u, _ = parts.shape
    planes = np.empty((components, nodes_v, nodes_u), parts.dtype)
    for a in prange(nodes_v):
        for c in range(components):
            for b in range(nodes_u):
                total = parts[0, a, b, c]
                for p in range(1, count):
                    total += parts[p, a, b, c]
                planes[c, a, b] = total
    return planes


@njit(parallel=True, cache=True)
def _scatter_parts(parts: Array, values: Array, iv: Array, iu: Array, fv: Array, fu: Array, weights: Array) -> None:
    components, flat, own = np.uint64(weights.shape[1]), parts.reshape(parts.size), weights.reshape(weights.size)
    filled = np.uint64(parts.shape[3])
    line, size = np.uint64(parts.shape[2]) * filled, np.uint64(own.size)
    half = weights.dtype.type(0.5)
    centre = weights.dtype.type(0.75)
    chunk = (len(iv) + len(parts) - 1) // len(parts)
    for p in prange(len(parts)):
        part, edge = np.uint64(p) * np.uint64(parts.shape[1]) * line, np.zeros(parts.shape[3], weights.dtype)
        for n in range(p * chunk, min((p + 1) * chunk, len(iv))):
            value = values[n]
            if value == 0:
                continue
            y, x, first, source = fv[n], fu[n], np.uint64(n) * components, own
            if first + filled > size:
                # A whole register would reach beyond the weights of the last voxel.
                edge[:components] = own[first : first + components]
                first, source = np.uint64(0), edge
            v0, v1, v2 = half * (half - y) * (half - y), centre - y * y, half * (half + y) * (half + y)
            u0, u1, u2 = half * (half - x) * (half - x), centre - x * x, half * (half + x) * (half + x)
            fetch_ahead(own, np.uint64(n + AHEAD) * components)
            node = part + np.uint64(iv[n]) * line + np.uint64(iu[n]) * filled
            for block in range(np.uint64(0), filled, np.uint64(LANES)):
                share = scaled(value, load(source, first + block))
                low, here, high = scaled(u0, share), scaled(u1, share), scaled(u2, share)
                mid = node + block
                _add_across(flat, mid - line, filled, v0, low, here, high)
                _add_across(flat, mid, filled, v1, low, here, high)
                _add_across(flat, mid + line, filled, v2, low, here, high)


@njit(inline="always")
def _add_across(flat: Array, mid: Any, step: Any, v: Any, low: Any, here: Any, high: Any) -> None:
    """Add eight components times `v` to three nodes of a line of the map."""
    store(flat, mid - step, add_scaled(load(flat, mid - step), v, low))
    store(flat, mid, add_scaled(load(flat, mid), v, here))
    store(flat, mid + step, add_scaled(load(flat, mid + step), v, high))

"""Profiles of one voxel across the beamlets of a beam and along them, and their products: parts of compiled kernels."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
from numba import njit

from .numba_lanes import LANES, add_scaled, load, plus, scaled, store

Array = npt.NDArray[Any]

BLOCK = 128
"""Voxels that share one set of buffers."""
# Unsigned, as all that indices are made of: a signed index would be tested for counting from the end.
_2, _LANES = np.uint64(2), np.uint64(LANES)


def with_spare_node(table: Array, node: Array) -> Array:
    """The table, with one more node at its end where the last is read: lanes read up to seven numbers too many."""
    if node.size == 0 or node.max() + 2 < len(table):
        return table
    return np.concatenate([table, np.zeros_like(table[:1])])


@njit(cache=True)
def buffers(components: int, lines: int, columns: int, like: Array) -> tuple[Array, Array, Array]:
    """Profiles across and along, padded to whole lanes and one row more, and room for their products."""
    wide, high = (columns + LANES - 1) // LANES * LANES, (lines + LANES - 1) // LANES * LANES
    across, along = np.zeros((components + 1, wide), like.dtype), np.zeros((components + 1, high), like.dtype)
    return across[:components], along[:components], np.empty((lines, wide), like.dtype)


@njit(cache=True)
def cells(row: Array, column: Array, lattice: Array) -> Array:
    """Where each beamlet's cell lies in the lattice, flat; unsigned indices spare the test for negative ones."""
    return (row * lattice.shape[1] + column).astype(np.uint64)


@njit(cache=True)
def read(table: Array, node: int, offset: float, factors: Array, part: tuple[int, int], result: Array) -> None:
    """Table values at one node and offset times a factor for each component, for the beamlets from..to of a part.

    Written in whole lanes, so that up to seven beamlets before and after the part are written too, with numbers that
    mean nothing beyond the last beamlet.
    """
    half = table.dtype.type(0.5)
    low = half * (half - offset) * (half - offset)
    here = table.dtype.type(0.75) - offset * offset
    high = half * (half + offset) * (half + offset)
    flat, written = table.reshape(table.size), result.reshape(result.size)
    length, padded = np.uint64(table.shape[2]), np.uint64(result.shape[1])
    plane = np.uint64(len(factors)) * length
    begin, end = np.uint64(part[0] // LANES * LANES), np.uint64(part[1])
    middle = np.uint64(node) * plane
    for c in range(np.uint64(len(factors))):
        below, centre, above = factors[c] * low, factors[c] * here, factors[c] * high
        for j in range(begin, end, _LANES):
            at = middle + c * length + j
            value = scaled(centre, load(flat, at))
            value = add_scaled(value, below, load(flat, at - plane))
            store(written, c * padded + j, add_scaled(value, above, load(flat, at + plane)))


@njit(cache=True)
def products(along: Array, across: Array, lines: int, lattice: Array) -> None:
    """sum_c along[c] across[c] on the whole lattice; the weights are in one of the two.

    Two sums, of the even and of the odd components, so that one need not wait for the other.
    """
    components, steps = across.shape[0], (np.uint64(along.shape[1]), np.uint64(across.shape[1]))
    pairs, remaining, nothing = (components - 1) // 2, components % 2 == 0, along.dtype.type(0.0)
    narrow, wide, flat = along.reshape(along.size), across.reshape(across.size), lattice.reshape(lattice.size)
    for j in range(np.uint64(lines)):
        for k in range(np.uint64(0), steps[1], _LANES):
            a, b = np.uint64(j), np.uint64(k)
            even = scaled(narrow[a], load(wide, b))
            odd = scaled(nothing, even)
            for _ in range(pairs):
                odd = add_scaled(odd, narrow[a + steps[0]], load(wide, b + steps[1]))
                a += _2 * steps[0]
                b += _2 * steps[1]
                even = add_scaled(even, narrow[a], load(wide, b))
            if remaining:
                odd = add_scaled(odd, narrow[a + steps[0]], load(wide, b + steps[1]))
            store(flat, j * steps[1] + k, plus(even, odd))

"""Profiles of one voxel across the beamlets of a beam and along them, and their products: parts of compiled kernels."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
from numba import njit

from .numba_lanes import LANES, add_scaled, load, scaled, store

Array = npt.NDArray[Any]
Four = tuple[Any, Any, Any, Any]

BLOCK = 128
"""Voxels that share one set of buffers."""
FOUR = 4
"""Rows of beamlets whose entries are summed side by side: none of the sums then waits for its own last term, and what
they share is read once."""
# Unsigned, as all that indices are made of: a signed index would be tested for counting from the end.
_0, _1, _2, _3, _FOUR, _LANES = (np.uint64(number) for number in (0, 1, 2, 3, FOUR, LANES))


def with_spare_node(table: Array, node: Array) -> Array:
    """The table, with one more node at its end where the last is read: lanes read up to seven numbers too many."""
    if node.size == 0 or node.max() + 2 < len(table):
        return table
    return np.concatenate([table, np.zeros_like(table[:1])])


@njit(cache=True)
def buffers(components: int, lines: int, columns: int, like: Array) -> tuple[Array, Array, Array]:
    """Profiles across and along, component after component, and room for their products, in whole lanes and fours.

    The profiles have as much room behind them as is read or written too much.
    """
    wide, high = (columns + LANES - 1) // LANES * LANES, (lines + FOUR - 1) // FOUR * FOUR
    across = np.zeros(components * columns + LANES, like.dtype)
    along = np.zeros(components * lines + LANES, like.dtype)
    return across, along, np.empty((high, wide), like.dtype)


@njit(cache=True)
def cells(row: Array, column: Array, lattice: Array) -> Array:
    """Where each beamlet's cell lies in the lattice, flat; unsigned indices spare the test for negative ones."""
    return (row * lattice.shape[1] + column).astype(np.uint64)


@njit(cache=True)
def read(table: Array, node: int, offset: float, profile: Array) -> None:
    """Table values at one node and offset, for all components and beamlets; up to seven numbers more are written."""
    half = table.dtype.type(0.5)
    low = half * (half - offset) * (half - offset)
    here = table.dtype.type(0.75) - offset * offset
    high = half * (half + offset) * (half + offset)
    flat, plane = table.reshape(table.size), np.uint64(table.shape[1] * table.shape[2])
    middle = np.uint64(node) * plane
    for j in range(_0, plane, _LANES):
        at = middle + j
        value = add_scaled(scaled(here, load(flat, at)), low, load(flat, at - plane))
        store(profile, j, add_scaled(value, high, load(flat, at + plane)))


@njit(cache=True)
def in_four_rows(weights: Array, along: Array, across: Array, size: tuple[int, int], rows: Four, column: int) -> Four:
    """sum_c weights[c] along[c] across[c] in four rows of the lattice, for eight columns from one on.

    `size` is that of the lattice: how many rows and columns a component has in its profiles.
    """
    a, b, c, d = rows
    here = scaled(weights[_0], load(across, column))
    sums = scaled(along[a], here), scaled(along[b], here), scaled(along[c], here), scaled(along[d], here)
    for component in range(_1, np.uint64(len(weights))):
        down, right = component * size[0], component * size[1]
        here = scaled(weights[component], load(across, column + right))
        sums = (
            add_scaled(sums[0], along[a + down], here),
            add_scaled(sums[1], along[b + down], here),
            add_scaled(sums[2], along[c + down], here),
            add_scaled(sums[3], along[d + down], here),
        )
    return sums


@njit(cache=True)
def products(weights: Array, along: Array, across: Array, size: tuple[int, int], lattice: Array) -> None:
    """sum_c weights[c] along[c] across[c] on the whole lattice; beyond its rows and columns stands nothing of use."""
    flat, wide = lattice.reshape(lattice.size), np.uint64(lattice.shape[1])
    for j in range(_0, np.uint64(len(lattice)), _FOUR):
        for k in range(_0, wide, _LANES):
            sums = in_four_rows(weights, along, across, size, (j, j + _1, j + _2, j + _3), k)
            at = j * wide + k
            store(flat, at, sums[0])
            store(flat, at + wide, sums[1])
            store(flat, at + _2 * wide, sums[2])
            store(flat, at + _3 * wide, sums[3])

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


def flat(array: Array) -> Array:
    """The array in one dimension, copied only where its entries do not follow each other."""
    return np.ascontiguousarray(array).reshape(array.size)


def with_spare_node(table: Array, node: Array) -> Array:
    """The table, with one more node at its end where the last is read: lanes read up to seven numbers too many."""
    if node.size == 0 or node.max() + 2 < len(table):
        return table
    return np.concatenate([table, np.zeros_like(table[:1])])


@njit(cache=True)
def buffers(components: int, lines: int, columns: int, like: Array) -> tuple[Array, Array, Array, Any]:
    """Profiles across and along, component after component, room for their products in whole lanes and fours, flat,
    and how wide a row of these is.

    The profiles have as much room behind them as is read or written too much.
    """
    wide, high = (columns + LANES - 1) // LANES * LANES, (lines + FOUR - 1) // FOUR * FOUR
    across = np.zeros(components * columns + LANES, like.dtype)
    along = np.zeros(components * lines + LANES, like.dtype)
    return across, along, np.empty(high * wide, like.dtype), np.uint64(wide)


@njit(cache=True)
def cells(row: Array, column: Array, wide: int) -> Array:
    """Where each beamlet's cell lies in the flat lattice; unsigned indices spare the test for negative ones."""
    return (row * wide + column).astype(np.uint64)


@njit(cache=True)
def read(table: Array, plane: int, node: int, offset: float, profile: Array) -> None:
    """Values at one node and offset of a flat table, for all components and beamlets: `plane` of them.

    Up to seven numbers more are written.
    """
    low, here, high = _taps(table.dtype.type(0.5), offset)
    middle = np.uint64(node) * plane
    for j in range(_0, plane, _LANES):
        at = middle + j
        value = add_scaled(scaled(here, load(table, at)), low, load(table, at - plane))
        store(profile, j, add_scaled(value, high, load(table, at + plane)))


@njit(cache=True)
def read_weighted(
    table: Array, plane: int, node: int, offset: float, weights: Array, voxel: int, components: int, profile: Array
) -> None:
    """The same, each component times its weight for a voxel; weights are flat, voxel after voxel."""
    low, here, high = _taps(table.dtype.type(0.5), offset)
    middle, length, own = np.uint64(node) * plane, plane // components, np.uint64(voxel) * components
    for component in range(_0, components):
        weight, first = weights[own + component], component * length
        below, at, above = low * weight, here * weight, high * weight
        # What is written too much belongs to the next component, which writes over it.
        for j in range(first, first + length, _LANES):
            i = middle + j
            value = add_scaled(scaled(at, load(table, i)), below, load(table, i - plane))
            store(profile, j, add_scaled(value, above, load(table, i + plane)))


@njit(cache=True)
def _taps(half: float, offset: float) -> tuple[float, float, float]:
    """What the three nodes around a place count (quadratic B-spline)."""
    here = half + half * half - offset * offset
    return half * (half - offset) * (half - offset), here, half * (half + offset) * (half + offset)


# Inlined by numba: LLVM does not, and to hand arrays over, field by field, takes longer than the sums.
@njit(cache=True, inline="always")
def in_four_rows(along: Array, across: Array, size: tuple[int, int], components: int, rows: Four, column: int) -> Four:
    """sum_c along[c] across[c] in four rows of the lattice, for eight columns from one on.

    `size` is that of the lattice: how many rows and columns a component has in its profiles.
    """
    a, b, c, d = rows
    here = load(across, column)
    one, two = scaled(along[a], here), scaled(along[b], here)
    three, four = scaled(along[c], here), scaled(along[d], here)
    for component in range(_1, components):
        down, here = component * size[0], load(across, component * size[1] + column)
        one = add_scaled(one, along[a + down], here)
        two = add_scaled(two, along[b + down], here)
        three = add_scaled(three, along[c + down], here)
        four = add_scaled(four, along[d + down], here)
    return one, two, three, four


@njit(cache=True)
def products(along: Array, across: Array, size: tuple[int, int], components: int, wide: int, lattice: Array) -> None:
    """sum_c along[c] across[c] on the whole flat lattice, whose rows are `wide`; beyond its rows and columns stands
    nothing of use."""
    for j in range(_0, size[0], _FOUR):
        for k in range(_0, wide, _LANES):
            sums = in_four_rows(along, across, size, components, (j, j + _1, j + _2, j + _3), k)
            store_four(lattice, j * wide + k, wide, sums)


@njit(cache=True, inline="always")
def store_four(lattice: Array, at: int, wide: int, sums: Four) -> None:
    """Sums in four rows of a flat lattice, from one cell on."""
    store(lattice, at, sums[0])
    store(lattice, at + wide, sums[1])
    store(lattice, at + _2 * wide, sums[2])
    store(lattice, at + _3 * wide, sums[3])

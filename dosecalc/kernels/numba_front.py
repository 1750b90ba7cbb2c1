"""How far rays from a source run through nothing but one density before they meet anything: they start there.

In front of a patient lies air, or nothing at all where the outside of the Body does not count: up to two thirds of the
cells that a ray crosses. Blocks of cells that hold anything else are projected from the source onto bins of direction;
the nearest of a bin is where its rays begin. No ray passes more than it may, so that depths stay exact.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import numpy.typing as npt
from numba import njit, prange

from .numba_lanes import LANES, all_are

Array = npt.NDArray[Any]
Cell = tuple[int, int, int]

BLOCK = LANES
"""Cells along an edge of a block, eight: smaller ones are nearer to what they hold and take longer to project."""
BINS = 64
"""Of direction, along either axis across: about a third of a block each where a grid spans 20 blocks."""
WIDER = 1e-6
"""Cells by which a block is taken to be larger: no rounding lets a ray start inside it."""
OUTSIDE = 1.0
"""Cells by which a source must lie outside the grid."""


@njit(parallel=True, cache=True)
def passed_shares(density: Array, source: Array, targets: Array, air: float) -> Array:
    """Share of each ray, (n,), before which it meets no density but that of the grid's first cell; infinite where it
    meets no other, 0 where that is one of a medium.

    Arguments are those of `numpy_rays.trace`.
    """
    shares = np.zeros(len(targets))
    counts = density.shape[2], density.shape[1], density.shape[0]
    along = _axis_away(counts, source)
    if along < 0 or not density[0, 0, 0] < air:
        return shares
    i, j = (1 if along == 0 else 0), (1 if along == 2 else 2)
    low_i, high_i = _slopes(-0.5, counts[i] - 0.5, source[i], -0.5, counts[along] - 0.5, source[along])
    low_j, high_j = _slopes(-0.5, counts[j] - 0.5, source[j], -0.5, counts[along] - 0.5, source[along])
    low, per = np.array([low_i, low_j]), np.array([BINS / (high_i - low_i), BINS / (high_j - low_j)])
    nearest = _nearest(density, source, along, i, j, low, per)
    for n in prange(len(targets)):
        away = targets[n, along] - source[along]
        if away != 0.0:
            p = math.floor(((targets[n, i] - source[i]) / away - low[0]) * per[0])
            q = math.floor(((targets[n, j] - source[j]) / away - low[1]) * per[1])
            if 0 <= p < BINS and 0 <= q < BINS:
                shares[n] = nearest[p, q] / abs(away)
    return shares


@njit(cache=True)
def _nearest(density: Array, source: Array, along: int, i: int, j: int, low: Array, per: Array) -> Array:
    """Distance in cells along an axis at which the blocks of each bin begin that hold another density than the first
    cell, infinite where there are none; bins are of the slopes along the axes i and j, from `low` on."""
    nearest = np.full((BINS, BINS), np.inf)
    first, last = np.empty(3), np.empty(3)
    flat, counts = density.reshape(density.size), density.shape
    for z in range(0, counts[0], BLOCK):
        for y in range(0, counts[1], BLOCK):
            for x in range(0, counts[2], BLOCK):
                end = min(z + BLOCK, counts[0]), min(y + BLOCK, counts[1]), min(x + BLOCK, counts[2])
                if _holds_only(flat, counts, (z, y, x), end, flat[0]):
                    continue
                first[0], first[1], first[2] = x - source[0], y - source[1], z - source[2]
                for a in range(3):
                    last[a] = end[2 - a] - source[a] - 0.5 + WIDER
                    first[a] -= 0.5 + WIDER
                begins = min(abs(first[along]), abs(last[along]))
                low_i, high_i = _slopes(first[i], last[i], 0.0, first[along], last[along], 0.0)
                low_j, high_j = _slopes(first[j], last[j], 0.0, first[along], last[along], 0.0)
                for p in range(_bin(low_i, low[0], per[0]), _bin(high_i, low[0], per[0]) + 1):
                    for q in range(_bin(low_j, low[1], per[1]), _bin(high_j, low[1], per[1]) + 1):
                        nearest[p, q] = min(nearest[p, q], begins)
    return nearest


@njit(cache=True)
def _axis_away(counts: tuple[int, int, int], source: Array) -> int:
    """The axis along which the source lies furthest outside the grid; -1 where it lies inside along all."""
    found, furthest = -1, OUTSIDE
    for a in range(3):
        away = max(-0.5 - source[a], source[a] - (counts[a] - 0.5))
        if away > furthest:
            found, furthest = a, away
    return found


@njit(cache=True)
def _slopes(low: float, high: float, across: float, near: float, far: float, along: float) -> tuple[float, float]:
    """Least and largest slope of rays to a rectangle, from a source at `across`, `along`."""
    a, b = (low - across) / (near - along), (high - across) / (near - along)
    c, d = (low - across) / (far - along), (high - across) / (far - along)
    return min(min(a, b), min(c, d)), max(max(a, b), max(c, d))


@njit(cache=True)
def _holds_only(flat: Array, counts: Cell, begin: Cell, end: Cell, value: float) -> bool:
    """Whether all cells of a block have one value; z, y and x are in the order of the array."""
    for z in range(begin[0], end[0]):
        for y in range(begin[1], end[1]):
            at = (z * counts[1] + y) * counts[2] + begin[2]
            if end[2] - begin[2] == LANES:
                if not all_are(flat, np.uint64(at), value):
                    return False
                continue
            for x in range(end[2] - begin[2]):
                if flat[at + x] != value:
                    return False
    return True


@njit(cache=True)
def _bin(slope: float, low: float, per: float) -> int:
    return min(max(math.floor((slope - low) * per), 0), BINS - 1)

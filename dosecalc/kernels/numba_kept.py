"""Compiled twins of `numpy_pairs`, which documents them: which entries of the rows the stored matrix keeps."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
from numba import njit, prange

Array = npt.NDArray[Any]


@njit(parallel=True, cache=True)
def count_kept(
    values: Array,
    position: tuple[Array, Array],
    centre: tuple[Array, Array],
    first: Array,
    cutoff_mm: float,
    least: Array,
) -> Array:
    counts = np.empty(len(values), np.int64)
    square = cutoff_mm * cutoff_mm
    every = least.max() == -np.inf
    for n in prange(len(values)):
        count = 0
        for beam in range(len(first) - 1):
            u, v = position[0][n, beam], position[1][n, beam]
            # Unsigned indices spare the test for negative ones, which would keep the loop from vector lanes.
            for b in range(np.uint64(first[beam]), np.uint64(first[beam + 1])):
                across, along = u - centre[0][b], v - centre[1][b]
                if across * across + along * along <= square and (every or values[n, b] > least[b]):
                    count += 1
        counts[n] = count
    return counts


@njit(parallel=True, cache=True)
def fill_kept(
    values: Array,
    position: tuple[Array, Array],
    centre: tuple[Array, Array],
    first: Array,
    cutoff_mm: float,
    least: Array,
    start: Array,
    data: Array,
    indices: Array,
) -> None:
    square = cutoff_mm * cutoff_mm
    for n in prange(len(values)):
        at = np.uint64(start[n])
        for beam in range(len(first) - 1):
            u, v = position[0][n, beam], position[1][n, beam]
            for b in range(np.uint64(first[beam]), np.uint64(first[beam + 1])):
                across, along = u - centre[0][b], v - centre[1][b]
                if across * across + along * along <= square and values[n, b] > least[b]:
                    data[at], indices[at] = values[n, b], np.int32(b)
                    at += np.uint64(1)


@njit(cache=True)
def largest_near(
    values: Array,
    position: tuple[Array, Array],
    centre: tuple[Array, Array],
    first: Array,
    cutoff_mm: float,
    largest: Array,
) -> None:
    square = cutoff_mm * cutoff_mm
    for n in range(len(values)):
        for beam in range(len(first) - 1):
            u, v = position[0][n, beam], position[1][n, beam]
            for b in range(np.uint64(first[beam]), np.uint64(first[beam + 1])):
                across, along = u - centre[0][b], v - centre[1][b]
                if values[n, b] > largest[b] and across * across + along * along <= square:
                    largest[b] = values[n, b]

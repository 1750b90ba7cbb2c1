"""Compiled twin of `numpy_pairs.fill_near`, which documents it: entries of the stored matrix, straight into it."""

from __future__ import annotations

import math
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
from numba import njit, prange

from ..errors import DoseError
from .numba_lanes import LANES, load, range_within, store, store_range, store_within, times
from .numba_profiles import BLOCK, FOUR, buffers, flat, in_four_rows, read, read_weighted, store_four, with_spare_node

Array = npt.NDArray[Any]
Some = tuple[Any, Any]

EVEN = 1e-9
"""Centres of a run count as evenly spaced if they lie within this share of their spacing of where they should."""
CLOSE = 1e-6
"""Where the cut-off falls this close to a centre, in spacings, the distance itself decides."""
SLACK_MM = 1e-6
"""Rows so little beyond the cut-off are looked at too: roundings are smaller."""
NONE = 1 << 20
"""Of a run without a beamlet in reach the first column, and its negative the end: beyond any lattice."""
_0, _1, _2, _3, _FOUR = (np.uint64(number) for number in (0, 1, 2, 3, FOUR))


class Runs(NamedTuple):
    """Beamlets of one beam that follow each other in one row of its lattice, v ascending; four empty ones at the end.

    Attributes
    ----------
    row : (r,) uint64
        In the lattice.
    column, length : (r,) int64
        First column in the lattice, and how many beamlets.
    beamlet : (r,) int64
        Number of the first one in the whole plan.
    u_mm, v_mm : (r,) float64
        Centre of the first one.
    per_mm, close : (r,) float64
        1 / spacing, and how close to a centre the cut-off must fall, in spacings, for the distance to decide.
    """

    row: Array
    column: Array
    length: Array
    beamlet: Array
    u_mm: Array
    v_mm: Array
    per_mm: Array
    close: Array


def fill_near(
    rows: tuple[Array, ...],
    values: Array,
    position: tuple[Array, Array],
    centre: tuple[Array, Array],
    first: Array,
    cutoff_mm: float,
    count: Array,
    start: Array,
    data: Array,
    indices: Array,
) -> None:
    table_v, table_u, iv, iu, fv, fu, weights, row, column, output = rows
    u, v = (np.ascontiguousarray(c) for c in centre)
    runs = _runs(row, column, u, v, int(first[0]))
    # Whole lanes of it are read.
    lattice = np.zeros((table_v.shape[2], table_u.shape[2] + LANES), weights.dtype)
    lattice[row, column] = output
    size = np.uint64(table_v.shape[2]), np.uint64(table_u.shape[2])
    tables = with_spare_node(table_v, iv), with_spare_node(table_u, iu)
    whole = (*(flat(each) for each in (*tables, weights, lattice)), size, np.uint64(weights.shape[1]))
    places = position[0][:, 0], position[1][:, 0], u, runs, cutoff_mm * cutoff_mm
    if wrong := _fill_near(*whole, (iv, iu), (fv, fu), *places, count, start, data, indices):
        raise DoseError(
            f"{wrong} voxels have other beamlets within the cut-off of {cutoff_mm:g} mm than were counted.",
            remedy="Another backend, or a cut-off that differs a little, avoids it; please report this case.",
        )


def _runs(row: Array, column: Array, u: Array, v: Array, first: int) -> Runs:
    breaks = (np.diff(row) != 0) | (np.diff(column) != 1)
    begin = np.flatnonzero(np.append(True, breaks)) if len(row) else np.zeros(0, np.int64)
    length, beamlet = np.diff(np.append(begin, len(row))), begin + first
    per_mm, close = np.ones(len(begin)), np.full(len(begin), CLOSE)
    for r, (start, count) in enumerate(zip(beamlet, length, strict=True)):
        own = u[start : start + count]
        if own[-1] > own[0]:
            per_mm[r] = (count - 1) / (own[-1] - own[0])
        if np.abs((own - own[0]) * per_mm[r] - np.arange(count)).max() > EVEN:
            close[r] = np.inf
    none = np.zeros(FOUR)
    found = [np.append(each, none).astype(np.int64) for each in (column[begin], length, beamlet)]
    placed = [np.append(each, none) for each in (u[beamlet], v[beamlet], per_mm, close)]
    return Runs(np.append(row[begin], none).astype(np.uint64), *found, *placed)


# Flat arrays: to make a view of one for a voxel counts one more user of its memory, by an atomic instruction.
@njit(parallel=True, cache=True)
def _fill_near(
    table_v: Array,
    table_u: Array,
    weights: Array,
    output: Array,
    size: tuple[int, int],
    components: int,
    node: tuple[Array, Array],
    offset: tuple[Array, Array],
    u_mm: Array,
    v_mm: Array,
    centre_u: Array,
    runs: Runs,
    square: float,
    counted: Array,
    start: Array,
    data: Array,
    indices: Array,
) -> int:
    """How many voxels would not have fitted the room that was counted; nothing is written for them."""
    wrong, plane_v, plane_u = 0, components * size[0], components * size[1]
    wide = size[1] + np.uint64(LANES)
    for block in prange((len(u_mm) + BLOCK - 1) // BLOCK):
        across, along, _, _ = buffers(components, size[0], size[1], weights)
        sums = np.empty(len(runs.row) * wide, weights.dtype)
        low, high = np.empty(len(runs.row), np.int32), np.empty(len(runs.row), np.int32)
        some = np.uint64(0), np.uint64(0)
        for n in range(block * BLOCK, min((block + 1) * BLOCK, len(u_mm))):
            some = _rows_near(v_mm[n], math.sqrt(square), runs.v_mm, some)
            if _near(u_mm[n], v_mm[n], runs, square, some, low, high):
                _look_closer(u_mm[n], v_mm[n], centre_u, runs, square, some, low, high)
            count = _in_reach(some, low, high)
            if count != counted[n]:
                wrong += 1
            elif count:
                read(table_u, plane_u, node[1][n], offset[1][n], across)
                read_weighted(table_v, plane_v, node[0][n], offset[0][n], weights, n, components, along)
                _sum(along, across, size, components, runs, some, low, high, wide, sums)
                end = start[n] + count
                _write(sums, output, wide, runs, some, low, high, start[n], end, data, indices)
    return wrong


@njit(cache=True)
def _rows_near(v: float, reach: float, v_mm: Array, some: Some) -> Some:
    """From and to which run rows lie within reach, in whole fours.

    They are looked for from those of the voxel before: neighbours lie close.
    """
    low, high, most = v - reach - SLACK_MM, v + reach + SLACK_MM, np.uint64(len(v_mm) - FOUR)
    first, end = some[0], min(some[1], most)
    while first > _0 and v_mm[first - _1] >= low:
        first -= _1
    while first < most and v_mm[first] < low:
        first += _1
    while end > _0 and v_mm[end - _1] > high:
        end -= _1
    while end < most and v_mm[end] <= high:
        end += _1
    return first, first + (max(first, end) - first + _3) // _FOUR * _FOUR


@njit(cache=True)
def _near(u: float, v: float, runs: Runs, square: float, some: Some, low: Array, high: Array) -> bool:
    """From and to which column of some runs beamlets lie within the cut-off, and whether any is too close to say.

    Without branches, so that it runs in vector lanes.
    """
    closer = False
    for r in range(some[0], some[1]):
        along = v - runs.v_mm[r]
        room, from_first, last = square - along * along, u - runs.u_mm[r], runs.length[r] - 1.0
        half = math.sqrt(max(room, 0.0))
        x, y = (from_first - half) * runs.per_mm[r], (from_first + half) * runs.per_mm[r]
        begin, end = np.floor(min(max(x, -1.0), last)) + 1.0, np.floor(min(max(y, -1.0), last)) + 1.0
        # Written so that an infinite cut-off, where the difference is no number, needs no look either.
        closer |= (abs(x - np.rint(x)) < runs.close[r]) | (abs(y - np.rint(y)) < runs.close[r])
        any_here = (room >= 0.0) & (begin < end)
        low[r] = runs.column[r] + np.int64(begin) if any_here else NONE
        high[r] = runs.column[r] + np.int64(end) if any_here else -NONE
    return closer


@njit(cache=True)
def _look_closer(
    u: float, v: float, centre_u: Array, runs: Runs, square: float, some: Some, low: Array, high: Array
) -> None:
    """The same by the distances themselves; beamlets within the cut-off follow each other."""
    for r in range(some[0], some[1]):
        along, begin, end = (v - runs.v_mm[r]) ** 2, 0, 0
        for k in range(runs.length[r]):
            if (u - centre_u[runs.beamlet[r] + k]) ** 2 + along <= square:
                begin, end = k if begin == end else begin, k + 1
        low[r], high[r] = (runs.column[r] + begin, runs.column[r] + end) if begin < end else (NONE, -NONE)


@njit(cache=True)
def _in_reach(some: Some, low: Array, high: Array) -> int:
    """How many beamlets the runs have within reach."""
    count = 0
    for r in range(some[0], some[1]):
        count += max(high[r] - low[r], 0)
    return count


@njit(cache=True, inline="always")
def _sum(
    along: Array,
    across: Array,
    size: tuple[int, int],
    components: int,
    runs: Runs,
    some: Some,
    low: Array,
    high: Array,
    wide: int,
    sums: Array,
) -> None:
    """Sums of one voxel for the columns that its runs have within reach, a row of so many numbers for each run."""
    for r in range(some[0], some[1], _FOUR):
        begin = np.int64(min(min(low[r], low[r + _1]), min(low[r + _2], low[r + _3])))
        end = np.int64(max(max(high[r], high[r + _1]), max(high[r + _2], high[r + _3])))
        rows = runs.row[r], runs.row[r + _1], runs.row[r + _2], runs.row[r + _3]
        for k in range(begin, end, LANES):
            column = np.uint64(k)
            four = in_four_rows(along, across, size, components, rows, column)
            store_four(sums, r * wide + column, wide, four)


@njit(cache=True, inline="always")
def _write(
    sums: Array,
    output: Array,
    wide: int,
    runs: Runs,
    some: Some,
    low: Array,
    high: Array,
    place: int,
    end: int,
    data: Array,
    indices: Array,
) -> None:
    """Entries of one voxel from `place` to `end`, run after run.

    What is written too much of a run belongs to the next, which writes over it; behind the last nothing is touched.
    """
    for r in range(some[0], some[1]):
        count: Any = max(np.int64(high[r]) - np.int64(low[r]), 0)
        first = np.uint64(low[r])
        beamlet = np.int32(runs.beamlet[r] - runs.column[r] + low[r])
        own, of_row = r * wide + first, runs.row[r] * wide + first
        for i in range(0, count, LANES):
            j, at = np.uint64(i), np.uint64(place + i)
            values = times(load(sums, own + j), load(output, of_row + j))
            if place + i + LANES <= end:
                store(data, at, values)
                store_range(indices, at, np.int32(beamlet + i))
            else:
                store_within(data, at, values, np.int32(0), np.uint32(count - i))
                range_within(indices, at, np.int32(beamlet + i), np.int32(0), np.uint32(count - i))
        place += count

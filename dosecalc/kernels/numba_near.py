"""Compiled twin of `numpy_pairs.fill_near`, which documents it: entries of the stored matrix, straight into it."""

from __future__ import annotations

import math
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
from numba import njit, prange

from ..errors import DoseError
from .numba_lanes import LANES, load, range_within, store_within, times
from .numba_profiles import BLOCK, FOUR, buffers, in_four_rows, read, with_spare_node

Array = npt.NDArray[Any]
Part = tuple[Any, Any, Any, Any, Any, Any]
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
    row, column, length : (r,) int64
        Row and first column in the lattice, and how many beamlets.
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
    # Whole lanes of it are read, in four rows at once.
    lattice = np.zeros((table_v.shape[2] + 1, table_u.shape[2] + LANES), weights.dtype)
    lattice[row, column] = output
    tables = with_spare_node(table_v, iv), with_spare_node(table_u, iu)
    places = position[0][:, 0], position[1][:, 0], u, runs, cutoff_mm * cutoff_mm
    if wrong := _fill_near(*tables, (iv, iu), (fv, fu), weights, lattice, *places, count, start, data, indices):
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
    whole = (row[begin], column[begin], length, beamlet)
    none = np.zeros(FOUR)
    found = [np.append(each, none).astype(np.int64) for each in whole]
    placed = [np.append(each, none) for each in (u[beamlet], v[beamlet], per_mm, close)]
    return Runs(*found, *placed)


@njit(parallel=True, cache=True)
def _fill_near(
    table_v: Array,
    table_u: Array,
    node: tuple[Array, Array],
    offset: tuple[Array, Array],
    weights: Array,
    output: Array,
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
    wrong = 0
    size = np.uint64(table_v.shape[2]), np.uint64(table_u.shape[2])
    for block in prange((len(u_mm) + BLOCK - 1) // BLOCK):
        across, along, _ = buffers(weights.shape[1], table_v.shape[2], table_u.shape[2], weights)
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
                read(table_u, node[1][n], offset[1][n], across)
                read(table_v, node[0][n], offset[0][n], along)
                _write(weights[n], along, across, size, runs, some, low, high, output, start[n], data, indices)
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


@njit(cache=True)
def _write(
    weights: Array,
    along: Array,
    across: Array,
    size: tuple[int, int],
    runs: Runs,
    some: Some,
    low: Array,
    high: Array,
    output: Array,
    place: int,
    data: Array,
    indices: Array,
) -> None:
    """Entries of one voxel from `place` on, of four runs and eight columns at a time."""
    flat, wide = output.reshape(output.size), np.uint64(output.shape[1])
    for r in range(some[0], some[1], _FOUR):
        begin = np.int64(min(min(low[r], low[r + _1]), min(low[r + _2], low[r + _3])))
        end = np.int64(max(max(high[r], high[r + _1]), max(high[r + _2], high[r + _3])))
        one = _part(runs, r, low, high, begin, place)
        two = _part(runs, r + _1, low, high, begin, one[-1])
        three = _part(runs, r + _2, low, high, begin, two[-1])
        four = _part(runs, r + _3, low, high, begin, three[-1])
        place, rows = four[-1], (one[0], two[0], three[0], four[0])
        for k in range(begin, end, LANES):
            column = np.uint64(k)
            sums = in_four_rows(weights, along, across, size, rows, column)
            _store(data, indices, times(sums[0], load(flat, one[0] * wide + column)), one, k)
            _store(data, indices, times(sums[1], load(flat, two[0] * wide + column)), two, k)
            _store(data, indices, times(sums[2], load(flat, three[0] * wide + column)), three, k)
            _store(data, indices, times(sums[3], load(flat, four[0] * wide + column)), four, k)


@njit(cache=True)
def _part(runs: Runs, r: int, low: Array, high: Array, begin: int, place: int) -> Part:
    """Of one run: row, first column and number of beamlets within reach, what a column is less than its place in the
    matrix and its beamlet's number, and where the entries of the next run begin.

    A run without any is stated from the column `begin` on, so that no place far outside the matrix is looked at.
    """
    count: Any = max(np.int64(high[r]) - np.int64(low[r]), 0)
    first = np.int64(low[r]) if count else begin
    return np.uint64(runs.row[r]), first, count, place - first, runs.beamlet[r] - runs.column[r], place + count


@njit(cache=True)
def _store(data: Array, indices: Array, values: Any, part: Part, column: int) -> None:
    """Entries of one run, of those it has among eight columns from one on."""
    _, first, count, to_place, to_beamlet, _ = part
    at, skipped = np.uint64(column + to_place), np.int32(column - first)
    store_within(data, at, values, skipped, np.uint32(count))
    range_within(indices, at, np.int32(column + to_beamlet), skipped, np.uint32(count))

"""Compiled twin of `numpy_pairs.fill_near`, which documents it: entries of the stored matrix, straight into it."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import numpy.typing as npt
from numba import njit, prange

from ..errors import DoseError
from .numba_lanes import LANES, add_scaled, load, plus, scaled, store_range, store_some, times
from .numba_profiles import BLOCK, buffers, read, with_spare_node

Array = npt.NDArray[Any]
Runs = tuple[Array, Array, Array, Array]
Spacing = tuple[Array, Array]

EVEN = 1e-9
"""Centres of a run count as evenly spaced if they lie within this share of their spacing of where they should."""
CLOSE = 1e-6
"""Where the cut-off falls this close to a centre, in spacings, the distance itself decides."""
_2, _LANES = np.uint64(2), np.uint64(LANES)


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
    own = slice(int(first[0]), int(first[1]))
    u, v = (np.ascontiguousarray(c[own]) for c in centre)
    runs = _runs(row, column)
    padded = np.append(output.astype(weights.dtype), np.zeros(LANES, weights.dtype))
    places = position[0][:, 0], position[1][:, 0], (u, v), runs, _spacing(u, runs), cutoff_mm * cutoff_mm
    tables = with_spare_node(table_v, iv), with_spare_node(table_u, iu)
    given = *tables, (iv, iu), (fv, fu), weights, padded, *places, own.start
    if wrong := _fill_near(*given, count, start, data, indices):
        raise DoseError(
            f"{wrong} voxels have other beamlets within the cut-off of {cutoff_mm:g} mm than were counted.",
            remedy="Another backend, or a cut-off that differs a little, avoids it; please report this case.",
        )


def _runs(row: Array, column: Array) -> Runs:
    """Beamlets that follow each other in one row of the lattice: row, first column, first beamlet and length."""
    breaks = (np.diff(row) != 0) | (np.diff(column) != 1)
    begin = np.flatnonzero(np.append(True, breaks)) if len(row) else np.zeros(0, np.int64)
    return row[begin], column[begin], begin, np.diff(np.append(begin, len(row)))


def _spacing(u: Array, runs: Runs) -> Spacing:
    """1 / spacing of the centres of each run, and how close to one the cut-off must fall for it to be looked at."""
    per_mm, close = np.ones(len(runs[0])), np.full(len(runs[0]), CLOSE)
    for r, (begin, length) in enumerate(zip(*runs[2:], strict=True)):
        own = u[begin : begin + length]
        if own[-1] > own[0]:
            per_mm[r] = (length - 1) / (own[-1] - own[0])
        if np.abs((own - own[0]) * per_mm[r] - np.arange(length)).max() > EVEN:
            close[r] = np.inf
    return per_mm, close


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
    centre: tuple[Array, Array],
    runs: Runs,
    spacing: Spacing,
    square: float,
    beamlet: int,
    counted: Array,
    start: Array,
    data: Array,
    indices: Array,
) -> int:
    """How many voxels would not have fitted the room that was counted; nothing is written for them."""
    wrong = 0
    one = np.ones(weights.shape[1], weights.dtype)
    for block in prange((len(u_mm) + BLOCK - 1) // BLOCK):
        across, along, _ = buffers(weights.shape[1], table_v.shape[2], table_u.shape[2], weights)
        low, high = np.empty(len(runs[0]), np.int64), np.empty(len(runs[0]), np.int64)
        for n in range(block * BLOCK, min((block + 1) * BLOCK, len(u_mm))):
            count, lines, columns = _near(u_mm[n], v_mm[n], centre, runs, spacing, square, low, high)
            if count != counted[n]:
                wrong += 1
            elif count:
                read(table_u, node[1][n], offset[1][n], one, columns, across)
                read(table_v, node[0][n], offset[0][n], weights[n], lines, along)
                _write(along, across, runs, low, high, output, beamlet, start[n], data, indices)
    return wrong


@njit(cache=True)
def _near(
    u: float,
    v: float,
    centre: tuple[Array, Array],
    runs: Runs,
    spacing: Spacing,
    square: float,
    low: Array,
    high: Array,
) -> tuple[Any, tuple[Any, Any], tuple[Any, Any]]:
    """Which beamlets of each run, low..high, lie within the cut-off; how many in all, and their rows and columns."""
    count, left, right, lower, upper = 0, np.int64(1 << 30), np.int64(0), np.int64(0), np.int64(0)
    for r in range(np.uint64(len(runs[0]))):
        begin = np.uint64(runs[2][r])
        along = v - centre[1][begin]
        low[r] = high[r] = 0
        if along * along > square:
            continue
        half, from_first = math.sqrt(square - along * along), u - centre[0][begin]
        x, y = (from_first - half) * spacing[0][r], (from_first + half) * spacing[0][r]
        last = runs[3][r] - 1
        begins = 0 if x <= 0.0 else last + 1 if x > last else int(x) + 1
        ends = 0 if y < 0.0 else last + 1 if y >= last else int(y) + 1
        # Written so that an infinite cut-off, where the difference is no number, needs no look either.
        if abs(x - np.rint(x)) < spacing[1][r] or abs(y - np.rint(y)) < spacing[1][r]:
            own = centre[0][begin : begin + np.uint64(last + 1)]
            begins, ends = _settled(u, own, along * along, square, begins, ends)
        if begins >= ends:
            continue
        low[r], high[r] = begins, ends
        lower = runs[0][r] if count == 0 else min(lower, runs[0][r])
        upper = max(upper, runs[0][r] + 1)
        left, right = min(left, runs[1][r] + begins), max(right, runs[1][r] + ends)
        count += ends - begins
    return count, (lower, upper), (left, right)


@njit(cache=True)
def _settled(u: float, own: Array, along: float, square: float, begins: int, ends: int) -> tuple[int, int]:
    """The same by the distances themselves, from a guess on; those within the cut-off follow each other."""
    while begins > 0 and own[begins - 1] > u:
        begins -= 1
    while begins > 0 and (u - own[begins - 1]) ** 2 + along <= square:
        begins -= 1
    while begins < len(own) and own[begins] < u and (u - own[begins]) ** 2 + along > square:
        begins += 1
    ends = max(ends, begins)
    while ends < len(own) and (u - own[ends]) ** 2 + along <= square:
        ends += 1
    while ends > begins and (u - own[ends - 1]) ** 2 + along > square:
        ends -= 1
    return begins, ends


@njit(cache=True)
def _write(
    along: Array,
    across: Array,
    runs: Runs,
    low: Array,
    high: Array,
    output: Array,
    beamlet: int,
    at: int,
    data: Array,
    indices: Array,
) -> None:
    """Entries of one voxel from `at` on, eight at a time: the sums over components of even and of odd ones apart, so
    that one need not wait for the other."""
    components, steps = across.shape[0], (np.uint64(along.shape[1]), np.uint64(across.shape[1]))
    pairs, remaining, nothing = (components - 1) // 2, components % 2 == 0, along.dtype.type(0.0)
    place, narrow, wide = np.uint64(at), along.reshape(along.size), across.reshape(across.size)
    for r in range(np.uint64(len(low))):
        width = np.uint64(high[r] - low[r])
        line, column, own = np.uint64(runs[0][r]), np.uint64(runs[1][r] + low[r]), np.uint64(runs[2][r] + low[r])
        for k in range(np.uint64(0), width, _LANES):
            a, b = np.uint64(line), np.uint64(column + k)
            even = scaled(narrow[a], load(wide, b))
            odd = scaled(nothing, even)
            for _ in range(pairs):
                odd = add_scaled(odd, narrow[a + steps[0]], load(wide, b + steps[1]))
                a += _2 * steps[0]
                b += _2 * steps[1]
                even = add_scaled(even, narrow[a], load(wide, b))
            if remaining:
                odd = add_scaled(odd, narrow[a + steps[0]], load(wide, b + steps[1]))
            values = times(plus(even, odd), load(output, own + k))
            left = np.uint32(width - k)
            store_some(data, place + k, values, left)
            store_range(indices, place + k, np.int32(beamlet + np.int64(own + k)), left)
        place += width

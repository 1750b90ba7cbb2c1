"""The hot path on a GPU: names and arguments of `numpy_kernels`, which documents them; the kernels stand in *.cu files.

Arrays that are given on the device stay there; others are sent. What a kernel returns stays on the device until
`to_host`.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from ..errors import DoseError
from .cuda_device import blocks_of, profile_bytes, stride_of
from .cuda_launch import THREADS, Launcher
from .numpy_places import SURVEYED

Array = Any
Axis = tuple[Array, Array, Array]

TILE = 16
"""As in field_maps.cu: nodes of a block along each axis."""
COLLECT = (32, 16)
"""As in collect_field.cu: columns of a block, and parts into which their sums are divided."""
MOST_RANGES = 2
"""As in trace.cu: averages of one launch."""
NODES_PER_BLOCK = 16
"""Map nodes that one block of `scatter` collects; times the components it stays within 1024 threads up to 64."""
WARP = 32
ROWS_PER_BLOCK = 4
"""Rows of one block of `count_kept` and `fill_kept`: one warp each."""
MOST_SURVEYORS = 512
"""Blocks of `survey`, whose rows `join_survey` joins."""
SLAB = 64
"""Rows that one thread of `largest_near` looks through."""
PROFILE_BYTES = 32 * 1024
"""Shared memory for the profiles of a block's voxels, if one voxel's need no more."""
PROFILE_VOXELS = 8


@dataclass(frozen=True, slots=True, eq=False)
class CudaKernels(Launcher):
    """The kernel functions on one device."""

    def project(self, points_mm: Array, isocentre_mm: Array, axes: Array, sad_mm: float) -> tuple[Array, Array, Array]:
        count, given = len(points_mm), (self._in(a) for a in (points_mm, isocentre_mm, axes))
        u_mm, v_mm, magnification = (self.empty(count) for _ in range(3))
        self._per_result("project", count, (*given, float(sad_mm), count, u_mm, v_mm, magnification))
        return u_mm, v_mm, magnification

    def survey(
        self,
        place: tuple[Array, Array, Array],
        depth_mm: Array,
        scales: Array,
        density: tuple[float, float],
        result: Array,
    ) -> None:
        count = len(depth_mm)
        rows = self.empty((min(MOST_SURVEYORS, blocks_of(count, THREADS)), SURVEYED))
        given = (self._in(a) for a in (*place, depth_mm, scales))
        self._launch("survey", len(rows), THREADS, (*given, *map(float, density), count, len(rows), rows))
        self._launch("join_survey", 1, THREADS, (rows, len(rows), result))

    def blurred_squares(self, t_mm: Array, centre_mm: Array, width_mm: Array, sigma_mm: Array) -> Array:
        sizes = len(t_mm), len(sigma_mm), len(centre_mm)
        given, result = (self._in(a) for a in (t_mm, centre_mm, width_mm, sigma_mm)), self.empty(sizes)
        self._per_result("blurred_squares", result.size, (*given, *sizes[1:], result.size, result))
        return result

    def spline_coefficients(self, values: Array, negligible: float, real: npt.DTypeLike) -> Array:
        nodes, components, beamlets = values.shape
        result, given = self.empty(values.shape, real), self._in(values)
        arguments = given, float(negligible), nodes, components * beamlets, values.size, result
        self._per_result("spline_coefficients", values.size, arguments, real)
        return result

    def locate(self, t_mm: Array, start_mm: float, step_mm: float, real: npt.DTypeLike) -> tuple[Array, Array]:
        count = len(t_mm)
        node, offset = self.empty(count, np.int32), self.empty(count, real)
        self._per_result("locate", count, (self._in(t_mm), float(start_mm), float(step_mm), count, node, offset), real)
        return node, offset

    def trace(
        self, density: Array, source: Array, targets: Array, spacing: Array, range_mm: Array, air: float
    ) -> tuple[Array, Array]:
        count, ranges = len(targets), len(range_mm)
        depth, average = self.empty(count), self.empty((ranges, count))
        given = self._in(density, np.float32), *(self._in(a) for a in (source, targets, spacing))
        for start in range(0, max(ranges, 1), MOST_RANGES):
            part = range_mm[start : start + MOST_RANGES]
            sizes = (*density.shape, len(part), count)
            self._per_result("trace", count, (*given, self._in(part), float(air), *sizes, depth, average[start:]))
        return depth, average

    def component_weights(
        self,
        depth_nodes_mm: Array,
        scale_nodes: Array,
        primary: Array,
        scatter: Array,
        depth_mm: Array,
        scales: Array,
        magnification: Array,
        gy: float,
        real: npt.DTypeLike,
    ) -> Array:
        count, (depths, nodes, components) = len(depth_mm), primary.shape
        weights = self.empty((count, components), real)
        tables = (self._kept(a) for a in (depth_nodes_mm, np.log(scale_nodes), primary, scatter))
        places = (self._in(a) for a in (depth_mm, scales, magnification))
        numbers = float(scale_nodes[0]), float(gy), depths, nodes, count
        self._per_result("component_weights", count, (*tables, *places, *numbers, weights), real, components)
        return weights

    def field_maps(self, table_v: Array, field: Array, table_u: Array) -> Array:
        (nodes_v, components, rows), (nodes_u, _, columns) = table_v.shape, table_u.shape
        real = table_v.dtype
        half = self.empty((nodes_v, components, columns), real)
        maps = self.empty((nodes_v, nodes_u, components), real)
        lines = nodes_v * components
        given = self._in(table_v, real), self._in(field, real), lines, rows, columns
        self._per_result("field_lines", lines * columns, (*given, half), real, components)
        blocks = blocks_of(nodes_u, TILE), blocks_of(nodes_v, TILE)
        arguments = half, self._in(table_u, real), nodes_v, nodes_u, columns, maps
        self._launch("field_maps", blocks, (TILE, TILE), arguments, real, components)
        return maps

    def collect_field(self, table_v: Array, planes: Array, table_u: Array) -> Array:
        (nodes_v, components, rows), (nodes_u, _, columns) = table_v.shape, table_u.shape
        real, lines = table_v.dtype, nodes_v * components
        half, result = self.empty((nodes_v, components, columns)), self.empty((rows, columns), real)
        given = self._in(planes, real), self._in(table_u, real), nodes_v, nodes_u, columns
        self._per_result("collect_lines", lines * columns, (*given, half), real, components)
        blocks = blocks_of(columns, COLLECT[0]), rows
        arguments = self._in(table_v, real), half, lines, rows, columns, result
        self._launch("collect_field", blocks, COLLECT, arguments, real, components)
        return result

    def gather(self, maps: Array, iv: Array, iu: Array, fv: Array, fu: Array, weights: Array) -> Array:
        real, (count, components) = weights.dtype, weights.shape
        dose = self.empty(count, real)
        taps = self._taps(iv, iu, fv, fu, weights)
        arguments = self._in(maps, real), *taps, maps.shape[1], count, dose
        self._per_result("gather", count, arguments, real, components)
        return dose

    def scatter(
        self, values: Array, shape: tuple[int, int], iv: Array, iu: Array, fv: Array, fu: Array, weights: Array
    ) -> Array:
        real, components = weights.dtype, weights.shape[1]
        planes = self.empty((components, *shape), real)
        order, starts = self._derived.get((iv, iu), tuple(shape), lambda: self._by_node(iv, iu, shape))
        offsets = (self._in(a, real) for a in (fv, fu, weights))
        arguments = self._in(values, real), order, starts, *offsets, *shape, planes
        blocks = blocks_of(shape[0] * shape[1], NODES_PER_BLOCK)
        self._launch("scatter", blocks, (components, NODES_PER_BLOCK), arguments, real, components)
        return planes

    def spline_rows(
        self,
        table_v: Array,
        table_u: Array,
        iv: Array,
        iu: Array,
        fv: Array,
        fu: Array,
        weights: Array,
        row: Array,
        column: Array,
        output: Array,
        result: Array,
    ) -> None:
        real, (count, components) = weights.dtype, weights.shape
        lines, columns = table_v.shape[2], table_u.shape[2]
        first, following = self._cells(row, column, lines, columns)
        given = self._in(table_v, real), self._in(table_u, real), *self._taps(iv, iu, fv, fu, weights)
        given = *given, first, following, self._in(output, real), lines, columns
        name = "spline_rows" if result.dtype == real else "spline_rows_wide"
        self._rows(name, given, count, result, real, components, profile_bytes(components, lines, columns, real))

    def direct_rows(
        self,
        u_mm: Array,
        v_mm: Array,
        weights: Array,
        columns: Axis,
        rows: Axis,
        row: Array,
        column: Array,
        output: Array,
        result: Array,
    ) -> None:
        (count, components), sizes = weights.shape, (len(rows[0]), len(columns[0]))
        given = tuple(self._in(a) for a in (u_mm, v_mm, weights, *columns, *rows))
        given = *given, *self._cells(row, column, *sizes), self._in(output), *sizes
        size = profile_bytes(components, *sizes, np.float64)
        self._rows("direct_rows", given, count, result, np.float64, components, size)

    def direct_dose(self, u_mm: Array, v_mm: Array, weights: Array, field: Array, columns: Axis, rows: Axis) -> Array:
        (count, components), (lines, width) = weights.shape, field.shape
        dose = self.empty(count)
        given = tuple(self._in(a) for a in (u_mm, v_mm, weights, field, *columns, *rows))
        shared = 8 * (components * (width | 1) + components * lines + THREADS)
        arguments = *given, lines, width, PROFILE_VOXELS, count, dose
        self._launch(
            "direct_dose", blocks_of(count, PROFILE_VOXELS), THREADS, arguments, np.float64, components, shared
        )
        return dose

    def count_kept(
        self,
        values: Array,
        position: tuple[Array, Array],
        centre: tuple[Array, Array],
        first: Array,
        cutoff_mm: float,
        least: Array,
    ) -> Array:
        counts = self.empty(len(values), np.int64)
        # One zero seen as a whole array (`repeated_zero`) has no step from one entry to the next.
        step = (stride_of(values), 1) if values.size and values.strides[1] else (0, 0)
        given = *self._places(values, position, centre, first, cutoff_mm), self._in(least)
        arguments = *given, len(first) - 1, *step, len(values), counts
        blocks = blocks_of(len(values), ROWS_PER_BLOCK)
        self._launch("count_kept", blocks, (WARP, ROWS_PER_BLOCK), arguments, values.dtype)
        return counts

    def fill_kept(
        self,
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
        given = *self._places(values, position, centre, first, cutoff_mm), self._in(least), self._in(start, np.int64)
        arguments = *given, len(first) - 1, stride_of(values), len(values), data, indices
        blocks = blocks_of(len(values), ROWS_PER_BLOCK)
        self._launch("fill_kept", blocks, (WARP, ROWS_PER_BLOCK), arguments, values.dtype)

    def fill_near(
        self,
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
        given = rows, values, position, centre, first, cutoff_mm, count, start, data, indices
        wrong = self.zeros(1, np.int32)
        self.begin_near(*given, wrong)
        self.refuse_miscounted(wrong, cutoff_mm)

    def begin_near(
        self,
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
        wrong: Array,
    ) -> None:
        """`fill_near` without waiting for it; `wrong` (1,) int32 counts what `refuse_miscounted` looks at."""
        table_v, table_u, iv, iu, fv, fu, weights, row, column, output = rows
        (voxels, components), real = weights.shape, weights.dtype
        sizes = table_v.shape[2], table_u.shape[2]
        given = self._in(table_v, real), self._in(table_u, real), *self._taps(iv, iu, fv, fu, weights)
        given = *given, *(self._in(a, np.int32) for a in (row, column)), self._in(output, real)
        begin, end = (int(each) for each in first)
        places = *(self._in(a) for a in position), *(self._kept(a) for a in centre), begin, float(cutoff_mm)
        counts = (self._in(a, np.int64) for a in (count, start))
        size = components * sum(sizes) * real.itemsize
        group = max(1, min(PROFILE_VOXELS, PROFILE_BYTES // size))
        arguments = *given, *places, *counts, *sizes, end - begin, voxels, data, indices, wrong
        blocks = blocks_of(voxels, group)
        self._launch("fill_near", blocks, (WARP, group), arguments, real, components, group * size)

    def refuse_miscounted(self, wrong: Array, cutoff_mm: float) -> None:
        """All calls of `begin_near` must have found as many beamlets as there was room for."""
        if other := int(self.to_host(wrong)[0]):
            raise DoseError(
                f"{other} voxels have other beamlets within the cut-off of {cutoff_mm:g} mm than were counted.",
                remedy="Another backend, or a cut-off that differs a little, avoids it; please report this case.",
            )

    def largest_near(
        self,
        values: Array,
        position: tuple[Array, Array],
        centre: tuple[Array, Array],
        first: Array,
        cutoff_mm: float,
        largest: Array,
    ) -> None:
        count, beamlets = values.shape
        given = self._places(values, position, centre, first, cutoff_mm)
        arguments = *given, len(first) - 1, stride_of(values), SLAB, count, largest
        blocks = blocks_of(count, SLAB), blocks_of(beamlets, THREADS)
        self._launch("largest_near", blocks, THREADS, arguments, values.dtype)

    def gamma_search(
        self,
        dose: Array,
        points: Array,
        expected: Array,
        criterion: Array,
        offsets: Array,
        scale: Array,
        step: float,
        most: float,
    ) -> Array:
        count, gamma = len(points), self.empty(len(points))
        given = (self._in(a) for a in (dose, points, expected, criterion, offsets, scale))
        sizes = (*dose.shape, len(offsets), count)
        self._per_result("gamma_search", count, (*given, float(step), float(most), *sizes, gamma))
        return gamma

    def _taps(self, iv: Array, iu: Array, fv: Array, fu: Array, weights: Array) -> tuple[Array, ...]:
        nodes = (self._in(a, np.int32) for a in (iv, iu))
        return *nodes, *(self._in(a, weights.dtype) for a in (fv, fu, weights))

    def _places(
        self, values: Array, position: tuple[Array, Array], centre: tuple[Array, Array], first: Array, cutoff_mm: float
    ) -> tuple[Any, ...]:
        places = *(self._in(a) for a in position), *(self._kept(a) for a in centre)
        return values, *places, self._in(first, np.int32), float(cutoff_mm)

    def _by_node(self, iv: Array, iu: Array, shape: tuple[int, int]) -> tuple[Array, Array]:
        """Voxels sorted by nearest node, and where each node's begin: (V,) and (Nv * Nu + 1,) int32."""
        return self._memory.ask(lambda: self._sorted(iv, iu, shape))

    def _sorted(self, iv: Array, iu: Array, shape: tuple[int, int]) -> tuple[Array, Array]:
        xp = self.device.xp
        node = self._there(iv, np.int32) * np.int32(shape[1]) + self._there(iu, np.int32)
        order = xp.argsort(node, kind="stable")
        starts = xp.searchsorted(node[order], xp.arange(shape[0] * shape[1] + 1, dtype=np.int32))
        return order.astype(np.int32), starts.astype(np.int32)

    def _cells(self, row: Array, column: Array, lines: int, columns: int) -> tuple[Array, Array]:
        """The first beamlet in each cell of the lattice, and the next one in the cell of each beamlet; -1 for none."""

        def make() -> tuple[Array, Array]:
            cell = np.asarray(row) * columns + np.asarray(column)
            order = np.argsort(cell, kind="stable")
            again = np.flatnonzero(cell[order][1:] == cell[order][:-1])
            first, following = np.full(lines * columns, -1, np.int32), np.full(len(cell), -1, np.int32)
            following[order[again]] = order[again + 1]
            cells, begin = np.unique(cell[order], return_index=True)
            first[cells] = order[begin]
            return self.to_device(first), self.to_device(following)

        made: tuple[Array, Array] = self._derived.get((row, column), (lines, columns), make)
        return made

    def _rows(
        self,
        name: str,
        given: tuple[Any, ...],
        count: int,
        result: Array,
        real: npt.DTypeLike,
        components: int,
        size: int,
    ) -> None:
        """Launch a kernel whose blocks hold the profiles of a group of voxels, `size` bytes each, in shared memory."""
        group = max(1, min(PROFILE_VOXELS, PROFILE_BYTES // size))
        arguments = *given, group, count, stride_of(result), result
        self._launch(name, blocks_of(count, group), THREADS, arguments, real, components, group * size)

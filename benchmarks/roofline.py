"""What an H200 could reach at best, from bytes and operations counted on the "full" problem: no measurement.

Print the tables of docs/gpu.md with ``python -m benchmarks.roofline``.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from dosecalc import DoseInfluence
from dosecalc.heterogeneity import RANGE_MM

from .cases import inhomogeneous_block, sized_problem

# NVIDIA H200 datasheet, SXM: memory bandwidth, FP32 and FP64.
MEMORY_BYTES_PER_S, FP32_PER_S, FP64_PER_S = 4.8e12, 67e12, 34e12
SHARED_BYTES_PER_S = FP32_PER_S / 2
"""A multiprocessor has 128 lanes of two operations, and shared memory moves 128 bytes, per clock."""
REAL, INDEX, WIDE, LONG = 4, 4, 8, 8
"""Bytes of float32, int32, float64 and int64."""
ROWS = 4000
EXPONENTIAL, TRACE_CELL, WEIGHT, NEAR = 40, 30, 17, 5
"""In float64: of an exponential, of a step of a ray without them, per component of a look-up, of a distance."""
ERROR_FUNCTION, DIVISION = 60, 10
FILTER_REACH = 22
"""As in spline_coefficients.cu: nodes on either side."""


@dataclass(frozen=True, slots=True)
class Work:
    """One kernel, or some in turn, for all beams.

    Attributes
    ----------
    name : str
    fp32, fp64 : float
        Operations; a multiply-add counts as two.
    once, loads : float
        Bytes if every array moves once between memory and GPU, and if every load and store of every thread does.
    shared : float
        Bytes of shared memory, 128 for each access of a warp to different banks or of all its lanes to one place.
    launches : int
    """

    name: str
    fp32: float
    fp64: float
    once: float
    loads: float
    shared: float
    launches: int

    def __add__(self, other: Work) -> Work:
        """Both in turn."""
        sums = (getattr(self, key) + getattr(other, key) for key in ("fp32", "fp64", "once", "loads", "shared"))
        return Work(self.name, *sums, self.launches + other.launches)

    @property
    def busy_s(self) -> float:
        """What arithmetic and shared memory take at the rates of the datasheet."""
        return max(self.fp32 / FP32_PER_S + self.fp64 / FP64_PER_S, self.shared / SHARED_BYTES_PER_S)

    @property
    def best_s(self) -> float:
        """The roofline, every array moved once."""
        return max(self.once / MEMORY_BYTES_PER_S, self.busy_s)

    @property
    def uncached_s(self) -> float:
        """The same if no load were served by a cache."""
        return max(self.loads / MEMORY_BYTES_PER_S, self.busy_s)


@dataclass(frozen=True, slots=True)
class Sizes:
    """Of one beam: voxels, beamlets, components, and nodes and beamlets of the tables along v and u."""

    voxels: int
    beamlets: int
    components: int
    nodes_v: int
    rows: int
    nodes_u: int
    columns: int

    @property
    def tables(self) -> float:
        """Bytes of both spline tables."""
        return REAL * self.components * (self.nodes_v * self.rows + self.nodes_u * self.columns)

    @property
    def half(self) -> int:
        """Numbers between the two steps of the maps."""
        return self.nodes_v * self.components * self.columns

    @property
    def maps(self) -> int:
        """Numbers of the maps."""
        return self.nodes_v * self.nodes_u * self.components

    @property
    def taps(self) -> float:
        """Bytes of a voxel's nodes, offsets and weights."""
        return 2 * INDEX + 2 * REAL + self.components * REAL


def sizes_of(operator: DoseInfluence) -> Iterator[Sizes]:
    """Every beam's."""
    for b, beam in enumerate(operator._prepared):
        (nodes_v, components, rows), (nodes_u, _, columns) = (
            t.coefficients.shape for t in (beam.table_v, beam.table_u)
        )
        own = operator.beamlets.of_beam(b)
        yield Sizes(operator.shape[0], own.stop - own.start, components, nodes_v, rows, nodes_u, columns)


def cells_crossed(operator: DoseInfluence) -> float:
    """Cells of the density that the rays of all beams cross: the faces of cells that each passes, and one more."""
    density, total = inhomogeneous_block(), 0.0
    points = density.grid.index_coordinates(operator.grid.centres_mm(operator.voxels))
    last = np.array(density.grid.shape[::-1]) - 0.5
    for beam in operator.beamlets.beams:
        source = density.grid.index_coordinates(beam.source_mm(operator.machine.sad_mm))[0]
        ray = points - source
        with np.errstate(divide="ignore", invalid="ignore"):
            entered = np.nanmax(np.minimum((-0.5 - source) / ray, (last - source) / ray), axis=1, keepdims=True)
        total += float((np.abs(ray) * (1 - np.clip(entered, 0, 1))).sum()) + len(points)
    return total


def trace(operator: DoseInfluence) -> Work:
    """`trace`: per cell a load, an exponential per range, and the step to the next."""
    cells, rays = cells_crossed(operator), float(operator.shape[0] * len(operator._prepared))
    ends = rays * WIDE * (3 + 1 + len(RANGE_MM))
    fp64 = cells * (TRACE_CELL + EXPONENTIAL * len(RANGE_MM))
    density = REAL * inhomogeneous_block().values.size * len(operator._prepared)
    return Work("trace", 0, fp64, density + ends, REAL * cells + ends, 0, 1)


def of_beam(s: Sizes, one: int) -> dict[str, Work]:
    """The kernels that one beam takes, by name; `one` is a launch that serves all beams: 1 for the first of them."""
    n, c, pairs = float(s.voxels), s.components, float(s.voxels * s.beamlets)
    profiles, nodes = c * (s.rows + s.columns), c * float(s.nodes_v * s.rows + s.nodes_u * s.columns)
    given, line = n * 4 * WIDE, REAL * (s.half * s.rows * (1 + 1 / 32))
    made = [
        # Once for the rays and once for the tables.
        Work("project", 0, 2 * n * (21 + 4 * DIVISION), 2 * n * 6 * WIDE, 2 * n * 6 * WIDE, 0, 2 * one),
        Work("survey", 0, n * (20 + 4 * DIVISION), n * 6 * WIDE, n * 6 * WIDE, 0, 2 * one),
        Work("blurred_squares", 0, 2 * nodes * ERROR_FUNCTION, nodes * WIDE, nodes * WIDE, 0, one),
        Work("spline_coefficients", 0, 4 * nodes * FILTER_REACH, nodes * (WIDE + REAL),
             nodes * (WIDE * (1 + 2 * FILTER_REACH) + REAL), 0, one),
        Work("locate", 0, 2 * n * (4 + DIVISION), 2 * n * (WIDE + INDEX + REAL), 2 * n * (WIDE + INDEX + REAL), 0, one),
        # Scales: an expression of CuPy for each beam.
        Work("expressions", 0, n * 2, n * 5 * WIDE, n * 5 * WIDE, 0, 1),
        Work("component_weights", 0, n * (c * WEIGHT + 2 * EXPONENTIAL + DIVISION), given + n * c * REAL,
             given + n * c * (8 * WIDE + REAL), 0, one),
        Work("field_lines", 2.0 * s.half * s.rows, 0, REAL * (s.nodes_v * c * s.rows + s.half), line, 0, one),
        # Tiles of 16 nodes: each number of half and table is loaded by a sixteenth of the products that need it.
        Work("field_maps", 2.0 * s.maps * s.columns, 0, REAL * (s.half + s.maps) + s.tables / 2,
             REAL * s.maps * (1 + s.columns / 8), REAL * s.maps * s.columns * 2, one),
        # And an expression of CuPy for each beam, which adds up.
        Work("gather", n * 18 * c, 0, n * (s.taps + REAL + 2 * WIDE) + REAL * s.maps,
             n * (s.taps + REAL + 2 * WIDE + 9 * c * REAL), 0, 1 + one),
        Work("scatter", n * 27 * c, n * 9 * c, n * (s.taps - 2 * INDEX + REAL + INDEX) + REAL * s.maps,
             9 * n * (c * REAL + 3 * REAL + INDEX) + REAL * s.maps, 0, one),
        Work("collect_lines", 0, 2.0 * s.half * s.nodes_u, REAL * s.maps + s.tables / 2 + WIDE * s.half,
             s.half * (s.nodes_u * REAL * (1 + 1 / 32) + WIDE), 0, one),
        Work("collect_field", 0, 2.0 * s.half * s.rows, s.tables / 2 + WIDE * s.half,
             s.half * s.rows * (WIDE + REAL / 32), 0, one),
        # From a float64 distance to a ballot: a lane has one pair.
        Work("count_kept", 0, pairs * NEAR, n * (2 * WIDE + LONG), n * (2 * WIDE + LONG) + pairs * 2 * WIDE, 0, one),
        # Twelve numbers across of its own, and those along 16 bytes at a time with all lanes of its row.
        Work("fill_near", 2.0 * pairs * c + n * 6 * profiles, pairs * NEAR,
             n * (s.taps + 2 * WIDE + 2 * LONG) + s.tables + pairs * (REAL + INDEX),
             n * (s.taps + 3 * REAL * profiles) + pairs * (2 * WIDE + 2 * INDEX + REAL + REAL + INDEX),
             pairs * c * 4 * 1.25 + n * profiles * REAL * 4, one),
    ]  # fmt: skip
    return {work.name: work for work in made}


def rows(operator: DoseInfluence, count: int) -> Work:
    """`spline_rows` of some voxels: a thread has four cells of a column, for which it reads twice per component."""
    total = Work(f"spline_rows of {count} voxels", 0, 0, 0, 0, 0, 0)
    for k, s in enumerate(sizes_of(operator)):
        profiles, pairs = s.components * (s.rows + s.columns), float(count * s.beamlets)
        fp32 = count * s.components * 2.0 * s.rows * s.columns + count * 6.0 * profiles
        loads = count * (s.taps + 3 * REAL * profiles) + pairs * REAL
        once, shared = count * s.taps + s.tables + pairs * REAL, 2.0 * s.components * pairs + count * profiles * REAL
        total = total + Work("", fp32, 0, once, loads, shared, int(k == 0))
    return total


OPERATOR = (
    "trace", "project", "survey", "blurred_squares", "spline_coefficients", "locate", "expressions",
    "component_weights",
)  # fmt: skip
MATRIX = ("project", "count_kept", "fill_near")
TOGETHER = {
    "dose": ("field_lines", "field_maps", "gather"),
    "adjoint": ("scatter", "collect_lines", "collect_field"),
    "operator": OPERATOR,
    "stored matrix, operator ready": MATRIX,
    "stored matrix, from density": (*OPERATOR, *MATRIX),
}
"""Operations, and the kernels that run for them in turn."""


def works(operator: DoseInfluence) -> dict[str, Work]:
    """All kernels by name."""
    found: dict[str, Work] = {"trace": trace(operator)}
    for k, sizes in enumerate(sizes_of(operator)):
        for name, work in of_beam(sizes, int(k == 0)).items():
            found[name] = found[name] + work if name in found else work
    some = rows(operator, ROWS)
    return {**found, some.name: some}


def figures(work: Work) -> tuple[float, ...]:
    """Columns of the table; those of kernels in turn add up."""
    counted = work.fp32 / 1e9, work.fp64 / 1e9, work.shared / 1e9, work.once / 1e6, 1e3 * work.best_s
    return *counted, work.loads / 1e6, 1e3 * work.uncached_s, work.launches


def table(found: dict[str, Work]) -> str:
    """As in docs/gpu.md."""
    lines = [
        "| kernel | FP32, G | FP64, G | shared, GB | once, MB | best, ms | no caches, MB | ms | launches |",
        "|---|---|---|---|---|---|---|---|---|",
    ]
    told = {name: figures(work) for name, work in found.items()}
    for name, kernels in TOGETHER.items():
        told[f"**{name}**"] = tuple(map(sum, zip(*(told[kernel] for kernel in kernels), strict=True)))
    return "\n".join([*lines, *(f"| {name} | {' | '.join(map(_short, row))} |" for name, row in told.items())])


def _short(figure: float) -> str:
    return f"{figure:.2g}" if figure < 99.5 else f"{figure:.0f}"


def main() -> None:
    """Print the problems and their tables."""
    for beamlet_mm in (5.0, 2.5):
        problem = sized_problem("full", beamlet_mm=beamlet_mm)
        sys.stdout.write(f"\n{problem.text}:\n\n{table(works(problem.operator))}\n")


if __name__ == "__main__":
    main()

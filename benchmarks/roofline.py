"""What an H200 could reach at best, from bytes and operations counted on the "full" problem: no measurement.

Print the table of docs/gpu.md with ``python -m benchmarks.roofline``.
"""

from __future__ import annotations

import sys
from dataclasses import dataclass

from dosecalc import DoseInfluence

from .cases import sized_problem

# NVIDIA H200 datasheet, SXM: memory bandwidth, FP32, FP64, and PCIe Gen5 (128 GB/s, half of it each way).
MEMORY_BYTES_PER_S, FP32_PER_S, FP64_PER_S, BUS_BYTES_PER_S = 4.8e12, 67e12, 34e12, 64e9
REAL, INDEX, WIDE = 4, 4, 8
"""Bytes of float32, int32 and float64."""
ROWS = 4000


@dataclass(frozen=True, slots=True)
class Work:
    """One operation for all beams.

    Attributes
    ----------
    name : str
    fp32, fp64 : float
        Operations; a multiply-add counts as two.
    once, loads : float
        Bytes if every array moves once between memory and GPU, and if every load and store of every thread does.
    bus : float
        Bytes from and to the host when called from NumPy.
    launches : int
        Of kernels; of the stored matrix per block of pairs.
    """

    name: str
    fp32: float
    fp64: float
    once: float
    loads: float
    bus: float
    launches: int

    @property
    def arithmetic_s(self) -> float:
        """At the rates of the datasheet."""
        return self.fp32 / FP32_PER_S + self.fp64 / FP64_PER_S

    @property
    def best_s(self) -> float:
        """The roofline: what memory or arithmetic allows, every array moved once."""
        return max(self.once / MEMORY_BYTES_PER_S, self.arithmetic_s)

    @property
    def uncached_s(self) -> float:
        """The same if no load were served by a cache."""
        return max(self.loads / MEMORY_BYTES_PER_S, self.arithmetic_s)


def dose_and_adjoint(operator: DoseInfluence) -> list[Work]:
    """`field_maps`, `gather`, `scatter` and `collect_field` of every beam."""
    voxels, beamlets = operator.shape
    dose, adjoint = [0.0] * 4, [0.0] * 4  # fp32, fp64, once, loads
    for beam in operator._prepared:
        (nodes_v, components, rows), (nodes_u, _, columns) = (
            t.coefficients.shape for t in (beam.table_v, beam.table_u)
        )
        half, maps = nodes_v * components * columns, nodes_v * nodes_u * components
        tables = REAL * components * (nodes_v * rows + nodes_u * columns)
        weights, offsets = voxels * components * REAL, voxels * 2 * REAL
        products = 2.0 * (half * rows + maps * columns)
        dose[0] += products + voxels * 18.0 * components
        dose[2] += tables + 2 * REAL * (half + maps) + weights + offsets + voxels * (2 * INDEX + 2 * REAL + 2 * WIDE)
        dose[3] += weights + offsets + voxels * (2 * INDEX + 9 * components * REAL + 2 * REAL + 2 * WIDE)
        dose[3] += REAL * (half + maps) + REAL * maps * columns / 8  # tiles of 16: two loads per 16 products
        adjoint[0] += voxels * 9.0 * 3.0 * components
        adjoint[1] += 2.0 * (half * nodes_u + half * rows)
        adjoint[2] += weights + offsets + voxels * (REAL + INDEX) + 2 * REAL * maps + 2 * WIDE * half + tables
        adjoint[3] += 9 * (weights + offsets + voxels * (REAL + INDEX)) + 2 * REAL * maps
        adjoint[3] += half * (nodes_u * REAL * (1 + 1 / 32) + WIDE + rows * (WIDE + REAL / 32))
    beams = len(operator._prepared)
    return [
        Work("dose", *dose, bus=REAL * beamlets + WIDE * voxels, launches=4 * beams),
        Work("adjoint", *adjoint, bus=REAL * (voxels + beamlets), launches=3 * beams),
    ]


def rows(operator: DoseInfluence, count: int, name: str, stored: int) -> Work:
    """`spline_rows` of some voxels; `stored` more bytes per pair are moved when they become a stored matrix."""
    fp32 = loads = once = 0.0
    beamlets = operator.shape[1]
    for beam in operator._prepared:
        (_, components, lines), (_, _, columns) = (t.coefficients.shape for t in (beam.table_v, beam.table_u))
        fp32 += count * components * (2.0 * lines * columns + 6.0 * (lines + columns))
        once += count * (components * REAL + 2 * REAL + 2 * INDEX)
        loads += count * components * REAL * (1 + 3 * (lines + columns))
    pairs = float(count * beamlets)
    launches = len(operator._prepared) * (2 if stored else 1)
    moved = pairs * (REAL + stored)
    return Work(name, fp32, 0.0, once + moved, loads + moved, pairs * WIDE, launches)


def table(works: list[Work]) -> str:
    """As in docs/gpu.md."""
    lines = [
        "| operation | operations, G | once, MB | best, ms | no caches, MB | ms | launches | bus, ms |",
        "|---|---|---|---|---|---|---|---|",
    ]
    for w in works:
        figures = ((w.fp32 + w.fp64) / 1e9, w.once / 1e6, 1e3 * w.best_s, w.loads / 1e6, 1e3 * w.uncached_s)
        told = " | ".join(map(_short, figures))
        lines.append(f"| {w.name} | {told} | {w.launches} | {_short(1e3 * w.bus / BUS_BYTES_PER_S)} |")
    return "\n".join(lines)


def _short(figure: float) -> str:
    return f"{figure:.2g}" if figure < 100 else f"{figure:.0f}"


def main() -> None:
    """Print the problems and their tables."""
    for beamlet_mm in (5.0, 2.5):
        problem = sized_problem("full", beamlet_mm=beamlet_mm)
        operator = problem.operator
        works = dose_and_adjoint(operator)
        works.append(rows(operator, ROWS, f"rows of {ROWS} voxels", 0))
        # Rows are written and read again in float32, then stored as float32 with an int32 column.
        works.append(rows(operator, operator.shape[0], "stored matrix, nothing cut", REAL + REAL + INDEX))
        sys.stdout.write(f"\n{problem.text}:\n\n{table(works)}\n")


if __name__ == "__main__":
    main()

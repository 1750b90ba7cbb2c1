"""The table of what a GPU was measured at, beside what is asked of an H200; or "not measured".

`python -m benchmarks.gpu_table [RECORD.json ...] [--write FILE]`; a record is what
`pytest benchmarks/test_bench_cuda.py benchmarks/test_bench_cuda_plan.py -m cuda --benchmark-json` wrote. Of a row that
several records hold the last counts.
"""

from __future__ import annotations

import argparse
import textwrap
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmarks.markdown import number, table
from benchmarks.records import read_record
from benchmarks.tables import WIDTH, spliced

BEGIN = "<!-- gpu: begin, written by python -m benchmarks.gpu_table -->"
END = "<!-- gpu: end -->"
UNMEASURED = "not measured"


@dataclass(frozen=True, slots=True)
class Asked:
    """One row: what is measured, its unit, what is asked at least and at best, and whether more of it is better."""

    text: str
    unit: str
    at_least: float
    aim: float
    more: bool = False

    def verdict(self, value: float) -> str:
        """Whether what was measured is what is asked."""
        for said, bound in (("aim met", self.aim), ("met", self.at_least)):
            if (value >= bound) if self.more else (value <= bound):
                return said
        return "**missed**"


ROWS: dict[str, Asked] = {
    "matrix 5": Asked(
        "stored matrix left on the GPU, from density and beamlets, ray trace included, 5 mm beamlets", "G pairs/s",
        50, 100, more=True,
    ),
    "matrix 2.5": Asked("the same, 2.5 mm beamlets", "G pairs/s", 100, 250, more=True),
    "dose + adjoint": Asked("dose + adjoint, 9 beams, 200 k voxels, 2.5 mm beamlets", "ms", 2, 0.5),
    "cuSPARSE": Asked("the same against cuSPARSE on the stored, truncated matrix", "x", 1, 3, more=True),
    "rows": Asked("rows for 4,000 voxels x 1,200 beamlets", "ms", 5, 1),
    "optimiser": Asked("optimiser, 1,200 beamlets x 300-460 k voxels, 19 criteria", "s", 10, 2),
    "plan": Asked("DICOM to judged plan, warm", "s", 15, 5),
}  # fmt: skip


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.gpu_table", description="What a GPU was measured at.")
    parser.add_argument("record", type=Path, nargs="*", help="what `--benchmark-json` wrote; none: not measured")
    parser.add_argument("--write", type=Path, metavar="FILE", help="put it between the markers of this file")
    arguments = parser.parse_args()
    text = section([(path.as_posix(), read_record(path)) for path in arguments.record])
    if arguments.write is None:
        print(text)
    else:
        before = arguments.write.read_text(encoding="utf-8")
        arguments.write.write_text(spliced(before, text, BEGIN, END), encoding="utf-8")


def section(records: Sequence[tuple[str, Mapping[str, Any]]]) -> str:
    """What stands between the markers: where it was measured, then one line per row."""
    found: dict[str, float] = {}
    heads = []
    for name, record in records:
        found |= dict(figures(record))
        heads.append(textwrap.fill(_head(name, record), WIDTH, break_on_hyphens=False, break_long_words=False))
    lines = []
    for key, asked in ROWS.items():
        measured = f"{number(found[key])} {asked.unit}: {asked.verdict(found[key])}" if key in found else UNMEASURED
        lines.append((asked.text, f"{asked.at_least:g} {asked.unit}", f"{asked.aim:g} {asked.unit}", measured))
    return "\n\n".join((*heads, table(("on an H200", "at least", "aim", "measured"), lines)))


def figures(record: Mapping[str, Any]) -> list[tuple[str, float]]:
    """The rows that a record holds.

    Raises
    ------
    KeyError
        A row that is not in the table.
    """
    held = [each for bench in record["benchmarks"] for each in bench["extra_info"].get("gpu_rows", ())]
    if unknown := {key for key, _ in held} - set(ROWS):
        raise KeyError(f"rows {sorted(unknown)} are not in the table.")
    return [(key, float(value)) for key, value in held]


def _head(name: str, record: Mapping[str, Any]) -> str:
    gpu, commit = record["machine_info"]["gpu"], record["commit_info"]
    changed = ", with changes not committed" if commit["dirty"] else ""
    return (
        f"`{record['command']}` on {gpu['name']}, driver {gpu['driver']}, CUDA {gpu['cuda']}, CuPy {gpu['cupy']}, "
        f"{record['datetime'][:10]}, commit `{str(commit['id'])[:10]}`{changed}; record `{name}`."
    )


if __name__ == "__main__":
    main()

"""The tables of measured runs, in Markdown: printed, or written between two markers of README or a page of docs.

`python -m benchmarks.tables RECORD.json ... [--write README.md]`; a record is what `--benchmark-json` wrote.
"""

from __future__ import annotations

import argparse
import textwrap
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from benchmarks import optimiser_tables
from benchmarks.growth import Point, exponents
from benchmarks.markdown import number, table
from benchmarks.records import read_record

Bench = dict[str, Any]
BEGIN = "<!-- speed: begin, written by python -m benchmarks.tables -->"
END = "<!-- speed: end -->"
WIDTH = 120
ENGINE = (
    "Medians; processor seconds of all threads. A pair is a voxel and a beamlet, each one counted whether or not it is "
    "visited."
)
ABDOMENS = (
    "Each row is one run in a process of its own; seconds are those of the optimisation alone, memory is the peak of "
    "the process, and in parentheses what it held before."
)


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.tables", description="Tables of measured runs.")
    parser.add_argument(
        "record", type=Path, nargs="+", help="what `pytest benchmarks --benchmark-enable --benchmark-json` wrote"
    )
    parser.add_argument("--write", type=Path, metavar="FILE", help="put them between the markers of this file")
    arguments = parser.parse_args()
    text = "\n\n".join(section(read_record(record), record.as_posix()) for record in arguments.record)
    if arguments.write is None:
        print(text)
    else:
        arguments.write.write_text(spliced(arguments.write.read_text(encoding="utf-8"), text), encoding="utf-8")


def section(record: dict[str, Any], name: str) -> str:
    """What stands between the markers: how it was measured, then the tables."""
    machine, commit = record["machine_info"], record["commit_info"]
    start, end = (machine["load_average"][when][0] for when in ("start", "end"))
    changed = ", with changes not committed" if commit["dirty"] else ""
    of_abdomens = any("abdomen" in bench["extra_info"] for bench in record["benchmarks"])
    title, note = ("Optimiser on random abdomens", ABDOMENS) if of_abdomens else ("Speed of the dose engine", ENGINE)
    head = (
        f"**{title}** (`{record['command']}`; record `{name}`). "
        f"{machine['cpu']['count']} cores, {machine['cpu']['brand_raw']}, {machine['threads']} thread(s) used, "
        f"load average {start:.1f} at the start and {end:.1f} at the end, Python {machine['python_version']}, "
        f"{record['datetime'][:10]}, commit `{str(commit['id'])[:10]}`{changed}. {note}"
    )
    return "\n\n".join(
        (textwrap.fill(head, WIDTH, break_on_hyphens=False, break_long_words=False), *sections(record["benchmarks"]))
    )


def spliced(document: str, text: str, begin: str = BEGIN, end: str = END) -> str:
    """The document with `text` between its markers.

    Raises
    ------
    ValueError
        The markers are not there exactly once, in order.
    """
    if document.count(begin) != 1 or document.count(end) != 1 or document.index(begin) > document.index(end):
        raise ValueError(f"expected each of the lines {begin!r} and {end!r} once, in this order.")
    before, rest = document.split(begin)
    return f"{before}{begin}\n{text}\n{end}{rest.split(end)[1]}"


def sections(benches: Sequence[Bench], *, points: bool = False) -> list[str]:
    """The tables that the benchmarks give rise to; the cases behind the growth exponents on request."""
    grown = [bench for bench in benches if "beamlets_per_beam" in bench["extra_info"]]
    timed = [b for b in benches if "operation" in b["extra_info"] and b not in grown]
    compared = [bench for bench in timed if "other" in bench["extra_info"]]
    alone = [bench for bench in timed if "other" not in bench["extra_info"]]
    figures = [figure for bench in benches for figure in bench["extra_info"].get("figures", ())]
    abdomens = [bench["extra_info"]["abdomen"] for bench in benches if "abdomen" in bench["extra_info"]]
    found = [_operations(alone), _side_by_side(compared), _figures(figures), optimiser_tables.table(abdomens)]
    if grown:
        found += [_growth(grown), _points(grown) if points else ""]
    return [text for text in found if text]


def _operations(benches: Sequence[Bench]) -> str:
    rows = []
    for bench in benches:
        info, cpu_s = bench["extra_info"], bench["stats"]["median"]
        rate = f"{number(info['count'] / cpu_s / 1e6)} {info['unit']}" if "count" in info else ""
        rows.append((info["operation"], info["problem"], _ms(cpu_s), _ms(info["wall_s"]), rate))
    return table(("operation", "problem", "CPU ms", "wall ms", "millions per CPU second"), rows)


def _side_by_side(benches: Sequence[Bench]) -> str:
    rows = []
    for bench in benches:
        info, cpu_s = bench["extra_info"], bench["stats"]["median"]
        other = f"{info['other']}, {_threads(info['other_threads'])}"
        ratio = f"**{info['other_cpu_s'] / cpu_s:.3g}**"
        what = f"{info['operation']}, {_threads(info['threads'])}"
        rows.append((what, info["problem"], _ms(cpu_s), other, _ms(info["other_cpu_s"]), ratio))
    return table(("side by side", "problem", "CPU ms", "against", "CPU ms", "ratio"), rows)


def _figures(figures: Iterable[Sequence[Any]]) -> str:
    rows = [(figure, problem, f"{number(value)} {unit}") for figure, value, unit, problem in figures]
    return table(("figure", "of", "value"), rows)


def _growth(benches: Sequence[Bench]) -> str:
    cases = [_point(bench) for bench in benches]
    voxels, beams = (sorted({getattr(case, name) for case in cases}) for name in ("voxels", "beams"))
    widths = sorted({bench["extra_info"]["beamlet_mm"] for bench in benches})
    listed = " and ".join(f"{width:g}" for width in widths)
    head = (
        f"Growth of dose + adjoint, a power law fitted to {len(cases)} cases of {voxels[0]} to {voxels[-1]} voxels, "
        f"beamlets of {listed} mm, {beams[0]} to {beams[-1]} beams:"
    )
    head = textwrap.fill(head, WIDTH)
    try:
        rows = [(e.quantity, f"{e.value:.2f} ± {e.error:.2f}") for e in exponents(cases)]
    except ValueError as error:
        return f"{head} {error}"
    return head + "\n\n" + table(("growth in", "exponent"), rows)


def _points(benches: Sequence[Bench]) -> str:
    rows = [
        (bench["extra_info"]["problem"], f"{_point(bench).beamlets_per_beam:.1f}", _ms(bench["stats"]["median"]))
        for bench in benches
    ]
    return table(("dose + adjoint", "beamlets per beam", "CPU ms"), rows)


def _point(bench: Bench) -> Point:
    info = bench["extra_info"]
    return Point(info["voxels"], info["beamlets_per_beam"], info["beams"], bench["stats"]["median"])


def _ms(seconds: float) -> str:
    return number(seconds * 1e3)


def _threads(count: int) -> str:
    return f"{count} thread" + ("s" if count > 1 else "")


if __name__ == "__main__":
    main()

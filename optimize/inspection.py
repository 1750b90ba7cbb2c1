"""What was read: for a look before planning."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from rich.console import Console

from dosecalc import names
from dosecalc.errors import InputError
from dosecalc.reading import read_ct_series, read_structures

from .tables import print_record, print_table


def inspect_input(ct: Path, structures: Path | None, structure_names: Path | None) -> dict[str, Any]:
    """Grid and HU range of a CT and, for every structure, volume, role, TG-263 name and what the scan cuts."""
    series = read_ct_series(ct)
    volume, grid = series.volume, series.volume.grid
    problems = list(series.notices)
    found: dict[str, Any] = {
        "ct": {
            "shape_zyx": list(grid.shape),
            "spacing_mm_xyz": list(grid.spacing_mm),
            "origin_mm_lps": list(grid.origin_mm),
            "hu_lowest": float(volume.values.min()),
            "hu_highest": float(volume.values.max()),
            "patient_position": series.patient_position,
        }
    }
    if structures is not None:
        try:
            read = read_structures(structures, structure_names, ct=series)
        except InputError as error:
            problems.append(str(error))
            read = read_structures(structures, structure_names)
        problems += [notice for notice in read.notices if notice not in problems]
        found["structures"] = [
            {
                "name": s.name,
                "tg263": names.known_as(s.name),
                "looks_like": ", ".join(names.suggestions(s.name)) if s.role == "ORGAN" else "",
                "role": s.role,
                "volume_cc": round(s.volume_cc, 3),
                "cut_by_scan": list(s.on(grid).faces_touched),
            }
            for s in read
        ]
        found["absent"] = list(read.absent)
    return found | {"problems": problems}


def print_inspection(console: Console, found: dict[str, Any]) -> None:
    """The same as tables."""
    print_record(console, found["ct"])
    if "structures" in found:
        print_table(console, "Structures", found["structures"])
        console.print(f"named without geometry: {', '.join(found['absent']) or 'none'}", highlight=False)
    console.print(f"problems: {len(found['problems']) or 'none found'}", highlight=False)
    for problem in found["problems"]:
        console.print(f"  - {problem}", highlight=False, markup=False)

"""What was read: for a look before planning."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from rich.console import Console

from dosecalc import names
from dosecalc.reading import read_ct_series, read_structures

from .tables import print_record, print_table


def inspect_input(ct: Path, structures: Path | None, structure_names: Path | None) -> dict[str, Any]:
    """Grid and HU range of a CT and, for every structure, volume, role, TG-263 name and what the scan cuts."""
    volume = read_ct_series(ct).volume
    grid = volume.grid
    found: dict[str, Any] = {
        "ct": {
            "shape_zyx": list(grid.shape),
            "spacing_mm_xyz": list(grid.spacing_mm),
            "origin_mm_lps": list(grid.origin_mm),
            "hu_lowest": float(volume.values.min()),
            "hu_highest": float(volume.values.max()),
        }
    }
    if structures is not None:
        read = read_structures(structures, structure_names)
        found["structures"] = [
            {
                "name": s.name,
                "tg263": names.canonical_name(s.name) or "",
                "looks_like": ", ".join(names.suggestions(s.name)) if s.role == "ORGAN" else "",
                "role": s.role,
                "volume_cc": round(s.volume_cc, 3),
                "cut_by_scan": list(s.on(grid).faces_touched),
            }
            for s in read
        ]
        found["absent"] = list(read.absent)
    return found


def print_inspection(console: Console, found: dict[str, Any]) -> None:
    """The same as tables."""
    print_record(console, found["ct"])
    if "structures" in found:
        print_table(console, "Structures", found["structures"])
        console.print(f"named without geometry: {', '.join(found['absent']) or 'none'}", highlight=False)

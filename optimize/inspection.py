"""What was read: for a look before planning."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Any

from rich.console import Console

from dosecalc import names
from dosecalc.dicom import CtSeries
from dosecalc.errors import InputError
from dosecalc.plausibility import findings
from dosecalc.reading import read_ct_series, read_structures
from dosecalc.slabs import EndCaps

from .arrangements import planning_position
from .tables import print_record, print_table


def inspect_input(
    ct: Path,
    structures: Path | None,
    structure_names: Path | None,
    leave_out: tuple[str, ...] = (),
    repair: tuple[str, ...] = (),
    end_caps: EndCaps = "half_slice",
) -> dict[str, Any]:
    """Grid and HU of a CT and, for every structure, volume, role, TG-263 name and what the scan cuts."""
    series = read_ct_series(ct)
    volume, grid = series.volume, series.volume.grid
    seen = findings(volume)
    problems = [*position_problem(series), *(f"the CT is implausible: {fault}." for fault in seen.faults)]
    notices = [*series.notices, *seen.doubts]
    found: dict[str, Any] = {
        "ct": {
            "shape_zyx": list(grid.shape),
            "spacing_mm_xyz": list(grid.spacing_mm),
            "origin_mm_lps": list(grid.origin_mm),
            "hu_lowest": float(volume.values.min()),
            "hu_highest": float(volume.values.max()),
            "air_hu": seen.air_hu,
            "tissue_hu": seen.tissue_hu,
            "patient_position": series.patient_position,
        }
    }
    if structures is not None:
        reading = partial(
            read_structures, structures, structure_names, leave_out=leave_out, repair=repair, end_caps=end_caps
        )
        try:
            read = reading(ct=series)
        except InputError as error:
            problems.append(str(error))
            read = reading()
        notices += read.notices
        found["structures"] = [
            {
                "name": s.name,
                "tg263": names.known_as(s.name),
                "looks_like": ", ".join(names.suggestions(s.name)) if s.role == "ORGAN" else "",
                "role": s.role,
                "volume_cc": round(s.volume_cc, 3),
                "cut_by_scan": list(s.faces_touched(grid)),
            }
            for s in read
        ]
        found["absent"] = list(read.absent)
    return found | {"problems": problems, "notices": notices}


def position_problem(ct: CtSeries) -> list[str]:
    """What keeps gantry angles from having a meaning in the patient, or nothing."""
    try:
        planning_position(ct)
    except InputError as error:
        return [str(error)]
    return []


def print_inspection(console: Console, found: dict[str, Any]) -> None:
    """The same as tables."""
    print_record(console, found["ct"])
    if "structures" in found:
        print_table(console, "Structures", found["structures"])
        absent = ", ".join(found["absent"]) or "none"
        console.print(f"named without geometry: {absent}", highlight=False, markup=False)
    print_told(console, found)


def print_told(console: Console, found: dict[str, Any]) -> None:
    """Notices and problems, one line each."""
    for kind in ("notices", "problems"):
        console.print(f"{kind}: {len(found[kind]) or 'none'}", highlight=False)
        for line in found[kind]:
            console.print(f"  - {line}", highlight=False, markup=False, soft_wrap=True)

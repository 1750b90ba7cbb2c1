"""What a folder holds, before anything is computed: series, structure sets, doses, and what is wrong with them."""

from __future__ import annotations

from collections import Counter, defaultdict
from functools import partial
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import pydicom
from rich.console import Console

from dosecalc.dicom import read_rtdose
from dosecalc.dicom.consistency import Headers, what_else
from dosecalc.dicom.files import DICOM_SUFFIXES, existing, is_dicom, parsing, read_dataset
from dosecalc.errors import InputError, UnsafeInputError
from dosecalc.grid import Volume
from dosecalc.images import is_image, read_image
from dosecalc.plausibility import dose_doubts, findings
from dosecalc.reading import read_ct_series, read_structures
from dosecalc.slabs import EndCaps
from dosecalc.structures import StructureSet

from .inspection import position_problem, print_told
from .survey_rows import SERIES_KEYS, Scan, Survey, extent, is_label_map, label_rows, series_row, structure_row
from .tables import print_table

_BY_FILE = {"RTSTRUCT": 1, "SEG": 1, "RTPLAN": 1, "RTDOSE": 2}
"""In the order of reading: structures are judged by the scans, and doses by both."""
MOST_FILES = 100_000


def survey(
    path: str | Path,
    *,
    leave_out: tuple[str, ...] = (),
    repair: tuple[str, ...] = (),
    end_caps: EndCaps = "half_slice",
) -> dict[str, Any]:
    """List every series below a path, the structures of every structure set, and every problem in words.

    Parameters
    ----------
    path : str or Path
        A folder, searched with all folders in it, or one file.
    leave_out, repair : tuple of str
        Structures to read RT Structure Sets without, or whose contours may cross, as for planning.
    end_caps : str
        How far the contours of RT Structure Sets reach beyond the first and the last of them, as for planning.

    Returns
    -------
    dict
        ``series``, ``structures``, ``problems`` (what stops a plan or falsifies it) and ``notices`` (what a reader
        must know), each a list; ``other_files`` counts what is neither DICOM nor NIfTI nor NRRD. ``where`` of a series
        is what `--ct`, `--structures` or `--dose` takes. Names and numbers of the patient are left out.

    Raises
    ------
    InputError
        There is nothing there that can be read.
    UnsafeInputError
        More files than a patient has.
    """
    files = _files(existing(path))
    images = [p for p in files if is_image(p)]
    found = Survey(leave_out, repair, end_caps)
    groups = _grouped(found, [p for p in files if not is_image(p)])
    shared = Counter(group[0][0].parent for group in groups.values() if len(group) > 1)
    for (modality, _), group in sorted(groups.items(), key=lambda item: _BY_FILE.get(item[0][0], 0)):
        alone = shared[group[0][0].parent] <= 1
        _add_series(found, modality, group, str(group[0][0].parent if len(group) > 1 and alone else group[0][0]))
    for file in images:
        _add_image(found, file)
    if not found.series:
        raise InputError(
            "holds no DICOM, NIfTI or NRRD file that can be read.", where=str(path), remedy="Check the path."
        )
    _name_unknown(found)
    read = sum(map(len, groups.values())) + len(images)
    return {
        "series": found.series,
        "structures": found.structures,
        "problems": found.problems,
        "notices": found.notices,
        "other_files": len(files) - read,
    }


def _files(root: Path) -> list[Path]:
    """The file, or all files below the folder by name."""
    if root.is_file():
        return [root]
    files = sorted(islice((p for p in root.rglob("*") if p.is_file()), MOST_FILES + 1))
    if len(files) > MOST_FILES:
        raise UnsafeInputError(
            f"holds more than {MOST_FILES} files.", where=str(root), remedy="Name the folder of one patient."
        )
    return files


def _grouped(found: Survey, files: list[Path]) -> dict[tuple[str, str], Headers]:
    """DICOM headers by modality and series; each object of radiotherapy by its file, as it is named."""
    groups: dict[tuple[str, str], Headers] = defaultdict(list)
    for file in files:
        if not is_dicom(file):
            if file.suffix.lower() in DICOM_SUFFIXES:
                found.problems.append(f"{file}: is named as a DICOM file but does not start as one.")
            continue
        if (header := found.attempt(partial(_header, file))) is not None:
            modality = str(header.get("Modality", "?"))
            uid = str(file) if modality in _BY_FILE else str(header.get("SeriesInstanceUID", ""))
            groups[modality, uid].append((file, header))
    return groups


def _header(file: Path) -> pydicom.Dataset:
    """The header, once every value that the survey looks at can be read."""
    header = read_dataset(file, pixels=False)
    with parsing(file):
        for keyword in ("Modality", "SeriesInstanceUID", "FrameOfReferenceUID", "PatientPosition"):
            header.get(keyword)
    return header


def print_survey(console: Console, found: dict[str, Any]) -> None:
    """The same as tables, problems last."""
    hidden = {"slice_gaps_mm", "series"} | (
        {"file"} if len({row["file"] for row in found["structures"]}) < 2 else set()
    )
    for title in ("Series", "Structures"):
        if rows := [{k: v for k, v in row.items() if k not in hidden} for row in found[title.lower()]]:
            print_table(console, title, rows)
    if found["other_files"]:
        console.print(f"files that are neither DICOM nor NIfTI nor NRRD: {found['other_files']}", highlight=False)
    print_told(console, found)


def _add_series(found: Survey, modality: str, group: Headers, where: str) -> None:
    """One DICOM series with what its reader says of it."""
    other = found.attempt(partial(what_else, group)) if modality == "CT" else ""
    row = series_row(f"CT: {other}" if other else modality, group, where)
    if modality == "CT" and not other:
        row["content"] = _scan(found, group, where)
    for file, header in group:
        if modality in ("RTSTRUCT", "SEG"):
            found.structures += _structure_set(found, file, header)
        elif modality == "RTDOSE":
            row |= _dose(found, file, header)
    found.series.append(row)


def _scan(found: Survey, group: Headers, where: str) -> str:
    """A CT series as the planner would read it; returns what its HU look like."""
    file, header = group[0]
    folders = sorted({file.parent for file, _ in group})
    series = None
    if len(folders) > 1:
        listed = ", ".join(folder.name for folder in folders)
        found.problems.append(f"{where}: the images of this CT series lie in several folders ({listed}).")
    else:
        series = found.attempt(partial(read_ct_series, file))
    stated = str(header.get("FrameOfReferenceUID") or "")
    uid = str(header.get("SeriesInstanceUID", ""))
    found.scans.append(Scan(uid, stated, None if series is None else series.volume.grid))
    found.frames |= {stated} - {""}
    if series is None:
        return ""
    found.notices += [f"{where}: {notice}" for notice in series.notices]
    found.problems += [f"{where}: {problem}" for problem in position_problem(series)]
    return _hu(found, series.volume, where)


def _hu(found: Survey, ct: Volume, where: str) -> str:
    """Air and tissue of a CT in words; what is implausible is told."""
    seen = findings(ct)
    found.problems += [f"{where}: as a CT it is implausible: {fault}." for fault in seen.faults]
    found.notices += [f"{where}: {doubt}" for doubt in seen.doubts]
    air, tissue = ("none" if value is None else f"{value:.0f}" for value in (seen.air_hu, seen.tissue_hu))
    return f"air {air}, tissue {tissue} HU"


def _dose(found: Survey, file: Path, header: pydicom.Dataset) -> dict[str, Any]:
    """What a dose adds to the row of its series."""
    read: Volume | None = found.attempt(partial(read_rtdose, file))
    frame = str(header.get("FrameOfReferenceUID") or "")
    if found.frames and frame not in found.frames:
        found.problems.append(f"{file}: its frame of reference is that of no CT series or structure set here.")
    if read is None:
        return {}
    found.notices += [f"{file}: {doubt}" for doubt in dose_doubts(read)]
    return extent(read.grid) | {"content": f"up to {float(read.values.max()):.4g} Gy"}


def _add_image(found: Survey, file: Path) -> None:
    """A NIfTI or NRRD file: a label map, or else a CT."""
    kind = "NRRD" if file.suffix.lower() == ".nrrd" else "NIfTI"
    row = dict.fromkeys(SERIES_KEYS, "") | {"modality": kind, "files": 1, "where": str(file)}
    found.series.append(row)
    if (read := found.attempt(partial(read_image, file))) is None:
        return
    grid, values = read
    row |= extent(grid)
    is_map, why = is_label_map(file, values)
    found.notices.append(f"{file}: taken for a {'label map' if is_map else 'CT'}: {why}.")
    if is_map:
        row["modality"] = f"{kind} label map"
        found.structures += label_rows(file, grid, values, found)
    elif np.isfinite(values).all():
        row["content"] = _hu(found, Volume(grid, values), str(file))
    else:
        found.problems.append(f"{file}: {int((~np.isfinite(values)).sum())} voxels are not finite.")


def _structure_set(found: Survey, file: Path, header: pydicom.Dataset) -> list[dict[str, Any]]:
    if (stated := found.attempt(partial(_stated, file, header))) is None:
        return []
    drawn, referenced = stated
    found.drawn |= drawn
    leave_out, repair = ([name for name in asked if name in drawn] for asked in (found.leave_out, found.repair))
    caps = found.end_caps if header.get("Modality") == "RTSTRUCT" else "half_slice"
    read: StructureSet | None = found.attempt(
        partial(read_structures, file, leave_out=leave_out, repair=repair, end_caps=caps)
    )
    if read is None:
        return []
    frame = str(read.frame_of_reference_uid)
    found.frames.add(frame)
    # images that state no frame of reference own what refers to them, as in dosecalc.dicom.belonging
    own = [scan for scan in found.scans if (scan.frame or scan.series_uid in referenced) and scan.frame in ("", frame)]
    own.sort(key=lambda scan: scan.series_uid not in referenced)
    if found.scans and not own:
        found.problems.append(f"{file}: its frame of reference is that of no CT series here.")
    grid = own[0].grid if own else None
    found.notices += [f"{file}: {notice}" for notice in read.notices]
    return [structure_row(file, s.name, s.role, s.volume_cc, list(s.faces_touched(grid)) if grid else []) for s in read]


def _stated(file: Path, header: pydicom.Dataset) -> tuple[set[str], set[str]]:
    """Names of the ROIs, and SeriesInstanceUIDs of the images that they were drawn on."""
    with parsing(file):
        drawn = {str(item.get("ROIName")) for item in header.get("StructureSetROISequence") or ()}
        frames = header.get("ReferencedFrameOfReferenceSequence") or ()
        studies = (study for frame in frames for study in frame.get("RTReferencedStudySequence") or ())
        series = [item for study in studies for item in study.get("RTReferencedSeriesSequence") or ()]
        series += header.get("ReferencedSeriesSequence") or ()  # of a Segmentation
        return drawn, {str(item.get("SeriesInstanceUID")) for item in series}


def _name_unknown(found: Survey) -> None:
    """Options that no structure set answers to."""
    for option, asked in (("--leave-out", found.leave_out), ("--repair", found.repair)):
        found.problems += [
            f"{option} {name}: no structure set here has it." for name in asked if name not in found.drawn
        ]

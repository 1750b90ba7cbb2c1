"""What a folder holds, before anything is computed: series, structure sets, doses, and what is wrong with them."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable
from functools import partial
from itertools import islice, pairwise
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pydicom
from rich.console import Console

from dosecalc import names
from dosecalc.dicom import read_rtdose
from dosecalc.dicom.files import DICOM_SUFFIXES, existing, is_dicom, parsing, read_dataset
from dosecalc.errors import DosecalcError, InputError, UnsafeInputError
from dosecalc.grid import Grid
from dosecalc.images import is_image, read_image
from dosecalc.label_maps import label_names
from dosecalc.nrrd_file import segment_names
from dosecalc.reading import read_ct_series, read_structures
from dosecalc.structures import FACES, StructureSet, role_from_name

from .tables import print_table

Headers = list[tuple[Path, pydicom.Dataset]]
_UID_DIGITS = 6
MOST_FILES = 100_000
MOST_LABELS = 1000
"""Largest number in an image that is taken for a label map."""


def survey(path: str | Path) -> dict[str, Any]:
    """List every series below a path, the structures of every structure set, and every problem in words.

    Parameters
    ----------
    path : str or Path
        A folder, searched with all folders in it, or one file.

    Returns
    -------
    dict
        ``series``, ``structures`` and ``problems``, each a list; ``other_files`` counts what is neither DICOM nor
        NIfTI nor NRRD. Names and numbers of the patient are left out.

    Raises
    ------
    InputError
        There is nothing there that can be read.
    UnsafeInputError
        More files than a patient has.
    """
    files = _files(existing(path))
    images = [p for p in files if is_image(p)]
    problems: list[str] = []
    found: dict[str, Any] = {"series": [], "structures": []}
    groups = _grouped([p for p in files if not is_image(p)], problems)
    scans = {uid: group for (modality, uid), group in groups.items() if modality == "CT"}
    grids = {uid: _scan(group, len(scans), problems) for uid, group in scans.items()}
    for (modality, uid), group in groups.items():
        if (row := _try(problems, partial(_series, modality, uid, group))) is not None:
            found["series"].append(row)
        for file, header in group:
            if modality in ("RTSTRUCT", "SEG"):
                found["structures"] += _structure_set(file, header, scans, grids, problems)
            elif modality == "RTDOSE":
                _try(problems, partial(read_rtdose, file))
    for file in images:
        if (read := _try(problems, partial(read_image, file))) is None:
            found["series"].append(_image(file, None))
            continue
        grid, values = read
        is_map = _is_label_map(values)
        found["series"].append(_image(file, grid, "label map" if is_map else ""))
        if is_map:
            found["structures"] += _label_map(file, grid, values, problems)
    if not found["series"]:
        raise InputError(
            "holds no DICOM, NIfTI or NRRD file that can be read.", where=str(path), remedy="Check the path."
        )
    return found | {"problems": problems, "other_files": len(files) - sum(map(len, groups.values())) - len(images)}


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


def _grouped(files: list[Path], problems: list[str]) -> dict[tuple[str, str], Headers]:
    """DICOM headers by modality and series."""
    groups: dict[tuple[str, str], Headers] = defaultdict(list)
    for file in files:
        if not is_dicom(file):
            if file.suffix.lower() in DICOM_SUFFIXES:
                problems.append(f"{file.name}: is named as a DICOM file but does not start as one.")
            continue
        if (header := _try(problems, partial(_header, file))) is not None:
            groups[str(header.get("Modality", "?")), str(header.get("SeriesInstanceUID", ""))].append((file, header))
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
    shown = [{k: v for k, v in row.items() if k != "slice_gaps_mm"} for row in found["series"]]
    print_table(console, "Series", shown)
    if found["structures"]:
        print_table(console, "Structures", found["structures"])
    if found["other_files"]:
        console.print(f"files that are neither DICOM nor NIfTI nor NRRD: {found['other_files']}", highlight=False)
    console.print(f"problems: {len(found['problems']) or 'none found'}", highlight=False)
    for problem in found["problems"]:
        console.print(f"  - {problem}", highlight=False, markup=False)


def _try(problems: list[str], action: Callable[[], Any]) -> Any:
    """The result, or None with the refusal among the problems."""
    try:
        return action()
    except DosecalcError as error:
        problems.append(str(error))
        return None


def _scan(group: Headers, scans: int, problems: list[str]) -> Grid | None:
    """The grid of a CT series as the planner would read it."""
    folders = {file.parent for file, _ in group}
    if len(folders) > 1:
        listed = ", ".join(sorted(folder.name for folder in folders))
        problems.append(f"CT series {_short(group[0][1])}: its images lie in several folders ({listed}).")
        return None
    series = _try(problems, partial(read_ct_series, folders.pop()))
    return None if series is None else series.volume.grid


def _short(header: pydicom.Dataset) -> str:
    return "..." + str(header.get("SeriesInstanceUID", ""))[-_UID_DIGITS:]


def _series(modality: str, uid: str, group: Headers) -> dict[str, Any]:
    header = group[0][1]
    with parsing(group[0][0]):
        heights = sorted(float(h.ImagePositionPatient[2]) for _, h in group if h.get("ImagePositionPatient"))
        spacing = [f"{float(v):g}" for v in header.get("PixelSpacing") or ()]
    gaps = {round(high - low, 3) for low, high in pairwise(heights)}
    return {
        "modality": modality,
        "series": _short(header),
        "files": len(group),
        "position": str(header.get("PatientPosition", "") or ""),
        "spacing_mm": " x ".join([*spacing, *([f"{min(gaps):g}"] if gaps else [])]),
        "slice_gaps_mm": ", ".join(f"{gap:g}" for gap in sorted(gaps)[:4]),
        "z_mm": f"{heights[0]:g} to {heights[-1]:g}" if heights else "",
        "where": str(group[0][0].parent.name if len(group) > 1 else group[0][0].name),
    }


def _is_label_map(values: npt.NDArray[Any]) -> bool:
    """Whether an image holds whole numbers from 0 on, few of them: HU go below 0."""
    if not np.issubdtype(values.dtype, np.integer) and not np.array_equal(values, np.round(values)):
        return False
    return bool(values.min() >= 0 and 0 < values.max() <= MOST_LABELS)


def _label_map(file: Path, grid: Grid, values: npt.NDArray[Any], problems: list[str]) -> list[dict[str, Any]]:
    """Each label with its volume, and its name where the file or the only JSON beside it states one."""
    named = segment_names(file) if file.suffix.lower() == ".nrrd" else {}
    tables = sorted(file.parent.glob("*.json"))
    labels: dict[int, str] = {}
    if named or len(tables) == 1:
        labels = _try(problems, partial(label_names, named or tables[0])) or {}
    counts = np.bincount(values.astype(np.int64).ravel())
    border = [np.unique(np.take(values, end, axis)) for axis in range(3) for end in (0, -1)]
    rows = []
    for label in np.flatnonzero(counts[1:]) + 1:
        name = labels.get(int(label), f"label {label}")
        cut = [face for face, seen in zip(FACES, border, strict=True) if label in seen]
        rows.append(_structure(name, role_from_name(name), float(counts[label]) * grid.voxel_cc, cut))
    if unnamed := [row["name"] for row in rows if row["name"].startswith("label ")]:
        problems.append(f"{file.name}: {len(unnamed)} labels have no name; give a JSON of names when planning.")
    return rows


def _image(file: Path, grid: Grid | None, kind: str = "") -> dict[str, Any]:
    spacing = " x ".join(f"{v:g}" for v in grid.spacing_mm) if grid else ""
    low = grid.origin_mm[2] if grid else 0.0
    high = low + (grid.shape[0] - 1) * grid.spacing_mm[2] if grid else 0.0
    return {
        "modality": " ".join(filter(None, ("NRRD" if file.suffix.lower() == ".nrrd" else "NIfTI", kind))),
        "series": "",
        "files": 1,
        "position": "",
        "spacing_mm": spacing,
        "slice_gaps_mm": f"{grid.spacing_mm[2]:g}" if grid else "",
        "z_mm": f"{low:g} to {high:g}" if grid else "",
        "where": file.name,
    }


def _structure_set(
    file: Path, header: pydicom.Dataset, scans: dict[str, Headers], grids: dict[str, Grid | None], problems: list[str]
) -> list[dict[str, Any]]:
    read: StructureSet | None = _try(problems, partial(read_structures, file))
    if read is None:
        return []
    frames = {uid: str(group[0][1].get("FrameOfReferenceUID", "")) for uid, group in scans.items()}
    own = [uid for uid, frame in frames.items() if frame == read.frame_of_reference_uid]
    if frames and not own:
        problems.append(f"{file.name}: its frame of reference is that of no CT series here.")
    grid = grids[own[0]] if own else None
    problems.extend(f"{file.name}: {name!r} is listed without geometry." for name in read.absent)
    return [_structure(s.name, s.role, s.volume_cc, list(s.on(grid).faces_touched) if grid else []) for s in read]


def _structure(name: str, role: str, volume_cc: float, cut: list[str]) -> dict[str, Any]:
    return {
        "name": name,
        "tg263": names.known_as(name),
        "looks_like": ", ".join(names.suggestions(name)) if role == "ORGAN" else "",
        "role": role,
        "volume_cc": round(volume_cc, 3),
        "cut_by_scan": cut,
    }

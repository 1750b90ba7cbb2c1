"""The rows of `dosecalc inspect PATH`: series, label maps, structures."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pydicom

from dosecalc import names
from dosecalc.dicom.consistency import Headers
from dosecalc.dicom.files import numbers
from dosecalc.errors import DosecalcError, InputError
from dosecalc.grid import Grid
from dosecalc.label_maps import label_names
from dosecalc.nrrd_file import segment_names
from dosecalc.slabs import EndCaps
from dosecalc.structures import FACES, role_from_name

_UID_DIGITS = 6
MOST_LABELS = 1000
"""Largest number in an image that is taken for a label map."""
MOST_DIFFERENT = 128
"""Numbers that a label map holds at most: atlases of the body have up to 117 labels, a CT in 8 bits some 200 greys."""
_LABEL_WORDS = frozenset(("seg", "segmentation", "label", "labels", "labelmap", "mask", "masks", "structures", "roi"))
_CT_WORDS = frozenset(("ct", "cbct", "image", "img", "scan"))
SERIES_KEYS = (
    "modality", "series", "files", "position", "spacing_mm", "slice_gaps_mm", "z_mm", "content", "where",
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Scan:
    """What structures and doses must fit to; `grid` is None where the images cannot be read."""

    series_uid: str
    frame: str
    grid: Grid | None


@dataclass(slots=True)
class Survey:
    """What was asked for and what has been found so far."""

    leave_out: tuple[str, ...]
    repair: tuple[str, ...]
    end_caps: EndCaps
    scans: list[Scan] = field(default_factory=list)
    frames: set[str] = field(default_factory=set)
    drawn: set[str] = field(default_factory=set)
    series: list[dict[str, Any]] = field(default_factory=list)
    structures: list[dict[str, Any]] = field(default_factory=list)
    problems: list[str] = field(default_factory=list)
    notices: list[str] = field(default_factory=list)

    def attempt(self, action: Callable[[], Any]) -> Any:
        """The result, or None with the refusal among the problems."""
        try:
            return action()
        except DosecalcError as error:
            self.problems.append(str(error))
            return None


def series_row(modality: str, group: Headers, where: str) -> dict[str, Any]:
    """What the headers of a DICOM series say of it."""
    file, header = group[0]
    places = [_floats(f, h, "ImagePositionPatient") for f, h in group]
    heights = sorted(place[2] for place in places if len(place) == 3)
    spacing = [f"{v:g}" for v in _floats(file, header, "PixelSpacing")]
    gaps = {round(high - low, 3) for low, high in pairwise(heights)}
    return {
        "modality": modality,
        "series": "..." + str(header.get("SeriesInstanceUID", ""))[-_UID_DIGITS:],
        "files": len(group),
        "position": str(header.get("PatientPosition", "") or ""),
        "spacing_mm": " x ".join([*spacing, *([f"{min(gaps):g}"] if gaps else [])]),
        "slice_gaps_mm": ", ".join(f"{gap:g}" for gap in sorted(gaps)[:4]),
        "z_mm": f"{heights[0]:g} to {heights[-1]:g}" if heights else "",
        "content": "",
        "where": where,
    }


def _floats(file: Path, header: pydicom.Dataset, keyword: str) -> list[float]:
    """The numbers of an element, none where it is damaged: the reader tells that."""
    try:
        return [float(v) for v in numbers(header, keyword, file)]
    except InputError:
        return []


def extent(grid: Grid) -> dict[str, str]:
    """Spacing and reach along z, as a series has them."""
    low = grid.origin_mm[2]
    return {
        "spacing_mm": " x ".join(f"{v:g}" for v in grid.spacing_mm),
        "slice_gaps_mm": f"{grid.spacing_mm[2]:g}",
        "z_mm": f"{low:g} to {low + (grid.shape[0] - 1) * grid.spacing_mm[2]:g}",
    }


def is_label_map(file: Path, values: npt.NDArray[Any]) -> tuple[bool, str]:
    """Whether an image is a label map or else a CT, and why it was taken for that.

    HU go below 0. What holds whole numbers from 0 on is told by segments that it names, by
    words in the name of the file, or by how many different numbers it holds.
    """
    whole = np.issubdtype(values.dtype, np.integer) or np.array_equal(values, np.round(values))
    if not whole or values.min() < 0 or not 0 < values.max() <= MOST_LABELS:
        return False, "its values cannot be labels"
    if file.suffix.lower() == ".nrrd" and segment_names(file):
        return True, "it names its segments"
    words = frozenset(re.findall("[a-z]+", file.name.lower()))
    for found, is_map in ((words & _LABEL_WORDS, True), (words & _CT_WORDS, False)):
        if found:
            return is_map, f"its name says {min(found)!r}"
    different = int(np.count_nonzero(np.bincount(values.astype(np.int64).ravel())))
    few = different <= MOST_DIFFERENT
    return few, f"it holds {different} different whole numbers, {'as' if few else 'more than'} a label map has"


def label_rows(file: Path, grid: Grid, values: npt.NDArray[Any], found: Survey) -> list[dict[str, Any]]:
    """Each label with its volume, and its name where the file or the only JSON beside it states one."""
    named = segment_names(file) if file.suffix.lower() == ".nrrd" else {}
    tables = sorted(file.parent.glob("*.json"))
    labels: dict[int, str] = {}
    if named or len(tables) == 1:
        labels = found.attempt(partial(label_names, named or tables[0])) or {}
    counts = np.bincount(values.astype(np.int64).ravel())
    border = [np.unique(np.take(values, end, axis)) for axis in range(3) for end in (0, -1)]
    rows = []
    for label in np.flatnonzero(counts[1:]) + 1:
        name = labels.get(int(label), f"label {label}")
        cut = [face for face, seen in zip(FACES, border, strict=True) if label in seen]
        rows.append(structure_row(file, name, role_from_name(name), float(counts[label]) * grid.voxel_cc, cut))
    if unnamed := [row["name"] for row in rows if row["name"].startswith("label ")]:
        found.problems.append(f"{file.name}: {len(unnamed)} labels have no name; give a JSON of names when planning.")
    return rows


def structure_row(file: Path, name: str, role: str, volume_cc: float, cut: list[str]) -> dict[str, Any]:
    """A structure with the names and the role that planning gives it."""
    return {
        "name": name,
        "tg263": names.known_as(name),
        "looks_like": ", ".join(names.suggestions(name)) if role == "ORGAN" else "",
        "role": role,
        "volume_cc": round(volume_cc, 3),
        "cut_by_scan": cut,
        "file": file.name,
    }

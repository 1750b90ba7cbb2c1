"""RT Structure Set: contours in, contours out, nothing dropped without a word."""

from __future__ import annotations

import logging
import shlex
from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pydicom

from ..errors import InputError, UnsafeInputError
from ..rasterise import even_odd
from ..structures import Contours, Structure, StructureSet, role_from_name
from .belonging import check_belongs
from .files import decimals, existing, number, parsing, read_dataset, required, text
from .series import CtSeries

CLOSED = ("CLOSED_PLANAR", "CLOSEDPLANAR_XOR")  # PS3.3 section C.8.8.6
ROI_LIMIT, CONTOUR_LIMIT, POINT_LIMIT = 1000, 200_000, 20_000_000  # some ten times what clinics draw
_PLANE_TOLERANCE_MM = 0.01
_ROLES = {role: role for role in ("GTV", "ITV", "CTV", "PTV", "ORGAN", "EXTERNAL")} | {"AVOIDANCE": "ORGAN"}

_log = logging.getLogger(__name__)
Ring = tuple[float, npt.NDArray[np.float64]]


def read_rtstruct(
    path: str | Path, *, ct: CtSeries | None = None, leave_out: Sequence[str] = (), repair: Sequence[str] = ()
) -> StructureSet:
    """Structures of an RT Structure Set.

    Roles come from RTROIInterpretedType; only where that is missing, GTV, CTV, ITV and PTV are taken from the
    start of the name. Other types become "ORGAN", with a notice. ROIs without closed contours are named in a
    notice and listed as `absent`.

    Parameters
    ----------
    path : str or Path
    ct : CtSeries, optional
        The scan that the structures must belong to: they share its frame of reference, or refer to its images where it
        states none.
    leave_out : sequence of str
        Structures to read the set without; they are listed as `absent`.
    repair : sequence of str
        Structures whose contours may cross themselves or each other: what an even number of them encloses is outside.

    Returns
    -------
    StructureSet

    Raises
    ------
    InputError
        Not an RT Structure Set, cut short, another or several frames of reference, duplicate names or
        numbers, contours that are not axial, or whose inside is not defined: all such structures together.
    UnsafeInputError
        More ROIs, contours or points than anybody draws.
    """
    file = existing(path)
    with parsing(file):
        dataset = read_dataset(file)
        if dataset.get("Modality") != "RTSTRUCT":
            raise InputError(f"Modality is {dataset.get('Modality')!r}, expected 'RTSTRUCT'.", where=str(file))
        rois = _rois(dataset, file)
        notices: list[str] = []
        frame = _frame(rois, file)
        if ct is not None:
            check_belongs(frame, set(_referenced_series(dataset)), ct, file, notices)
        rois = _without(rois, leave_out, repair, file)
        rings, slabs = _contours(dataset, rois, file, notices)
        roles = _roles(dataset, rois, file, notices)
    common = _common_gap(rings)
    structures, absent, faults = [], list(leave_out), []
    notices += [f"{name}: left out of the structures, as asked." for name in leave_out]
    for roi, item in rois.items():
        name = str(item.ROIName)
        if not rings[roi]:
            notices.append(f"{name}: has no closed contours and is left out.")
            absent.append(name)
            continue
        slab = slabs[roi]
        if slab is None and len({z for z, _ in rings[roi]}) == 1 and common is not None:
            notices.append(
                f"{name}: is drawn on one plane; taken as {common:g} mm thick, the distance of others' planes."
            )
            slab = common
        planes, polygons = tuple(z for z, _ in rings[roi]), tuple(p for _, p in rings[roi])
        try:
            if name in repair:
                planes, polygons = even_odd(name, planes, polygons)
                notices.append(
                    f"{name}: its contours were repaired as asked: {len(rings[roi])} became {len(polygons)}."
                )
            structures.append(Structure(name, roles[roi], Contours(planes, polygons, slab_mm=slab)))
        except InputError as error:
            faults.append((name, error))
            if isinstance(error, UnsafeInputError):  # do not spend minutes on a hostile file
                break
    _refuse_faulty(faults, file)
    notices += [notice for structure in structures for notice in structure.notices]
    for notice in notices:
        _log.warning("%s", notice)
    # the CT's own frame is new where it states none: what was found to belong to it lies in it
    shared = ct.frame_of_reference_uid if ct is not None else frame
    return StructureSet(tuple(structures), shared, tuple(absent), tuple(notices))


def _refuse_faulty(faults: list[tuple[str, InputError]], file: Path) -> None:
    """One error for all structures that cannot be used, with the options that would accept the rest."""
    if not faults:
        return
    told = "; ".join(f"{error.where}: {error.message.rstrip('.')}" for _, error in faults)
    options = " ".join(f"--leave-out {shlex.quote(name)}" for name, _ in faults)
    raise type(faults[-1][1])(
        f"{len(faults)} structure(s) cannot be used: {told}.",
        where=str(file),
        remedy=f"Correct them in the contouring software, or read the set without them: {options}. --repair NAME "
        "takes what crossing contours enclose an odd number of times.",
    )


def _without(
    rois: dict[int, pydicom.Dataset], leave_out: Sequence[str], repair: Sequence[str], file: Path
) -> dict[int, pydicom.Dataset]:
    """The ROIs that shall be read; a name that is not there is refused."""
    names = {str(item.ROIName) for item in rois.values()}
    if unknown := [name for name in (*leave_out, *repair) if name not in names]:
        raise InputError(
            f"there is no structure {' and no '.join(map(repr, unknown))} to leave out or repair.",
            where=str(file),
            remedy=f"There are {', '.join(sorted(names))}.",
        )
    return {roi: item for roi, item in rois.items() if str(item.ROIName) not in leave_out}


def _rois(dataset: pydicom.Dataset, file: Path) -> dict[int, pydicom.Dataset]:
    """Items of StructureSetROISequence by ROI number, names and numbers unique."""
    items = list(required(dataset, "StructureSetROISequence", file))
    _check_count(len(items), ROI_LIMIT, "ROIs", file)
    names = [text(item, "ROIName", file).strip() for item in items]
    numbers_ = [int(number(item, "ROINumber", file)) for item in items]
    for what, values in (("ROI name", names), ("ROI number", numbers_)):
        twice = [value for value, count in Counter(values).items() if count > 1]
        if twice:
            rows = zip(numbers_, names, values, strict=True)
            where = "; ".join(f"no. {n} {name!r}" for n, name, value in rows if value in twice)
            raise InputError(
                f"an {what} is used twice: {where}.", where=str(file), remedy="Rename or delete one of them."
            )
    return dict(zip(numbers_, items, strict=True))


def _frame(rois: dict[int, pydicom.Dataset], file: Path) -> str:
    """The one frame of reference of all ROIs."""
    frames = {text(item, "ReferencedFrameOfReferenceUID", file) for item in rois.values()}
    if len(frames) > 1:
        raise InputError(f"its ROIs lie in {len(frames)} frames of reference, one is needed.", where=str(file))
    return frames.pop()


def _referenced_series(dataset: pydicom.Dataset) -> Iterator[str]:
    for frame in dataset.get("ReferencedFrameOfReferenceSequence") or ():
        for study in frame.get("RTReferencedStudySequence") or ():
            for series in study.get("RTReferencedSeriesSequence") or ():
                yield str(series.get("SeriesInstanceUID"))


def _contours(
    dataset: pydicom.Dataset, rois: dict[int, pydicom.Dataset], file: Path, notices: list[str]
) -> tuple[dict[int, list[Ring]], dict[int, float | None]]:
    """Closed contours and stated slab thickness of each ROI."""
    rings: dict[int, list[Ring]] = defaultdict(list)
    slabs: dict[int, float | None] = defaultdict(lambda: None)
    seen = set()
    contours = points = 0
    named = {int(number(item, "ROINumber", file)) for item in dataset.StructureSetROISequence}
    for item in required(dataset, "ROIContourSequence", file):
        roi = int(number(item, "ReferencedROINumber", file))
        if roi not in named or roi in seen:
            fault = "twice" if roi in seen else "without a name"
            raise InputError(f"ROI number {roi} has contours {fault}.", where=str(file))
        seen.add(roi)
        if roi not in rois:
            continue
        name = str(rois[roi].ROIName)
        thicknesses = set()
        for contour in item.get("ContourSequence") or ():
            ring = _ring(contour, name, file, notices)
            contours += 1
            points += 0 if ring is None else len(ring[1])
            _check_count(contours, CONTOUR_LIMIT, "contours", file)
            _check_count(points, POINT_LIMIT, "points", file)
            if ring is not None:
                rings[roi].append(ring)
                stated = contour.get("ContourSlabThickness") is not None
                thicknesses.add(number(contour, "ContourSlabThickness", file) if stated else 0.0)
        if len(thicknesses) == 1 and min(thicknesses) > 0:
            slabs[roi] = thicknesses.pop()
    return rings, slabs


def _check_count(count: int, limit: int, what: str, file: Path) -> None:
    if count > limit:
        raise UnsafeInputError(
            f"has more than {limit} {what}.", where=str(file), remedy="Export only the structures that are needed."
        )


def _ring(contour: pydicom.Dataset, name: str, file: Path, notices: list[str]) -> Ring | None:
    """Plane and vertices of one closed contour; None, with a notice, for a point or an open line."""
    where = f"{file}, structure {name!r}"
    kind = str(required(contour, "ContourGeometricType", file))
    if kind not in CLOSED:
        notices.append(f"{name}: a contour of type {kind[:20]} has no volume and is left out.")
        return None
    data = decimals(contour, "ContourData", file)
    count = int(number(contour, "NumberOfContourPoints", file))
    if len(data) != 3 * count:
        raise InputError(f"a contour of {count} points has {len(data)} coordinates.", where=where)
    points = data.reshape(-1, 3)
    if np.ptp(points[:, 2]) > _PLANE_TOLERANCE_MM:
        low, high = points[:, 2].min(), points[:, 2].max()
        raise InputError(
            f"a contour reaches from z = {low:g} to {high:g} mm, expected axial planes.",
            where=where,
            remedy="Export the structures on axial slices.",
        )
    return float(points[0, 2]), points[:, :2]


def _roles(
    dataset: pydicom.Dataset, rois: dict[int, pydicom.Dataset], file: Path, notices: list[str]
) -> dict[int, str]:
    kinds: dict[int, str] = {}
    if dataset.get("RTROIObservationsSequence") is None:
        notices.append("structures: the file states no types of its ROIs; roles are taken from the names.")
    for item in dataset.get("RTROIObservationsSequence") or ():
        roi = int(number(item, "ReferencedROINumber", file))
        kind = str(item.get("RTROIInterpretedType") or "").strip().upper()
        if kinds.get(roi, kind) != kind:
            raise InputError(f"ROI {str(rois[roi].ROIName)!r} has two interpreted types.", where=str(file))
        kinds[roi] = kind
    roles = {}
    for roi, item in rois.items():
        name, kind = str(item.ROIName), kinds.get(roi, "")
        roles[roi] = _ROLES.get(kind, "ORGAN") if kind else role_from_name(name)
        if kind and kind not in _ROLES:
            notices.append(f"{name}: is of type {kind[:20]}; taken as an organ.")
    return roles


def _common_gap(rings: dict[int, list[Ring]]) -> float | None:
    """The most frequent distance in mm between neighbouring planes of a structure, over all structures."""
    gaps: Counter[float] = Counter()
    for contours in rings.values():
        planes = np.unique(np.round([z for z, _ in contours], 2))
        gaps.update(np.round(np.diff(planes), 2).tolist())
    return gaps.most_common(1)[0][0] if gaps else None

"""RT Structure Set: contours in, contours out, nothing dropped without a word."""

from __future__ import annotations

import logging
import shlex
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pydicom
from pydicom.multival import MultiValue

from ..errors import InputError, UnsafeInputError
from ..slabs import JITTER_MM, PLANE_TOLERANCE_MM, EndCaps, check_end_caps, enclosed, even_odd, planes_of
from ..structures import NAME_LENGTH, Contours, Structure, StructureSet, role_from_name
from .belonging import check_belongs
from .files import decimals, existing, number, numbers, parsing, read_dataset, required, text
from .series import CtSeries

CLOSED = ("CLOSED_PLANAR", "CLOSEDPLANAR_XOR")  # PS3.3 section C.8.8.6
ROI_LIMIT, CONTOUR_LIMIT, POINT_LIMIT = 1000, 200_000, 20_000_000  # some ten times what clinics draw
_OPEN = ("POINT", "OPEN_PLANAR", "OPEN_NONPLANAR")
# PS3.3 section C.8.8.8: what is neither the patient's anatomy nor a target
NO_ANATOMY = (
    *("BOLUS", "MARKER", "REGISTRATION", "SUPPORT", "FIXATION", "ISOCENTER", "DOSE_MEASUREMENT"),
    *("BRACHY_CHANNEL", "BRACHY_ACCESSORY", "BRACHY_SRC_APP", "BRACHY_CHNL_SHLD"),
)
_ROLES = {role: role for role in ("GTV", "ITV", "CTV", "PTV", "ORGAN", "EXTERNAL")} | {"AVOIDANCE": "ORGAN"}

_log = logging.getLogger(__name__)
Ring = tuple[float, npt.NDArray[np.float64]]


def read_rtstruct(
    path: str | Path,
    *,
    ct: CtSeries | None = None,
    leave_out: Sequence[str] = (),
    repair: Sequence[str] = (),
    end_caps: EndCaps = "half_slice",
) -> StructureSet:
    """Structures of an RT Structure Set.

    Roles come from RTROIInterpretedType; only where that is missing, GTV, CTV, ITV and PTV are taken from the
    start of the name. `NO_ANATOMY` is left out, other types become "ORGAN", both with a notice. ROIs without closed
    contours are named in a notice and listed as `absent`.

    Parameters
    ----------
    path : str or Path
    ct : CtSeries, optional
        The scan that the structures must belong to: they share its frame of reference, or refer to its images where it
        states none.
    leave_out : sequence of str
        Structures to read the set without; they are listed as `absent`.
    repair : sequence of str
        Structures whose contours may cross themselves or each other: what an even number of them encloses is outside,
        rings drawn again counted once.
    end_caps : str
        How far structures reach beyond their first and last contours, see `dosecalc.structures.Contours`; those whose
        ContourSlabThickness is the distance of their planes reach as far as it says.

    Returns
    -------
    StructureSet

    Raises
    ------
    InputError
        Not an RT Structure Set, cut short, another or several frames of reference, duplicate names or
        numbers, contours that are not axial or shifted, or whose inside is not defined: all such structures together.
    UnsafeInputError
        More ROIs, contours or points than anybody draws.
    """
    check_end_caps(end_caps)
    file = existing(path)
    with parsing(file):
        dataset = read_dataset(file)
        if dataset.get("Modality") != "RTSTRUCT":
            raise InputError(f"Modality is {dataset.get('Modality')!r}, expected 'RTSTRUCT'.", where=str(file))
        names = _rois(dataset, file)
        notices: list[str] = []
        frame = _frame(dataset, file)
        if ct is not None:
            check_belongs(frame, *_referenced(dataset), ct, file, notices)
        asked = _without(names, leave_out, repair, file)
        roles = _roles(dataset, asked, file, notices)
        rois = {roi: name for roi, name in asked.items() if roi in roles}
        rings, slabs = _contours(dataset, names, rois, file, notices)
    notices += [f"{name}: left out of the structures, as asked." for name in leave_out]
    if end_caps == "at_contour":
        notices.append("structures: they end at their first and last contours, as asked.")
    absent = [*leave_out, *(name for roi, name in asked.items() if roi not in rois or not rings[roi])]
    notices += [f"{name}: has no closed contours and is left out." for roi, name in rois.items() if not rings[roi]]
    common = _common_gap(rings)
    structures: list[Structure] = []
    faults: list[tuple[int, str, InputError]] = []
    for roi, name in rois.items():
        try:
            if rings[roi]:
                shape = _shape(name, rings[roi], slabs[roi], common, notices, end_caps)
                if name in repair:
                    shape = _repaired(name, roles[roi], shape, notices)
                structures.append(Structure(name, roles[roi], shape))
        except InputError as error:
            faults.append((roi, name, error))
            if isinstance(error, UnsafeInputError):  # do not spend minutes on a hostile file
                break
    _refuse_faulty(faults, file)
    notices += [notice for structure in structures for notice in structure.notices]
    for notice in notices:
        _log.warning("%s", notice)
    # the CT's own frame is new where it states none: what was found to belong to it lies in it
    shared = ct.frame_of_reference_uid if ct is not None else frame
    return StructureSet(tuple(structures), shared, tuple(absent), tuple(notices))


def _shape(
    name: str,
    rings: list[Ring],
    slab_mm: float | None,
    common_mm: float | None,
    notices: list[str],
    end_caps: EndCaps,
) -> Contours:
    """Contours of one structure; a single plane takes its thickness from the others, unless it ends at its contours."""
    planes = tuple(z for z, _ in rings)
    single = slab_mm is None and len(planes_of(planes)) == 1
    if single and common_mm is not None and end_caps == "half_slice":
        notices.append(
            f"{name}: is drawn on one plane; taken as {common_mm:.3g} mm thick, the distance of others' planes."
        )
        slab_mm = common_mm
    return Contours(planes, tuple(points for _, points in rings), slab_mm, end_caps)


def _repaired(name: str, role: str, drawn: Contours, notices: list[str]) -> Contours:
    """What the contours enclose an odd number of times; the notice gives the volumes to judge it by."""
    before, after = (
        replace(drawn, z_mm=z, polygons_mm=rings)
        for z, rings in (combine(drawn.z_mm, drawn.polygons_mm) for combine in (enclosed, even_odd))
    )
    notices.append(
        f"{name}: its contours were repaired as asked: {len(drawn.z_mm)} became {len(after.z_mm)}, the "
        f"volume is {Structure(name, role, before).volume_cc:.4g} cc before (all that they enclose, holes filled) and "
        f"{Structure(name, role, after).volume_cc:.4g} cc after."
    )
    return after


@contextmanager
def _naming(file: Path, roi: Any, name: Any) -> Iterator[None]:
    """Errors about the file that say which ROI they are about."""
    try:
        with parsing(file):
            yield
    except InputError as error:
        if error.where != str(file):
            raise
        raise type(error)(error.message, where=f"{file}, {_label(roi, name)}", remedy=error.remedy) from error


def _label(roi: Any, name: Any) -> str:
    text = str(name)
    return f"ROI no. {roi} {text if len(text) <= NAME_LENGTH else f'{text[:NAME_LENGTH]}...'!r}"


def _refuse_faulty(faults: list[tuple[int, str, InputError]], file: Path) -> None:
    """One error for all structures that cannot be used, with the options that would accept the rest."""
    if not faults:
        return
    told = "; ".join(
        f"{_label(roi, name)}: {f'{error.where}: ' if error.where else ''}{error.message.rstrip('.')}"
        for roi, name, error in faults
    )
    options = " ".join(f"--leave-out {shlex.quote(name)}" for _, name, _ in faults)
    raise type(faults[-1][2])(
        f"{len(faults)} structure(s) cannot be used: {told}.",
        where=str(file),
        remedy=f"Correct them in the contouring software, or read the set without them: {options}. --repair NAME "
        "takes what crossing contours enclose an odd number of times.",
    )


def _without(names: dict[int, str], leave_out: Sequence[str], repair: Sequence[str], file: Path) -> dict[int, str]:
    """The ROIs that shall be read; a name that is not there is refused."""
    if unknown := [name for name in (*leave_out, *repair) if name not in names.values()]:
        raise InputError(
            f"there is no structure {' and no '.join(map(repr, unknown))} to leave out or repair.",
            where=str(file),
            remedy=f"There are {', '.join(sorted(names.values()))}.",
        )
    return {roi: name for roi, name in names.items() if name not in leave_out}


def _rois(dataset: pydicom.Dataset, file: Path) -> dict[int, str]:
    """Names of StructureSetROISequence by ROI number, both unique."""
    names, numbers_ = [], []
    items = required(dataset, "StructureSetROISequence", file)
    _check_count(len(items), ROI_LIMIT, "ROIs", file)
    for item in items:
        with _naming(file, item.get("ROINumber", "missing,"), item.get("ROIName") or ""):
            name = required(item, "ROIName", file)
            # a backslash parts values, PS3.5 section 6.2: put back, so that the refusal shows the name as it was given
            names.append("\\".join(name).strip() if isinstance(name, MultiValue) else str(name).strip())
            numbers_.append(int(number(item, "ROINumber", file)))
    for what, values in (("ROI name", names), ("ROI number", numbers_)):
        twice = [value for value, count in Counter(values).items() if count > 1]
        if twice:
            rows = zip(numbers_, names, values, strict=True)
            where = "; ".join(f"no. {n} {name!r}" for n, name, value in rows if value in twice)
            raise InputError(
                f"an {what} is used twice: {where}.", where=str(file), remedy="Rename or delete one of them."
            )
    return dict(zip(numbers_, names, strict=True))


def _frame(dataset: pydicom.Dataset, file: Path) -> str:
    """The one frame of reference of all ROIs."""
    frames = set()
    for item in dataset.StructureSetROISequence:
        with _naming(file, item.ROINumber, item.ROIName):
            frames.add(text(item, "ReferencedFrameOfReferenceUID", file))
    if len(frames) > 1:
        raise InputError(f"its ROIs lie in {len(frames)} frames of reference, one is needed.", where=str(file))
    return frames.pop()


def _referenced(dataset: pydicom.Dataset) -> tuple[set[str], set[str]]:
    """Series and images that the structures were drawn on: as the set lists them, or else as the contours do."""
    listed = [
        item
        for frame in dataset.get("ReferencedFrameOfReferenceSequence") or ()
        for study in frame.get("RTReferencedStudySequence") or ()
        for item in study.get("RTReferencedSeriesSequence") or ()
    ]
    drawn = (c for roi in dataset.get("ROIContourSequence") or () for c in roi.get("ContourSequence") or ())
    return {str(item.get("SeriesInstanceUID")) for item in listed}, _images(listed) or _images(drawn)


def _images(holders: Iterable[pydicom.Dataset]) -> set[str]:
    images = (image for holder in holders for image in holder.get("ContourImageSequence") or ())
    return {str(image.get("ReferencedSOPInstanceUID")) for image in images}


def _contours(
    dataset: pydicom.Dataset, names: dict[int, str], rois: dict[int, str], file: Path, notices: list[str]
) -> tuple[dict[int, list[Ring]], dict[int, float | None]]:
    """Closed contours and stated slab thickness of each of `rois`; every item must belong to one of `names`."""
    rings: dict[int, list[Ring]] = defaultdict(list)
    slabs: dict[int, float | None] = defaultdict(lambda: None)
    seen = set()
    contours = points = 0
    for item in required(dataset, "ROIContourSequence", file):
        roi = int(number(item, "ReferencedROINumber", file))
        with _naming(file, roi, names.get(roi, "")):
            if roi not in names or roi in seen:
                fault = "twice" if roi in seen else "without a name"
                raise InputError(f"ROI number {roi} has contours {fault}.", where=str(file))
            seen.add(roi)
            if roi not in rois:
                continue
            thicknesses = set()
            for contour in item.get("ContourSequence") or ():
                ring = _ring(contour, rois[roi], file, notices)
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
    kind = str(required(contour, "ContourGeometricType", file)).strip().upper()  # some programs write lower case
    if kind not in (*CLOSED, *_OPEN):
        raise InputError(
            f"a contour is of type {kind[:20]!r}, expected one of {', '.join((*CLOSED, *_OPEN))}.",
            where=str(file),
            remedy="Export it from its source again.",
        )
    if kind not in CLOSED:
        notices.append(f"{name}: a contour of type {kind[:20]} has no volume and is left out.")
        return None
    if contour.get("ContourOffsetVector") is not None and numbers(contour, "ContourOffsetVector", file).any():
        raise InputError(
            "a contour has a ContourOffsetVector, which moves it off its plane; 0 is needed.",
            where=str(file),
            remedy="Export the structures without offsets.",
        )
    data = decimals(contour, "ContourData", file)
    count = int(number(contour, "NumberOfContourPoints", file))
    if len(data) != 3 * count:
        raise InputError(f"a contour of {count} points has {len(data)} coordinates.", where=str(file))
    points = data.reshape(-1, 3)
    low, high = float(points[:, 2].min()), float(points[:, 2].max())
    if high - low > JITTER_MM:
        raise InputError(
            f"a contour reaches from z = {low:g} to {high:g} mm, expected axial planes.",
            where=str(file),
            remedy="Export the structures on axial slices.",
        )
    flat = f"{name}: points of a contour differ by up to {JITTER_MM:g} mm in z; it is taken as flat."
    if high - low > PLANE_TOLERANCE_MM and flat not in notices:
        notices.append(flat)
    return (low + high) / 2.0, points[:, :2]


def _roles(dataset: pydicom.Dataset, rois: dict[int, str], file: Path, notices: list[str]) -> dict[int, str]:
    """Role of each ROI that is anatomy or a target."""
    kinds: dict[int, str] = {}
    if dataset.get("RTROIObservationsSequence") is None:
        notices.append("structures: the file states no types of its ROIs; roles are taken from the names.")
    for item in dataset.get("RTROIObservationsSequence") or ():
        roi = int(number(item, "ReferencedROINumber", file))
        kind = str(item.get("RTROIInterpretedType") or "").strip().upper()
        if roi in rois and kinds.get(roi, kind) != kind:
            with _naming(file, roi, rois[roi]):
                raise InputError(f"has two interpreted types, {kinds[roi]!r} and {kind!r}.", where=str(file))
        kinds[roi] = kind
    roles = {}
    for roi, name in rois.items():
        kind = kinds.get(roi, "")
        if kind in NO_ANATOMY:
            notices.append(f"{name}: is of type {kind}, neither organ nor target; it is left out and gets no goals.")
            continue
        roles[roi] = _ROLES.get(kind, "ORGAN") if kind else role_from_name(name)
        if kind and kind not in _ROLES:
            notices.append(f"{name}: is of type {kind[:20]}; taken as an organ.")
    return roles


def _common_gap(rings: dict[int, list[Ring]]) -> float | None:
    """The usual distance in mm between neighbouring planes of a structure, over all structures.

    The median of those that agree with the most frequent one to 0.1 mm.
    """
    planes = [[z for z, _ in planes_of([z for z, _ in contours])] for contours in rings.values()]
    gaps = np.concatenate([np.diff(heights) for heights in planes]) if planes else np.empty(0)
    if not len(gaps):
        return None
    most = Counter(np.round(gaps, 1).tolist()).most_common(1)[0][0]
    return float(np.median(gaps[np.round(gaps, 1) == most]))

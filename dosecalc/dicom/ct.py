"""Read a CT series into HU on a grid, or refuse it with the reason."""

from __future__ import annotations

import logging
import math
from collections import defaultdict
from itertools import groupby
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pydicom
from pydicom.uid import CTImageStorage, generate_uid

from ..errors import InputError, UnsafeInputError
from ..geometry import PATIENT_POSITIONS, known_position
from ..grid import Grid, Volume
from ..orientation import is_oblique, to_lps
from .consistency import LOCALIZER, header_notices, what_else
from .files import INFLATION_RATIO, existing, list_files, parsing, read_dataset, text
from .frames import MULTI_FRAME, PIXEL_LIMIT, Frame, frames_of
from .pixels import AIR_HU, hounsfield_units, is_lossy
from .series import CtSeries, PatientStudy

STEP_TOLERANCE_MM = 0.1
"""Between a slice and its place in an equally spaced stack: positions are often rounded to 0.1 mm."""
SHIFT_TOLERANCE_MM = 0.05
"""Between the slices of a stack within their planes."""
CLAIM_ALLOWANCE = 64 * 2**20
"""Bytes of pixels that any series may claim; more only in proportion to its files, as for inflation."""
LARGEST_GAP_MM = 10.0
"""Slices further apart are never filled by interpolation."""

_log = logging.getLogger(__name__)
Headers = list[tuple[Path, pydicom.Dataset]]


def read_ct_series(path: str | Path, *, resample_slices: bool = False, patient_position: str | None = None) -> CtSeries:
    """The CT series in a folder, or the one that a file belongs to.

    Slices may run along any of the patient's axes, in either sense; where they lie is read from their geometry alone.

    Parameters
    ----------
    path : str or Path
        Folder that holds one CT series, or one of its files where the folder holds several. Other modalities are
        left alone; series of the modality CT without any slice (localisers, captured screens) are told.
    resample_slices : bool
        Interpolate linearly between unequally spaced slices, up to `LARGEST_GAP_MM`, instead of refusing them.
    patient_position : str, optional
        Stands in where the images state none, or a code without a meaning for a linac; refused where they state
        another.

    Returns
    -------
    CtSeries
        Volume of HU, float32, on a grid in LPS mm with axes along x, y and z.

    Raises
    ------
    InputError
        No CT or several series, a missing, unequal or repeated slice, a tilted or oblique scan, no rescale slope or
        intercept, damaged files.
    """
    place = existing(path)
    folder = place if place.is_dir() else place.parent
    wanted = None if place.is_dir() else text(read_dataset(place, pixels=False), "SeriesInstanceUID", place)
    with parsing(folder):
        notices: list[str] = []
        headers = _one_series(folder, wanted, notices)
        frames = _sorted(_without_localisers([f for file, header in headers for f in frames_of(header, file)], notices))
        position = _patient_position(frames, patient_position, notices)
        values = _values(frames, notices)
        stack = np.array([frame.position_mm @ frames[0].normal for frame in frames])
        notices += header_notices(frames, stack)
        if _is_unequal(stack):
            stack, values = _evenly(stack, values, frames, notices, allowed=resample_slices)
        grid, values = _oriented(frames[0], stack, values)
        series = _with_identity(frames, Volume(grid, np.ascontiguousarray(values)), position, notices)
    for notice in series.notices:
        _log.warning("%s", notice)
    return series


def _one_series(folder: Path, wanted: str | None, notices: list[str]) -> Headers:
    """Headers of the CT images of one series; series without slices beside it are left out."""
    series: dict[str, Headers] = defaultdict(list)
    for file in list_files(folder):
        header = read_dataset(file, pixels=False)
        kinds = {header.get("SOPClassUID"), header.file_meta.get("MediaStorageSOPClassUID")}
        if header.get("Modality") != "CT" and not kinds.isdisjoint((CTImageStorage, *MULTI_FRAME)):
            raise InputError(
                f"is a CT image, but its Modality is {header.get('Modality')!r}.",
                where=str(file),
                remedy="Copy or export it again: the series may lack a slice.",
            )
        if header.get("Modality") == "CT":
            series[text(header, "SeriesInstanceUID", file)].append((file, header))
    if wanted is not None:
        series = {uid: images for uid, images in series.items() if uid == wanted}
    others = {uid: kind for uid, images in series.items() if (kind := what_else(images))}
    if len(others) < len(series):
        for uid, kind in others.items():
            images = series.pop(uid)
            notices.append(f"CT: left out a series of {len(images)} other image(s) ({kind}): {images[0][0].name}.")
    if not series:
        raise InputError("holds no DICOM CT images.", where=str(folder), remedy="Name the folder of the CT series.")
    if len(series) > 1:
        found = "; ".join(f"{len(images)} images such as {images[0][0].name}" for images in series.values())
        raise InputError(
            f"holds {len(series)} CT series ({found}).",
            where=str(folder),
            remedy="Name one file of the series to use, or separate them.",
        )
    return next(iter(series.values()))


def _without_localisers(frames: list[Frame], notices: list[str]) -> list[Frame]:
    slices = [frame for frame in frames if LOCALIZER not in frame.image_type]
    if len(slices) < len(frames):
        notices.append(f"CT: left {len(frames) - len(slices)} localiser image(s) out of the series.")
    if len(slices) < 2:
        where = str(frames[0].file.parent)
        raise InputError(f"the CT series has {len(slices)} slice(s), at least 2 are needed.", where=where)
    return slices


def _sorted(frames: list[Frame]) -> list[Frame]:
    """Slices along their common normal, after the checks that make this the only thing in which they differ."""
    first = frames[0]
    for name, tolerance in (("axes", 1e-4), ("spacing_mm", 1e-4), ("shape", 0)):
        expected = np.asarray(getattr(first, name))
        for frame in frames:
            got = np.asarray(getattr(frame, name))
            if np.abs(got - expected).max() > tolerance:
                _refuse_mixture(_KEYWORDS[name], got.tolist(), expected.tolist(), frame.file, first.file)
    for keyword in ("FrameOfReferenceUID", "PatientPosition", "StudyInstanceUID"):
        for frame in frames:
            if frame.header.get(keyword) != first.header.get(keyword):
                _refuse_mixture(keyword, "another one", "the same in all", frame.file, first.file)
    axes = np.vstack([first.axes, first.normal])
    if is_oblique(axes):
        raise InputError(
            f"ImageOrientationPatient is {np.round(first.axes, 5).ravel().tolist()}: oblique slices are not supported.",
            where=str(first.file),
            remedy="Resample the scan to slices along the patient's axes.",
        )
    frames = sorted(frames, key=lambda frame: float(frame.position_mm @ first.normal))
    shifts = np.array([first.axes @ frame.position_mm for frame in frames])
    if np.ptp(shifts, axis=0).max() > SHIFT_TOLERANCE_MM:
        raise InputError(
            f"the slices are shifted against each other by up to {np.ptp(shifts, axis=0).max():.3g} mm within their "
            "planes (a tilted scan?).",
            where=str(first.file.parent),
            remedy="Use an untilted scan.",
        )
    return frames


_KEYWORDS = {"axes": "ImageOrientationPatient", "spacing_mm": "PixelSpacing", "shape": "the number of Rows, Columns"}


def _refuse_mixture(keyword: str, got: object, expected: object, file: Path, first: Path) -> None:
    raise InputError(
        f"{keyword} is {got}, but {expected} in {first.name}: the series is not one scan.",
        where=str(file),
        remedy="Export one reconstruction only.",
    )


def _patient_position(frames: list[Frame], given: str | None, notices: list[str]) -> str:
    """What the images state, or what the user says where they state nothing that a linac knows; never assumed."""
    given = known_position(given)
    header, file = frames[0].header, frames[0].file
    stated = text(header, "PatientPosition", file).strip().upper() if header.get("PatientPosition") else ""
    if given is not None and stated and stated not in PATIENT_POSITIONS:
        notices.append(f"CT: PatientPosition is {stated!r}, which no linac knows; {given} is used, as asked.")
        return given
    if given is not None and stated and stated != given:
        raise InputError(
            f"PatientPosition is {stated!r}, but {given!r} was given.",
            where=str(file),
            remedy="Leave the option out; what the images state is used.",
        )
    return stated or given or ""


def _values(frames: list[Frame], notices: list[str]) -> npt.NDArray[np.float32]:
    """(slices, rows, columns) HU in the order of the frames; each file is read once."""
    shape = (len(frames), *frames[0].shape)
    _check_claim(math.prod(shape), {frame.file for frame in frames})
    values = np.empty(shape, dtype=np.float32)
    padded = lossy = 0
    by_file = sorted(range(len(frames)), key=lambda k: (str(frames[k].file), frames[k].index))
    for file, group in groupby(by_file, key=lambda k: frames[k].file):
        places = list(group)
        dataset = read_dataset(file)
        lossy += is_lossy(dataset)
        images = hounsfield_units(dataset, [frames[k] for k in places])
        for k, (hu, count) in zip(places, images, strict=True):
            values[k] = hu
            padded += count
    if padded:
        notices.append(f"CT: {padded} padded pixels read as air ({AIR_HU:g} HU).")
    if lossy:
        notices.append(f"CT: {lossy} file(s) went through lossy compression, which has changed their HU.")
    return values


def _check_claim(pixels: int, files: set[Path]) -> None:
    """Refuse headers that claim more pixels than a scan can have, or than their files can hold."""
    size = sum(file.stat().st_size for file in files)
    if pixels > PIXEL_LIMIT or 2 * pixels > CLAIM_ALLOWANCE + INFLATION_RATIO * size:
        raise UnsafeInputError(
            f"the CT series claims {pixels} pixels, from {size / 2**20:.3g} MiB.",
            where=str(next(iter(files)).parent),
            remedy="Check Rows and Columns, or export it without compression.",
        )


def _is_unequal(stack_mm: npt.NDArray[np.float64]) -> bool:
    even = np.linspace(stack_mm[0], stack_mm[-1], len(stack_mm))
    return bool(np.abs(stack_mm - even).max() > STEP_TOLERANCE_MM or np.diff(stack_mm).min() < STEP_TOLERANCE_MM)


def _evenly(
    stack_mm: npt.NDArray[np.float64],
    values: npt.NDArray[np.float32],
    frames: list[Frame],
    notices: list[str],
    *,
    allowed: bool,
) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float32]]:
    """Slices at the smallest distance found, interpolated; refused unless the user asked for it."""
    gaps = np.diff(stack_mm)
    typical = float(np.median(gaps))
    worst = int(np.argmin(gaps) if gaps.min() < STEP_TOLERANCE_MM else np.argmax(np.abs(gaps - typical)))
    name, where = frames[worst].file.name, str(frames[0].file.parent)
    place = f"{name} (at {_place(frames[worst])})"
    told = f"{gaps[worst]:.4g} mm behind {place}, where the others are {typical:.4g} mm apart"
    if gaps.min() < STEP_TOLERANCE_MM:
        raise InputError(f"repeated slices: {told}.", where=where, remedy="Export one reconstruction only.")
    if not allowed or gaps.max() > LARGEST_GAP_MM:
        limit = f", gaps up to {LARGEST_GAP_MM:g} mm," if gaps.max() > LARGEST_GAP_MM else ""
        raise InputError(
            f"a missing slice or unequal spacing: {told}.",
            where=where,
            remedy=f"Export the complete series; if it was scanned like this{limit} --resample-slices interpolates.",
        )
    step = float(gaps.min())
    count = int(np.floor((stack_mm[-1] - stack_mm[0]) / step + 1e-3)) + 1
    even = stack_mm[0] + step * np.arange(count)
    above = np.clip(np.searchsorted(stack_mm, even), 1, len(stack_mm) - 1)
    share = ((even - stack_mm[above - 1]) / gaps[above - 1]).astype(np.float32)[:, None, None]
    made = values[above - 1] * (1 - share) + values[above] * share
    notices.append(
        f"CT: {len(stack_mm)} slices {gaps.min():.4g} to {gaps.max():.4g} mm apart were interpolated to {count} slices "
        f"{step:.4g} mm apart."
    )
    return even, made


def _place(frame: Frame) -> str:
    axis = int(np.argmax(np.abs(frame.normal)))
    return f"{'xyz'[axis]} = {frame.position_mm[axis]:g} mm"


def _oriented(
    first: Frame, stack_mm: npt.NDArray[np.float64], values: npt.NDArray[np.float32]
) -> tuple[Grid, npt.NDArray[np.float32]]:
    step = (stack_mm[-1] - stack_mm[0]) / (len(stack_mm) - 1)
    return to_lps(first.position_mm, np.vstack([first.axes, first.normal]), (*first.spacing_mm, step), values)


def _with_identity(frames: list[Frame], volume: Volume, position: str, notices: list[str]) -> CtSeries:
    """The series as later objects refer to it."""
    file, header = frames[0].file, frames[0].header
    patient = PatientStudy(
        *(
            str(header.get(keyword, "") or "")
            for keyword in (
                "PatientName", "PatientID", "PatientBirthDate", "PatientSex",
                "StudyDate", "StudyTime", "StudyID", "AccessionNumber",
            )
        ),
    )  # fmt: skip
    frame = text(header, "FrameOfReferenceUID", file) if header.get("FrameOfReferenceUID") else ""
    if not frame:
        notices.append("CT: states no frame of reference; structures are accepted if they refer to its images.")
    uids = tuple(text(f.header, "SOPInstanceUID", f.file) for f in frames)
    normal = frames[0].normal
    axial = abs(normal[2]) > 0.5 and len(set(uids)) == len(uids) == volume.grid.shape[0]
    return CtSeries(
        volume,
        frame or str(generate_uid()),
        text(header, "StudyInstanceUID", file),
        text(header, "SeriesInstanceUID", file),
        (uids if normal[2] > 0 else uids[::-1]) if axial else (),
        position,
        patient,
        states_frame=bool(frame),
        notices=tuple(notices),
    )

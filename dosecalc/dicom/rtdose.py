"""RT Dose: total physical dose in Gy on an axial grid."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import numpy.typing as npt
import pydicom
from pydicom.uid import RTDoseStorage, generate_uid

from ..errors import InputError
from ..grid import IDENTITY, Grid, Volume
from ..orientation import OBLIQUE_LIMIT, to_lps
from .files import existing, number, numbers, parsing, read_dataset, required
from .series import CtSeries
from .writing import RESEARCH_NOTE, decimal, new_object, reference, save

WHOLE_COURSE = ("PLAN", "MULTI_PLAN", "PLAN_OVERVIEW")
RT_PLAN_STORAGE = "1.2.840.10008.5.1.4.1.1.481.5"
_FRAME_OFFSETS = 0x3004000C  # GridFrameOffsetVector
_STEPS = 2**32 - 1
OFFSET_TOLERANCE = 0.02
"""Of a plane's place, as a share of the distance of planes: exports round offsets to 0.1 or 0.01 mm."""
SERIES_DESCRIPTION = "Dose to water, course total"
DOSE_LIMIT_GY = 1e6  # brachytherapy reaches some thousand beside its sources


def write_rtdose(
    path: str | Path,
    dose: Volume,
    ct: CtSeries,
    *,
    comment: str = RESEARCH_NOTE,
    plan_sop_instance_uid: str | None = None,
    densities_stated: bool = False,
) -> None:
    """Write a dose to water with 32 bits per voxel.

    Parameters
    ----------
    path : str or Path
        Replaced if it exists, at once and only by a complete file.
    dose : Volume
        Course-total physical dose in Gy, >= 0, on a grid with axes along x, y, z.
    ct : CtSeries
        The scan that the dose lies in: study, frame of reference and patient fields.
    comment : str
        DoseComment, at most 64 characters.
    plan_sop_instance_uid : str, optional
        RT Plan that the dose belongs to. DICOM asks for one with the summation type PLAN (PS3.3 section
        C.8.8.3); without a plan object the reference is left out, because it would point at nothing.
    densities_stated : bool
        Densities of some structures were stated: TissueHeterogeneityCorrection says so.

    Raises
    ------
    InputError
        Dose negative or not finite, oblique grid, comment too long.
    OutputError
        The file cannot be written.
    """
    values = np.asarray(dose.values, dtype=np.float64)
    if not np.isfinite(values).all() or values.min() < 0:
        raise InputError("a dose must be finite and not negative in every voxel, in Gy.", where=str(path))
    if dose.grid.direction != IDENTITY:
        raise InputError(f"a dose grid needs axes along x, y, z, got {dose.grid.direction}.", where=str(path))
    if len(comment) > 64:
        raise InputError(f"the dose comment has {len(comment)} characters, at most 64 fit.", where=str(path))
    scaling = _scaling(float(values.max()))
    stored = np.round(values / float(scaling)).astype("<u4")
    save(_dataset(dose.grid, scaling, stored.tobytes(), ct, comment, plan_sop_instance_uid, densities_stated), path)


def _scaling(maximum_gy: float) -> str:
    """DoseGridScaling as it is written: the smallest decimal of 16 characters that fits the maximum."""
    if maximum_gy == 0:
        return "1e-09"
    digits = 10
    scaling = f"{maximum_gy / _STEPS:.{digits}e}"
    while maximum_gy / float(scaling) > _STEPS:
        scaling = f"{float(scaling) * (1 + 10.0**-digits):.{digits}e}"
    return scaling


def _dataset(
    grid: Grid, scaling: str, pixels: bytes, ct: CtSeries, comment: str, plan: str | None, stated: bool
) -> pydicom.FileDataset:
    """RT Dose IOD, PS3.3 section A.18.3."""
    dx, dy, dz = grid.spacing_mm
    dataset = new_object(RTDoseStorage, "RTDOSE", ct, series_uid=generate_uid(), explicit=True)
    fields = {
        "SeriesDescription": SERIES_DESCRIPTION,
        "OperatorsName": "",
        "InstanceNumber": None,
        "ImagePositionPatient": [decimal(v) for v in grid.origin_mm],
        "ImageOrientationPatient": [1, 0, 0, 0, 1, 0],
        "PixelSpacing": [decimal(dy), decimal(dx)],
        "SliceThickness": decimal(dz),
        "SamplesPerPixel": 1,
        "PhotometricInterpretation": "MONOCHROME2",
        "NumberOfFrames": grid.shape[0],
        "FrameIncrementPointer": _FRAME_OFFSETS,
        "Rows": grid.shape[1],
        "Columns": grid.shape[2],
        "BitsAllocated": 32,
        "BitsStored": 32,
        "HighBit": 31,
        "PixelRepresentation": 0,
        "DoseUnits": "GY",
        "DoseType": "PHYSICAL",
        "DoseSummationType": "PLAN",
        "DoseComment": comment,
        "TissueHeterogeneityCorrection": ["IMAGE", "ROI_OVERRIDE"] if stated else "IMAGE",
        "GridFrameOffsetVector": [decimal(k * dz) for k in range(grid.shape[0])],
        "DoseGridScaling": scaling,
    }
    for keyword, value in fields.items():
        setattr(dataset, keyword, value)
    if plan is not None:
        dataset.ReferencedRTPlanSequence = [reference(RT_PLAN_STORAGE, plan)]
    dataset.add_new("PixelData", "OW", pixels)
    return dataset


def read_rtdose(path: str | Path, *, frame_of_reference_uid: str | None = None) -> Volume:
    """Physical dose of a whole course in Gy, float64, on a grid with axes along x, y and z.

    Parameters
    ----------
    path : str or Path
    frame_of_reference_uid : str, optional
        Of the structures or CT that the dose must share it with.

    Raises
    ------
    InputError
        Not an RT Dose, units other than GY, a dose type other than PHYSICAL, the dose of a part of the course, another
        frame of reference, a scaling that is not positive, oblique or unequal planes, pixel data of the wrong length.
    """
    file = existing(path)
    with parsing(file):
        dataset = read_dataset(file)
        for keyword, expected in (("Modality", "RTDOSE"), ("DoseUnits", "GY"), ("DoseType", "PHYSICAL")):
            got = required(dataset, keyword, file)
            if got != expected:
                raise InputError(f"{keyword} is {got!r}, expected {expected!r}.", where=str(file))
        summed = required(dataset, "DoseSummationType", file)
        if summed not in WHOLE_COURSE:
            raise InputError(
                f"DoseSummationType is {summed!r}: the dose of a part of the course.",
                where=str(file),
                remedy=f"Export the dose of the plan ({', '.join(WHOLE_COURSE)}).",
            )
        if frame_of_reference_uid is not None and dataset.get("FrameOfReferenceUID") != frame_of_reference_uid:
            raise InputError(
                "its frame of reference is not that of the structures.",
                where=str(file),
                remedy="Use the dose that was computed on this scan, or register them first.",
            )
        grid, values = _oriented(dataset, file)
        scaling = number(dataset, "DoseGridScaling", file)
        if not 0 < scaling * max(float(values.max()), 1.0) <= DOSE_LIMIT_GY:
            raise InputError(
                f"DoseGridScaling is {scaling:g}, which makes a dose of {scaling * float(values.max()):g} Gy.",
                where=str(file),
                remedy="Export the dose again.",
            )
        values *= scaling
        return Volume(grid, values)


def frame_of_reference(path: str | Path) -> str:
    """FrameOfReferenceUID of a DICOM object: doses, scans and structures that share it share their coordinates."""
    file = existing(path)
    with parsing(file):
        return str(required(read_dataset(file, pixels=False), "FrameOfReferenceUID", file))


def _oriented(dataset: pydicom.Dataset, file: Path) -> tuple[Grid, npt.NDArray[np.float64]]:
    """Grid and stored values along x, y and z, whatever way planes, rows and columns run."""
    cosines = numbers(dataset, "ImageOrientationPatient", file, 6).reshape(2, 3)
    position = numbers(dataset, "ImagePositionPatient", file, 3)
    row_mm, column_mm = numbers(dataset, "PixelSpacing", file, 2)
    frames = int(number(dataset, "NumberOfFrames", file))
    offsets = numbers(dataset, "GridFrameOffsetVector", file, frames)
    step, normal = _planes(offsets, position, np.cross(*cosines), file)
    shape = (frames, int(number(dataset, "Rows", file)), int(number(dataset, "Columns", file)))
    axes = np.vstack([cosines, np.sign(step) * normal])
    try:
        return to_lps(position, axes, (column_mm, row_mm, abs(step)), _stored(dataset, shape, file))
    except InputError as error:
        raise InputError(error.message, where=str(file), remedy=error.remedy) from error


def _planes(
    offsets: npt.NDArray[np.float64], position: npt.NDArray[np.float64], normal: npt.NDArray[np.float64], file: Path
) -> tuple[float, npt.NDArray[np.float64]]:
    """Signed distance of the planes, and the direction in which offsets count.

    Offsets from 0 on count along the normal of rows and columns. Where the first one is the z of the first plane they
    are the z of the planes, so they count to superior, whatever way the rows and columns of the patient position run
    (PS3.3 section C.8.8.3.2). Some count along the normal from the patient's origin.
    """
    if len(offsets) < 2:
        raise InputError("only one dose plane is there, two are needed.", where=str(file))
    step, count = float(offsets[-1] - offsets[0]) / (len(offsets) - 1), np.arange(len(offsets))
    allowed = OFFSET_TOLERANCE * abs(step)
    # from the best line: the first and the last offset are rounded as well
    off = np.abs(offsets - np.polyval(np.polyfit(count, offsets, 1), count))
    if np.ptp(offsets) == 0 or off.max() > allowed:
        raise InputError(
            f"the dose planes are not equally spaced: plane {int(np.argmax(off)) + 1} lies {off.max():.3g} mm off, "
            f"{abs(step):.4g} mm apart are expected.",
            where=str(file),
            remedy="Export the dose on a regular grid.",
        )
    superior = np.array([0.0, 0.0, 1.0])
    axial = abs(normal[2]) > 1 - OBLIQUE_LIMIT
    starts = [(0.0, normal), (float(position @ normal), normal), *([(float(position[2]), superior)] if axial else [])]
    for start, direction in starts:
        if abs(offsets[0] - start) <= allowed:
            return step, direction
    expected = " or ".join(f"{start:g}" for start in dict.fromkeys(start for start, _ in starts))
    raise InputError(f"GridFrameOffsetVector starts at {offsets[0]:g}, expected {expected}.", where=str(file))


def _stored(dataset: pydicom.Dataset, shape: tuple[int, int, int], file: Path) -> npt.NDArray[np.float64]:
    """(nz, ny, nx) stored integers as float64."""
    bits, representation = int(number(dataset, "BitsAllocated", file)), dataset.get("PixelRepresentation")
    if bits not in (16, 32) or dataset.get("BitsStored") != bits or representation != 0:
        raise InputError(
            f"has {dataset.get('BitsStored')} of {bits} bits, representation {representation}; "
            "expected all of 16 or 32 bits, unsigned.",
            where=str(file),
        )
    data, count = required(dataset, "PixelData", file), shape[0] * shape[1] * shape[2]
    if not 0 <= len(data) - count * bits // 8 <= 1:
        raise InputError(f"has {len(data)} bytes of dose, {count * bits // 8} are needed.", where=str(file))
    return np.frombuffer(data, dtype=f"<u{bits // 8}", count=count).reshape(shape).astype(np.float64)

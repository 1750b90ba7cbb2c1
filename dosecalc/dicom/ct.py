"""Read a CT series into HU on a grid, or refuse it with the reason."""

from __future__ import annotations

import logging
from collections import defaultdict
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pydicom
from pydicom.uid import CTImageStorage

from ..errors import InputError
from ..grid import Grid, Volume
from .files import existing, list_files, number, numbers, parsing, read_dataset, required
from .series import CtSeries, PatientStudy

POSITION_TOLERANCE_MM = 0.01
AIR_HU = -1000.0
PADDING_LIMIT_HU = -900.0  # padding stands for "not scanned"; above this it would erase tissue
_COSINE_TOLERANCE = 1e-4
_AXIAL = (1.0, 0.0, 0.0, 0.0, 1.0, 0.0)

_log = logging.getLogger(__name__)
Slices = list[tuple[Path, pydicom.Dataset]]


def read_ct_series(path: str | Path) -> CtSeries:
    """The CT series in a folder, or the one that a file belongs to.

    Parameters
    ----------
    path : str or Path
        Folder that holds one CT series (other modalities are left alone), or one of its files where the
        folder holds several series.

    Returns
    -------
    CtSeries
        Volume of HU, float32, on a grid in LPS mm with ascending z.

    Raises
    ------
    InputError
        No CT or several series, a missing, unequal or repeated slice, a tilted or oblique scan, a patient
        position other than head first supine, no rescale slope or intercept, compressed or damaged files.
    """
    place = existing(path)
    folder = place if place.is_dir() else place.parent
    wanted = None if place.is_dir() else str(required(read_dataset(place), "SeriesInstanceUID", place))
    with parsing(folder):
        slices = _sorted_by_z(_without_localisers(_one_series(folder, wanted)))
        grid = _grid(slices)
        values = np.empty(grid.shape, dtype=np.float32)
        for k, (file, header) in enumerate(slices):
            values[k] = _hu(read_dataset(file), header, file)
        return _with_identity(slices, Volume(grid, values))


def _one_series(folder: Path, wanted: str | None) -> Slices:
    """Headers of the CT images of one series."""
    series: dict[str, Slices] = defaultdict(list)
    for file in list_files(folder):
        header = read_dataset(file, pixels=False)
        if header.get("Modality") == "CT":
            series[str(required(header, "SeriesInstanceUID", file))].append((file, header))
    if wanted is not None:
        series = {uid: images for uid, images in series.items() if uid == wanted}
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


def _without_localisers(images: Slices) -> Slices:
    for file, header in images:
        if str(required(header, "SOPClassUID", file)) != CTImageStorage:
            raise InputError(
                f"is a {header.SOPClassUID.name}, expected CT Image Storage.",
                where=str(file),
                remedy="Export the scan as single-slice CT images.",
            )
    slices = [(f, h) for f, h in images if "LOCALIZER" not in (h.get("ImageType") or ())]
    if len(slices) < len(images):
        _log.warning("left %d localiser image(s) out of the CT series.", len(images) - len(slices))
    if len(slices) < 2:
        where = str(images[0][0].parent)
        raise InputError(f"the CT series has {len(slices)} axial image(s), at least 2 are needed.", where=where)
    return slices


def _sorted_by_z(slices: Slices) -> Slices:
    """Slices by ascending z, after the checks that make z the only thing in which they differ."""
    for file, header in slices:
        _check_position(header, file)
    first_file, first = slices[0]
    for keyword, tolerance in (("PixelSpacing", 1e-4), ("Rows", 0), ("Columns", 0)):
        expected = numbers(first, keyword, first_file)
        for file, header in slices:
            got = numbers(header, keyword, file)
            if got.shape != expected.shape or np.abs(got - expected).max() > tolerance:
                _refuse_mixture(keyword, got.tolist(), expected.tolist(), file, first_file)
    frame = required(first, "FrameOfReferenceUID", first_file)
    for file, header in slices:
        if required(header, "FrameOfReferenceUID", file) != frame:
            _refuse_mixture("FrameOfReferenceUID", "another one", "the same in all", file, first_file)
    return sorted(slices, key=lambda item: numbers(item[1], "ImagePositionPatient", item[0], 3)[2])


def _refuse_mixture(keyword: str, got: object, expected: object, file: Path, first: Path) -> None:
    raise InputError(
        f"{keyword} is {got}, but {expected} in {first.name}: the series is not one scan.",
        where=str(file),
        remedy="Export one reconstruction only.",
    )


def _check_position(header: pydicom.Dataset, file: Path) -> None:
    """Axial slices without tilt of a patient lying head first supine; nothing is assumed."""
    position = header.get("PatientPosition")
    if position != "HFS":
        found = f"PatientPosition is {position!r}" if position else "PatientPosition is missing"
        raise InputError(
            f"{found}, only HFS (head first supine) is supported.",
            where=str(file),
            remedy="Use a scan in HFS; a missing position is never assumed.",
        )
    cosines = numbers(header, "ImageOrientationPatient", file, 6)
    if np.abs(cosines - _AXIAL).max() > _COSINE_TOLERANCE:
        raise InputError(
            f"ImageOrientationPatient is {cosines.tolist()}, only axial slices {list(_AXIAL)} are supported.",
            where=str(file),
            remedy="Resample the scan to axial slices.",
        )
    tilt = float(header.get("GantryDetectorTilt") or 0.0)
    if abs(tilt) > _COSINE_TOLERANCE:
        raise InputError(
            f"the scan was made with a gantry tilt of {tilt:g} degrees, 0 is needed.",
            where=str(file),
            remedy="Use an untilted scan.",
        )


def _grid(slices: Slices) -> Grid:
    """Grid of sorted slices; PixelSpacing is row spacing (y), column spacing (x): PS3.3 section 10.7.1.3."""
    positions = np.array([numbers(h, "ImagePositionPatient", f, 3) for f, h in slices])
    folder = str(slices[0][0].parent)
    if np.ptp(positions[:, :2], axis=0).max() > POSITION_TOLERANCE_MM:
        raise InputError(
            "the slices are shifted against each other in x or y (a tilted scan?).",
            where=folder,
            remedy="Resample the scan to axial slices.",
        )
    gaps = np.diff(positions[:, 2])
    typical = float(np.median(gaps))
    wrong = np.flatnonzero(np.abs(gaps - typical) > POSITION_TOLERANCE_MM)
    if len(wrong) or typical <= POSITION_TOLERANCE_MM:
        z = positions[wrong[0] if len(wrong) else 0, 2]
        gap = gaps[wrong[0] if len(wrong) else 0]
        kind = "repeated slices" if gap <= POSITION_TOLERANCE_MM else "a missing slice or unequal spacing"
        raise InputError(
            f"{kind}: {gap:.4g} mm above z = {z:g} mm, where the others are {typical:.4g} mm apart.",
            where=folder,
            remedy="Export the complete series, or resample it to equal spacing.",
        )
    file, header = slices[0]
    spacing_y, spacing_x = numbers(header, "PixelSpacing", file, 2)
    spacing_z = (positions[-1, 2] - positions[0, 2]) / len(gaps)
    shape = (len(slices), int(header.Rows), int(header.Columns))
    return Grid(tuple(positions[0].tolist()), (float(spacing_x), float(spacing_y), float(spacing_z)), shape)


def _hu(dataset: pydicom.Dataset, header: pydicom.Dataset, file: Path) -> npt.NDArray[np.float32]:
    """(ny, nx) float32 HU of one slice; padding becomes air."""
    slope, intercept = number(dataset, "RescaleSlope", file), number(dataset, "RescaleIntercept", file)
    kind = dataset.get("RescaleType", "HU") or "HU"
    if slope == 0 or kind != "HU":
        raise InputError(f"RescaleSlope is {slope:g} and RescaleType {kind!r}, expected HU.", where=str(file))
    stored = _stored_values(dataset, file)
    hu = (stored * np.float64(slope) + intercept).astype(np.float32)
    padding = dataset.get("PixelPaddingValue")
    if padding is None:
        return hu
    low, high = sorted(
        _as_stored(int(value), dataset) for value in (padding, dataset.get("PixelPaddingRangeLimit", padding))
    )
    padded = (stored >= low) & (stored <= high)
    if padded.any():
        if max(low * slope, high * slope) + intercept > PADDING_LIMIT_HU:
            raise InputError("the padding value is a HU of tissue.", where=str(file), remedy="Correct the header.")
        _log.warning("%s: %d padded pixels read as air (%g HU).", file.name, int(padded.sum()), AIR_HU)
        hu[padded] = AIR_HU
    return hu


def _as_stored(value: int, dataset: pydicom.Dataset) -> int:
    """A padding value as the pixels hold it: some files state it unsigned for signed pixels."""
    return value - 65536 if int(dataset.PixelRepresentation) and value > 32767 else value


def _stored_values(dataset: pydicom.Dataset, file: Path) -> npt.NDArray[np.int32]:
    """(ny, nx) stored values with unused high bits removed (PS3.5 section 8.1.1)."""
    allocated, stored_bits, signed, samples = (
        int(number(dataset, keyword, file))
        for keyword in ("BitsAllocated", "BitsStored", "PixelRepresentation", "SamplesPerPixel")
    )
    high_bit = int(dataset.get("HighBit", stored_bits - 1))
    if allocated != 16 or not 1 <= stored_bits <= 16 or high_bit != stored_bits - 1 or samples != 1:
        raise InputError(
            f"has {allocated} bits per pixel ({stored_bits} stored, high bit {high_bit}, {samples} samples), "
            "expected 16 bits of one sample.",
            where=str(file),
        )
    data, shape = required(dataset, "PixelData", file), (int(dataset.Rows), int(dataset.Columns))
    needed = 2 * shape[0] * shape[1]
    if not needed <= len(data) <= needed + 1:
        raise InputError(f"has {len(data)} bytes of pixel data, {needed} are needed.", where=str(file))
    raw = np.frombuffer(data, dtype="<i2" if signed else "<u2", count=shape[0] * shape[1])
    unused = 16 - stored_bits
    return ((raw << unused) >> unused).astype(np.int32).reshape(shape)


def _with_identity(slices: Slices, volume: Volume) -> CtSeries:
    file, header = slices[0]
    patient = PatientStudy(
        *(
            str(header.get(keyword, "") or "")
            for keyword in (
                "PatientName", "PatientID", "PatientBirthDate", "PatientSex",
                "StudyDate", "StudyTime", "StudyID", "AccessionNumber",
            )
        ),
    )  # fmt: skip
    return CtSeries(
        volume,
        str(required(header, "FrameOfReferenceUID", file)),
        str(required(header, "StudyInstanceUID", file)),
        str(required(header, "SeriesInstanceUID", file)),
        tuple(str(required(h, "SOPInstanceUID", f)) for f, h in slices),
        str(header.PatientPosition),
        patient,
    )

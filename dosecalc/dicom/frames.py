"""CT slices as their headers describe them: one per file, or many in a multi-frame file."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pydicom
from pydicom.uid import CTImageStorage, EnhancedCTImageStorage, LegacyConvertedEnhancedCTImageStorage

from ..errors import InputError, UnsafeInputError
from .files import number, numbers, required

MULTI_FRAME = (EnhancedCTImageStorage, LegacyConvertedEnhancedCTImageStorage)
PIXEL_LIMIT = 512 * 512 * 4000  # a few metres of fine slices; a small compressed file may claim any number


@dataclass(frozen=True, slots=True, eq=False)
class Frame:
    """One CT slice: where it lies in the patient and how its stored values become HU.

    Attributes
    ----------
    file : Path
    index : int
        Frame within the file, from 0.
    header : Dataset
        Of the file, without pixels.
    position_mm : (3,) float64
        LPS position of the first pixel.
    axes : (2, 3) float64
        LPS unit vectors along a row (increasing column) and along a column (increasing row).
    spacing_mm : (2,) float64
        Between columns and between rows; PixelSpacing states them the other way round.
    slope, intercept : float
        Stored value to HU.
    image_type : tuple of str
    """

    file: Path
    index: int
    header: pydicom.Dataset = field(repr=False)
    position_mm: npt.NDArray[np.float64]
    axes: npt.NDArray[np.float64]
    spacing_mm: npt.NDArray[np.float64]
    slope: float
    intercept: float
    image_type: tuple[str, ...]

    @property
    def normal(self) -> npt.NDArray[np.float64]:
        """LPS unit vector perpendicular to the slice, (3,)."""
        return np.cross(self.axes[0], self.axes[1])

    @property
    def shape(self) -> tuple[int, int]:
        """Rows, columns."""
        return int(number(self.header, "Rows", self.file)), int(number(self.header, "Columns", self.file))


def frames_of(header: pydicom.Dataset, file: Path) -> list[Frame]:
    """The slices of one CT file, in the order of its frames.

    Raises
    ------
    InputError
        Another kind of image, or geometry or rescale missing or impossible.
    UnsafeInputError
        More pixels than a scan can have.
    """
    kind = str(required(header, "SOPClassUID", file))
    if kind == CTImageStorage:
        return [_frame(header, file, 0, [header])]
    if kind not in MULTI_FRAME:
        raise InputError(
            f"is a {header.SOPClassUID.name}, expected a CT image.",
            where=str(file),
            remedy="Export the scan as CT images.",
        )
    shared = list(header.get("SharedFunctionalGroupsSequence") or ())
    groups = list(required(header, "PerFrameFunctionalGroupsSequence", file))
    count = int(number(header, "NumberOfFrames", file))
    if len(groups) != count:
        raise InputError(f"describes {len(groups)} of its {count} frames.", where=str(file))
    pixels = count * int(number(header, "Rows", file)) * int(number(header, "Columns", file))
    if pixels > PIXEL_LIMIT:
        raise UnsafeInputError(f"claims {pixels} pixels, more than a scan can have.", where=str(file))
    return [_frame(header, file, k, [group, *shared]) for k, group in enumerate(groups)]


def _frame(header: pydicom.Dataset, file: Path, index: int, sources: list[pydicom.Dataset]) -> Frame:
    """One frame from the datasets that describe it, the most special first."""

    def found(macro: str, keyword: str) -> pydicom.Dataset:
        for source in sources:
            for item in (source, *(source.get(macro) or ())):
                if item.get(keyword) is not None:
                    return item
        return pydicom.Dataset()

    def floats(macro: str, keyword: str, count: int) -> npt.NDArray[np.float64]:
        return numbers(found(macro, keyword), keyword, file, count)

    cosines = floats("PlaneOrientationSequence", "ImageOrientationPatient", 6).reshape(2, 3)
    if np.abs(cosines @ cosines.T - np.eye(2)).max() > 1e-3:
        raise InputError(
            f"ImageOrientationPatient is {cosines.ravel().tolist()}, expected two perpendicular unit vectors.",
            where=str(file),
        )
    spacing = floats("PixelMeasuresSequence", "PixelSpacing", 2)[::-1]
    if spacing.min() <= 0:
        raise InputError(f"PixelSpacing is {spacing[::-1].tolist()}, expected two positive mm.", where=str(file))
    _refuse_tilt(found("CTAcquisitionDetailsSequence", "GantryDetectorTilt"), file)
    transform = "PixelValueTransformationSequence"
    slope = float(floats(transform, "RescaleSlope", 1)[0])
    kind = str(found(transform, "RescaleType").get("RescaleType") or "HU")
    if slope == 0 or not _means_hu(kind):
        raise InputError(f"RescaleSlope is {slope:g} and RescaleType {kind!r}, expected HU.", where=str(file))
    image_type: Any = found("CTImageFrameTypeSequence", "FrameType").get("FrameType") or header.get("ImageType") or ()
    return Frame(
        file,
        index,
        header,
        floats("PlanePositionSequence", "ImagePositionPatient", 3),
        cosines,
        spacing,
        slope,
        float(floats(transform, "RescaleIntercept", 1)[0]),
        tuple(str(value) for value in image_type),
    )


def _means_hu(rescale_type: str) -> bool:
    """Whether a RescaleType is HU (PS3.3 section C.11.1.1.2), in any case or written out."""
    word = rescale_type.strip().upper()
    return word in ("", "HU") or word.startswith("HOUNSFIELD")


def _refuse_tilt(source: pydicom.Dataset, file: Path) -> None:
    tilt = float(source.get("GantryDetectorTilt") or 0.0)
    if not abs(tilt) <= 1e-4:
        raise InputError(
            f"the scan was made with a gantry tilt of {tilt:g} degrees, 0 is needed.",
            where=str(file),
            remedy="Use an untilted scan.",
        )

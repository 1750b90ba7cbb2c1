"""RTDOSE files: what must not pass for a dose."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from pydicom.dataset import Dataset

from dosecalc.grid import Volume

from .inputs import DOSE_GY, GRID, in_file
from .model import Case, unchanged


def doses(**elements: Any) -> Callable[[Path], None]:
    def change(dataset: Dataset) -> None:
        for keyword, value in elements.items():
            if value is None:
                delattr(dataset, keyword)
            else:
                setattr(dataset, keyword, value)

    return in_file("rd.dcm", change)


def _descending(dataset: Dataset) -> None:
    steps = np.frombuffer(dataset.PixelData, "<u4").reshape(GRID.shape)
    dataset.PixelData = steps[::-1].tobytes()
    dataset.GridFrameOffsetVector = [-3.0 * k for k in range(6)]
    dataset.ImagePositionPatient = [-21.5, -13.25, 115.0]


def _prone(dataset: Dataset) -> None:
    """Columns to anterior and planes from superior to inferior."""
    steps = np.frombuffer(dataset.PixelData, "<u4").reshape(GRID.shape)
    dataset.PixelData = steps[::-1, ::-1, :].tobytes()
    dataset.ImageOrientationPatient = [1, 0, 0, 0, -1, 0]
    dataset.ImagePositionPatient = [-21.5, -13.25 + 8 * 2.5, 115.0]


def _sixteen_bits(dataset: Dataset) -> None:
    scaling = DOSE_GY.max() / 60000
    dataset.DoseGridScaling = f"{scaling:.10e}"
    dataset.BitsAllocated = dataset.BitsStored = 16
    dataset.HighBit = 15
    dataset.PixelData = np.round(DOSE_GY / scaling).astype("<u2").tobytes()


def _coarse(found: Volume) -> None:
    assert found.grid == GRID
    np.testing.assert_allclose(found.values, DOSE_GY, atol=DOSE_GY.max() / 60000)


def _one_plane(dataset: Dataset) -> None:
    dataset.NumberOfFrames, dataset.GridFrameOffsetVector = 1, [0.0]
    dataset.PixelData = dataset.PixelData[: 9 * 13 * 4]


def _two_planes(dataset: Dataset) -> None:
    dataset.NumberOfFrames, dataset.GridFrameOffsetVector = 2, [0.0, 3.0]
    dataset.PixelData = dataset.PixelData[: 2 * 9 * 13 * 4]


def _first_two(found: Volume) -> None:
    np.testing.assert_allclose(found.values, DOSE_GY[:2], atol=1e-6)


def _cut_dose(folder: Path) -> None:
    (folder / "rd.dcm").write_bytes((folder / "rd.dcm").read_bytes()[:-50])


def _quarters(dataset: Dataset) -> None:
    """Stored in steps of 0.25 Gy, the scaling written with an exponent."""
    dataset.DoseGridScaling = "2.5E-1"
    dataset.PixelData = np.round(4 * DOSE_GY).astype("<u4").tobytes()


def _roughly(found: Volume) -> None:
    """Offsets rounded to 0.1 mm leave the planes where they are within 0.05 mm."""
    np.testing.assert_allclose(found.grid.origin_mm, GRID.origin_mm, atol=0.05)
    np.testing.assert_allclose(found.grid.spacing_mm, GRID.spacing_mm, atol=0.02)
    np.testing.assert_allclose(found.values, DOSE_GY, atol=1e-6)


def _feet_first(dataset: Dataset) -> None:
    """Rows to the right, planes as the z that they have, from superior to inferior."""
    steps = np.frombuffer(dataset.PixelData, "<u4").reshape(GRID.shape)
    dataset.PixelData = steps[::-1, :, ::-1].tobytes()
    dataset.ImageOrientationPatient = [-1, 0, 0, 0, 1, 0]
    dataset.ImagePositionPatient = [-21.5 + 12 * 1.5, -13.25, 115.0]
    dataset.GridFrameOffsetVector = [115, 112, 109, 106, 103, 100]


CASES = [
    Case(
        "units", "RTDOSE", "DoseUnits RELATIVE", doses(DoseUnits="RELATIVE"), "DoseUnits is 'RELATIVE'", "GY", unchanged
    ),
    Case(
        "type",
        "RTDOSE",
        "DoseType EFFECTIVE",
        doses(DoseType="EFFECTIVE"),
        "DoseType is 'EFFECTIVE'",
        "PHYSICAL",
        unchanged,
    ),
    Case(
        "summation",
        "RTDOSE",
        "the dose of one beam",
        doses(DoseSummationType="BEAM"),
        "a part of the course",
        "the sum of several plans",
        doses(DoseSummationType="MULTI_PLAN"),
    ),
    Case(
        "dose of a fraction",
        "RTDOSE",
        "the dose of one fraction",
        doses(DoseSummationType="FRACTION"),
        "a part of the course",
        "the dose of the plan",
        doses(DoseSummationType="PLAN"),
    ),
    Case(
        "frame of reference",
        "RTDOSE",
        "another frame",
        doses(FrameOfReferenceUID="1.2.3"),
        "not that of the structures",
        "the same frame",
        unchanged,
    ),
    Case(
        "plane offsets",
        "RTDOSE",
        "unequal",
        doses(GridFrameOffsetVector=[0, 3, 6, 9, 12, 16]),
        "not equally spaced",
        "descending",
        in_file("rd.dcm", _descending),
    ),
    Case(
        "first offset",
        "RTDOSE",
        "neither 0 nor the first plane's z",
        doses(GridFrameOffsetVector=[5, 8, 11, 14, 17, 20]),
        "starts at 5, expected 0 or 100",
        "offsets are the z of the planes",
        doses(GridFrameOffsetVector=[100, 103, 106, 109, 112, 115]),
    ),
    Case(
        "bits",
        "RTDOSE",
        "8 bits",
        doses(BitsAllocated=8, BitsStored=8),
        "expected all of 16 or 32",
        "16 bits",
        in_file("rd.dcm", _sixteen_bits),
        numbers=_coarse,
    ),
    Case("sign", "RTDOSE", "signed", doses(PixelRepresentation=1), "unsigned", "unsigned", unchanged),
    Case(
        "orientation",
        "RTDOSE",
        "oblique",
        doses(ImageOrientationPatient=[0.995, 0.0998, 0, -0.0998, 0.995, 0]),
        "oblique",
        "columns to anterior, planes downwards",
        in_file("rd.dcm", _prone),
    ),
    Case(
        "scaling",
        "RTDOSE",
        "no DoseGridScaling",
        doses(DoseGridScaling=None),
        "no DoseGridScaling",
        "32 bits",
        unchanged,
    ),
    Case(
        "planes",
        "RTDOSE",
        "a single plane",
        in_file("rd.dcm", _one_plane),
        "only one dose plane",
        "two planes",
        in_file("rd.dcm", _two_planes),
        numbers=_first_two,
    ),
    Case(
        "sign of the scaling",
        "RTDOSE",
        "DoseGridScaling 0",
        doses(DoseGridScaling=0),
        "DoseGridScaling is 0",
        "DoseGridScaling 2.5E-1",
        in_file("rd.dcm", _quarters),
    ),
    Case(
        "rounded offsets",
        "RTDOSE",
        "a plane lies 0.3 mm off",
        doses(GridFrameOffsetVector=[0, 3, 6, 9.3, 12, 15]),
        "plane 4 lies 0.2",
        "offsets a few hundredths of a mm off, as rounding leaves",
        doses(GridFrameOffsetVector=[0, 2.96, 6.04, 8.97, 12.03, 15]),
        numbers=_roughly,
    ),
    Case(
        "offsets feet first",
        "RTDOSE",
        "starting at the z of the first plane, with another sign",
        doses(GridFrameOffsetVector=[-100, -97, -94, -91, -88, -85]),
        "starts at -100, expected 0 or 100",
        "feet first, offsets are the z of the planes",
        in_file("rd.dcm", _feet_first),
    ),
    Case("truncated file", "RTDOSE", "the last 50 bytes are gone", _cut_dose, "cut short", "complete", unchanged),
]

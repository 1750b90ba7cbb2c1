"""CT images: slices, their places and their numbers; what must not pass for a scan."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pydicom
import pytest
from pydicom.dataset import Dataset
from pydicom.uid import (
    generate_uid,
)

from dosecalc.dicom import CtSeries, write_ct_series
from dosecalc.grid import Volume

from .inputs import GRID, MARKERS, all_slices, each_slice, hu, markers, one_slice
from .model import Case, unchanged


def _heights(*heights: float):
    """New z of the slices, in the order of the files."""

    def move(image: Dataset, k: int) -> None:
        image.ImagePositionPatient = [*image.ImagePositionPatient[:2], heights[k]]

    return each_slice(move)


def _rounded(folder: Path) -> None:
    """1.25 mm between slices, positions written with one decimal."""
    write_anew(folder, Volume(GRID.__class__(GRID.origin_mm, (1.5, 2.5, 1.25), GRID.shape), hu()))
    _heights(*(round(100.0 + 1.25 * k, 1) for k in range(6)))(folder)


def write_anew(folder: Path, volume: Volume, **options: Any) -> None:
    shutil.rmtree(folder / "ct")
    write_ct_series(folder / "ct", volume, **options)


def _rounded_numbers(ct: CtSeries) -> None:
    assert ct.volume.grid.spacing_mm[2] == pytest.approx(1.25, abs=0.02)
    assert np.count_nonzero(ct.volume.values != -1000.0) == len(MARKERS)


def _sheared(by_mm: float):
    def move(image: Dataset, k: int) -> None:
        x, y, z = image.ImagePositionPatient
        image.ImagePositionPatient = [x, y + by_mm * (k % 2), z]

    return each_slice(move)


def _rescales(image: Dataset, k: int) -> None:
    """Another slope and intercept in each slice, the same HU."""
    stored = np.frombuffer(image.PixelData, "<i2").astype(float) - 1024
    slope, intercept = 0.5 * (1 + k % 2), -1000.0 - 50 * k
    image.RescaleSlope, image.RescaleIntercept = slope, intercept
    image.PixelData = np.round((stored - intercept) / slope).astype("<i2").tobytes()


def _air_padding(folder: Path) -> None:
    image = pydicom.dcmread(folder / "ct" / "CT_0001.dcm")
    stored = np.frombuffer(image.PixelData, "<i2").copy()
    stored[:7] = -2000
    image.PixelData = stored.tobytes()
    image.add_new("PixelPaddingValue", "SS", -2000)
    image.save_as(folder / "ct" / "CT_0001.dcm")


def _mixed_spacing(folder: Path) -> None:
    (folder / "ct" / "CT_0001.dcm").unlink()
    (folder / "ct" / "CT_0003.dcm").unlink()


def _mixed_numbers(ct: CtSeries) -> None:
    """Slices at 103, 109, 112, 115: the one made at 106 lies halfway."""
    assert ct.volume.grid.shape == (5, 9, 13)
    whole = hu()
    np.testing.assert_allclose(ct.volume.values[1], (whole[1] + whole[3]) / 2)
    np.testing.assert_array_equal(ct.volume.values[2:], whole[3:])
    assert "4 slices 3 to 6 mm apart were interpolated to 5 slices 3 mm apart" in ct.notices[0]


def _sagittal(folder: Path) -> None:
    """The same voxels in a stack along x."""
    stack(folder, np.array([[0.0, 1.0, 0.0], [0.0, 0.0, -1.0]]))


def _transposed(folder: Path) -> None:
    stack(folder, np.array([[0.0, 1.0, 0.0], [1.0, 0.0, 0.0]]))


def stack(folder: Path, cosines: np.ndarray) -> None:
    """The phantom as slices with these row and column directions."""
    template = pydicom.dcmread(folder / "ct" / "CT_0001.dcm")
    axes = np.vstack([cosines, np.cross(*cosines)])
    along = np.argmax(np.abs(axes), axis=1)
    senses = axes[np.arange(3), along]
    values = np.transpose(hu(), [2 - along[2], 2 - along[1], 2 - along[0]])
    values = values[:: int(senses[2]), :: int(senses[1]), :: int(senses[0])]
    counts, spacing = np.array(GRID.shape[::-1]), np.array(GRID.spacing_mm)
    origin = np.array(GRID.origin_mm)
    for k, sense in zip(along, senses, strict=True):
        if sense < 0:
            origin[k] += spacing[k] * (counts[k] - 1)
    shutil.rmtree(folder / "ct")
    (folder / "ct").mkdir()
    for k, plane in enumerate(values):
        template.Rows, template.Columns = plane.shape
        template.PixelSpacing = [spacing[along[1]], spacing[along[0]]]
        template.ImageOrientationPatient = cosines.ravel().tolist()
        template.ImagePositionPatient = (origin + k * spacing[along[2]] * axes[2]).tolist()
        template.SOPInstanceUID = template.file_meta.MediaStorageSOPInstanceUID = generate_uid()
        template.PixelData = (plane + 1024).astype("<i2").tobytes()
        template.save_as(folder / "ct" / f"S{k:03d}.dcm")


def _oblique(folder: Path) -> None:
    c, s = np.cos(0.05), np.sin(0.05)
    all_slices(ImageOrientationPatient=[c, s, 0, -s, c, 0])(folder)


def _keep(*numbers: int):
    def change(folder: Path) -> None:
        for file in (folder / "ct").iterdir():
            if int(file.stem[-4:]) not in numbers:
                file.unlink()

    return change


def _two_slices(ct: CtSeries) -> None:
    assert ct.volume.grid.shape == (2, 9, 13)
    assert ct.volume.values[0, 1, 1] == 300.0


def _stated(position: str):
    def judge(ct: CtSeries) -> None:
        markers(ct)
        assert ct.patient_position == position

    return judge


def _prone(folder: Path) -> None:
    write_anew(folder, Volume(GRID, hu()), patient_position="FFP")


def _unframed(ct: CtSeries) -> None:
    markers(ct)
    assert not ct.states_frame
    assert "no frame of reference" in ct.notices[0]


def noticed(*words: str):
    def judge(ct: CtSeries) -> None:
        markers(ct)
        assert [all(word in notice for word in words) for notice in ct.notices] == [True]

    return judge


def _other_step(mm: float, missing: bool):
    def change(folder: Path) -> None:
        all_slices(SpacingBetweenSlices=mm)(folder)
        if missing:
            (folder / "ct" / "CT_0003.dcm").unlink()

    return change


def _every_other(folder: Path) -> None:
    _keep(1, 3, 5)(folder)


def _gaps_told(ct: CtSeries) -> None:
    """Six millimetres between slices of three: read as it is, and said."""
    assert ct.volume.grid.spacing_mm[2] == 6.0
    assert ct.notices == ("CT: slices of 3 mm lie 6 mm apart. Are slices missing?",)


def _stated_for_unknown(ct: CtSeries) -> None:
    markers(ct)
    assert ct.patient_position == "HFP"
    assert "'XYZ'" in ct.notices[0] and "HFP is used" in ct.notices[0]


CASES = [
    Case(
        "missing slice",
        "CT",
        "one slice of six is gone",
        lambda f: (f / "ct" / "CT_0003.dcm").unlink(),
        "missing slice .* 6 mm behind CT_0002",
        "a slice at the end is gone: a shorter scan",
        lambda f: (f / "ct" / "CT_0001.dcm").unlink(),
    ),
    Case(
        "repeated slice",
        "CT",
        "two slices lie at one place",
        _heights(100, 103, 103, 109, 112, 115),
        "repeated slices",
        "files are numbered against the order of the slices",
        each_slice(lambda i, k: setattr(i, "InstanceNumber", 6 - k)),
    ),
    Case(
        "unequal spacing",
        "CT",
        "one slice lies 0.2 mm off",
        _heights(100, 103, 106.2, 109, 112, 115),
        "unequal spacing",
        "positions rounded to 0.1 mm, slices 1.25 mm apart",
        _rounded,
        numbers=_rounded_numbers,
    ),
    Case(
        "mixed spacing",
        "CT",
        "slices 3 and 6 mm apart",
        _mixed_spacing,
        "--resample-slices interpolates",
        "the same, and the user asks for interpolation",
        _mixed_spacing,
        valid_options={"resample_slices": True},
        numbers=_mixed_numbers,
    ),
    Case(
        "wide gap",
        "CT",
        "a gap of 12 mm, with interpolation asked for",
        _heights(100, 103, 106, 118, 121, 124),
        "gaps up to 10 mm",
        "equal spacing, with interpolation asked for",
        unchanged,
        options={"resample_slices": True},
        valid_options={"resample_slices": True},
    ),
    Case(
        "gantry tilt",
        "CT",
        "GantryDetectorTilt of 12 degrees",
        all_slices(GantryDetectorTilt=12.0),
        "gantry tilt of 12",
        "GantryDetectorTilt of 0",
        all_slices(GantryDetectorTilt=0.0),
    ),
    Case(
        "sheared stack",
        "CT",
        "every second slice 0.3 mm to the side",
        _sheared(0.3),
        "shifted against each other",
        "0.02 mm to the side, as rounding leaves",
        _sheared(0.02),
    ),
    Case(
        "rescale slope",
        "CT",
        "one slice without RescaleSlope",
        one_slice(3, RescaleSlope=None),
        "no RescaleSlope",
        'RescaleSlope written "1.000000E+00"',
        all_slices(RescaleSlope="1.000000E+00"),
    ),
    Case(
        "rescale per slice",
        "CT",
        "one slice without RescaleIntercept",
        one_slice(3, RescaleIntercept=None),
        "no RescaleIntercept",
        "another slope and intercept in each slice",
        each_slice(_rescales),
    ),
    Case(
        "rescale type",
        "CT",
        "RescaleType US (unspecified)",
        all_slices(RescaleType="US"),
        "RescaleType 'US'",
        "no RescaleType",
        all_slices(RescaleType=None),
    ),
    Case(
        "slope of zero",
        "CT",
        "RescaleSlope 0",
        all_slices(RescaleSlope=0),
        "RescaleSlope is 0",
        "images say that they went through lossy compression",
        all_slices(LossyImageCompression="01"),
        numbers=noticed("6 file(s)", "lossy"),
    ),
    Case(
        "padding",
        "CT",
        "the padding value is a HU of tissue",
        one_slice(2, PixelPaddingValue=1324),
        "padding value is a HU of tissue",
        "padding far below air",
        _air_padding,
        numbers=noticed("7 padded pixels read as air"),
    ),
    Case(
        "pixel spacing",
        "CT",
        "one slice with row and column spacing exchanged",
        one_slice(3, PixelSpacing=[1.5, 2.5]),
        "PixelSpacing is",
        "non-square pixels",
        unchanged,
    ),
    Case(
        "no pixel spacing",
        "CT",
        "PixelSpacing of 0",
        all_slices(PixelSpacing=[0, 1.5]),
        "two positive mm",
        "SliceThickness contradicts the distance of the slices, which counts",
        all_slices(SliceThickness=10),
    ),
    Case(
        "matrix",
        "CT",
        "one slice has another number of rows",
        one_slice(3, Rows=8),
        "number of Rows, Columns",
        "more columns than rows",
        unchanged,
    ),
    Case(
        "frame of reference",
        "CT",
        "one slice lies in another frame",
        one_slice(3, FrameOfReferenceUID="1.2.3"),
        "FrameOfReferenceUID is another one",
        "no slice states a frame",
        all_slices(FrameOfReferenceUID=None),
        numbers=_unframed,
    ),
    Case(
        "oblique slices",
        "CT",
        "turned by 3 degrees",
        _oblique,
        "oblique slices are not supported",
        "sagittal slices",
        _sagittal,
    ),
    Case(
        "row and column directions",
        "CT",
        "not perpendicular",
        all_slices(ImageOrientationPatient=[1, 0, 0, 0.1, 1, 0]),
        "two perpendicular unit vectors",
        "rows run to posterior, columns to the left",
        _transposed,
    ),
    Case(
        "no position",
        "CT",
        "a slice without ImagePositionPatient",
        one_slice(3, ImagePositionPatient=None),
        "no ImagePositionPatient",
        "no SliceLocation, SliceThickness or InstanceNumber",
        all_slices(SliceThickness=None, InstanceNumber=None),
    ),
    Case("one slice", "CT", "a single slice", _keep(2), "at least 2", "two slices", _keep(2, 3), numbers=_two_slices),
    Case(
        "patient position",
        "CT",
        "one slice states another",
        one_slice(3, PatientPosition="FFS"),
        "PatientPosition is another one",
        "feet first prone, written as a scanner does",
        _prone,
        numbers=_stated("FFP"),
    ),
    Case(
        "stated position",
        "CT",
        "images say HFS, the user says HFP",
        unchanged,
        "'HFS', but 'HFP' was given",
        "images say nothing, the user says HFP",
        all_slices(PatientPosition=None),
        options={"patient_position": "HFP"},
        valid_options={"patient_position": "HFP"},
        numbers=_stated("HFP"),
    ),
    Case(
        "unknown position",
        "CT",
        "the user says HFX",
        unchanged,
        "'HFX' is unknown",
        "the user says what the images say",
        unchanged,
        options={"patient_position": "HFX"},
        valid_options={"patient_position": "HFS"},
    ),
    Case(
        "position in lower case",
        "CT",
        "images say ffp, the user says HFS",
        all_slices(PatientPosition="ffp"),
        "'FFP', but 'HFS' was given",
        "images say hfs",
        all_slices(PatientPosition="hfs"),
        options={"patient_position": "HFS"},
        numbers=_stated("HFS"),
    ),
    Case(
        "stated in lower case",
        "CT",
        "images say HFS, the user says ffs",
        unchanged,
        "'HFS', but 'FFS' was given",
        "images say nothing, the user says hfp",
        all_slices(PatientPosition=None),
        options={"patient_position": "ffs"},
        valid_options={"patient_position": "hfp"},
        numbers=_stated("HFP"),
    ),
    Case(
        "unknown code of position",
        "CT",
        "images say XYZ, and the user as well",
        all_slices(PatientPosition="XYZ"),
        "'XYZ' is unknown",
        "images say XYZ, the user says HFP",
        all_slices(PatientPosition="XYZ"),
        options={"patient_position": "XYZ"},
        valid_options={"patient_position": "HFP"},
        numbers=_stated_for_unknown,
    ),
    Case(
        "rescale type in words",
        "CT",
        "RescaleType HU_MOD",
        all_slices(RescaleType="HU_MOD"),
        "RescaleType 'HU_MOD'",
        "RescaleType hu",
        all_slices(RescaleType="hu"),
    ),
    Case(
        "stated distance",
        "CT",
        "a missing slice, SpacingBetweenSlices 3",
        _other_step(3.0, missing=True),
        "missing slice",
        "SpacingBetweenSlices 1.5 for slices 3 mm apart",
        _other_step(1.5, missing=False),
        numbers=noticed("SpacingBetweenSlices is 1.5 mm", "3 mm apart, which counts"),
    ),
    Case(
        "gaps between slices",
        "CT",
        "slices 6, 3 and 6 mm apart",
        _keep(1, 3, 4, 6),
        "unequal spacing",
        "slices of 3 mm, all 6 mm apart",
        _every_other,
        numbers=_gaps_told,
    ),
]

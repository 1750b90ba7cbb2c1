"""What a saved plan says to programs that are not this one, and to this one when it is opened again."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pydicom
import pytest
from pymedphys.dicom import zyx_and_dose_from_dataset
from shapely.geometry import Polygon

from dosecalc.dicom import read_rtdose
from dosecalc.reading import read_structures
from optimize.evaluate import evaluate
from optimize.planning import Plan
from optimize.saving import save_plan

from .small_case import ACCEPTED, Patient


@pytest.fixture(scope="module")
def folder(planned: Plan, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_plan(planned, tmp_path_factory.mktemp("outside") / "plan")


@pytest.fixture(scope="module")
def dose(folder: Path) -> pydicom.Dataset:
    return pydicom.dcmread(folder / "rtdose.dcm")


def test_pymedphys_reads_the_same_dose_at_the_same_places(planned: Plan, dose: pydicom.Dataset) -> None:
    axes, values = zyx_and_dose_from_dataset(dose)
    grid = planned.dose.grid
    for name, axis, component in zip("zyx", axes, (2, 1, 0), strict=True):
        expected = grid.origin_mm[component] + grid.spacing_mm[component] * np.arange(grid.shape[2 - component])
        np.testing.assert_allclose(axis, expected, atol=1e-6, err_msg=name)
    np.testing.assert_allclose(values, planned.dose.values, atol=float(planned.dose.values.max()) / 2**31)


def test_plain_pydicom_reads_frame_units_and_the_hottest_voxel(
    planned: Plan, patient: Patient, dose: pydicom.Dataset
) -> None:
    image = pydicom.dcmread(next(patient.ct.iterdir()))
    assert dose.FrameOfReferenceUID == image.FrameOfReferenceUID
    assert dose.StudyInstanceUID == image.StudyInstanceUID
    assert dose.SOPInstanceUID != image.SOPInstanceUID
    assert (dose.DoseUnits, dose.DoseType, dose.BitsStored) == ("GY", "PHYSICAL", 32)
    assert dose.DoseSummationType == "PLAN"
    gy = dose.pixel_array * float(dose.DoseGridScaling)
    k, j, i = np.unravel_index(gy.argmax(), gy.shape)
    row_mm, column_mm = dose.PixelSpacing
    x, y, z = dose.ImagePositionPatient
    found = (x + i * column_mm, y + j * row_mm, z + dose.GridFrameOffsetVector[k])
    expected = planned.dose.grid.centres_mm(np.array([planned.dose.values.argmax()]))[0]
    np.testing.assert_allclose(found, expected, atol=1e-6)
    assert list(dose.ImageOrientationPatient) == [1, 0, 0, 0, 1, 0]


def test_contours_that_came_in_go_out_unchanged(folder: Path, patient: Patient) -> None:
    """By polygon area and plane, as a reader that knows nothing of this project would add them up."""

    def areas(path: Path) -> dict[tuple[str, float], float]:
        file = pydicom.dcmread(path)
        names = {roi.ROINumber: roi.ROIName for roi in file.StructureSetROISequence}
        total: dict[tuple[str, float], float] = {}
        for item in file.ROIContourSequence:
            for contour in item.get("ContourSequence", []):
                points = np.array(contour.ContourData, float).reshape(-1, 3)
                key = (names[item.ReferencedROINumber], round(float(points[0, 2]), 3))
                total[key] = total.get(key, 0.0) + Polygon(points[:, :2]).area
        return total

    given, written = areas(patient.structures), areas(folder / "rtstruct.dcm")
    assert given.keys() <= written.keys()
    for key, area in given.items():
        assert written[key] == pytest.approx(area, rel=1e-6), key


def test_opened_again_the_plan_is_judged_the_same(folder: Path, planned: Plan) -> None:
    """Drawn structures to rounding; derived ones, which are outlined, within half a per cent of their volume."""
    again = evaluate(
        read_rtdose(folder / "rtdose.dcm"),
        read_structures(folder / "rtstruct.dcm"),
        planned.protocol,
        accepted_missing=ACCEPTED,
    )
    before = {s.name: s for s in planned.evaluation.structures}
    for after in again.structures:
        drawn = after.name in ("Body", "GTV", "Liver", "Duodenum", "SpinalCord")
        was = before[after.name]
        assert after.volume_cc == pytest.approx(was.volume_cc, rel=1e-6 if drawn else 0.005), after.name
        if drawn:
            assert after.mean_gy == pytest.approx(was.mean_gy, abs=1e-4), after.name
            assert after.d95_gy == pytest.approx(was.d95_gy, abs=1e-4), after.name
            assert after.d0_035cc_gy == pytest.approx(was.d0_035cc_gy, abs=1e-4), after.name

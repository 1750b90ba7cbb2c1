"""The same patient, scanned in every patient position: same voxels, same structures, same dose from the same side."""

from __future__ import annotations

import numpy as np
import pydicom
import pytest

from dosecalc.beams import Beam, open_field
from dosecalc.density import to_density
from dosecalc.dicom import read_ct_series, read_rtdose, write_ct_series, write_rtdose, write_rtstruct
from dosecalc.errors import InputError
from dosecalc.geometry import FIXED_TO_LPS, PATIENT_POSITIONS, angles_of_direction, beam_to_lps
from dosecalc.grid import Grid, Volume
from dosecalc.influence import dose_influence
from dosecalc.margins import grown
from dosecalc.orientation import along_axes
from dosecalc.phantom import synthetic_patient
from dosecalc.reading import read_structures
from optimize.arrangements import TEMPLATES, parse_beams
from optimize.metrics import dose_at_volume, mean_dose

# Where the source stands at gantry 0 and 90, in the patient: read off a drawing of a couch, not off the code.
SOURCE_AT = {
    "HFS": ("anterior", "left"),
    "HFP": ("posterior", "right"),
    "FFS": ("anterior", "right"),
    "FFP": ("posterior", "left"),
    "HFDR": ("left", "posterior"),
    "HFDL": ("right", "anterior"),
    "FFDR": ("left", "anterior"),
    "FFDL": ("right", "posterior"),
}
LPS = {"left": (1, 0, 0), "right": (-1, 0, 0), "posterior": (0, 1, 0), "anterior": (0, -1, 0)}
GRID = Grid((-21.5, -13.25, 100.0), (1.5, 2.5, 3.0), (6, 9, 13))


@pytest.fixture(scope="module")
def patient():
    return synthetic_patient()


@pytest.mark.parametrize("position", PATIENT_POSITIONS)
def test_source_stands_where_the_drawing_says(position):
    for gantry, side in zip((0.0, 90.0), SOURCE_AT[position], strict=True):
        assert beam_to_lps(gantry, patient_position=position)[:, 2] == pytest.approx(LPS[side])
    head = 1.0 if position.startswith("HF") else -1.0
    assert FIXED_TO_LPS[position][:, 1] == pytest.approx((0, 0, head))
    assert np.linalg.det(FIXED_TO_LPS[position]) == pytest.approx(1.0)


def test_all_eight_positions_are_there():
    assert sorted(PATIENT_POSITIONS) == sorted(SOURCE_AT)


@pytest.mark.parametrize("position", PATIENT_POSITIONS)
def test_templates_come_from_the_same_sides_of_the_patient(position):
    for name, template in TEMPLATES.items():
        turned = parse_beams(name, position)
        for (gantry, couch, _), (new_gantry, new_couch, _) in zip(template, turned, strict=True):
            there = beam_to_lps(new_gantry, new_couch, patient_position=position)[:, 2]
            assert there == pytest.approx(beam_to_lps(gantry, couch)[:, 2], abs=1e-9)
            assert new_couch <= 90 or new_couch >= 270


@pytest.mark.parametrize("position", PATIENT_POSITIONS)
def test_angles_of_any_direction_lead_back_to_it(position):
    for direction in np.random.default_rng(3).normal(size=(50, 3)):
        direction /= np.linalg.norm(direction)
        gantry, couch = angles_of_direction(direction, position)
        assert beam_to_lps(gantry, couch, patient_position=position)[:, 2] == pytest.approx(direction, abs=1e-8)


@pytest.mark.parametrize("position", PATIENT_POSITIONS)
def test_voxels_keep_their_place(tmp_path, position):
    values = np.random.default_rng(1).integers(-1000, 1500, GRID.shape).astype(np.float32)
    written = write_ct_series(tmp_path / "ct", Volume(GRID, values), patient_position=position)
    read = read_ct_series(tmp_path / "ct")
    assert read.volume.grid == GRID
    assert read.patient_position == position
    np.testing.assert_array_equal(read.volume.values, values)
    assert read.sop_instance_uids == written.sop_instance_uids
    by_uid = {image.SOPInstanceUID: image for image in map(pydicom.dcmread, (tmp_path / "ct").iterdir())}
    heights = [float(by_uid[uid].ImagePositionPatient[2]) for uid in read.sop_instance_uids]
    assert heights == pytest.approx([100, 103, 106, 109, 112, 115])


@pytest.mark.parametrize("position", ["HFS", "HFP", "FFS", "FFP"])
def test_the_synthetic_patient_is_the_same(tmp_path, patient, machine, position):
    """Through DICOM and back: volumes, margins to one side, and the dose of the same directions."""
    ct = write_ct_series(tmp_path / "ct", patient.ct, patient_position=position)
    write_rtstruct(tmp_path / "rtstruct.dcm", patient.structures, ct)
    read = read_ct_series(tmp_path / "ct")
    structures = read_structures(tmp_path / "rtstruct.dcm", ct=read)
    assert structures.names == patient.structures.names
    grid = read.volume.grid.resampled((8.0, 7.0, 6.0))
    for structure in structures:
        assert structure.volume_cc == pytest.approx(patient.structures[structure.name].volume_cc, rel=1e-6)

    gtv = structures["GTV"].on(grid)
    centre = tuple(np.average(grid.centres_mm(gtv.indices), axis=0, weights=gtv.cc).tolist())
    dose = three_fields(read.volume, centre, position, machine, grid)
    head_first_supine = three_fields(patient.ct, centre, "HFS", machine, grid)
    assert dose.max() > 3.0
    for structure in structures:
        voxels, before = structure.on(grid), patient.structures[structure.name].on(grid)
        found = histogram_points(dose[voxels.indices], voxels)
        assert found == pytest.approx(histogram_points(head_first_supine[before.indices], before), abs=0.01)

    # a margin towards the patient's left, whatever side of the image that is
    kidney = structures["Kidney_R"].on(grid)
    share = np.zeros(grid.size, np.float32)
    share[kidney.indices] = kidney.cc / grid.voxel_cc
    share = share.reshape(grid.shape)
    wider = grown(share, (0.0, 16.0, 0.0, 0.0, 0.0, 0.0), grid)
    x = grid.centres_mm().reshape(*grid.shape, 3)[..., 0]
    assert x[wider > 0.5].max() == pytest.approx(x[share > 0.5].max() + 16.0)
    assert x[wider > 0.5].min() == x[share > 0.5].min()

    write_rtdose(tmp_path / "dose.dcm", Volume(grid, dose.reshape(grid.shape)), read)
    again = read_rtdose(tmp_path / "dose.dcm", frame_of_reference_uid=structures.frame_of_reference_uid)
    np.testing.assert_allclose(again.values.reshape(-1), dose, atol=1e-6)


def three_fields(ct, centre, position, machine, grid):
    """Dose of three fields that come from fixed directions in the patient, two of them with a couch angle."""
    density = to_density(ct, machine.calibration)
    dose = np.zeros(grid.size)
    for direction in ((-1, -0.3, 0.2), (0.4, -1, 0.0), (-0.2, 0.9, -0.1)):
        beam = Beam(*angles_of_direction(direction, position), 0, centre, position)
        field = open_field(beam, x_mm=(-20, 20), y_mm=(-20, 20), width_mm=40)
        dose += dose_influence(density, grid, field, machine).dose(np.array([300.0]))
    return dose


def histogram_points(dose_gy, voxels):
    return [mean_dose(dose_gy, voxels.cc)] + [
        dose_at_volume(dose_gy, voxels.cc, share * voxels.volume_cc) for share in (0.02, 0.05, 0.5, 0.95)
    ]


@pytest.mark.parametrize(
    ("orientation", "expected"),
    [([1, 0, 0, 0, 0, -1], "coronal"), ([0, 1, 0, 0, 0, -1], "sagittal"), ([0, 1, 0, 1, 0, 0], "axial, transposed")],
)
def test_slices_along_other_axes(tmp_path, orientation, expected):
    """A marker at a known place, in stacks that run along y, x, and axially with rows and columns exchanged."""
    row, column = np.array(orientation, float).reshape(2, 3)
    normal = np.cross(row, column)
    origin, marker = np.array([10.0, 20.0, 30.0]), (2, 3, 1)  # slice, row, column
    (tmp_path / "ct").mkdir()
    write_ct_series(tmp_path / "source", Volume(GRID, np.zeros(GRID.shape)))
    image = pydicom.dcmread(tmp_path / "source" / "CT_0001.dcm")
    for k in range(4):
        values = np.zeros((5, 6), "<i2")
        if k == marker[0]:
            values[marker[1], marker[2]] = 1324
        image.Rows, image.Columns, image.PixelData = 5, 6, values.tobytes()
        image.PixelSpacing, image.ImageOrientationPatient = [2.5, 1.5], orientation
        image.ImagePositionPatient = (origin + 4.0 * k * normal).tolist()
        image.SOPInstanceUID = image.file_meta.MediaStorageSOPInstanceUID = pydicom.uid.generate_uid()
        image.save_as(tmp_path / "ct" / f"{k}.dcm")
    ct = read_ct_series(tmp_path / "ct")
    place = origin + 4.0 * marker[0] * normal + 2.5 * marker[1] * column + 1.5 * marker[2] * row
    found = ct.volume.grid.centres_mm(np.array([np.argmax(ct.volume.values)]))[0]
    assert found == pytest.approx(place), expected
    assert ct.volume.values.max() == 300
    assert bool(ct.sop_instance_uids) == (expected == "axial, transposed")


def test_oblique_slices_are_refused(tmp_path):
    write_ct_series(tmp_path / "ct", Volume(GRID, np.zeros(GRID.shape)))
    for file in (tmp_path / "ct").iterdir():
        image = pydicom.dcmread(file)
        image.ImageOrientationPatient = [np.cos(0.1), np.sin(0.1), 0, -np.sin(0.1), np.cos(0.1), 0]
        image.save_as(file)
    with pytest.raises(InputError, match="oblique"):
        read_ct_series(tmp_path / "ct")


@pytest.mark.parametrize("position", PATIENT_POSITIONS)
def test_doses_keep_their_place_with_relative_and_absolute_offsets(tmp_path, position):
    """Rows, columns and planes run as in the images of the position; offsets count from 0, or are the planes' z."""
    dose = Volume(GRID, np.arange(float(GRID.size)).reshape(GRID.shape))
    series = write_ct_series(tmp_path / "ct", Volume(GRID, np.zeros(GRID.shape)), patient_position=position)
    image = pydicom.dcmread(tmp_path / "ct" / "CT_0001.dcm")
    axes = np.array(image.ImageOrientationPatient, dtype=float).reshape(2, 3)
    normal = np.cross(*axes)
    origin, (column_mm, row_mm, plane_mm), values = along_axes(GRID, dose.values, np.vstack([axes, normal]))
    write_rtdose(tmp_path / "rd.dcm", dose, series)
    written = pydicom.dcmread(tmp_path / "rd.dcm")
    written.ImageOrientationPatient, written.ImagePositionPatient = axes.ravel().tolist(), origin.tolist()
    written.PixelSpacing, written.Rows, written.Columns = [row_mm, column_mm], *values.shape[1:]
    written.DoseGridScaling, written.PixelData = 1, np.ascontiguousarray(values, "<u4").tobytes()
    for offsets in (plane_mm * np.arange(6), origin[2] + normal[2] * plane_mm * np.arange(6)):
        written.GridFrameOffsetVector = offsets.tolist()
        written.save_as(tmp_path / "rd.dcm")
        again = read_rtdose(tmp_path / "rd.dcm")
        np.testing.assert_allclose(again.grid.origin_mm, GRID.origin_mm, atol=1e-9)
        np.testing.assert_array_equal(again.values, dose.values)

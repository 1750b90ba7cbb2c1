"""DICOM objects written and read back; every fault is an InputError that says what and where."""

from __future__ import annotations

import logging
import struct

import numpy as np
import pydicom
import pytest

from dosecalc.dicom import (
    PatientStudy,
    read_ct_series,
    read_rtdose,
    read_rtstruct,
    synthetic_series,
    write_ct_series,
    write_rtdose,
    write_rtstruct,
)
from dosecalc.errors import InputError, OutputError, UnsafeInputError
from dosecalc.grid import Grid, Volume
from dosecalc.reading import read_ct, read_structures
from dosecalc.structures import Contours, Occupancy, Structure, StructureSet

from .dicom_files import compress_with_gdcm

GRID = Grid((-21.5, -13.25, 100.0), (1.5, 2.5, 3.0), (6, 9, 13))
MARKERS = {
    (-20.0, -10.75, 103.0): 300.0,
    (-3.5, 1.75, 112.0): -500.0,
    (-6.5, -13.25, 115.0): 1200.0,
}  # LPS mm: HU


def phantom():
    values = np.full(GRID.shape, -1000.0, np.float32)
    for point, hu in MARKERS.items():
        i, j, k = np.round(GRID.index_coordinates([point])[0]).astype(int)
        values[k, j, i] = hu
    return Volume(GRID, values)


@pytest.fixture
def folder(tmp_path):
    write_ct_series(tmp_path / "ct", phantom())
    return tmp_path / "ct"


def edit(file, **changes):
    """Rewrite one file with changed elements; None deletes."""
    dataset = pydicom.dcmread(file)
    for keyword, value in changes.items():
        if value is None:
            delattr(dataset, keyword)
        elif keyword == "PixelPaddingValue":
            dataset.add_new(keyword, "SS", value)
        else:
            setattr(dataset, keyword, value)
    dataset.save_as(file)


def box(x, y):
    return np.array([[x[0], y[0]], [x[1], y[0]], [x[1], y[1]], [x[0], y[1]]], dtype=float)


def organ(name="Liver", role="ORGAN", z=(103.0, 106.0, 109.0)):
    return Structure(name, role, Contours(z, tuple(box((-15, -6), (-10, 4)) for _ in z)))


# CT


def test_markers_keep_their_place(folder):
    ct = read_ct(folder)
    assert ct.values.dtype == np.float32
    for point, hu in MARKERS.items():
        i, j, k = ct.grid.index_coordinates([point])[0]
        assert (i, j, k) == pytest.approx((round(i), round(j), round(k)), abs=1e-6)
        assert ct.values[round(k), round(j), round(i)] == hu
    assert np.count_nonzero(ct.values != -1000) == 3
    assert ct.grid == GRID


def test_pixel_spacing_is_row_then_column(folder):
    """An independent reading of one file: rows are y."""
    image = pydicom.dcmread(sorted(folder.iterdir())[1])
    assert [float(v) for v in image.PixelSpacing] == [2.5, 1.5]
    assert (image.Rows, image.Columns) == (9, 13)
    hu = np.frombuffer(image.PixelData, "<i2").reshape(9, 13) * image.RescaleSlope + image.RescaleIntercept
    row, column = np.argwhere(hu == 300.0)[0]
    x, y, z = (float(v) for v in image.ImagePositionPatient)
    assert (x + 1.5 * column, y + 2.5 * row, z) == (-20.0, -10.75, 103.0)


def test_series_keeps_what_writers_need(folder):
    series = read_ct_series(folder)
    images = [pydicom.dcmread(f) for f in sorted(folder.iterdir())]
    assert series.sop_instance_uids == tuple(i.SOPInstanceUID for i in images)
    assert series.frame_of_reference_uid == images[0].FrameOfReferenceUID
    assert series.patient == PatientStudy(patient_name="SYNTHETIC^PHANTOM", patient_id="SYNTHETIC")
    assert "SYNTHETIC" not in repr(series)


def test_files_in_any_order_and_unsigned_values(folder):
    for n, file in enumerate(sorted(folder.iterdir())):
        image = pydicom.dcmread(file)
        hu = np.frombuffer(image.PixelData, "<i2").astype(int) - 1024
        image.PixelRepresentation, image.RescaleIntercept, image.RescaleSlope = 0, -2000, 2
        image.BitsStored, image.HighBit = 12, 11
        image.PixelData = ((hu + 2000) // 2 | 0x7000).astype("<u2").tobytes()  # stray bits above the stored ones
        image.save_as(folder / f"{(n * 5) % 6}_{file.name}")
        file.unlink()
    np.testing.assert_array_equal(read_ct(folder).values, phantom().values)


FAULTS = [
    ({"PatientPosition": "FFS"}, "PatientPosition is another one"),
    ({"PatientPosition": None}, "PatientPosition is another one"),
    ({"ImageOrientationPatient": [0, 1, 0, 1, 0, 0]}, "ImageOrientationPatient is"),
    ({"ImageOrientationPatient": [1, 0, 0, 1, 0, 0]}, "two perpendicular unit vectors"),
    ({"GantryDetectorTilt": 12.0}, "gantry tilt of 12 degrees"),
    ({"RescaleSlope": None}, "no RescaleSlope"),
    ({"RescaleIntercept": None}, "no RescaleIntercept"),
    ({"RescaleType": "US"}, "RescaleType 'US'"),
    ({"PixelSpacing": [1.5, 2.5]}, "PixelSpacing is"),
    ({"Rows": 8}, "number of Rows, Columns is"),
    ({"ImagePositionPatient": [-21.5, -13.0, 106.0]}, "shifted against each other"),
    ({"ImagePositionPatient": [-21.5, -13.25, 105.8]}, r"unequal spacing: 2.8 mm behind CT_0002.dcm \(at z = 103 mm\)"),
    ({"ImagePositionPatient": [-21.5, -13.25, 103.0]}, "repeated slices"),
    ({"ImagePositionPatient": None}, "no ImagePositionPatient"),
    ({"FrameOfReferenceUID": "1.2.3"}, "FrameOfReferenceUID"),
    ({"BitsAllocated": 8}, "expected 16 bits"),
    ({"PixelData": bytes(100)}, "100 bytes of pixel data, 234"),
    ({"PixelPaddingValue": 1024 + 300}, "padding value is a HU of tissue"),
    ({"SOPClassUID": "1.2.840.10008.5.1.4.1.1.2.1"}, "no PerFrameFunctionalGroupsSequence"),
]


@pytest.mark.parametrize(("changes", "message"), FAULTS)
def test_faulty_slice_is_refused(folder, changes, message):
    place = "CT_0002.dcm" if "PixelPaddingValue" in changes else "CT_0003.dcm"
    edit(folder / place, **changes)
    with pytest.raises(InputError, match=message):
        read_ct(folder)


def test_missing_slice_is_refused_with_its_place(folder):
    (folder / "CT_0003.dcm").unlink()
    with pytest.raises(
        InputError, match=r"missing slice or unequal spacing: 6 mm behind CT_0002.dcm \(at z = 103 mm\)"
    ):
        read_ct(folder)


def test_several_series_are_listed_and_a_file_chooses(folder):
    other = write_ct_series(folder.parent / "other", Volume(GRID, np.zeros(GRID.shape)))
    for file in (folder.parent / "other").iterdir():
        file.rename(folder / f"B{file.name}")
    with pytest.raises(InputError, match=r"2 CT series .*6 images such as BCT_0001.dcm"):
        read_ct(folder)
    assert read_ct_series(folder / "BCT_0004.dcm").series_instance_uid == other.series_instance_uid


def test_localiser_is_left_out_aloud(folder, caplog):
    localiser = pydicom.dcmread(folder / "CT_0001.dcm")
    localiser.ImageType = ["ORIGINAL", "PRIMARY", "LOCALIZER"]
    localiser.ImageOrientationPatient = [1, 0, 0, 0, 0, -1]
    localiser.save_as(folder / "scout.dcm")
    with caplog.at_level(logging.WARNING):
        assert read_ct(folder).grid == GRID
    assert "1 localiser" in caplog.text


@pytest.mark.parametrize("padding", [("SS", -2000), ("US", 65536 - 2000)])
def test_padding_is_read_as_air_aloud(folder, caplog, padding):
    image = pydicom.dcmread(folder / "CT_0001.dcm")
    stored = np.frombuffer(image.PixelData, "<i2").copy()
    stored[:7] = -2000
    image.PixelData = stored.tobytes()
    image.add_new("PixelPaddingValue", *padding)
    image.save_as(folder / "CT_0001.dcm")
    with caplog.at_level(logging.WARNING):
        np.testing.assert_array_equal(read_ct(folder).values, phantom().values)
    assert "7 padded pixels" in caplog.text


def test_truncated_ct_is_refused_at_every_cut(folder):
    file = folder / "CT_0004.dcm"
    whole = file.read_bytes()
    for cut in range(132, len(whole), 41):
        file.write_bytes(whole[:cut])
        with pytest.raises(InputError, match=r"CT_0004.dcm|missing slice"):
            read_ct(folder)


def test_wrong_paths_are_refused(tmp_path):
    with pytest.raises(InputError, match="no such file or folder"):
        read_ct(tmp_path / "nowhere")
    (tmp_path / "a.txt").write_text("hello")
    with pytest.raises(InputError, match="no DICOM CT images"):
        read_ct(tmp_path)
    with pytest.raises(InputError, match="not a DICOM file"):
        read_ct(tmp_path / "a.txt")


def test_deflated_files_are_read_up_to_a_limit(folder):
    file = folder / "CT_0001.dcm"
    dataset = pydicom.dcmread(file)
    dataset.file_meta.TransferSyntaxUID = pydicom.uid.DeflatedExplicitVRLittleEndian
    dataset.save_as(file)
    np.testing.assert_array_equal(read_ct(folder).values, phantom().values)
    cut = file.read_bytes()[:-20]
    file.write_bytes(cut)
    with pytest.raises(InputError, match="cut short"):
        read_ct(folder)
    dataset.PixelData = bytes(300 * 2**20)
    dataset.save_as(file)
    assert file.stat().st_size < 2**20
    with pytest.raises(UnsafeInputError, match="inflates to more than"):
        read_ct(folder)


def test_run_length_encoded_slices_are_read(folder):
    """Encoded by pydicom, decoded without any plug-in."""
    for file in folder.iterdir():
        image = pydicom.dcmread(file)
        image.compress(pydicom.uid.RLELossless)
        image.save_as(file)
    np.testing.assert_array_equal(read_ct(folder).values, phantom().values)


@pytest.mark.parametrize("syntax", ["JPEGLosslessProcess14_1", "JPEGLSLossless", "JPEG2000Lossless"])
def test_compressed_slices_are_read(folder, syntax):
    """Encoded by GDCM; the first is what archives hold most of all compressed CT."""
    compress_with_gdcm(folder, syntax)
    assert all(pydicom.dcmread(file).file_meta.TransferSyntaxUID.is_compressed for file in folder.iterdir())
    np.testing.assert_array_equal(read_ct(folder).values, phantom().values)


def test_a_syntax_without_a_decoder_is_refused(folder):
    file = folder / "CT_0001.dcm"
    raw = (folder / "CT_0002.dcm").read_bytes()
    file.write_bytes(raw.replace(b"1.2.840.10008.1.2.1\0", b"1.2.840.10008.1.2.2\0"))
    with pytest.raises(InputError, match="expected little endian"):
        read_ct(folder)


def test_ct_is_written_completely_or_not_at_all(folder, tmp_path):
    with pytest.raises(OutputError, match="not an empty folder"):
        write_ct_series(folder, phantom())
    with pytest.raises(InputError, match="HU must be finite"):
        write_ct_series(tmp_path / "new", Volume(GRID, np.full(GRID.shape, 1e6)))
    assert sorted(p.name for p in tmp_path.iterdir()) == ["ct"]


# structures


def test_structures_survive(tmp_path, folder):
    ct = read_ct_series(folder)
    cube = np.zeros(GRID.shape, np.float32)
    cube[1:4, 2:6, 3:9] = 1
    before = StructureSet((organ(), Structure("GTVp", "GTV", Occupancy(GRID, cube))), ct.frame_of_reference_uid)
    write_rtstruct(folder / "structures.dcm", before, ct)
    after = read_structures(folder, ct=ct)
    assert [(s.name, s.role) for s in after] == [("Liver", "ORGAN"), ("GTVp", "GTV")]
    for a, b in zip(before["Liver"].geometry.polygons_mm, after["Liver"].geometry.polygons_mm, strict=True):
        np.testing.assert_allclose(a, b, atol=1e-7)
    assert after["Liver"].volume_cc == pytest.approx(9 * 14 * 9 / 1000)
    centre = after["GTVp"].on(GRID)
    np.testing.assert_allclose(
        np.average(GRID.centres_mm(centre.indices), axis=0, weights=centre.cc),
        [-21.5 + 1.5 * 5.5, -4.5, 106.0],
    )
    item = pydicom.dcmread(folder / "structures.dcm")
    first = item.ROIContourSequence[0].ContourSequence[0]
    assert first.ContourImageSequence[0].ReferencedSOPInstanceUID == ct.sop_instance_uids[1]
    assert [float(v) for v in first.ContourData[:3]] == [-15.0, -10.0, 103.0]


def test_hole_survives(tmp_path):
    ct = synthetic_series(phantom())
    centres = GRID.centres_mm().reshape(*GRID.shape, 3)[..., :2]
    shell = np.abs(centres - (-12.5, -3.25)).max(axis=-1)
    ring = Structure("Ring", "ORGAN", Occupancy(GRID, ((shell < 8) & (shell > 3)).astype(np.float32)))
    write_rtstruct(tmp_path / "rs.dcm", StructureSet((ring,)), ct)
    after = read_rtstruct(tmp_path / "rs.dcm")["Ring"].on(GRID)
    share = np.zeros(GRID.size)
    share[after.indices] = after.cc
    assert share.reshape(GRID.shape)[3, 4, 6] == 0.0
    assert after.volume_cc == pytest.approx(ring.volume_cc, rel=0.1)


@pytest.fixture
def structure_file(tmp_path):
    ct = synthetic_series(phantom())
    structures = StructureSet((organ(), organ("PTV_a", "PTV"), organ("Skin", "EXTERNAL")))
    write_rtstruct(tmp_path / "rs.dcm", structures, ct)
    return tmp_path / "rs.dcm"


def rewritten(file, change):
    dataset = pydicom.dcmread(file)
    change(dataset)
    dataset.save_as(file)
    return file


def test_role_comes_from_the_type_and_only_without_one_from_the_name(structure_file, caplog):
    def change(dataset):
        observations = dataset.RTROIObservationsSequence
        observations[0].RTROIInterpretedType = "CONTROL"
        observations[1].RTROIInterpretedType = ""

    with caplog.at_level(logging.WARNING):
        roles = [s.role for s in read_rtstruct(rewritten(structure_file, change))]
    assert roles == ["ORGAN", "PTV", "EXTERNAL"]
    assert "Liver: is of type CONTROL; taken as an organ" in caplog.text


def test_open_contours_and_empty_rois_are_reported(structure_file, caplog):
    def change(dataset):
        dataset.ROIContourSequence[0].ContourSequence[1].ContourGeometricType = "OPEN_PLANAR"
        del dataset.ROIContourSequence[2].ContourSequence

    with caplog.at_level(logging.WARNING):
        structures = read_rtstruct(rewritten(structure_file, change))
    assert (structures.names, structures.absent) == (("Liver", "PTV_a"), ("Skin",))
    assert "Liver: a contour of type OPEN_PLANAR" in caplog.text
    assert "Skin: has no closed contours" in caplog.text
    assert len(structures.notices) == 2


def _rename(dataset):
    dataset.StructureSetROISequence[1].ROIName = "Liver"


def _frames(dataset):
    dataset.StructureSetROISequence[1].ReferencedFrameOfReferenceUID = "1.2.3"


def _oblique(dataset):
    dataset.ROIContourSequence[0].ContourSequence[0].ContourData[2] = 104.0


def _count(dataset):
    dataset.ROIContourSequence[0].ContourSequence[0].NumberOfContourPoints = 3


def _bow_tie(dataset):
    contour = dataset.ROIContourSequence[0].ContourSequence[0]
    contour.ContourData = [0, 0, 103, 9, 9, 103, 9, 0, 103, 0, 9, 103]


def _orphan(dataset):
    dataset.ROIContourSequence[0].ReferencedROINumber = 99


def _twice(dataset):
    dataset.ROIContourSequence[1].ReferencedROINumber = 1


def _no_contours(dataset):
    del dataset.ROIContourSequence


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (_rename, r"ROI name is used twice: no. 1 'Liver'; no. 2 'Liver'"),
        (_frames, "2 frames of reference"),
        (_oblique, "z = 103 to 104 mm"),
        (_count, "contour of 3 points has 12 coordinates"),
        (_bow_tie, "structure 'Liver', plane z = 103 mm.*crosses itself"),
        (_orphan, "ROI number 99 has contours without a name"),
        (_twice, "ROI number 1 has contours twice"),
        (_no_contours, "no ROIContourSequence"),
    ],
)
def test_faulty_structures_are_refused(structure_file, change, message):
    with pytest.raises(InputError, match=message):
        read_rtstruct(rewritten(structure_file, change))


def test_structures_of_another_frame_are_refused(structure_file, folder, tmp_path):
    with pytest.raises(InputError, match="not that of the CT"):
        read_rtstruct(structure_file, ct=read_ct_series(folder))
    with pytest.raises(InputError, match="not that of the CT"):
        write_rtstruct(tmp_path / "x.dcm", read_rtstruct(structure_file), read_ct_series(folder))
    assert not (tmp_path / "x.dcm").exists()


def test_truncated_structures_are_refused_at_every_cut(structure_file):
    """DICOM marks no end: cut just before one of its last elements, a file is a whole one without them."""
    whole = structure_file.read_bytes()
    dataset = pydicom.dcmread(structure_file)
    without_types, without_approval = (
        whole.rindex(struct.pack("<HH", element.tag.group, element.tag.element))
        for element in (dataset["RTROIObservationsSequence"], dataset["ApprovalStatus"])
    )
    for cut in set(range(132, len(whole))) - {without_types, without_approval}:
        structure_file.write_bytes(whole[:cut])
        with pytest.raises(InputError):
            read_rtstruct(structure_file)
    structure_file.write_bytes(whole[:without_types])
    assert any("states no types" in notice for notice in read_rtstruct(structure_file).notices)
    structure_file.write_bytes(whole[:without_approval])
    assert [structure.role for structure in read_rtstruct(structure_file)] == ["ORGAN", "PTV", "EXTERNAL"]


def test_deep_nesting_is_refused(structure_file):
    nested = struct.pack("<HHI", 0x300E, 0x0010, 0xFFFFFFFF) + struct.pack("<HHI", 0xFFFE, 0xE000, 0xFFFFFFFF)
    structure_file.write_bytes(structure_file.read_bytes() + nested * 3000)
    with pytest.raises(UnsafeInputError, match="deep"):
        read_rtstruct(structure_file)


def test_folder_needs_one_structure_set(structure_file, folder):
    with pytest.raises(InputError, match="holds 0 RT Structure Sets"):
        read_structures(folder)
    with pytest.raises(InputError, match="label map"):
        read_structures(structure_file, names={"1": "Liver"})
    with pytest.raises(InputError, match="Modality is 'CT'"):
        read_structures(folder / "CT_0001.dcm")


# dose


def dose_volume():
    return Volume(GRID, np.random.default_rng(3).uniform(0, 61.7, GRID.shape))


def test_dose_survives_within_its_scaling(tmp_path, folder):
    ct, dose = read_ct_series(folder), dose_volume()
    write_rtdose(tmp_path / "rd.dcm", dose, ct, comment="hello")
    step = dose.values.max() / (2**32 - 1)
    # independent reading, by the standard alone
    item = pydicom.dcmread(tmp_path / "rd.dcm")
    stored = np.frombuffer(item.PixelData, "<u4").reshape(item.NumberOfFrames, item.Rows, item.Columns)
    assert np.abs(stored * float(item.DoseGridScaling) - dose.values).max() <= 0.51 * step
    assert (item.DoseUnits, item.DoseType, item.DoseSummationType) == ("GY", "PHYSICAL", "PLAN")
    assert (item.BitsAllocated, item.PixelRepresentation, item.DoseComment) == (32, 0, "hello")
    assert [float(v) for v in item.GridFrameOffsetVector] == [0, 3, 6, 9, 12, 15]
    assert [float(v) for v in item.PixelSpacing] == [2.5, 1.5]
    assert [float(v) for v in item.ImagePositionPatient] == [-21.5, -13.25, 100.0]
    assert item.FrameOfReferenceUID == ct.frame_of_reference_uid
    assert item.StudyInstanceUID == ct.study_instance_uid
    assert item.SeriesInstanceUID != ct.series_instance_uid
    again = read_rtdose(tmp_path / "rd.dcm")
    assert again.grid == GRID
    np.testing.assert_allclose(again.values, dose.values, atol=0.51 * step)


@pytest.mark.parametrize("maximum_gy", [0.0, 1e-7, 60.0, 1e5 / 3])
def test_any_dose_maximum_fits(tmp_path, maximum_gy):
    values = np.zeros(GRID.shape)
    values[1, 2, 3] = maximum_gy
    write_rtdose(tmp_path / "rd.dcm", Volume(GRID, values), synthetic_series(phantom()))
    again = read_rtdose(tmp_path / "rd.dcm").values
    assert again[1, 2, 3] == pytest.approx(maximum_gy, rel=1e-9)
    assert np.count_nonzero(again) == (maximum_gy > 0)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"DoseUnits": "RELATIVE"}, "DoseUnits is 'RELATIVE', expected 'GY'"),
        ({"DoseType": "EFFECTIVE"}, "DoseType is 'EFFECTIVE'"),
        ({"PixelData": bytes(2804)}, "2804 bytes of dose, 2808"),
        ({"GridFrameOffsetVector": [0, 3, 6, 9, 12, 16]}, "not equally spaced"),
        ({"GridFrameOffsetVector": [0, 3, 6]}, "GridFrameOffsetVector"),
        ({"GridFrameOffsetVector": [50, 53, 56, 59, 62, 65]}, "starts at 50"),
        ({"DoseGridScaling": None}, "no DoseGridScaling"),
        ({"PixelRepresentation": 1}, "unsigned"),
        ({"Modality": "CT"}, "Modality is 'CT'"),
    ],
)
def test_faulty_dose_is_refused(tmp_path, changes, message):
    file = tmp_path / "rd.dcm"
    write_rtdose(file, dose_volume(), synthetic_series(phantom()))
    edit(file, **changes)
    with pytest.raises(InputError, match=message):
        read_rtdose(file)


def test_descending_and_absolute_offsets(tmp_path):
    file, dose = tmp_path / "rd.dcm", dose_volume()
    write_rtdose(file, dose, synthetic_series(phantom()))
    edit(file, GridFrameOffsetVector=[100, 103, 106, 109, 112, 115])
    assert read_rtdose(file).grid == GRID
    flipped = np.frombuffer(pydicom.dcmread(file).PixelData, "<u4").reshape(GRID.shape)[::-1]
    edit(
        file,
        GridFrameOffsetVector=[0, -3, -6, -9, -12, -15],
        ImagePositionPatient=[-21.5, -13.25, 115.0],
        PixelData=flipped.tobytes(),
    )
    again = read_rtdose(file)
    assert again.grid == GRID
    np.testing.assert_allclose(again.values, dose.values, atol=1e-7)


def test_truncated_dose_is_refused_at_every_cut(tmp_path):
    file = tmp_path / "rd.dcm"
    write_rtdose(file, dose_volume(), synthetic_series(phantom()))
    whole = file.read_bytes()
    for cut in range(132, len(whole), 13):
        file.write_bytes(whole[:cut])
        with pytest.raises(InputError):
            read_rtdose(file)


def test_impossible_doses_are_not_written(tmp_path):
    ct = synthetic_series(phantom())
    for bad in (-0.1, np.nan, np.inf):
        values = np.zeros(GRID.shape)
        values[0, 0, 0] = bad
        with pytest.raises(InputError, match="finite and not negative"):
            write_rtdose(tmp_path / "rd.dcm", Volume(GRID, values), ct)
    with pytest.raises(InputError, match="65 characters"):
        write_rtdose(tmp_path / "rd.dcm", dose_volume(), ct, comment="x" * 65)
    assert list(tmp_path.iterdir()) == []


def test_failed_write_leaves_the_old_file(tmp_path, monkeypatch):
    file = tmp_path / "rd.dcm"
    file.write_bytes(b"old")

    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("os.fsync", full)
    with pytest.raises(OutputError, match=r"rd.dcm: .*No space left"):
        write_rtdose(file, dose_volume(), synthetic_series(phantom()))
    assert [(p.name, p.read_bytes()) for p in tmp_path.iterdir()] == [("rd.dcm", b"old")]


def test_missing_output_folder(tmp_path):
    with pytest.raises(OutputError, match="No such file"):
        write_rtdose(tmp_path / "no" / "rd.dcm", dose_volume(), synthetic_series(phantom()))


def test_nothing_about_the_patient_is_made_up(tmp_path):
    write_rtdose(tmp_path / "rd.dcm", dose_volume(), synthetic_series(phantom()))
    item = pydicom.dcmread(tmp_path / "rd.dcm")
    for keyword in (
        "PatientName",
        "PatientID",
        "PatientBirthDate",
        "PatientSex",
        "StudyDate",
        "OperatorsName",
    ):
        assert not item[keyword].value

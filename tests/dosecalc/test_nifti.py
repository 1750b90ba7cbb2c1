"""NIfTI images and label maps: RAS in, LPS out, nothing assumed."""

from __future__ import annotations

import json
import logging
from pathlib import Path

import nibabel
import numpy as np
import pytest

from dosecalc.errors import InputError, UnsafeInputError
from dosecalc.images import read_hu
from dosecalc.label_maps import read_labels
from dosecalc.reading import read_ct, read_ct_series, read_structures

SHARED = Path(__file__).resolve().parents[3] / "shared" / "data" / "liver_ct"
RAS = np.array([[2.0, 0, 0, -30], [0, 3.0, 0, 7], [0, 0, 4.0, 100], [0, 0, 0, 1]])
SHAPE = (5, 7, 9)
MARKERS = {(1, 2, 3): 300.0, (4, 0, 8): -500.0, (0, 6, 5): 1200.0}


def save(path, data, affine=RAS, **header):
    image = nibabel.Nifti1Image(data, affine)
    image.header.set_xyzt_units("mm")
    image.set_sform(affine, header.get("sform", 1))
    image.set_qform(header.get("qform_affine", affine), header.get("qform", 1))
    nibabel.save(image, path)
    return path


def marked():
    data = np.full(SHAPE, -1000.0, np.float32)
    for index, hu in MARKERS.items():
        data[index] = hu
    return data


def assert_markers(volume, affine):
    """Each marker lies where the affine puts it, with x and y negated."""
    for index, hu in MARKERS.items():
        right, anterior, superior = (affine @ [*index, 1])[:3]
        i, j, k = volume.grid.index_coordinates([(-right, -anterior, superior)])[0]
        assert np.abs([i - round(i), j - round(j), k - round(k)]).max() < 1e-4
        assert volume.values[round(k), round(j), round(i)] == hu
    assert np.count_nonzero(volume.values != -1000) == len(MARKERS)


FLIPPED = RAS @ np.diag([-1.0, -1, 1, 1])
PERMUTED = RAS[:, [2, 0, 1, 3]]
PERMUTED_AND_FLIPPED = PERMUTED @ np.diag([1.0, -1, -1, 1])


@pytest.mark.parametrize("affine", [RAS, FLIPPED, PERMUTED, PERMUTED_AND_FLIPPED])
@pytest.mark.parametrize("suffix", [".nii", ".nii.gz"])
def test_markers_keep_their_place(tmp_path, affine, suffix):
    volume = read_ct(save(tmp_path / f"ct{suffix}", marked(), affine))
    assert_markers(volume, affine)
    assert volume.grid.spacing_mm == pytest.approx((2.0, 3.0, 4.0))
    assert volume.values.dtype == np.float32
    assert volume.values.flags.c_contiguous


def test_series_of_a_nifti_carries_no_patient(tmp_path):
    series = read_ct_series(save(tmp_path / "ct.nii", marked()))
    assert series.patient.patient_name == series.patient.patient_id == ""
    assert series.sop_instance_uids == ()
    assert series.frame_of_reference_uid != read_ct_series(tmp_path / "ct.nii").frame_of_reference_uid


def turned(degrees):
    c, s = np.cos(np.radians(degrees)), np.sin(np.radians(degrees))
    return np.array([[c, -s, 0, 0], [s, c, 0, 0], [0, 0, 1, 0], [0, 0, 0, 1]]) @ RAS


def test_faulty_geometry_is_refused(tmp_path):
    with pytest.raises(InputError, match="oblique"):
        read_ct(save(tmp_path / "a.nii", marked(), turned(2.0)))
    with pytest.raises(InputError, match="qform and sform disagree"):
        read_ct(save(tmp_path / "b.nii", marked(), qform_affine=FLIPPED))
    with pytest.raises(InputError, match="states no orientation"):
        read_ct(save(tmp_path / "c.nii", marked(), sform=0, qform=0))
    with pytest.raises(InputError, match="expected three dimensions"):
        read_ct(save(tmp_path / "d.nii", np.zeros((2, 3, 4, 5), np.float32)))
    assert read_ct(save(tmp_path / "e.nii", marked()[..., None])).grid.shape == (9, 7, 5)


def test_values_that_are_not_finite_are_refused(tmp_path):
    data = marked()
    data[0, 0, 0] = np.nan
    with pytest.raises(InputError, match="1 voxels are not finite"):
        read_ct(save(tmp_path / "a.nii", data))


@pytest.mark.parametrize("suffix", [".nii", ".nii.gz"])
def test_truncated_file_is_refused(tmp_path, suffix):
    file = save(tmp_path / f"ct{suffix}", np.random.default_rng(0).normal(size=SHAPE))
    whole = file.read_bytes()
    for cut in range(0, len(whole) - 8, 97):
        file.write_bytes(whole[:cut])
        with pytest.raises(InputError, match=r"ct.nii"):
            read_hu(file)


def test_wrong_path_and_other_content(tmp_path):
    with pytest.raises(InputError, match="no such file"):
        read_ct(tmp_path / "none.nii.gz")
    (tmp_path / "a.nii").write_text("hello")
    with pytest.raises(InputError, match="not a readable NIfTI file"):
        read_ct(tmp_path / "a.nii")


def test_a_header_may_not_claim_any_size(tmp_path):
    file = save(tmp_path / "a.nii", marked())
    raw = bytearray(file.read_bytes())
    raw[42:48] = np.array([32000, 32000, 32000], "<i2").tobytes()
    file.write_bytes(raw)
    with pytest.raises(UnsafeInputError, match="more than a scan"):
        read_ct(file)


def labels():
    data = np.zeros(SHAPE, np.int16)
    data[1:4, 2:3, 5:8] = 7
    data[0, 6, 0] = 2
    return data


NAMES = (
    {"7": "Liver", "2": "GTVp"},
    {"Liver": 7, "GTVp": 2},
    {"labels": {"7": {"name": "Liver"}, "2": {"name": "GTVp"}}},
)


@pytest.mark.parametrize("names", NAMES)
@pytest.mark.parametrize("as_file", [True, False])
def test_label_map_in_each_form_of_names(tmp_path, names, as_file):
    file = save(tmp_path / "labels.nii.gz", labels())
    (tmp_path / "names.json").write_text(json.dumps(names))
    structures = read_structures(file, tmp_path / "names.json" if as_file else names)
    assert {s.name: s.role for s in structures} == {"Liver": "ORGAN", "GTVp": "GTV"}
    assert structures["Liver"].volume_cc == pytest.approx(9 * 0.024)
    assert structures["Liver"].geometry.fraction.shape == (3, 1, 3)
    grid = read_ct(save(tmp_path / "ct.nii", marked())).grid
    point = grid.centres_mm(structures["GTVp"].on(grid).indices)
    np.testing.assert_allclose(point, [[30.0, -25.0, 100.0]])  # RAS (-30, 7 + 18, 100)


def test_names_without_voxels_are_told(tmp_path, caplog):
    file = save(tmp_path / "labels.nii", labels())
    with caplog.at_level(logging.INFO):
        structures = read_labels(file, {"7": "Liver", "2": "GTV", "9": "Heart", "0": "background"})
    assert structures.absent == ("Heart",)
    assert "Heart" in caplog.text


@pytest.mark.parametrize(
    ("names", "message"),
    [
        ({"7": "Liver"}, r"1 labels have no name: 2 \(0.024 cc\)"),
        ({"7": "Liver", "2": "Liver"}, "name given twice: 'Liver'"),
        ({"Liver": 7, "Heart": 7}, "label given twice: 7"),
        ({"Liver": 7.5}, "not a label with its name"),
        ({"7": {"name": "Liver", "role": "X"}, "2": "GTV"}, "role 'X'"),
        ({"7": "", "2": "GTV"}, "name ''"),
        (None, "no names"),
    ],
)
def test_faulty_names_are_refused(tmp_path, names, message):
    with pytest.raises(InputError, match=message):
        read_structures(save(tmp_path / "labels.nii", labels()), names)


def test_faulty_json_is_refused(tmp_path):
    file, names = save(tmp_path / "labels.nii", labels()), tmp_path / "names.json"
    for text, message in (
        ("{", "cannot be read as JSON"),
        ("[1]", "JSON object"),
        ('{"7": "a", "7": "b"}', "twice: '7'"),
        ("[" * 100000, "cannot be read as JSON"),
    ):
        names.write_text(text)
        with pytest.raises(InputError, match=message):
            read_structures(file, names)
    with pytest.raises(InputError, match="cannot be read as JSON"):
        read_structures(file, tmp_path / "none.json")


@pytest.mark.parametrize("value", [0.5, -1.0, 70000.0, np.nan])
def test_an_image_is_no_label_map(tmp_path, value):
    data = labels().astype(np.float32)
    data[2, 2, 2] = value
    with pytest.raises(InputError, match="not a label map"):
        read_structures(save(tmp_path / "labels.nii", data), NAMES[0])


@pytest.mark.shared
@pytest.mark.skipif(not SHARED.is_dir(), reason="the reference CT is not beside the project")
def test_real_liver():
    ct = read_ct(SHARED / "ct.nii.gz")
    structures = read_structures(SHARED / "labels.nii.gz", SHARED / "labels.json")
    liver = structures["liver"].on(ct.grid)
    assert len(liver.indices) == 41602
    assert liver.volume_cc == pytest.approx(41602 * 0.027)
    assert liver.faces_touched == ("superior",)
    x = {name: np.mean(ct.grid.centres_mm(structures[name].on(ct.grid).indices)[:, 0]) for name in ("liver", "spleen")}
    assert x["liver"] < x["spleen"]  # the liver lies to the right: smaller x in LPS
    assert 20 < ct.values.ravel()[liver.indices].mean() < 120
    assert "esophagus" in structures.absent

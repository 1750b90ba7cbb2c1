"""`dosecalc inspect PATH`: what is there is listed, what is wrong is told, nothing is raised."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import nibabel
import numpy as np
import pydicom
import pytest

from dosecalc.dicom import write_ct_series, write_rtdose
from dosecalc.grid import Volume
from dosecalc.reading import read_ct_series

from .conftest import Run
from .small_case import CT_GRID, Patient


@pytest.fixture
def folder(patient: Patient, tmp_path: Path) -> Path:
    """The small patient's files in one folder, with a text file among them."""
    shutil.copytree(patient.ct, tmp_path / "all" / "ct")
    shutil.copy(patient.structures, tmp_path / "all" / "rs.dcm")
    (tmp_path / "all" / "notes.txt").write_text("call back")
    return tmp_path / "all"


def surveyed(dosecalc: Run, folder: Path, *options: str) -> dict:
    ended = dosecalc("inspect", folder, *options, "--json")
    assert ended.code == 0, ended.err
    return json.loads(ended.out)


def test_series_and_structures_are_listed(dosecalc: Run, folder: Path) -> None:
    found = surveyed(dosecalc, folder)
    series = {row["modality"]: row for row in found["series"]}
    assert set(series) == {"CT", "RTSTRUCT"}
    assert series["CT"]["files"] == CT_GRID.shape[0]
    assert series["CT"]["slice_gaps_mm"] == f"{CT_GRID.spacing_mm[2]:g}"
    structures = {row["name"]: row for row in found["structures"]}
    assert structures["Duodenum"]["tg263"] == "Duodenum"
    assert structures["Duodenum"]["volume_cc"] > 0
    assert found["other_files"] == 1
    assert found["problems"] == []


def test_nothing_of_the_patient_is_printed(dosecalc: Run, folder: Path) -> None:
    image = next((folder / "ct").iterdir())
    header = pydicom.dcmread(image)
    told = dosecalc("inspect", folder).out + json.dumps(surveyed(dosecalc, folder))
    for secret in (str(header.get("PatientName", "")), str(header.get("PatientID", ""))):
        assert not secret or secret not in told


def test_a_missing_slice_and_a_foreign_frame_are_problems(dosecalc: Run, folder: Path) -> None:
    images = sorted((folder / "ct").iterdir(), key=lambda p: float(pydicom.dcmread(p).ImagePositionPatient[2]))
    images[len(images) // 2].unlink()
    structures = pydicom.dcmread(folder / "rs.dcm")
    for item in (*structures.ReferencedFrameOfReferenceSequence, *structures.StructureSetROISequence):
        keyword = "FrameOfReferenceUID" if "FrameOfReferenceUID" in item else "ReferencedFrameOfReferenceUID"
        setattr(item, keyword, "1.2.3.4")
    structures.save_as(folder / "rs.dcm")
    told = " ".join(surveyed(dosecalc, folder)["problems"])
    assert "slice" in told
    assert "frame of reference" in told


def test_an_empty_folder_is_one_error(dosecalc: Run, tmp_path: Path) -> None:
    ended = dosecalc("inspect", tmp_path)
    assert ended.code == 10
    assert "holds no DICOM, NIfTI or NRRD file" in " ".join(ended.err.split())


def test_path_and_ct_exclude_each_other(dosecalc: Run, folder: Path) -> None:
    assert dosecalc("inspect", folder, "--ct", folder / "ct").code == 2
    assert dosecalc("inspect").code == 2


def test_label_maps_are_listed_with_their_names_and_volumes(dosecalc: Run, tmp_path: Path) -> None:
    labels = np.zeros((6, 9, 13), np.uint8)
    labels[1:4, 2:7, 3:9], labels[2, 3, 4], labels[0, 0, 0] = 1, 2, 9
    image = nibabel.Nifti1Image(labels.T, np.diag([-1.5, -2.5, 3.0, 1.0]))
    nibabel.save(image, tmp_path / "labels.nii.gz")
    (tmp_path / "names.json").write_text('{"1": "liver", "2": "Duodenun"}')
    found = json.loads(dosecalc("inspect", tmp_path, "--json").out)
    assert found["series"][0]["modality"] == "NIfTI label map"
    rows = {row["name"]: row for row in found["structures"]}
    assert rows["liver"]["tg263"] == "Liver"
    assert rows["liver"]["volume_cc"] == pytest.approx(89 * 1.5 * 2.5 * 3 / 1000, abs=1e-3)
    assert rows["liver"]["cut_by_scan"] == []
    assert rows["Duodenun"]["looks_like"] == "Duodenum"
    assert rows["label 9"]["cut_by_scan"] == ["inferior", "anterior", "right"]
    assert "1 labels have no name" in found["problems"][0]
    assert "taken for a label map: its name says 'labels'" in found["notices"][0]


@pytest.mark.parametrize(
    ("name", "greys", "lowest", "taken"),
    [
        ("liver1", 200, 0, "CT: it holds 200 different whole numbers, more than a label map has"),
        ("liver1", 60, 0, "label map: it holds 60 different whole numbers, as a label map has"),
        ("ct_1", 3, 0, "CT: its name says 'ct'"),
        ("ct_seg", 200, 0, "label map: its name says 'seg'"),
        ("mask", 60, -1, "CT: its values cannot be labels"),
    ],
)
def test_an_image_says_what_it_was_taken_for(
    dosecalc: Run, tmp_path: Path, name: str, greys: int, lowest: int, taken: str
) -> None:
    values = (lowest + np.arange(12 * 9 * 6) % greys).astype(np.int16 if lowest < 0 else np.uint8).reshape(12, 9, 6)
    nibabel.save(nibabel.Nifti1Image(values, np.diag([-1.5, -2.5, 3.0, 1.0])), tmp_path / f"{name}.nii.gz")
    found = json.loads(dosecalc("inspect", tmp_path, "--json").out)
    assert f"taken for a {taken}." in found["notices"][0]
    assert (
        (found["series"][0]["modality"] == "NIfTI label map")
        == taken.startswith("label map")
        == bool(found["structures"])
    )
    assert any("as a CT it is implausible" in told for told in found["problems"]) == taken.startswith("CT")


def test_structures_end_at_their_contours_when_asked(dosecalc: Run, folder: Path) -> None:
    cc = [
        {row["name"]: row["volume_cc"] for row in surveyed(dosecalc, folder, *options)["structures"]}
        for options in ((), ("--end-caps", "at_contour"))
    ]
    planned = dosecalc(
        "inspect", "--ct", folder / "ct", "--structures", folder / "rs.dcm", "--end-caps", "at_contour", "--json"
    )
    found = json.loads(planned.out)
    assert cc[1] == {row["name"]: row["volume_cc"] for row in found["structures"]}
    assert any("end at their first and last contours, as asked" in told for told in found["notices"])
    assert dosecalc("inspect", folder, "--end-caps", "rounded").code == 2
    assert cc[0]["Body"] - cc[1]["Body"] == pytest.approx(160 * 120 * CT_GRID.spacing_mm[2] / 1000, rel=1e-6)


def edit(folder: Path, **elements: object) -> None:
    """Set elements of every CT image."""
    for file in (folder / "ct").iterdir():
        image = pydicom.dcmread(file)
        for keyword, value in elements.items():
            setattr(image, keyword, value)
        image.save_as(file)


def test_a_damaged_place_is_a_problem_and_no_crash(dosecalc: Run, folder: Path) -> None:
    edit(folder, ImagePositionPatient=[1.0, 2.0])
    assert any("ImagePositionPatient is [1.0, 2.0]" in problem for problem in surveyed(dosecalc, folder)["problems"])


def test_what_the_readers_say_is_a_notice(dosecalc: Run, folder: Path) -> None:
    edit(folder, SpacingBetweenSlices=2.5)
    structures = pydicom.dcmread(folder / "rs.dcm")
    structures.RTROIObservationsSequence[1].RTROIInterpretedType = "SUPPORT"
    structures.save_as(folder / "rs.dcm")
    found = surveyed(dosecalc, folder)
    assert found["problems"] == []
    assert any("SpacingBetweenSlices is 2.5 mm" in notice for notice in found["notices"])
    assert any("of type SUPPORT" in notice for notice in found["notices"])
    printed = " ".join(dosecalc("inspect", folder).out.split())
    assert "notices: 2" in printed and "SpacingBetweenSlices is 2.5 mm" in printed


def test_structures_are_left_out_by_name(dosecalc: Run, folder: Path) -> None:
    arguments = ("--leave-out", "Duodenum", "--leave-out", "Duodemun", "--json")
    for where in ((folder,), ("--ct", folder / "ct", "--structures", folder / "rs.dcm")):
        given = arguments if len(where) == 1 else ("--leave-out", "Duodenum", "--json")
        found = json.loads(dosecalc("inspect", *where, *given).out)
        assert "Duodenum" not in {row["name"] for row in found["structures"]}
        assert any("Duodenum: left out" in notice for notice in found["notices"])
        assert len(found["problems"]) == (len(where) == 1)
    assert "--leave-out Duodemun" in surveyed(dosecalc, folder, "--leave-out", "Duodemun")["problems"][0]


def test_a_scan_without_frame_of_reference_owns_what_refers_to_it(dosecalc: Run, folder: Path) -> None:
    edit(folder, FrameOfReferenceUID="")
    found = surveyed(dosecalc, folder)
    assert found["problems"] == []
    assert any(row["cut_by_scan"] == [] for row in found["structures"])
    structures = pydicom.dcmread(folder / "rs.dcm")
    study = structures.ReferencedFrameOfReferenceSequence[0].RTReferencedStudySequence[0]
    study.RTReferencedSeriesSequence[0].SeriesInstanceUID = "1.2.3"
    structures.save_as(folder / "rs.dcm")
    assert "of no CT series here" in surveyed(dosecalc, folder)["problems"][0]


def test_doses_are_judged_by_frame_scaling_and_grid(dosecalc: Run, folder: Path) -> None:
    ct = read_ct_series(folder / "ct")
    dose = Volume(CT_GRID, np.linspace(0, 60, CT_GRID.size).reshape(CT_GRID.shape))
    write_rtdose(folder / "rd.dcm", dose, ct)
    found = surveyed(dosecalc, folder)
    (row,) = (row for row in found["series"] if row["modality"] == "RTDOSE")
    assert (row["content"], row["spacing_mm"], row["where"]) == ("up to 60 Gy", "4 x 4.5 x 5", str(folder / "rd.dcm"))
    assert found["problems"] == []
    assert ["coarse (4 x 4.5 x 5 mm" in notice for notice in found["notices"]] == [True]
    written = pydicom.dcmread(folder / "rd.dcm")
    written.FrameOfReferenceUID, written.DoseGridScaling = "1.2.3", -1
    written.save_as(folder / "rd.dcm")
    told = " ".join(surveyed(dosecalc, folder)["problems"])
    assert "DoseGridScaling is -1" in told
    assert "of no CT series or structure set here" in told


def test_each_of_two_series_in_a_folder_has_a_name_for_the_next_command(dosecalc: Run, folder: Path) -> None:
    first = pydicom.dcmread(folder / "ct" / "CT_0001.dcm")
    first.SeriesInstanceUID, first.ImageType = "1.2.3", ["ORIGINAL", "PRIMARY", "LOCALIZER"]
    first.save_as(folder / "ct" / "scout.dcm")
    write_ct_series(
        folder / "half", Volume(CT_GRID, np.where(np.arange(50) < 25, -1000.0, 20.0) * np.ones((27, 34, 1)))
    )
    for file in (folder / "half").iterdir():
        file.rename(folder / "ct" / f"half_{file.name}")
    found = surveyed(dosecalc, folder)
    where = {row["where"] for row in found["series"] if row["modality"] == "CT"}
    assert len(where) == 2
    assert [row["where"] for row in found["series"] if row["modality"] == "CT: localiser"] == [
        str(folder / "ct" / "scout.dcm")
    ]
    assert not any("CT series" in problem for problem in found["problems"])
    tissue = {json.loads(dosecalc("inspect", "--ct", place, "--json").out)["ct"]["hu_highest"] for place in where}
    assert tissue == {0.0, 20.0}


def test_values_that_are_no_hu_and_an_unknown_position_are_problems(dosecalc: Run, folder: Path) -> None:
    edit(folder, RescaleIntercept=0, PatientPosition="XYZ")
    for arguments in ((folder,), ("--ct", folder / "ct")):
        told = " ".join(json.loads(dosecalc("inspect", *arguments, "--json").out)["problems"])
        assert "implausible: no value lies below 0" in told
        assert "PatientPosition 'XYZ'" in told

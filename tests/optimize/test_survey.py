"""`dosecalc inspect PATH`: what is there is listed, what is wrong is told, nothing is raised."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import nibabel
import numpy as np
import pydicom
import pytest

from .conftest import Run
from .small_case import CT_GRID, Patient


@pytest.fixture
def folder(patient: Patient, tmp_path: Path) -> Path:
    """The small patient's files in one folder, with a text file among them."""
    shutil.copytree(patient.ct, tmp_path / "all" / "ct")
    shutil.copy(patient.structures, tmp_path / "all" / "rs.dcm")
    (tmp_path / "all" / "notes.txt").write_text("call back")
    return tmp_path / "all"


def surveyed(dosecalc: Run, folder: Path) -> dict:
    ended = dosecalc("inspect", folder, "--json")
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

"""Small valid NIfTI and NRRD files, and what reading them gives."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import nibabel
import nrrd
import numpy as np
import numpy.typing as npt

from dosecalc.reading import read_ct_series, read_structures

from .seed_model import Format, Result, structure_set, volume

LABELS = {"1": "Liver", "2": {"name": "GTV", "role": "GTV"}}


def _save_nifti(path: Path, values: Any) -> None:
    affine = np.diag([2.0, 3.0, 4.0, 1.0])
    affine[:3, 3] = -30.0, 7.0, 100.0
    image = nibabel.Nifti1Image(values, affine)
    image.header.set_xyzt_units("mm")
    image.set_sform(affine, 1)
    image.set_qform(affine, 1)
    nibabel.save(image, path)


def _nifti(folder: Path) -> None:
    _save_nifti(folder / "ct.nii", (np.arange(60).reshape(5, 4, 3) * 7 - 1000).astype(np.int16))


def _nifti_gz(folder: Path) -> None:
    noise = np.random.default_rng(0).integers(-1000, 1500, (5, 4, 3))
    _save_nifti(folder / "ct.nii.gz", noise.astype(np.int16))


def _reads(name: str) -> Callable[[Path], Result]:
    def read(folder: Path) -> Result:
        series = read_ct_series(folder / name)
        return Result(volume(series.volume), series.notices)

    return read


def _label_values() -> npt.NDArray[np.uint8]:
    values = np.zeros((5, 4, 3), np.uint8)
    values[1:3, 1:3, 1:] = 1
    values[4, 3, 0] = 2
    return values


def _labels(folder: Path) -> None:
    _save_nifti(folder / "labels.nii", _label_values())
    (folder / "names.json").write_text(json.dumps(LABELS), encoding="utf-8")


def _read_labels(folder: Path) -> Result:
    return structure_set(read_structures(folder / "labels.nii", folder / "names.json"))


def _save_nrrd(path: Path, values: Any, encoding: str, **fields: str) -> None:
    header = {
        "space": "left-posterior-superior",
        "space directions": np.diag([2.0, 3.0, 4.0]),
        "space origin": np.array([-30.0, 7.0, 100.0]),
        "encoding": encoding,
    }
    nrrd.write(str(path), values, header | fields, index_order="F")


def _nrrd(folder: Path) -> None:
    _save_nrrd(folder / "ct.nrrd", (np.arange(60).reshape(5, 4, 3) * 7 - 1000).astype(np.int16), "raw")


def _nrrd_gz(folder: Path) -> None:
    noise = np.random.default_rng(0).integers(-1000, 1500, (5, 4, 3))
    _save_nrrd(folder / "ct.nrrd", noise.astype(np.int16), "gzip")


def _nrrd_labels(folder: Path) -> None:
    names = {"Segment0_Name": "Liver", "Segment1_Name": "GTV", "Segment0_LabelValue": "1", "Segment1_LabelValue": "2"}
    _save_nrrd(folder / "labels.seg.nrrd", _label_values(), "gzip", **names)


def _read_nrrd_labels(folder: Path) -> Result:
    return structure_set(read_structures(folder / "labels.seg.nrrd"))


IMAGES = {
    "nifti": Format(_nifti, _reads("ct.nii")),
    "nifti_gz": Format(_nifti_gz, _reads("ct.nii.gz")),
    "labels": Format(_labels, _read_labels),
    "nrrd": Format(_nrrd, _reads("ct.nrrd")),
    "nrrd_gz": Format(_nrrd_gz, _reads("ct.nrrd")),
    "nrrd_labels": Format(_nrrd_labels, _read_nrrd_labels),
}

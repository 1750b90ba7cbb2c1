"""NIfTI images and label maps."""

from __future__ import annotations

import gzip
import struct
from collections.abc import Callable
from pathlib import Path
from typing import Any

import nibabel
import numpy as np
import pytest

from dosecalc.structures import StructureSet

from .inputs import AFFINE, GRID, LABELS, hu, save_nifti
from .model import Case, unchanged


def image(values: np.ndarray | None = None, affine: np.ndarray = AFFINE, **changes: Any) -> Callable[[Path], None]:
    return lambda folder: save_nifti(folder, hu() if values is None else values, affine, **changes)


def _shifted() -> np.ndarray:
    affine = AFFINE.copy()
    affine[0, 3] += 5.0
    return affine


def _oblique() -> np.ndarray:
    c, s = np.cos(0.05), np.sin(0.05)
    turn = np.eye(4)
    turn[:2, :2] = [[c, -s], [s, c]]
    return turn @ AFFINE


def _reordered(folder: Path) -> None:
    """The same image with axes to posterior, superior and left."""
    source = nibabel.load(folder / "image.nii.gz")
    turn = nibabel.orientations.ornt_transform(
        nibabel.io_orientation(source.affine), nibabel.orientations.axcodes2ornt("PSL")
    )
    nibabel.save(source.as_reoriented(turn), folder / "turned.nii.gz")
    (folder / "turned.nii.gz").replace(folder / "image.nii.gz")


def _scaled(folder: Path) -> None:
    """Stored as int16 with slope and intercept."""
    made = nibabel.Nifti1Image(((hu() + 100.0) / 0.5).astype(np.int16).T, AFFINE)
    made.header.set_xyzt_units("mm")
    data = bytearray(made.to_bytes())
    data[112:120] = struct.pack("<2f", 0.5, -100.0)  # scl_slope, scl_inter
    (folder / "image.nii.gz").write_bytes(gzip.compress(bytes(data)))


def _not_finite() -> np.ndarray:
    values = hu()
    values[2, 2, 2] = np.nan
    return values


def _volumes(count: int) -> Callable[[Path], None]:
    def save(folder: Path) -> None:
        made = nibabel.Nifti1Image(np.stack([hu().T] * count, axis=3), AFFINE)
        made.header.set_xyzt_units("mm")
        nibabel.save(made, folder / "image.nii.gz")

    return save


def _cut(folder: Path) -> None:
    file = folder / "image.nii.gz"
    file.write_bytes(file.read_bytes()[:-40])


def _maps(change: Callable[[np.ndarray], np.ndarray]) -> Callable[[Path], None]:
    def save(folder: Path) -> None:
        values = np.asarray(nibabel.load(folder / "image.nii.gz").dataobj).T
        save_nifti(folder, change(values))

    return save


def _cropped(folder: Path) -> None:
    """The part of the map from (x, y, z) = (2, 1, 1) on: on the CT's voxels."""
    values = np.asarray(nibabel.load(folder / "image.nii.gz").dataobj).T
    affine = AFFINE.copy()
    affine[:3, 3] = AFFINE[:3, :3] @ (2, 1, 1) + AFFINE[:3, 3]
    save_nifti(folder, values[1:, 1:, 2:], affine)


def _half_voxel(folder: Path) -> None:
    values = np.asarray(nibabel.load(folder / "image.nii.gz").dataobj).T
    affine = AFFINE.copy()
    affine[0, 3] += 0.75
    save_nifti(folder, values, affine)


def _resampled(found: StructureSet) -> None:
    """Half a voxel to the patient's right: the volume stays."""
    assert found["Liver"].on(GRID).volume_cc == pytest.approx((3 * 5 * 6 - 1) * GRID.voxel_cc)


def _tells_unused(found: StructureSet) -> None:
    assert found.absent == ("Spleen",)


IMAGES = [
    Case(
        "orientation stated",
        "NIfTI",
        "qform and sform codes are 0",
        image(qform_code=0, sform_code=0),
        "no orientation",
        "sform only",
        image(qform_code=0),
    ),
    Case(
        "orientation twice",
        "NIfTI",
        "qform and sform 5 mm apart",
        image(qform=_shifted()),
        "disagree",
        "qform only",
        image(sform_code=0),
    ),
    Case(
        "oblique",
        "NIfTI",
        "turned by 3 degrees",
        image(affine=_oblique()),
        "oblique",
        "axes to posterior, superior and left",
        _reordered,
    ),
    Case(
        "units",
        "NIfTI",
        "lengths in metres",
        image(units="meter"),
        "in meter",
        "unit not stated",
        image(units="unknown"),
    ),
    Case(
        "values",
        "NIfTI",
        "a voxel is not a number",
        image(_not_finite()),
        "not finite",
        "int16 with slope 0.5 and intercept -100",
        _scaled,
    ),
    Case(
        "volumes",
        "NIfTI",
        "two volumes",
        _volumes(2),
        "expected three dimensions",
        "four dimensions, one volume",
        _volumes(1),
    ),
    Case("truncated file", "NIfTI", "the last 40 bytes are gone", _cut, "not a readable NIfTI", "complete", unchanged),
]

MAPS = [
    Case(
        "fractions",
        "labels",
        "half labels",
        _maps(lambda v: v * 0.5),
        "holds fractions",
        "whole numbers stored as float64",
        _maps(lambda v: v.astype(np.float64)),
    ),
    Case(
        "negative labels",
        "labels",
        "HU instead of labels",
        _maps(lambda v: v - 1000),
        "is not a label map",
        "labels of 8 bits",
        _maps(lambda v: v.astype(np.uint8)),
    ),
    Case(
        "unnamed label",
        "labels",
        "label 7 has no name",
        _maps(lambda v: np.where(v == 2, 7, v)),
        r"no name: 7 \(0.0112 cc\)",
        "a name without voxels",
        unchanged,
        valid_options={"names": LABELS | {"3": "Spleen"}},
        numbers=_tells_unused,
    ),
    Case(
        "form of the names",
        "labels",
        "names by neither label nor name",
        unchanged,
        "is not a label with its name",
        "labels by name",
        unchanged,
        options={"names": {"Liver": "one"}},
        valid_options={"names": {"Liver": 1, "GTV": 2}},
    ),
    Case(
        "names given twice",
        "labels",
        "two labels called Liver",
        unchanged,
        "name given twice: 'Liver'",
        "names under labels with roles",
        unchanged,
        options={"names": {"1": "Liver", "2": "Liver"}},
        valid_options={"names": {"labels": {"1": {"name": "Liver"}, "2": {"name": "GTV", "role": "GTV"}}}},
    ),
    Case(
        "other voxels",
        "labels",
        "half a voxel off the CT's",
        _half_voxel,
        "lies on other voxels than the CT",
        "a part of the CT's voxels",
        _cropped,
    ),
    Case(
        "other voxels accepted",
        "labels",
        "without names",
        unchanged,
        "have no names",
        "half a voxel off, accepted by name",
        _half_voxel,
        options={"names": None},
        valid_options={"resample_labels": True},
        numbers=_resampled,
    ),
]

CASES = [*IMAGES, *MAPS]

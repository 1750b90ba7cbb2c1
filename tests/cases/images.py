"""NIfTI and NRRD images, label maps and DICOM Segmentations."""

from __future__ import annotations

import gzip
import json
import shutil
import struct
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import nibabel
import nrrd
import numpy as np
import pytest

from dosecalc.dicom import write_ct_series
from dosecalc.grid import Volume
from dosecalc.structures import StructureSet

from .inputs import AFFINE, GRID, LABELS, hu, label_map, save_nifti, save_nrrd, save_seg
from .inputs import labels as judge_labels
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


def _moved_map(sign: float, by_mm: float) -> Callable[[Path], None]:
    """The map with x and y multiplied by a sign, and moved along z."""

    def save(folder: Path) -> None:
        values = np.asarray(nibabel.load(folder / "image.nii.gz").dataobj).T
        affine = np.diag([sign, sign, 1.0, 1.0]) @ AFFINE
        affine[2, 3] += by_mm
        save_nifti(folder, values, affine)

    return save


def _one_slice_outside(found: StructureSet) -> None:
    """Slices 1 to 3 of the map on the CT's slices -1 to 1."""
    assert found["GTV"].on(GRID).volume_cc == pytest.approx(GRID.voxel_cc)
    assert "Liver: 0.338 of 1.001 cc lie outside the CT." in found.notices


def _named_in(encoding: str) -> Callable[[Path], None]:
    return lambda folder: (folder / "names.json").write_text(json.dumps(LABELS), encoding=encoding)


def _half_of_a_pair(folder: Path) -> None:
    (folder / "image.hdr").write_bytes((folder / "image.nii.gz").read_bytes())


def _resampled(found: StructureSet) -> None:
    """Half a voxel to the patient's right: the volume stays."""
    assert found["Liver"].on(GRID).volume_cc == pytest.approx((3 * 5 * 6 - 1) * GRID.voxel_cc)


def _spleen_absent(found: StructureSet) -> None:
    judge_labels(found)
    assert found.absent == ("Spleen",)


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
    Case(
        "end caps",
        "labels",
        "it shall end at contours that it does not have",
        unchanged,
        "a label map has no contours to leave out, repair or end at",
        "the usual policy, which does not touch its voxels",
        unchanged,
        options={"end_caps": "at_contour"},
        valid_options={"end_caps": "half_slice"},
    ),
    Case(
        "outside the CT",
        "labels",
        "x and y with the other sign",
        _moved_map(-1.0, 0.0),
        r"none of its 2 structures lies in the CT: its centre lies \(.* mm",
        "two slices lower",
        _moved_map(1.0, -6.0),
        options={"resample_labels": True},
        numbers=_one_slice_outside,
    ),
    Case(
        "encoding of the names",
        "labels",
        "a JSON in UTF-16",
        _named_in("utf-16"),
        "cannot be read as JSON",
        "a JSON in UTF-8 with a byte order mark",
        _named_in("utf-8-sig"),
        options={"names": "names.json"},
        valid_options={"names": "names.json"},
    ),
    Case(
        "pair of files",
        "labels",
        "a header (.hdr) without its voxels (.img)",
        _half_of_a_pair,
        "is half of a pair of files",
        "one file",
        unchanged,
        options={"file": "image.hdr"},
    ),
]


def nrrd_image(values: np.ndarray | None = None, **fields: Any) -> Callable[[Path], None]:
    return lambda folder: save_nrrd(folder, hu() if values is None else values, **fields)


def _ras(folder: Path) -> None:
    """The same image in a space to the right and to anterior, first axis upwards, written raw."""
    directions = np.array([[0, 0, 3.0], [-1.5, 0, 0], [0, -2.5, 0]])
    header = {"space": "RAS", "space directions": directions, "space origin": [21.5, 13.25, 100.0], "encoding": "raw"}
    nrrd.write(str(folder / "image.nrrd"), np.transpose(hu(), (0, 2, 1)), header, index_order="F")


def _big_endian(folder: Path) -> None:
    save_nrrd(folder, hu().astype(np.int16), encoding="raw")
    file = folder / "image.nrrd"
    head, data = file.read_bytes().split(b"\n\n", 1)
    swapped = np.frombuffer(data, "<i2").astype(">i2").tobytes()
    file.write_bytes(head.replace(b"endian: little", b"endian: big") + b"\n\n" + swapped)


def _cut_nrrd(folder: Path) -> None:
    file = folder / "image.nrrd"
    file.write_bytes(file.read_bytes()[:-40])


def _bomb(folder: Path) -> None:
    """A gigabyte of zeros behind a small header."""
    file = folder / "image.nrrd"
    head = file.read_bytes().split(b"\n\n", 1)[0]
    packer = zlib.compressobj(9, zlib.DEFLATED, 31)
    zeros = b"".join(packer.compress(bytes(2**24)) for _ in range(64)) + packer.flush()
    file.write_bytes(head + b"\n\n" + zeros)


def _named_segments(folder: Path) -> None:
    names = {"Segment0_Name": "Liver", "Segment0_LabelValue": "1", "Segment1_Name": "GTV", "Segment1_LabelValue": "2"}
    save_nrrd(folder, label_map(), **names)


def _bare_labels(folder: Path) -> None:
    save_nrrd(folder, label_map())


NRRD = [
    Case(
        "place",
        "NRRD",
        "no space",
        nrrd_image(**{"space": None, "space directions": None, "space origin": None}),
        "states no place in the patient",
        "a space to the right and to anterior, axes in another order",
        _ras,
    ),
    Case(
        "encoding",
        "NRRD",
        "bzip2",
        nrrd_image(encoding="bzip2"),
        "encoded as 'bz",
        "big-endian, raw",
        _big_endian,
    ),
    Case("truncated file", "NRRD", "the last 40 bytes are gone", _cut_nrrd, "are needed", "complete", unchanged),
    Case("inflation", "NRRD", "a gigabyte behind a small header", _bomb, "holds more than", "gzip", unchanged),
    Case(
        "names of segments",
        "labels",
        "an NRRD without names",
        _bare_labels,
        "have no names",
        "an NRRD with its names",
        _named_segments,
        options={"names": None, "file": "image.nrrd"},
        valid_options={"names": None, "file": "image.nrrd"},
    ),
]


def seg(**changes: Any) -> Callable[[Path], None]:
    return lambda folder: save_seg(folder, **changes)


def _empty_segment(folder: Path) -> None:
    save_seg(folder, labels=("Liver", "GTV", "Spleen"))


def _prone_seg(folder: Path) -> None:
    """The CT of a patient feet first prone, and the same masks on it."""
    write_ct_series(folder / "prone", Volume(GRID, hu()), patient_position="FFP")
    shutil.rmtree(folder / "ct")
    (folder / "prone").rename(folder / "ct")
    save_seg(folder, label_map()[::-1, ::-1, :])


SEGMENTATIONS = [
    Case(
        "frame of reference",
        "SEG",
        "another frame",
        seg(FrameOfReferenceUID="1.2.3"),
        "not that of the CT",
        "the same frame",
        unchanged,
    ),
    Case(
        "labels",
        "SEG",
        "two segments called Liver",
        seg(labels=("Liver", "Liver")),
        "given twice: 'Liver'",
        "a segment without voxels",
        _empty_segment,
        numbers=_spleen_absent,
    ),
    Case(
        "kind",
        "SEG",
        "another modality",
        seg(Modality="SR"),
        "expected 'RTSTRUCT'",
        "masks of a patient feet first prone",
        _prone_seg,
    ),
]

CASES = [*IMAGES, *MAPS, *NRRD, *SEGMENTATIONS]

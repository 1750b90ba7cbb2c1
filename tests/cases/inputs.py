"""The untouched inputs, how each is read, and the numbers that it must read to."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import highdicom
import nibabel
import nrrd
import numpy as np
import pydicom
import pytest

from dosecalc.density import HuCalibration
from dosecalc.dicom import CtSeries, read_ct_series, read_rtdose, write_ct_series, write_rtdose, write_rtstruct
from dosecalc.grid import Grid, Volume
from dosecalc.hu_table import read_hu_table
from dosecalc.plausibility import check_ct
from dosecalc.reading import read_ct, read_structures
from dosecalc.structures import Contours, Structure, StructureSet
from optimize.matrix import MatrixInfluence
from optimize.peer_matrices import load_matrad_dij

from .matrad import ENTRIES, matrad_stf, save_matrad

GRID = Grid((-21.5, -13.25, 100.0), (1.5, 2.5, 3.0), (6, 9, 13))
MARKERS = {(-20.0, -10.75, 103.0): 300.0, (-3.5, 1.75, 112.0): -500.0, (-6.5, -13.25, 115.0): 1200.0}
AFFINE = np.diag([-1.5, -2.5, 3.0, 1.0])
AFFINE[:3, 3] = (21.5, 13.25, 100.0)
LABELS = {"1": "Liver", "2": "GTV"}
BODY_AFFINE = np.diag([-8.0, -8.0, 5.0, 1.0])
HU_TABLE = "# source: a scanner, 120 kV\nhu,relative_electron_density\n-1000,0.0\n0,1.0\n1200,1.69\n"
DOSE_GY = 0.25 * np.arange(GRID.size, dtype=np.float64).reshape(GRID.shape)


def hu() -> np.ndarray:
    values = np.full(GRID.shape, -1000.0, np.float32)
    for point, value in MARKERS.items():
        i, j, k = np.round(GRID.index_coordinates([point])[0]).astype(int)
        values[k, j, i] = value
    return values


def body_hu() -> np.ndarray:
    """A trunk in air, 320 x 240 mm of 8 mm voxels: fat around organs, a spine, a lung, and noise of 15 HU."""
    z, y, x = np.mgrid[:8, :30, :40]
    place = np.hypot((x - 19.5) / 14.5, (y - 14.5) / 10.5)
    values = np.select([place < 0.8, place < 1.0], [50.0, -100.0], -1000.0)
    values[np.hypot(x - 19.5, y - 20) < 2.5] = 300.0
    values[(z > 5) & (np.hypot(x - 12, y - 13) < 4)] = -800.0
    return np.round(values + 15 * np.random.default_rng(0).standard_normal(values.shape)).astype(np.float32)


def box(x: tuple[float, float], y: tuple[float, float]) -> np.ndarray:
    return np.array([[x[0], y[0]], [x[1], y[0]], [x[1], y[1]], [x[0], y[1]]], dtype=float)


LIVER = box((-15, -6), (-10, 4))
PLANES = (103.0, 106.0, 109.0)
LIVER_CC = 9 * 14 * 9 / 1000


def make(kind: str, folder: Path) -> None:
    """The untouched input of a kind, in `folder`."""
    ct = write_ct_series(folder / "ct", Volume(GRID, hu()))
    if kind == "RTSTRUCT":
        named = (("Liver", "ORGAN"), ("GTV_a", "GTV"), ("Skin", "EXTERNAL"))
        organs = (
            Structure(n, role, Contours(PLANES, tuple(LIVER + 0.1 * k for _ in PLANES)))
            for k, (n, role) in enumerate(named)
        )
        write_rtstruct(folder / "rs.dcm", StructureSet(tuple(organs)), ct)
    elif kind == "RTDOSE":
        write_rtdose(folder / "rd.dcm", Volume(GRID, DOSE_GY), ct)
    elif kind == "CT values":
        save_nifti(folder, body_hu(), BODY_AFFINE)
    elif kind == "HU table":
        (folder / "hu.csv").write_text(HU_TABLE, encoding="utf-8")
    elif kind == "NIfTI":
        save_nifti(folder, hu())
    elif kind == "NRRD":
        save_nrrd(folder, hu())
    elif kind == "SEG":
        save_seg(folder)
    elif kind == "labels":
        save_nifti(folder, label_map())
    elif kind == "matRad dij":
        save_matrad(folder, None, matrad_stf())


def label_map() -> np.ndarray:
    labels = np.zeros(GRID.shape, np.int16)
    labels[1:4, 2:7, 3:9], labels[2, 3, 4] = 1, 2
    return labels


def save_nrrd(folder: Path, values: np.ndarray, **fields: Any) -> None:
    """Values (z, y, x) as an NRRD file with these header fields; None leaves a field out."""
    header = {
        "space": "left-posterior-superior",
        "space directions": np.diag(GRID.spacing_mm),
        "space origin": np.array(GRID.origin_mm),
        "encoding": "gzip",
    } | fields
    kept = {key: value for key, value in header.items() if value is not None}
    nrrd.write(str(folder / "image.nrrd"), np.asarray(values).T, kept, index_order="F")


def save_seg(
    folder: Path, values: np.ndarray | None = None, labels: tuple[str, ...] = ("Liver", "GTV"), **changes: Any
) -> None:
    """The label map as a DICOM Segmentation of the CT."""
    images = [pydicom.dcmread(f) for f in sorted((folder / "ct").iterdir())]
    codes = highdicom.sr.CodedConcept("85756007", "SCT", "Tissue")
    parts = [
        highdicom.seg.SegmentDescription(k, label, codes, codes, highdicom.seg.SegmentAlgorithmTypeValues.MANUAL)
        for k, label in enumerate(labels, start=1)
    ]
    masks = (label_map() if values is None else values).astype(np.uint8)
    series, instance = pydicom.uid.generate_uid(), pydicom.uid.generate_uid()
    made = highdicom.seg.Segmentation(images, masks, "BINARY", parts, series, 1, instance, 1, "none", "none", "1", "0")
    for keyword, value in changes.items():
        setattr(made, keyword, value)
    made.save_as(folder / "seg.dcm")


def save_nifti(folder: Path, values: np.ndarray, affine: np.ndarray = AFFINE, **changes: Any) -> None:
    """Values (z, y, x) as a NIfTI file whose header is changed as told."""
    image = nibabel.Nifti1Image(np.asarray(values).T, affine)
    image.set_sform(affine, code=changes.pop("sform_code", 1))
    image.set_qform(changes.pop("qform", affine), code=changes.pop("qform_code", 1))
    image.header.set_xyzt_units(changes.pop("units", "mm"))
    nibabel.save(image, folder / "image.nii.gz")


def read(kind: str, folder: Path, options: dict[str, Any]) -> Any:
    """What the project's reader makes of it."""
    options = dict(options)
    if kind == "CT":
        return read_ct_series(folder / options.pop("file", "ct"), **options)
    if kind == "RTSTRUCT":
        ct = read_ct_series(folder / "ct")
        return read_structures(folder / options.pop("file", "rs.dcm"), ct=ct, **options)
    if kind == "RTDOSE":
        frame = read_ct_series(folder / "ct").frame_of_reference_uid
        return read_rtdose(folder / "rd.dcm", frame_of_reference_uid=frame)
    if kind == "CT values":
        return check_ct(read_ct(folder / "image.nii.gz"), **options)
    if kind == "HU table":
        return read_hu_table(folder / "hu.csv")
    if kind == "NIfTI":
        return read_ct(folder / "image.nii.gz")
    if kind == "NRRD":
        return read_ct(folder / "image.nrrd")
    if kind == "SEG":
        return read_structures(folder / "seg.dcm", ct=read_ct_series(folder / "ct"))
    if kind == "matRad dij":
        return load_matrad_dij(folder / "dij.mat", **options)
    names = options.pop("names", LABELS)
    names = folder / names if isinstance(names, str) else names
    return read_structures(
        folder / options.pop("file", "image.nii.gz"), names, ct=read_ct_series(folder / "ct"), **options
    )


def judge(kind: str, found: Any) -> None:
    """Known numbers of the untouched input."""
    JUDGES[kind](found)


def markers(ct: CtSeries | Volume) -> None:
    """Every marker where it was put, and nothing else."""
    volume = ct.volume if isinstance(ct, CtSeries) else ct
    for point, value in MARKERS.items():
        index = volume.grid.index_coordinates([point])[0]
        i, j, k = np.round(index).astype(int)
        assert index == pytest.approx([i, j, k], abs=0.02)
        assert volume.values[k, j, i] == value
    assert np.count_nonzero(volume.values != -1000.0) == len(MARKERS)


def liver(structures: StructureSet) -> None:
    assert structures["Liver"].volume_cc == pytest.approx(LIVER_CC, rel=1e-6)
    assert structures["Liver"].on(GRID).volume_cc == pytest.approx(LIVER_CC, rel=1e-6)


def dose(volume: Volume) -> None:
    assert volume.grid == GRID
    np.testing.assert_allclose(volume.values, DOSE_GY, atol=1e-6)


def labels(structures: StructureSet) -> None:
    voxel_cc = GRID.voxel_cc
    assert structures["Liver"].volume_cc == pytest.approx((3 * 5 * 6 - 1) * voxel_cc)
    assert structures["GTV"].volume_cc == pytest.approx(voxel_cc)
    centre = GRID.centres_mm(structures["GTV"].on(GRID).indices)[0]
    assert centre == pytest.approx((-21.5 + 4 * 1.5, -13.25 + 3 * 2.5, 106.0))


def entries(found: tuple[MatrixInfluence, Grid]) -> None:
    """Every known entry in the voxel that lies where it was put, and nothing else."""
    operator, grid = found
    assert grid == Grid((-4.0, 10.0, 7.0), (2.0, 3.0, 5.0), (4, 3, 5))
    points = [(-4 + 2 * x, 10 + 3 * y, 7 + 5 * z) for x, y, z in ENTRIES]
    x, y, z = np.round(grid.index_coordinates(points)).astype(int).T
    rows = operator.rows(np.ravel_multi_index((z, y, x), grid.shape))
    np.testing.assert_array_equal(rows, [[value, 2 * value, 0, 0] for value in ENTRIES.values()])
    np.testing.assert_array_equal(operator.rows([grid.size - 1]), [[0, 0, 1, 1]])
    assert operator.matrix.nnz == 2 * len(ENTRIES) + 2
    assert sorted(map(sorted, operator.neighbours.tolist())) == [[0, 1], [2, 3]]


def water(table: HuCalibration) -> None:
    assert np.interp([-500.0, 0.0, 600.0], table.hu, table.relative_electron_density) == pytest.approx(
        [0.5, 1.0, 1.345], abs=0.006
    )


def nothing(notices: tuple[str, ...]) -> None:
    """Neither refused nor doubted."""
    assert notices == ()


JUDGES: dict[str, Callable[[Any], None]] = {
    "CT": markers,
    "CT values": nothing,
    "HU table": water,
    "RTSTRUCT": liver,
    "RTDOSE": dose,
    "NIfTI": markers,
    "NRRD": markers,
    "SEG": labels,
    "labels": labels,
    "matRad dij": entries,
}


def each_slice(change: Callable[[pydicom.Dataset, int], None]) -> Callable[[Path], None]:
    """Change every CT file; the number counts from 0 in the order of the files."""

    def changed(folder: Path) -> None:
        for k, file in enumerate(sorted((folder / "ct").iterdir())):
            image = pydicom.dcmread(file)
            change(image, k)
            image.save_as(file)

    return changed


def one_slice(number: int, **elements: Any) -> Callable[[Path], None]:
    """Set elements of one CT file; None deletes."""
    return lambda folder: edit(folder / "ct" / f"CT_{number:04d}.dcm", **elements)


def all_slices(**elements: Any) -> Callable[[Path], None]:
    """Set elements of every CT file; None deletes."""

    def changed(folder: Path) -> None:
        for file in (folder / "ct").iterdir():
            edit(file, **elements)

    return changed


def edit(file: Path, **elements: Any) -> None:
    dataset = pydicom.dcmread(file)
    for keyword, value in elements.items():
        if value is None:
            delattr(dataset, keyword)
        elif keyword == "PixelPaddingValue":
            dataset.add_new(keyword, "SS", value)
        else:
            setattr(dataset, keyword, value)
    dataset.save_as(file)


def in_file(name: str, change: Callable[[pydicom.Dataset], object]) -> Callable[[Path], None]:
    """Change the dataset of one file."""

    def changed(folder: Path) -> None:
        dataset = pydicom.dcmread(folder / name)
        change(dataset)
        dataset.save_as(folder / name)

    return changed

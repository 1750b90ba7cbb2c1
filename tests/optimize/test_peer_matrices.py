"""Matrices that pyRadPlan made, and a MATLAB file of version 7.3, each in this software's order.

matRad's order in files of version 5 is held by `tests/cases` (matRad dij). The files in `data` were made by
`data/make_pyradplan_dij.py` with pyRadPlan 0.5.0.
"""

from __future__ import annotations

import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from scipy import sparse

from dosecalc.errors import InputError, ResourceError
from dosecalc.grid import Grid
from optimize.matlab_file import HDF5_SIGNATURE, read_matlab
from optimize.peer_matrices import load_matrad_dij, load_pyradplan_dij, matrad_positions

from ..cases.inputs import judge
from ..cases.matrad import matrad_dij, matrad_stf

DATA = Path(__file__).parent / "data"
# Within float32, in which pyRadPlan computed it.
ROUNDING_GY = 1e-5


@pytest.fixture(scope="module")
def saved() -> dict[str, np.ndarray]:
    with np.load(DATA / "pyradplan_dij.npz") as arrays:
        return dict(arrays)


def as_pyradplan(saved: dict[str, np.ndarray], **changes: Any) -> tuple[Any, Any]:
    """The objects with the attributes that the loader reads."""
    cells = np.empty((1, 1, 1), object)
    parts = (saved["data"], saved["indices"], saved["indptr"])
    cells[0, 0, 0] = sparse.csc_array(parts, shape=tuple(saved["shape"]))
    grid = {
        "dimensions": tuple(saved["dimensions"]),
        "resolution": dict(zip("xyz", saved["resolution"], strict=True)),
        "origin": saved["origin"],
        "direction": saved["direction"],
    }
    rays = [[SimpleNamespace(ray_pos_bev=p) for p in saved["ray_pos_bev"][saved["beam"] == b]] for b in (0, 1)]
    stf = SimpleNamespace(beams=[SimpleNamespace(rays=r, bixel_width=float(saved["bixel_width"])) for r in rays])
    return SimpleNamespace(physical_dose=cells, dose_grid=SimpleNamespace(**grid | changes)), stf


@pytest.mark.parametrize("through", ["object", "matRad file"])
def test_pyradplans_dose_image_is_reproduced(saved, through) -> None:
    """Its own dose image has the orders of ITK; its MATLAB file those of matRad."""
    loaded = load_matrad_dij(DATA / "pyradplan_dij.mat") if through == "matRad file" else None
    operator, grid = loaded or load_pyradplan_dij(*as_pyradplan(saved))
    np.testing.assert_allclose(operator.dose(saved["weights"]).reshape(grid.shape), saved["dose"], atol=ROUNDING_GY)
    assert grid == Grid(tuple(saved["dose_origin"]), tuple(saved["dose_spacing"]), saved["dose"].shape)
    assert saved["dose"].max() > 1.0


@pytest.mark.parametrize("through", ["object", "matRad file"])
def test_neighbours_are_rays_one_width_apart_in_one_beam(saved, through) -> None:
    loaded = load_matrad_dij(DATA / "pyradplan_dij.mat") if through == "matRad file" else None
    pairs = (loaded or load_pyradplan_dij(*as_pyradplan(saved)))[0].neighbours
    place, beam = saved["ray_pos_bev"], saved["beam"]
    apart = np.abs(place[:, None] - place[None]).sum(axis=2)
    expected = np.argwhere(np.triu((apart == 40.0) & (beam[:, None] == beam[None])))
    np.testing.assert_array_equal(np.unique(np.sort(pairs, axis=1), axis=0), expected)


def test_a_turned_grid_lies_where_pyradplan_puts_it(saved) -> None:
    """ITK's directions are columns: pyRadPlan 0.5 gives cos, -sin in the first row for x turned towards y."""
    c, s = np.cos(0.3), np.sin(0.3)
    turned = np.array([[c, -s, 0.0], [s, c, 0.0], [0.0, 0.0, 1.0]])
    _, grid = load_pyradplan_dij(as_pyradplan(saved, direction=turned)[0])
    step = grid.centres_mm(np.array([1]))[0] - saved["origin"]
    assert step == pytest.approx(saved["resolution"][0] * np.array([c, s, 0.0]))


def test_another_object_and_another_stf_are_refused(saved) -> None:
    dij, stf = as_pyradplan(saved)
    with pytest.raises(InputError, match="dict is not what pyRadPlan's calc_dose_influence returns"):
        load_pyradplan_dij({"physicalDose": 1})
    with pytest.raises(InputError, match="has 9 rays, the matrix 24 columns"):
        load_pyradplan_dij(dij, SimpleNamespace(beams=stf.beams[:1]))
    with pytest.raises(InputError, match="no scenario 1; the physical dose holds 1"):
        load_pyradplan_dij(dij, scenario=1)


@pytest.mark.parametrize("indices", [[0, 1], [60, 61], [1.5], [2, 2]], ids=["from 0", "beyond", "halves", "twice"])
def test_indices_that_are_not_matrads_are_refused(indices) -> None:
    with pytest.raises(InputError, match="whole numbers from 1 to 60"):
        matrad_positions(indices, Grid((-4.0, 10.0, 7.0), (2.0, 3.0, 5.0), (4, 3, 5)))


def write_hdf5(path: Path) -> None:
    """The file of version 5 as MATLAB's version 7.3 lays it out: dimensions reversed, cells and arrays by reference."""
    h5py = pytest.importorskip("h5py", reason="h5py (the extra matlab) is not installed")
    dij, stf = matrad_dij(), matrad_stf()[0]

    def references(nodes: list[Any]) -> np.ndarray:
        return np.array([[node.ref] for node in nodes], dtype=h5py.ref_dtype)

    def referred(values: list[Any]) -> np.ndarray:
        return references([kept.create_dataset(f"r{len(kept)}", data=value) for value in values])

    with h5py.File(path, "w", userblock_size=512) as file:
        kept = file.create_group("#refs#")
        grid = file.create_group("dij/doseGrid")
        for axis, spacing in dij["doseGrid"].pop("resolution").items():
            grid.create_dataset(f"resolution/{axis}", data=[[spacing]])
        for name, value in dij["doseGrid"].items():
            grid.create_dataset(name, data=np.atleast_2d(value).T)
        matrix, parts = dij["physicalDose"][0, 0], kept.create_group("dose")
        parts.attrs["MATLAB_sparse"] = np.uint64(matrix.shape[0])
        for name, values in (("data", matrix.data), ("ir", matrix.indices), ("jc", matrix.indptr)):
            parts.create_dataset(name, data=values)
        cell = file.create_dataset("dij/physicalDose", data=references([parts]))
        cell.attrs["MATLAB_class"] = np.bytes_("cell")
        file.create_dataset("stf/bixelWidth", data=referred([[[beam["bixelWidth"]]] for beam in stf]))
        rays = [kept.create_group(f"rays{k}") for k in range(len(stf))]
        for group, beam in zip(rays, stf, strict=True):
            group.create_dataset("rayPos_bev", data=referred([ray["rayPos_bev"].T for ray in beam["ray"][0]]))
        file.create_dataset("stf/ray", data=references(rays))


def test_version_7_3_reads_to_the_same_as_version_5(tmp_path) -> None:
    write_hdf5(tmp_path / "dij.mat")
    judge("matRad dij", load_matrad_dij(tmp_path / "dij.mat"))


def test_version_7_3_without_h5py_says_what_to_install(tmp_path, monkeypatch) -> None:
    monkeypatch.setitem(sys.modules, "h5py", None)
    (tmp_path / "dij.mat").write_bytes(b"MATLAB 7.3 MAT-file".ljust(512) + HDF5_SIGNATURE)
    with pytest.raises(ResourceError, match=r"version 7\.3.*dosecalc\[matlab\]"):
        load_matrad_dij(tmp_path / "dij.mat")


def test_a_damaged_file_of_version_7_3_is_refused(tmp_path) -> None:
    pytest.importorskip("h5py", reason="h5py (the extra matlab) is not installed")
    (tmp_path / "dij.mat").write_bytes(b"MATLAB 7.3 MAT-file".ljust(512) + HDF5_SIGNATURE + b"\0" * 400)
    with pytest.raises(InputError, match="cannot be read"):
        read_matlab(tmp_path / "dij.mat", ["dij"])


def test_a_file_that_is_not_there_is_named(tmp_path) -> None:
    with pytest.raises(InputError, match=r"nowhere\.mat: cannot be read: No such file"):
        load_matrad_dij(tmp_path / "nowhere.mat")

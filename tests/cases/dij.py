"""Matrices that matRad saved: what contradicts itself, and what odd but usable ones look like."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from scipy import sparse

from optimize.matrix import MatrixInfluence

from .matrad import COUNTS, matrad_dij, matrad_stf, save_matrad
from .model import Case, unchanged

KIND = "matRad dij"
Dij = dict[str, Any]


def with_(change: Callable[[Dij], object]) -> Callable[[Path], None]:
    def changed(folder: Path) -> None:
        dij = matrad_dij()
        change(dij)
        save_matrad(folder, dij, matrad_stf())

    return changed


def matrix(change: Callable[[np.ndarray], np.ndarray]) -> Callable[[Path], None]:
    def changed(dij: Dij) -> None:
        dij["physicalDose"][0, 0] = sparse.csc_matrix(change(dij["physicalDose"][0, 0].toarray()))

    return with_(changed)


def entry(value: float) -> Callable[[np.ndarray], np.ndarray]:
    def changed(dense: np.ndarray) -> np.ndarray:
        dense[13, 3] = value
        return dense

    return changed


def scenarios(count: int) -> Callable[[Path], None]:
    """So many scenarios after one that is empty; the first has half the dose of the second."""

    def changed(dij: Dij) -> None:
        cells = np.empty((1 + count, 1), object)
        cells[0, 0] = np.zeros((0, 0))
        cells[1, 0], cells[-1, 0] = 0.5 * dij["physicalDose"][0, 0], dij["physicalDose"][0, 0]
        dij["physicalDose"] = cells

    return with_(changed)


def coordinates(change: Callable[[Dij], object]) -> Callable[[Path], None]:
    return with_(lambda dij: change(dij["doseGrid"]))


def _without_coordinates(grid: Dij) -> None:
    for axis in "xyz":
        del grid[axis]


def _in_cube_coordinates(found: tuple[MatrixInfluence, Any]) -> None:
    assert found[1].origin_mm == (2.0, 3.0, 5.0)


def _one_voxel_more(found: tuple[MatrixInfluence, Any]) -> None:
    assert found[0].rows([9])[0] == pytest.approx([0, 0, 0, 0.25])  # row 13 in MATLAB order: x = 4, y = 1, z = 0


def _not_smooth(found: tuple[MatrixInfluence, Any]) -> None:
    assert found[0].neighbours.shape == (0, 2)


def _text(folder: Path) -> None:
    (folder / "dij.mat").write_text("voxel,beamlet,dose\n1,1,0.5\n", encoding="utf-8")


def _with_zero(matrix: sparse.csc_matrix) -> sparse.csc_matrix:
    stored = sparse.csc_matrix(matrix)
    stored.data[0] = 0.0
    return stored


def _stored_zero(found: tuple[MatrixInfluence, Any]) -> None:
    assert found[0].rows([0])[0] == pytest.approx([0.0, 1.0, 0.0, 0.0])


def _cut(folder: Path) -> None:
    file = folder / "dij.mat"
    file.write_bytes(file.read_bytes()[:-200])


CASES = [
    Case(
        "dimensions in another order",
        KIND,
        "dimensions as (x, y, z)",
        coordinates(lambda grid: grid.update(dimensions=np.array([[COUNTS[a] for a in "xyz"]], float))),
        r"doseGrid.x has 5 coordinates where the dimensions \(y, x, z\) say 3",
        "dimensions as (y, x, z)",
        unchanged,
    ),
    Case(
        "uneven slices",
        KIND,
        "one slice 2 mm off",
        coordinates(lambda grid: grid["z"].__setitem__((0, 2), grid["z"][0, 2] + 2.0)),
        "doseGrid.z is not evenly spaced by 5 mm",
        "no coordinates at all: matRad's cube coordinates",
        coordinates(_without_coordinates),
        numbers=_in_cube_coordinates,
    ),
    Case(
        "negative dose",
        KIND,
        "one entry of -0.25",
        matrix(entry(-0.25)),
        "0 entries of the dose-influence matrix are not finite and 1 are negative",
        "one entry more",
        matrix(entry(0.25)),
        numbers=_one_voxel_more,
    ),
    Case(
        "no number",
        KIND,
        "one entry NaN",
        matrix(entry(np.nan)),
        "1 entries of the dose-influence matrix are not finite",
        "a stored zero",
        with_(lambda dij: dij["physicalDose"].__setitem__((0, 0), _with_zero(dij["physicalDose"][0, 0]))),
        numbers=_stored_zero,
    ),
    Case(
        "another grid",
        KIND,
        "a row fewer than the dose grid has voxels",
        matrix(lambda dense: dense[:-1]),
        r"shape \(59, 4\), but the dose grid has 60 voxels",
        "in single precision",
        with_(lambda dij: dij["physicalDose"].__setitem__((0, 0), dij["physicalDose"][0, 0].astype(np.float32))),
    ),
    Case(
        "several scenarios",
        KIND,
        "two scenarios",
        scenarios(2),
        "the physical dose holds 2 scenarios, one is needed",
        "two scenarios and one asked for",
        scenarios(2),
        valid_options={"scenario": 1},
    ),
    Case(
        "another plan's rays",
        KIND,
        "steering information of three beams",
        lambda folder: save_matrad(folder, None, np.concatenate([matrad_stf(), matrad_stf()[:, :1]], axis=1)),
        "has 6 rays, the matrix 4 columns",
        "no steering information",
        lambda folder: save_matrad(folder),
        numbers=_not_smooth,
    ),
    Case(
        "no dose grid",
        KIND,
        "as before matRad 3.0",
        with_(lambda dij: dij.pop("doseGrid")),
        "lacks what matRad's dij holds: 'doseGrid'",
        "further variables",
        unchanged,
    ),
    Case(
        "no MATLAB file",
        KIND,
        "a table",
        _text,
        "is no MATLAB file of version 5 or later",
        "version 5",
        unchanged,
    ),
    Case(
        "cut short",
        KIND,
        "ends inside the steering information",
        _cut,
        "is cut short",
        "compressed, with further variables",
        lambda folder: save_matrad(folder, None, matrad_stf(), do_compression=True),
    ),
]

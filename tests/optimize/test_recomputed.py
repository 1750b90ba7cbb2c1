"""Differences between a dose grid and a finer one, against what linear interpolation leaves out of a parabola."""

from __future__ import annotations

import numpy as np
import pytest

from dosecalc.grid import Grid, Volume
from dosecalc.structures import Structure, StructureSet
from optimize.recomputed import differences, fine_parts

from .small_case import load_protocol, small_structures

GRID = Grid((-100.0, -76.0, -72.0), (4.0, 4.0, 4.0), (37, 38, 50))
CURVATURE_GY_PER_MM2 = 0.01


def parabola(points: np.ndarray) -> np.ndarray:
    return 1.0 + CURVATURE_GY_PER_MM2 * points[:, 0] ** 2 + 0.3 * (points[:, 1] + 80.0)


@pytest.fixture(scope="module")
def finer(tmp_path_factory):
    """On 2 mm: every second sample lies between two voxel centres of the dose grid or on one, by turns."""
    drawn = small_structures()
    gtv = drawn["GTV"]
    targets = [Structure(name, "PTV", gtv.geometry) for name in ("PTV", "PTV_opt")]
    protocol = load_protocol(tmp_path_factory.mktemp("protocol"))
    return fine_parts(StructureSet((*drawn, *targets)), protocol, GRID)


def compared(finer, dose_of):
    coarse = Volume(GRID, dose_of(GRID.centres_mm(np.arange(GRID.size))).reshape(GRID.shape))
    return {row.name: row for row in differences(coarse, finer, dose_of(finer.grid.centres_mm(finer.voxels)))}


def test_a_linear_dose_has_no_difference(finer):
    for row in compared(finer, lambda points: 100.0 + 0.2 * points.sum(axis=1)).values():
        assert abs(row.largest_gy) < 1e-9


def test_a_parabola_lies_below_its_chords(finer):
    """By s (h - s), s from a node: the 2 mm centres lie at s = 1 and 3 of h = 4 mm, 3 mm2 everywhere."""
    rows = compared(finer, parabola)
    assert set(rows) == {"GTV", "PTV", "PTV_opt", "Duodenum", "SpinalCord"}
    for row in rows.values():
        assert row.mean_gy == pytest.approx(-3.0 * CURVATURE_GY_PER_MM2, abs=1e-6)
        assert row.largest_gy == pytest.approx(-3.0 * CURVATURE_GY_PER_MM2, abs=1e-6)


def test_air_beside_the_body_is_not_taken_for_dose(finer):
    """The same difference in the cord where its last slices have no dose on the dose grid."""
    edge = small_structures()["SpinalCord"].on(GRID)
    top = GRID.centres_mm(edge.indices)[:, 2].max()

    def cut(points: np.ndarray) -> np.ndarray:
        return np.where(points[:, 2] < top - 1.0, 10.0, 0.0)

    values = cut(GRID.centres_mm(np.arange(GRID.size))).reshape(GRID.shape)
    inside = np.full(finer.voxels.size, 10.0)
    rows = {row.name: row for row in differences(Volume(GRID, values), finer, inside)}
    assert abs(rows["SpinalCord"].largest_gy) < 1e-9
    assert rows["SpinalCord"].voxels < finer.parts["SpinalCord"][0].size


def test_a_fine_dose_grid_has_nothing_to_be_compared_with(finer, tmp_path):
    drawn = small_structures()
    structures = StructureSet((*drawn, Structure("PTV", "PTV", drawn["Liver"].geometry)))
    assert fine_parts(structures, load_protocol(tmp_path), finer.grid) is None

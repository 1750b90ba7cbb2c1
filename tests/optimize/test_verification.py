"""Small-volume limits beside the target, judged again on a finer grid: a box in a dose that falls linearly."""

from __future__ import annotations

import numpy as np
import pytest

from dosecalc.beams import Beam, open_field
from dosecalc.grid import Grid, Volume
from dosecalc.heterogeneity import HETEROGENEITIES
from dosecalc.influence import dose_influence
from dosecalc.structures import Contours, Structure, StructureSet
from optimize import evaluate
from optimize.second_opinion import FinerDose
from optimize.verification import REACH_MM, fine_voxels, opinion_lines, second_opinion
from protocols.metrics import DoseAtVolume

from .small_case import load_protocol

# Voxel centres at x = 5.4 mm: the first voxel of the organ spans 2.9 to 7.9 mm.
GRID = Grid((-94.6, -74.0, -70.0), (5.0, 5.0, 5.0), (27, 30, 40))
ORGAN_FROM_MM, ORGAN_SIDE_MM, SURFACE_GY, SLOPE_GY_PER_MM = 3.0, 16.0, 27.0, 1.5


def box(name: str, role: str, low: tuple[float, float, float], high: tuple[float, float, float]) -> Structure:
    """Drawn in planes 1 mm apart."""
    planes = tuple(np.arange(low[2] + 0.5, high[2]).tolist())
    ring = np.array([(low[0], low[1]), (high[0], low[1]), (high[0], high[1]), (low[0], high[1])])
    return Structure(name, role, Contours(planes, (ring,) * len(planes)))


def dose_at(points: np.ndarray) -> np.ndarray:
    return np.maximum(SURFACE_GY - SLOPE_GY_PER_MM * (points[:, 0] - ORGAN_FROM_MM), 0.0)


@pytest.fixture(scope="module")
def protocol(tmp_path_factory):
    """Duodenum D0.035cc <= 25 Gy; verified on 2 mm or finer."""
    return load_protocol(tmp_path_factory.mktemp("protocol"), duodenum_gy=25.0)


@pytest.fixture(scope="module")
def structures():
    """The organ begins 1 mm beside the PTV, the cord far away."""
    ptv = [box(name, "PTV", (-18.0, -10.0, -10.0), (2.0, 10.0, 10.0)) for name in ("PTV", "PTV_opt")]
    near = (ORGAN_FROM_MM, -8.0, -8.0), (ORGAN_FROM_MM + ORGAN_SIDE_MM, 8.0, 8.0)
    return StructureSet(
        (
            *ptv,
            box("GTV", "GTV", (-12.0, -5.0, -5.0), (-2.0, 5.0, 5.0)),
            box("Duodenum", "ORGAN", *near),
            box("SpinalCord", "ORGAN", (50.0, -10.0, -10.0), (60.0, 10.0, 10.0)),
            box("Stomach", "ORGAN", (-60.0, -10.0, -10.0), (-50.0, 10.0, 10.0)),
            box("Liver-GTV", "ORGAN", (-60.0, -10.0, -10.0), (-20.0, 10.0, 10.0)),
        )
    )


@pytest.fixture(scope="module")
def dose():
    return Volume(GRID, dose_at(GRID.centres_mm(np.arange(GRID.size))).reshape(GRID.shape))


@pytest.fixture(scope="module")
def judged(dose, structures, protocol):
    return evaluate(dose, structures, protocol)


def test_the_finer_grid_is_nearer_to_the_true_dose(structures, protocol, judged, dose):
    """D(V) of a box with its hot face towards the target lies V / area below the surface."""
    fine = fine_voxels(structures, protocol, GRID)
    (again,) = second_opinion(judged.goals, protocol, fine, dose_at(fine.grid.centres_mm(fine.voxels)), dose)
    on_dose_grid = next(g for g in judged.goals if g.id == "duodenum_max")
    true = SURFACE_GY - SLOPE_GY_PER_MM * 35.0 / ORGAN_SIDE_MM**2
    assert again.id == "duodenum_max"
    assert abs(again.value - true) < SLOPE_GY_PER_MM * 0.5 * fine.grid.spacing_mm[0]
    assert abs(on_dose_grid.value - true) > 2 * abs(again.value - true)
    assert on_dose_grid.met
    assert not again.met
    (told,) = opinion_lines(judged.goals, (again,))
    assert f"{again.value:.1f} Gy" in told
    assert f"{on_dose_grid.value:.1f} on the dose grid" in told


def test_the_grid_resolves_the_smallest_volume_and_stays_near_the_target(structures, protocol):
    fine = fine_voxels(structures, protocol, GRID)
    assert 35.0 / np.prod(fine.grid.spacing_mm) == pytest.approx(30.0)
    assert set(fine.parts) == {"Duodenum"}
    assert fine.grid.centres_mm(fine.voxels)[:, 0].max() <= 2.0 + REACH_MM + fine.grid.spacing_mm[0]
    positions, cc = fine.parts["Duodenum"]
    assert positions.max() < fine.voxels.size
    # within 15 mm of the PTV, which ends at 2 mm: the organ's first 14 mm, a voxel more or less
    assert 1000.0 * cc.sum() / ORGAN_SIDE_MM**2 == pytest.approx(14.0, abs=0.3)
    assert cc.sum() + fine.beyond["Duodenum"][1].sum() == pytest.approx(ORGAN_SIDE_MM**3 / 1000.0, rel=0.01)


def test_a_volume_larger_than_what_lies_near_is_filled_from_further_out(structures, protocol, judged, dose):
    """3.6 of the organ's 4.1 cc are near: D4cc is not their maximum."""
    largest = [
        g.model_copy(update={"metric": DoseAtVolume(4.0, "cc")}) for g in protocol.goals if g.id == "duodenum_max"
    ]
    fine = fine_voxels(structures, protocol, GRID)
    near_gy = dose_at(fine.grid.centres_mm(fine.voxels))
    with_it = protocol.model_copy(update={"goals": (*largest, *protocol.goals[1:])})
    (again,) = second_opinion(judged.goals, with_it, fine, near_gy, dose)
    true = SURFACE_GY - SLOPE_GY_PER_MM * 4000.0 / ORGAN_SIDE_MM**2
    assert again.value == pytest.approx(true, abs=SLOPE_GY_PER_MM * GRID.spacing_mm[0] / 2)
    assert near_gy.max() > 25.0


def test_a_dose_grid_as_fine_needs_no_second_opinion(structures, protocol):
    finest = min(g.metric.volume for g in protocol.goals if isinstance(g.metric, DoseAtVolume))
    side = (1000.0 * finest / 30) ** (1 / 3)
    assert fine_voxels(structures, protocol, GRID.resampled(side)) is None


def test_what_is_not_assessed_is_not_judged_again(structures, protocol):
    assert fine_voxels(structures, protocol, GRID, skip=frozenset({"Duodenum"})) is None


@pytest.mark.parametrize("heterogeneity", HETEROGENEITIES)
def test_the_finer_dose_is_that_of_the_same_model(machine, marker_phantom, heterogeneity):
    """On the plan's own voxels it is the plan's reference dose, whichever way density was taken into account."""
    grid, voxels = marker_phantom.grid, np.arange(0, marker_phantom.grid.size, 97)
    field = open_field(Beam(250.0, 10.0), x_mm=(-10, 20), y_mm=(-20, 10), width_mm=5)
    influence = dose_influence(marker_phantom, grid, field, machine, voxels=voxels, heterogeneity=heterogeneity)
    x = np.linspace(1.0, 2.0, field.count)
    finer = FinerDose(marker_phantom, influence, x)
    assert np.array_equal(finer.on(grid, voxels), influence.at_reference().dose(x))

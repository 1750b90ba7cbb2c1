"""Doses between voxel centres: the policy, what it keeps, and what it costs."""

from __future__ import annotations

import time

import numpy as np
import pytest

from dosecalc.grid import Grid, Volume
from dosecalc.structures import Contours, Occupancy, Structure
from optimize.metrics import dose_at_volume, mean_dose
from optimize.sampling import SAMPLES, parts_per_voxel, samples_of

GRID = Grid((-31.0, -22.0, 11.0), (2.0, 2.5, 3.0), (14, 18, 30))


def block(low: tuple[float, float, float], high: tuple[float, float, float]) -> Structure:
    """A box, contoured on one slab."""
    ring = np.array([[low[0], low[1]], [high[0], low[1]], [high[0], high[1]], [low[0], high[1]]])
    middle, thickness = (low[2] + high[2]) / 2, high[2] - low[2]
    return Structure("block", "ORGAN", Contours((middle,), (ring,), slab_mm=thickness))


def linear(grid: Grid, slope: tuple[float, float, float]) -> Volume:
    values = 40.0 + grid.centres_mm() @ np.array(slope)
    return Volume(grid, values.reshape(grid.shape))


@pytest.mark.parametrize("volume_cc", [0.01, 0.03, 0.5, 5.0, 50.0, 300.0])
def test_boxes_are_as_small_as_the_number_of_samples_allows(volume_cc: float) -> None:
    spacing = (2.0, 2.5, 3.0)
    parts = parts_per_voxel(volume_cc, spacing)
    box = np.prod([side / n for side, n in zip(spacing, parts, strict=True)]) / 1000.0
    assert volume_cc / box <= SAMPLES
    # One part more along every side would have been one too many.
    finer = np.prod([side / (n + 1) for side, n in zip(spacing, parts, strict=True)]) / 1000.0
    assert volume_cc / finer > SAMPLES


def test_structures_of_25_000_voxels_keep_whole_voxels() -> None:
    assert parts_per_voxel(400.0, (2.5, 2.5, 2.5)) == (1, 1, 1)
    assert parts_per_voxel(380.0, (2.5, 2.5, 2.5)) == (2, 2, 2)
    grid = Grid((0.0, 0.0, 0.0), (2.5, 2.5, 2.5), (30, 40, 50))
    rng = np.random.default_rng(5)
    fraction = rng.uniform(0, 1, grid.shape).astype(np.float32)
    dose = Volume(grid, rng.uniform(0, 60, grid.shape).astype(np.float32))
    kept = samples_of(dose, Structure("large", "ORGAN", Occupancy(grid, fraction)))
    assert kept.parts == (1, 1, 1)
    np.testing.assert_array_equal(kept.dose_gy, dose.values.ravel().astype(np.float64))
    np.testing.assert_allclose(kept.cc, fraction.ravel() * grid.voxel_cc, rtol=1e-6)


def test_a_linear_dose_is_exact_in_boxes_whose_borders_are_those_of_the_structure() -> None:
    """A block of 6 x 5 x 6 mm on voxel borders in a slope along all axes: mean exact, extremes half a box short."""
    cut = block((-8.0, -0.75, 18.5), (-2.0, 4.25, 24.5))
    slope = (1.5, -0.7, 0.4)
    samples = samples_of(linear(GRID, slope), cut)
    assert samples.cc.sum() == pytest.approx(0.18, rel=1e-9)
    centre = 40.0 + np.dot(slope, (-5.0, 1.75, 21.5))
    assert mean_dose(samples.dose_gy, samples.cc) == pytest.approx(centre, abs=1e-9)
    box = np.array(GRID.spacing_mm) / samples.parts
    reach = np.abs(slope) @ (np.array((6.0, 5.0, 6.0)) - box) / 2
    assert samples.dose_gy.max() == pytest.approx(centre + reach, abs=1e-9)
    assert samples.dose_gy.min() == pytest.approx(centre - reach, abs=1e-9)


def test_each_axis_has_its_own_dose() -> None:
    """The mean over a small block anywhere is the dose at its centre, on an anisotropic grid."""
    centre = (4.9, -11.2, 33.3)
    low, high = (tuple(c + s * h for c, h in zip(centre, (0.9, 1.3, 0.7), strict=True)) for s in (-1, 1))
    for axis in range(3):
        slope = tuple(float(axis == k) for k in range(3))
        samples = samples_of(linear(GRID, slope), block(low, high))
        # Boxes that the block fills in part count with their own centres.
        assert mean_dose(samples.dose_gy, samples.cc) == pytest.approx(40.0 + centre[axis], abs=0.03)


def test_beyond_the_outermost_centres_the_dose_is_that_of_the_nearest() -> None:
    edge = Structure("edge", "ORGAN", Occupancy(GRID, np.eye(1, GRID.size, dtype=np.float32).reshape(GRID.shape)))
    samples = samples_of(linear(GRID, (1.0, 1.0, 1.0)), edge)
    first = 40.0 - 31.0 - 22.0 + 11.0
    assert samples.dose_gy.min() == pytest.approx(first)
    assert samples.dose_gy.max() == pytest.approx(first + (2.0 + 2.5 + 3.0) / 2, abs=0.2)


def test_a_structure_beside_the_dose_has_no_samples() -> None:
    samples = samples_of(linear(GRID, (0.0, 0.0, 0.0)), block((300.0, 0.0, 20.0), (310.0, 10.0, 25.0)))
    assert samples.dose_gy.size == samples.cc.size == 0


def test_a_turned_grid_gives_the_same() -> None:
    """Occupancies may lie on other axes than x, y, z: the dose grid then has the same ones."""
    fraction = np.zeros((6, 7, 8), np.float32)
    fraction[2:4, 3:5, 2:6] = 0.5
    found = []
    for direction in (((1, 0, 0), (0, 1, 0), (0, 0, 1)), ((0, 1, 0), (-1, 0, 0), (0, 0, 1))):
        grid = Grid((1.0, 2.0, 3.0), (2.0, 2.5, 3.0), fraction.shape, direction)
        steps = (grid.centres_mm() - grid.origin_mm) @ grid.axes.T
        dose = Volume(grid, (steps @ np.array([1.0, 2.0, 3.0])).reshape(grid.shape))
        samples = samples_of(dose, Structure("a", "ORGAN", Occupancy(grid, fraction)))
        found.append((mean_dose(samples.dose_gy, samples.cc), dose_at_volume(samples.dose_gy, samples.cc, 0.05)))
    assert found[0] == pytest.approx(found[1], rel=1e-12)


def test_a_structure_that_is_cut_takes_less_than_half_a_second() -> None:
    grid = Grid((-60.0, -60.0, -60.0), (2.5, 2.5, 2.5), (49, 49, 49))
    x, y, z = grid.centres_mm().T
    ball = (x**2 + y**2 + z**2 <= 28.0**2).astype(np.float32).reshape(grid.shape)
    organ, dose = Structure("a", "ORGAN", Occupancy(grid, ball)), linear(grid, (0.1, 0.1, 0.1))
    start = time.perf_counter()
    samples = samples_of(dose, organ)
    assert time.perf_counter() - start < 0.5
    assert samples.parts != (1, 1, 1) and samples.cc.size < 2 * SAMPLES

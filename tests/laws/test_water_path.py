"""Water-equivalent path and upstream average density against closed forms: boxes, balls, slabs, gaps, bone."""

from __future__ import annotations

import numpy as np
import pytest

from dosecalc.backend import select_backend
from dosecalc.beams import Beam
from dosecalc.grid import Grid, Volume
from dosecalc.heterogeneity import RANGE_MM
from dosecalc.raytrace import AIR_DENSITY, radiological_depth, trace

from ..backends import ALL, backend_named

SAD = 1000.0
SLABS = ((50.0, 1.0), (30.0, 0.26), (20.0, 1.6), (50.0, 0.001), (40.0, 1.04))
"""Thickness in mm and density: water, lung, bone, a gap of air, muscle."""


@pytest.fixture(params=ALL)
def backend(request):
    return backend_named(request.param, request)


def box(density=1.7, spacing=(3.0, 4.0, 5.0)) -> Volume:
    """A box of 60 x 64 x 70 mm in air, symmetric in no axis."""
    grid = Grid((-58.5, -62.0, -57.5), spacing, (28, 33, 41))
    values = np.zeros(grid.shape, np.float32)
    values[6:20, 8:24, 10:30] = density
    return Volume(grid, values)


BOX_LOW, BOX_HIGH = np.array([-30.0, -32.0, -30.0]), np.array([30.0, 32.0, 40.0])


def chord_in_box(source, points) -> np.ndarray:
    """Length inside the box between the source and each point."""
    ray = points - source
    with np.errstate(divide="ignore"):
        sides = np.stack([(BOX_LOW - source) / ray, (BOX_HIGH - source) / ray])
    enter = np.clip(sides.min(axis=0).max(axis=1), 0, 1)
    leave = np.clip(sides.max(axis=0).min(axis=1), 0, 1)
    return np.maximum(leave - enter, 0.0) * np.linalg.norm(ray, axis=1)


@pytest.mark.parametrize("beam", [Beam(0), Beam(90), Beam(37, 20), Beam(211, -35)], ids=lambda b: f"{b.gantry_deg:g}")
def test_a_box_in_air(backend, beam):
    """In front of the box, in it, behind it and beside it, straight and oblique."""
    phantom = box()
    points = phantom.grid.centres_mm()[::7] + 0.3
    depth = radiological_depth(phantom, beam.source_mm(SAD), points, backend=backend)
    assert np.abs(depth - 1.7 * chord_in_box(beam.source_mm(SAD), points)).max() < 1e-4


def test_a_source_inside_the_scan(backend):
    """A ray starts at its source: nothing behind that counts, and a point at the source is at no depth."""
    source = np.array([3.0, -5.0, 7.0])
    points = np.array([[3.0, -5.0, 7.0], [3.0, 20.0, 7.0], [25.0, -30.0, 33.0], [3.0, 100.0, 7.0]])
    depth = radiological_depth(box(), source, points, backend=backend)
    assert depth == pytest.approx(1.7 * chord_in_box(source, points + 1e-12), abs=1e-4)


def test_a_ball(backend):
    """A ball of 1 mm voxels, its centre off the lattice: 0.1 mm on average, a voxel's diagonal at its rim."""
    grid = Grid((-45.0, -45.0, -45.0), (1.0, 1.0, 1.0), (91, 91, 91))
    centre, radius = np.array([1.3, -2.2, 0.6]), 40.0
    inside = ((grid.centres_mm() - centre) ** 2).sum(axis=1) < radius**2
    phantom = Volume(grid, inside.reshape(grid.shape).astype(np.float32))
    source = Beam(33, 15).source_mm(SAD)
    points = grid.centres_mm()[::1501]
    ray = points - source
    length = np.linalg.norm(ray, axis=1)
    along = ((centre - source) * ray).sum(axis=1) / length
    across2 = ((centre - source) ** 2).sum() - along**2
    half = np.sqrt(np.maximum(radius**2 - across2, 0.0))
    chord = np.clip(length, along - half, along + half) - (along - half)
    error = radiological_depth(phantom, source, points, backend=backend) - chord
    rim = np.abs(np.sqrt(across2) - radius) < 1.0
    assert abs(error.mean()) < 0.1
    assert np.abs(error[~rim]).max() < np.sqrt(3) * 2
    assert np.sqrt(np.mean(error[~rim] ** 2)) < 0.5


def slabs(step_mm=2.0, first_mm=0.0) -> Volume:
    """The slabs along y below `first_mm` of scanned air, 400 mm wide and long."""
    layers = [np.full(round(t / step_mm), r) for t, r in ((first_mm, 0.001), *SLABS)]
    column = np.concatenate(layers).astype(np.float32)
    grid = Grid((-190.0, -first_mm + step_mm / 2, -190.0), (20.0, step_mm, 20.0), (20, column.size, 20))
    return Volume(grid, np.broadcast_to(column[None, :, None], grid.shape).copy())


def expected_at(depths_mm, range_mm) -> tuple[np.ndarray, np.ndarray]:
    """Radiological depth and average at geometric depths in the slabs, by quadrature of the definition."""
    step = 0.001
    y = (np.arange(round(sum(t for t, _ in SLABS) / step)) + 0.5) * step
    density = np.repeat([r for _, r in SLABS], [round(t / step) for t, _ in SLABS])
    path = np.cumsum(density) * step
    depth = np.interp(depths_mm, y + step / 2, path)
    share = density * step * (density >= AIR_DENSITY)
    averages = []
    for geometric, d in zip(depths_mm, depth, strict=True):
        weight = share * np.exp(-(d - path) / range_mm) * (y < geometric)
        averages.append((weight * density).sum() / weight.sum())
    return depth, np.array(averages)


INSIDE_MM = np.array([0.5, 3.0, 49.0, 51.0, 65.0, 79.0, 81.0, 99.0, 105.0, 140.0, 152.0, 180.0, 189.5])
"""Build-up, both sides of each face, in the gap, the last centimetre before the exit."""


@pytest.mark.parametrize("first_mm", [0.0, 300.0])
def test_slabs_on_the_axis(backend, first_mm):
    """Bone, lung and a gap. Scanned air in front adds its own 0.3 mm and does not make the skin lung."""
    points = np.stack([np.zeros(13), INSIDE_MM, np.zeros(13)], axis=1)
    depth, average = trace(slabs(first_mm=first_mm), (0.0, -900.0, 0.0), points, RANGE_MM, backend=backend)
    for q, range_mm in enumerate(RANGE_MM):
        expected, upstream = expected_at(INSIDE_MM, range_mm)
        assert np.abs(depth - expected - 0.001 * first_mm).max() < 2e-3
        assert np.abs(average[:, q] - upstream).max() < 3e-3


def test_a_gap_of_air_leaves_tissue_behind_it_tissue(backend):
    """Behind 50 mm of air the average by length would be near 0; by radiological depth it is that of the bone."""
    points = np.array([[0.0, 99.999, 0.0], [0.0, 149.999, 0.0]])
    _, average = trace(slabs(), (0.0, -900.0, 0.0), points, RANGE_MM, backend=backend)
    assert average[1] == pytest.approx(average[0], abs=1e-3)
    assert average[1, 0] > 1.5


def test_oblique_entry(backend):
    """At 45 degrees every path is longer by the secant, and the average is that of the longer path."""
    depths = np.array([5.0, 49.0])
    source = np.array([-900.0, -900.0, 0.0])
    points = np.stack([depths, depths, np.zeros(2)], axis=1)
    depth, average = trace(slabs(), source, points, RANGE_MM, backend=backend)
    assert depth == pytest.approx(np.sqrt(2) * depths, abs=1e-4)
    assert average == pytest.approx(np.ones((2, 2)), abs=1e-6)


def test_behind_the_exit_nothing_is_added(backend):
    """Air behind the body: depth and averages stay those of the exit."""
    points = np.array([[0.0, 189.999, 0.0], [0.0, 260.0, 0.0]])
    depth, average = trace(slabs(), (0.0, -900.0, 0.0), points, RANGE_MM, backend=backend)
    assert depth[1] == pytest.approx(depth[0], abs=2e-3)
    assert average[1] == pytest.approx(average[0], abs=1e-5)


def test_the_average_does_not_depend_on_the_cells(backend):
    """Cells of 2 mm and of 0.5 mm: a recursion that left out a cell or faded it twice would differ."""
    points = np.array([[12.0, 150.3, -31.0], [5.0, 77.2, 8.0]])
    made = [trace(slabs(step), (0.0, -900.0, 0.0), points, RANGE_MM, backend=backend) for step in (2.0, 0.5)]
    assert made[0][0] == pytest.approx(made[1][0], abs=1e-4)
    assert made[0][1] == pytest.approx(made[1][1], rel=1e-6)


def test_before_any_medium_the_average_is_water(backend):
    points = np.array([[0.0, -100.0, 0.0], [0.0, -20.0, 0.0]])
    depth, average = trace(slabs(first_mm=50.0), (0.0, -900.0, 0.0), points, RANGE_MM, backend=backend)
    assert depth == pytest.approx([0.0, 0.03], abs=1e-6)
    assert np.array_equal(average, np.ones((2, 2)))


def test_an_axis_parallel_ray_beside_the_scan_meets_nothing(backend):
    """Parallel to a face of the grid and outside it: no corner of the interval test may let it in."""
    x, y, z = 500.0, 100.0, 0.0
    targets = np.array([[x, y, z], [0.0, y, 500.0], [0.0, y, z]])
    for target, hit in zip(targets, (False, False, True), strict=True):
        depth = radiological_depth(slabs(), target - [0.0, 1000.0, 0.0], target[None], backend=backend)
        assert (depth[0] > 0) == hit


def test_backends_agree_on_the_averages(backend, marker_phantom):
    points = marker_phantom.grid.centres_mm()[::3]
    args = (marker_phantom, Beam(250, 12).source_mm(SAD), points, RANGE_MM)
    depth, average = trace(*args, backend=select_backend("numpy"))
    again, averages = trace(*args, backend=backend)
    print(f"largest differences: {np.abs(again - depth).max():.1e} mm, {np.abs(averages - average).max():.1e}")
    assert np.abs(again - depth).max() < 1e-9
    assert np.abs(averages - average).max() < 1e-12 * 4.0

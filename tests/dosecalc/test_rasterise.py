"""Contours and occupancies against analytic volumes and against shapely's clipping."""

from __future__ import annotations

import time

import numpy as np
import pytest
import shapely

from dosecalc.errors import InputError
from dosecalc.grid import Grid
from dosecalc.slabs import enclosed, even_odd
from dosecalc.structures import Contours, Occupancy, Structure

GRID = Grid((-80.0, -90.0, -70.0), (2.5, 2.4, 3.1), (50, 80, 70))


def ring(radius_mm, centre_mm=(0.0, 0.0), points=240):
    """A regular polygon with the area of the circle."""
    angle = np.linspace(0, 2 * np.pi, points, endpoint=False)
    step = 2 * np.pi / points
    radius = radius_mm * np.sqrt(step / np.sin(step))
    return np.column_stack([np.cos(angle), np.sin(angle)]) * radius + centre_mm


def box(x, y):
    return np.array([[x[0], y[0]], [x[1], y[0]], [x[1], y[1]], [x[0], y[1]]], dtype=float)


def structure(z_mm, polygons, **kwargs):
    return Structure("test", "ORGAN", Contours(tuple(z_mm), tuple(polygons), **kwargs))


@pytest.mark.parametrize("radius_mm", [4.0, 15.0, 50.0])
def test_sphere_has_its_analytic_volume(radius_mm):
    planes = np.arange(-radius_mm + 0.5, radius_mm, 1.0)
    sphere = structure(planes, [ring(np.sqrt(radius_mm**2 - z**2), (3.3, -7.1)) for z in planes])
    exact_cc = 4 / 3 * np.pi * radius_mm**3 / 1000
    voxels = sphere.on(GRID)
    assert voxels.volume_cc == pytest.approx(exact_cc, rel=0.01, abs=0.03)
    assert sphere.volume_cc == pytest.approx(voxels.volume_cc, rel=1e-9)
    centre = (GRID.centres_mm(voxels.indices) * voxels.cc[:, None]).sum(axis=0) / voxels.volume_cc
    np.testing.assert_allclose(centre, [3.3, -7.1, 0.0], atol=0.02)


def test_box_gives_each_voxel_its_exact_share():
    grid = Grid((0.0, 0.0, 0.0), (2.0, 4.0, 3.0), (3, 4, 5))  # faces at x = -1, 1, 3.. y = -2, 2, 6.. z = -1.5, 1.5..
    # x covers half of column 1 and all of column 2; y a quarter of row 1; z: one slab from -0.5 to 2.5
    cut = structure([1.0], [box((2.0, 5.0), (2.0, 3.0))], slab_mm=3.0)
    expected = np.zeros(grid.shape)
    for k, length in ((0, 2.0), (1, 1.0)):
        expected[k, 1, 1], expected[k, 1, 2] = 1.0 * 1.0 * length, 2.0 * 1.0 * length
    got = np.zeros(grid.size)
    voxels = cut.on(grid)
    got[voxels.indices] = voxels.cc * 1000
    np.testing.assert_allclose(got.reshape(grid.shape), expected, atol=1e-12)
    assert len(voxels.indices) == 4


@pytest.mark.parametrize("seed", range(8))
def test_pixel_shares_equal_polygon_clipping(seed):
    rng = np.random.default_rng(seed)
    angle = np.sort(rng.uniform(0, 2 * np.pi, 30))
    star = np.column_stack([np.cos(angle), np.sin(angle)]) * rng.uniform(4, 50, (30, 1)) + rng.uniform(-9, 9, 2)
    star = np.round(star * 2) / 2 if seed % 2 else star  # vertices and edges on pixel borders
    if not shapely.is_valid(shapely.polygons(star)):
        pytest.skip("the random star crosses itself")
    grid = Grid((-30.0, -25.0, 0.0), (2.5, 3.5, 2.0), (1, 21, 17))
    voxels = structure([0.0], [star], slab_mm=2.0).on(grid)
    x, y = -31.25 + 2.5 * np.arange(18), -26.75 + 3.5 * np.arange(22)
    pixels = shapely.box(x[None, :-1], y[:-1, None], x[None, 1:], y[1:, None])
    expected = shapely.area(shapely.intersection(pixels, shapely.polygons(star)))
    got = np.zeros(grid.size)
    got[voxels.indices] = voxels.cc * 1000 / 2.0
    np.testing.assert_allclose(got.reshape(21, 17), expected, atol=1e-9)


@pytest.mark.parametrize("reverse", [False, True])
def test_hole_and_island_in_the_hole(reverse):
    rings = [box((-20, 20), (-30, 30)), box((-10, 10), (-10, 10)), box((-5, 5), (-4, 4))]
    rings = [r[::-1] if reverse and i == 1 else r for i, r in enumerate(rings)]
    nested = structure([0.0, 0.0, 0.0], rings, slab_mm=3.0)
    exact_cc = (40 * 60 - 20 * 20 + 10 * 8) * 3 / 1000
    assert nested.volume_cc == pytest.approx(exact_cc, rel=1e-12)
    assert nested.on(GRID).volume_cc == pytest.approx(exact_cc, rel=1e-9)


def test_keyhole_is_a_hole():
    outer, inner = box((-20, 20), (-30, 30)), box((-10, 10), (-10, 10))
    keyhole = np.vstack([outer, outer[:1], inner[:1], inner[::-1][:3], inner[:1], outer[:1]])
    slit = structure([0.0], [keyhole], slab_mm=2.0)
    assert slit.on(GRID).volume_cc == pytest.approx((2400 - 400) * 2 / 1000, rel=1e-9)


def test_mixed_spacing_fills_every_gap():
    planes = [-9.0, -6.0, -3.0, 0.0, 6.0, 12.0]
    mixed = structure(planes, [box((-5, 5), (-5, 5))] * 6)
    # end slabs are symmetric: from -9 - 1.5 to 12 + 3
    assert mixed.volume_cc == pytest.approx(100 * (15 + 10.5) / 1000)
    z = GRID.centres_mm(mixed.on(GRID).indices)[:, 2]
    assert set(np.unique(np.round(np.diff(np.unique(z)), 6))) == {3.1}


@pytest.mark.parametrize("seed", range(4))
def test_planes_that_scatter_lose_nothing(seed):
    """Two cylinders side by side, one with a bore: four contours on each of 20 slices, all at heights of their own."""
    rng = np.random.default_rng(seed)
    rings = [ring(12.0, (-30, 0)), ring(5.0, (-30, 0)), ring(9.0, (20, 5)), box((-5, 5), (20, 30))]
    drawn = [(3.0 * k + rng.uniform(-0.02, 0.02), polygon) for k in range(20) for polygon in rings]
    scattered = structure(*zip(*(drawn[k] for k in rng.permutation(len(drawn))), strict=True))
    exact_cc = (np.pi * (12.0**2 - 5.0**2 + 9.0**2) + 100.0) * 60.0 / 1000
    assert scattered.volume_cc == pytest.approx(exact_cc, rel=1e-3)
    assert "mm apart in z are taken as one plane" in scattered.notices[0]


def test_thin_slices_beside_thick_ones_are_planes_of_their_own():
    planes = [0.0, 1.0, 2.0, 3.0, 8.0, 13.0, 18.0, 23.0]
    mixed = structure(planes, [box((-5, 5), (-5, 5))] * 8)
    assert mixed.volume_cc == pytest.approx(100 * (23 + 0.5 + 2.5) / 1000)
    assert mixed.notices == ()


def test_parts_on_two_planes_each_are_not_crowded():
    planes = [0.0, 1.0, 30.0, 31.0, 60.0, 61.0]
    parts = structure(planes, [box((x, x + 5), (0, 5)) for x in (0, 0.5, 20, 20.5, 40, 40.5)])
    assert parts.volume_cc == pytest.approx(25 * 6 / 1000)


def test_planes_that_may_be_one_are_refused():
    beside = [box((x, x + 9), (0, 9)) for _ in range(4) for x in (0, 20)]
    with pytest.raises(InputError, match=r"z = 0 and 0.5 mm are 0.5 mm apart and show different parts"):
        structure([3.0 * k + 0.5 * side for k in range(4) for side in (0, 1)], beside)


def test_even_odd_keeps_one_of_rings_drawn_again_and_every_wall():
    outer, wall, hole = box((0, 40), (0, 40)), box((1, 39), (1, 39)), box((10, 20), (10, 20))
    again = box((0.05, 39.95), (0.05, 39.95))
    for drawn, area in (
        ([outer, outer], 1600.0),
        ([outer, again, outer[::-1]], 1600.0),
        ([outer, again, hole, hole], 1600.0 - 100.0),
        ([outer, wall], 1600.0 - 38.0**2),
    ):
        z, rings = even_odd([5.0] * len(drawn), drawn)
        assert structure(z, rings, slab_mm=1.0).volume_cc * 1000 == pytest.approx(area)
        z, rings = enclosed([5.0] * len(drawn), drawn)
        assert structure(z, rings, slab_mm=1.0).volume_cc * 1000 == pytest.approx(1600.0)
    with pytest.raises(InputError, match="two contours are the same"):
        structure([5.0, 5.0], [outer, again], slab_mm=1.0)


def test_missing_plane_is_bridged_aloud():
    gap = structure([0.0, 3.0, 6.0, 12.0, 15.0], [box((-5, 5), (-5, 5))] * 5)
    assert "between z = 6 and 12 mm; bridged" in gap.notices[0]
    assert gap.volume_cc == pytest.approx(100 * 18 / 1000)


def test_separate_parts_are_not_bridged():
    parts = structure([0.0, 3.0, 6.0, 36.0, 39.0], [box((-5, 5), (-5, 5))] * 5)
    assert "between z = 6 and 36 mm; left empty" in parts.notices[0]
    assert parts.volume_cc == pytest.approx(100 * (9 + 6) / 1000)


def test_single_plane_needs_a_thickness():
    with pytest.raises(InputError, match=r"one plane only \(z = 4 mm\)"):
        structure([4.0], [ring(9.0)])


@pytest.mark.parametrize(
    ("polygons", "message"),
    [
        ([np.array([[0, 0], [10, 10], [10, 0], [0, 10]])], r"plane z = 2 mm.*crosses itself"),
        ([np.array([[0, 0], [10, 10]])], r"plane z = 2 mm.*2 points, at least 3"),
        ([np.array([[0, 0], [5, 5], [10, 10]])], "encloses no area"),
        ([np.array([[0, 0], [np.nan, 5], [10, 10]])], "not finite"),
        ([box((0, 10), (0, 10)), box((0, 10), (0, 10))], "two contours are the same"),
        ([box((0, 10), (0, 10)), box((5, 15), (0, 10))], r"overlap in part \(50.0 %"),
        ([], "has no contours"),
    ],
)
def test_contours_without_a_defined_inside_are_refused(polygons, message):
    with pytest.raises(InputError, match="structure 'test'.*" + message):
        structure([2.0] * len(polygons), polygons, slab_mm=3.0)


def test_contours_on_a_turned_grid_are_refused():
    turned = Grid((0, 0, 0), (2, 2, 2), (4, 4, 4), ((0, 1, 0), (-1, 0, 0), (0, 0, 1)))
    with pytest.raises(InputError, match="axial planes"):
        structure([0.0], [ring(3.0)], slab_mm=2.0).on(turned)


def test_occupancy_is_unchanged_on_its_own_grid():
    fraction = np.random.default_rng(0).uniform(0, 1, (4, 5, 6)).astype(np.float32)
    grid = Grid((1, 2, 3), (2.0, 3.0, 4.0), (4, 5, 6))
    voxels = Structure("a", "GTV", Occupancy(grid, fraction)).on(grid)
    np.testing.assert_array_equal(voxels.indices, np.arange(120))
    np.testing.assert_allclose(voxels.cc, fraction.ravel() * 0.024, rtol=1e-6)


def test_occupancy_keeps_volume_and_centre_on_another_grid():
    fraction = np.zeros((9, 10, 11), np.float32)
    fraction[2:7, 3:6, 4:5] = np.random.default_rng(1).uniform(0.1, 1, (5, 3, 1))
    grid = Grid((1.0, 2.0, 3.0), (2.0, 3.0, 4.0), fraction.shape)
    other = Grid((-5.3, -4.1, -6.7), (1.7, 2.3, 3.1), (20, 22, 24))
    source = Structure("a", "GTV", Occupancy(grid, fraction))
    one, two = source.on(grid), source.on(other)
    assert two.volume_cc == pytest.approx(one.volume_cc, rel=1e-9)
    assert two.cc.max() <= other.voxel_cc
    centres = [(v.grid.centres_mm(v.indices) * v.cc[:, None]).sum(axis=0) / v.volume_cc for v in (one, two)]
    # overlap hands out volume evenly, so the centroid moves by less than half a new voxel
    np.testing.assert_allclose(centres[0], centres[1], atol=1.0)


def test_half_covered_voxel_of_another_grid():
    source = Structure("a", "GTV", Occupancy(Grid((0, 0, 0), (2, 2, 2), (1, 1, 1)), np.ones((1, 1, 1), np.float32)))
    voxels = source.on(Grid((-0.5, 0, 0), (1, 2, 4), (1, 1, 2)))  # x from -1 to 0 and 0 to 1
    np.testing.assert_allclose(voxels.cc * 1000, [4.0, 4.0])


def test_occupancy_on_other_axes_is_refused():
    source = Structure("a", "GTV", Occupancy(Grid((0, 0, 0), (2, 2, 2), (1, 1, 1)), np.ones((1, 1, 1), np.float32)))
    with pytest.raises(InputError, match="direction"):
        source.on(Grid((0, 0, 0), (2, 2, 2), (4, 4, 4), ((0, 1, 0), (-1, 0, 0), (0, 0, 1))))


def test_liver_size_takes_under_a_second():
    planes = np.arange(-75.0, 75.0, 2.5)
    liver = structure(planes, [ring(70.0, points=400)] * len(planes))
    start = time.perf_counter()
    voxels = liver.on(Grid((-100, -100, -90), (2.5, 2.5, 2.5), (72, 80, 80)))
    assert time.perf_counter() - start < 1.0
    assert voxels.volume_cc == pytest.approx(np.pi * 70**2 * 150 / 1000, rel=1e-6)

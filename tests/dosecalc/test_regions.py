"""Margins and regions against spheres, boxes and set identities."""

from __future__ import annotations

import numpy as np
import pytest

from dosecalc import margins, regions
from dosecalc.errors import InputError
from dosecalc.grid import Grid, Volume
from dosecalc.structures import Occupancy, Structure

CUBIC = Grid((-40.3, -39.1, -42.2), (2.5, 2.5, 2.5), (33, 34, 35))
UNEQUAL = Grid((-40.3, -39.1, -42.2), (2.0, 2.2, 3.0), (29, 37, 41))
STEEP = Grid((-40.3, -39.1, -42.2), (1.5, 2.5, 4.0), (22, 33, 55))
TURNED = Grid((-40.3, 40.2, -42.2), (2.0, 2.2, 3.0), (29, 37, 41), ((1, 0, 0), (0, 0, 1), (0, -1, 0)))
GRIDS = pytest.mark.parametrize("grid", [CUBIC, UNEQUAL, STEEP], ids=["cubic", "unequal", "steep"])
CENTRE = (1.1, -2.3, 0.7)


def ball_cc(radius_mm: float) -> float:
    return 4 / 3 * np.pi * radius_mm**3 / 1000


def cc(structure: Structure, grid: Grid) -> float:
    return float(structure.on(grid).cc.sum())


def box(grid: Grid, *sides: slice, name: str = "box") -> Structure:
    fraction = np.zeros(grid.shape, dtype=np.float32)
    fraction[sides] = 1.0
    return Structure(name, "ORGAN", Occupancy(grid, fraction))


def extent_mm(structure: Structure, grid: Grid) -> tuple[np.ndarray, np.ndarray]:
    """Low and high end along x, y, z, from the shares along lines through the middle."""
    fraction = regions.shares(structure, grid)
    low, high = [], []
    for axis, step, origin in zip((2, 1, 0), grid.spacing_mm, grid.origin_mm, strict=True):
        line = fraction.max(axis=tuple(a for a in range(3) if a != axis)).astype(float)
        hit = np.flatnonzero(line)
        middle = origin + step * (hit[0] + hit[-1]) / 2
        half = len(line) // 2 if len(hit) == 0 else (hit[0] + hit[-1]) // 2
        low.append(middle - step * ((hit[0] + hit[-1]) / 2 - half + line[: half + 1].sum() - 0.5))
        high.append(middle + step * (half - (hit[0] + hit[-1]) / 2 + line[half:].sum() - 0.5))
    return np.array(low), np.array(high)


@GRIDS
@pytest.mark.parametrize("diameter", [8.0, 30.0, 41.0])
def test_sphere_volume(grid: Grid, diameter: float) -> None:
    volume = cc(regions.sphere(CENTRE, diameter, grid, name="GTV"), grid)
    assert volume == pytest.approx(ball_cc(diameter / 2), rel=0.01, abs=0.03)


def test_sphere_lies_where_it_was_drawn_on_a_turned_grid() -> None:
    centre = (3.0, -20.0, -9.0)
    voxels = regions.sphere(centre, 25.0, TURNED, name="GTV").on(TURNED)
    mean = (TURNED.centres_mm(voxels.indices) * voxels.cc[:, None]).sum(axis=0) / voxels.cc.sum()
    assert np.allclose(mean, centre, atol=0.05)
    assert voxels.cc.sum() == pytest.approx(ball_cc(12.5), rel=0.01)


def test_sphere_faults() -> None:
    with pytest.raises(InputError, match="covers nothing of the image"):
        regions.sphere((500, 0, 0), 20, CUBIC, name="GTV")
    with pytest.raises(InputError, match="positive"):
        regions.sphere(CENTRE, 0, CUBIC, name="GTV")


@GRIDS
@pytest.mark.parametrize("margin", [3.0, 4.0, 8.0, 15.0])
def test_grown_sphere(grid: Grid, margin: float) -> None:
    ball = regions.sphere(CENTRE, 30.0, grid, name="GTV")
    grown = regions.grow(ball, margin, grid, name="PTV", role="PTV")
    assert grown.role == "PTV"
    assert cc(grown, grid) == pytest.approx(ball_cc(15 + margin), rel=0.02)


@GRIDS
@pytest.mark.parametrize("margin", [2.0, 5.0])
def test_shrunk_sphere(grid: Grid, margin: float) -> None:
    ball = regions.sphere(CENTRE, 50.0, grid, name="GTV")
    shrunk = regions.shrink(ball, margin, grid, name="core")
    assert cc(shrunk, grid) == pytest.approx(ball_cc(25 - margin), rel=0.02)
    rind = regions.rind(ball, margin, grid, name="rind")
    assert cc(rind, grid) + cc(shrunk, grid) == pytest.approx(cc(ball, grid), rel=1e-6)


@GRIDS
def test_ring(grid: Grid) -> None:
    ball = regions.sphere(CENTRE, 30.0, grid, name="GTV")
    assert cc(regions.ring(ball, 3.0, 10.0, grid, name="ring"), grid) == pytest.approx(
        ball_cc(25) - ball_cc(18), rel=0.02
    )


@GRIDS
def test_equal_margins_agree_with_six(grid: Grid) -> None:
    ball = regions.sphere(CENTRE, 30.0, grid, name="GTV")
    one = regions.grow(ball, 6.0, grid, name="a")
    six = regions.grow(ball, (6, 6, 6, 6, 6, 6.001), grid, name="b")
    assert cc(six, grid) == pytest.approx(cc(one, grid), rel=0.02)


@pytest.mark.parametrize("side", range(6))
def test_unequal_margin_grows_on_its_side_only(side: int) -> None:
    start = box(UNEQUAL, slice(12, 17), slice(15, 22), slice(16, 25))
    sides = [0.0] * 6
    sides[side] = 6.6
    grown = regions.grow(start, tuple(sides), UNEQUAL, name="grown")
    before, after = extent_mm(start, UNEQUAL), extent_mm(grown, UNEQUAL)
    axis, end = divmod(side, 2)
    moved = np.abs(np.array(after) - np.array(before))
    assert moved[end, axis] == pytest.approx(6.6, abs=0.7)
    moved[end, axis] = 0.0
    assert moved.max() < 0.01


def test_margin_of_a_flat_face_is_exact() -> None:
    start = box(STEEP, slice(8, 14), slice(10, 20), slice(20, 35))
    grown = regions.grow(start, 5.0, STEEP, name="grown")
    low, high = extent_mm(grown, STEEP)
    first, last = extent_mm(start, STEEP)
    assert np.allclose(first - low, 5.0, atol=0.6)
    assert np.allclose(high - last, 5.0, atol=0.6)


def test_thinner_than_a_voxel_still_grows() -> None:
    fraction = np.zeros(CUBIC.shape, dtype=np.float32)
    fraction[10:24, 17, 17] = 0.2
    duct = Structure("BileDuct_Common", "ORGAN", Occupancy(CUBIC, fraction))
    length, radius = 13 * 2.5, 5.0
    tube = (np.pi * radius**2 * length + 4 / 3 * np.pi * radius**3) / 1000
    assert cc(regions.grow(duct, radius, CUBIC, name="PRV"), CUBIC) == pytest.approx(tube, rel=0.1)


def test_body_is_not_shrunk_from_the_end_of_the_scan() -> None:
    column = box(CUBIC, slice(None), slice(8, 26), slice(8, 26))
    core = regions.shares(regions.shrink(column, 5.0, CUBIC, name="core"), CUBIC)
    assert np.allclose(core[0], core[16], atol=1e-6)
    assert core[0].sum() * 2.5**2 == pytest.approx(35.0**2, rel=0.02)


def test_growing_contains_and_order_does_not_matter() -> None:
    ball = regions.shares(regions.sphere(CENTRE, 20.0, UNEQUAL, name="GTV"), UNEQUAL)
    small, large = (margins.grown(ball, m, UNEQUAL) for m in (3.0, 6.0))
    assert (small >= ball).all()
    assert (large >= small - 1e-6).all()
    twice = margins.grown(small, 3.0, UNEQUAL)
    assert twice.sum() == pytest.approx(large.sum(), rel=0.03)


@pytest.mark.parametrize("margin", [-1.0, float("nan"), (1.0, 2.0)])
def test_bad_margins(margin: object) -> None:
    ball = regions.sphere(CENTRE, 20.0, UNEQUAL, name="GTV")
    with pytest.raises(InputError, match="margin"):
        regions.grow(ball, margin, UNEQUAL, name="x")


def test_set_identities() -> None:
    a = regions.sphere(CENTRE, 30.0, UNEQUAL, name="a")
    b = regions.sphere((11.0, 2.0, -3.0), 24.0, UNEQUAL, name="b")
    volume = {
        "a": cc(a, UNEQUAL),
        "b": cc(b, UNEQUAL),
        "or": cc(regions.union("or", UNEQUAL, a, b), UNEQUAL),
        "and": cc(regions.intersection("and", UNEQUAL, a, b), UNEQUAL),
        "not": cc(regions.minus("not", UNEQUAL, a, b), UNEQUAL),
    }
    assert volume["or"] == pytest.approx(volume["a"] + volume["b"] - volume["and"], rel=1e-6)
    assert volume["not"] == pytest.approx(volume["a"] - volume["and"], rel=1e-6)
    # Two intersecting balls: volume of the lens, with distance d between their centres.
    d, r, s = float(np.linalg.norm(np.subtract(CENTRE, (11.0, 2.0, -3.0)))), 15.0, 12.0
    lens = np.pi * (r + s - d) ** 2 * (d * d + 2 * d * (r + s) - 3 * (r - s) ** 2) / (12 * d) / 1000
    assert volume["and"] == pytest.approx(lens, rel=0.02)


def test_a_contained_region_is_subtracted_exactly() -> None:
    liver = regions.sphere(CENTRE, 50.0, UNEQUAL, name="Liver")
    gtv = regions.sphere((5.0, 3.0, 1.0), 20.0, UNEQUAL, name="GTV")
    rest = cc(regions.minus("Liver-GTV", UNEQUAL, liver, gtv), UNEQUAL)
    assert rest == pytest.approx(ball_cc(25) - ball_cc(10), rel=0.005)


def test_nothing_left_is_refused() -> None:
    gtv = regions.sphere(CENTRE, 20.0, UNEQUAL, name="GTV")
    with pytest.raises(InputError, match="no voxels"):
        regions.minus("rest", UNEQUAL, gtv, gtv)


def test_surface_distance() -> None:
    a = regions.sphere((-15.0, 1.0, 2.0), 20.0, UNEQUAL, name="a")
    b = regions.sphere((16.0, 3.0, -4.0), 24.0, UNEQUAL, name="b")
    true = float(np.linalg.norm([31.0, 2.0, 6.0])) - 22.0
    assert regions.surface_distance(a, b, UNEQUAL) == pytest.approx(true, abs=0.5)
    assert regions.surface_distance(a, a, UNEQUAL) == 0.0


def test_body_outline_fills_gas_and_leaves_out_the_couch() -> None:
    grid = Grid((-100, -80, 0), (2.0, 2.5, 3.0), (6, 70, 101))
    x = grid.centres_mm()[:, 0].reshape(grid.shape)
    y = grid.centres_mm()[:, 1].reshape(grid.shape)
    trunk = (x / 80) ** 2 + (y / 55) ** 2 < 1
    hu = np.where(trunk, 20.0, -1000.0)
    hu[(x + 30) ** 2 + y**2 < 20**2] = -800.0  # lung
    hu[(np.abs(y - 57) < 1.5) & (np.abs(x) < 60)] = 100.0  # couch top under the back, 2.5 mm
    body = regions.body_outline(Volume(grid, hu))
    assert body.role == "EXTERNAL"
    assert body.volume_cc == pytest.approx(np.pi * 80 * 55 * 18 / 1000, rel=0.02)
    assert (regions.shares(body, grid)[:, grid.shape[1] - 5 :] == 0).all()


def test_body_outline_of_air_is_refused() -> None:
    with pytest.raises(InputError, match="outline"):
        regions.body_outline(Volume(CUBIC, np.full(CUBIC.shape, -1000.0)))


@pytest.mark.parametrize("grid", [CUBIC, STEEP, TURNED], ids=["cubic", "steep", "turned"])
def test_a_region_holds_the_box_around_it_and_keeps_every_voxel(grid: Grid) -> None:
    """Bit by bit what the whole grid holds, whichever grid of the same voxels it is asked for on."""
    fraction = np.zeros(grid.shape, np.float32)
    fraction[5:9, 7:20, 3:11] = np.random.default_rng(3).uniform(0.1, 1.0, (4, 13, 8))
    whole, held = Structure("R", "ORGAN", Occupancy(grid, fraction)), regions.from_shares("R", grid, fraction)
    assert isinstance(held.geometry, Occupancy)
    assert held.geometry.fraction.shape == (4, 13, 8)
    assert np.array_equal(held.on(grid).indices, whole.on(grid).indices)
    assert np.array_equal(held.on(grid).cc, whole.on(grid).cc)
    assert held.on(held.geometry.grid).volume_cc == pytest.approx(whole.volume_cc, rel=1e-12)
    halved = grid.resampled(tuple(s / 2 for s in grid.spacing_mm))
    assert held.on(halved).volume_cc == pytest.approx(whole.on(halved).volume_cc, rel=1e-6)

"""Where structures end along z: half a slice beyond their last contours, or at them; with parts, branches, islands."""

from __future__ import annotations

import numpy as np
import pytest

from dosecalc.dicom import read_ct_series, write_ct_series, write_rtstruct
from dosecalc.errors import InputError
from dosecalc.grid import Grid, Volume
from dosecalc.reading import read_structures
from dosecalc.structures import Contours, Occupancy, Structure, StructureSet

GRID = Grid((-30.0, -20.0, -9.0), (2.0, 2.0, 3.0), (16, 21, 31))


def box(x: tuple[float, float], y: tuple[float, float] = (0.0, 10.0)) -> np.ndarray:
    return np.array([[x[0], y[0]], [x[1], y[0]], [x[1], y[1]], [x[0], y[1]]])


def structure(drawn: list[tuple[float, np.ndarray]], end_caps="at_contour", slab_mm=None) -> Structure:
    z, polygons = zip(*drawn, strict=True)
    return Structure("part", "ORGAN", Contours(z, polygons, slab_mm, end_caps))


def stack(ring: np.ndarray, *planes: float) -> list[tuple[float, np.ndarray]]:
    return [(z, ring) for z in planes]


def mm3(found: Structure) -> float:
    """Volume, which the voxels must have as well."""
    assert found.on(GRID).volume_cc == pytest.approx(found.volume_cc, rel=1e-9)
    return found.volume_cc * 1000.0


def test_a_block_ends_at_its_contours_or_half_a_slice_beyond():
    block = stack(box((0.0, 10.0)), 0.0, 3.0, 6.0)
    assert mm3(structure(block)) == pytest.approx(100 * 6.0)
    assert mm3(structure(block, "half_slice")) == pytest.approx(100 * 9.0)
    np.testing.assert_allclose(structure(block).bounds_mm, [[0, 0, 0], [10, 10, 6]])
    np.testing.assert_allclose(structure(block, "half_slice").bounds_mm, [[0, 0, -1.5], [10, 10, 7.5]])


def test_every_part_along_z_has_two_ends():
    parts = structure(stack(box((0.0, 10.0)), -6.0, -3.0, 0.0, 27.0, 30.0))
    assert mm3(parts) == pytest.approx(100 * (6.0 + 3.0))
    assert "left empty" in parts.notices[0]


def test_every_branch_ends_at_its_own_last_contour():
    """A trunk of 40 x 10 mm up to half a slice above its last plane, and two legs of 10 x 10 mm of unequal length."""
    trunk = stack(box((-20.0, 20.0)), 0.0, 3.0, 6.0, 9.0)
    legs = [*stack(box((-20.0, -10.0)), 12.0, 15.0, 18.0), *stack(box((10.0, 20.0)), 12.0, 15.0, 18.0, 21.0, 24.0)]
    fork = structure(trunk + legs)
    assert mm3(fork) == pytest.approx(400 * 10.5 + 100 * (7.5 + 13.5))
    assert mm3(structure(trunk + legs, "half_slice")) == pytest.approx(400 * 12.0 + 100 * (9.0 + 15.0))
    z = GRID.centres_mm(fork.on(GRID).indices)
    assert z[z[:, 0] < -5.0, 2].max() == 18.0
    assert z[z[:, 0] > 5.0, 2].max() == 24.0


def test_two_parts_side_by_side_are_the_sum_of_both():
    short, long = stack(box((-20.0, -10.0)), 3.0, 6.0, 9.0), stack(box((5.0, 20.0)), -3.0, 0.0, 3.0, 6.0, 9.0, 12.0)
    for end_caps in ("half_slice", "at_contour"):
        apart = mm3(structure(short, end_caps)) + mm3(structure(long, end_caps))
        assert mm3(structure(short + long, end_caps)) == pytest.approx(apart)


def test_holes_and_keyholes_stay_with_their_part():
    """A tube, drawn with a hole or as a keyhole, beside a longer block: the plane on which it ends is divided."""
    outer, inner = box((-20.0, 0.0), (-10.0, 10.0)), box((-15.0, -5.0), (-5.0, 5.0))
    keyhole = np.vstack([outer, outer[:1], inner[:1], inner[::-1][:3], inner[:1], outer[:1]])[:-1]
    beside = stack(box((5.0, 15.0)), 0.0, 3.0, 6.0, 9.0)
    rings = [*stack(outer, 0.0, 3.0, 6.0), *stack(inner, 0.0, 3.0, 6.0)]
    for tube in (rings, stack(keyhole, 0.0, 3.0, 6.0)):
        assert mm3(structure(tube + beside)) == pytest.approx(300 * 6.0 + 100 * 9.0)


def test_an_island_on_one_plane_is_told_and_keeps_its_volume():
    island = structure([*stack(box((0.0, 10.0)), 0.0, 3.0, 6.0, 9.0), (3.0, box((15.0, 20.0)))])
    assert mm3(island) == pytest.approx(100 * 9.0 + 50 * 3.0)
    assert "1 part(s), together 0.15 cc, are drawn on one plane only" in island.notices[0]


def test_one_plane_needs_a_stated_thickness():
    with pytest.raises(InputError, match=r"one plane only .* none if it ends at its contours"):
        structure(stack(box((0.0, 10.0)), 3.0))
    assert mm3(structure(stack(box((0.0, 10.0)), 3.0), slab_mm=4.0)) == pytest.approx(100 * 4.0)


def test_a_stated_thickness_goes_before_the_policy():
    stated = structure(stack(box((0.0, 10.0)), 0.0, 3.0, 6.0), slab_mm=3.0)
    assert mm3(stated) == pytest.approx(100 * 9.0)
    assert stated.notices == ("part: its contours are stated to be 3 mm thick; it does not end at them.",)
    other = structure(stack(box((0.0, 10.0)), 0.0, 3.0, 6.0), slab_mm=1.0)
    assert mm3(other) == pytest.approx(100 * 6.0)


def test_an_unknown_policy_is_refused():
    with pytest.raises(InputError, match="end caps 'rounded' are unknown"):
        structure(stack(box((0.0, 10.0)), 0.0, 3.0), "rounded")


def test_written_structures_are_the_same_with_the_policy_that_they_were_read_with(tmp_path):
    """What was drawn ends where the reader is told; outlines of voxels fill their slices, and gaps between stay."""
    ct = write_ct_series(tmp_path / "ct", Volume(GRID, np.zeros(GRID.shape, np.float32)))
    fraction = np.zeros(GRID.shape, np.float32)
    fraction[[3, 4, 5, 7, 8, 9], 4:12, 5:20] = 1.0  # one slice between two lesions is empty
    voxels = Structure("PTV", "PTV", Occupancy(GRID, fraction))
    drawn = {
        caps: Structure("Liver", "ORGAN", Contours((0.0, 3.0, 6.0), (box((0.0, 10.0)),) * 3, end_caps=caps))
        for caps in ("half_slice", "at_contour")
    }
    for caps, liver in drawn.items():
        write_rtstruct(tmp_path / "rs.dcm", StructureSet((liver, voxels)), ct)
        again = read_structures(tmp_path / "rs.dcm", ct=read_ct_series(tmp_path / "ct"), end_caps=caps)
        assert again["Liver"].volume_cc == pytest.approx(liver.volume_cc, rel=1e-6)
        assert again["PTV"].volume_cc == pytest.approx(voxels.volume_cc, rel=5e-3)
        assert any("end at their first and last contours" in told for told in again.notices) == (caps == "at_contour")
    default = read_structures(tmp_path / "rs.dcm")
    assert default["Liver"].volume_cc == pytest.approx(drawn["half_slice"].volume_cc, rel=1e-6)

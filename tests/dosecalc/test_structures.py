"""Structure sets: names, roles and what they refuse."""

from __future__ import annotations

import numpy as np
import pytest

from dosecalc.contouring import as_contours
from dosecalc.errors import InputError
from dosecalc.grid import Grid
from dosecalc.regions import sphere
from dosecalc.structures import Contours, Occupancy, Structure, StructureSet, role_from_name

GRID = Grid((-30.0, -40.0, -20.0), (2.0, 2.5, 3.0), (14, 30, 40))


def ball(name="Liver", role="ORGAN", radius_mm=18.0, hole_mm=0.0):
    centres = GRID.centres_mm().reshape(*GRID.shape, 3)
    distance = np.linalg.norm(centres - (5.0, -4.0, 0.0), axis=-1)
    inside = (distance <= radius_mm) & (distance >= hole_mm)
    return Structure(name, role, Occupancy(GRID, inside.astype(np.float32)))


def test_absent_name_tells_the_nearest():
    structures = StructureSet((ball("Liver"), ball("Kidney_L"), ball("Kidney_R")), absent=("Heart",))
    with pytest.raises(InputError, match=r"no structure 'kidney'; nearest: .*'Kidney_"):
        structures["kidney"]
    with pytest.raises(InputError, match="lists the name without geometry"):
        structures["Heart"]
    assert structures["Liver"].name == "Liver"
    assert "Heart" not in structures
    assert len(structures) == 3


def test_a_set_prints_what_it_holds_and_not_every_vertex():
    """As at a Python prompt, where a patient's contours are some 80 000 lines."""
    contours = as_contours(ball())
    said = repr(StructureSet((Structure("Liver", "ORGAN", contours), ball("Kidney_L"))))
    assert f"Contours({len(contours.z_mm)} polygons of " in said
    assert f"z {min(contours.z_mm):g} to {max(contours.z_mm):g} mm" in said
    assert "Kidney_L" in said
    assert "array" not in said
    assert "Contours(0 polygons of 0 points" in repr(Contours((), ()))


def test_duplicate_names_are_refused_with_both_named():
    with pytest.raises(InputError, match=r"'PTV' \(no. 1, role PTV\), 'PTV' \(no. 3, role ORGAN\)"):
        StructureSet((ball("PTV", "PTV"), ball("Liver"), ball("PTV")))


def test_adding_makes_a_new_set():
    before = StructureSet((ball("Liver"),), "1.2.3", absent=("GTV",))
    after = before.adding(ball("GTV", "GTV", 9.0))
    assert before.names == ("Liver",)
    assert after.names == ("Liver", "GTV")
    assert (after.absent, after.frame_of_reference_uid) == ((), "1.2.3")
    with pytest.raises(InputError, match="unique"):
        after.adding(ball("GTV", "GTV"))


@pytest.mark.parametrize(
    ("name", "role", "message"),
    [
        ("", "ORGAN", "name"),
        ("a" * 65, "ORGAN", "64"),
        ("a\\b", "ORGAN", "backslash"),
        ("a\nb", "ORGAN", "printable"),
        ("Liver", "LIVER", "expected one of GTV"),
    ],
)
def test_names_and_roles_are_checked(name, role, message):
    with pytest.raises(InputError, match=message):
        ball(name, role)


def test_empty_and_impossible_occupancies_are_refused():
    with pytest.raises(InputError, match=r"structure 'Liver'.*no voxels"):
        Structure("Liver", "ORGAN", Occupancy(GRID, np.zeros(GRID.shape, np.float32)))
    with pytest.raises(InputError, match="between 0 and 1"):
        Occupancy(GRID, np.full(GRID.shape, 1.5, np.float32))
    with pytest.raises(InputError, match="between 0 and 1"):
        Occupancy(GRID, np.full(GRID.shape, np.nan, np.float32))
    with pytest.raises(InputError, match="shape"):
        Occupancy(GRID, np.ones((1, 2, 3), np.float32))


def test_inputs_stay_as_they_are():
    polygon = np.array([[0.0, 0.0], [4.0, 0.0], [0.0, 4.0]])
    contours = Contours((0.0,), (polygon,), slab_mm=2.0)
    Structure("a", "ORGAN", contours).on(GRID)
    np.testing.assert_array_equal(polygon, [[0.0, 0.0], [4.0, 0.0], [0.0, 4.0]])
    assert polygon.flags.writeable
    with pytest.raises(ValueError, match="read-only"):
        contours.polygons_mm[0][0] = 1.0


def test_faces_touched_names_the_cut_side():
    fraction = np.zeros(GRID.shape, np.float32)
    fraction[-2:, 5:8, 0:3] = 1
    liver = Structure("Liver", "ORGAN", Occupancy(GRID, fraction))
    assert liver.on(GRID).faces_touched == liver.faces_touched(GRID) == ("superior", "right")
    assert ball().on(GRID).faces_touched == ball().faces_touched(GRID) == ()


@pytest.mark.parametrize("spacing_mm", [(2.0, 2.5, 3.0), (1.7, 0.9, 4.1)])
@pytest.mark.parametrize("shift", [0.0, -9.0, 11.0])
def test_faces_touched_are_those_of_all_voxels(spacing_mm, shift):
    """Only the outermost voxels are filled, for contours and occupancies, also where the grid starts elsewhere."""
    grid = Grid((shift - 20.0, shift - 12.0, -shift - 15.0), spacing_mm, (7, 11, 9))
    ring = np.array([(-15.0, -10.0), (14.0, -11.0), (13.0, 12.0), (-14.0, 11.0)])
    drawn = Structure("A", "ORGAN", Contours((-12.0, -4.0, 4.0, 12.0), (ring,) * 4))
    for structure in (drawn, ball()):
        assert structure.faces_touched(grid) == structure.on(grid).faces_touched


@pytest.mark.parametrize(
    ("name", "role"),
    [("GTVp1", "GTV"), ("ptv_5000", "PTV"), ("ITV", "ITV"), ("CTV x", "CTV"), ("Liver-GTV", "ORGAN")],
)
def test_role_from_the_start_of_a_name(name, role):
    assert role_from_name(name) == role


@pytest.mark.parametrize("diameter_mm", [8.0, 12.0, 30.0])
def test_a_small_ball_keeps_its_volume_in_outlines(diameter_mm):
    """At half occupancy a ball loses its ends: one of 22 mm on voxels of 2.5 mm lost 8 %."""
    grid = Grid((-20.0, -20.0, -20.0), (2.5, 2.5, 2.5), (17, 17, 17))
    drawn = sphere((0.7, 1.1, -0.4), diameter_mm, grid, name="small")
    outlined = Structure("small", "GTV", as_contours(drawn))
    assert outlined.volume_cc == pytest.approx(np.pi / 6 * diameter_mm**3 / 1000, rel=0.01)


@pytest.mark.parametrize("hole_mm", [0.0, 9.0])
def test_outlining_an_occupancy_keeps_its_volume_and_hole(hole_mm):
    solid = ball(hole_mm=hole_mm)
    outlined = Structure("Liver", "ORGAN", as_contours(solid))
    assert outlined.volume_cc == pytest.approx(solid.volume_cc, rel=0.003)
    share = np.zeros(GRID.size)
    voxels = outlined.on(GRID)
    share[voxels.indices] = voxels.cc / GRID.voxel_cc
    centre = np.round(GRID.index_coordinates([[5.0, -4.0, 0.0]])[0]).astype(int)
    assert share.reshape(GRID.shape)[tuple(centre[::-1])] == pytest.approx(0.0 if hole_mm else 1.0, abs=1e-9)


def test_outlining_half_full_voxels_stays_valid():
    fraction = np.zeros(GRID.shape, np.float32)
    fraction[4:9, 8:15, 10:20] = 0.5
    fraction[4:9, 9:14, 11:19] = 1.0
    half = Structure("Box", "ORGAN", Occupancy(GRID, fraction))
    assert Structure("Box", "ORGAN", as_contours(half)).volume_cc == pytest.approx(half.volume_cc, rel=0.05)


def test_next_to_nothing_cannot_be_outlined():
    thin = Structure("Thin", "ORGAN", Occupancy(GRID, np.full(GRID.shape, 0.01, np.float32)))
    with pytest.raises(InputError, match=r"'Thin'.*holds enough"):
        as_contours(thin)


def test_voxels_are_kept_for_the_last_grids_and_cannot_be_changed():
    ball = sphere((0.0, 0.0, 0.0), 20.0, GRID, name="ball")
    first = ball.on(GRID)
    assert ball.on(GRID) is first
    for spacing_mm in (3.0, 4.0, 5.0):
        ball.on(GRID.resampled(spacing_mm))
    again = ball.on(GRID)
    assert again is not first
    assert np.array_equal(again.indices, first.indices) and np.array_equal(again.cc, first.cc)
    with pytest.raises(ValueError, match="read-only"):
        again.cc[0] = 1.0

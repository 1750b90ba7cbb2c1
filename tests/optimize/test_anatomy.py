"""What is derived from contours, on a block of tissue whose volumes are known."""

from __future__ import annotations

import re
from dataclasses import replace

import numpy as np
import pytest

import protocols
from dosecalc import regions
from dosecalc.errors import InputError
from dosecalc.grid import Grid, Volume
from dosecalc.structures import Occupancy, Structure, StructureSet
from optimize.anatomy import Anatomy, Target, needed_names, prepare_anatomy
from optimize.placement import placement_warnings

CT_GRID = Grid((-79.0, -58.5, -60.0), (2.0, 3.0, 3.0), (41, 40, 80))
GRID = CT_GRID.resampled(2.5)
PROTOCOL = protocols.load("crlm_5fx")
# Skin and chest wall take most of the time: most tests leave them out.
LEAN = PROTOCOL.model_copy(
    update={"goals": tuple(g for g in PROTOCOL.goals if g.structure not in ("Skin", "Chestwall"))}
)
HALF = (70.0, 50.0)  # of the trunk, an elliptical column


def where(*, x: float = 0.0, y: float = 0.0, z: float = 0.0) -> np.ndarray:
    return CT_GRID.centres_mm().reshape(*CT_GRID.shape, 3) - (x, y, z)


def ball(name: str, radius: float, role: str = "ORGAN", **centre: float) -> Structure:
    fraction = np.clip(0.5 + (radius - np.linalg.norm(where(**centre), axis=-1)) / 2.6, 0, 1)
    return Structure(name, role, Occupancy(CT_GRID, fraction.astype(np.float32)))


RADIUS = np.hypot(where()[..., 0] / HALF[0], where()[..., 1] / HALF[1])
SLOPE = np.hypot(where()[..., 0] / HALF[0] ** 2, where()[..., 1] / HALF[1] ** 2) / np.maximum(RADIUS, 1e-3)
TRUNK = np.clip(0.5 - (RADIUS - 1) / np.maximum(SLOPE, 1e-3) / 2.5, 0, 1).astype(np.float32)
CT = Volume(CT_GRID, (-1000 + 900 * TRUNK).astype(np.int16))
BODY = Structure("Body", "EXTERNAL", Occupancy(CT_GRID, TRUNK))
LIVER = ball("Liver", 32.0, x=-15.0)
GTV = ball("GTV", 12.0, "GTV", x=-20.0)
DUODENUM = ball("Duodenum", 10.0, x=5.0)
KIDNEYS = (ball("Kidney_L", 14.0, x=40.0, y=20.0), ball("Kidney_R", 14.0, x=-40.0, y=25.0, z=-35.0))


def prepared(
    *structures: Structure,
    targets: tuple[Target, ...] = (Target("GTV"),),
    protocol: protocols.Protocol = LEAN,
) -> Anatomy:
    return prepare_anatomy(StructureSet(structures), CT, GRID, protocol, targets)


def cc(anatomy: Anatomy, name: str) -> float:
    return float(anatomy.structures[name].on(GRID).cc.sum())


def ball_cc(radius_mm: float) -> float:
    return 4 / 3 * np.pi * radius_mm**3 / 1000


@pytest.fixture(scope="module")
def usual() -> Anatomy:
    vessel = ball("V_Portal", 8.0, x=10.0, y=-5.0)
    return prepared(BODY, LIVER, GTV, DUODENUM, vessel, *KIDNEYS, protocol=PROTOCOL)


def test_margins(usual: Anatomy) -> None:
    assert cc(usual, "GTV") == pytest.approx(GTV.volume_cc, rel=1e-3)
    assert cc(usual, "CTV") == pytest.approx(ball_cc(14), rel=0.03)
    assert cc(usual, "PTV") == pytest.approx(ball_cc(18), rel=0.03)
    assert usual.structures["PTV"].role == "PTV"
    assert any("GTV + 2 mm" in line for line in usual.derived)
    assert any("CTV + 4 mm" in line for line in usual.derived)


def test_ptv_opt_leaves_out_the_prv(usual: Anatomy) -> None:
    # Balls of 18 mm and of 10 + 2 mm, 25 mm apart: a lens of this volume.
    d, r, s = 25.0, 18.0, 12.0
    lens = np.pi * (r + s - d) ** 2 * (d * d + 2 * d * (r + s) - 3 * (r - s) ** 2) / (12 * d) / 1000
    (overlap,) = usual.overlaps
    assert overlap.organ == "Duodenum"
    assert overlap.prv_cc == pytest.approx(lens, rel=0.1)
    assert 0 < overlap.organ_cc < overlap.prv_cc
    assert cc(usual, "PTV") - cc(usual, "PTV_opt") == pytest.approx(overlap.prv_cc, rel=1e-4)
    assert any(w.startswith("Duodenum:") for w in usual.warnings)


def test_liver_without_targets(usual: Anatomy) -> None:
    # The liver reaches 17 mm in front of x = 0; the PTV lies inside it.
    assert cc(usual, "Liver-GTV") == pytest.approx(LIVER.volume_cc - GTV.volume_cc, rel=1e-3)
    assert cc(usual, "Liver-PTV") == pytest.approx(LIVER.volume_cc - cc(usual, "PTV"), rel=5e-3)


def test_all_gtvs_are_taken_from_the_liver() -> None:
    other = ball("GTV2", 8.0, "GTV", x=-15.0, z=22.0)
    anatomy = prepared(BODY, LIVER, GTV, other)
    expected = LIVER.volume_cc - GTV.volume_cc - other.volume_cc
    assert cc(anatomy, "Liver-GTV") == pytest.approx(expected, rel=2e-3)
    assert cc(anatomy, "GTV") == pytest.approx(GTV.volume_cc, rel=1e-3)


def test_several_targets_are_one_gtv() -> None:
    other = ball("GTV2", 8.0, "GTV", x=-15.0, z=22.0)
    anatomy = prepared(BODY, LIVER, GTV, other, targets=(Target("GTV"), Target("GTV2")))
    assert cc(anatomy, "GTV") == pytest.approx(GTV.volume_cc + other.volume_cc, rel=1e-3)
    assert "GTV2" in anatomy.structures


def test_a_drawn_sphere_is_a_gtv() -> None:
    sphere = Target("lesion", centre_mm=(-20.0, 0.0, 0.0), diameter_mm=24.0)
    anatomy = prepared(BODY, LIVER, targets=(sphere,))
    assert cc(anatomy, "GTV") == pytest.approx(ball_cc(12), rel=0.01)
    assert cc(anatomy, "PTV") == pytest.approx(ball_cc(18), rel=0.02)
    assert cc(anatomy, "Liver-GTV") == pytest.approx(LIVER.volume_cc - ball_cc(12), rel=0.01)


@pytest.mark.parametrize(("role", "radius"), [("PTV", 12.0), ("CTV", 16.0), ("ITV", 16.0)])
def test_roles_decide_the_margin(role: str, radius: float) -> None:
    anatomy = prepared(BODY, LIVER, ball("lesion", 12.0, x=-20.0), targets=(Target("lesion", role),))
    assert cc(anatomy, "PTV") == pytest.approx(ball_cc(radius), rel=0.03)
    assert "GTV" not in anatomy.structures
    assert any("no GTV" in w for w in anatomy.warnings)


def test_skin_and_chest_wall(usual: Anatomy) -> None:
    length = CT_GRID.shape[0] * CT_GRID.spacing_mm[2] / 1000
    a, b = HALF

    def rind(outer: float, inner: float) -> float:  # exact area between parallel curves of an ellipse
        h = ((a - b) / (a + b)) ** 2
        round_mm = np.pi * (a + b) * (1 + 3 * h / (10 + np.sqrt(4 - 3 * h)))
        return (round_mm * (inner - outer) - np.pi * (inner**2 - outer**2)) * length

    assert cc(usual, "Skin") == pytest.approx(rind(0, 5), rel=0.03)
    assert cc(usual, "Chestwall") == pytest.approx(rind(5, 25), rel=0.03)
    assert any("no lung" in w for w in usual.warnings)


def test_lung_is_no_chest_wall() -> None:
    lung = ball("Lung_R", 15.0, x=-48.0)
    with_lung = prepared(BODY, LIVER, GTV, lung, protocol=PROTOCOL)
    without = prepared(BODY, LIVER, GTV, protocol=PROTOCOL)
    parts = (part.on(GRID) for part in (without.structures["Chestwall"], lung))
    shared = np.minimum(*(np.bincount(part.indices, part.cc, GRID.size) for part in parts))
    assert shared.sum() > 0
    assert cc(without, "Chestwall") - cc(with_lung, "Chestwall") == pytest.approx(shared.sum(), rel=0.1)


def test_kidneys_stand_in_for_the_cortex(usual: Anatomy) -> None:
    assert cc(usual, "Kidney_Cortex") == pytest.approx(sum(k.volume_cc for k in KIDNEYS), rel=1e-3)
    assert any("stands in for the cortex" in line for line in usual.derived)


def test_a_drawn_structure_is_never_replaced() -> None:
    skin, cortex = ball("Skin", 6.0, x=30.0), ball("Kidney_Cortex", 9.0, x=40.0)
    anatomy = prepared(BODY, LIVER, GTV, skin, cortex, *KIDNEYS)
    assert anatomy.structures["Skin"] is skin
    assert anatomy.structures["Kidney_Cortex"] is cortex


def test_biliary_tract_is_not_clipped(usual: Anatomy) -> None:
    # A vessel of 16 mm on voxels of 3 mm: its surface is known to 0.25 mm, 3 % of this volume.
    assert cc(usual, "cHBT_15mm") == pytest.approx(ball_cc(23), rel=0.035)
    assert usual.report_only == ()


def test_a_surrogate_vessel_is_report_only() -> None:
    vessel = ball("portal_vein_and_splenic_vein", 8.0, x=10.0)
    anatomy = prepared(BODY, LIVER, GTV, vessel)
    assert anatomy.report_only == ("cHBT_15mm",)
    assert any(w.startswith("cHBT_15mm:") for w in anatomy.warnings)


def test_body_from_the_ct_is_said() -> None:
    anatomy = prepared(LIVER, GTV)
    assert anatomy.structures["Body"].volume_cc == pytest.approx(BODY.volume_cc, rel=0.01)
    assert any(line.startswith("Body:") for line in anatomy.derived)
    assert any("body" in w for w in anatomy.warnings)


def test_a_field_of_view_that_cuts_the_body_is_said(usual: Anatomy) -> None:
    aside = Structure("Body", "EXTERNAL", Occupancy(CT_GRID, np.roll(TRUNK, 4, axis=2)))
    anatomy = prepared(aside, LIVER, GTV)
    assert any("field of view cuts the body (left)" in w for w in anatomy.warnings)
    assert not any("field of view" in w for w in usual.warnings)


def test_a_drawn_ptv_that_is_no_target_is_set_aside() -> None:
    anatomy = prepared(BODY, LIVER, GTV, ball("PTV", 20.0, "PTV", x=-20.0))
    assert cc(anatomy, "PTV") == pytest.approx(ball_cc(18), rel=0.03)
    assert cc(anatomy, "PTV_given") == pytest.approx(ball_cc(20), rel=0.03)
    assert any("PTV_given" in w for w in anatomy.warnings)


def test_a_drawn_gtv_that_is_no_target_is_said_to_be_taken_from_the_liver() -> None:
    sphere = Target("lesion", centre_mm=(-20.0, 0.0, 20.0), diameter_mm=12.0)
    anatomy = prepared(BODY, LIVER, GTV, ball("CTV", 14.0, "CTV", x=-20.0), targets=(sphere,))
    about_gtv, about_ctv = (w for w in anatomy.warnings if "is not a target" in w)
    said = re.search(r"kept as 'GTV_given', and its (.+) cc inside Liver count as tumour: Liver-GTV is with", about_gtv)
    assert said and float(said[1]) == pytest.approx(GTV.volume_cc, rel=0.01)
    assert LIVER.volume_cc - cc(anatomy, "Liver-GTV") == pytest.approx(float(said[1]) + ball_cc(6), rel=0.02)
    assert about_ctv.endswith("it is kept as 'CTV_given'.")


@pytest.mark.parametrize(
    "beside", [(BODY,), (BODY, ball("Liver", 20.0, x=30.0))], ids=["no liver", "a liver elsewhere"]
)
def test_nothing_is_said_to_be_taken_from_a_liver_that_lacks_nothing(beside: tuple[Structure, ...]) -> None:
    sphere = Target("lesion", centre_mm=(30.0, 0.0, 0.0), diameter_mm=12.0)
    anatomy = prepared(*beside, GTV, targets=(sphere,))
    assert "GTV: the drawn structure is not a target; it is kept as 'GTV_given'." in anatomy.warnings


def test_cut_organs_and_what_comes_from_them() -> None:
    liver = ball("Liver", 32.0, x=-15.0, z=40.0)
    anatomy = prepared(BODY, liver, ball("GTV", 10.0, "GTV", x=-15.0, z=20.0), DUODENUM)
    assert set(anatomy.cut) == {"Liver", "Liver-GTV", "Liver-PTV", "Ring_20_40mm"}


def test_nothing_is_dropped_or_changed(usual: Anatomy) -> None:
    assert {"Body", "Liver", "Duodenum", "V_Portal", "Kidney_L", "Kidney_R"} <= set(usual.structures.names)
    assert usual.structures["Liver"] is LIVER


@pytest.mark.parametrize(
    ("structures", "target", "message"),
    [
        ((BODY, LIVER, GTV), Target("GVT"), "GTV"),
        ((BODY, LIVER), Target("t", centre_mm=(65.0, 0.0, 0.0), diameter_mm=20.0), "outside the body"),
        ((BODY, LIVER), Target("t", centre_mm=(900.0, 0.0, 0.0), diameter_mm=20.0), "outside"),
        ((BODY, LIVER, ball("GTV", 10.0, "GTV", z=58.0)), Target("GTV"), "scan cuts"),
        ((BODY, LIVER, GTV, ball("Stomach", 30.0, x=-20.0)), Target("GTV"), "nothing of the PTV is left"),
        ((BODY, replace(BODY, name="External"), GTV), Target("GTV"), "several outlines"),
    ],
)
def test_targets_that_cannot_be_planned(structures: tuple[Structure, ...], target: Target, message: str) -> None:
    with pytest.raises(InputError, match=message):
        prepared(*structures, targets=(target,))


def test_no_target_and_bad_targets() -> None:
    with pytest.raises(InputError, match="no target"):
        prepared(BODY, LIVER, targets=())
    with pytest.raises(InputError, match="role"):
        Target("GTV", "TUMOUR")
    with pytest.raises(InputError, match="sphere"):
        Target("GTV", centre_mm=(0, 0, 0))


def test_a_target_beside_the_dose_grid_has_no_voxel() -> None:
    away = Grid((500.0, 0.0, 0.0), (2.0, 2.0, 2.0), (10, 10, 10))
    lesion = Structure("GTV", "GTV", Occupancy(away, np.ones(away.shape, dtype=np.float32)))
    with pytest.raises(InputError, match="no voxel"):
        prepared(BODY, LIVER, lesion)


def test_needed_names() -> None:
    wanted = needed_names(PROTOCOL)
    assert {"Duodenum", "V_Portal", "Kidney_L", "Liver", "SpinalCord"} <= set(wanted)
    assert not {"Liver-GTV", "PTV_opt"} & set(wanted)


def test_several_lesions_have_each_their_part_of_ptv_opt() -> None:
    far = Target("far", centre_mm=(-25.0, 0.0, 36.0), diameter_mm=10.0)
    anatomy = prepared(BODY, LIVER, GTV, DUODENUM, targets=(Target("GTV"), far))
    assert anatomy.lesions == ("PTV_opt_GTV", "PTV_opt_far")
    assert cc(anatomy, "PTV_opt_far") == pytest.approx(ball_cc(11), rel=0.03)
    assert sum(cc(anatomy, name) for name in anatomy.lesions) == pytest.approx(cc(anatomy, "PTV_opt"), rel=1e-3)


def test_targets_that_share_volume_are_one_lesion() -> None:
    outer = ball("boost_margin", 16.0, "CTV", x=-20.0)
    anatomy = prepared(BODY, LIVER, GTV, outer, targets=(Target("GTV"), Target("boost_margin", "CTV")))
    assert anatomy.lesions == ()


def test_a_target_in_lung_or_inside_an_organ_is_named_with_volumes() -> None:
    """The GTV lies in the duodenum as far as the two balls of 12 and 10 mm, 15 mm apart, share volume."""
    d, r, s = 15.0, 12.0, 10.0
    lens = np.pi * (r + s - d) ** 2 * (d * d + 2 * d * (r + s) - 3 * (r - s) ** 2) / (12 * d) / 1000
    hu = CT.values.copy()
    hu[where(x=-20.0)[..., 0] < 0.0] = -800  # all to the right of the middle of the GTV
    structures = StructureSet((BODY, LIVER, GTV, ball("Duodenum", s, x=-5.0)))
    anatomy = prepare_anatomy(structures, Volume(CT_GRID, hu), GRID, LEAN, (Target("GTV"),))
    inside = next(w for w in anatomy.warnings if "inside Duodenum" in w)
    assert float(inside.split()[1]) == pytest.approx(lens, rel=0.1)
    thin = next(w for w in anatomy.warnings if w.startswith("GTV:") and "lung or gas" in w)
    assert float(thin.split()[1]) == pytest.approx(ball_cc(12) / 2, rel=0.1)
    assert any(w.startswith("PTV:") and "lung or gas" in w for w in anatomy.warnings)
    usual = prepared(BODY, LIVER, GTV)
    assert not any("lung or gas" in w or "lie inside" in w for w in usual.warnings)


def outside_liver(*structures: Structure, target: Target, protocol: protocols.Protocol = LEAN) -> list[str]:
    told = prepared(BODY, *structures, targets=(target,), protocol=protocol).warnings
    return [w for w in told if "outside Liver" in w]


def sphere(x: float, diameter: float = 16.0, role: str = "GTV") -> Target:
    return Target("lesion", role, (x, 0.0, 0.0), diameter)


def test_a_target_outside_the_liver_is_named_with_its_volume() -> None:
    (told,) = outside_liver(LIVER, target=sphere(40.0))
    assert told.startswith("lesion: 2.1 of its 2.1 cc lie outside Liver;") and "LPS" in told


@pytest.mark.parametrize(
    ("target", "told"),
    [
        # A ball of 8 mm at one of 32 mm around x = -15: flat caps of 2, 4, 8 and 12 mm are 4, 16, 50 and 84 % of it.
        (sphere(0.0), 0), (sphere(11.0), 0), (sphere(13.0), 1), (sphere(17.0), 1), (sphere(21.0), 1),
        (sphere(11.0, role="PTV"), 0), (sphere(13.0, role="PTV"), 0), (sphere(21.0, role="PTV"), 1),
    ],
)  # fmt: skip
def test_a_target_at_the_capsule_may_lie_outside_by_contour_detail_and_margins(target: Target, told: int) -> None:
    assert len(outside_liver(LIVER, target=target)) == told


def test_a_liver_that_was_drawn_without_its_tumour_is_not_mistaken() -> None:
    hollow = regions.minus("Liver", CT_GRID, LIVER, GTV)
    assert outside_liver(hollow, GTV, target=Target("GTV")) == []


def test_of_several_targets_the_one_outside_the_liver_is_named() -> None:
    small = Target("small", centre_mm=(40.0, 0.0, 0.0), diameter_mm=6.0)  # 1.5 % of both
    told = prepared(BODY, LIVER, GTV, targets=(Target("GTV"), small)).warnings
    assert [w.split(":")[0] for w in told if "outside Liver" in w] == ["small"]


def test_only_a_protocol_that_names_the_liver_asks_for_targets_inside_it() -> None:
    goals = tuple(g for g in LEAN.goals if not g.structure.startswith("Liver"))
    elsewhere = LEAN.model_copy(update={"goals": goals})
    assert outside_liver(LIVER, target=sphere(40.0), protocol=elsewhere) == []
    assert outside_liver(target=sphere(40.0)) == []


def defined(**expressions: str) -> protocols.Protocol:
    entries = tuple(
        protocols.DerivedStructure(name=name, expression=text, source="a test") for name, text in expressions.items()
    )
    return LEAN.model_copy(update={"structures": entries})


def test_a_protocol_defines_structures_by_expressions() -> None:
    protocol = defined(
        Rind="ring(GTV, 2, 8)", Rest="minus(Liver, grow(GTV, 8))", Both="union(Rind, GTV)", Far="grow(Nothing, 2)"
    )
    anatomy = prepared(BODY, ball("Liver", 34.0, x=-20.0), GTV, protocol=protocol)
    assert cc(anatomy, "Rind") == pytest.approx(ball_cc(20) - ball_cc(14), rel=0.03)
    assert cc(anatomy, "Rest") == pytest.approx(ball_cc(34) - ball_cc(20), rel=0.03)
    assert cc(anatomy, "Both") == pytest.approx(ball_cc(20) - ball_cc(14) + ball_cc(12), rel=0.03)
    assert "Rind: ring(GTV, 2, 8)." in anatomy.derived
    assert "Far" not in anatomy.structures
    assert "Far: not derived, there is no Nothing." in anatomy.warnings


def test_a_drawn_structure_takes_the_place_of_its_definition() -> None:
    drawn = ball("Rind", 6.0, x=20.0)
    anatomy = prepared(BODY, LIVER, GTV, drawn, protocol=defined(Rind="ring(GTV, 2, 8)"))
    assert cc(anatomy, "Rind") == pytest.approx(drawn.volume_cc, rel=1e-3)


def test_a_target_that_takes_the_whole_liver_leaves_no_empty_structure() -> None:
    whole = prepared(BODY, ball("Liver", 8.0, x=-20.0), GTV)
    assert "Liver-GTV" not in whole.structures
    assert "Liver-GTV: nothing of the liver is left beside GTV." in whole.warnings


def test_a_single_gtv_keeps_its_contours(usual: Anatomy) -> None:
    assert usual.structures["GTV"].geometry is GTV.geometry


def test_a_scan_without_lung_or_gas_has_no_target_in_it() -> None:
    """A scan cropped to the inside of the patient."""
    inside = Volume(CT_GRID, np.full(CT_GRID.shape, 30.0))
    shape = {"PTV": ball("PTV", 12.0, "PTV", x=-20.0)}
    assert placement_warnings(shape, StructureSet(()), inside, GRID, LEAN) == []
    (told,) = placement_warnings(shape, StructureSet(()), Volume(CT_GRID, inside.values - 1000), GRID, LEAN)
    assert "lung or gas" in told

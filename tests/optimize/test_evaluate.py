"""Judging a dose against a protocol, on a phantom whose doses are known by construction."""

from __future__ import annotations

import ast
import dataclasses
import json
import math
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import optimize
from dosecalc.errors import InputError
from dosecalc.grid import Grid, Volume
from dosecalc.structures import Occupancy, Structure, StructureSet
from optimize.accepted import against_the_protocol
from optimize.dvh import DVH_COLUMNS, dvh_rows
from optimize.evaluate import evaluate, judged_goals
from optimize.regions import regions_on
from optimize.results import Certificate, GoalResult, PlanEvaluation, to_json
from protocols import Protocol, available, load, relaxed

STDLIB = sys.stdlib_module_names
# Unequal counts and spacings, so that a swapped axis shows. A voxel has 0.024 cc.
GRID = Grid(origin_mm=(-16.0, -20.0, 5.0), spacing_mm=(2.0, 3.0, 4.0), shape=(12, 14, 18))
SOURCED = {"source": "a citation", "status": "VERIFIED"}


def box(z: tuple[int, int], y: tuple[int, int], x: tuple[int, int], fraction: float = 1.0) -> np.ndarray:
    values = np.zeros(GRID.shape, dtype=np.float32)
    values[z[0] : z[1], y[0] : y[1], x[0] : x[1]] = fraction
    return values


MASKS = {
    "Body": box((0, 12), (0, 14), (0, 18)),
    "GTV": box((5, 7), (6, 8), (8, 10)),  # 8 voxels
    "PTV": box((4, 8), (5, 9), (6, 12)),  # 96 voxels
    "PTV_opt": box((4, 8), (5, 9), (6, 11)),  # 80 voxels
    "Duodenum": box((4, 8), (5, 9), (12, 14)),  # 32 voxels beside the PTV
    "Liver-GTV": box((2, 10), (2, 12), (2, 16)),  # contains the targets: doses overlap on purpose
    "SpinalCord": box((0, 12), (11, 12), (8, 9)),  # cut at both ends
}
ROLES = {"Body": "EXTERNAL", "GTV": "GTV", "PTV": "PTV", "PTV_opt": "PTV"}


def structure_set(without: tuple[str, ...] = (), **more: np.ndarray) -> StructureSet:
    masks = {name: mask for name, mask in (MASKS | more).items() if name not in without}
    return StructureSet(tuple(Structure(n, ROLES.get(n, "ORGAN"), Occupancy(GRID, mask)) for n, mask in masks.items()))


def goal(goal_id: str, structure: str, metric: str, **over: Any) -> dict[str, Any]:
    row = {
        "id": goal_id,
        "structure": structure,
        "metric": metric,
        "level": "mandatory",
        "level_by": "source",
    }
    if not metric.startswith("CV"):
        unit = "cc" if metric == "Volume" or metric.endswith("Gy") else "%" if metric.endswith("Gy%") else "Gy"
        row |= {"comparator": "<=", "limit": 32.0, "unit": unit}
    return row | SOURCED | over


DUODENUM = goal("duodenum_max", "Duodenum", "D0.035cc")
GTV_D98 = goal("gtv_d98", "GTV", "D98%", comparator=">=", limit=56.4, level="optimal")


def protocol(
    *goals: dict[str, Any], ptv_mean: float | None = None, max_gy: float | None = 100.0, risk_pct: float | None = None
) -> Protocol:
    """A five-fraction protocol: floor 50, target and cap 60 Gy."""
    bounds = {"floor": 50.0, "target": 60.0, "cap": 60.0}
    prescription: dict[str, Any] = {
        "structure": "PTV_opt",
        "basis": "D95",
        "gtv_d98": GTV_D98,
        "hot_spot": {
            "structure": "PTV",
            "metric": "D0.035cc",
            "isodose": 0.6,
            "level": "mandatory",
            "level_by": "editorial",
        }
        | ({"max_gy": max_gy} if max_gy else {})
        | SOURCED,
        "outside_ptv": {
            "max_pct_of_d95": 105.0,
            "level": "optimal",
            "level_by": "editorial",
            "source": "a rule",
        },
    } | {name: {"dose_gy": value} | SOURCED for name, value in bounds.items()}
    if ptv_mean is not None:
        prescription["ptv_mean_max"] = goal("ptv_mean", "PTV", "Dmean", limit=ptv_mean, level="optimal")
    if risk_pct is not None:
        risk = {"model": "liver_lkb_metastases", "max_pct": risk_pct} | SOURCED
        prescription |= {"escalation": "iso_ntcp", "iso_ntcp": risk}
    lengths = [
        "gtv_to_ctv_mm",
        "ctv_to_ptv_mm",
        "prv_margin_mm",
        "dose_grid_mm",
        "verify_grid_mm",
        "beamlet_mm",
        "small_ptv_cc",
        "small_ptv_beamlet_mm",
        "skin_rind_mm",
        "chestwall_rind_mm",
        "chbt_margin_mm",
    ]
    planning: dict[str, Any] = dict.fromkeys(lengths, 2.0) | {"serial_organs": (), "beams": "liver_right"}
    choices = ({"keys": tuple(planning), "source": "a rule", "level_by": "editorial"},)
    return Protocol.model_validate(
        {
            "schema_version": 1,
            "name": "test_5fx",
            "title": "test",
            "description": "test",
            "fractions": 5,
            "prescription": prescription,
            "goals": goals or (DUODENUM,),
            "planning": planning | {"rules": (), "choices": choices},
        }
    )


def dose_of(**levels: float) -> Volume:
    """2 Gy everywhere, then each named structure's voxels in the order given."""
    values = np.full(GRID.shape, 2.0)
    for name, gy in levels.items():
        values[MASKS[name.replace("LiverGTV", "Liver-GTV")] > 0] = gy
    return Volume(GRID, values)


GOOD = {"PTV": 60.0, "GTV": 70.0, "Duodenum": 30.0}


def rows(evaluation: PlanEvaluation) -> dict[str, GoalResult]:
    return {row.id: row for row in evaluation.goals}


# --- verdicts ---


def test_a_good_plan_is_ok_and_every_number_is_the_constructed_one() -> None:
    evaluation = evaluate(dose_of(**GOOD), structure_set(), protocol(DUODENUM, ptv_mean=75.0))
    found = rows(evaluation)
    assert evaluation.status == "ok"
    assert list(found) == [
        "prescription_floor",
        "prescription_target",
        "gtv_d98",
        "hot_spot",
        "ptv_mean",
        "outside_ptv",
        "duodenum_max",
    ]
    assert {name: row.value for name, row in found.items()} == {
        "prescription_floor": 60.0,
        "prescription_target": 60.0,
        "gtv_d98": 70.0,
        "hot_spot": 70.0,
        "ptv_mean": pytest.approx((88 * 60 + 8 * 70) / 96),
        "outside_ptv": 30.0,
        "duodenum_max": 30.0,
    }
    assert found["hot_spot"].limit == pytest.approx(min(60.0 / 0.6, 100.0))
    assert found["outside_ptv"].limit == pytest.approx(63.0)
    assert found["prescription_floor"].slack == pytest.approx(10.0)
    assert found["duodenum_max"].slack == pytest.approx(2.0)
    assert all(row.met and row.assessed for row in evaluation.goals)
    assert [name for name, row in found.items() if row.binding] == ["prescription_target"]


@pytest.mark.parametrize("risk_pct", [50.0, 5.0])
def test_a_stated_risk_is_judged_like_a_limit(risk_pct: float) -> None:
    """24 Gy in 5 fractions to the whole liver: EQD2 is 24 (4.8 + 2.5) / 4.5, TD50 45.8 (1.5 + 2.5) / 4.5 Gy."""
    dose = dose_of(LiverGTV=24.0)
    judged = evaluate(dose, structure_set(), protocol(goal("body", "Body", "Dmax", limit=32.0), risk_pct=risk_pct))
    row, td50 = rows(judged)["iso_ntcp"], 45.8 * 4.0 / 4.5
    expected = 50.0 * math.erfc((td50 - 24.0 * 7.3 / 4.5) / (0.12 * td50) / math.sqrt(2.0))
    assert (row.structure, row.metric, row.limit, row.unit) == ("Liver-GTV", "NTCP", risk_pct, "%")
    assert row.value == pytest.approx(expected)
    assert (row.met, row.level, row.source.startswith("a citation; ")) == (risk_pct == 50.0, "mandatory", True)
    (line,) = (line for line in judged.warnings if line.startswith("the dose was chosen by Liver NTCP"))
    assert "fitted to fractions of 1.5 Gy" in line
    assert "up to 4.8 Gy per fraction" in line


def test_an_accepted_risk_decides_the_status_and_is_shown_against_the_stated_one() -> None:
    stated = protocol(goal("body", "Body", "Dmax", limit=99.0), risk_pct=5.0)
    dose = dose_of(LiverGTV=18.0, PTV=60.0)
    assert evaluate(dose, structure_set(), stated).status == "rejected"
    eased = relaxed(stated, {"iso_ntcp": 99.0})
    shown = against_the_protocol(evaluate(dose, structure_set(), eased), eased)
    row = rows(shown)["iso_ntcp"]
    assert (shown.status, row.limit, row.accepted_limit, row.met) == ("ok", 5.0, 99.0, False)
    assert shown.warnings[0].startswith("ACCEPTED RELAXATION of iso_ntcp: Liver-GTV NTCP is planned at <= 99 %")


def test_a_risk_of_an_organ_that_is_not_there_is_refused_and_of_a_cut_one_not_assessed() -> None:
    with pytest.raises(InputError, match=r"Liver-GTV.*prescription\.iso_ntcp"):
        evaluate(dose_of(**GOOD), structure_set(without=("Liver-GTV",)), protocol(risk_pct=5.0))
    cut = evaluate(dose_of(**GOOD), structure_set(), protocol(risk_pct=5.0), cut_structures=("Liver-GTV",))
    row = rows(cut)["iso_ntcp"]
    assert (row.assessed, row.note) == (False, "NOT ASSESSED: the scan cuts the organ: NTCP")


def test_prescription_reached_on_every_basis() -> None:
    reached = evaluate(dose_of(**GOOD), structure_set(), protocol()).prescription
    assert (reached.dose_gy, reached.basis, reached.structure) == (60.0, "D95", "PTV_opt")
    assert reached.bed10_gy == pytest.approx(60 * (1 + 12 / 10))  # Fowler 1989: D (1 + d / 10)
    assert reached.eqd2_gy == pytest.approx(132 / 1.2)
    assert reached.isodose_pct == pytest.approx(100 * 60 / 70)
    bases = {target.structure: target for target in reached.bases}
    assert list(bases) == ["PTV_opt", "PTV", "GTV"]
    assert (bases["GTV"].d99_gy, bases["PTV"].d99_gy, bases["PTV"].d2_gy) == (70.0, 60.0, 70.0)
    assert bases["PTV_opt"].mean_gy == pytest.approx((72 * 60 + 8 * 70) / 80)


@pytest.mark.parametrize(
    ("duodenum_gy", "met", "binding", "status"),
    [
        (31.0, True, False, "ok"),
        (31.9, True, True, "ok"),  # within 0.5 % of 32 Gy
        (32.0, True, True, "ok"),
        (32.009, True, True, "ok"),  # within the acceptance of 0.01 Gy
        (32.02, False, True, "rejected"),
        (35.0, False, False, "rejected"),
    ],
)
@pytest.mark.parametrize("comparator", ["<", "<="])
def test_upper_limits(comparator: str, duodenum_gy: float, met: bool, binding: bool, status: str) -> None:
    asked = protocol(DUODENUM | {"comparator": comparator})
    evaluation = evaluate(dose_of(**GOOD | {"Duodenum": duodenum_gy}), structure_set(), asked)
    row = rows(evaluation)["duodenum_max"]
    assert (row.met, row.binding, evaluation.status) == (met, binding, status)
    assert row.slack == pytest.approx(32.0 - duodenum_gy)


@pytest.mark.parametrize(("limit", "met"), [(0.768, True), (0.775, True), (0.8, False)])
def test_lower_limits(limit: float, met: bool) -> None:
    """The duodenum has 32 voxels of 0.024 cc: 0.768 cc."""
    asked = protocol(goal("size", "Duodenum", "Volume", comparator=">=", limit=limit))
    row = rows(evaluate(dose_of(**GOOD), structure_set(), asked))["size"]
    assert row.value == pytest.approx(0.768)
    assert row.slack == pytest.approx(0.768 - limit)
    assert row.met is met


def test_an_optimal_goal_never_rejects() -> None:
    asked = protocol(DUODENUM | {"level": "optimal", "limit": 10.0})
    evaluation = evaluate(dose_of(**GOOD), structure_set(), asked)
    assert rows(evaluation)["duodenum_max"].met is False
    assert evaluation.status == "ok"


def test_goals_alone_are_those_of_the_evaluation() -> None:
    given = dose_of(**GOOD | {"Duodenum": 31.0}), structure_set(), protocol(*CUT_GOALS, DUODENUM, risk_pct=5.0)
    assert judged_goals(*given, cut_structures=("Duodenum",)) == evaluate(*given, cut_structures=("Duodenum",)).goals


def test_below_the_floor_is_rejected() -> None:
    evaluation = evaluate(dose_of(PTV=49.0, GTV=70.0), structure_set(), protocol())
    assert evaluation.status == "rejected"
    assert rows(evaluation)["prescription_floor"].slack == pytest.approx(-1.0)


def test_coverage_counts_the_coldest_five_percent_as_volume() -> None:
    """80 voxels in PTV_opt: 4 cold ones are 5 %, the fifth pulls D95% down."""
    values = dose_of(PTV=60.0).values.copy()
    cold = np.argwhere(MASKS["PTV_opt"] > 0)
    for count, reached in ((4, 60.0), (5, 20.0)):
        for z, y, x in cold[:count]:
            values[z, y, x] = 20.0
        evaluation = evaluate(Volume(GRID, values.copy()), structure_set(), protocol())
        assert evaluation.prescription.dose_gy == reached


def test_hot_spot_limit_is_the_lower_of_isodose_and_absolute_maximum() -> None:
    dose = dose_of(PTV=54.0, GTV=91.0)
    relative = evaluate(dose, structure_set(), protocol())
    assert rows(relative)["hot_spot"].limit == pytest.approx(90.0)
    assert relative.status == "rejected"
    absolute = evaluate(dose_of(PTV=60.0, GTV=91.0), structure_set(), protocol(max_gy=90.0))
    assert rows(absolute)["hot_spot"].limit == pytest.approx(90.0)
    assert rows(evaluate(dose, structure_set(), protocol(max_gy=None)))["hot_spot"].slack == pytest.approx(-1)


@pytest.mark.parametrize(("inside", "hottest_gy"), [(1.0, 2.0), (0.9, 2.0), (0.4, 90.0)])
def test_outside_the_ptv_counts_voxels_that_are_mostly_outside(inside: float, hottest_gy: float) -> None:
    values = dose_of(PTV=60.0).values.copy()
    values[5, 6, 8] = 90.0
    partial = MASKS["PTV"].copy()
    partial[5, 6, 8] = inside
    evaluation = evaluate(Volume(GRID, values), structure_set(PTV=partial), protocol())
    assert rows(evaluation)["outside_ptv"].value == hottest_gy
    assert rows(evaluation)["outside_ptv"].met is (hottest_gy < 63.0)


@pytest.mark.parametrize("name", available())
def test_shipped_protocols_are_judged_in_full(name: str) -> None:
    """With every structure there, no row is left out, and the ids are unique and as in the file."""
    shipped = load(name)
    named = {goal.structure for goal in shipped.goals} - set(MASKS)
    evaluation = evaluate(dose_of(**GOOD), structure_set(**dict.fromkeys(named, MASKS["Duodenum"])), shipped)
    left_out = [row for row in evaluation.goals if not row.assessed or row.value is None]
    assert {row.structure for row in left_out} <= {"SpinalCord"}  # cut in this phantom
    ids = [row.id for row in evaluation.goals]
    assert len(set(ids)) == len(ids)
    assert ids[-len(shipped.goals) :] == [goal.id for goal in shipped.goals]
    assert ids[:4] == ["prescription_floor", "prescription_target", "gtv_d98", "hot_spot"]
    json.dumps(to_json(evaluation), allow_nan=False)


def test_a_hot_spot_outside_the_gtv_is_judged_in_gy_and_relative_to_the_reached_dose() -> None:
    """8 of the 96 voxels are GTV; of the others 16 have 66 Gy, 110 % of the reached 60 Gy."""
    dose = dose_of(**GOOD)
    values = dose.values.copy()
    values[4, 5:9, 7:11] = 66.0
    asked = protocol(
        goal("spot", "PTV", "V109%(PTV-GTV)", limit=0.3, unit="cc", level="optimal"),
        goal("spot_gy", "PTV", "V66Gy(PTV-GTV)", limit=0.4, unit="cc"),
    )
    evaluation = evaluate(Volume(GRID, values), structure_set(), asked)
    found = rows(evaluation)
    assert [found[name].value for name in ("spot", "spot_gy")] == pytest.approx([16 * 0.024] * 2)
    assert (found["spot"].met, found["spot_gy"].met, evaluation.status) == (False, True, "ok")


def test_a_hot_spot_to_be_confined_needs_a_gtv() -> None:
    confined = goal("spot_gy", "PTV", "V66Gy(PTV-GTV)", limit=0.4, unit="cc")
    without = structure_set(without=("GTV",))
    with pytest.raises(InputError, match=r"GTV.*asked for by .*goals\[spot_gy\]"):
        evaluate(dose_of(**GOOD), without, protocol(confined))
    judged = evaluate(dose_of(**GOOD), without, protocol(DUODENUM, confined | {"level": "optimal"}))
    assert rows(judged)["spot_gy"].note.startswith("NOT ASSESSED: needs the dose of the body round the PTV, a GTV")


# --- what cannot be judged ---


def test_missing_mandatory_structures_are_refused_together_with_near_names_and_remedy() -> None:
    asked = protocol(DUODENUM, goal("stomach", "Stomach", "D0.035cc"))
    with pytest.raises(InputError) as caught:
        evaluate(dose_of(**GOOD), structure_set(without=("Duodenum",), duodenum_old=MASKS["Duodenum"]), asked)
    text = str(caught.value)
    assert "Duodenum (near: duodenum_old)" in text
    assert "--accept-missing Duodenum --accept-missing Stomach" in text


def test_a_missing_structure_accepted_by_name_reads_not_assessed() -> None:
    evaluation = evaluate(
        dose_of(**GOOD), structure_set(without=("Duodenum",)), protocol(), accepted_missing=("Duodenum",)
    )
    row = rows(evaluation)["duodenum_max"]
    assert (row.value, row.slack, row.met, row.assessed, row.binding) == (None, None, None, False, False)
    assert row.note == "NOT ASSESSED: structure missing, accepted by name"
    assert evaluation.status == "ok"
    assert any("Duodenum" in warning for warning in evaluation.warnings)


def test_only_if_contoured_and_optimal_goals_need_no_acceptance() -> None:
    asked = protocol(
        DUODENUM,
        goal("duct", "BileDuct_Common", "D0.035cc", only_if_contoured=True),
        goal("rib", "Rib", "D0.035cc", level="optimal"),
    )
    found = rows(evaluate(dose_of(**GOOD), structure_set(), asked))
    assert found["duct"].note == "NOT ASSESSED: not contoured"
    assert found["rib"].note == "NOT ASSESSED: structure missing, optimal goal"
    assert not found["duct"].assessed and not found["rib"].assessed


def test_a_missing_target_cannot_be_accepted() -> None:
    with pytest.raises(InputError, match="PTV_opt"):
        evaluate(dose_of(**GOOD), structure_set(without=("PTV_opt",)), protocol(), accepted_missing=("PTV_opt",))


def test_a_target_at_the_face_of_the_grid_is_refused() -> None:
    with pytest.raises(InputError, match="the dose grid cuts a target"):
        evaluate(dose_of(**GOOD), structure_set(PTV_opt=box((0, 8), (5, 9), (6, 11))), protocol())


def test_a_coarse_grid_and_a_dose_of_no_course_are_warned_of() -> None:
    """Voxels of 2 x 3 x 4 mm."""
    usual = evaluate(dose_of(**GOOD), structure_set(), protocol()).warnings
    assert any("dose grid is coarse (2 x 3 x 4 mm" in warning for warning in usual)
    assert not any("highest dose" in warning for warning in usual)
    cgy = Volume(GRID, 100.0 * dose_of(**GOOD).values)
    assert any("highest dose is 7000 Gy" in w for w in evaluate(cgy, structure_set(), protocol()).warnings)


CUT_GOALS = (
    goal("mean", "Liver-GTV", "Dmean"),
    goal("share", "Liver-GTV", "V20Gy%", limit=50.0),
    goal("spared", "Liver-GTV", "CV10cc<15Gy"),
    goal("spared_more", "Liver-GTV", "CV700cc<15Gy"),
    goal("hot", "Liver-GTV", "D0.035cc"),
)


@pytest.mark.parametrize("known_by", ["name", "face"])
def test_a_cut_organ(known_by: str) -> None:
    """8 x 10 x 14 voxels of 0.024 cc are 26.88 cc, all but the targets below 15 Gy."""
    liver = {"Liver-GTV": box((2, 12), (2, 12), (2, 16))} if known_by == "face" else {}
    cut = ("Liver-GTV",) if known_by == "name" else ()
    evaluation = evaluate(dose_of(PTV=60.0), structure_set(**liver), protocol(*CUT_GOALS), cut_structures=cut)
    found = rows(evaluation)
    border = "the dose grid" if known_by == "face" else "the scan"
    assert any(w.startswith(f"{border} cuts Liver-GTV:") for w in evaluation.warnings)
    assert found["mean"].note == f"NOT ASSESSED: {border} cuts the organ: mean dose"
    assert not found["share"].assessed
    assert found["spared"].met is True and "lower bound" in found["spared"].note
    assert found["spared"].value == pytest.approx(26.88 - 96 * 0.024 + (6.72 if known_by == "face" else 0.0))
    assert not found["spared_more"].assessed and found["spared_more"].value is None
    assert "lower bound" in found["spared_more"].note
    assert found["hot"].met is False and found["hot"].value == 60.0
    assert any("Liver-GTV" in warning for warning in evaluation.warnings)


def test_a_whole_organ_is_judged_in_full() -> None:
    found = rows(evaluate(dose_of(PTV=60.0), structure_set(), protocol(*CUT_GOALS)))
    assert found["mean"].value == pytest.approx((1120 - 96) / 1120 * 2 + 96 / 1120 * 60)
    assert found["share"].value == pytest.approx(100 * 96 / 1120)
    assert found["spared_more"].met is False
    assert found["spared_more"].slack == pytest.approx(1024 * 0.024 - 700)


def test_gtvs_of_any_name_stand_for_the_gtv() -> None:
    halves = [
        Structure(name, "GTV", Occupancy(GRID, mask))
        for name, mask in (
            ("Met A", box((5, 6), (6, 8), (8, 10))),
            ("Met B", box((6, 7), (6, 8), (8, 10), 0.5)),
        )
    ]
    evaluation = evaluate(dose_of(**GOOD), structure_set(without=("GTV",)).adding(*halves), protocol())
    assert rows(evaluation)["gtv_d98"].value == 70.0
    assert [target.structure for target in evaluation.prescription.bases] == ["PTV_opt", "PTV", "GTV"]


def test_overlapping_targets_are_counted_once() -> None:
    masks = (("Met A", box((5, 7), (6, 8), (8, 10))), ("Met B", box((6, 8), (6, 8), (8, 10))))
    targets = StructureSet(tuple(Structure(name, "GTV", Occupancy(GRID, mask)) for name, mask in masks))
    assert regions_on(dose_of(**GOOD), targets, ())["GTV"].total_cc == pytest.approx(12 * 0.024)


def test_warnings_for_tiny_structures_caps_and_large_fractions() -> None:
    asked = protocol(DUODENUM, goal("papilla", "Papilla", "D0.5cc"))
    tiny = structure_set(Papilla=box((8, 9), (5, 6), (13, 14), 0.25))
    evaluation = evaluate(dose_of(PTV=95.0, Duodenum=30.0), tiny, asked)
    told = " ".join(evaluation.warnings)
    assert "Papilla: 0.006 cc, smaller than one voxel" in told
    assert "cap of 60 Gy" in told
    assert "linear-quadratic" in told
    assert rows(evaluation)["papilla"].value == 2.0
    assert "maximum dose" in rows(evaluation)["papilla"].note


@pytest.mark.parametrize(
    ("duodenum_gy", "limit", "told"), [(30.0, 32.0, True), (30.0, 46.0, False), (33.0, 32.0, False)]
)
def test_a_goal_that_holds_at_voxel_centres_only_is_told(duodenum_gy: float, limit: float, told: bool) -> None:
    """The duodenum at 30 Gy touches the PTV at 60 Gy: the dose on their common face is 45 Gy.

    A goal that is broken at the centres already is not told again.
    """
    asked = protocol(DUODENUM | {"limit": limit})
    evaluation = evaluate(dose_of(**GOOD | {"Duodenum": duodenum_gy}), structure_set(), asked)
    lines = [line for line in evaluation.warnings if "interpolated" in line]
    assert len(lines) == told
    if told:
        assert lines[0].startswith("Duodenum D0.035cc (duodenum_max) is 4")
        assert "30.0 at them, <= 32 asked for" in lines[0]
        assert rows(evaluation)["duodenum_max"].met is True


@pytest.mark.parametrize(("limit", "told"), [(33.1, True), (33.3, False), (34.0, False)])
def test_how_far_a_dose_climbs_between_voxel_centres(limit: float, told: bool) -> None:
    """1 Gy per voxel: 33 Gy at the hottest centres, 33.5 Gy at the face, 33.4 Gy at 0.035 of 0.768 cc below it."""
    values = np.broadcast_to(20.0 + np.arange(GRID.shape[2]), GRID.shape)
    evaluation = evaluate(Volume(GRID, values), structure_set(), protocol(DUODENUM | {"limit": limit}))
    assert rows(evaluation)["duodenum_max"].value == 33.0
    lines = [line for line in evaluation.warnings if "interpolated" in line]
    assert len(lines) == told
    assert all("is 33.4 Gy" in line for line in lines)


@pytest.mark.parametrize("bad", [np.nan, np.inf, -0.1])
def test_a_dose_that_is_no_dose_is_refused(bad: float) -> None:
    values = dose_of(**GOOD).values.copy()
    values[0, 0, 0] = bad
    with pytest.raises(InputError, match=r"NaN or infinite|negative"):
        evaluate(Volume(GRID, values), structure_set(), protocol())


def test_inputs_are_not_changed_and_single_precision_doses_give_the_same_verdict() -> None:
    dose = dose_of(**GOOD)
    before = dose.values.copy()
    double = evaluate(dose, structure_set(), protocol())
    np.testing.assert_array_equal(dose.values, before)
    single = evaluate(Volume(GRID, dose.values.astype(np.float32)), structure_set(), protocol())
    assert [row.met for row in single.goals] == [row.met for row in double.goals]


# --- what it is written as ---

CONTRACT = {
    "side_by_side",
    "alpha_beta",
    "schema_version",
    "status",
    "fractions",
    "dose_kind",
    "dose_to",
    "prescription",
    "goals",
    "structures",
    "certificate",
    "delivery",
    "interrupted",
    "verification",
    "outcome",
    "eligibility",
    "with_prior",
    "escalation",
    "warnings",
}
GOAL_KEYS = {
    "id",
    "structure",
    "metric",
    "comparator",
    "limit",
    "unit",
    "value",
    "slack",
    "level",
    "level_by",
    "met",
    "assessed",
    "binding",
    "source",
    "status",
}


def test_json_holds_the_contract_and_only_strict_json() -> None:
    evaluation = evaluate(
        dose_of(**GOOD),
        structure_set(without=("Duodenum",)),
        protocol(),
        accepted_missing=("Duodenum",),
        certificate=Certificate(gap_fixed=1e-5, kkt=float("nan")),
    )
    record = json.loads(json.dumps(to_json(evaluation), allow_nan=False))
    assert set(record) == CONTRACT
    assert record["dose_kind"] == "total"
    assert record["dose_to"] is None  # a dose that was read does not say
    assert {"dose_gy", "basis", "isodose_pct"} <= set(record["prescription"])
    assert all(set(row) >= GOAL_KEYS for row in record["goals"])
    assert record["goals"][-1]["value"] is None and record["goals"][-1]["assessed"] is False
    assert set(record["structures"]["PTV"]) == {"volume_cc", "mean_gy", "d95_gy", "d0_035cc_gy"}
    assert record["structures"]["PTV"]["volume_cc"] == pytest.approx(96 * 0.024)
    assert record["certificate"] == {
        "gap_fixed": 1e-5,
        "gap_bound": None,
        "kkt": None,
        "max_violation_gy": None,
    }


def test_a_dose_of_zero_is_judged() -> None:
    evaluation = evaluate(Volume(GRID, np.zeros(GRID.shape)), structure_set(), protocol())
    assert evaluation.status == "rejected"
    assert evaluation.prescription.isodose_pct is None
    json.dumps(to_json(evaluation), allow_nan=False)


def test_histogram_rows_agree_with_the_scorecard() -> None:
    dose, structures = dose_of(**GOOD), structure_set()
    table = list(dvh_rows(dose, structures, bin_gy=0.5))
    assert DVH_COLUMNS == ("structure", "dose_gy", "volume_cc", "volume_pct")
    assert {row[0] for row in table} == set(structures.names)
    ptv = {gy: (cc, pct) for name, gy, cc, pct in table if name == "PTV"}
    assert ptv[60.0] == (pytest.approx(96 * 0.024), pytest.approx(100.0))
    assert ptv[60.5] == (pytest.approx(8 * 0.024), pytest.approx(100 * 8 / 96))
    assert ptv[70.5] == (0.0, 0.0)


def test_results_are_frozen() -> None:
    evaluation = evaluate(dose_of(**GOOD), structure_set(), protocol())
    with pytest.raises(dataclasses.FrozenInstanceError):
        evaluation.status = "ok"  # type: ignore[misc]


def imported(module: str) -> set[str]:
    """Modules that a module of `optimize` imports, relative ones spelled out."""
    tree = ast.parse((Path(optimize.__file__).parent / f"{module}.py").read_text(encoding="utf-8"))
    names: set[str] = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.level == 0:
            names.add(str(node.module))
        elif isinstance(node, ast.ImportFrom):
            stems = [node.module] if node.module else [alias.name for alias in node.names]
            names |= {f"optimize.{stem}" for stem in stems}
    return names


def test_judging_shares_no_code_with_the_problem_builder() -> None:
    """Else a fault there would confirm itself here."""
    found: set[str] = set()
    queue = ["evaluate", "dvh"]
    while queue:
        new = imported(queue.pop()) - found
        found |= new
        queue += [name.removeprefix("optimize.") for name in new if name.startswith("optimize.")]
    inside = {name for name in found if name.startswith("optimize")}
    judges = (
        "bridging",
        "conformity",
        "geud",
        "judging",
        "metrics",
        "organ_risk",
        "prescribed",
        "regions",
        "results",
        "sampling",
        "steepness",
        "voxel_doses",
    )
    records = ("eligibility_results", "escalation_results", "outcome_results")
    assert inside == {f"optimize.{n}" for n in (*judges, *records)}
    assert {name.split(".")[0] for name in found - inside} <= {"dosecalc", "protocols", "numpy", "scipy"} | STDLIB
    assert {name for name in found if name.startswith("dosecalc")} <= {
        "dosecalc.errors",
        "dosecalc.grid",
        "dosecalc.plausibility",
        "dosecalc.structures",
    }

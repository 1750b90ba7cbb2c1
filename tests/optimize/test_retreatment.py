"""Limits on the sum with an earlier treatment, against sums worked out by hand, and from files."""

from __future__ import annotations

import dataclasses
import json
import math
from pathlib import Path

import numpy as np
import pytest

from dosecalc.backend import select_backend
from dosecalc.density import to_density
from dosecalc.dicom import CtSeries, read_rtdose, write_rtdose, write_rtstruct
from dosecalc.errors import InputError, UsageError
from dosecalc.grid import Grid, Volume
from dosecalc.influence import DoseInfluence
from dosecalc.reading import read_ct_series
from dosecalc.structures import Occupancy, Structure, StructureSet
from optimize.evaluate import evaluate
from optimize.goals import PlanGoals
from optimize.planning import Plan, _doubted, _with_sum
from optimize.prior_treatment import PriorTreatment
from optimize.provenance import overrides
from optimize.results import PlanEvaluation, SummedGoal, SumWithPrior, to_json
from optimize.retreatment import with_prior
from optimize.saving import save_plan
from optimize.second_opinion import FinerDose
from protocols import Protocol, StructureVolume, available, eqd2, load
from protocols.escalation import IsoNtcp

from .conftest import Run
from .small_case import ACCEPTED, DUODENUM_GY, GTV_CENTRE, Patient, _ball, small_structures, write_protocol

GRID = Grid((-20.0, -18.0, -21.0), (2.0, 3.0, 3.5), (13, 13, 21))


def box(name: str, z: slice, y: slice, x: slice, role: str = "ORGAN") -> Structure:
    mask = np.zeros(GRID.shape, np.float32)
    mask[z, y, x] = 1.0
    return Structure(name, role, Occupancy(GRID, mask))


STRUCTURES = StructureSet(
    (
        box("Body", slice(0, 13), slice(0, 13), slice(0, 21), "EXTERNAL"),
        box("GTV", slice(5, 7), slice(5, 7), slice(5, 7), "GTV"),
        box("PTV", slice(4, 8), slice(4, 8), slice(4, 8), "PTV"),
        box("PTV_opt", slice(4, 8), slice(4, 8), slice(4, 8), "PTV"),
        box("Duodenum", slice(4, 8), slice(4, 8), slice(10, 13)),
        box("SpinalCord", slice(2, 11), slice(10, 12), slice(8, 10)),
        box("Liver-GTV", slice(2, 11), slice(1, 9), slice(1, 9)),
    )
)
PRESENT_GY = 10.0


@pytest.fixture(scope="module")
def protocol(tmp_path_factory: pytest.TempPathFactory) -> Protocol:
    """Five fractions: cord D0.035cc at most 25 Gy, mean liver dose at most 15.2 Gy, duodenum as the small case."""
    return load(write_protocol(tmp_path_factory.mktemp("protocol") / "small.toml"))


def present() -> Volume:
    """10 Gy everywhere, 60 Gy in the PTV."""
    values = np.full(GRID.shape, PRESENT_GY)
    values[4:8, 4:8, 4:8] = 60.0
    return Volume(GRID, values)


def judge(protocol: Protocol, prior: PriorTreatment, dose: Volume | None = None) -> PlanEvaluation:
    dose = dose or present()
    alone = evaluate(dose, STRUCTURES, protocol, accepted_missing=("Stomach",))
    return with_prior(alone, dose, STRUCTURES, protocol, prior, accepted_missing=("Stomach",))


def even(gy: float, grid: Grid = GRID) -> Volume:
    return Volume(grid, np.full(grid.shape, gy))


def summed(judged: PlanEvaluation) -> tuple[SumWithPrior, dict[str, SummedGoal]]:
    found = judged.with_prior
    assert found is not None
    return found, {row.goal.id: row for row in found.goals}


def test_no_earlier_dose_changes_nothing(protocol: Protocol) -> None:
    judged = judge(protocol, PriorTreatment(even(0.0), 5))
    _, rows = summed(judged)
    alone = {row.id: row for row in judged.goals}
    assert set(rows) == {"duodenum_max", "duodenum_2cc", "cord_max", "stomach_max", "liver_mean"}
    for name, row in rows.items():
        expected = alone[name]
        if expected.value is None:
            assert row.goal == expected
        else:
            assert row.goal.value == pytest.approx(expected.value, rel=1e-12)
            assert row.present == expected.value
            assert (row.goal.met, row.goal.limit, row.goal.note) == (expected.met, expected.limit, expected.note)


@pytest.mark.parametrize("name", available())
def test_every_shipped_protocol_is_judged_on_the_sum(name: str) -> None:
    """Goals without dose, such as the volume of the liver, have no sum."""
    protocol, there = load(name), {structure.name for structure in STRUCTURES}
    missing = tuple({goal.structure for goal in protocol.goals} - there)
    alone = evaluate(present(), STRUCTURES, protocol, accepted_missing=missing)
    prior = PriorTreatment(even(0.2), protocol.fractions)
    rows = summed(with_prior(alone, present(), STRUCTURES, protocol, prior, accepted_missing=missing))[1]
    asked = {goal.id for goal in protocol.goals if goal.structure == "Liver-GTV"}
    volumes = {goal.id for goal in protocol.goals if isinstance(goal.metric, StructureVolume)}
    assert asked - volumes and asked - volumes <= set(rows)
    assert not volumes & set(rows)


def test_two_equal_courses_by_hand(protocol: Protocol) -> None:
    """10 Gy in 5 fractions twice: EQD2 10 + 10 Gy; BED2 40 = D (1 + D/10) gives the cord 15.62 Gy in 5 fractions."""
    judged = judge(protocol, PriorTreatment(even(10.0), 5))
    found, rows = summed(judged)
    cord, duodenum = rows["cord_max"], rows["duodenum_max"]
    assert (cord.alpha_beta_gy, duodenum.alpha_beta_gy, rows["liver_mean"].alpha_beta_gy) == (2.0, 3.0, 2.5)
    assert cord.goal.value == pytest.approx(5 * (math.sqrt(17) - 1))
    assert cord.value_eqd2_gy == pytest.approx(20.0)
    assert cord.limit_eqd2_gy == pytest.approx(25 * (5 + 2) / 4)
    # At 2 Gy per fraction the physical dose is its own EQD2 for any organ.
    assert duodenum.value_eqd2_gy == pytest.approx(20.0)
    assert duodenum.goal.value == pytest.approx(7.5 * (math.sqrt(1 + 4 * 20 * (5 / 3) / 15) - 1))
    assert found.status == "rejected"  # the liver
    assert judged.status == evaluate(present(), STRUCTURES, protocol, accepted_missing=("Stomach",)).status


def test_a_limit_that_suffices_is_the_dose_left_where_the_earlier_one_was_highest(protocol: Protocol) -> None:
    """Cord, 25 Gy in 5: BED2 87.5 less 20 of 10 Gy in 5 leaves 67.5 = D (1 + D/10), so 21.46 Gy."""
    prior = PriorTreatment(even(10.0), 5)
    _, rows = summed(judge(protocol, prior))
    left = rows["cord_max"].suffices_gy
    assert left == pytest.approx(5 * (math.sqrt(1 + 4 * 67.5 / 10) - 1))
    assert rows["liver_mean"].suffices_gy is None
    at, beyond = (summed(judge(protocol, prior, even(gy)))[1]["cord_max"].goal for gy in (left, left + 0.1))
    assert at.value == pytest.approx(25.0) and at.met and not beyond.met
    # Where the earlier dose differs from voxel to voxel, such a plan is met with room to spare.
    x = GRID.centres_mm()[:, 0].reshape(GRID.shape)
    uneven = PriorTreatment(Volume(GRID, 12.0 + 0.5 * x), 5)
    left = summed(judge(protocol, uneven))[1]["duodenum_max"].suffices_gy
    goal = summed(judge(protocol, uneven, even(left)))[1]["duodenum_max"].goal
    assert goal.met and 0.96 * goal.limit < goal.value <= goal.limit + 1e-9
    spent = summed(judge(protocol, PriorTreatment(even(30.0), 5)))[1]
    assert spent["cord_max"].suffices_gy == 0.0


def test_recovery_takes_off_a_share_of_the_earlier_eqd2(protocol: Protocol) -> None:
    """20 fractions of 2 Gy, a quarter recovered: 10 + 0.75 * 40 Gy EQD2."""
    full = summed(judge(protocol, PriorTreatment(even(40.0), 20)))[1]["cord_max"]
    less, rows = summed(judge(protocol, PriorTreatment(even(40.0), 20, 0.25)))
    assert full.value_eqd2_gy == pytest.approx(50.0)
    assert rows["cord_max"].value_eqd2_gy == pytest.approx(40.0)
    assert less.recovery == 0.25
    assert any("25 % of the earlier EQD2" in line for line in less.assumptions)
    assert full.goal.met is False and full.goal.slack == pytest.approx(25.0 - full.goal.value)


def test_doses_are_added_where_they_lie(protocol: Protocol) -> None:
    """A gradient on another grid is interpolated at each voxel; the sum of the maxima is no maximum of the sum."""
    fine = Grid((-30.0, -25.0, -30.0), (1.5, 2.0, 2.5), (30, 30, 50))
    x = fine.centres_mm()[:, 0].reshape(fine.shape)
    judged = judge(protocol, PriorTreatment(Volume(fine, 20.0 + 0.4 * x), 10))
    rows = summed(judged)[1]
    # The duodenum's last column lies at x = 4 mm, so 21.6 Gy.
    expected = 10.0 * (2 + 3) / 5 + eqd2(21.6, 10, 3.0)
    assert rows["duodenum_max"].value_eqd2_gy == pytest.approx(expected, rel=1e-6)


def test_a_sum_that_holds_at_voxel_centres_only_is_told(protocol: Protocol) -> None:
    """The duodenum has 10 Gy, the voxel beside its face of 168 mm2 has 14 Gy: 0.21 mm inside it are 11.58 Gy.

    After 12.3 Gy in 5 fractions, BED3 22.39 Gy, that is 17.84 Gy at the centres and 18.94 Gy there, of 18 Gy.
    """
    values = present().values.copy()
    values[4:8, 4:8, 13] = 14.0
    judged = judge(protocol, PriorTreatment(even(12.3), 5), Volume(GRID, values))
    found, rows = summed(judged)
    assert rows["duodenum_max"].goal.met and rows["duodenum_max"].goal.value == pytest.approx(17.84, abs=0.01)
    (line,) = (line for line in found.warnings if "(duodenum_max)" in line)
    assert line.startswith("Duodenum D0.035cc (duodenum_max) is 18.9 Gy where the dose is interpolated")
    assert not any("duodenum_max" in line for line in judged.warnings)


def test_what_lies_beyond_the_earlier_grid_is_not_guessed(protocol: Protocol) -> None:
    half = Grid(GRID.origin_mm, GRID.spacing_mm, (13, 13, 12))  # ends at x = 2 mm, inside the duodenum
    found, rows = summed(judge(protocol, PriorTreatment(even(10.0, half), 5)))
    assert rows["duodenum_max"].goal.note == "the earlier dose grid cuts the organ: a lower bound"
    assert rows["cord_max"].goal.note == ""
    assert any("Duodenum" in line and "lower bounds" in line for line in found.warnings)
    less = Grid(GRID.origin_mm, GRID.spacing_mm, (13, 13, 10))  # ends before it
    rows = summed(judge(protocol, PriorTreatment(even(10.0, less), 5)))[1]
    assert rows["duodenum_max"].goal.note == "NOT ASSESSED: outside the earlier dose grid"
    away = dataclasses.replace(GRID, origin_mm=(900.0, 0.0, 0.0))
    with pytest.raises(InputError, match="no voxel of any organ"):
        judge(protocol, PriorTreatment(even(10.0, away), 5))


def test_large_fractions_are_flagged_and_everything_is_json(protocol: Protocol) -> None:
    judged = judge(protocol, PriorTreatment(even(36.0), 3))
    found, _ = summed(judged)
    assert any(line.startswith("earlier dose: up to 12.0 Gy per fraction") for line in found.warnings)
    assert any(line.startswith("present dose: up to 12.0 Gy per fraction") for line in found.warnings)
    record = json.loads(json.dumps(to_json(judged), allow_nan=False))
    assert record["with_prior"]["goals"][0]["goal"]["id"] == "duodenum_max"
    assert any("alpha/beta 2 Gy: SpinalCord" in line for line in record["with_prior"]["assumptions"])


def test_a_stated_alpha_beta_takes_the_place_of_the_shipped_one(tmp_path: Path) -> None:
    """10 Gy in 5 fractions once more after 10 in 5: at alpha/beta 4 Gy BED 30 = D (1 + D/20) gives 16.46 Gy."""
    file = write_protocol(tmp_path / "small.toml")
    tissue = '[[alpha_beta]]\nstructures = ["Liver"]\nalpha_beta_gy = 3.5\nsource = "our own"\nstatus = "REMEMBERED"\n'
    file.write_text(file.read_text() + tissue)
    stated = load(file, alpha_beta={"SpinalCord": 4.0})
    judged = judge(stated, PriorTreatment(even(10.0), 5))
    found, rows = summed(judged)
    assert (rows["cord_max"].alpha_beta_gy, rows["liver_mean"].alpha_beta_gy) == (4.0, 3.5)
    assert rows["cord_max"].goal.value == pytest.approx(10 * (math.sqrt(1 + 4 * 30 / 20) - 1))
    assert [(a.alpha_beta_gy, a.origin) for a in judged.alpha_beta] == [(4.0, "--alpha-beta"), (3.5, str(file))]
    assert "alpha/beta 3.5 Gy: Liver-GTV (our own)" in found.assumptions
    assert any(w.startswith("alpha/beta of SpinalCord is 4 Gy instead of 2 Gy: stated") for w in judged.warnings)
    assert overrides(stated, (), 5.0) == ("alpha/beta of SpinalCord set to 4 Gy",)


@pytest.mark.parametrize(("fractions", "recovery"), [(0, 0.0), (5, 1.0), (5, 25.0), (5, -0.1), (5, math.nan)])
def test_impossible_earlier_treatments_are_refused(fractions: int, recovery: float) -> None:
    with pytest.raises(UsageError):
        PriorTreatment(even(10.0), fractions, recovery)


# --- from files ---


@pytest.fixture(scope="module")
def files(patient: Patient, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Structures with targets, the present dose, an earlier one, and one of another frame of reference."""
    folder, ct = tmp_path_factory.mktemp("retreatment"), read_ct_series(patient.ct)
    targets = tuple(_ball(name, "PTV", GTV_CENTRE, 28.0) for name in ("PTV", "PTV_opt"))
    liver = dataclasses.replace(small_structures()["Liver"], name="Liver-GTV")
    write_rtstruct(folder / "rtstruct.dcm", small_structures().adding(*targets, liver), ct)
    grid = Grid((-90.0, -70.0, -65.0), (4.0, 4.0, 4.0), (33, 36, 46))
    values = np.full(grid.shape, 4.0)
    inside = targets[0].on(grid)
    values.reshape(-1)[inside.indices] = 55.0
    write_rtdose(folder / "dose.dcm", Volume(grid, values), ct)
    for name, gy in (("prior", 20.0), ("low", 5.0), ("high", 30.0)):
        write_rtdose(folder / f"{name}.dcm", even(gy, grid), ct)
    other = CtSeries(ct.volume, "1.2.3", "1.2.4", "1.2.5")
    write_rtdose(folder / "elsewhere.dcm", even(20.0, grid), other)
    write_protocol(folder / "small.toml")
    return {path.stem: path for path in folder.iterdir()}


def arguments(files: dict[str, Path], *more: object) -> list[object]:
    return ["evaluate", "--dose", files["dose"], "--structures", files["rtstruct"], "--protocol", files["small"],
            "--accept-missing", "Stomach", *more]  # fmt: skip


def test_evaluate_tells_models_rules_and_the_sum(dosecalc: Run, files: dict[str, Path]) -> None:
    prior = ("--prior-dose", files["prior"], "--prior-fractions", "10", "--recovery", "0.5")
    ended = dosecalc(*arguments(files, *prior, "--eligibility", "--after-chemotherapy", "--scenario", "kras"))
    assert ended.code == 0, ended.err
    assert "Sum with the earlier treatment (10 fractions, recovery 0.5)" in ended.out
    assert "Selection rules: " in ended.out and "stated: chemotherapy" in ended.out
    assert "no prediction for a patient" in ended.out and "scenario KRAS mutated" in ended.out
    record = json.loads(dosecalc(*arguments(files, *prior, "--json")).out)
    assert record["eligibility"] is None
    # 20 Gy in 10 fractions has EQD2 20 Gy for every organ: half of it is left.
    cord = next(row for row in record["with_prior"]["goals"] if row["goal"]["id"] == "cord_max")
    assert cord["value_eqd2_gy"] == pytest.approx(10.0 + eqd2(4.0, 5, 2.0), rel=1e-6)
    assert {row["basis"] for row in record["outcome"]["control"]} == {"edge", "GTV minimum", "GTV mean"}
    assert record["outcome"]["scenarios"] == []


@pytest.mark.parametrize(
    ("more", "code", "said"),
    [
        (("--prior-dose", "prior"), 2, "--prior-fractions"),
        (("--prior-fractions", "5"), 2, "--prior-dose"),
        (("--recovery", "0.5"), 2, "--prior-dose"),
        (("--prior-dose", "prior", "--prior-fractions", "5", "--recovery", "25"), 2, "0.25"),
        (("--prior-dose", "elsewhere", "--prior-fractions", "5"), 10, "frame of reference"),
        (("--after-chemotherapy",), 2, "--eligibility"),
        (("--scenario", "krass"), 2, "kras_tp53"),
        (("--alpha-beta", "Liver"), 2, "NAME=GY"),
        (("--alpha-beta", "Liver=0"), 12, "above 0"),
        (("--alpha-beta", "Liver=nan"), 12, "above 0"),
        (("--alpha-beta", "Livver=3"), 12, "'Liver'?"),
        (("--alpha-beta", "GTV=12"), 12, "10 Gy"),
        (("--alpha-beta", "Liver=3", "--alpha-beta", "Liver=2"), 2, "twice"),
    ],
)
def test_mistakes_are_told_in_one_line(
    dosecalc: Run, files: dict[str, Path], more: tuple[str, ...], code: int, said: str
) -> None:
    ended = dosecalc(*arguments(files, *(files.get(word, word) for word in more)))
    assert ended.code == code
    assert said in ended.err and ended.out == "" and "Traceback" not in ended.err


# --- planned ---


def planning(files: dict[str, Path], patient: Patient, out: Path, prior: str) -> list[object]:
    return ["plan", "--ct", patient.ct, "--structures", patient.structures, "--target", "GTV", "--target-role", "GTV",
            "--protocol", files["small"], "--beams", "0:0,90,180,270", "--backend", "numba", "--accept-missing",
            "Stomach", "--prior-dose", files[prior], "--prior-fractions", "5", "--out", out]  # fmt: skip


def test_a_plan_is_judged_on_the_sum_and_rejected_where_that_breaks_a_limit(
    dosecalc: Run, files: dict[str, Path], patient: Patient, planned: Plan, tmp_path: Path, monkeypatch
) -> None:
    """The duodenum stands at its limit without the earlier dose, so with any it is beyond."""
    prior = PriorTreatment(read_rtdose(files["low"]), 5)
    judged = _with_sum(planned.evaluation, planned.dose, planned.anatomy, planned.protocol, ACCEPTED, prior)
    assert (judged.status, judged.accepted, planned.evaluation.accepted) == ("ok", False, True)
    found, rows = summed(judged)
    duodenum = rows["duodenum_max"]
    assert (found.status, duodenum.goal.met) == ("rejected", False)
    assert duodenum.present == pytest.approx(DUODENUM_GY, abs=0.1)
    assert duodenum.value_eqd2_gy == pytest.approx(eqd2(duodenum.present, 5, 3.0) + eqd2(5.0, 5, 3.0), rel=1e-3)
    record = dataclasses.replace(planned.provenance, exit_code=22, prior_treatment=prior.record)
    plan = dataclasses.replace(planned, evaluation=judged, provenance=record)
    monkeypatch.setattr("optimize.report.html._stacks", lambda *_: [])  # images that say nothing here
    folder = save_plan(plan, tmp_path / "out")
    assert folder.name == "out.rejected" and not (tmp_path / "out").exists()
    page = (folder / "report.html").read_text()
    assert "Plan status: REJECTED" in page and 'id="prior"' in page
    assert json.loads((folder / "run.json").read_text())["prior_treatment"]["largest_gy"] == pytest.approx(5.0)
    monkeypatch.setattr("optimize.job.run_job", lambda job, progress, on_round: (plan, folder))
    ended = dosecalc(*planning(files, patient, tmp_path / "other", "low"))
    assert ended.code == 22
    assert "the sum with the earlier treatment breaks a mandatory limit" in ended.err


def test_the_second_opinion_and_the_uncertainty_are_those_of_the_sum_too(
    problem: tuple[DoseInfluence, PlanGoals], planned: Plan
) -> None:
    """After an even dose every voxel of the sum follows from the present dose: D + 7.5 is its length with sqrt k."""
    influence, ct = dataclasses.replace(problem[0], backend=select_backend("numba")), planned.ct.volume
    prior = PriorTreatment(even(5.0, planned.dose.grid), 5)
    density = to_density(ct, planned.machine.calibration)
    finer = FinerDose(density, influence, planned.fluence)
    alone = dataclasses.replace(planned.evaluation, with_prior=None)
    judged = _with_sum(alone, planned.dose, planned.anatomy, planned.protocol, ACCEPTED, prior)
    args = (planned.protocol, planned.anatomy, frozenset(ACCEPTED), ACCEPTED, planned.dose, finer)
    judged = _doubted(judged, *args, prior)
    found, rows = summed(judged)

    def after(present_gy: float) -> float:
        """BED3 of 5 Gy in 5 is 6.67 Gy; c = 15 Gy."""
        return math.hypot(present_gy + 7.5, math.sqrt(15 * 5 * 4 / 3)) - 7.5

    present = {row.id: row.value for row in judged.verification.goals}
    again = {row.id: row for row in found.finer}
    assert set(again) == set(present) and "duodenum_max" in again
    assert again["duodenum_max"].value == pytest.approx(after(present["duodenum_max"]), rel=1e-9)
    assert again["duodenum_max"].note.startswith("near the PTV, on voxels of")
    assert (again["duodenum_max"].met, again["duodenum_max"].limit) == (False, DUODENUM_GY)
    row, off = rows["duodenum_max"].goal, next(g.uncertainty for g in judged.goals if g.id == "duodenum_max")
    assert row.uncertainty is not None and off is not None
    assert row.uncertainty == pytest.approx(after(rows["duodenum_max"].present + off) - row.value, rel=1e-6)


def test_the_complication_probability_is_judged_on_the_sum(protocol: Protocol) -> None:
    """10 Gy in 5 fractions twice: 20 Gy EQD2 everywhere in the liver by the model's alpha/beta of 2.5 Gy."""
    given = IsoNtcp(model="liver_lkb_metastases", max_pct=5.0, status="VERIFIED", source="a test")
    prescription = protocol.prescription.model_copy(update={"iso_ntcp": given})
    limited = protocol.model_copy(update={"prescription": prescription})
    _, rows = summed(judge(limited, PriorTreatment(even(10.0), 5), even(10.0)))
    curve = given.curve
    td50 = curve.td50_eqd2_gy(2.5)
    row = rows["iso_ntcp"]
    assert "gEUD 20.0 Gy (EQD2, alpha/beta 2.5 Gy)" in row.goal.note and row.alpha_beta_gy == 2.5
    assert row.goal.value == pytest.approx(50 * math.erfc((td50 - 20.0) / (curve.m * td50 * math.sqrt(2))), rel=1e-9)
    assert row.present == pytest.approx(50 * math.erfc((td50 - 10.0) / (curve.m * td50 * math.sqrt(2))), rel=1e-6)
    found, rows = summed(judge(limited, PriorTreatment(even(40.0), 20), even(10.0)))
    assert rows["iso_ntcp"].goal.met is False and found.status == "rejected"


def test_what_the_earlier_treatment_has_used_up_is_not_planned(
    dosecalc: Run, files: dict[str, Path], patient: Patient, tmp_path: Path
) -> None:
    """30 Gy in 5 fractions break the limits before any dose is given: told before anything is computed."""
    ended = dosecalc(*planning(files, patient, tmp_path / "out", "high"))
    assert ended.code == 20
    assert f"Duodenum D0.035cc (duodenum_max) has 30.0 Gy of {DUODENUM_GY:g}" in ended.err
    record = json.loads((tmp_path / "out" / "evaluation.json").read_text())
    assert {row["id"] for row in record["conflicts"]} == {"duodenum_max", "cord_max", "liver_mean"}
    assert json.loads((tmp_path / "out" / "run.json").read_text())["prior_treatment"]["fractions"] == 5

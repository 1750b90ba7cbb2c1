"""The main path on a small case: what binds, what a tighter limit costs, and what is recorded."""

from __future__ import annotations

import dataclasses
import re
from types import SimpleNamespace

import numpy as np
import pytest

from dosecalc.errors import InputError
from dosecalc.grid import Volume
from dosecalc.plausibility import check_ct
from dosecalc.reading import read_ct_series, read_structures
from dosecalc.structures import Structure, StructureSet
from dosecalc.validity import ValidityWarning
from optimize import planning
from optimize.anatomy import Target
from optimize.densities import AS_DEFAULT, Densities, parse_densities, plan_medium
from optimize.planning import Plan, _with_stand_ins, _with_validity, plan
from optimize.results import GoalResult
from protocols import LesionPrescription

from .small_case import ACCEPTED, BEAMS, CT_GRID, DUODENUM_GY, FLOOR_GY, RUN_KEYS, Patient, load_protocol, make_plan


def goal_of(plan: Plan, goal_id: str) -> GoalResult:
    return next(g for g in plan.evaluation.goals if g.id == goal_id)


def test_every_mandatory_limit_holds_on_the_reference_dose(planned: Plan) -> None:
    assert planned.evaluation.status == "ok"
    mandatory = [g for g in planned.evaluation.goals if g.level == "mandatory" and g.assessed]
    assert {"duodenum_max", "cord_max", "liver_mean", "hot_spot", "prescription_floor"} <= {g.id for g in mandatory}
    assert all(g.slack is not None and g.slack >= -0.01 for g in mandatory)
    assert planned.evaluation.certificate.max_violation_gy <= 0.01


def test_a_limit_holds_the_prescription_back(planned: Plan) -> None:
    duodenum = goal_of(planned, "duodenum_max")
    assert duodenum.binding
    assert duodenum.slack is not None
    assert abs(duodenum.slack) < 0.1
    assert FLOOR_GY < planned.evaluation.prescription.dose_gy < 59.0


def test_a_tighter_limit_costs_prescription_dose(planned: Plan, patient: Patient, machine, tmp_path) -> None:
    tighter = make_plan(patient, load_protocol(tmp_path, duodenum_gy=0.9 * DUODENUM_GY), machine)
    assert goal_of(tighter, "duodenum_max").value <= 0.9 * DUODENUM_GY + 0.01
    assert tighter.evaluation.prescription.dose_gy < planned.evaluation.prescription.dose_gy - 0.2


def test_the_best_of_what_was_reached_is_kept(planned: Plan) -> None:
    raised = [level["value"] for level in planned.provenance.levels if level["name"] == "PTV_opt D95 (Gy)"]
    assert len(raised) >= 2
    assert planned.evaluation.prescription.dose_gy >= max(raised) * (1 - 2e-3)


def test_the_dose_is_that_of_the_fluence_inside_the_body_and_zero_outside(planned: Plan) -> None:
    assert planned.fluence.shape == (planned.beamlets.count,)
    assert planned.fluence.min() >= 0
    body = planned.anatomy.structures["Body"].on(planned.dose.grid).indices
    outside = np.setdiff1d(np.arange(planned.dose.grid.size), body)
    values = np.asarray(planned.dose.values).ravel()
    assert outside.size > 0
    assert not values[outside].any()
    assert values[body].min() > 0


def test_the_isocentre_is_the_centroid_of_the_ptv(planned: Plan) -> None:
    ptv = planned.anatomy.structures["PTV"].on(planned.dose.grid)
    centroid = np.average(planned.dose.grid.centres_mm(ptv.indices), axis=0, weights=ptv.cc)
    for beam in planned.beamlets.beams:
        np.testing.assert_allclose(beam.isocentre_mm, centroid, atol=1e-9)


def test_the_run_record_names_what_was_done(planned: Plan) -> None:
    record = planned.provenance
    assert set(RUN_KEYS) <= set(type(record).__dataclass_fields__)
    assert record.overrides == tuple(f"missing structure accepted by name: {name}" for name in ACCEPTED)
    assert record.grid_mm == planned.dose.grid.spacing_mm
    assert max(record.grid_mm) <= planned.protocol.planning.dose_grid_mm
    assert [b["gantry_deg"] for b in record.beams] == [gantry for gantry, _, _ in BEAMS]
    assert sum(b["beamlets"] for b in record.beams) == planned.fluence.size
    assert (record.backend, record.machine, record.exit_code) == ("numba", "generic_6mv", 0)
    steps = {"anatomy", "dose operator", "optimisation", "reference dose", "second opinion", "evaluation"}
    assert set(record.timings_s) == steps


def test_an_accepted_missing_structure_reads_not_assessed(planned: Plan) -> None:
    stomach = goal_of(planned, "stomach_max")
    assert (stomach.assessed, stomach.met, stomach.value) == (False, None, None)
    assert any("Stomach" in warning for warning in planned.evaluation.warnings)


def test_two_runs_give_the_same_plan(planned: Plan, patient: Patient) -> None:
    again = make_plan(patient, planned.protocol, planned.machine)
    np.testing.assert_array_equal(again.fluence, planned.fluence)


def test_two_lesions_are_each_prescribed_and_judged(planned: Plan, patient: Patient) -> None:
    small = Target("second", centre_mm=(-40.0, 5.0, 25.0), diameter_mm=10.0)
    both = make_plan(patient, planned.protocol, planned.machine, (Target("GTV"), small))
    judged = both.evaluation
    assert both.anatomy.lesions == ("PTV_opt_GTV", "PTV_opt_second")
    rows = {g.id: g for g in judged.goals}
    for lesion in both.anatomy.lesions:
        assert rows[f"prescription_floor_{lesion}"].level == "mandatory"
        assert rows[f"prescription_floor_{lesion}"].met
    # The union's D95 cannot fall below the lower of the two by more than its own definition allows.
    lowest = min(rows[f"prescription_floor_{lesion}"].value or 0.0 for lesion in both.anatomy.lesions)
    assert judged.prescription.dose_gy >= lowest - 1e-9
    assert [b.structure for b in judged.prescription.bases][-2:] == list(both.anatomy.lesions)
    assert any(w.startswith("PTV_opt_GTV and PTV_opt_second: the isodose of ") for w in judged.warnings)


def test_a_lesion_may_have_a_prescription_of_its_own(planned: Plan, patient: Patient) -> None:
    """The second lesion is prescribed 0.7 of the first; both rise in step, and each is judged on its own floor."""
    rx = planned.protocol.prescription
    own = LesionPrescription(
        lesion="second",
        floor=rx.floor.model_copy(update={"dose_gy": 0.7 * rx.floor.dose_gy}),
        target=rx.target.model_copy(update={"dose_gy": 0.7 * rx.target.dose_gy}),
    )
    protocol = planned.protocol.model_copy(update={"prescription": rx.model_copy(update={"lesions": (own,)})})
    small = Target("second", centre_mm=(-40.0, 5.0, 25.0), diameter_mm=10.0)
    both = make_plan(patient, protocol, planned.machine, (Target("GTV"), small))
    rows = {g.id: g for g in both.evaluation.goals}
    first, second = (rows[f"prescription_floor_{lesion}"] for lesion in both.anatomy.lesions)
    assert (first.limit, second.limit) == (rx.floor.dose_gy, pytest.approx(0.7 * rx.floor.dose_gy))
    assert first.met and second.met
    assert first.value is not None and second.value is not None
    assert 0.69 * first.value < second.value < 0.85 * first.value
    assert both.evaluation.prescription.dose_gy == pytest.approx(first.value, abs=0.05)
    assert any("without the lesions that have a prescription of their own" in line for line in both.anatomy.derived)

    with pytest.raises(InputError, match="every lesion of this plan has a prescription of its own"):
        make_plan(patient, protocol, planned.machine, (small,))
    with pytest.raises(InputError, match="prescribes for second, which is no target of this plan"):
        make_plan(patient, protocol, planned.machine, (Target("GTV"),))


def test_a_structure_with_a_stand_in_is_not_called_missing(planned: Plan) -> None:
    assert any(w.startswith("Stomach: missing;") for w in planned.evaluation.warnings)
    judged = _with_stand_ins(planned.evaluation, ("Stomach",))
    assert not any(w.startswith("Stomach: missing;") for w in judged.warnings)
    assert {g.note for g in judged.goals if g.structure == "Stomach"} == {
        "NOT ASSESSED: only a stand-in is contoured, which is reported and not judged"
    }
    assert [g for g in judged.goals if g.structure != "Stomach"] == [
        g for g in planned.evaluation.goals if g.structure != "Stomach"
    ]


def test_what_leaves_the_range_of_validity_is_told_with_the_plan(planned: Plan) -> None:
    """Lung painted into the PTV, and what the operator said of its beams, stand among the plan's warnings."""
    told = ValidityWarning("a radiological depth of", "beam 90 degrees", 310.0, 0.0, 300.0, " mm", "a test")
    values = np.where(np.arange(CT_GRID.shape[2]) < 21, 0.26, 1.0) * np.ones(CT_GRID.shape)
    density = Volume(CT_GRID, values.astype(np.float32))
    made = _with_validity(planned.anatomy, SimpleNamespace(outside_validity=(told,)), density)
    *kept, beam, lung = made.warnings
    assert tuple(kept) == planned.anatomy.warnings
    assert beam == str(told)
    assert re.match(r"PTV: lung, as a share of the volume, \d", lung)
    assert not any("range of validity" in warning for warning in planned.evaluation.warnings)
    assert planned.provenance.heterogeneity == "density_scaling"


def test_what_is_said_of_the_ct_is_among_the_warnings(patient: Patient, machine, tmp_path, monkeypatch) -> None:
    """A scan cropped to the inside of the body, whose reader has something to say."""
    ct = read_ct_series(patient.ct)
    inside = np.random.default_rng(0).normal(20.0, 30.0, ct.volume.grid.shape)
    cropped = dataclasses.replace(ct, volume=Volume(ct.volume.grid, inside), notices=("CT: as it was read.",))
    judged = []
    monkeypatch.setattr(planning, "_judge", lambda dose, anatomy, *rest: judged.append(anatomy) or 1 / 0)
    with pytest.raises(ZeroDivisionError):
        plan(
            cropped,
            read_structures(patient.structures),
            load_protocol(tmp_path),
            machine,
            BEAMS,
            targets=(Target("GTV"),),
        )
    assert judged[0].warnings[:2] == ("CT: as it was read.", *check_ct(cropped.volume))
    assert "nothing in the scan has the HU of air" in judged[0].warnings[1]


def test_densities_are_recorded_by_the_names_of_the_file_and_of_the_plan(planned: Plan, patient: Patient) -> None:
    """The cord under the name that the file gave it, and the derived PTV, in water of 0 HU."""
    read = read_structures(patient.structures)
    named = StructureSet(
        tuple(Structure("Myelon" if s.name == "SpinalCord" else s.name, s.role, s.geometry) for s in read)
    )
    chosen = Densities(overrides=parse_densities(["Myelon=1.05", "PTV=0.1"]))
    made, told = plan_medium(chosen, planned.ct.volume, planned.anatomy, named, planned.machine)
    record = chosen.record(planned.machine, made)
    assert [(row["name"], row["density"], row["hu_mean"]) for row in record["overrides"]] == [
        ("Myelon", 1.05, 0.0),
        ("PTV", 0.1, 0.0),
    ]
    ptv = planned.anatomy.structures["PTV"].volume_cc
    assert record["overrides"][1]["cc"] == pytest.approx(ptv, rel=0.1)
    assert np.isclose(made.density.values, 0.1).sum() * CT_GRID.voxel_cc == pytest.approx(record["overrides"][1]["cc"])
    (outside,) = told
    assert outside.startswith("PTV: its stated density of 0.1 is outside the range of validity")
    assert planned.provenance.density == AS_DEFAULT.record(planned.machine)
    assert planned.evaluation.dose_to == "water"


def test_what_the_dose_model_cannot_tell_is_marked_and_changes_no_verdict(planned: Plan) -> None:
    """In a box of water: 2 % of a dose, 3 % of what does not reach beside the target, and what leaks through leaves."""
    judged = planned.evaluation
    rows = {row.id: row for row in judged.goals}
    leaks = judged.verification.stated[-1].percent / 100 * judged.prescription.dose_gy
    assert 0 < leaks < 0.3 * judged.prescription.dose_gy
    hot = rows["hot_spot"]
    assert 0.02 * hot.value <= hot.uncertainty < 0.02 * hot.value + leaks
    duodenum = rows["duodenum_max"]  # binding, so nearer to its limit than any model can tell
    known = max(0.03 * (judged.prescription.dose_gy - duodenum.value), 0.02 * duodenum.value)
    assert known < duodenum.uncertainty < 1.1 * known + leaks
    assert duodenum.uncertain
    assert duodenum.met
    assert not rows["stomach_max"].uncertain
    assert judged.status == "ok"
    found = {row.name: row for row in judged.verification.uncertainty}
    assert {"GTV", "PTV", "PTV_opt", "Duodenum", "SpinalCord", "Liver-GTV"} == set(found)
    assert all(row.lung_pct == row.behind_lung_pct == row.build_up_pct == 0 for row in found.values())
    known = 0.02 * next(s.mean_gy for s in judged.structures if s.name == "GTV")
    assert 0.98 * known < found["GTV"].mean_gy < known + leaks

"""The demonstration's patient with its binding limit tightened: the target pays for it."""

from __future__ import annotations

import pytest

import protocols
from dosecalc import load_machine, synthetic_patient
from dosecalc.dicom import synthetic_series
from optimize import Target, parse_beams, plan


@pytest.mark.long
def test_tightening_the_binding_limit_lowers_the_target_dose():
    """With the published limit the demonstration reaches 60 Gy (tests/test_readme.py); with half of it it cannot."""
    protocol = protocols.load("crlm_5fx")
    tighter = [g.model_copy(update={"limit": 0.5 * g.limit}) if g.id == "C018" else g for g in protocol.goals]
    patient = synthetic_patient()
    result = plan(
        synthetic_series(patient.ct),
        patient.structures,
        protocol.model_copy(update={"goals": tuple(tighter)}),
        load_machine("generic_6mv"),
        parse_beams("liver_right"),
        targets=(Target(patient.target_name, "GTV"),),
        dose_grid_mm=3.0,
        tries=0,
    )
    goals = {g.id: g for g in result.evaluation.goals}
    assert result.evaluation.status == "ok"
    assert goals["C018"].limit == pytest.approx(16.0)
    assert result.evaluation.prescription.dose_gy < 59.5
    # The limit holds between the voxel centres of the dose grid too.
    again = {g.id: g for g in result.evaluation.verification.goals}
    assert again["C018"].value <= 16.0 + 0.01
    assert again["C018"].binding
    assert all(g.met for g in again.values())

"""What is told of the fluence, of limits on it and of the reserve; and what conflicts say when there is one."""

from __future__ import annotations

import dataclasses

import pytest

from dosecalc.errors import InfeasibleError
from optimize.conflicts import Conflict, explained
from optimize.delivery import delivery_lines
from optimize.limiting import limiting
from optimize.planning import Plan

from .small_case import DUODENUM_GY


def test_a_plan_estimates_its_monitor_units(planned: Plan) -> None:
    made = planned.evaluation.delivery
    assert len(made.beam_mu) == len(planned.beamlets.beams)
    assert made.mu == pytest.approx(sum(made.beam_mu))
    assert made.mu_per_fraction == pytest.approx(made.mu / 5)
    # No sweep is shorter than its highest beamlet, none longer than all of its row.
    for index, mu in enumerate(made.beam_mu):
        part = planned.beamlets.of_beam(index)
        rows = {v: planned.fluence[part][planned.beamlets.v_mm[part] == v] for v in planned.beamlets.v_mm[part]}
        assert planned.fluence[part].max() <= mu <= max(row.sum() for row in rows.values())
    assert (made.modulation_costs_gy, made.reserve_percent) == (None, None)
    assert planned.provenance.planning_limits == {}
    (line,) = delivery_lines(planned.evaluation)
    assert f"{made.mu:.0f} MU" in line
    assert f"({made.mu / (100 * planned.evaluation.prescription.dose_gy):.1f} MU per cGy of the reached dose)" in line
    assert "not of a delivered plan" in line


def test_limits_on_the_fluence_and_a_reserve_are_told(planned: Plan) -> None:
    judged = planned.evaluation
    made = dataclasses.replace(
        judged.delivery, reserve_percent=3.0, max_variation=0.4, variation=0.4, modulation_costs_gy=1.25
    )
    duodenum = next(goal for goal in judged.goals if goal.id == "duodenum_max")
    assert "duodenum_max" in judged.escalation.binding_limits
    less = dataclasses.replace(duodenum, slack=0.03 * duodenum.limit, binding=False, uncertainty=None)
    goals = tuple(less if goal.id == less.id else goal for goal in judged.goals)
    judged = dataclasses.replace(judged, delivery=made, goals=goals)
    reserve, modulation, _ = delivery_lines(judged)
    assert "reserve of 3 % on every mandatory upper limit (planning.reserve_percent)" in reserve
    assert "a variation of at most 0.4 (0.40 used). They cost 1.2 Gy of D95" in modulation
    states = {goal.id: state for state, goal in limiting(judged)}
    assert states["duodenum_max"] == "binding, less its reserve"


def test_conflicts_name_the_reserve_and_ask_for_what_suffices_with_it(planned: Plan) -> None:
    rules = planned.protocol.planning.model_copy(update={"reserve_percent": 3.0})
    protocol = planned.protocol.model_copy(update={"planning": rules})
    held = 0.97 * DUODENUM_GY
    found = Conflict("duodenum_max", "Duodenum", held, held + 2.0, relaxation_alone=2.0)
    with (
        pytest.raises(InfeasibleError, match=r"reserve of 3 % .* \(planning\.reserve_percent\)") as refusal,
        explained(protocol, planned.anatomy.structures, planned.dose.grid),
    ):
        raise InfeasibleError("the floor is out of reach.", conflicts=(found,), reached_gy=30.0)
    (conflict,) = refusal.value.conflicts
    assert 0.97 * conflict.needed_alone == pytest.approx(held + 2.0)

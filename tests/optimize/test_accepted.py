"""A plan under an accepted relaxation: made at the accepted limit, judged at the protocol's, and said so."""

from __future__ import annotations

import dataclasses
import io
from pathlib import Path

import pytest
from rich.console import Console

from dosecalc.errors import UsageError
from optimize.accepted import against_the_protocol, parse_relaxations
from optimize.planning import Plan
from optimize.provenance import overrides
from optimize.report import render_report
from optimize.scorecard import print_scorecard
from protocols import Goal, Protocol, load, relaxations, relaxed
from protocols.errors import ProtocolError

from .small_case import DUODENUM_GY, load_protocol

STATED_GY = 12.0


@pytest.fixture
def accepted(tmp_path: Path) -> Protocol:
    """12 Gy stated for the duodenum, and the 18 Gy of `planned` accepted."""
    return relaxed(load_protocol(tmp_path, duodenum_gy=STATED_GY), {"duodenum_max": DUODENUM_GY})


def test_it_is_planned_at_the_accepted_limit_and_judged_at_the_stated_one(planned: Plan, accepted: Protocol) -> None:
    mandatory = [goal for goal in accepted.goals if goal.level == "mandatory"]
    assert mandatory == [goal for goal in planned.protocol.goals if goal.level == "mandatory"]
    shown = against_the_protocol(planned.evaluation, accepted)
    row = next(goal for goal in shown.goals if goal.id == "duodenum_max")
    assert (row.limit, row.accepted_limit, row.met) == (STATED_GY, DUODENUM_GY, False)
    assert row.slack == pytest.approx(STATED_GY - row.value)
    assert shown.status == planned.evaluation.status == "ok"
    others = [goal for goal in shown.goals if goal.id != "duodenum_max"]
    assert others == [goal for goal in planned.evaluation.goals if goal.id != "duodenum_max"]
    again = [goal for goal in shown.verification.goals if goal.id == "duodenum_max"]
    assert all(goal.limit == STATED_GY for goal in again)
    assert shown.warnings[0].startswith("ACCEPTED RELAXATION of duodenum_max: ")
    assert "NOT MET against the protocol" in shown.warnings[0]
    assert against_the_protocol(planned.evaluation, planned.protocol) is planned.evaluation


def test_scorecard_report_and_record_say_it_aloud(planned: Plan, accepted: Protocol) -> None:
    told = overrides(accepted, (), accepted.planning.dose_grid_mm)
    assert told == (
        "ACCEPTED RELAXATION of duodenum_max: Duodenum D0.035cc is planned at <= 18 Gy instead of the protocol's 12 Gy",
    )
    shown = against_the_protocol(planned.evaluation, accepted)
    console = Console(width=200, record=True, file=io.StringIO())
    print_scorecard(console, shown)
    text = console.export_text()
    assert "plan ok under ACCEPTED RELAXATION of duodenum_max" in text
    assert "NOT MET (accepted 18)" in text
    record = dataclasses.replace(planned.provenance, overrides=told)
    page = render_report(dataclasses.replace(planned, evaluation=shown, protocol=accepted, provenance=record))
    assert "under ACCEPTED RELAXATION of duodenum_max; every other mandatory goal" in page
    assert "planned at &lt;= 18 Gy instead of the protocol" in page
    assert "<h2>Mandatory goals NOT MET</h2>" in page


def test_a_critical_volume_is_relaxed_by_its_volume(planned: Plan) -> None:
    row = {"id": "spared", "structure": "Liver", "metric": "CV300cc<15Gy", "level": "mandatory", "level_by": "source"}
    spared = Goal.model_validate(row | {"source": "a citation", "status": "VERIFIED"})
    protocol = planned.protocol.model_copy(update={"goals": (spared,)})
    (eased,) = relaxed(protocol, {"spared": 250.0}).goals
    assert (eased.limit, str(eased.metric)) == (250.0, "CV250cc<15Gy")
    for value in (300.0, 400.0):
        with pytest.raises(ProtocolError, match="expected a smaller value"):
            relaxed(protocol, {"spared": value})


def test_a_complication_probability_is_relaxed_in_percent() -> None:
    """Planned and judged at 8 %, shown against the 5 % that the protocol states."""
    stated = load("crlm_60_6fx")
    risk = stated.prescription.iso_ntcp
    eased = relaxed(stated, {"iso_ntcp": risk.max_pct + 3.0})
    assert eased.prescription.iso_ntcp.max_pct == risk.max_pct + 3.0
    assert stated.prescription.iso_ntcp.max_pct == risk.max_pct
    (says,) = relaxations(eased)
    assert "Liver-GTV NTCP is planned at <= 8 % instead of the protocol's 5 %" in says
    for value in (risk.max_pct, 1.0, 100.0, 250.0):
        with pytest.raises(ProtocolError, match=r"prescription\.iso_ntcp\.max_pct.*relaxes nothing"):
            relaxed(stated, {"iso_ntcp": value})


def test_only_looser_values_of_mandatory_goals_are_relaxations(planned: Plan) -> None:
    for given in ({"duodenum_2cc": 50.0}, {"hot_spot": 120.0}, {"nothing": 1.0}):
        with pytest.raises(ProtocolError, match="no mandatory limit"):
            relaxed(planned.protocol, given)
    for value in (DUODENUM_GY, 5.0, float("nan"), float("inf")):
        with pytest.raises(ProtocolError, match="relaxes nothing"):
            relaxed(planned.protocol, {"duodenum_max": value})
    assert relaxed(planned.protocol, {}) is planned.protocol


@pytest.mark.parametrize("given", [("a",), ("a=",), ("=3",), ("a=x",), ("a=-1",), ("a=nan",), ("a=1", "a=2")])
def test_what_is_no_relaxation_is_refused(given: tuple[str, ...]) -> None:
    with pytest.raises(UsageError, match="GOAL_ID=VALUE"):
        parse_relaxations(given)


def test_relaxations_are_read_in_the_unit_of_their_goal() -> None:
    assert parse_relaxations(("duodenum_max=32", "liver_cv=650.5")) == {"duodenum_max": 32.0, "liver_cv": 650.5}

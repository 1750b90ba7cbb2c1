"""Mandatory goals that could not be assessed: named beside the plan's status, which does not speak of them."""

from __future__ import annotations

import dataclasses
import io

from rich.console import Console

from optimize.planning import Plan
from optimize.report import render_report
from optimize.scorecard import print_scorecard


def told(plan: Plan) -> str:
    console = Console(width=400, record=True, file=io.StringIO())
    print_scorecard(console, plan.evaluation)
    return console.export_text()


def test_scorecard_and_report_name_them(planned: Plan) -> None:
    known = [dataclasses.replace(goal, assessed=True) for goal in planned.evaluation.goals]
    judged = dataclasses.replace(planned, evaluation=dataclasses.replace(planned.evaluation, goals=tuple(known)))
    assert "plan ok\n" in told(judged)
    goals = (dataclasses.replace(g, assessed=g.id != "duodenum_max") for g in known)
    cut = dataclasses.replace(planned, evaluation=dataclasses.replace(planned.evaluation, goals=tuple(goals)))
    assert "plan ok, but mandatory and NOT ASSESSED: Duodenum D0.035cc\n" in told(cut)
    assert "mandatory and NOT ASSESSED: Duodenum D0.035cc" in render_report(cut)
    assert "mandatory and NOT ASSESSED" not in render_report(judged)

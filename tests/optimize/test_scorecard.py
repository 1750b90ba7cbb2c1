"""What the terminal says of a plan: names as they are given, and one meaning for each word."""

from __future__ import annotations

import dataclasses
import io

from rich.console import Console

from optimize.planning import Plan
from optimize.results import GoalResult, PlanEvaluation
from optimize.scorecard import print_protocol, print_scorecard
from protocols import Protocol


def shown(what: PlanEvaluation | Protocol) -> str:
    console = Console(width=200, record=True, file=io.StringIO())
    print_protocol(console, what) if isinstance(what, Protocol) else print_scorecard(console, what)
    return console.export_text()


def renamed(goal: GoalResult) -> GoalResult:
    return dataclasses.replace(goal, structure=f"{goal.structure}[own]", binding=True, met=True)


def test_a_name_with_brackets_is_shown_whole(planned: Plan) -> None:
    """Square brackets are markup to the terminal, and part of a name here."""
    judged = dataclasses.replace(planned.evaluation, goals=tuple(map(renamed, planned.evaluation.goals)))
    lines = shown(judged).splitlines()
    told = [line for line in lines if "D0.035cc" in line and "Duodenum" in line]
    assert len(told) >= 3 and all("Duodenum[own]" in line for line in told)
    goals = tuple(goal.model_copy(update={"structure": "Bowel[own]"}) for goal in planned.protocol.goals)
    table = shown(planned.protocol.model_copy(update={"goals": goals}))
    assert table.count("Bowel[own]") == len(goals)

"""Goals as the rows of a scorecard, with numbered sources."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from protocols import Goal, Protocol

from ..results import GoalResult, PlanEvaluation, SummedGoal
from .words import STATUS_WORDS, limit_text, note_text, slack_text, uncertain_text, value_text, verdict

_CLASSES = {"met": "met", "NOT MET": "notmet", "NOT ASSESSED": "notassessed"}


@dataclass(frozen=True, slots=True)
class Row:
    """One goal, ready to be set; every field is text.

    Attributes
    ----------
    share : float or None
        Value in percent of the limit, for the bar; None when there is no value.
    uncertain : str
        That the slack is smaller than the dose model's uncertainty; empty where it is not.
    comment : str
        What the protocol says about the limit.
    reference : int
        Number of the source.
    """

    id: str
    structure: str
    metric: str
    limit: str
    value: str
    share: float | None
    slack: str
    verdict: str
    css: str
    at_limit: bool
    uncertain: str
    level_by: str
    status: str
    weak: bool
    endpoint: str
    note: str
    comment: str
    reference: int


@dataclass(frozen=True, slots=True)
class Group:
    """Goals of one level with a count of each verdict."""

    level: str
    rows: tuple[Row, ...]

    def count(self, verdict_text: str) -> int:
        """Rows with this verdict."""
        return sum(row.verdict == verdict_text for row in self.rows)


def scorecard(goals: Iterable[GoalResult], protocol: Protocol) -> tuple[tuple[Group, ...], tuple[str, ...]]:
    """Mandatory and optimal goals in their order, and the sources that their rows number from 1."""
    goals = tuple(goals)
    sources = tuple(dict.fromkeys(goal.source for goal in goals))
    known = {goal.id: goal for goal in (*protocol.goals, *protocol.prescription.target_goals)}
    # The results carry these two under ids of their own.
    known |= {"gtv_d98": protocol.prescription.gtv_d98}
    if protocol.prescription.ptv_mean_max is not None:
        known |= {"ptv_mean": protocol.prescription.ptv_mean_max}
    groups = tuple(
        Group(level, tuple(_row(g, known.get(g.id), sources) for g in goals if g.level == level))
        for level in ("mandatory", "optimal")
    )
    return groups, sources


def second_opinion(judged: PlanEvaluation, protocol: Protocol) -> list[tuple[Row, Row]]:
    """The goals that were judged again on a finer grid: on the dose grid, and there."""
    groups, _ = scorecard(judged.goals, protocol)
    again, _ = scorecard(judged.verification.goals, protocol)
    on_dose_grid = {row.id: row for group in groups for row in group.rows}
    return [(on_dose_grid[row.id], row) for group in again for row in group.rows]


def sum_rows(judged: PlanEvaluation) -> list[tuple[Row, SummedGoal]]:
    """The goals on the sum with an earlier treatment, if there is one, with what the sum adds to them."""
    if judged.with_prior is None:
        return []
    goals = judged.with_prior.goals
    sources = tuple(dict.fromkeys(summed.goal.source for summed in goals))
    return [(_row(summed.goal, None, sources), summed) for summed in goals]


def _row(goal: GoalResult, declared: Goal | None, sources: tuple[str, ...]) -> Row:
    says = verdict(goal)
    share = 100.0 * goal.value / goal.limit if goal.value is not None and goal.limit > 0 else None
    return Row(
        id=goal.id,
        structure=goal.structure,
        metric=goal.metric,
        limit=limit_text(goal),
        value=value_text(goal),
        share=share,
        slack=slack_text(goal),
        verdict=says,
        css=_CLASSES[says],
        at_limit=goal.binding,
        uncertain=uncertain_text(goal),
        level_by=goal.level_by,
        status=STATUS_WORDS.get(goal.status, goal.status),
        weak=declared.weak if declared else False,
        endpoint=declared.endpoint if declared else "",
        note=note_text(goal),
        comment=declared.note if declared else "",
        reference=sources.index(goal.source) + 1,
    )

"""What limits the dose of a plan: its goals with their prices, in the order in which they matter."""

from __future__ import annotations

import dataclasses

from .delivery import at_its_reserve
from .prices import Stop
from .results import EscalationEnd, GoalResult, PlanEvaluation


def priced(
    goals: tuple[GoalResult, ...], stop: Stop, bound_gy: float | None
) -> tuple[tuple[GoalResult, ...], EscalationEnd]:
    """The goals with their shadow prices, and what ended the escalation."""
    found = tuple(dataclasses.replace(g, shadow_price=stop.prices.get(g.id)) for g in goals)
    rest = [g for g in found if g.shadow_price is not None and g.id not in stop.binding and g.slack is not None]
    nearest = min(rest, key=_relative_slack, default=None)
    return found, EscalationEnd(stop.says, stop.dose, stop.binding, nearest.id if nearest else None, bound_gy)


def limiting(judged: PlanEvaluation) -> list[tuple[str, GoalResult]]:
    """Rows of "What limits the dose": binding limits, then those at their limit, then what binds next."""
    ended = judged.escalation
    if ended is None:
        return []
    row_of = {goal.id: goal for goal in judged.goals}
    held = [row_of[name] for name in ended.binding_limits]
    # Later levels keep the dose and may take a limit off its value, for less dose outside the target.
    rows = [(_state(g, judged), g) for g in held]
    next_one = [row_of[ended.binds_next]] if ended.binds_next else []
    upper = [g for g in judged.goals if g.comparator in ("<", "<=") and g.id not in ended.binding_limits]
    rows += [("at the limit", g) for g in upper if g.met and (g.uncertain or g.binding) and g not in next_one]
    return rows + [("at the limit, binds next" if g.uncertain or g.binding else "binds next", g) for g in next_one]


def _state(goal: GoalResult, judged: PlanEvaluation) -> str:
    """How a limit stands that held the dose while it rose."""
    if goal.uncertain or goal.binding:
        return "binding"
    return "binding, less its reserve" if at_its_reserve(goal, judged) else "binding as the dose rose"


def price_text(goal: GoalResult, judged: PlanEvaluation) -> str:
    """The price in Gy of the dose that was held back per unit of the limit; empty where it has none."""
    if judged.escalation is None or not goal.shadow_price:
        return ""
    digits = ".0f" if goal.shadow_price >= 10 else "#.2g"
    return f"{goal.shadow_price:{digits}} Gy of {judged.escalation.dose} per {goal.unit}"


def _relative_slack(goal: GoalResult) -> float:
    slack = goal.slack if goal.slack is not None else float("inf")
    return slack / max(abs(goal.limit), 1e-9)

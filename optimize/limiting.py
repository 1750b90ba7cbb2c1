"""What limits the dose of a plan: its goals with their prices, in the order in which they matter."""

from __future__ import annotations

import dataclasses

from .delivery import at_its_reserve
from .escalation_results import EscalationEnd, LadderEnd, RiskEnd
from .prices import Stop
from .results import GoalResult, PlanEvaluation


def priced(
    goals: tuple[GoalResult, ...],
    stop: Stop,
    bound_gy: float | None,
    ladder: LadderEnd | None = None,
    risk: RiskEnd | None = None,
) -> tuple[tuple[GoalResult, ...], EscalationEnd]:
    """The goals with their shadow prices, and what ended the escalation."""
    found = tuple(dataclasses.replace(g, shadow_price=stop.prices.get(g.id)) for g in goals)
    rest = [g for g in found if g.shadow_price is not None and g.id not in stop.binding and g.slack is not None]
    nearest = min(rest, key=_relative_slack, default=None)
    mode = "ladder" if ladder is not None else "iso_ntcp" if risk is not None else "continuous"
    ended = (stop.says, stop.dose, stop.binding, nearest.id if nearest else None, bound_gy)
    return found, EscalationEnd(*ended, mode, ladder, risk)


def mode_text(ended: EscalationEnd) -> str:
    """How the dose was chosen, where that was not as high as the limits let it; empty otherwise."""
    if ended.ladder is not None:
        rungs = ", ".join(f"{dose:g}" for dose in ended.ladder.rungs_gy)
        basis = "mean dose of the PTV" if ended.ladder.basis == "mean_PTV" else "D95"
        return f"Ladder of {rungs} Gy ({basis}): the highest rung at which every mandatory limit holds was optimised."
    if ended.risk is not None:
        risk = ended.risk
        both = ", of the sum with the earlier treatment" if risk.with_earlier else ""
        return (
            f"Dose chosen by the complication probability of {risk.structure} ({risk.model}{both}): at most "
            f"{risk.limit_pct:g} %; {risk.raised_pct:.1f} % where the target's dose was settled, {risk.pct:.1f} % in "
            f"the finished plan (gEUD {risk.eud_gy:.1f} of {risk.limit_eud_gy:.1f} Gy EQD2; {risk.cuts} tangents)."
        )
    return ""


def limiting(judged: PlanEvaluation) -> list[tuple[str, GoalResult]]:
    """Rows of "What limits the dose": binding limits, then those at their limit, then what binds next."""
    ended = judged.escalation
    if ended is None:
        return []
    row_of = {goal.id: goal for goal in judged.goals}
    held = [row_of[name] for name in ended.binding_limits]
    # Later levels keep the dose and may take a limit off its value, for less dose outside the target; on a ladder the
    # plan stands below what was reached.
    before = "stops the next rung" if ended.ladder is not None and ended.ladder.next_gy else "binding as the dose rose"
    rows = [(_state(g, judged, before), g) for g in held]
    next_one = [row_of[ended.binds_next]] if ended.binds_next else []
    upper = [g for g in judged.goals if g.comparator in ("<", "<=") and g.id not in ended.binding_limits]
    rows += [("at the limit", g) for g in upper if g.met and (g.uncertain or g.binding) and g not in next_one]
    return rows + [("at the limit, binds next" if g.uncertain or g.binding else "binds next", g) for g in next_one]


def _state(goal: GoalResult, judged: PlanEvaluation, before: str) -> str:
    """How a limit stands that held the dose while it rose."""
    if goal.uncertain or goal.binding:
        return "binding"
    return "binding, less its reserve" if at_its_reserve(goal, judged) else before


def price_text(goal: GoalResult, judged: PlanEvaluation) -> str:
    """The price in Gy of the dose that was held back per unit of the limit; empty where it has none."""
    if judged.escalation is None or not goal.shadow_price:
        return ""
    digits = ".0f" if goal.shadow_price >= 10 else "#.2g"
    return f"{goal.shadow_price:{digits}} Gy of {judged.escalation.dose} per {goal.unit}"


def _relative_slack(goal: GoalResult) -> float:
    slack = goal.slack if goal.slack is not None else float("inf")
    return slack / max(abs(goal.limit), 1e-9)

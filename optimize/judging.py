"""Goals judged on regions: values, slacks, verdicts, and what cannot be said."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping

from protocols import Goal
from protocols.metrics import (
    Biological,
    DoseAtVolume,
    GeneralisedEud,
    Homogeneity,
    HotOutsideGtv,
    MeanDose,
    Metric,
    MinDose,
    PlanMetric,
    TailMean,
    VolumeAtDose,
)

from .metrics import measure
from .regions import Region
from .results import GoalResult

# A limit holds when it is exceeded by no more than this, in the goal's unit: 0.01 Gy, 0.01 cc, 0.01 percent
# points. A solver returns doses on the limit itself: "<" and "<=" cannot be told apart and are judged alike.
ACCEPTANCE = 0.01
# A goal is binding within the larger of 0.5 % of its limit and 0.05 in its unit.
BINDING_FRACTION, BINDING_ABSOLUTE = 0.005, 0.05


def judged(row: GoalResult, value: float, note: str = "") -> GoalResult:
    """`row` with its value, slack and verdict filled in."""
    slack = row.limit - value if row.comparator in ("<", "<=") else value - row.limit
    margin = max(BINDING_FRACTION * abs(row.limit), BINDING_ABSOLUTE)
    return dataclasses.replace(
        row,
        value=value,
        slack=slack,
        met=slack >= -ACCEPTANCE,
        assessed=True,
        binding=abs(slack) <= margin,
        note=note,
    )


def needs(goal: Goal) -> tuple[str, ...]:
    """The structures that a goal is judged on."""
    return (goal.structure, "GTV") if isinstance(goal.metric, HotOutsideGtv) else (goal.structure,)


def judge_goal(
    goal: Goal,
    regions: dict[str, Region],
    accepted: tuple[str, ...],
    indices: Mapping[str, float | None] | None = None,
) -> GoalResult:
    """One goal of the protocol, judged as far as its structure allows.

    Parameters
    ----------
    goal : Goal
    regions : dict of Region
        By name.
    accepted : tuple of str
        Structures that may be missing.
    indices : mapping, optional
        What the plan as a whole gives, by the text of the metric (`conformity`).
    """
    row = GoalResult(
        id=goal.id,
        structure=goal.structure,
        metric=str(goal.metric),
        comparator=goal.comparator,
        limit=goal.limit,
        unit=goal.unit,
        level=goal.level,
        level_by=goal.level_by,
        source=goal.source,
        status=goal.status,
    )
    region = regions.get(goal.structure)
    if region is None:
        return dataclasses.replace(row, note=_why_missing(goal, accepted))
    if isinstance(goal.metric, PlanMetric):
        value = (indices or {}).get(row.metric)
        gtv = ", a GTV" if isinstance(goal.metric, HotOutsideGtv) else ""
        note = f"NOT ASSESSED: needs the dose of the body round the PTV{gtv}, and a dose that the plan reached"
        return dataclasses.replace(row, note=note) if value is None else judged(row, value)
    if region.cut_by:
        return _judge_cut(row, goal.metric, region)
    return judged(row, measure(goal.metric, region.dose_gy, region.cc), size_note(goal.metric, region))


def _why_missing(goal: Goal, accepted: tuple[str, ...]) -> str:
    if goal.only_if_contoured:
        return "NOT ASSESSED: not contoured"
    how = "accepted by name" if goal.structure in accepted else "optimal goal"
    return f"NOT ASSESSED: structure missing, {how}"


def _judge_cut(row: GoalResult, metric: Metric, region: Region) -> GoalResult:
    """A goal of an organ whose volume here is a lower bound, and so are its hottest doses and its volumes."""
    inner = metric.metric if isinstance(metric, Biological) else metric
    needs_all = isinstance(inner, MeanDose | MinDose | GeneralisedEud | TailMean | Homogeneity) or (
        isinstance(inner, DoseAtVolume | VolumeAtDose) and inner.unit == "%"
    )
    if needs_all:
        names = {"Dmean": "mean dose", "Dmin": "minimum dose"}
        shared = "share of the volume" if isinstance(inner, DoseAtVolume | VolumeAtDose) else row.metric
        what = names.get(row.metric, shared)
        return dataclasses.replace(row, note=f"NOT ASSESSED: {region.cut_by} cuts the organ: {what}")
    value = measure(metric, region.dose_gy, region.cc)
    result = judged(row, value, f"{region.cut_by} cuts the organ: a lower bound")
    if row.comparator in (">", ">=") and not result.met:
        note = f"NOT ASSESSED: {region.cut_by} cuts the organ: {value:.1f} {row.unit} is a lower bound"
        return dataclasses.replace(row, note=note)
    return result


def size_note(metric: Metric, region: Region) -> str:
    """What to say about a structure smaller than the volume of its metric; empty where there is nothing to say."""
    if isinstance(metric, DoseAtVolume) and metric.unit == "cc" and region.total_cc < metric.volume:
        return f"the structure has only {region.total_cc:.3g} cc: its maximum dose"
    return ""

"""A plan under accepted relaxations, shown against the protocol as it stands.

The plan is made, and its status decided, at the accepted limits; its rows are judged against the protocol's own, with
the accepted limit beside them.
"""

from __future__ import annotations

import dataclasses

from dosecalc.errors import UsageError
from protocols import Protocol, relaxations
from protocols.goals import StatedLimit

from .judging import judged
from .results import GoalResult, PlanEvaluation


def against_the_protocol(evaluation: PlanEvaluation, protocol: Protocol) -> PlanEvaluation:
    """The evaluation with every relaxed goal judged at the protocol's limit, and said so before any other warning.

    Parameters
    ----------
    evaluation : PlanEvaluation
        Judged at the accepted limits, which its status follows.
    protocol : Protocol
        As it was planned (`protocols.relaxed`).
    """
    stated = protocol.provenance.relaxed
    if not stated:
        return evaluation
    goals = tuple(_as_stated(row, stated.get(row.id)) for row in evaluation.goals)
    again = tuple(_as_stated(row, stated.get(row.id)) for row in evaluation.verification.goals)
    summed = evaluation.with_prior
    if summed is not None:
        # The EQD2 of a relaxed limit is that of the accepted value, which is no longer the row's.
        rows = (
            dataclasses.replace(row, goal=_as_stated(row.goal, stated[row.goal.id]), limit_eqd2_gy=None)
            if row.goal.id in stated
            else row
            for row in summed.goals
        )
        finer = tuple(_as_stated(row, stated.get(row.id)) for row in summed.finer)
        summed = dataclasses.replace(summed, goals=tuple(rows), finer=finer)
    row_of = {row.id: row for row in goals}
    told = [f"{says}. {_verdict(row_of[name])}" for name, says in zip(stated, relaxations(protocol), strict=True)]
    return dataclasses.replace(
        evaluation,
        goals=goals,
        with_prior=summed,
        verification=dataclasses.replace(evaluation.verification, goals=again),
        warnings=(*told, *evaluation.warnings),
    )


def parse_relaxations(given: tuple[str, ...]) -> dict[str, float]:
    """Goal ids and values from texts such as ``duodenum_max=32``.

    Raises
    ------
    UsageError
        No id, no number, or one id twice.
    """
    accepted: dict[str, float] = {}
    for text in given:
        name, _, value = text.partition("=")
        try:
            number = float(value)
        except ValueError:
            number = -1.0
        if not name or name in accepted or not number > 0:
            raise UsageError(
                f"--accept-relaxation {text!r} is not GOAL_ID=VALUE with a positive number, each goal once.",
                remedy="Such as --accept-relaxation duodenum_max=32, in the unit of the goal's limit.",
            )
        accepted[name] = number
    return accepted


def _as_stated(row: GoalResult, stated: StatedLimit | None) -> GoalResult:
    """A row judged at the limit of the protocol file."""
    if stated is None:
        return row
    note = f"ACCEPTED RELAXATION: planned at {row.comparator} {row.limit:g} {row.unit}"
    asked = dataclasses.replace(row, metric=stated.metric, limit=stated.limit, accepted_limit=row.limit)
    note = f"{note}; {row.note}" if row.note else note
    return dataclasses.replace(asked, note=note) if row.value is None else judged(asked, row.value, note)


def _verdict(row: GoalResult) -> str:
    if row.value is None:
        return "It was not assessed."
    return f"The plan has {row.value:.2f} {row.unit}: {'met' if row.met else 'NOT MET'} against the protocol."

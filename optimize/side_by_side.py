"""One dose under several sets of limits: what each says of the same structure and metric.

Limits are judged as they were published, at their own level, those that a set merely reports included. Nothing is
mixed: each column is one protocol or one constraint set, and a set has no say where it has no limit.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import protocols
from dosecalc.errors import UsageError
from dosecalc.grid import Volume
from dosecalc.structures import StructureSet
from protocols import ConstraintSet, Goal, Protocol, PublishedLimit
from protocols.collecting import POPULATIONS
from protocols.faults import nearest
from protocols.files import CONSTRAINT_SET, parsed
from protocols.fraction_numbers import TARGETS, no_organ_limits

from .judging import judge_goal
from .regions import regions_on
from .results import Column, GoalResult, PlanEvaluation, SideBySide, VerdictRow


@dataclass(frozen=True, slots=True)
class Limits:
    """The limits of a protocol or a constraint set for one number of fractions.

    Attributes
    ----------
    name, title : str
    goals : tuple of (Goal, str)
        Each with the level it is shown at, "report" included.
    notes : tuple of str
        Whom it holds for, and which limits are not judged.
    """

    name: str
    title: str
    goals: tuple[tuple[Goal, str], ...]
    notes: tuple[str, ...] = ()

    @property
    def structures(self) -> tuple[str, ...]:
        """Every structure with a limit."""
        return tuple(dict.fromkeys(goal.structure for goal, _ in self.goals))


def limits_of(name: str, beside: Protocol) -> Limits:
    """The limits that a protocol or a constraint set has for the fractions of another protocol.

    Parameters
    ----------
    name : str
        A shipped protocol or constraint set, or a TOML file of either kind.
    beside : Protocol
        Its number of fractions and its population are asked for.

    Raises
    ------
    UsageError
        There is no such name, or it has no limits for these fractions.
    ProtocolError
        The file has faults.
    """
    if _is_set(name):
        return _of_set(protocols.load_set(name), beside)
    chosen = protocols.load(name)
    if chosen.fractions != beside.fractions:
        raise UsageError(
            f"{chosen.name} is for {chosen.fractions} fractions, {beside.name} for {beside.fractions}: limits hold for "
            "their own number of fractions only."
        )
    return of_protocol(chosen)


def of_protocol(protocol: Protocol) -> Limits:
    """The organ goals of a protocol."""
    goals = tuple((goal, goal.level) for goal in protocol.goals if goal.structure not in TARGETS)
    return Limits(protocol.name, protocol.title, goals, protocol.left_out)


def _is_set(name: str) -> bool:
    """Whether a name or file is a constraint set; otherwise it is a protocol."""
    known = (*protocols.available(), *protocols.available_sets())
    if name in known:
        return name in protocols.available_sets()
    if not Path(name).is_file():
        raise UsageError(
            f"there is no protocol or constraint set {name!r}.{nearest(name, known)}",
            remedy="`dosecalc protocols list` and `dosecalc protocols sets` show them.",
        )
    origin, data = CONSTRAINT_SET.read(name)
    return "limits" in parsed(data, origin)


def _of_set(chosen: ConstraintSet, beside: Protocol) -> Limits:
    held = [limit for limit in chosen.limits if limit.holds_for(beside.fractions)]
    if not held:
        numbers = ", ".join(map(str, chosen.fraction_numbers))
        raise UsageError(
            f"{chosen.name} has no limit for {beside.fractions} fractions, it has limits for {numbers}.",
            remedy=no_organ_limits(beside.fractions) or "Name a set that has: `dosecalc protocols sets`.",
        )
    notes = [_population(chosen, beside)] if chosen.population not in ("any", beside.population) else []
    notes += [f"{limit.id} is not judged: {why}" for limit in held if (why := _unjudged(limit))]
    goals = tuple((_goal(limit).in_fractions(beside.fractions), limit.level) for limit in held if not _unjudged(limit))
    return Limits(chosen.name, chosen.title, goals, tuple(notes))


def _population(chosen: ConstraintSet, beside: Protocol) -> str:
    whom = POPULATIONS.get(beside.population or "", "a population that it does not state")
    holds = f"holds for {POPULATIONS[chosen.population]} only"
    return f"{holds}, {beside.name} is for {whom}: {chosen.population_note or chosen.title}"


def _unjudged(limit: PublishedLimit) -> str:
    if limit.superseded_by:
        return f"superseded by {limit.superseded_by}"
    return f"{limit.structure} {limit.printed}: {limit.not_a_goal}" if limit.not_a_goal else ""


def _goal(limit: PublishedLimit) -> Goal:
    # As an optimal goal, a limit that nobody read needs no acceptance: no verdict on the plan rests on it here.
    return Goal.model_validate(limit.goal_data("optimal"))


def with_others(
    judged: PlanEvaluation,
    dose: Volume,
    structures: StructureSet,
    own: Limits,
    others: Iterable[Limits],
    *,
    cut_structures: tuple[str, ...] = (),
) -> PlanEvaluation:
    """The evaluation with the same dose judged under other limits; its status stays that of the protocol.

    Parameters
    ----------
    judged : PlanEvaluation
    dose : Volume
        Course-total Gy.
    structures : StructureSet
    own : Limits
        Of the protocol that the dose was judged against: the first column.
    others : iterable of Limits
    cut_structures : tuple of str
        As for `evaluate`.
    """
    columns = (own, *others)
    wanted = {name for column in columns for name in column.structures}
    regions = regions_on(dose, structures.without(n for n in structures.names if n not in wanted), cut_structures)
    found = [
        tuple(dataclasses.replace(judge_goal(goal, regions, ()), level=level) for goal, level in column.goals)
        for column in columns
    ]
    heads = tuple(_head(column, goals) for column, goals in zip(columns, found, strict=True))
    return dataclasses.replace(judged, side_by_side=SideBySide(heads, _rows(found)))


def _head(column: Limits, goals: tuple[GoalResult, ...]) -> Column:
    met, failed = (sum(goal.met is verdict for goal in goals) for verdict in (True, False))
    firm = sum(goal.met is False and goal.level == "mandatory" for goal in goals)
    return Column(column.name, column.title, met, failed, firm, len(goals) - met - failed, column.notes)


def _rows(found: list[tuple[GoalResult, ...]]) -> tuple[VerdictRow, ...]:
    """One row per structure and metric: structures in the order of the columns, each with all its metrics."""
    every = [goal for goals in found for goal in goals]
    names = tuple(dict.fromkeys(goal.structure for goal in every))
    keys = dict.fromkeys((name, goal.metric) for name in names for goal in every if goal.structure == name)
    rows = []
    for name, metric in keys:
        verdicts = tuple(tuple(g for g in goals if (g.structure, g.metric) == (name, metric)) for goals in found)
        first = next(goal for goals in verdicts for goal in goals)
        rows.append(VerdictRow(name, metric, first.value, first.unit, verdicts))
    return tuple(rows)

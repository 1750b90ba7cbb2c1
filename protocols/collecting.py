"""The goals that a protocol takes from its constraint sets, with every limit that is left out and why."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from .composition import Composed, Override, SetUse, population_of
from .errors import ProtocolError
from .faults import nearest
from .fields import Level
from .fraction_numbers import no_organ_limits
from .limits import MOST_FRACTIONS, ConstraintSet, PublishedLimit, read_set
from .schema import Part

POPULATIONS = {"liver_metastases": "liver metastases", "primary_liver": "primary liver cancer"}


def collect(composed: Composed) -> None:
    """Append the goals of the constraint sets to the goals of the file; faults and warnings go into `composed`."""
    uses = composed.composition.constraints
    fractions = composed.raw.get("fractions")
    if not uses:
        _unused_overrides(composed, set(), all_read=True)
        if "goals" not in composed.raw:
            _unpublished(composed, fractions)
        return
    if not isinstance(fractions, int) or isinstance(fractions, bool):
        composed.faults.append(f"fractions: the constraint sets need a number of fractions, got {fractions!r}.")
        return
    goals = composed.raw.get("goals", [])
    taken: list[dict[str, Any]] = []
    touched: set[str] = set()
    before_sets = len(composed.faults)
    for index, use in enumerate(uses):
        where = f"constraints[{index}]"
        try:
            chosen, origin, data = read_set(use.set, composed.folder)
        except ProtocolError as error:
            composed.faults.append(f"{where}.set: {error}")
            continue
        composed.parts.append(Part.of(origin, data))
        if (refused := _refusal(use, chosen, composed)) is not None:
            composed.faults.append(f"{where}.{refused}")
            continue
        limits = list(_wanted(use, chosen, fractions, where, composed))
        if (first := _taken_already(limits, origin, composed)) is not None:
            composed.faults.append(
                f"{where}.set: {chosen.name} is listed twice, here and in constraints[{first}]; list it once, or let "
                "each take other limits (only)."
            )
            continue
        before = len(taken)
        for limit in limits:
            touched.add(limit.id)
            if (goal := _goal(limit, use, chosen, composed)) is not None:
                taken.append(goal)
                composed.uses[limit.id] = index
                composed.origins[limit.id] = origin
        if len(taken) == before:
            composed.faults.append(f"{where}.set: {_nothing(chosen, fractions)}")
    all_read = len(composed.faults) == before_sets
    if not all_read:
        _unpublished(composed, fractions)
    _unused_overrides(composed, touched, all_read=all_read)
    if isinstance(goals, list):
        composed.own_goals = len(goals)
        composed.raw["goals"] = [*goals, *taken]


def _unpublished(composed: Composed, fractions: object) -> None:
    """Say where sets cannot help with this number of fractions."""
    if isinstance(fractions, int) and 1 <= fractions <= MOST_FRACTIONS and (why := no_organ_limits(fractions)):
        composed.faults.append(f"fractions: {why}")


def _refusal(use: SetUse, chosen: ConstraintSet, composed: Composed) -> str | None:
    """Why a set may not be used for the protocol's population; a stated reason turns it into a warning."""
    population = population_of(composed.raw)
    if chosen.population == "any" or chosen.population == population:
        return None
    holds = f"{chosen.name} holds for {POPULATIONS[chosen.population]} only ({chosen.population_note or chosen.title})"
    if population is None:
        return f"set: {holds}; state the population of this protocol: {' or '.join(map(repr, POPULATIONS))}."
    if use.outside_population is None:
        return (
            f"set: {holds}, this protocol is for {POPULATIONS[population]}. Leave the set out, or say with "
            "outside_population why it is used; its limits are optimal at most then."
        )
    composed.warnings.append(f"{holds}; it is used outside that population: {use.outside_population}")
    return None


def _taken_already(limits: list[PublishedLimit], origin: str, composed: Composed) -> int | None:
    """The index of the use of the same set that one of its limits is a goal by already, if there is one."""
    uses = (composed.uses[limit.id] for limit in limits if composed.origins.get(limit.id) == origin)
    return next(uses, None)


def _wanted(
    use: SetUse, chosen: ConstraintSet, fractions: int, where: str, composed: Composed
) -> Iterator[PublishedLimit]:
    """The limits of the set for this number of fractions, or those that are named."""
    known = {limit.id: limit for limit in chosen.limits}
    for limit_id in use.only:
        limit = known.get(limit_id)
        if limit is None:
            composed.faults.append(
                f"{where}.only: {chosen.name} has no limit {limit_id!r}.{nearest(limit_id, tuple(known))}"
            )
        elif not limit.holds_for(fractions):
            composed.faults.append(f"{where}.only: {limit_id} was not published for {fractions} fractions.")
        elif limit.superseded_by is not None:
            composed.faults.append(f"{where}.only: {limit_id} was superseded by {limit.superseded_by}; use that one.")
        else:
            yield limit
    if not use.only:
        yield from (limit for limit in chosen.limits if limit.holds_for(fractions))


def _goal(limit: PublishedLimit, use: SetUse, chosen: ConstraintSet, composed: Composed) -> dict[str, Any] | None:
    """The goal that the protocol makes of a limit, or None with the reason noted."""
    override = next((o for o in composed.composition.overrides if limit.id in o.ids), None)
    if limit.superseded_by is not None:
        if override is not None:
            composed.faults.append(f"overrides: {limit.id} was superseded by {limit.superseded_by}; use that one.")
        composed.left_out.append(f"{chosen.name} {limit.id}: superseded by {limit.superseded_by}")
        return None
    if override is not None and override.leave_out:
        composed.left_out.append(f"{chosen.name} {limit.id}: left out by this protocol: {override.reason}")
        return None
    if limit.not_a_goal:
        text = f"{limit.structure} {limit.printed} ({chosen.name} {limit.id}) is not judged: {limit.not_a_goal}"
        composed.warnings.append(text)
        return None
    level, reason = _level(limit, use, override)
    if level is None:
        composed.left_out.append(f"{chosen.name} {limit.id}: report only; report_as or an override makes it a goal")
        return None
    goal = limit.goal_data(level) | ({} if level == limit.level else {"level_by": "editorial"})
    if override is not None:
        goal |= _own_number(limit, override)
    if reason:
        goal["note"] = " ".join(filter(None, (limit.note, f"Changed by this protocol: {reason}")))
    return goal


def _level(limit: PublishedLimit, use: SetUse, override: Override | None) -> tuple[Level | None, str]:
    """The level of the goal, and why it is not the set's; None for a limit that is only reported."""
    level: Level | None = None if limit.level == "report" else limit.level
    reason = ""
    if level is None and use.report_as is not None:
        level, reason = use.report_as, use.reason or ""
    if override is not None:
        # Without a level of its own an override does not promote a limit that is only reported.
        level, reason = override.level or level, override.reason
    if use.outside_population is not None and level == "mandatory":
        level, reason = "optimal", f"outside the population of the set: {use.outside_population}"
    return level, reason


def _own_number(limit: PublishedLimit, override: Override) -> dict[str, Any]:
    """The keys that a number of the protocol's own replaces, the published one kept in the source."""
    if override.limit is None and override.metric is None:
        return {}
    changed = {
        "limit": override.limit,
        "metric": override.metric,
        "status": override.status,
        "level_by": "editorial",
        "source": f"{override.source}; published: {limit.text} ({limit.source})",
    }
    return {key: value for key, value in changed.items() if value is not None}


def _unused_overrides(composed: Composed, touched: set[str], *, all_read: bool) -> None:
    """A typing error in an id must not pass as a change of something else; ids of a set with a fault are not known."""
    seen: set[str] = set()
    for index, override in enumerate(composed.composition.overrides):
        for limit_id in override.ids:
            if limit_id in seen:
                composed.faults.append(f"overrides[{index}].ids: {limit_id} is overridden more than once.")
            elif all_read and limit_id not in touched:
                hint = nearest(limit_id, sorted(touched))
                composed.faults.append(
                    f"overrides[{index}].ids: no constraint set of this protocol gives a limit {limit_id!r}.{hint}"
                )
            seen.add(limit_id)


def _nothing(chosen: ConstraintSet, fractions: int) -> str:
    """Why a set gave no goal: it has no limits for this number of fractions, or none is left."""
    if any(limit.holds_for(fractions) for limit in chosen.limits):
        return (
            f"{chosen.name} gives no goal: its limits for {fractions} fractions are left out, only reported or not "
            "to be judged. Remove the set, or make goals of them with report_as."
        )
    numbers = ", ".join(map(str, chosen.fraction_numbers))
    return f"{chosen.name} has no limit for {fractions} fractions, it has limits for {numbers}."

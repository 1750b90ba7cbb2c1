"""A limit planned at another value by the user's word: the protocol stays what plans are judged against."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping
from types import MappingProxyType

from .errors import ProtocolError
from .faults import nearest
from .goals import Goal
from .metrics import CriticalVolume
from .schema import Protocol


def relaxed(protocol: Protocol, accepted: Mapping[str, float]) -> Protocol:
    """The protocol with some mandatory limits planned at looser values; the goals as they were are kept beside them.

    Parameters
    ----------
    protocol : Protocol
    accepted : mapping
        Goal id to the value accepted, in the unit of the goal's limit; of a critical volume the volume in cc.

    Returns
    -------
    Protocol
        `Protocol.provenance.relaxed` holds the goals as the file states them.

    Raises
    ------
    ProtocolError
        An id that is no mandatory goal of the protocol, or a value that is not looser than the limit.
    """
    if not accepted:
        return protocol
    asked = {goal.id: goal for goal in protocol.goals if goal.level == "mandatory"}
    for name in accepted:
        if name not in asked:
            raise ProtocolError(
                f"the protocol has no mandatory limit {name!r} among its goals.{nearest(name, list(asked))}",
                where=f"{protocol.origin}: accepted relaxation",
                remedy="Prescription and hot spot are changed in the protocol file itself.",
            )
    goals = tuple(_planned_at(goal, accepted[goal.id], protocol) if goal.id in accepted else goal
                  for goal in protocol.goals)  # fmt: skip
    kept = {**protocol.provenance.relaxed, **{name: asked[name] for name in accepted}}
    provenance = dataclasses.replace(protocol.provenance, relaxed=MappingProxyType(kept))
    return protocol.model_copy(update={"goals": goals}).with_provenance(provenance)


def relaxations(protocol: Protocol) -> tuple[str, ...]:
    """One sentence for every limit that is planned at another value than the protocol states."""
    planned = {goal.id: goal for goal in protocol.goals}
    return tuple(
        f"ACCEPTED RELAXATION of {name}: {goal.structure} {goal.metric} is planned at {goal.comparator} "
        f"{planned[name].limit:g} {goal.unit} instead of the protocol's {goal.limit:g} {goal.unit}"
        for name, goal in protocol.provenance.relaxed.items()
    )


def _planned_at(goal: Goal, value: float, protocol: Protocol) -> Goal:
    """The goal at a looser limit."""
    upper = goal.comparator in ("<", "<=")
    looser = value > goal.limit if upper else value < goal.limit
    most = 100.0 if goal.unit == "%" else math.inf
    if not (math.isfinite(value) and 0 < value <= most and looser):
        raise ProtocolError(
            f"{value:g} {goal.unit} relaxes nothing: {goal.structure} {goal.metric} {goal.comparator} {goal.limit:g} "
            f"{goal.unit}; expected a {'larger' if upper else 'smaller'} value above 0.",
            where=f"{protocol.origin_of(goal.id)}: goals[{goal.id}].limit",
        )
    if isinstance(goal.metric, CriticalVolume):
        return goal.model_copy(update={"limit": value, "metric": CriticalVolume(value, goal.metric.dose_gy)})
    return goal.model_copy(update={"limit": value})

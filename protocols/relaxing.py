"""A limit planned at another value by the user's word: the protocol stays what plans are judged against.

Goals can be relaxed, and the complication probability that an escalation goes up to (`iso_ntcp`).
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping
from types import MappingProxyType
from typing import Any

from .errors import ProtocolError
from .escalation import RISK_ID
from .faults import nearest
from .goals import Goal, StatedLimit
from .metrics import CriticalVolume
from .schema import Protocol


def relaxed(protocol: Protocol, accepted: Mapping[str, float]) -> Protocol:
    """The protocol with some mandatory limits planned at looser values; the goals as they were are kept beside them.

    Parameters
    ----------
    protocol : Protocol
    accepted : mapping
        Goal id to the value accepted, in the unit of the goal's limit; of a critical volume the volume in cc, of
        `iso_ntcp` the probability in percent.

    Returns
    -------
    Protocol
        `Protocol.provenance.relaxed` holds the limits as the file states them.

    Raises
    ------
    ProtocolError
        An id that is no mandatory limit of the protocol, or a value that is not looser than the limit.
    """
    if not accepted:
        return protocol
    risk = protocol.prescription.iso_ntcp
    asked = {goal.id: goal.stated for goal in protocol.goals if goal.level == "mandatory"}
    asked |= {RISK_ID: risk.stated} if risk is not None else {}
    for name in accepted:
        if name not in asked:
            raise ProtocolError(
                f"the protocol has no mandatory limit {name!r} among its goals.{nearest(name, list(asked))}",
                where=f"{protocol.origin}: accepted relaxation",
                remedy="Prescription and hot spot are changed in the protocol file itself.",
            )
    for name, value in accepted.items():
        where = "prescription.iso_ntcp.max_pct" if name == RISK_ID else f"goals[{name}].limit"
        origin = protocol.origin_of("prescription" if name == RISK_ID else name)
        _check_looser(asked[name], value, f"{origin}: {where}")
    update: dict[str, Any] = {
        "goals": tuple(_planned_at(goal, accepted[goal.id]) if goal.id in accepted else goal for goal in protocol.goals)
    }
    if risk is not None and RISK_ID in accepted:
        eased = risk.model_copy(update={"max_pct": accepted[RISK_ID]})
        update["prescription"] = protocol.prescription.model_copy(update={"iso_ntcp": eased})
    kept = {**protocol.provenance.relaxed, **{name: asked[name] for name in accepted}}
    provenance = dataclasses.replace(protocol.provenance, relaxed=MappingProxyType(kept))
    return protocol.model_copy(update=update).with_provenance(provenance)


def relaxations(protocol: Protocol) -> tuple[str, ...]:
    """One sentence for every limit that is planned at another value than the protocol states."""
    risk = protocol.prescription.iso_ntcp
    planned = {goal.id: goal.limit for goal in protocol.goals} | ({RISK_ID: risk.max_pct} if risk is not None else {})
    return tuple(
        f"ACCEPTED RELAXATION of {name}: {stated.structure} {stated.metric} is planned at {stated.comparator} "
        f"{planned[name]:g} {stated.unit} instead of the protocol's {stated.limit:g} {stated.unit}"
        for name, stated in protocol.provenance.relaxed.items()
    )


def _check_looser(stated: StatedLimit, value: float, where: str) -> None:
    """Refuse a value that is no looser limit; a probability of 100 % would be none."""
    upper = stated.comparator in ("<", "<=")
    looser = value > stated.limit if upper else value < stated.limit
    most = 100.0 if stated.unit == "%" else math.inf
    if not (math.isfinite(value) and 0 < value <= most and looser) or (stated.metric == "NTCP" and value >= most):
        raise ProtocolError(
            f"{value:g} {stated.unit} relaxes nothing: {stated.structure} {stated.metric} {stated.comparator} "
            f"{stated.limit:g} {stated.unit}; expected a {'larger' if upper else 'smaller'} value above 0"
            f"{' and below 100' if stated.metric == 'NTCP' else ''}.",
            where=where,
        )


def _planned_at(goal: Goal, value: float) -> Goal:
    """The goal at another limit."""
    if isinstance(goal.metric, CriticalVolume):
        return goal.model_copy(update={"limit": value, "metric": CriticalVolume(value, goal.metric.dose_gy)})
    return goal.model_copy(update={"limit": value})

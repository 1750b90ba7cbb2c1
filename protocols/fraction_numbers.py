"""For which numbers of fractions organ dose limits were published, and what to say where none were."""

from __future__ import annotations

from collections import Counter
from functools import cache

from .limits import published_limits
from .metrics import StructureVolume

TARGETS = ("GTV", "CTV", "ITV", "PTV", "PTV_opt")

NOT_CONVERTED = (
    "Limits of other fraction numbers are not converted by EQD2: the result would rest on an assumed alpha/beta and on "
    "the linear-quadratic model at large fractions, and no source printed it; whoever wants it states the converted "
    "numbers as goals of the protocol, with status COMPUTED."
)


@cache
def organ_limits() -> dict[int, int]:
    """How many dose limits on organs the shipped sets hold for each number of fractions that has any, ascending.

    Limits that no goal can state, and superseded ones, do not count.
    """
    found = Counter(
        n
        for _, limit in published_limits()
        if not (limit.not_a_goal or limit.superseded_by or limit.structure in TARGETS)
        if limit.fractions != "any" and not isinstance(limit.metric, StructureVolume)
        for n in limit.fractions
    )
    return dict(sorted(found.items()))


def no_organ_limits(fractions: int) -> str:
    """That these fractions have no limits, which nearest numbers do, and why none is converted; empty if they have."""
    known = organ_limits()
    if fractions in known:
        return ""
    nearest = (max((n for n in known if n < fractions), default=0), min((n for n in known if n > fractions), default=0))
    told = " and ".join(f"{n} ({known[n]} limit{'' if known[n] == 1 else 's'})" for n in nearest if n)
    return (
        f"no shipped set has a dose limit on an organ for {fractions} fractions; "
        f"the nearest numbers that have any: {told}. {NOT_CONVERTED}"
    )

"""A reserve on mandatory limits: the optimiser holds them tighter than the protocol, which judges at its own values."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING, TypeVar

from protocols.errors import ProtocolError

from .plan_limits import ConvexLimit, DoseVolumeLimit, MeanLimit

if TYPE_CHECKING:
    from .goals import PlanGoals

DoseLimitT = TypeVar("DoseLimitT", MeanLimit, ConvexLimit)
KEY = "planning.reserve_percent"


def with_reserve(goals: PlanGoals, percent: float) -> PlanGoals:
    """The goals with every mandatory upper limit lowered by so many percent.

    Of a limit on dose the dose is lowered; of a limit on volume the volume that may exceed its dose, of a critical
    volume too; of a complication probability the probability. The hot spot over D95 counts as a limit like any other.

    Raises
    ------
    ProtocolError
        The reserve leaves no room between D95 and the hot spot.
    """
    left = 1.0 - percent / 100.0
    if goals.hot_spot_ratio * left <= 1.0:
        raise ProtocolError(
            f"a reserve of {percent:g} % leaves a hot spot of {goals.hot_spot_ratio * left:.3g} times the D95, "
            "which no dose has.",
            where=KEY,
            remedy="Prescribe to a lower isodose, or keep less in reserve.",
        )
    return dataclasses.replace(
        goals,
        limits=tuple(_volume_limit(limit, left) for limit in goals.limits),
        means=tuple(_dose_limit(limit, left) for limit in goals.means),
        convex=tuple(_dose_limit(limit, left) for limit in goals.convex),
        hot_spot_ratio=goals.hot_spot_ratio * left,
        hot_spot_max_gy=goals.hot_spot_max_gy * left,
        ptv_mean_max_gy=goals.ptv_mean_max_gy * left,
        risk=dataclasses.replace(goals.risk, probability=goals.risk.probability * left) if goals.risk else None,
    )


def _volume_limit(limit: DoseVolumeLimit, left: float) -> DoseVolumeLimit:
    if not limit.mandatory:
        return limit
    if limit.unit_cc > 0:
        return dataclasses.replace(limit, spare_cc=limit.spare_cc * left)
    return dataclasses.replace(limit, limit_gy=limit.limit_gy * left)


def _dose_limit(limit: DoseLimitT, left: float) -> DoseLimitT:
    return dataclasses.replace(limit, limit_gy=limit.limit_gy * left) if limit.mandatory else limit


def reserve_sentence(percent: float) -> str:
    """What a reader of limits and conflicts should know."""
    return (
        f"The optimiser keeps a reserve of {percent:g} % on every mandatory upper limit ({KEY}); "
        "the plan is judged at the protocol's own values."
    )

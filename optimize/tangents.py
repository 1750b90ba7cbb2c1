"""Limits that are convex in the dose but not linear, held by tangents: gEUD, tail means, mean biological dose, sums.

A convex function lies above each of its tangents, so a plan within the limit is within every tangent taken at the
limit, and a plan beyond it is cut off by the tangent at its own dose (cutting planes: Kelley, J Soc Ind Appl Math
8:703, 1960). Each tangent is one weighted sum of doses, one row of the master however many voxels the organ has. For a
lower limit on a concave metric the same holds with the signs turned.
"""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from functools import singledispatch
from typing import Any

import numpy as np
import numpy.typing as npt

from protocols.metrics import Biological, GeneralisedEud, MeanDose, TailMean

from .plan_limits import ConvexLimit
from .problem import Master, Stage, StageResult
from .slopes import geud_slope, tail_shares
from .summed import OfSum
from .voxel_bounds import MeanBound

Array = npt.NDArray[Any]

MOST_TANGENTS = 100
"""Times that a level is solved again with further tangents before it gives up aloud; 5 to 20 were seen."""


@dataclass(frozen=True, slots=True, eq=False)
class Tangent:
    """metric(d) >= row @ x + offset for convex metrics, <= for concave ones; `row` (B,) per unit of the master."""

    row: npt.NDArray[np.float64]
    offset: float


@singledispatch
def tangent(metric: object, dose_gy: Array, cc: Array) -> tuple[float, Array]:
    """The value of a metric and its slope at a dose, (n,); Gy per Gy.

    Raises
    ------
    TypeError
        A metric that is neither convex nor concave.
    """
    raise TypeError(f"no tangent is known of a metric of type {type(metric).__name__}.")


@tangent.register
def _(metric: MeanDose, dose_gy: Array, cc: Array) -> tuple[float, Array]:
    shares = cc / cc.sum()
    return float(shares @ dose_gy), shares


@tangent.register
def _(metric: GeneralisedEud, dose_gy: Array, cc: Array) -> tuple[float, Array]:
    return geud_slope(dose_gy, cc, metric.a)


@tangent.register
def _(metric: TailMean, dose_gy: Array, cc: Array) -> tuple[float, Array]:
    weights = tail_shares(dose_gy, cc, metric.percent, coldest=metric.end == "coldest")
    return float(weights @ dose_gy), weights


@tangent.register
def _(metric: Biological, dose_gy: Array, cc: Array) -> tuple[float, Array]:
    value, slope = tangent(metric.metric, metric.of(dose_gy), cc)
    return value, slope * metric.slope(dose_gy)


@tangent.register
def _(metric: OfSum, dose_gy: Array, cc: Array) -> tuple[float, Array]:
    value, slope = tangent(metric.metric, metric.of(dose_gy), cc)
    return value, slope * metric.slope(dose_gy)


def tangent_bounds(
    master: Master, known: dict[str, list[Tangent]], limit: ConvexLimit, dose_gy: Array, scalar: str | None = None
) -> list[MeanBound]:
    """The tangents of a limit as bounds; the first is taken at `dose_gy` (V,) where none is known.

    With a scalar the limit gives way by that relative excess.
    """
    if limit.id not in known:
        known[limit.id] = [_taken(master, limit, dose_gy)]
    return [_bound(limit, number, each, scalar) for number, each in enumerate(known[limit.id])]


def with_new_tangents(
    master: Master, known: dict[str, list[Tangent]], limits: tuple[ConvexLimit, ...], stage: Stage, result: StageResult
) -> Stage | None:
    """The stage with the tangents that its result asks for; None where every limit that it states is kept."""
    stated = {mean.name for mean in stage.means}
    added = []
    for limit in limits:
        if _name(limit, 0) not in stated:
            continue
        scalar = limit.id if limit.id in stage.scalars else None
        excess = result.scalars[limit.id] if scalar else 0.0
        at = result.dose_gy[limit.region.positions]
        value, _ = tangent(limit.metric, at, limit.region.cc)
        if limit.sense * (value - limit.limit_gy) > limit.limit_gy * excess:
            # The master's rows keep a reserve (`problem.RESERVE_GY`): tangents end within it.
            known[limit.id].append(_taken(master, limit, result.dose_gy))
            added.append(_bound(limit, len(known[limit.id]) - 1, known[limit.id][-1], scalar))
    return dataclasses.replace(stage, means=(*stage.means, *added)) if added else None


def limit_of(name: str) -> str:
    """The id of the limit that a bound of this name is a tangent of."""
    return name.rpartition(TANGENT)[0]


TANGENT = ", tangent "


def _name(limit: ConvexLimit, number: int) -> str:
    return f"{limit.id}{TANGENT}{number}"


def _taken(master: Master, limit: ConvexLimit, dose_gy: Array) -> Tangent:
    at = np.maximum(np.asarray(dose_gy[limit.region.positions], np.float64), 0.0)
    value, slope = tangent(limit.metric, at, limit.region.cc)
    return Tangent(master.mean_row(limit.region.positions, slope), value - float(slope @ at))


def _bound(limit: ConvexLimit, number: int, taken: Tangent, scalar: str | None) -> MeanBound:
    level = limit.sense * (limit.limit_gy - taken.offset)
    return MeanBound(_name(limit, number), limit.sense * taken.row, level, scalar, limit.limit_gy if scalar else 0.0)

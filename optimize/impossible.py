"""Limits that no plan can keep at the floor dose, proved before anything is optimised: by geometry, and by scatter.

*Geometry.* The floor leaves at most the share c of a lesion's volume below its dose F. Of the voxels that lesion and
organ share, the rest receives F; the least volume of the organ among it is that of a knapsack whose items may be cut
(Dantzig 1957, Oper Res 5:266), so it is a lower bound.

*Scatter.* At the floor the mean dose of a lesion is at least (1 - c) F. Every beamlet j that gives the lesion a mean of
t_j gives voxel i of an organ a_ij, so whatever the weights, d_i >= (1 - c) F min_j a_ij / t_j; so for an organ's mean.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import numpy.typing as npt

from dosecalc.errors import InfeasibleError
from protocols import Protocol

from .conflicts import Conflict, where_of
from .goals import DoseVolumeLimit, PlanGoals, Region
from .operator import Operator
from .released import COLD_SHARE

Array = npt.NDArray[Any]

SURE = 1e-3
"""A bound counts when it exceeds its limit by this share, or by so many cc: the operator may be of single precision."""
MOST_ROWS = 300
"""Voxels of an organ, nearest to the target, whose scatter is looked at."""


def refuse_target_in_organ(goals: PlanGoals, protocol: Protocol) -> None:
    """Refuse a target of which more lies inside an organ than the organ's limits and the floor's cold share allow.

    Raises
    ------
    InfeasibleError
        With every such limit, its file and key.
    """
    _refuse(list(_in_capped_organs(goals)), protocol, "Leave the overlap out of the target (a PRV), prescribe less, or")


def refuse_below_scatter(influence: Operator, goals: PlanGoals, protocol: Protocol) -> None:
    """Refuse limits below the dose that these beams give whatever their weights, once the target has its floor.

    Raises
    ------
    InfeasibleError
        With every such limit, its file and key.
    """
    _refuse(list(_below_scatter(influence, goals)), protocol, "Check the limit and its unit, or")


def _refuse(found: list[Conflict], protocol: Protocol, remedy: str) -> None:
    if found:
        raise InfeasibleError(
            "no plan reaches the floor: "
            + "; ".join(f"{where_of(protocol, each.id)}: {each.structure} ({each.id}), {each.says}" for each in found)
            + ".",
            remedy=f"{remedy} accept a relaxation with --accept-relaxation GOAL_ID=VALUE.",
            conflicts=tuple(found),
            reached_gy=None,
        )


def _in_capped_organs(goals: PlanGoals) -> Iterator[Conflict]:
    hot = DoseVolumeLimit("hot_spot", True, goals.ptv, goals.hot_spot_max_gy, 0.0)
    for limit in (*(m for m in goals.limits if m.mandatory), hot):
        for lesion in goals.lesions:
            dose, organ_cc, cc = _shared(goals, lesion, limit.region)
            over = dose > limit.limit_gy * (1 + SURE)
            least_cc = _least_kept(organ_cc * over, cc, COLD_SHARE * float(lesion.cc.sum()))
            if least_cc > limit.spare_cc + SURE:
                yield Conflict(
                    limit.id, limit.region.name, limit.limit_gy, float(dose[over].max()),
                    says=f"the voxels that it shares with {lesion.name} hold {organ_cc[over].sum():.2f} cc of it, and "
                    f"the floor of {dose[over].max():g} Gy must reach at least {least_cc:.2f} cc of these; the limit "
                    f"allows {limit.spare_cc:.3g} cc above {limit.limit_gy:g} Gy",
                )  # fmt: skip
                break
    yield from _means_of_the_target(goals)


def _means_of_the_target(goals: PlanGoals) -> Iterator[Conflict]:
    for mean in (*(m for m in goals.means if m.mandatory), goals.ptv_mean):
        for lesion in goals.lesions:
            dose, organ_cc, cc = _shared(goals, lesion, mean.region)
            kept = _least_kept(dose * organ_cc, cc, COLD_SHARE * float(lesion.cc.sum()))
            least_gy = kept / float(mean.region.cc.sum())
            if least_gy > mean.limit_gy * (1 + SURE):
                yield Conflict(
                    mean.id, mean.region.name, mean.limit_gy, least_gy,
                    says=f"{organ_cc.sum():.2f} of its {mean.region.cc.sum():.2f} cc share voxels with {lesion.name}, "
                    f"whose floor alone makes its mean {least_gy:.1f} Gy; the limit is {mean.limit_gy:g} Gy",
                )  # fmt: skip
                break


def _shared(goals: PlanGoals, lesion: Region, organ: Region) -> tuple[Array, Array, Array]:
    """Voxels of a lesion that an organ shares: floor dose, cc of the organ, cc of the lesion, (n,) each."""
    _, mine, theirs = np.intersect1d(lesion.positions, organ.positions, assume_unique=True, return_indices=True)
    share = goals.share[np.searchsorted(goals.target.positions, lesion.positions[mine])]
    return goals.floor_gy * share, organ.cc[theirs], lesion.cc[mine]


def _least_kept(value: Array, cc: Array, allowed_cc: float) -> float:
    """The least sum of values when voxels of at most so many cc are left out: those of the most value per cc go."""
    order = np.argsort(-value / cc, kind="stable")
    before = np.cumsum(cc[order]) - cc[order]
    left_out = np.clip((allowed_cc - before) / cc[order], 0.0, 1.0)
    return float(value[order] @ (1.0 - left_out))


def _below_scatter(influence: Operator, goals: PlanGoals) -> Iterator[Conflict]:
    lesions = [(_floor_mean(goals, lesion), _mean_row(influence, lesion)) for lesion in goals.lesions]
    for mean in (m for m in goals.means if m.mandatory):
        least_gy = _least_gy(_mean_row(influence, mean.region)[None, :], lesions)[0]
        if least_gy > mean.limit_gy * (1 + SURE):
            yield Conflict(
                mean.id, mean.region.name, mean.limit_gy, least_gy,
                says=f"whatever the weights of these beams, its mean is at least {least_gy:.2g} Gy when "
                f"{goals.target.name} has its floor of {goals.floor_gy:g} Gy; the limit is {mean.limit_gy:g} Gy",
            )  # fmt: skip
    for limit in (m for m in goals.limits if m.mandatory):
        at = _nearest(goals, limit.region)
        cc = limit.region.cc[at]
        if cc.sum() <= limit.spare_cc:
            continue
        least = _least_gy(influence.rows(limit.region.positions[at]), lesions)
        order = np.argsort(-least)
        least_gy = float(least[order][np.searchsorted(np.cumsum(cc[order]), limit.spare_cc, side="right")])
        if least_gy > limit.limit_gy * (1 + SURE):
            yield Conflict(
                limit.id, limit.region.name, limit.limit_gy, least_gy,
                says=f"whatever the weights of these beams, more than {limit.spare_cc:.3g} cc of it get at least "
                f"{least_gy:.2g} Gy when {goals.target.name} has its floor of {goals.floor_gy:g} Gy; the limit is "
                f"{limit.limit_gy:g} Gy",
            )  # fmt: skip


def _floor_mean(goals: PlanGoals, lesion: Region) -> float:
    """The least mean dose of a lesion that has its floor."""
    share = goals.share[np.searchsorted(goals.target.positions, lesion.positions)]
    return (1 - COLD_SHARE) * goals.floor_gy * float(share.min())


def _mean_row(influence: Operator, region: Region) -> Array:
    weights = np.zeros(influence.shape[0])
    weights[region.positions] = region.cc / region.cc.sum()
    return influence.adjoint(weights)


def _least_gy(rows: Array, lesions: list[tuple[float, Array]]) -> Array:
    """The least dose of every row, (n,) Gy, whatever the weights of the beamlets."""
    least = np.zeros(len(rows))
    for mean_gy, row in lesions:
        ratio = np.divide(rows, row, out=np.full(rows.shape, np.inf), where=row > 0)
        least = np.maximum(least, mean_gy * ratio.min(axis=1))
    return least


def _nearest(goals: PlanGoals, region: Region) -> Array:
    """Positions in a region of its voxels nearest to the target's centroid; evenly taken where places are unknown."""
    if goals.centres_mm is None:
        return np.arange(0, region.positions.size, max(1, region.positions.size // MOST_ROWS))
    centre = np.average(goals.centres_mm[goals.target.positions], axis=0, weights=goals.target.cc)
    away = np.sum((goals.centres_mm[region.positions] - centre) ** 2, axis=1)
    return np.argsort(away, kind="stable")[:MOST_ROWS]

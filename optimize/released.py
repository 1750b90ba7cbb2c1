"""Voxels of the target and the GTV that must keep their dose once the coldest share is let go."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from .levels import Run
from .problem import StageResult
from .room import room_mm, spared_dose
from .sparing import kept_above
from .voxel_bounds import Bound

Array = npt.NDArray[Any]

COLD_SHARE = 0.05
"""D95%: the coldest 5 % of the volume may stay below."""
GTV_COLD_SHARE = 0.02
"""D98% of the GTV."""
PRICE_WEIGHT = 1e-3
"""How far the shadow price moves a voxel in the order of release, as a share of the dose."""


def target_kept(run: Run, last: StageResult) -> npt.NDArray[np.int64]:
    """Target voxels that must keep the prescription: all but the coldest share."""
    return _coldest_released(run, last.dose_gy[run.goals.target.positions])


def gtv_kept(run: Run, last: StageResult) -> npt.NDArray[np.int64]:
    """GTV voxels that must keep their dose: all but the coldest share of D98."""
    gtv = run.goals.gtv
    return kept_above(gtv, GTV_COLD_SHARE, last.dose_gy[gtv.positions], np.zeros(gtv.positions.size, bool))


def dear_target_kept(run: Run, last: StageResult, bounds: list[Bound]) -> npt.NDArray[np.int64]:
    """Target voxels that must keep the prescription while it is still rising.

    Among equally cold voxels those with the highest price go. Before anything was solved those with the least room
    beside capped organs go.
    """
    region = run.goals.target
    if not last.rounds:
        return _coldest_released(run, _room(run, bounds))
    score = last.dose_gy[region.positions].copy()
    families = [found for name, found in last.prices.items() if name.split(",")[0] == "target"]
    positions, price = (np.concatenate(arrays) for arrays in zip(*families, strict=True)) if families else ((), ())
    order = np.argsort(positions)
    positions, price = np.asarray(positions)[order], np.asarray(price)[order]
    if price.size and price.max() > 0:
        dear = np.isin(region.positions, positions)
        at = np.searchsorted(positions, region.positions[dear])
        score[dear] -= PRICE_WEIGHT * score[dear] * price[at] / price.max()
    return _coldest_released(run, score)


def _coldest_released(run: Run, score: Array) -> npt.NDArray[np.int64]:
    """Target voxels less the lowest-scored share of each lesion: a small one is not given up for a large one."""
    target, kept = run.goals.target, []
    for lesion in run.goals.lesions:
        at = np.searchsorted(target.positions, lesion.positions)
        kept.append(kept_above(lesion, COLD_SHARE, score[at], run.protected[at]))
    return np.unique(np.concatenate(kept))


def _room(run: Run, bounds: list[Bound]) -> Array:
    """Room of each target voxel beside capped ones, for sorting: in mm, or by dose where distances are not known."""
    positions, target_gy = run.goals.target.positions, run.goals.target_gy
    operator = run.master.influence
    cap = np.full(operator.shape[0], np.inf)
    for bound in bounds:
        if bound.sense > 0:
            cap[bound.positions] = np.minimum(cap[bound.positions], bound.level_gy)
    if run.goals.centres_mm is not None:
        return room_mm(run.goals.centres_mm, positions, cap, target_gy)
    return spared_dose(operator, positions, cap, target_gy)

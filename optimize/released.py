"""Voxels of the target and the GTV that must keep their dose once the coldest share is let go."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
from scipy.spatial import cKDTree

from .levels import Run
from .problem import Bound, StageResult
from .sparing import kept_above

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
    beside capped organs go, where it is known where voxels lie.
    """
    region = run.goals.target
    if not last.prices and run.goals.centres_mm is not None:
        return _coldest_released(run, _room_mm(run, run.goals.centres_mm, bounds))
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


def _room_mm(run: Run, centres_mm: Array, bounds: list[Bound]) -> Array:
    """Distance of each target voxel from capped voxels, over the share of the dose that must be lost on the way."""
    region = run.goals.target
    room = np.full(region.positions.size, np.inf)
    for bound in bounds:
        for cap in np.unique(bound.level_gy[bound.level_gy < run.goals.target_gy]) if bound.sense > 0 else ():
            there = bound.positions[bound.level_gy == cap]
            distance, _ = cKDTree(centres_mm[there]).query(centres_mm[region.positions])
            room = np.minimum(room, distance / (1.0 - cap / run.goals.target_gy))
    return room

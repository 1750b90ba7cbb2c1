"""Goals as bounds of a stage: mandatory limits and what was reached are hard, optimal limits have an excess."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from .goals import DoseVolumeLimit, MeanLimit, PlanGoals, RelativeLimit
from .levels import Kept, Run, mean_row
from .problem import StageResult
from .released import gtv_kept, target_kept
from .sparing import kept_below
from .tangents import tangent_bounds
from .terms import STRICTLY_BELOW_GY
from .voxel_bounds import NO_VOXELS, Bound, MeanBound

Array = npt.NDArray[Any]

CAPS, HOT_SPOT, PTV_MEAN = "mandatory limits", "hot spot over D95", "PTV mean"
PTV_MEAN_MIN = "PTV mean, at least"
"""Names of bounds: the cap of every voxel, and what the prescription asks of the PTV."""


def hard_bounds(run: Run, last: StageResult, kept: Kept) -> tuple[list[Bound], list[MeanBound]]:
    """Mandatory limits, merged to one cap per voxel, and what earlier levels reached."""
    goals = run.goals
    cap, _ = voxel_caps(goals, last.dose_gy, kept)
    capped = np.flatnonzero(np.isfinite(cap))
    bounds = [Bound(CAPS, capped, cap[capped])]
    if kept.d95_gy > 0:
        bounds += prescribed(run, target_kept(run, last), kept.d95_gy)
    if kept.gtv_gy is not None:
        bounds.append(above("GTV", gtv_kept(run, last), kept.gtv_gy))
    means = [mean_bound(run, mean.id, mean) for mean in goals.means if mean.mandatory]
    if np.isfinite(goals.ptv_mean_max_gy):
        means.append(mean_bound(run, PTV_MEAN, goals.ptv_mean))
    for limit in goals.convex:
        if limit.mandatory:
            means += tangent_bounds(run.master, run.convex_tangents, limit, last.dose_gy)
    if goals.ptv_mean_min_gy > 0:
        means.append(MeanBound(PTV_MEAN_MIN, -mean_row(run, goals.ptv), -goals.ptv_mean_min_gy))
    if goals.risk is not None and run.tangents is not None:
        means += run.tangents.bounds()
    return bounds, means


def voxel_caps(goals: PlanGoals, dose_gy: Array, kept: Kept) -> tuple[Array, npt.NDArray[np.int64]]:
    """The lowest mandatory limit of every voxel, and which one it is.

    Parameters
    ----------
    goals : PlanGoals
    dose_gy : (V,)
        Decides which voxels the limits let go.
    kept : Kept

    Returns
    -------
    cap : (V,) float64
        Gy; infinite where there is none.
    owner : (V,) int64
        Position in `goals.limits`; their number for the hot spot, -1 where there is none.
    """
    cap, owner = np.full(dose_gy.size, np.inf), np.full(dose_gy.size, -1)
    hottest = min(goals.hot_spot_max_gy, kept.d95_gy * goals.hot_spot_ratio if kept.d95_gy > 0 else np.inf)
    kept_of = [kept_below(m, dose_gy) if m.mandatory else NO_VOXELS for m in goals.limits]
    caps = [(voxels, m.caps_at(voxels)) for m, voxels in zip(goals.limits, kept_of, strict=True)]
    for index, (voxels, level) in enumerate([*caps, (goals.ptv.positions, np.full(goals.ptv.positions.size, hottest))]):
        lower = cap[voxels] > level
        cap[voxels[lower]], owner[voxels[lower]] = level[lower], index
    return cap, owner


def optimal_bounds(run: Run, last: StageResult, kept: Kept) -> tuple[list[Bound], list[MeanBound]]:
    """Optimal limits, each with its own relative excess as a scalar."""
    goals = run.goals
    bounds = []
    for limit in goals.limits:
        if not limit.mandatory:
            voxels = kept_below(limit, last.dose_gy)
            bounds.append(Bound(limit.id, voxels, limit.caps_at(voxels), limit.id, limit.limit_gy))
    if goals.outside_ratio is not None:
        highest = goals.outside_ratio * kept.d95_gy
        voxels = goals.outside.positions
        bounds.append(Bound("outside_ptv", voxels, np.full(voxels.size, highest), "outside_ptv", highest))
    means = [mean_bound(run, mean.id, mean, scalar=mean.id) for mean in goals.means if not mean.mandatory]
    for convex in goals.convex:
        if not convex.mandatory:
            means += tangent_bounds(run.master, run.convex_tangents, convex, last.dose_gy, convex.id)
    return bounds + [_relative(run, each, last, kept) for each in goals.relative], means


def _relative(run: Run, limit: RelativeLimit, last: StageResult, kept: Kept) -> Bound:
    """A limit in terms of the D95 that is kept: what the target needs, up to that dose, is let go first, then the
    hottest voxels.

    Less fluence later on lowers both sides alike; more dose in the target only loosens it.
    """
    level = limit.ratio * kept.d95_gy - (STRICTLY_BELOW_GY if limit.spare_cc else 0.0)
    score = last.dose_gy.copy()
    if limit.spare_cc and limit.ratio <= 1:
        score[run.goals.target.positions] = np.inf
    voxels = kept_below(DoseVolumeLimit(limit.id, False, limit.region, level, limit.spare_cc), score)
    return Bound(limit.id, voxels, np.full(voxels.size, level), limit.id, level)


def prescribed(run: Run, positions: Array, dose_gy: float | None) -> list[Bound]:
    """Target voxels reach their share of a dose, or of the scalar D95 where none is given."""
    goals = run.goals
    share = goals.share[np.searchsorted(goals.target.positions, positions)]
    bounds = []
    for ratio in np.unique(share).tolist():
        voxels = positions[share == ratio]
        name = "target" if ratio == 1.0 else f"target, {ratio:.0%}"
        level = np.full(voxels.size, 0.0 if dose_gy is None else ratio * dose_gy)
        scalar = "D95" if dose_gy is None else None
        bounds.append(Bound(name, voxels, level, scalar, ratio if scalar else 0.0, sense=-1))
    return bounds


def above(name: str, positions: Array, level_gy: float, scalar: str | None = None) -> Bound:
    """Voxels that must reach a level, on top of a scalar where one is named."""
    slope = 1.0 if scalar else 0.0
    return Bound(name, positions, np.full(positions.size, level_gy), scalar, slope, sense=-1)


def mean_bound(run: Run, name: str, mean: MeanLimit, scalar: str | None = None) -> MeanBound:
    """The mean dose of a region below its limit, or by no more than a share of the limit above."""
    return MeanBound(name, mean_row(run, mean.region), mean.limit_gy, scalar, mean.limit_gy if scalar else 0.0)

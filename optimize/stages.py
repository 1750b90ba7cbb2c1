"""The convex problem of each level."""

from __future__ import annotations

from typing import Any

import cvxpy as cp
import numpy as np
import numpy.typing as npt

from .bounds import HOT_SPOT, above, hard_bounds, prescribed
from .levels import Kept, Run, mean_row
from .problem import Stage, StageResult
from .released import dear_target_kept, gtv_kept, target_kept
from .voxel_bounds import Bound, MeanBound

Array = npt.NDArray[Any]

EXCESS_PRICE = 30.0
"""Price of a relative excess of one over an optimal limit. The other terms of level 4 are of order one where they start
and their prices per relative excess are below ten, so that a limit that can be kept is kept exactly.
"""
COLD_TAIL_WEIGHT = 3.0
"""Weight at level 4 of the mean relative underdose of the target voxels that D95 lets go."""
SMOOTH_ENOUGH = 0.05
"""Mean squared difference of neighbours (relative to an open field) below which roughness is not scaled up further."""
SMOOTHNESS_WEIGHT = 0.3
"""Weight of fluence roughness against liver mean and integral dose at level 4, each relative to its start."""


def prescription_stage(
    run: Run,
    last: StageResult,
    range_gy: tuple[float, float],
    gtv_gy: float | None,
) -> Stage:
    """Maximise D95 of the target within the mandatory limits."""
    goals = run.goals
    bounds, means = hard_bounds(run, last, Kept(0.0, gtv_gy))
    bounds += prescribed(run, dear_target_kept(run, last, bounds), None)
    if np.isfinite(goals.hot_spot_ratio):
        none = np.zeros(goals.ptv.positions.size)
        bounds.append(Bound(HOT_SPOT, goals.ptv.positions, none, "D95", goals.hot_spot_ratio))
    return Stage(
        "PTV_opt D95 (Gy)", lambda x, s: -s["D95"] / goals.target_gy, tuple(bounds), tuple(means), {"D95": range_gy}
    )


def gtv_stage(run: Run, last: StageResult, kept: Kept) -> Stage:
    """Maximise GTV D98 within the mandatory limits and what the prescription reached."""
    goal = run.goals.gtv_d98_gy
    bounds, means = hard_bounds(run, last, kept)
    bounds.append(above("GTV", gtv_kept(run, last), 0.0, "GTV D98"))
    return Stage("GTV D98", lambda x, s: -s["GTV D98"] / goal, tuple(bounds), tuple(means), {"GTV D98": (0.0, goal)})


def lesser_stage(run: Run, last: StageResult, kept: Kept, optimal: tuple[list[Bound], list[MeanBound]]) -> Stage:
    """Excess of optimal limits; liver mean, integral dose and roughness, each relative to where it stood; cold tail."""
    goals, master = run.goals, run.master
    bounds, means = hard_bounds(run, last, kept)
    soft, soft_means = optimal
    now = last.fluence / master.unit_fluence
    linear = np.zeros(now.size)
    for region in (goals.outside, goals.liver):
        if region is not None and region.cc.sum() > 0:
            row = mean_row(run, region)
            linear += row / max(float(row @ now), 1e-9)
    matrix = master.roughness
    weight = SMOOTHNESS_WEIGHT / max(float(now @ (matrix @ now)), SMOOTH_ENOUGH)
    cold, share = _cold_tail(run, last)
    names = [b.scalar for b in soft if b.scalar] + [m.scalar for m in soft_means if m.scalar]
    return Stage(
        "optimal limits (sum of relative excess), fall-off, smoothness" if names else "fall-off, smoothness",
        lambda x, s: (
            linear @ x
            + weight * cp.quad_form(x, matrix, assume_PSD=True)
            + COLD_TAIL_WEIGHT * (share @ cp.pos(1.0 - cold @ x / kept.d95_gy))
            + EXCESS_PRICE * sum(s.values())
        ),
        (*bounds, *soft),
        (*means, *soft_means),
        dict.fromkeys(names, (0.0, np.inf)),
    )


def _cold_tail(run: Run, last: StageResult) -> tuple[Array, Array]:
    """Rows of the target voxels that D95 lets go, and the share of each in their volume."""
    region = run.goals.target
    let_go = ~np.isin(region.positions, target_kept(run, last))
    if not let_go.any():
        return np.zeros((1, last.fluence.size)), np.zeros(1)
    cc = region.cc[let_go]
    rows = np.array(run.master.rows(region.positions[let_go]))
    return rows / run.goals.share[let_go, None], cc / cc.sum()

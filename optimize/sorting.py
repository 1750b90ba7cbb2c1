"""A dose to sort voxels by before any are released: the target's dose is given, and what it costs is spread thin.

Which voxels a dose-volume limit lets go is a combinatorial choice, and sort and fix only ever improves on the dose that
it starts from. The start here is one convex problem: every voxel of the target is asked for one dose, every
organ voxel for its limit, and the shortfalls and excesses are paid for in units of the volume that each goal may let
go. A sum of them keeps most voxels at their bound exactly and leaves a few that are far beyond it, which are those to
release (the hinge is the convex envelope of the count: Romeijn et al., Phys Med Biol 48:3521, 2003, for tail means;
Fu et al., Optim Eng 20:269, 2019, for a convex pass that the exact one sorts by).
"""

from __future__ import annotations

from typing import Any

import cvxpy as cp
import numpy as np
import numpy.typing as npt

from dosecalc.errors import OptimisationError

from .bounds import CAPS
from .goals import DoseVolumeLimit
from .levels import Run, mean_row
from .problem import Stage, solve_stage
from .released import COLD_SHARE
from .verification import LARGEST_CC
from .voxel_bounds import NO_VOXELS, Bound

Array = npt.NDArray[Any]

ROUNDS = 2
"""Rounds of row generation: a sorting need not be exact. A third changed D95 in none of three cases with slack."""
TOLERANCE = 1e-4
"""Of the solver: single precision carries it. At 1e-3 the rows that are found cost 0.3 % of D95 in a tight case."""
TAKEN_OVER_GY = 1.0
"""Voxels this close to their bound, or beyond it, are the first rows of the stages that follow."""
COLD_GY, HOT_GY, HOT_IN_LARGE_GY = 10.0, 3.0, 30.0
"""Shortfall and excess that count as much as the whole voxel being released: a dose falls from the target's to an
organ's over a few voxels, so that released voxels of the target are colder than those of an organ are hot. Where a
large volume is let go, such as the liver beyond its critical volume, that reaches into the fall-off of the target.
"""
SAMPLED = 1500
"""Voxels that stand for an organ of which a large volume is let go: its dose varies over many of them."""
MEAN_PRICE = 30.0
"""Price of a relative excess of one over a mean limit."""


def sorting_dose(run: Run, asked_gy: float, start_dose_gy: Array) -> npt.NDArray[np.float64] | None:
    """Dose (V,) in Gy of every voxel where the target is asked for a dose; None where no solver found one.

    Parameters
    ----------
    run : Run
    asked_gy : float
    start_dose_gy : (V,)
        A plausible dose, which chooses the first rows of the organs.
    """
    organs = _organs(run)
    stage = Stage(
        f"a dose of {asked_gy:g} Gy to sort by",
        lambda x, s: _mean_excess(run, x),
        (*_target(run, asked_gy), *organs),
        (),
        {},
    )
    try:
        dose = solve_stage(
            run.master, stage, start_dose_gy, {}, rounds=ROUNDS, early_tolerance=TOLERANCE, tolerance=TOLERANCE
        ).dose_gy
    except OptimisationError:
        return None
    take_over(run, organs, dose)
    return dose


def take_over(run: Run, organs: list[Bound], dose_gy: Array) -> None:
    """Let the next stage start from the rows of organs that matter here."""
    active = run.master.active
    near = [bound.positions[bound.excess_gy(dose_gy, {}) > -TAKEN_OVER_GY] for bound in organs]
    taken = [np.intersect1d(active[bound.name], voxels) for bound, voxels in zip(organs, near, strict=True)]
    active[CAPS] = np.unique(np.concatenate([active.get(CAPS, NO_VOXELS), *taken]))


def _mean_excess(run: Run, x: cp.Variable) -> cp.Expression:
    """What is paid for mandatory mean limits."""
    means = [mean for mean in run.goals.means if mean.mandatory]
    excess = [cp.pos(mean_row(run, mean.region) @ x / mean.limit_gy - 1.0) for mean in means]
    return MEAN_PRICE * sum(excess, start=cp.Constant(0.0))


def _target(run: Run, asked_gy: float) -> list[Bound]:
    """Voxels of the target that may be cold, those that may not, and the hot spot."""
    goals, target = run.goals, run.goals.target
    level = asked_gy * goals.share
    price = np.zeros(target.positions.size)
    for lesion in goals.lesions:
        at = np.searchsorted(target.positions, lesion.positions)
        price[at] = np.maximum(price[at], lesion.cc / (COLD_SHARE * lesion.cc.sum() * COLD_GY))
    free, firm = ~run.protected, run.protected
    hottest = min(goals.hot_spot_max_gy, goals.hot_spot_ratio * asked_gy)
    bounds = [
        Bound("sorting: target", target.positions[free], level[free], sense=-1, price=price[free]),
        Bound("sorting: GTV", target.positions[firm], level[firm], sense=-1),
    ]
    if np.isfinite(hottest):  # else it was given up
        bounds.append(Bound("sorting: hot spot", goals.ptv.positions, np.full(goals.ptv.positions.size, hottest)))
    return bounds


def _organs(run: Run) -> list[Bound]:
    """Mandatory limits that let some volume go, each once: on the finest voxels that it is stated on."""
    finest: dict[str, DoseVolumeLimit] = {limit.id: limit for limit in run.goals.limits if limit.mandatory}
    return [_small(run, m) if m.spare_cc <= LARGEST_CC else _large(m) for m in finest.values()]


def _small(run: Run, limit: DoseVolumeLimit) -> Bound:
    price = limit.region.cc / (max(limit.spare_cc, run.goals.voxel_cc) * HOT_GY)
    return Bound(f"sorting: {limit.id}", limit.region.positions, limit.caps_gy, price=price)


def _large(limit: DoseVolumeLimit) -> Bound:
    """On some voxels, evenly spread, each for as many as it stands for."""
    step = -(-limit.region.positions.size // SAMPLED)
    some = slice(None, None, max(step, 1))
    price = step * limit.region.cc[some] / (limit.spare_cc * HOT_IN_LARGE_GY)
    return Bound(f"sorting: {limit.id}", limit.region.positions[some], limit.caps_gy[some], price=price)

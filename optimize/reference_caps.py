"""Final rounds: hard bounds hold on the reference dose, not only on the fast operator's.

The rows of a master are the reference's already, so a voxel in it is held on the dose that the plan is judged on. The
fast operator only says which voxels to add, and where it reads too low by more than the reserve
(`problem.RESERVE_GY`), one that exceeds its cap is never added. Here the voxels near or beyond a hard bound are looked
at with the reference, those that exceed it there enter the master, and the level is solved again. Means and
convex metrics, which the master holds by rows of the fast operator, are lowered by what the reference shows more.

Cost: the reference dose of the voxels near their bound, a few in a hundred of all, and a solution where one exceeds it.
"""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from dosecalc.errors import OptimisationError
from protocols.metrics import MeanDose

from .bounds import PTV_MEAN
from .levels import Run, solved_level
from .plan_limits import ConvexLimit, MeanLimit
from .problem import Stage, StageResult
from .tangents import limit_of, tangent
from .voxel_bounds import RESERVE_GY, MeanBound

Array = npt.NDArray[Any]

MAX_LOOKS = 4
"""Looks at the reference, at most; each but the last is followed by a solution where a bound is exceeded."""
NEAR_GY, NEAR_ERRORS = 0.1, 3.0
"""Voxels are near their bound within the first, and within so many times the largest difference of fast and reference
dose on the voxels that have rows."""
VISIBLE_GY = RESERVE_GY / 2
"""Differences below this on the voxels that have rows are covered by the reserve."""


@dataclass(frozen=True, slots=True, eq=False)
class Look:
    """The hard bounds of a stage on the reference dose.

    Attributes
    ----------
    worst_gy : float
        Of all voxels and means near their bound the furthest beyond it; negative where all keep it.
    beyond : dict
        For every bound the voxels beyond it.
    means : tuple of MeanBound
        The stage's, each lowered by what the reference has more than the fast operator.
    voxels : int
        Whose reference dose was computed.
    """

    worst_gy: float
    beyond: dict[str, npt.NDArray[np.int64]]
    means: tuple[MeanBound, ...]
    voxels: int


def fast_error_gy(run: Run, result: StageResult) -> float:
    """Largest difference of fast and reference dose on the voxels that have rows, Gy: needs no dose calculation."""
    x = result.fluence / run.master.unit_fluence
    made, algebra = run.master.made, run.master.algebra
    exact, _ = algebra.products(run.master.rows(made), x)
    return float(np.abs(exact - result.dose_gy[made]).max(initial=0.0))


def held_on_reference(run: Run, stage: Stage, result: StageResult) -> tuple[Stage, StageResult]:
    """Solve a level again until its hard bounds hold on the reference dose.

    Parameters
    ----------
    run : Run
        The active voxels of its master grow.
    stage : Stage
    result : StageResult
        Of the stage.

    Returns
    -------
    Stage, StageResult
        The last one that was solved, and its result. Where a bound stays exceeded on the reference dose that is told;
        whether the plan is accepted says its evaluation, which looks at every voxel.
    """
    solved, found = stage, look(run, stage, result)
    for _ in range(MAX_LOOKS - 1):
        if found.worst_gy <= 0:
            break
        for name, voxels in found.beyond.items():
            run.master.active[name] = np.union1d(run.master.active[name], voxels)
        run.progress(
            f"reference dose of {found.voxels} voxels: worst beyond its limit by {found.worst_gy:.3f} Gy; solved again"
        )
        try:
            again = dataclasses.replace(stage, means=found.means)
            solved, result = solved_level(run, again, result)
        except OptimisationError:  # none keeps the reached dose too, or no solver can tell
            break
        # Tangents of a limit on a risk that this took hold for what follows.
        stage = dataclasses.replace(stage, means=(*stage.means, *solved.means[len(again.means) :]))
        found = look(run, stage, result)
    if found.worst_gy > 0:
        run.progress(f"on the reference dose a limit stays exceeded by {found.worst_gy:.3f} Gy")
    return solved, result


def look(run: Run, stage: Stage, result: StageResult) -> Look:
    """The hard bounds of a stage on the reference dose: all but those that may give way at a price."""
    near_gy = max(NEAR_GY, NEAR_ERRORS * fast_error_gy(run, result))
    # What a stage raises has an upper end; what an optimal limit gives way by has none.
    hard = [b for b in stage.bounds if b.scalar is None or np.isfinite(stage.scalars[b.scalar][1])]
    near = [b.positions[b.excess_gy(result.dose_gy, result.scalars) > -near_gy] for b in hard]
    x = result.fluence / run.master.unit_fluence
    averages = {limit.id: limit for limit in run.goals.averages} | {PTV_MEAN: run.goals.ptv_mean}
    full = [mean for mean in stage.means if mean.scalar is None and mean.row @ x > mean.level_gy - near_gy]
    limits = [averages.get(mean.name) or averages.get(limit_of(mean.name)) for mean in full]
    held = [(mean, limit) for mean, limit in zip(full, limits, strict=True) if limit is not None]
    voxels = np.unique(np.concatenate([*near, *(limit.region.positions for _, limit in held)]))
    # Bounds of both senses read a dose that was not looked at as kept.
    exact = np.full(result.dose_gy.size, np.nan)
    if voxels.size:
        exact[voxels] = run.master.reference.restricted_to(voxels).dose(result.fluence)
    worst, beyond = -np.inf, {}
    for bound in hard:
        excess = np.nan_to_num(bound.excess_gy(exact, result.scalars), nan=-np.inf)
        worst, beyond[bound.name] = max(worst, float(excess.max(initial=-np.inf))), bound.positions[excess > 0]
    lowered = {}
    for mean, limit in held:
        more = _value(limit, exact) - _value(limit, result.dose_gy)
        worst = max(worst, float(mean.row @ x) + more - mean.level_gy)
        lowered[mean.name] = dataclasses.replace(mean, level_gy=mean.level_gy - max(more, 0.0))
    return Look(worst, beyond, tuple(lowered.get(mean.name, mean) for mean in stage.means), voxels.size)


def _value(limit: MeanLimit | ConvexLimit, dose_gy: Array) -> float:
    """What a limit holds, by a dose (V,); of a lower limit with the sign turned, as in its tangents."""
    metric, sense = (limit.metric, limit.sense) if isinstance(limit, ConvexLimit) else (MeanDose(), 1)
    return sense * tangent(metric, np.maximum(dose_gy[limit.region.positions], 0.0), limit.region.cc)[0]

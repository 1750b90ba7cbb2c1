"""The floor dose cannot be reached: which limits would have to give, and by how much."""

from __future__ import annotations

from dataclasses import dataclass

import cvxpy as cp
import numpy as np

from dosecalc.errors import InfeasibleError

from .bounds import mean_bound, prescribed
from .goals import DoseVolumeLimit
from .levels import LEVEL_TOLERANCE, Run, solve_level
from .problem import Bound, Stage, StageResult
from .released import target_kept
from .sparing import kept_below


@dataclass(frozen=True, slots=True)
class Conflict:
    """A mandatory limit that would have to give for the floor dose to be reached."""

    id: str
    structure: str
    limit_gy: float
    needed_gy: float


def infeasible(run: Run, last: StageResult) -> InfeasibleError:
    """Name the limits that would have to give for the floor, with the least sum of relative excesses."""
    goals = run.goals
    limits = [m for m in goals.limits if m.mandatory]
    means = [m for m in goals.means if m.mandatory]
    bounds = prescribed(run, target_kept(run, last), goals.floor_gy)
    hottest = np.full(goals.ptv.positions.size, min(goals.hot_spot_max_gy, goals.floor_gy * goals.hot_spot_ratio))
    bounds.append(Bound("hot_spot", goals.ptv.positions, hottest, "hot_spot", float(hottest[0])))
    for limit in limits:
        voxels = kept_below(limit, last.dose_gy)
        bounds.append(Bound(_key(limit), voxels, np.full(voxels.size, limit.limit_gy), _key(limit), limit.limit_gy))
    soft_means = [mean_bound(run, m.id, m.region, m.limit_gy, scalar=m.id) for m in means]
    stage = Stage(
        "conflicts (sum of relative excess)",
        lambda x, s: cp.sum(cp.hstack(list(s.values()))),
        tuple(bounds),
        tuple(soft_means),
        dict.fromkeys(["hot_spot", *map(_key, limits), *(m.id for m in means)], (0.0, np.inf)),
    )
    relaxed = solve_level(run, stage, last)
    asked = [("hot_spot", "hot_spot", goals.ptv.name, float(hottest[0]))]
    asked += [(_key(limit), limit.id, limit.region.name, limit.limit_gy) for limit in limits]
    asked += [(mean.id, mean.id, mean.region.name, mean.limit_gy) for mean in means]
    conflicts = tuple(
        Conflict(name, structure, limit_gy, limit_gy * (1 + relaxed.scalars[key]))
        for key, name, structure, limit_gy in asked
        if relaxed.scalars[key] > LEVEL_TOLERANCE
    )
    return InfeasibleError(
        f"PTV_opt D95 reaches {last.scalars['D95']:.1f} Gy, below the floor of {goals.floor_gy:g} Gy, within the "
        f"mandatory limits. For the floor, {_list(conflicts)}.",
        remedy="Infeasible at this fractionation; consider more fractions, other beams, or a smaller margin.",
        conflicts=conflicts,
        reached_gy=last.scalars["D95"],
    )


def _key(limit: DoseVolumeLimit) -> str:
    """A limit that is stated on two grids has one id and two regions."""
    return f"{limit.id} of {limit.region.name}"


def _list(conflicts: tuple[Conflict, ...]) -> str:
    parts = [
        f"{c.structure} ({c.id}) needs {c.needed_gy:.1f} Gy instead of {c.limit_gy:g} "
        f"(+{c.needed_gy / c.limit_gy - 1:.1%})"
        for c in conflicts
    ]
    return "; ".join(parts) or "limits of the beam arrangement itself would have to change"

"""A dose to sort voxels by before any are released: the target's dose is given, and what it costs is spread thin.

Which voxels a dose-volume limit lets go is a combinatorial choice, and sort and fix only ever improves on the dose that
it starts from. The start here is one convex problem: every voxel of the target is asked for one dose, every
organ voxel for its limit, and the shortfalls and excesses are paid for in units of the volume that each goal may let
go. A sum of them keeps most voxels at their bound exactly and leaves a few that are far beyond it, which are those to
release (the hinge is the convex envelope of the count: Romeijn et al., Phys Med Biol 48:3521, 2003, for tail means;
Fu et al., Optim Eng 20:269, 2019, for a convex pass that the exact one sorts by).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import cvxpy as cp
import numpy as np
import numpy.typing as npt

from dosecalc.errors import OptimisationError

from .goals import DoseVolumeLimit
from .levels import Run, mean_row
from .problem import BLAS_THREADS, MODULATION_WEIGHT, NO_VOXELS, ROWS_PER_ROUND, SPREAD_ROWS
from .released import COLD_SHARE
from .solvers import solve_with_fallback
from .verification import LARGEST_CC

Array = npt.NDArray[Any]

ROUNDS = 3
"""Rounds of row generation: a sorting need not be exact."""
COLD_GY, HOT_GY = 10.0, 3.0
"""Shortfall and excess that count as much as the whole voxel being released: a dose falls from the target's to an
organ's over a few voxels, so that released voxels of the target are colder than those of an organ are hot.
"""
MEAN_PRICE = 30.0
"""Price of a relative excess of one over a mean limit."""
NOTICED_GY, NEAR_GY = 0.05, 0.3
"""Voxels that are beyond their bound by the first are added, and with them those within the second of it."""


@dataclass(frozen=True, slots=True, eq=False)
class _Family:
    """Voxels (n,) and their bounds; the price (n,) of a Gy beyond it, or None where it must be kept."""

    positions: npt.NDArray[np.int64]
    level_gy: npt.NDArray[np.float64]
    price: npt.NDArray[np.float64] | None
    sense: int

    def excess_gy(self, dose_gy: Array) -> Array:
        """How far each voxel is on the wrong side."""
        excess: Array = self.sense * (dose_gy[self.positions] - self.level_gy)
        return excess


def sorting_dose(run: Run, asked_gy: float) -> npt.NDArray[np.float64] | None:
    """Dose (V,) in Gy of every voxel where the target is asked for a dose; None where no solver found one."""
    families = [*_target(run, asked_gy), *_organs(run)]
    active = [family.positions[:: max(1, family.positions.size // SPREAD_ROWS)] for family in families[:2]]
    active += [NO_VOXELS] * (len(families) - 2)
    dose = np.zeros(0)
    for number in range(1, ROUNDS + 1):
        try:
            dose = run.master.influence.dose(_fluence(run, families, active))
        except OptimisationError:
            return None
        count = sum(chosen.size for chosen in active)
        beyond = max(float(family.excess_gy(dose).max(initial=0.0)) for family in families)
        run.master.rounds.told(f"a dose of {asked_gy:g} Gy to sort by", number, count, {}, beyond)
        grown = [_grown(family, chosen, dose) for family, chosen in zip(families, active, strict=True)]
        if all(new.size == old.size for new, old in zip(grown, active, strict=True)):
            break
        active = grown
    return dose


def _target(run: Run, asked_gy: float) -> list[_Family]:
    """Voxels of the target that may be cold, those that may not, and the hot spot."""
    goals, target = run.goals, run.goals.target
    level = asked_gy * goals.share
    price = np.zeros(target.positions.size)
    for lesion in goals.lesions:
        at = np.searchsorted(target.positions, lesion.positions)
        price[at] = np.maximum(price[at], lesion.cc / (COLD_SHARE * lesion.cc.sum() * COLD_GY))
    free, firm = ~run.protected, run.protected
    hottest = min(goals.hot_spot_max_gy, goals.hot_spot_ratio * asked_gy)
    return [
        _Family(target.positions[free], level[free], price[free], -1),
        _Family(target.positions[firm], level[firm], None, -1),
        _Family(goals.ptv.positions, np.full(goals.ptv.positions.size, hottest), None, 1),
    ]


def _organs(run: Run) -> list[_Family]:
    """Small-volume limits, each once: on the finest voxels that it is stated on."""
    goals = run.goals
    small = [limit for limit in goals.limits if limit.mandatory and limit.spare_cc <= LARGEST_CC]
    finest: dict[str, DoseVolumeLimit] = {limit.id: limit for limit in small}
    return [
        _Family(
            limit.region.positions,
            limit.caps_gy,
            limit.region.cc / (max(limit.spare_cc, goals.voxel_cc) * HOT_GY),
            1,
        )
        for limit in finest.values()
    ]


def _fluence(run: Run, families: list[_Family], active: list[Array]) -> Array:
    """The fluence of least cost on the active voxels."""
    master, goals = run.master, run.goals
    x = cp.Variable(master.influence.shape[1], nonneg=True)
    cost = MODULATION_WEIGHT * cp.quad_form(x, master.roughness, assume_PSD=True)
    kept = []
    for family, chosen in zip(families, active, strict=True):
        if chosen.size:
            at = np.isin(family.positions, chosen)
            rows = np.asarray(master.rows(family.positions[at]))
            excess = family.sense * (rows @ x - family.level_gy[at])
            if family.price is None:
                kept.append(excess <= 0)
            else:
                cost += family.price[at] @ cp.pos(excess)
    for mean in goals.means:
        if mean.mandatory:
            cost += MEAN_PRICE * cp.pos(mean_row(run, mean.region) @ x / mean.limit_gy - mean.left_gy / mean.limit_gy)
    record = solve_with_fallback(cp.Problem(cp.Minimize(cost), kept), threads=BLAS_THREADS)
    if not record.status.startswith("optimal"):
        raise OptimisationError(f"the dose to sort by ended {record.status}.")
    fluence: Array = np.maximum(np.asarray(x.value), 0.0) * master.unit_fluence
    return fluence


def _grown(family: _Family, active: Array, dose_gy: Array) -> Array:
    """The active voxels with the worst of those beyond their bound, and neighbours that nearly are."""
    excess, inactive = family.excess_gy(dose_gy), ~np.isin(family.positions, active)
    if not np.any(inactive & (excess > NOTICED_GY)):
        return active
    near = np.flatnonzero(inactive & (excess > -NEAR_GY))
    worst = near[np.argsort(-excess[near])[:ROWS_PER_ROUND]]
    return np.union1d(active, family.positions[worst])

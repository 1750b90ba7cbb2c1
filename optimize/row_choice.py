"""Which voxels have a row in the master: those near their bound at first, then the most violated of all.

Voxels are looked at where the solver works: on a GPU their doses stay there, and only the voxels that were chosen come
back.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from .solvers import HOST, Algebra
from .solvers.algebra import fetched
from .voxel_bounds import NO_VOXELS, RESERVE_GY, Bound

log = logging.getLogger(__name__)
Array = npt.NDArray[Any]
Active = dict[str, npt.NDArray[np.int64]]
"""Voxels in the master, by the name of their bound."""

VIOLATION_GY = 0.01
"""A voxel outside the master that exceeds its (lowered) bound by more than this is added."""
FIRST_ROWS, ROWS_PER_ROUND = 300, 800
"""Rows per family at the start and per round."""
FEWEST_ROWS, FEWEST_TO_SORT = 40, 5
"""Rows at the start of a family that seems far from its bound: without any, the first solution may run away. The second
in a stage of one round, which only sorts: there the rows of a dozen organs that bind nothing took a fifth of the time.
"""
SPREAD_ROWS = 900
"""Rows of a new family of lower bounds (a target), evenly spread: nearly all of a target is near its bound."""
NEAR_GY = 0.5
"""When a family has violated voxels, those this close to their bound are added with them."""
IDLE_GY = 4.0
"""Rows further than this from their bound under the last stage's dose are dropped before the next stage."""


def seed_rows(active: Active, bounds: Sequence[Bound], dose: Array, scalars: Mapping[str, float], fewest: int) -> None:
    """Keep the rows that are near their bound; a family with none gets its most critical voxels."""
    for bound in bounds:
        excess = bound.excess_gy(dose, scalars)
        near = bound.positions[excess > -IDLE_GY]
        kept = np.intersect1d(active.get(bound.name, NO_VOXELS), near)
        if not kept.size and bound.sense < 0 and bound.name not in active:
            kept = bound.positions[:: max(1, bound.positions.size // SPREAD_ROWS)]
        if not kept.size and bound.positions.size:
            worst = HOST.places_of_largest(excess, min(FIRST_ROWS, max(fewest, near.size)))
            kept = np.sort(bound.positions[worst])
        active[bound.name] = kept


def count_rows(active: Active, bounds: Sequence[Bound]) -> int:
    """Rows that the bounds have by now."""
    return sum(active[bound.name].size for bound in bounds)


@dataclass(frozen=True, slots=True, eq=False)
class Family:
    """A bound's voxels where the solver works.

    Attributes
    ----------
    bound : Bound
    positions, level_gy : (n,)
        The bound's own.
    waiting : (n,) bool
        Which of them are not in the master.
    """

    bound: Bound
    positions: Any
    level_gy: Any
    waiting: Any


def families_of(active: Active, bounds: Sequence[Bound], algebra: Algebra) -> list[Family]:
    """Every bound's voxels; they go to where the solver works."""
    send = algebra.xp.asarray
    return [Family(b, send(b.positions), send(b.level_gy), send(~np.isin(b.positions, active[b.name]))) for b in bounds]


def add_violated(
    active: Active, families: Sequence[Family], dose: Any, scalars: Mapping[str, float], algebra: Algebra
) -> float:
    """Add the most violated voxels of each family; how far the worst is beyond its bound in Gy, 0 when there are none.

    Parameters
    ----------
    active : Active
        Grows, and `Family.waiting` with it.
    families : sequence of Family
    dose : (V,)
        Where the solver works.
    scalars : mapping
    algebra : Algebra
    """
    looked, asked = [], []
    for family in families:
        excess = family.bound.beyond_gy(dose[family.positions], family.level_gy, scalars) + RESERVE_GY
        new, near = family.waiting & (excess > VIOLATION_GY), family.waiting & (excess > -NEAR_GY)
        # Their neighbours come along: near their bound now, they would be violated in the next round.
        looked.append(np.where(near, excess, -np.inf))
        asked += [new.sum(), near.sum(), np.where(new, excess, 0.0).max()] if len(new) else [0, 0, 0.0]
    told, beyond_gy = iter(fetched(*asked)), 0.0
    for family, excess in zip(families, looked, strict=True):
        new, near, worst_gy = int(next(told)), int(next(told)), next(told)
        if not new:
            continue
        name, beyond_gy = family.bound.name, max(beyond_gy, worst_gy)
        log.info("  %s: %d voxels beyond the bound, worst by %.3f Gy", name, new, worst_gy)
        chosen = algebra.places_of_largest(excess, min(ROWS_PER_ROUND, near, 2 * new + FEWEST_ROWS))
        family.waiting[chosen] = False
        active[name] = np.union1d(active[name], algebra.fetch(family.positions[chosen]))
    return beyond_gy


def drop_idle(
    active: Active,
    families: Sequence[Family],
    own_gy: Mapping[str, tuple[Array, Array]],
    scalars: Mapping[str, float],
    algebra: Algebra,
) -> None:
    """Drop the rows that are far from their bound by their own dose, which is the reference.

    `own_gy` holds by the name of a bound its voxels in the master, in its order, and their doses.
    """
    for family in families:
        bound = family.bound
        if bound.name in own_gy:
            positions, dose_gy = own_gy[bound.name]
            at = np.flatnonzero(np.isin(bound.positions, positions))
            idle = at[bound.beyond_gy(dose_gy, bound.level_gy[at], scalars) < -IDLE_GY]
            active[bound.name] = np.setdiff1d(active[bound.name], bound.positions[idle])
            family.waiting[algebra.xp.asarray(idle)] = True

"""A dose that no plan of these beams exceeds, whichever voxels it releases: the relaxation behind `gap_bound`.

Every plan that keeps the optimiser's own problem (mandatory limits, hot spot in every voxel of the PTV, no cold voxel
inside the GTV) keeps these convex conditions too, on any part of the voxels:

1. *Cold tail.* At most the share c of a lesion's volume v is below the dose s that it is judged by, and no dose is
   below 0, so the sum of v_i (s - d_i)+ is at most c v s. Voxels that may not be cold keep d_i >= s.
2. *Released volume.* At most V of an organ exceeds L. If no admissible plan gives voxel i more than M_i, the sum of
   v_i (d_i - L)+ / (M_i - L) is at most V, as each released voxel adds v_i at most.
3. *The next limits down.* With L' > L, V' for the limit above: (d - L)+ is at most L' - L plus (d - L')+, and the
   volume above L is at most V, so the sum of v_i (d_i - L)+ is at most (L' - L) V plus what the limit above allows.
4. *Proven dose caps M_i.* Not all of a set of voxels of more than V can exceed L. So if i does, one of any such set
   does not, and d_i <= L max over the set and over beamlets j of a_ij / a_kj. In the PTV the hot spot is such a cap.

5. *Tangents* of mandatory convex limits and of one on a complication probability, which every plan that keeps the
   limit keeps (`tangents`, `risk`).

After an earlier treatment each voxel has an L of its own, what it may still receive; the conditions hold as they stand
with the largest step L' - L.

The maximum of s under them is bounded from above by weak duality, with multipliers made admissible (`certificate`): the
bound holds whatever the solver returned. Rows that are left out only loosen it. It is loose where a target's cold tail
decides, since a cold voxel counts as if it had no dose.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import cvxpy as cp
import numpy as np
import numpy.typing as npt

from dosecalc.errors import OptimisationError

from .bounds import HOT_SPOT
from .certificate import Lagrangian, target_ceiling, weighted_rows
from .goals import DoseVolumeLimit
from .levels import Raised, Run, mean_row
from .problem import BLAS_THREADS
from .released import COLD_SHARE
from .solvers import solve_with_fallback
from .tangents import tangent_bounds
from .voxel_bounds import NO_VOXELS

Array = npt.NDArray[Any]

REACHED = 1e-6
"""A dose within this share of what was asked for has reached it."""
ROUNDS = 2
"""Times that rows are added: each round gives a valid bound."""
NEAR, NEAR_LIMIT = 0.03, 0.9
"""Voxels are looked at up to this share above the target's dose, and from this share of an organ's limit."""
ORGAN_ROWS = 300
"""Hottest voxels of an organ that its released volumes are counted on."""


@dataclass(frozen=True, slots=True, eq=False)
class Cut:
    """Sum of weight times (sense (d - level - slope s))+ is at most allowance + allowance_slope s.

    Without weights every term is to be 0. `positions`, `weight`, `level_gy` and `slope` are (n,).
    """

    positions: Array
    weight: Array | None
    level_gy: Array
    slope: Array
    sense: int
    allowance: float = 0.0
    allowance_slope: float = 0.0


def d95_bound(run: Run, raised: Raised) -> float | None:
    """An upper bound on the D95 of every plan, Gy: what was asked for where no lower one is found.

    None where no solver answered.
    """
    _, high = raised.stage.scalars["D95"]
    if raised.reached_gy >= high * (1 - REACHED):
        return high
    try:
        return max(raised.reached_gy, min(_bounds(run, raised, high)))
    except OptimisationError:
        return None


def _bounds(run: Run, raised: Raised, high: float) -> Iterator[float]:
    """Upper bounds, each on more rows than the one before."""
    goals, dose, reached = run.goals, raised.result.dose_gy, raised.reached_gy
    hot = raised.result.prices.get(HOT_SPOT, (NO_VOXELS, NO_VOXELS))[0]
    watched, before = {"target": NO_VOXELS, "hot": hot}, -1
    for _ in range(ROUNDS):
        _watch(run, watched, dose, reached)
        rows = sum(positions.size for positions in watched.values())
        if rows == before:
            return
        before = rows
        cuts = [*_target_cuts(run, watched["target"]), *_organ_cuts(run, watched, high)]
        cuts.append(_against_d95(watched["hot"], None, np.full(watched["hot"].size, goals.hot_spot_ratio), 1))
        bound, fluence, reached = _solved(run, raised, cuts, high)
        yield min(bound, high)
        dose = run.master.influence.dose(fluence)


def _watch(run: Run, watched: dict[str, Array], dose: Array, reached: float) -> None:
    """Add the voxels that a dose would have held back: cold ones, hot ones, and the hottest of every organ."""
    goals = run.goals
    cold = goals.target.positions[dose[goals.target.positions] < (1 + NEAR) * goals.share * reached]
    too_hot = goals.ptv.positions[dose[goals.ptv.positions] > goals.hot_spot_ratio * reached]
    added = {"target": cold, "hot": too_hot}
    for limit in goals.limits:
        if limit.mandatory:
            hottest = np.argsort(-limit.excess_gy(dose), kind="stable")[:ORGAN_ROWS]
            positions = limit.region.positions[hottest]
            added[_organ(limit)] = positions[dose[positions] > NEAR_LIMIT * limit.caps_gy[hottest]]
            watched.setdefault(_organ(limit), NO_VOXELS)
    for name, positions in added.items():
        watched[name] = np.union1d(watched[name], positions)


def _against_d95(positions: Array, weight: Array | None, ratio: Array, sense: int, allowance_slope: float = 0.0) -> Cut:
    """A cut on doses beside shares of D95."""
    return Cut(positions, weight, np.zeros(positions.size), ratio, sense, 0.0, allowance_slope)


def _organ(limit: DoseVolumeLimit) -> str:
    return f"organ {limit.region.name}"


def _target_cuts(run: Run, watched: Array) -> Iterator[Cut]:
    """Condition 1 for every lesion: doses and shortfalls in units of the voxel's share of the prescription."""
    goals = run.goals
    for lesion in goals.lesions:
        at = np.searchsorted(goals.target.positions, lesion.positions)
        share, seen = goals.share[at], np.isin(lesion.positions, watched)
        firm, soft = seen & run.protected[at], seen & ~run.protected[at]
        yield _against_d95(lesion.positions[firm], None, share[firm], -1)
        allowed = COLD_SHARE * float(lesion.cc.sum())
        yield _against_d95(lesion.positions[soft], lesion.cc[soft] / share[soft], share[soft], -1, allowed)


def _organ_cuts(run: Run, watched: dict[str, Array], high: float) -> Iterator[Cut]:
    """Conditions 2 and 3 for every organ, from its highest limit down."""
    goals = run.goals
    hottest = min(goals.hot_spot_max_gy, goals.hot_spot_ratio * high)
    organs = dict.fromkeys(_organ(limit) for limit in goals.limits if limit.mandatory)
    for organ in organs:
        limits = _telling([m for m in goals.limits if m.mandatory and _organ(m) == organ])
        positions, region = watched[organ], limits[0].region
        if not positions.size:
            continue
        cc = region.cc[np.searchsorted(region.positions, positions)]
        cap = _dose_caps(np.array(run.master.rows(positions)), cc, limits[0].caps_at(positions), limits[0].spare_cc)
        cap[np.isin(positions, goals.ptv.positions)] = np.minimum(cap, hottest)[np.isin(positions, goals.ptv.positions)]
        yield from _chain(limits, positions, cc, cap)


def _telling(limits: list[DoseVolumeLimit]) -> list[DoseVolumeLimit]:
    """Limits from the highest dose down, without those that allow more volume than one at a lower dose."""
    told: list[DoseVolumeLimit] = []
    for limit in sorted(limits, key=lambda m: (m.limit_gy, m.spare_cc)):
        if not told or limit.spare_cc < told[-1].spare_cc:
            told.append(limit)
    return told[::-1]


def _chain(limits: list[DoseVolumeLimit], positions: Array, cc: Array, cap: Array) -> Iterator[Cut]:
    """The cuts of one organ's limits, the highest first.

    Where an earlier treatment left each voxel a limit of its own, the largest step from voxel to voxel counts for all.
    """
    top, finite = limits[0].caps_at(positions), np.isfinite(cap)
    firm, soft = cap <= top, (cap > top) & finite
    yield Cut(positions[firm], None, top[firm], np.zeros(int(firm.sum())), 1)
    room, spare_cc = (cap - top)[soft], limits[0].spare_cc
    yield Cut(positions[soft], cc[soft] / room, top[soft], np.zeros(room.size), 1, spare_cc)
    allowed = float(room.max(initial=0.0)) * spare_cc
    level, known = top[finite], positions[finite]
    for limit in limits[1:]:
        below = limit.caps_at(known)
        allowed += float(np.max(level - below, initial=0.0)) * limit.spare_cc
        level = below
        yield Cut(known, cc[finite], level, np.zeros(known.size), 1, allowed)


def _dose_caps(rows: Array, cc: Array, limit_gy: Array, spare_cc: float) -> Array:
    """Condition 4 for the highest limit of an organ: the most that an admissible plan gives each voxel, (n,) Gy.

    Of all sets of voxels that cannot exceed the limit together with it, that which then leaves it the least: a voxel
    at its own limit leaves its limit times the largest ratio of their doses over all beamlets.
    """
    caps = np.full(cc.size, np.inf)
    with np.errstate(divide="ignore", invalid="ignore"):
        for i, row in enumerate(rows):
            ratio = np.max(np.where(row > 0, row / rows, 0.0), axis=1)
            leaves = np.nan_to_num(ratio * limit_gy, nan=np.inf, posinf=np.inf)
            leaves[i] = limit_gy[i]
            order = np.argsort(np.where(np.arange(cc.size) == i, -1.0, leaves))
            enough = np.flatnonzero(np.cumsum(cc[order]) > spare_cc * (1 + 1e-9))
            if enough.size:
                caps[i] = max(limit_gy[i], float(leaves[order[enough[0]]]))
    return caps


def _solved(run: Run, raised: Raised, cuts: list[Cut], high: float) -> tuple[float, Array, float]:
    """The relaxation on the voxels of the cuts: a bound from its multipliers, its fluence, and its own maximum."""
    master, goals = run.master, run.goals
    x, s = cp.Variable(master.influence.shape[1], nonneg=True), cp.Variable()
    cuts = [cut for cut in cuts if cut.positions.size]
    stated = [_stated(run, cut, x, s) for cut in cuts]
    means = [(mean_row(run, mean.region), mean.limit_gy) for mean in goals.means if mean.mandatory]
    if np.isfinite(goals.ptv_mean_max_gy):
        means.append((mean_row(run, goals.ptv), goals.ptv_mean_max_gy))
    for convex in (each for each in goals.convex if each.mandatory):
        taken = tangent_bounds(run.master, run.convex_tangents, convex, raised.result.dose_gy)
        means += [(bound.row, bound.level_gy) for bound in taken]
    if goals.risk is not None and run.tangents is not None:
        means += [(cut.row, cut.level_gy) for cut in run.tangents.bounds()]
    mean_rows = [row @ x <= limit for row, limit in means]
    rows = [constraint for pair in stated for constraint in pair]
    problem = cp.Problem(cp.Minimize(-s / raised.unit_gy), [*rows, *mean_rows, s <= high])
    solve_with_fallback(problem, threads=BLAS_THREADS, algebra=master.algebra)
    found = Lagrangian(0.0, np.zeros(x.size), -1.0)
    for cut, pair in zip(cuts, stated, strict=True):
        found = _with_cut(run, found, cut, [raised.unit_gy * np.atleast_1d(c.dual_value) for c in pair])
    for (row, limit), constraint in zip(means, mean_rows, strict=True):
        price = raised.unit_gy * max(float(constraint.dual_value), 0.0)
        found = Lagrangian(found.constant - price * limit, found.gradient + price * row, found.slope)
    bound = -found.least(target_ceiling(run), 0.0, high)
    return bound, np.maximum(x.value, 0.0) * master.unit_fluence, float(s.value)


def _stated(run: Run, cut: Cut, x: cp.Variable, s: cp.Variable) -> list[cp.Constraint]:
    """A cut in CVXPY: every voxel's excess, then, where it has weights, their sum."""
    excess = cut.sense * (np.array(run.master.rows(cut.positions)) @ x - cut.level_gy - cut.slope * s)
    if cut.weight is None:
        return [excess <= 0]
    beyond = cp.Variable(cut.positions.size, nonneg=True)
    return [excess <= beyond, cut.weight @ beyond <= cut.allowance + cut.allowance_slope * s]


def _with_cut(run: Run, found: Lagrangian, cut: Cut, prices: list[Array]) -> Lagrangian:
    """The Lagrangian with a cut at its multipliers: a voxel's is at most its weight times the sum's."""
    each, total = np.maximum(prices[0], 0.0), 0.0
    if cut.weight is not None:
        total = max(float(prices[1][0]), 0.0)
        each = np.minimum(each, total * cut.weight)
    signed = cut.sense * each
    constant = found.constant - float(signed @ cut.level_gy) - total * cut.allowance
    slope = found.slope - float(signed @ cut.slope) - total * cut.allowance_slope
    gradient = found.gradient + run.master.unit_fluence * weighted_rows(run.master.influence, cut.positions, signed)
    return Lagrangian(constant, gradient, slope)

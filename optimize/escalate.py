"""Escalation: raise the target's D95 until the mandatory limits bind, then serve the lesser goals in order.

Levels, each keeping what the ones before it reached (protocol rules, "order of goals"):

1. PTV_opt D95 up to its target, all mandatory limits hard;
2. GTV D98 up to its goal;
3. PTV_opt D95 on to its cap;
4. optimal limits (the sum of relative excesses at a price above any other term), then fall-off, liver mean, the
   target's cold tail and smooth fluence.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import cvxpy as cp
import numpy as np
import numpy.typing as npt
from scipy import sparse
from scipy.spatial import cKDTree

from dosecalc.errors import InfeasibleError

from .goals import PlanGoals, Region
from .matrix import as_operator
from .operator import Operator
from .problem import RESERVE_GY, Bound, Master, MeanBound, Stage, StageResult, solve_stage
from .room import spared_dose
from .smoothness import roughness
from .sparing import kept_above, kept_below

Array = npt.NDArray[Any]
Progress = Callable[[str], None]

COLD_SHARE = 0.05
"""D95%: the coldest 5 % of the volume may stay below."""
GTV_COLD_SHARE = 0.02
"""D98% of the GTV."""
LEVEL_TOLERANCE = 1e-3
"""A reached level is kept within this share of its value."""
EXCESS_PRICE = 30.0
"""Price of a relative excess of one over an optimal limit. The other terms of level 4 are of order one where they start
and their prices per relative excess are below ten, so that a limit that can be kept is kept exactly.
"""
SORTING_ROUNDS = 2
"""Rounds of row generation for a dose that only serves to sort voxels by."""
RESORT_GAIN, MAX_RESORTS = 5e-3, 5
"""Re-sorting stops when it gains less than this share, or after so many passes."""
PRICE_WEIGHT = 1e-3
"""How far the shadow price moves a voxel in the order of release, as a share of the dose."""
COLD_TAIL_WEIGHT = 3.0
"""Weight at level 4 of the mean relative underdose of the target voxels that D95 lets go."""
SMOOTH_ENOUGH = 0.05
"""Mean squared difference of neighbours (relative to an open field) below which roughness is not scaled up further."""
SMOOTHNESS_WEIGHT = 0.3
"""Weight of fluence roughness against liver mean and integral dose at level 4, each relative to its start."""


@dataclass(frozen=True, slots=True)
class Conflict:
    """A mandatory limit that would have to give for the floor dose to be reached."""

    id: str
    structure: str
    limit_gy: float
    needed_gy: float


@dataclass(frozen=True, slots=True)
class LevelReport:
    """What a level reached and cost."""

    name: str
    value: float
    rounds: int
    rows: int
    solver: str


@dataclass(frozen=True, slots=True, eq=False)
class Escalation:
    """The optimised fluence (B,), MU-equivalents course total, and how it came about."""

    fluence: npt.NDArray[np.float64]
    prescription_gy: float
    levels: tuple[LevelReport, ...]
    threads: int
    gap_fixed: float | None
    kkt: float | None


@dataclass(slots=True, eq=False)
class _Run:
    """What the levels share: the master, the goals, and the log of what was reached."""

    master: Master
    goals: PlanGoals
    progress: Progress
    protected: npt.NDArray[np.bool_]
    mean_rows: dict[str, npt.NDArray[np.float64]]
    levels: list[LevelReport]


def escalate(
    influence: Operator | sparse.sparray | npt.NDArray[np.floating[Any]],
    goals: PlanGoals,
    *,
    progress: Progress = lambda text: None,
) -> Escalation:
    """Optimise the fluence of a plan.

    Parameters
    ----------
    influence : Operator or matrix
        On every voxel that a goal names: `DoseInfluence`, a SciPy or NumPy matrix, or what `as_operator` takes.
    goals : PlanGoals
    progress : callable, optional
        Told in a line what has been reached.

    Returns
    -------
    Escalation

    Raises
    ------
    InfeasibleError
        The floor dose cannot be reached within the mandatory limits; its `conflicts` name what would have to give.
    OptimisationError
        No solver succeeded.
    """
    operator = as_operator(influence)
    voxels, beamlets = operator.shape
    goals.check_covered(voxels)
    start = operator.dose(np.ones(beamlets))
    unit = goals.target_gy / max(float(start[goals.target.positions].mean()), 1e-12)
    run = _Run(
        Master(operator, unit, roughness(operator.neighbours, beamlets)), goals, progress,
        np.isin(goals.target.positions, _mostly_inside(goals.gtv, goals.voxel_cc)), {}, [],
    )  # fmt: skip
    raised = _raise_prescription(run, start * unit)
    reached = raised.scalars["D95"]
    if reached < goals.floor_gy * (1 - LEVEL_TOLERANCE):
        raise _infeasible(run, raised)
    kept = _Kept(_keep(reached, goals.target_gy), None)
    raised, kept = _raise_gtv(run, raised, kept)
    if goals.cap_gy > goals.target_gy and kept.d95_gy >= goals.target_gy and kept.gtv_gy == goals.gtv_d98_gy:
        raised = _solve(
            run,
            _prescription_stage(run, raised, (kept.d95_gy * (1 - LEVEL_TOLERANCE), goals.cap_gy), kept.gtv_gy),
            raised,
        )
        kept = _Kept(_keep(raised.scalars["D95"], goals.cap_gy), kept.gtv_gy)
    final = _serve_lesser_goals(run, raised, kept)
    fluence = final.fluence * _normalisation(run, final)
    return Escalation(fluence, kept.d95_gy, tuple(run.levels), final.record.threads, None, None)


def _normalisation(run: _Run, final: StageResult) -> float:
    """Factor that brings a D95 above the cap down to it.

    Level 4 may lift voxels that D95 lets go above the cap, and D95 with them. Less fluence keeps every upper limit,
    and limits relative to D95 do not notice.
    """
    region, full = run.goals.target, run.goals.share == 1.0
    dose, cc = final.dose_gy[region.positions[full]], region.cc[full]
    order = np.argsort(-dose)
    reached = dose[order][np.searchsorted(np.cumsum(cc[order]), (1 - COLD_SHARE) * cc.sum())]
    highest = run.goals.cap_gy + RESERVE_GY
    if reached <= highest:
        return 1.0
    run.progress(f"normalised: D95 of {reached:.2f} Gy lies above the cap, fluence scaled by {highest / reached:.4f}")
    return float(highest / reached)


@dataclass(frozen=True, slots=True)
class _Kept:
    """Target doses that later levels may not give up."""

    d95_gy: float
    gtv_gy: float | None


def _mostly_inside(region: Region, voxel_cc: float) -> npt.NDArray[np.int64]:
    """Voxels of which the region holds half or more: a sliver of GTV does not make a voxel of bowel tumour."""
    return region.positions[region.cc >= 0.5 * voxel_cc]


def _keep(reached_gy: float, asked_gy: float) -> float:
    """The part of a level that is kept: all of a goal that was met, all but the tolerance of one that was not."""
    return asked_gy if reached_gy >= asked_gy * (1 - 1e-6) else reached_gy * (1 - LEVEL_TOLERANCE)


def _solve(run: _Run, stage: Stage, last: StageResult, *, rounds: int | None = None) -> StageResult:
    result = solve_stage(run.master, stage, last.dose_gy, last.scalars, rounds=rounds)
    value = result.scalars.get("D95", result.scalars.get("GTV D98", sum(result.scalars.values())))
    run.levels.append(LevelReport(stage.name, value, result.rounds, result.rows, result.record.solver))
    run.progress(f"{stage.name}: {value:.2f} ({result.rounds} rounds, {result.rows} rows, {result.record.solver})")
    return result


def _raise_prescription(run: _Run, start_dose_gy: Array) -> StageResult:
    """Level 1: sort and fix, from the dose of an open field on, until re-sorting gains nothing."""
    goals = run.goals
    last = StageResult.start(start_dose_gy, {"D95": goals.target_gy})
    reached = 0.0
    for attempt in range(1 + MAX_RESORTS):
        stage = _prescription_stage(run, last, (0.0, goals.target_gy), None)
        last = _solve(run, stage, last, rounds=None if attempt else SORTING_ROUNDS)
        if not last.settled:
            continue
        gained = last.scalars["D95"] - reached
        reached = last.scalars["D95"]
        if reached >= goals.target_gy * (1 - 1e-6) or gained < RESORT_GAIN * reached:
            break
    return last


def _raise_gtv(run: _Run, last: StageResult, kept: _Kept) -> tuple[StageResult, _Kept]:
    """Level 2: GTV D98 up to its goal, unless it is there already."""
    goal = run.goals.gtv_d98_gy
    if not run.goals.gtv.positions.size:
        return last, kept
    reached = last.dose_gy[_gtv_kept(run, last)].min()
    if reached < goal:
        bounds, means = _hard_bounds(run, last, kept)
        bounds.append(_above("GTV", _gtv_kept(run, last), 0.0, "GTV D98"))
        stage = Stage(
            "GTV D98", lambda x, s: -s["GTV D98"] / goal, tuple(bounds), tuple(means), {"GTV D98": (0.0, goal)}
        )
        last = _solve(run, stage, last)
        reached = last.scalars["GTV D98"]
    return last, _Kept(kept.d95_gy, _keep(reached, goal))


def _prescription_stage(
    run: _Run,
    last: StageResult,
    range_gy: tuple[float, float],
    gtv_gy: float | None,
) -> Stage:
    """Maximise D95 of the target within the mandatory limits."""
    goals = run.goals
    bounds, means = _hard_bounds(run, last, _Kept(0.0, gtv_gy))
    bounds += _prescribed(run, _dear_target_released(run, last, bounds), None)
    if np.isfinite(goals.hot_spot_ratio):
        none = np.zeros(goals.ptv.positions.size)
        bounds.append(Bound("hot spot over D95", goals.ptv.positions, none, "D95", goals.hot_spot_ratio))
    return Stage(
        "PTV_opt D95 (Gy)", lambda x, s: -s["D95"] / goals.target_gy, tuple(bounds), tuple(means), {"D95": range_gy}
    )


def _hard_bounds(run: _Run, last: StageResult, kept: _Kept) -> tuple[list[Bound], list[MeanBound]]:
    """Mandatory limits, merged to one cap per voxel, and what earlier levels reached."""
    goals = run.goals
    cap = np.full(last.dose_gy.size, np.inf)
    for limit in goals.limits:
        if limit.mandatory:
            kept_voxels = kept_below(limit, last.dose_gy)
            cap[kept_voxels] = np.minimum(cap[kept_voxels], limit.limit_gy)
    hottest = min(goals.hot_spot_max_gy, kept.d95_gy * goals.hot_spot_ratio if kept.d95_gy > 0 else np.inf)
    if np.isfinite(hottest):
        cap[goals.ptv.positions] = np.minimum(cap[goals.ptv.positions], hottest)
    capped = np.flatnonzero(np.isfinite(cap))
    bounds = [Bound("mandatory limits", capped, cap[capped])]
    if kept.d95_gy > 0:
        bounds += _prescribed(run, _target_kept(run, last), kept.d95_gy)
    if kept.gtv_gy is not None:
        bounds.append(_above("GTV", _gtv_kept(run, last), kept.gtv_gy))
    means = [_mean_bound(run, mean.id, mean.region, mean.limit_gy) for mean in goals.means if mean.mandatory]
    if np.isfinite(goals.ptv_mean_max_gy):
        means.append(_mean_bound(run, "PTV mean", goals.ptv, goals.ptv_mean_max_gy))
    return bounds, means


def _serve_lesser_goals(run: _Run, last: StageResult, kept: _Kept) -> StageResult:
    """Level 4: fall-off alone, which meets most optimal limits; then with them, re-sorted if some are exceeded."""
    low = _solve(run, _lesser_stage(run, last, kept, ([], [])), last, rounds=1)
    # What may not be given up is sorted by a dose that keeps it: sorted by one that does not, it may be out of reach.
    first = _lesser_stage(run, last, kept, _optimal_bounds(run, low, kept))
    served = _solve(run, first, low, rounds=SORTING_ROUNDS)
    if not served.settled or sum(served.scalars.values()) > RESORT_GAIN:
        keeps = served if served.settled else last
        served = _solve(run, _lesser_stage(run, keeps, kept, _optimal_bounds(run, served, kept)), served)
    return served


def _lesser_stage(run: _Run, last: StageResult, kept: _Kept, optimal: tuple[list[Bound], list[MeanBound]]) -> Stage:
    """Excess of optimal limits; liver mean, integral dose and roughness, each relative to where it stood; cold tail."""
    goals, master = run.goals, run.master
    bounds, means = _hard_bounds(run, last, kept)
    soft, soft_means = optimal
    now = last.fluence / master.unit_fluence
    linear = np.zeros(now.size)
    for region in (goals.outside, goals.liver):
        if region is not None and region.cc.sum() > 0:
            row = _mean_row(run, region)
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


def _optimal_bounds(run: _Run, last: StageResult, kept: _Kept) -> tuple[list[Bound], list[MeanBound]]:
    """Optimal limits, each with its own relative excess as a scalar."""
    goals = run.goals
    bounds = []
    for limit in goals.limits:
        if not limit.mandatory:
            voxels = kept_below(limit, last.dose_gy)
            bounds.append(Bound(limit.id, voxels, np.full(voxels.size, limit.limit_gy), limit.id, limit.limit_gy))
    if goals.outside_ratio is not None:
        highest = goals.outside_ratio * kept.d95_gy
        voxels = goals.outside.positions
        bounds.append(Bound("outside_ptv", voxels, np.full(voxels.size, highest), "outside_ptv", highest))
    means = [
        _mean_bound(run, mean.id, mean.region, mean.limit_gy, scalar=mean.id)
        for mean in goals.means
        if not mean.mandatory
    ]
    return bounds, means


def _cold_tail(run: _Run, last: StageResult) -> tuple[Array, Array]:
    """Rows of the target voxels that D95 lets go, and the share of each in their volume."""
    region = run.goals.target
    let_go = ~np.isin(region.positions, _target_kept(run, last))
    if not let_go.any():
        return np.zeros((1, last.fluence.size)), np.zeros(1)
    cc = region.cc[let_go]
    return run.master.rows(region.positions[let_go]) / run.goals.share[let_go, None], cc / cc.sum()


def _infeasible(run: _Run, last: StageResult) -> InfeasibleError:
    """Name the limits that would have to give for the floor, with the least sum of relative excesses."""
    goals = run.goals
    limits = [m for m in goals.limits if m.mandatory]
    means = [m for m in goals.means if m.mandatory]
    bounds = _prescribed(run, _target_kept(run, last), goals.floor_gy)
    hottest = np.full(goals.ptv.positions.size, min(goals.hot_spot_max_gy, goals.floor_gy * goals.hot_spot_ratio))
    bounds.append(Bound("hot_spot", goals.ptv.positions, hottest, "hot_spot", float(hottest[0])))
    for limit in limits:
        voxels = kept_below(limit, last.dose_gy)
        bounds.append(Bound(limit.id, voxels, np.full(voxels.size, limit.limit_gy), limit.id, limit.limit_gy))
    soft_means = [_mean_bound(run, m.id, m.region, m.limit_gy, scalar=m.id) for m in means]
    stage = Stage(
        "conflicts (sum of relative excess)",
        lambda x, s: cp.sum(cp.hstack(list(s.values()))),
        tuple(bounds),
        tuple(soft_means),
        dict.fromkeys(["hot_spot", *(m.id for m in limits), *(m.id for m in means)], (0.0, np.inf)),
    )
    relaxed = _solve(run, stage, last)
    asked = [("hot_spot", goals.ptv.name, float(hottest[0]))]
    asked += [(limit.id, limit.region.name, limit.limit_gy) for limit in limits]
    asked += [(mean.id, mean.region.name, mean.limit_gy) for mean in means]
    conflicts = tuple(
        Conflict(name, structure, limit_gy, limit_gy * (1 + relaxed.scalars[name]))
        for name, structure, limit_gy in asked
        if relaxed.scalars[name] > LEVEL_TOLERANCE
    )
    return InfeasibleError(
        f"PTV_opt D95 reaches {last.scalars['D95']:.1f} Gy, below the floor of {goals.floor_gy:g} Gy, within the "
        f"mandatory limits. For the floor, {_list(conflicts)}.",
        remedy="Infeasible at this fractionation; consider more fractions, other beams, or a smaller margin.",
        conflicts=conflicts,
        reached_gy=last.scalars["D95"],
    )


def _list(conflicts: tuple[Conflict, ...]) -> str:
    parts = [
        f"{c.structure} ({c.id}) needs {c.needed_gy:.1f} Gy instead of {c.limit_gy:g} "
        f"(+{c.needed_gy / c.limit_gy - 1:.1%})"
        for c in conflicts
    ]
    return "; ".join(parts) or "limits of the beam arrangement itself would have to change"


def _prescribed(run: _Run, positions: Array, dose_gy: float | None) -> list[Bound]:
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


def _above(name: str, positions: Array, level_gy: float, scalar: str | None = None) -> Bound:
    slope = 1.0 if scalar else 0.0
    return Bound(name, positions, np.full(positions.size, level_gy), scalar, slope, sense=-1)


def _mean_row(run: _Run, region: Region) -> npt.NDArray[np.float64]:
    if region.name not in run.mean_rows:
        run.mean_rows[region.name] = run.master.mean_row(region.positions, region.cc / region.cc.sum())
    return run.mean_rows[region.name]


def _mean_bound(run: _Run, name: str, region: Region, limit_gy: float, scalar: str | None = None) -> MeanBound:
    return MeanBound(name, _mean_row(run, region), limit_gy, scalar, limit_gy if scalar else 0.0)


def _target_kept(run: _Run, last: StageResult) -> npt.NDArray[np.int64]:
    """Target voxels that must keep the prescription: all but the coldest share."""
    return _coldest_released(run, last.dose_gy[run.goals.target.positions])


def _coldest_released(run: _Run, score: Array) -> npt.NDArray[np.int64]:
    """Target voxels less the lowest-scored share of each lesion: a small one is not given up for a large one."""
    target, kept = run.goals.target, []
    for lesion in run.goals.lesions:
        at = np.searchsorted(target.positions, lesion.positions)
        kept.append(kept_above(lesion, COLD_SHARE, score[at], run.protected[at]))
    return np.unique(np.concatenate(kept))


def _dear_target_released(run: _Run, last: StageResult, bounds: list[Bound]) -> npt.NDArray[np.int64]:
    """The same while the prescription is still rising: among equally cold voxels those with the highest price go.

    Before anything was solved those with the least room beside capped organs go.
    """
    region = run.goals.target
    if not last.prices:
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


def _room(run: _Run, bounds: list[Bound]) -> Array:
    """Room of each target voxel beside capped ones, for sorting: in mm, or by dose where distances are not known."""
    if run.goals.centres_mm is not None:
        return _room_mm(run, run.goals.centres_mm, bounds)
    operator = run.master.influence
    cap = np.full(operator.shape[0], np.inf)
    for bound in bounds:
        if bound.sense > 0:
            cap[bound.positions] = np.minimum(cap[bound.positions], bound.level_gy)
    return spared_dose(operator, run.goals.target.positions, cap, run.goals.target_gy)


def _room_mm(run: _Run, centres_mm: Array, bounds: list[Bound]) -> Array:
    """Distance of each target voxel from capped voxels, over the share of the dose that must be lost on the way."""
    region = run.goals.target
    room = np.full(region.positions.size, np.inf)
    for bound in bounds:
        for cap in np.unique(bound.level_gy[bound.level_gy < run.goals.target_gy]) if bound.sense > 0 else ():
            there = bound.positions[bound.level_gy == cap]
            distance, _ = cKDTree(centres_mm[there]).query(centres_mm[region.positions])
            room = np.minimum(room, distance / (1.0 - cap / run.goals.target_gy))
    return room


def _gtv_kept(run: _Run, last: StageResult) -> npt.NDArray[np.int64]:
    gtv = run.goals.gtv
    return kept_above(gtv, GTV_COLD_SHARE, last.dose_gy[gtv.positions], np.zeros(gtv.positions.size, bool))

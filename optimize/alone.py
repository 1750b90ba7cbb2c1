"""Which mandatory limit alone, or which two of them, keep a target from its floor, and how far each would have to give.

A limit whose multiplier is zero where D95 was raised cannot raise it by giving way: with the same voxels released the
multipliers bound D95 from above as before (Boyd & Vandenberghe 2004, section 5.6.2). So only those that bind are tried:
first left out, to see whether the others allow the floor, then restored as far as they can be.
"""

from __future__ import annotations

import dataclasses
import itertools
import time
from dataclasses import dataclass, field

import numpy as np

from dosecalc.errors import InfeasibleError, OptimisationError

from .bounds import hard_bounds, mean_bound
from .goals import DoseVolumeLimit, PlanGoals
from .levels import LEVEL_TOLERANCE, Kept, Run, mean_row, solve_level
from .prices import what_stopped
from .problem import Bound, MeanBound, Stage, StageResult
from .sparing import kept_below
from .stages import prescription_stage

SECONDS = 60.0
"""Wall time after which no further limit is tried."""
HALVINGS = 2
"""Times that the room between a volume that is too small and one that suffices is halved."""
MOST_PAIRS = 6


@dataclass(slots=True)
class Alone:
    """What was found of single limits, by id.

    `relaxation` is in the unit of the goal (Gy; cc or percent for a limit on a volume), and what was found to suffice;
    `reached_gy` is the D95 without the limit where that does not suffice; `untried` was cut short or found no solution.
    `within` is a dose that came to light on the way and has the floor within every limit.
    """

    relaxation: dict[str, float] = field(default_factory=dict)
    reached_gy: dict[str, float] = field(default_factory=dict)
    pairs: list[tuple[str, str]] = field(default_factory=list)
    untried: list[str] = field(default_factory=list)
    within: StageResult | None = None


def tried_alone(run: Run, last: StageResult) -> Alone:
    """Every binding limit, dearest first, given up alone; pairs where none suffices."""
    found, deadline = Alone(), time.monotonic() + SECONDS
    binding = what_stopped(run).binding
    for name in binding:
        if time.monotonic() > deadline:
            found.untried.append(name)
            continue
        try:
            _try(run, last, name, found, deadline)
        except OptimisationError:
            found.untried.append(name)
        if found.within is not None:
            return found
    if not found.relaxation:
        for pair in itertools.islice(itertools.combinations(binding, 2), MOST_PAIRS):
            if time.monotonic() > deadline:
                found.untried.append(" with ".join(pair))
            elif _suffices(run, _without(run, last, *pair)[1]):
                found.pairs.append(pair)
    return found


def _try(run: Run, last: StageResult, name: str, found: Alone, deadline: float) -> None:
    eased, reached = _without(run, last, name)
    if not _suffices(run, reached):
        found.reached_gy[name] = reached.scalars["D95"]
        return
    limit = next((m for m in run.goals.limits if m.id == name), None)
    if limit is not None and limit.unit_cc > 0:
        more_cc, spared = _least_volume(eased, limit, reached, deadline)
        found.relaxation[name] = more_cc / limit.unit_cc
        found.within = spared if more_cc <= 0 else None
    else:
        found.relaxation[name] = _least_dose(run, eased, name, (last, reached))


def _suffices(run: Run, reached: StageResult) -> bool:
    return reached.scalars["D95"] >= run.goals.floor_gy * (1 - LEVEL_TOLERANCE)


def _without(run: Run, last: StageResult, *names: str) -> tuple[Run, StageResult]:
    """The problem without some limits, and D95 raised in it as far as the floor, re-sorted once if that falls short."""
    eased = dataclasses.replace(run, goals=_goals_without(run.goals, names))
    best = last
    for _ in range(2):
        stage = prescription_stage(eased, best, (0.0, run.goals.floor_gy), None)
        again = solve_level(eased, dataclasses.replace(stage, name=f"D95 (Gy) without {' and '.join(names)}"), best)
        best = again if again.scalars["D95"] > best.scalars["D95"] else best
        if _suffices(run, best):
            break
    return eased, best


def _goals_without(goals: PlanGoals, names: tuple[str, ...]) -> PlanGoals:
    hot = "hot_spot" in names
    return dataclasses.replace(
        goals,
        limits=tuple(limit for limit in goals.limits if limit.id not in names),
        means=tuple(mean for mean in goals.means if mean.id not in names),
        hot_spot_ratio=np.inf if hot else goals.hot_spot_ratio,
        hot_spot_max_gy=np.inf if hot else goals.hot_spot_max_gy,
        ptv_mean_max_gy=np.inf if "ptv_mean" in names else goals.ptv_mean_max_gy,
    )


def soft_bounds(run: Run, name: str, last: StageResult) -> tuple[list[Bound], list[MeanBound], float]:
    """A mandatory limit with a relative excess as its scalar (of its own name), and its dose in Gy."""
    goals = run.goals
    if name == "hot_spot":
        hottest = min(goals.hot_spot_max_gy, goals.floor_gy * goals.hot_spot_ratio)
        voxels = goals.ptv.positions
        return [Bound(name, voxels, np.full(voxels.size, hottest), name, hottest)], [], hottest
    if name == "ptv_mean":
        limit_gy = goals.ptv_mean_max_gy
        return [], [mean_bound(run, name, goals.ptv, limit_gy, scalar=name)], limit_gy
    means = [m for m in goals.means if m.id == name]
    if means:
        return [], [mean_bound(run, name, m.region, m.limit_gy, scalar=name) for m in means], means[0].limit_gy
    bounds, limits = [], [m for m in goals.limits if m.id == name]
    for limit in limits:  # one limit may be stated on two grids
        voxels = kept_below(limit, last.dose_gy)
        key = f"{name} of {limit.region.name}"
        bounds.append(Bound(key, voxels, np.full(voxels.size, limit.limit_gy), name, limit.limit_gy))
    return bounds, [], limits[0].limit_gy


def _least_dose(run: Run, eased: Run, name: str, sorted_by: tuple[StageResult, StageResult]) -> float:
    """The least excess in Gy over one limit with which the floor holds, all others hard.

    Voxels are released by the dose within all limits, if the floor holds so, else by that without this one; then once
    more by what was found.
    """
    first, otherwise = sorted_by
    try:
        found = _eased_least(run, eased, name, first)
    except InfeasibleError:
        found = _eased_least(run, eased, name, otherwise)
    _, _, limit_gy = soft_bounds(run, name, first)
    again = _eased_least(run, eased, name, found)
    return limit_gy * max(min(float(each.scalars[name]) for each in (found, again)), 0.0)


def _eased_least(run: Run, eased: Run, name: str, sorted_by: StageResult) -> StageResult:
    bounds, means = _hard(eased, sorted_by)
    soft, soft_means, _ = soft_bounds(run, name, sorted_by)
    stage = Stage(
        f"least relaxation of {name}",
        lambda x, s: s[name],
        (*bounds, *soft),
        (*means, *soft_means),
        {name: (0.0, np.inf)},
    )
    return solve_level(eased, stage, sorted_by)


def _least_volume(
    eased: Run, limit: DoseVolumeLimit, reached: StageResult, deadline: float
) -> tuple[float, StageResult]:
    """A volume in cc, added to what a limit lets go, with which the floor holds: the least of a few tried.

    The lowest mean dose of the organ shows a volume that suffices; halving it towards the limit finds smaller ones. 0 cc says that the dose
    found first keeps the limit as it is.
    """
    bounds, means = _hard(eased, reached)
    row = mean_row(eased, limit.region)
    unit = max(float(row @ (reached.fluence / eased.master.unit_fluence)), 1e-9)
    spared = solve_level(
        eased,
        Stage(f"{limit.region.name} spared", lambda x, s: row @ x / unit, tuple(bounds), tuple(means), {}),
        reached,
    )
    above = spared.dose_gy[limit.region.positions] > limit.limit_gy
    low, high = limit.spare_cc, max(limit.spare_cc, float(limit.region.cc[above].sum()))
    for _ in range(HALVINGS):
        if high <= low or time.monotonic() > deadline:
            break
        tried = (low + high) / 2
        voxels = kept_below(dataclasses.replace(limit, spare_cc=tried), spared.dose_gy)
        soft = Bound(limit.id, voxels, np.full(voxels.size, limit.limit_gy), limit.id, limit.limit_gy)
        again = solve_level(
            eased,
            Stage(f"{limit.id} with {tried:.1f} cc", lambda x, s: s[limit.id], (*bounds, soft), tuple(means),
                  {limit.id: (0.0, np.inf)}),
            spared,
        )  # fmt: skip
        low, high = (low, tried) if again.scalars[limit.id] < LEVEL_TOLERANCE else (tried, high)
    return high - limit.spare_cc, spared


def _hard(eased: Run, sorted_by: StageResult) -> tuple[list[Bound], list[MeanBound]]:
    """The other limits, and the floor as far as it counts as reached."""
    return hard_bounds(eased, sorted_by, Kept(eased.goals.floor_gy * (1 - LEVEL_TOLERANCE), None))

"""Which mandatory limit alone, or which two of them, keep a target from its floor, and how far each would have to give.

A limit whose multiplier is zero where D95 was raised cannot raise it by giving way: with the same voxels released the
multipliers bound D95 from above as before (Boyd & Vandenberghe 2004, section 5.6.2). So only those that bind are tried:
first left out, to see whether the others allow the floor, then restored as far as they can be.
"""

from __future__ import annotations

import dataclasses
import itertools
import time
from collections.abc import Iterable
from dataclasses import dataclass, field

import numpy as np

from dosecalc.errors import OptimisationError

from .bounds import hard_bounds, mean_bound
from .escalation_results import RISK
from .goals import DoseVolumeLimit, PlanGoals
from .levels import LEVEL_TOLERANCE, Kept, Run, mean_row, solve_level
from .prices import WORTH_PRICING, shadow_prices
from .problem import Stage, StageResult
from .sorting import sorting_dose
from .sparing import kept_below
from .stages import prescription_stage
from .tangents import tangent_bounds
from .voxel_bounds import Bound, MeanBound

SECONDS = 60.0
"""Wall time after which no further limit is tried, and no further pair."""
CLOSE = 0.15
"""Share of the room between a limit on a volume and one that surely suffices, to which the least one is sought."""
ROUNDING = 1e-6
"""A volume is let go below its limit, not at it."""
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
    """Every binding limit, dearest first, given up alone."""
    found, deadline = Alone(), time.monotonic() + SECONDS
    for name in _binding(run, last):
        if time.monotonic() > deadline:
            found.untried.append(name)
            continue
        try:
            _try(run, last, name, found, deadline)
        except OptimisationError:
            found.untried.append(name)
        if found.within is not None:
            return found
    return found


def try_pairs(run: Run, last: StageResult, together: Iterable[str], found: Alone) -> None:
    """Two limits given up at once, where none alone suffices: those that bind and those that give `together`.

    A limit need not bind before another has given way.
    """
    names = dict.fromkeys((*_binding(run, last), *together))
    deadline = time.monotonic() + SECONDS
    for pair in itertools.islice(itertools.combinations(names, 2), MOST_PAIRS):
        if time.monotonic() > deadline:
            found.untried.append(" with ".join(pair))
        elif _suffices(run, _without(run, last, *pair)[1]):
            found.pairs.append(pair)


def _binding(run: Run, last: StageResult) -> list[str]:
    """Limits that held D95, the dearest (price times limit) first."""
    prices = shadow_prices(run, run.raised[-1])
    worth = {name: price * soft_bounds(run, name, last)[2] for name, price in prices.items() if price > 0}
    least = WORTH_PRICING * last.scalars["D95"]
    return sorted((name for name in worth if worth[name] > least), key=lambda name: -worth[name])


def _try(run: Run, last: StageResult, name: str, found: Alone, deadline: float) -> None:
    eased, reached = _without(run, last, name)
    if not _suffices(run, reached):
        found.reached_gy[name] = reached.scalars["D95"]
        return
    limit = next((m for m in run.goals.limits if m.id == name), None)
    if limit is not None and limit.unit_cc > 0:
        more_cc, spared = _least_volume(run, eased, limit, last, reached, deadline)
        found.relaxation[name] = more_cc / limit.unit_cc
        found.within = spared if more_cc <= 0 else None
    else:
        found.relaxation[name] = _least_dose(run, eased, name, (last, reached))


def _suffices(run: Run, reached: StageResult) -> bool:
    return reached.scalars["D95"] >= run.goals.floor_gy * (1 - LEVEL_TOLERANCE)


def _without(run: Run, last: StageResult, *names: str) -> tuple[Run, StageResult]:
    """The problem without some limits, and D95 raised in it as far as the floor.

    Voxels are released by the dose within all limits and, where that does not suffice, by one that asks for the floor.
    """
    eased, name = dataclasses.replace(run, goals=_goals_without(run.goals, names)), f"without {' and '.join(names)}"
    reached = _raised(eased, name, last)
    if _suffices(run, reached) or (asked_gy := sorting_dose(eased, run.goals.floor_gy, last.dose_gy)) is None:
        return eased, reached
    again = _raised(eased, name, dataclasses.replace(last, dose_gy=asked_gy))
    return eased, max(reached, again, key=lambda result: result.scalars["D95"])


def _raised(run: Run, name: str, sorted_by: StageResult) -> StageResult:
    """D95 raised as far as the floor, re-sorted once if that falls short: the better of the two."""
    found: list[StageResult] = []
    for _ in range(2):
        stage = prescription_stage(run, sorted_by, (0.0, run.goals.floor_gy), None)
        sorted_by = solve_level(run, dataclasses.replace(stage, name=f"D95 (Gy) {name}"), sorted_by)
        found.append(sorted_by)
        if _suffices(run, sorted_by):
            break
    return max(found, key=lambda result: result.scalars["D95"])


def _goals_without(goals: PlanGoals, names: tuple[str, ...]) -> PlanGoals:
    hot = "hot_spot" in names
    return dataclasses.replace(
        goals,
        limits=tuple(limit for limit in goals.limits if limit.id not in names),
        means=tuple(mean for mean in goals.means if mean.id not in names),
        convex=tuple(limit for limit in goals.convex if limit.id not in names),
        hot_spot_ratio=np.inf if hot else goals.hot_spot_ratio,
        hot_spot_max_gy=np.inf if hot else goals.hot_spot_max_gy,
        ptv_mean_max_gy=np.inf if "ptv_mean" in names else goals.ptv_mean_max_gy,
        risk=None if RISK in names else goals.risk,
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
        return [], [mean_bound(run, name, goals.ptv_mean, scalar=name)], limit_gy
    if name == RISK and run.tangents is not None:
        return [], run.tangents.bounds(soft=True), run.tangents.limit.limit_gy
    means = [m for m in goals.means if m.id == name]
    if means:
        return [], [mean_bound(run, name, m, scalar=name) for m in means], means[0].limit_gy
    for convex in goals.convex:
        if convex.id == name:
            return [], tangent_bounds(run.master, run.convex_tangents, convex, last.dose_gy, name), convex.limit_gy
    bounds, limits = [], [m for m in goals.limits if m.id == name]
    for limit in limits:  # one limit may be stated on two grids
        voxels = kept_below(limit, last.dose_gy)
        key = f"{name} of {limit.region.name}"
        bounds.append(Bound(key, voxels, limit.caps_at(voxels), name, limit.limit_gy))
    return bounds, [], limits[0].limit_gy


def _least_dose(run: Run, eased: Run, name: str, sorted_by: tuple[StageResult, StageResult]) -> float:
    """The least excess in Gy over one limit with which the floor holds, all others hard.

    Voxels are released by the dose within all limits, if the floor holds so, else by that without this one; then once
    more by what was found.
    """
    first, otherwise = sorted_by
    try:
        found = _eased_least(run, eased, name, first)
    except OptimisationError:
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
    run: Run, eased: Run, limit: DoseVolumeLimit, last: StageResult, reached: StageResult, deadline: float
) -> tuple[float, StageResult]:
    """A volume in cc, added to what a limit lets go, and a dose that has the floor with it: the least of a few tried.

    The lowest mean dose of the organ shows a volume that suffices, and which voxels to release. With these the limit is
    tried as it is; then volumes in between, released as the escalation does or so.
    """
    bounds, means = _hard(eased, reached)
    row = mean_row(eased, limit.region)
    unit = max(float(row @ (reached.fluence / eased.master.unit_fluence)), 1e-9)
    stage = Stage(f"{limit.region.name} spared", lambda x, s: row @ x / unit, tuple(bounds), tuple(means), {})
    spared = solve_level(eased, stage, reached)
    best = dataclasses.replace(spared, scalars=reached.scalars)
    above = limit.excess_gy(spared.dose_gy) > 0
    low, high = limit.spare_cc, max(limit.spare_cc, float(limit.region.cc[above].sum()) * (1 + ROUNDING))
    close, tried, starts = (high - low) * CLOSE, low, [best]
    while high - low > close and time.monotonic() < deadline:
        name = f"{limit.id} with {tried / limit.unit_cc:.1f}"
        more = dataclasses.replace(run, goals=_with_volume(run.goals, limit.id, tried))
        again = next((d for start in starts if _suffices(run, d := _raised(more, name, start))), None)
        low, high, best = (tried, high, best) if again is None else (low, tried, again)
        tried, starts = (low + high) / 2, [last, starts[-1]]
    return high - limit.spare_cc, best


def _with_volume(goals: PlanGoals, name: str, spare_cc: float) -> PlanGoals:
    limits = (dataclasses.replace(m, spare_cc=spare_cc) if m.id == name else m for m in goals.limits)
    return dataclasses.replace(goals, limits=tuple(limits))


def _hard(eased: Run, sorted_by: StageResult) -> tuple[list[Bound], list[MeanBound]]:
    """The other limits, and the floor as far as it counts as reached."""
    return hard_bounds(eased, sorted_by, Kept(eased.goals.floor_gy * (1 - LEVEL_TOLERANCE), None))

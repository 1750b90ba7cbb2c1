"""What stopped the escalation, and what each mandatory limit costs: shadow prices from the multipliers of that level.

The price of a limit in Gy is the sum of the multipliers of its rows, one row per voxel whose cap it sets: the Gy by
which the raised dose (less the price of rough fluence) would rise per Gy of the limit, with the same voxels released
(Boyd & Vandenberghe 2004, section 5.6.2). A limit on a volume releases other voxels when it moves, which no multiplier
tells: its price is the gain of the level solved again with more volume released, over that volume.
"""

from __future__ import annotations

import dataclasses
import logging
from dataclasses import dataclass

import numpy as np

from dosecalc.errors import OptimisationError

from .bounds import CAPS, HOT_SPOT, PTV_MEAN, voxel_caps
from .escalation_results import RISK
from .goals import DoseVolumeLimit
from .levels import Raised, Run
from .problem import Stage
from .risk import solve_within_risk
from .tangents import limit_of
from .voxel_bounds import Bound

log = logging.getLogger(__name__)

REACHED = 1e-6
"""A dose within this share of what was asked for has reached it."""
MORE_VOLUME, MORE_VOXELS = 0.05, 2.0
"""A released volume is raised by this share to see what it is worth, at least by so many whole voxels."""
WORTH_PRICING = 1e-3
"""A limit binds when its price times the limit is more than this share of the raised dose."""


@dataclass(frozen=True, slots=True)
class Stop:
    """Where the escalation ended.

    Attributes
    ----------
    says : str
        In words.
    dose : str
        The dose that limits held back, "D95" or "GTV D98"; empty where the prescription itself was met.
    prices : dict
        For every mandatory limit on dose its price in Gy of that dose per unit of the limit (Gy, cc, percent of the
        structure, percentage point of a risk), 0 where it does not bind, None where it is on a volume and the level
        could not be solved again.
    binding : tuple of str
        Limits by price times limit, the dearest first.
    """

    says: str
    dose: str
    prices: dict[str, float | None]
    binding: tuple[str, ...]


def what_stopped(run: Run) -> Stop:
    """The level at which limits, not the prescription, ended the escalation, with its prices."""
    return stop_at(run, *_stopped(run))


def stop_at(run: Run, level: Raised | None, says: str) -> Stop:
    """The prices of the limits at a level that they stopped; None where they stopped none."""
    goals = run.goals
    names = ["hot_spot", *(m.id for m in goals.limits if m.mandatory), *(m.id for m in goals.means if m.mandatory)]
    names += [m.id for m in goals.convex if m.mandatory]
    names += ["ptv_mean"] if np.isfinite(goals.ptv_mean_max_gy) else []
    names += [RISK] if goals.risk is not None else []
    names = list(dict.fromkeys(names))  # a limit may be stated on two grids
    if level is None:
        return Stop(says, "", dict.fromkeys(names, 0.0), ())
    per_gy, size = shadow_prices(run, level), _sizes(run, level)
    binding = [name for name in names if per_gy[name] * size[name] > WORTH_PRICING * level.reached_gy]
    worth = {name: per_gy[name] * size[name] for name in binding}
    prices: dict[str, float | None] = {name: per_gy[name] if name in binding else 0.0 for name in names}
    if RISK in binding and goals.risk is not None:
        prices[RISK] = per_gy[RISK] * goals.risk.gy_per_pct
    for limit in goals.limits:
        if limit.id in binding and limit.unit_cc > 0:
            try:
                per_cc = price_per_cc(run, level, limit)
                prices[limit.id], worth[limit.id] = per_cc * limit.unit_cc, per_cc * limit.spare_cc
            except OptimisationError as error:
                log.warning("no price of %s: %s", limit.id, error)
                prices[limit.id] = None
    return Stop(says, level.scalar, prices, tuple(sorted(binding, key=lambda name: -worth[name])))


def shadow_prices(run: Run, level: Raised) -> dict[str, float]:
    """Gy of the raised dose per Gy, for every limit that a row of the level stands for; hot spot and PTV mean too."""
    goals = run.goals
    _, owner = voxel_caps(goals, level.sorted_by.dose_gy, level.kept)
    names = [*(limit.id for limit in goals.limits), "hot_spot"]
    found = dict.fromkeys([*names, *(mean.id for mean in goals.averages), "ptv_mean"], 0.0)
    if goals.risk is not None:
        found[RISK] = 0.0
    for name, (positions, multipliers) in level.result.prices.items():
        price = level.unit_gy * np.maximum(multipliers, 0.0)
        if name == CAPS:
            for index, total in enumerate(np.bincount(owner[positions], price, len(names)).tolist()):
                found[names[index]] += total
        elif name in (HOT_SPOT, PTV_MEAN):
            found["hot_spot" if name == HOT_SPOT else "ptv_mean"] += float(price.sum())
        elif name.startswith(RISK):  # one of its tangents
            found[RISK] += float(price.sum())
        elif (limit := limit_of(name) or name) in found:
            found[limit] += float(price.sum())
    return found


def price_per_cc(run: Run, level: Raised, limit: DoseVolumeLimit) -> float:
    """Gain of the level per cc when more of the region is released, the other released voxels staying as they are."""
    more_cc = max(MORE_VOLUME * limit.spare_cc, MORE_VOXELS * run.goals.voxel_cc)
    eased = dataclasses.replace(limit, spare_cc=limit.spare_cc + more_cc)
    tangents = run.tangents if run.goals.risk is not None else None
    _, result = solve_within_risk(run.master, tangents, with_limit(run, level, eased), level.result)
    # More freedom cannot cost dose: less than nothing is the solver's rounding.
    return max(result.scalars[level.scalar] - level.reached_gy, 0.0) / more_cc


def with_limit(run: Run, level: Raised, changed: DoseVolumeLimit) -> Stage:
    """The stage of a level with one of its limits changed, voxels released by the same dose as before."""
    limits = tuple(changed if limit.id == changed.id else limit for limit in run.goals.limits)
    cap, _ = voxel_caps(dataclasses.replace(run.goals, limits=limits), level.sorted_by.dose_gy, level.kept)
    capped = np.flatnonzero(np.isfinite(cap))
    bounds = (b if b.name != CAPS else Bound(CAPS, capped, cap[capped]) for b in level.stage.bounds)
    return dataclasses.replace(level.stage, bounds=tuple(bounds))


def _sizes(run: Run, level: Raised) -> dict[str, float]:
    """Every limit in Gy, at the dose that was reached."""
    goals = run.goals
    d95_gy = level.result.scalars.get("D95", level.kept.d95_gy)
    hottest = min(goals.hot_spot_max_gy, goals.hot_spot_ratio * d95_gy)
    sizes = {limit.id: limit.limit_gy for limit in goals.limits} | {mean.id: mean.limit_gy for mean in goals.averages}
    sizes |= {RISK: goals.risk.limit_gy} if goals.risk is not None else {}
    return sizes | {"hot_spot": hottest, "ptv_mean": goals.ptv_mean_max_gy}


def _stopped(run: Run) -> tuple[Raised | None, str]:
    """The level that limits stopped, if any, and a sentence on it."""
    goals = run.goals
    raised = [level for level in run.raised if level.scalar == "D95"][-1]
    _, high = raised.stage.scalars["D95"]
    name = "cap" if high == goals.cap_gy else "target"
    # So near to what was asked for that one digit would read the same, it takes two.
    digits = 2 if 0.0 < high - raised.reached_gy < 0.05 and raised.reached_gy < high * (1 - REACHED) else 1
    reached = f"{goals.target.name} D95 reached {raised.reached_gy:.{digits}f} Gy"
    if raised.reached_gy < high * (1 - REACHED):
        return raised, f"{reached}, below the {name} of {high:g} Gy: mandatory limits hold it there."
    short = [m for m in run.raised if m.scalar == "GTV D98" and m.reached_gy < goals.gtv_d98_gy * (1 - REACHED)]
    if short and high < goals.cap_gy:
        return short[-1], (
            f"{reached}, the target. Nothing is raised beyond it before GTV D98 is {goals.gtv_d98_gy:g} Gy, and "
            f"mandatory limits hold that at {short[-1].reached_gy:.1f} Gy."
        )
    return None, f"{reached}, the {name}: no limit binds the target dose."

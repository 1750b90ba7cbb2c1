"""Voxels to let go, chosen by what they cost: excess is paid for at a price that rises until hardly any is left.

Sort and fix forbids any excess in the voxels that stay, so that from one sorting to the next hardly a voxel changes
sides, and it ends near where it began. A dose-volume limit is a difference of two convex functions: the excesses
v_i (d_i - L)+ of all voxels, less those of the hottest volume V, add up to nothing. Sort and fix linearises the second
and asks for nothing exactly; here the sum has a finite price, so that a voxel whose limit is dear exceeds it, is among
the hottest when they are sorted next, and a hot one that gains little goes back below its limit. The price is raised
from step to step (the penalty convex-concave procedure: Lipp & Boyd, Optim Eng 17:263, 2016; that the penalty is exact
from some price on: Gotoh, Takeda & Tono, Math Program 169:141, 2018). The cold share of the target is chosen in the
same way and at once. What comes out is a dose to sort by: the plan itself keeps every limit.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from .bounds import CAPS
from .levels import Run
from .plan_limits import DoseVolumeLimit
from .problem import NO_VOXELS, Bound, StageResult, solve_stage
from .released import COLD_SHARE
from .sorting import take_over
from .sparing import kept_below
from .stages import prescription_stage

Array = npt.NDArray[Any]

LEAST_CC = 1e-9
"""Stands for no volume where worth is counted per volume: such a voxel has no multiplier."""
ACTIVE = 1e-6
"""Multipliers above this, objective per Gy, are those of bounds that cost dose."""
FIRST = 0.25
"""The first price over what bounds that are forbidden are worth: twice as much loses up to 2 Gy in tight cases."""
RISE, STEPS = 60.0, 10
"""The last price over the first, and the steps between: twice as many gain up to 2 Gy of D95 in tight cases."""
AGAIN, STEPS_AGAIN = 3.0, 6
"""Where an earlier pass is gone on from, the first price over that of the first pass: what it found is kept in part."""
ROUNDS, EARLY, TOLERANCE = 2, 1e-3, 1e-4
"""Rounds of row generation of a step, and tolerances of the solver in them: a dose to sort by need not be exact."""


@dataclass(frozen=True, slots=True)
class Prices:
    """Of a Gy of excess in the whole volume that a limit lets go, and of shortfall in the share that may be cold.

    In units of the objective of level 1, as `Bound.price`.
    """

    excess: float
    shortfall: float

    def __mul__(self, factor: float) -> Prices:
        return Prices(self.excess * factor, self.shortfall * factor)


def first_prices(run: Run, raised: StageResult) -> Prices:
    """Prices at which part of what now costs dose is let go: a part of what forbidden bounds are worth.

    Of the limits the median, of the target the highest tenth: its worth is that of few voxels.
    """
    goals, of_caps = run.goals, _multipliers(raised, CAPS)
    excess = [
        of_caps[limit.region.positions] * _volume(run, limit) / np.maximum(limit.region.cc, LEAST_CC)
        for limit in goals.limits
        if limit.mandatory and limit.spare_cc > 0
    ]
    families = [name for name in raised.prices if name.split(",")[0] == "target"]
    of_target = sum((_multipliers(raised, name) for name in families), start=np.zeros(raised.dose_gy.size))
    shortfall = [
        of_target[each.positions] * COLD_SHARE * each.cc.sum() / np.maximum(each.cc, LEAST_CC) for each in goals.lesions
    ]
    return Prices(FIRST * _quantile(excess, 0.5), FIRST * _quantile(shortfall, 0.9))


def dose_by_price(run: Run, last: StageResult, *, first: Prices, again: bool) -> StageResult:
    """The last result with a dose to sort by that was found from it at rising prices; `again` after an earlier pass.

    Raises
    ------
    OptimisationError
        No solver found the dose of a step.
    """
    for factor in np.geomspace(AGAIN if again else 1.0, RISE, STEPS_AGAIN if again else STEPS).tolist():
        hard = prescription_stage(run, last, (0.0, run.goals.target_gy), None)
        organs, targets = list(_excess(run, last.dose_gy, first * factor)), [b for b in hard.bounds if _prescribes(b)]
        others = [bound for bound in hard.bounds if bound.name != CAPS and bound not in targets]
        shortfall = [part for bound in targets for part in _shortfall(run, bound, first * factor)]
        name = f"a dose to sort by, at {factor:.1f} of the first price"
        stage = dataclasses.replace(hard, name=name, bounds=(*others, *organs, *shortfall))
        last = solve_stage(
            run.master, stage, last.dose_gy, last.scalars, rounds=ROUNDS, early_tolerance=EARLY, tolerance=TOLERANCE
        )
    take_over(run, organs, last.dose_gy)
    for bound in targets:
        run.master.active[bound.name] = np.union1d(*(run.master.active[name] for name in _parts(bound)))
    return last


def _multipliers(raised: StageResult, name: str) -> Array:
    """Multiplier of a bound on every voxel, (V,)."""
    spread = np.zeros(raised.dose_gy.size)
    positions, multipliers = raised.prices.get(name, (NO_VOXELS, np.zeros(0)))
    spread[positions] = multipliers
    return spread


def _quantile(worth: list[Array], share: float) -> float:
    """Of what bounds that cost dose are worth; one where none does."""
    costly = [each[each > ACTIVE] for each in worth]
    found = np.concatenate([np.zeros(0), *costly])
    return float(np.quantile(found, share)) if found.size else 1.0


def _volume(run: Run, limit: DoseVolumeLimit) -> float:
    return max(limit.spare_cc, run.goals.voxel_cc)


def _prescribes(bound: Bound) -> bool:
    return bound.sense < 0 and bound.scalar == "D95"


def _excess(run: Run, dose_gy: Array, prices: Prices) -> Iterator[Bound]:
    """The mandatory limits on the voxels that each does not let go, at a price where it lets some volume go."""
    for index, limit in enumerate(run.goals.limits):
        if limit.mandatory:
            voxels = kept_below(limit, dose_gy)
            cc = limit.region.cc[np.searchsorted(limit.region.positions, voxels)]
            price = prices.excess * cc / _volume(run, limit) if limit.spare_cc > 0 else None
            yield Bound(f"priced: {limit.id}, {index}", voxels, limit.caps_at(voxels), price=price)


def _shortfall(run: Run, bound: Bound, prices: Prices) -> Iterator[Bound]:
    """Voxels that are to reach D95: those that may be cold at a price, those that are never let go as before."""
    target = run.goals.target
    price = np.zeros(target.positions.size)
    for lesion in run.goals.lesions:
        of = np.searchsorted(target.positions, lesion.positions)
        price[of] = np.maximum(price[of], prices.shortfall * lesion.cc / (COLD_SHARE * lesion.cc.sum()))
    at = np.searchsorted(target.positions, bound.positions)
    firm = run.protected[at]
    for name, part, paid in zip(_parts(bound), (~firm, firm), (price[at[~firm]], None), strict=True):
        positions, level = bound.positions[part], bound.level_gy[part]
        yield dataclasses.replace(bound, name=name, positions=positions, level_gy=level, price=paid)


def _parts(bound: Bound) -> tuple[str, str]:
    return f"priced: {bound.name}", f"firm: {bound.name}"

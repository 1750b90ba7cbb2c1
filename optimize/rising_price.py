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
from .problem import StageResult, solve_stage
from .released import COLD_SHARE
from .sorting import take_over
from .sparing import kept_below
from .stages import prescription_stage
from .voxel_bounds import Bound

Array = npt.NDArray[Any]

EXCESS, SHORTFALL = (1.0, 600.0), (0.4, 100.0)
"""The first price and the last, Gy of D95 for a Gy in the whole volume that may be let go: at first nearly any excess
pays, at last none does. In tight cases a last price of 200 leaves so much of it that sort and fix loses 1 to 3 Gy
afterwards. Small slices with an exact answer are worse off with a first excess of 0.5 or of 2."""
STEPS, SLOWLY = 20, 40
"""Steps between, evenly in the logarithm, at first and where voxels are chosen once more. In the mean of four passes 40
end 0.2 to 1.4 Gy above 20 in four tight cases, 10 end 0.5 to 2.7 Gy below 20 in three, and 80 where 40 do in two."""
WANDER = 0.1
"""Standard deviation of the logarithm of every beamlet's fluence in the dose that these slower steps sort by, falling
evenly to hardly any at the last: where voxels lie at their limits, rounding would decide which are hottest. In the mean
of four passes 20 steps end 0.3 to 0.5 Gy higher with it in four tight cases, 40 steps 1.0 Gy higher in one and 0.5 Gy
lower in another; with 0.3 instead 20 steps end lower in all four."""
BEYOND = 1.3
"""How far D95 may rise meanwhile, over what is asked for."""
TOLERANCE = 1e-3
"""Of the solver: a dose to sort by need not be exact. For the same reason a step is one round of row generation, and
leaves the rows that it misses to the next."""


@dataclass(frozen=True, slots=True)
class Prices:
    """Of a Gy of excess in the whole volume that a limit lets go, and of shortfall in the share that may be cold.

    In units of the objective of level 1, as `Bound.price`.
    """

    excess: float
    shortfall: float


def rising_prices(target_gy: float, steps: int = STEPS) -> list[Prices]:
    """Of every step, where level 1 has so high a target."""
    each = (np.geomspace(*ends, steps) / target_gy for ends in (EXCESS, SHORTFALL))
    return [Prices(excess, shortfall) for excess, shortfall in zip(*(prices.tolist() for prices in each), strict=True)]


def dose_by_price(
    run: Run, last: StageResult, asked_gy: float, gtv_gy: float | None, rng: np.random.Generator | None = None
) -> StageResult:
    """The last result with a dose to sort by that was found from it at rising prices.

    Parameters
    ----------
    run : Run
    last : StageResult
        Its dose decides what is paid for at the first price.
    asked_gy : float
        How high D95 is to rise.
    gtv_gy : float or None
        Dose of the GTV that may not be given up.
    rng : numpy.random.Generator, optional
        Draws the wandering of a slower rise; without it the rise is the first one, which does not wander.

    Raises
    ------
    OptimisationError
        No solver found the dose of a step.
    """
    prices = rising_prices(run.goals.target_gy, STEPS if rng is None else SLOWLY)
    for step, price in enumerate(prices):
        sorted_by = last if rng is None or step == 0 else wandering(run, last, WANDER * (1 - step / len(prices)), rng)
        hard = prescription_stage(run, sorted_by, (0.0, BEYOND * asked_gy), gtv_gy)
        organs, targets = list(_excess(run, sorted_by.dose_gy, price)), [b for b in hard.bounds if _prescribes(b)]
        others = [bound for bound in hard.bounds if bound.name != CAPS and bound not in targets]
        shortfall = [part for bound in targets for part in _shortfall(run, bound, price)]
        name = f"a choice of voxels to let go, step {step + 1} of {len(prices)}"
        bounds, left = (*others, *organs, *shortfall), len(prices) - step - 1
        stage = dataclasses.replace(hard, name=name, bounds=bounds, steps_left=left)
        last = solve_stage(run.master, stage, last.dose_gy, last.scalars, rounds=1, tolerance=TOLERANCE)
    take_over(run, organs, last.dose_gy)
    for bound in targets:
        run.master.active[bound.name] = np.union1d(*(run.master.active[name] for name in _parts(bound)))
    return last


def wandering(run: Run, last: StageResult, strength: float, rng: np.random.Generator) -> StageResult:
    """The last result with the dose of its fluence, each beamlet's times exp(strength times a normal draw)."""
    fluence = last.fluence * np.exp(strength * rng.standard_normal(last.fluence.size))
    return dataclasses.replace(last, dose_gy=run.master.influence.dose(fluence))


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

"""D95 raised as far as the mandatory limits allow, whichever voxels they let go: level 1, and on from it to the cap."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from dosecalc.errors import InfeasibleError, OptimisationError

from .levels import LEVEL_TOLERANCE, Kept, Run, raise_dose
from .problem import StageResult
from .rising_price import dose_by_price, wandering
from .sorting import sorting_dose
from .stages import prescription_stage
from .swapping import dear_first
from .warm_start import WarmStart, seed_rows, warm_result

Array = npt.NDArray[Any]

RESORT_GAIN, MAX_RESORTS = 5e-3, 20
"""Re-sorting stops when neither order gains this share, or after so many passes."""
PERTURBED, SEED = 0.3, 11
"""Standard deviation of the logarithm of every beamlet's fluence in the dose that voxels are chosen from once more, and
what the draws begin with: two runs are the same. From the very dose that a choice ended with, whose voxels lie at their
limits, another ends where it did or lower."""
HOPELESS, IN_VAIN = 2, 6
"""So many tries in a row without a gain end them: before the first gain, and after it. Where the dose hardly depends on
which voxels are let go, it shows at once; in tight cases a gain still came after five in vain."""
MOST_GAINED = 1.25
"""Where the floor lies further above, voxels are not chosen once more: in four tight cases tries raised D95 by a
seventh at most. The answer then is which limits would have to give."""


@dataclass(frozen=True, slots=True)
class Aim:
    """The dose that D95 is to rise to, and that of the GTV which may not be given up for it."""

    highest_gy: float
    gtv_gy: float | None = None

    def met_by(self, result: StageResult) -> bool:
        """Whether the result reaches what is asked for, less the solver's rounding."""
        return result.scalars["D95"] >= self.highest_gy * (1 - 1e-6)


def raise_prescription(run: Run, open_dose_gy: Array, warm_start: WarmStart | None) -> StageResult:
    """Level 1: sort and fix from the dose of an earlier plan, or from one that asks for the target's dose.

    Where an earlier plan was not finished, or what it reached is out of reach now, both are tried; the best is kept.
    An earlier plan is raised to the cap at once, and so is one whose voxels must be chosen once more, because the
    target's dose is out of reach with the first: D95 may end above what the level asks for.
    """
    to_target, to_cap, tried = Aim(run.goals.target_gy), Aim(run.goals.cap_gy), list[StageResult]()
    if warm_start is not None:
        before = warm_result(run, warm_start)
        seed_rows(run, prescription_stage(run, before, (0.0, to_cap.highest_gy), None), before)
        tried.append(resorted(run, raised(run, before, to_cap), to_cap, before.scalars["D95"]))
        kept = tried[0].scalars["D95"] >= min(before.scalars["D95"], to_cap.highest_gy) * (1 - LEVEL_TOLERANCE)
        run.searched = warm_start.finished and kept
    if not run.searched:
        cold = raise_from(run, to_target.highest_gy, to_target, open_dose_gy)
        tried.append(searched(run, cold, to_target, to_cap))
    return _as_last_raised(run, max(tried, key=lambda result: result.scalars["D95"]))


def raise_to_cap(run: Run, last: StageResult, d95_gy: float, gtv_gy: float | None) -> StageResult:
    """Level 3: D95 from what must be kept of it up to the cap; other voxels are searched for unless level 1 did."""
    aim = Aim(run.goals.cap_gy, gtv_gy)
    stage = prescription_stage(run, last, (d95_gy * (1 - LEVEL_TOLERANCE), aim.highest_gy), gtv_gy)
    result = raise_dose(run, stage, last, Kept(0.0, gtv_gy), run.goals.target_gy)
    return _as_last_raised(run, result if run.searched else searched(run, result, aim, aim))


def searched(run: Run, result: StageResult, first: Aim, then: Aim) -> StageResult:
    """D95 raised on, for the first aim, with voxels that a rising price chose.

    Where that falls short, they are chosen once more for the other aim, and sorted again until that gains nothing.
    """
    best = result if first.met_by(result) else repriced(run, result, first)
    if first.met_by(best):
        return best
    run.searched = True
    if best.scalars["D95"] >= result.scalars["D95"] * (1 + RESORT_GAIN):
        best = chosen_again(run, best, then)
    return resorted(run, best, then)


def raise_from(run: Run, asked_gy: float, aim: Aim, open_dose_gy: Array) -> StageResult:
    """D95 from the dose that asks for so much."""
    sorted_by = sorting_dose(run, asked_gy, open_dose_gy)
    last = StageResult.start(open_dose_gy, {"D95": asked_gy})
    if sorted_by is not None:
        last = dataclasses.replace(last, dose_gy=sorted_by, rounds=1)
    return raised(run, last, aim)


def raised(run: Run, last: StageResult, aim: Aim) -> StageResult:
    """D95 raised with voxels released by the last dose."""
    stage = prescription_stage(run, last, (0.0, aim.highest_gy), aim.gtv_gy)
    return raise_dose(run, stage, last, Kept(0.0, aim.gtv_gy), run.goals.target_gy)


def repriced(run: Run, result: StageResult, aim: Aim) -> StageResult:
    """D95 raised with voxels that a rising price chose, from the dose that the result was sorted by.

    The dose before the result: what sort and fix makes of it has kept its voxels to their sides, and ends lower.
    """
    before = next(level.sorted_by for level in reversed(run.raised) if level.result is result)
    run.progress(f"{_held_at(result)} are chosen at a rising price")
    return _better_by_price(run, result, before, aim, None)


def chosen_again(run: Run, best: StageResult, aim: Aim) -> StageResult:
    """D95 raised with voxels that a rising price chose from the best fluence perturbed, while tries are left."""
    rng, start, vain = np.random.default_rng(SEED), best, 0
    within_reach = best.scalars["D95"] * MOST_GAINED >= run.goals.floor_gy
    for trial in range(run.tries if within_reach else 0):
        if aim.met_by(best) or vain >= (HOPELESS if best is start else IN_VAIN):
            break
        run.progress(f"{_held_at(best)} are chosen once more, try {trial + 1} of at most {run.tries}")
        found = _better_by_price(run, best, wandering(run, best, PERTURBED, rng), aim, rng)
        vain = vain + 1 if found is best else 0
        best = found
    return best


def _held_at(result: StageResult) -> str:
    return f"limits hold D95 at {result.scalars['D95']:.2f} Gy: the voxels that they let go"


def _better_by_price(
    run: Run, best: StageResult, start: StageResult, aim: Aim, rng: np.random.Generator | None
) -> StageResult:
    """What sort and fix makes of a rising price from the start, or the best where that is no better."""
    try:
        found = raised(run, dose_by_price(run, start, aim.highest_gy, aim.gtv_gy, rng), aim)
    except (InfeasibleError, OptimisationError):
        return best
    # What lies within the tolerance of levels is no gain: the result that is there has been settled already.
    return found if found.scalars["D95"] > best.scalars["D95"] * (1 + LEVEL_TOLERANCE) else best


def resorted(run: Run, best: StageResult, aim: Aim, before_gy: float = 0.0) -> StageResult:
    """D95 raised on, voxels released by price and, where that gains nothing, by dose alone, until neither does.

    Where the result itself gained nothing on what was there before, neither is tried.
    """
    by_price, gained = True, best.scalars["D95"] - before_gy
    for _ in range(MAX_RESORTS):
        reached = best.scalars["D95"]
        if aim.met_by(best) or (gained < RESORT_GAIN * reached and by_price):
            break
        found = _swapped(run, best, aim) if by_price else raised(run, best, aim)
        gained = found.scalars["D95"] - reached
        best = found if gained > 0 else best
        by_price = gained >= RESORT_GAIN * reached or not by_price
    return best


def _swapped(run: Run, best: StageResult, aim: Aim) -> StageResult:
    """D95 raised with dear voxels released first; what was there before where no plan keeps the limits so."""
    try:
        return raised(run, dear_first(run, best), aim)
    except (InfeasibleError, OptimisationError):
        return best


def _as_last_raised(run: Run, best: StageResult) -> StageResult:
    """The result, its level put last: the certificate and the prices are of the last level that was raised."""
    run.raised.append(next(level for level in run.raised if level.result is best))
    return best

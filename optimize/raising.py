"""Level 1: D95 raised as far as the mandatory limits allow, whichever voxels they let go."""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy.typing as npt

from dosecalc.errors import InfeasibleError, OptimisationError

from .levels import LEVEL_TOLERANCE, Kept, Run, raise_dose
from .problem import StageResult
from .rising_price import dose_by_price
from .sorting import sorting_dose
from .stages import prescription_stage
from .swapping import dear_first
from .warm_start import WarmStart, seed_rows, warm_result

Array = npt.NDArray[Any]

RESORT_GAIN, MAX_RESORTS = 5e-3, 20
"""Re-sorting stops when neither order gains this share, or after so many passes."""
MAX_PASSES = 4
"""Times that the price rises, at most; once where that gains less than the same share. In tight cases the later passes
gain up to 2 Gy of D95, not each of them: they go on from the last, and the best of all is kept."""
SAME = 1e-4
"""Share of D95 within which a pass has ended where it began, and the next would: the same voxels, and rounding."""


def raise_prescription(run: Run, open_dose_gy: Array, warm_start: WarmStart | None) -> StageResult:
    """Level 1: sort and fix from the dose of an earlier plan, or from one that asks for the target's dose.

    Where an earlier plan was not finished, or what it reached is out of reach now, both are tried; the best is kept.
    """
    tried, enough = list[StageResult](), False
    if warm_start is not None:
        before = warm_result(run, warm_start)
        seed_rows(run, prescription_stage(run, before, (0.0, run.goals.target_gy), None), before)
        tried.append(resorted(run, raised(run, before), before.scalars["D95"]))
        kept = tried[0].scalars["D95"] >= before.scalars["D95"] * (1 - LEVEL_TOLERANCE)
        enough = warm_start.finished and kept
    if not enough:
        tried.append(_raise_cold(run, open_dose_gy))
    best = max(tried, key=lambda result: result.scalars["D95"])
    # The certificate and the prices are of the last level that was raised.
    run.raised.append(next(level for level in run.raised if level.result is best))
    return best


def _raise_cold(run: Run, open_dose_gy: Array) -> StageResult:
    """From the dose that asks for the target's; where that is out of reach, with voxels chosen at a rising price."""
    return resorted(run, repriced(run, raise_from(run, run.goals.target_gy, open_dose_gy)))


def raise_from(run: Run, asked_gy: float, open_dose_gy: Array) -> StageResult:
    """D95 from the dose that asks for so much."""
    sorted_by = sorting_dose(run, asked_gy, open_dose_gy)
    last = StageResult.start(open_dose_gy, {"D95": asked_gy})
    if sorted_by is not None:
        last = dataclasses.replace(last, dose_gy=sorted_by, rounds=1)
    return raised(run, last)


def raised(run: Run, last: StageResult) -> StageResult:
    """D95 raised with voxels released by the last dose."""
    target_gy = run.goals.target_gy
    return raise_dose(run, prescription_stage(run, last, (0.0, target_gy), None), last, Kept(0.0, None), target_gy)


def repriced(run: Run, best: StageResult) -> StageResult:
    """D95 raised with voxels that a rising price chose, from the dose that the result was sorted by, then from itself.

    The dose before the result: what sort and fix makes of it has kept its voxels to their sides, and ends lower.
    """
    last = next(level.sorted_by for level in reversed(run.raised) if level.result is best)
    for passes in range(MAX_PASSES):
        reached = best.scalars["D95"]
        if reached >= _enough(run):
            break
        began = last.scalars["D95"]
        try:
            last = raised(run, dose_by_price(run, last, again=passes > 0))
        except (InfeasibleError, OptimisationError):
            break
        # What lies within the tolerance of levels is no gain: the result that is there has been settled already.
        best = last if last.scalars["D95"] > reached * (1 + LEVEL_TOLERANCE) else best
        useless = passes == 0 and best.scalars["D95"] - reached < RESORT_GAIN * reached
        if useless or abs(last.scalars["D95"] - began) <= SAME * began:
            break
    return best


def resorted(run: Run, best: StageResult, before_gy: float = 0.0) -> StageResult:
    """D95 raised on, voxels released by price and, where that gains nothing, by dose alone, until neither does.

    Where the result itself gained nothing on what was there before, neither is tried.
    """
    by_price, gained = True, best.scalars["D95"] - before_gy
    for _ in range(MAX_RESORTS):
        reached = best.scalars["D95"]
        if reached >= _enough(run) or (gained < RESORT_GAIN * reached and by_price):
            break
        found = _swapped(run, best) if by_price else raised(run, best)
        gained = found.scalars["D95"] - reached
        best = found if gained > 0 else best
        by_price = gained >= RESORT_GAIN * reached or not by_price
    return best


def _enough(run: Run) -> float:
    """The target's dose in Gy, less the solver's rounding."""
    return run.goals.target_gy * (1 - 1e-6)


def _swapped(run: Run, best: StageResult) -> StageResult:
    """D95 raised with dear voxels released first; what was there before where no plan keeps the limits so."""
    try:
        return raised(run, dear_first(run, best))
    except (InfeasibleError, OptimisationError):
        return best

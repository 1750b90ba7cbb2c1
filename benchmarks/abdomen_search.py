"""Best known D95 of a case: five starts of sort and fix, then a search that perturbs the best until its time is over.

An iterated local search (Lourenço, Martin & Stützle, Handbook of Metaheuristics, 2003). The local search is that of
the optimiser: which voxels a limit lets go is fixed by a dose, D95 is raised within what is left, and the plan's own
dose sorts again until that gains nothing. A start is a dose to sort by that asks the target for a random dose; the best
start is sorted on, then a perturbation multiplies the best plan's dose by a smooth random field.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt
from scipy.ndimage import gaussian_filter

from benchmarks.abdomen import AbdomenCase
from benchmarks.abdomen_baselines import open_field_unit
from dosecalc import OptimisationError
from optimize.escalate import MAX_RESORTS, RESORT_GAIN
from optimize.levels import Kept, Run, raise_dose
from optimize.problem import Master, StageResult
from optimize.smoothness import roughness
from optimize.sorting import sorting_dose
from optimize.stages import prescription_stage

Array = npt.NDArray[np.float64]

STARTS = 5
ASKED = (0.5, 1.0)
"""Range of the dose that a start asks the target for, over the cap; the first start asks for the cap."""
STRENGTH, SMOOTH_VOXELS = (0.02, 0.4), 1.5
"""Standard deviation of the logarithm of a perturbation, and the width of its field."""


@dataclass(frozen=True, slots=True, eq=False)
class Search:
    """The best fluence (B,) with its D95 in Gy, that of the best start, and how many plans were tried in how long."""

    fluence: Array
    d95_gy: float
    of_starts_gy: float
    tried: int
    seconds: float


def search(case: AbdomenCase, *, seconds: float, tell: Callable[[str], None] = lambda text: None) -> Search:
    """Search until the time is over; the five starts are finished in any case."""
    rng, began = np.random.default_rng(case.seed), time.perf_counter()
    asked = (case.goals.cap_gy, *(case.goals.cap_gy * rng.uniform(*ASKED, STARTS - 1)))
    found = [
        result for gy in asked if (result := _from(case, lambda run, gy=gy: sorting_dose(run, gy), gy)) is not None
    ]
    if not found:
        raise OptimisationError("none of the starts ended with a plan.")
    best, tried = max(found, key=_d95), len(found)
    of_starts = _d95(best)
    tell(f"starts: {', '.join(f'{_d95(each):.2f}' for each in found)} Gy")
    gained = True
    while (spent := time.perf_counter() - began) < seconds and _d95(best) < case.goals.cap_gy * (1 - 1e-6):
        # Where sort and fix ended because it had made all its passes, it goes on from there.
        dose = best.dose_gy if gained else perturbed(case, best.dose_gy, rng)
        result, tried = _from(case, lambda run, dose=dose: dose, _d95(best)), tried + 1
        gained = result is not None and _d95(result) > _d95(best)
        if result is not None and gained:
            tell(f"{spent:.0f} s, plan {tried}: {_d95(result):.3f} Gy")
            best = result
    return Search(best.fluence, _d95(best), of_starts, tried, time.perf_counter() - began)


def perturbed(case: AbdomenCase, dose_gy: Array, rng: np.random.Generator) -> Array:
    """The dose (V,) times a smooth positive random field of a random strength."""
    field = gaussian_filter(rng.standard_normal(case.influence.grid.shape), SMOOTH_VOXELS)
    low, high = np.log(STRENGTH)
    strength = np.exp(rng.uniform(low, high)) / field.std()
    return dose_gy * np.exp(strength * field.reshape(-1)[case.influence.voxels])


def _d95(result: StageResult) -> float:
    return result.scalars["D95"]


def _from(case: AbdomenCase, sorted_by: Callable[[Run], Array | None], asked_gy: float) -> StageResult | None:
    """D95 raised from a dose that voxels are sorted by, re-sorted until that gains nothing; None where that failed."""
    operator, goals = case.influence, case.goals
    master = Master(operator, open_field_unit(case), roughness(operator.neighbours, operator.shape[1]))
    run = Run(master, goals, lambda text: None, _mostly_tumour(case), {}, [], [])
    dose = sorted_by(run)
    if dose is None:
        return None
    last, best = replace(StageResult.start(dose, {"D95": asked_gy}), rounds=1), None
    try:
        for _ in range(1 + MAX_RESORTS):
            stage = prescription_stage(run, last, (0.0, goals.cap_gy), None)
            last = raise_dose(run, stage, last, Kept(0.0, None), goals.target_gy)
            if best is not None and _d95(last) < (1 + RESORT_GAIN) * _d95(best):
                return max(best, last, key=_d95)
            best = last
    except OptimisationError:
        return best
    return best


def _mostly_tumour(case: AbdomenCase) -> npt.NDArray[np.bool_]:
    """Voxels of the target (n,) that are never let go, as the optimiser has it."""
    goals = case.goals
    half_cc = 0.5 * goals.voxel_cc
    tumour = goals.gtv.positions[goals.gtv.cc >= half_cc]
    return np.isin(goals.target.positions, tumour) & (goals.target.cc >= half_cc)

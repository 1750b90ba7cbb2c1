"""Best known D95 of a case: five starts of sort and fix, then a search that perturbs the best until its time is over.

An iterated local search (Lourenço, Martin & Stützle, Handbook of Metaheuristics, 2003). The local search is that of
the optimiser: which voxels a limit lets go is fixed by a dose, D95 is raised within what is left, and voxels are chosen
at a rising price and sorted again until that gains nothing. A start is a dose to sort by that asks the target for a
random dose; the best start is sorted on, then a perturbation multiplies the best plan's dose by a smooth random field.
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
from optimize.escalate import _never_cold
from optimize.levels import Run
from optimize.problem import Master, StageResult
from optimize.raising import Aim, raise_from, raised, searched  # the optimiser's own search, and no copy of it
from optimize.smoothness import roughness

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
    cap, open_gy = case.goals.cap_gy, case.influence.dose(np.full(case.influence.shape[1], open_field_unit(case)))
    asked = (cap, *(cap * rng.uniform(*ASKED, STARTS - 1)))
    starts = (_tried(lambda gy=gy: _start(_run(case), gy, open_gy)) for gy in asked)
    found = [start for start in starts if start is not None]
    if not found:
        raise OptimisationError("none of the starts ended with a plan.")
    best, tried = max(found, key=_d95), len(found)
    of_starts = _d95(best)
    tell(f"starts: {', '.join(f'{_d95(each):.2f}' for each in found)} Gy")
    gained = True
    while (spent := time.perf_counter() - began) < seconds and _d95(best) < cap * (1 - 1e-6):
        # Where sort and fix ended because it had made all its passes, it goes on from there.
        dose = best.dose_gy if gained else perturbed(case, best.dose_gy, rng)
        again = replace(StageResult.start(dose, best.scalars), rounds=1)
        result, tried = _tried(lambda again=again: _sorted_by(_run(case), again)), tried + 1
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


def _start(run: Run, asked_gy: float, open_gy: Array) -> StageResult:
    aim = Aim(run.goals.cap_gy)
    return searched(run, raise_from(run, asked_gy, aim, open_gy), aim, aim)


def _sorted_by(run: Run, last: StageResult) -> StageResult:
    aim = Aim(run.goals.cap_gy)
    return searched(run, raised(run, last, aim), aim, aim)


def _run(case: AbdomenCase) -> Run:
    """A run of the optimiser that has no rows yet, and goes up to the cap at once."""
    operator, goals = case.influence, replace(case.goals, target_gy=case.goals.cap_gy)
    master = Master(operator, open_field_unit(case), roughness(operator.neighbours, operator.shape[1]))
    return Run(master, goals, lambda text: None, _never_cold(goals), {}, [], [], tries=1)


def _tried(local_search: Callable[[], StageResult]) -> StageResult | None:
    """What a local search ends with; None where no solver did, or its rows did not settle."""
    try:
        return local_search()
    except OptimisationError:
        return None

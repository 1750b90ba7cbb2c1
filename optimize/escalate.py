"""Escalation: raise the target's D95 until the mandatory limits bind, then serve the lesser goals in order.

Levels, each keeping what the ones before it reached (protocol rules, "order of goals"):

1. PTV_opt D95 up to its target, all mandatory limits hard;
2. GTV D98 up to its goal;
3. PTV_opt D95 on to its cap;
4. optimal limits (the sum of relative excesses at a price above any other term), then fall-off, liver mean, the
   target's cold tail and smooth fluence.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
from scipy import sparse
from threadpoolctl import threadpool_limits

from dosecalc.errors import UsageError

from .bounds import optimal_bounds
from .certificate import gap_fixed, kkt_residual
from .effort import TRIES
from .escalation_results import LadderEnd, RiskEnd
from .goals import PlanGoals
from .infeasible import reach_or_explain
from .interruption import best_so_far, stopped_at
from .ladder import Climbed, asked_of, stop_of, take_rung
from .levels import (
    LEVEL_TOLERANCE,
    Kept,
    LevelReport,
    Progress,
    Raised,
    Run,
    keep,
    raise_dose,
    remember,
    risk_end,
    solve_level,
)
from .matrix import as_operator
from .modulation import UNLIMITED
from .operator import Operator
from .own_terms import OwnTerm
from .prices import Stop
from .problem import BLAS_THREADS, Master, StageResult, solve_stage
from .raising import RESORT_GAIN, raise_prescription, raise_to_cap
from .reference_caps import VISIBLE_GY, fast_error_gy, held_on_reference
from .relaxation import d95_bound
from .released import COLD_SHARE, gtv_kept
from .risk import Tangents
from .rounds import OnRound, Rounds
from .smoothness import roughness
from .solvers import HOST, Algebra
from .stages import gtv_stage, lesser_stage
from .voxel_bounds import RESERVE_GY
from .warm_start import WarmStart

Array = npt.NDArray[Any]

SORTING_ROUNDS = 2
"""Rounds of row generation for a dose that only serves to sort voxels by."""
FEWEST_LEVELS, FEWEST_LESSER = 4, 2
"""Levels that are sure to come at the start (a dose to sort by, D95, fall-off, optimal limits), and for level 4."""


@dataclass(frozen=True, slots=True, eq=False)
class Escalation:
    """The optimised fluence (B,), MU-equivalents course total, and how it came about.

    `gap_fixed` and `kkt` are of the last level that raised D95 (`certificate`); no plan exceeds `bound_gy`, which lies
    the share `gap_bound` above what that level reached (`relaxation`). `modulation_costs_gy` is the D95 that the limits
    on the fluence take, None where there are none. All of these are None where it was interrupted. `ladder` and `risk`
    say how these modes ended.
    """

    fluence: npt.NDArray[np.float64]
    prescription_gy: float
    levels: tuple[LevelReport, ...]
    threads: int
    gap_fixed: float | None
    gap_bound: float | None
    kkt: float | None
    bound_gy: float | None
    stop: Stop
    interrupted: bool = False
    ladder: LadderEnd | None = None
    risk: RiskEnd | None = None
    modulation_costs_gy: float | None = None


# Between solves too: products of the dose operator are small, and a second BLAS thread only spins beside its kernels.
@threadpool_limits.wrap(limits=BLAS_THREADS, user_api="blas")
def escalate(
    influence: Operator | sparse.sparray | npt.NDArray[np.floating[Any]],
    goals: PlanGoals,
    *,
    extra_terms: Sequence[OwnTerm] = (),
    progress: Progress = lambda text: None,
    on_round: OnRound = lambda done: None,
    warm_start: WarmStart | None = None,
    tries: int = TRIES,
    algebra: Algebra = HOST,
) -> Escalation:
    """Optimise the fluence of a plan.

    A KeyboardInterrupt ends it with the best fluence so far that keeps every mandatory limit and the floor.

    Parameters
    ----------
    influence : Operator or matrix
        On every voxel that a goal names: `DoseInfluence`, a SciPy or NumPy matrix, or what `as_operator` takes.
    goals : PlanGoals
    extra_terms : sequence of callable
        CVXPY terms of the user's own, kept in every level (`own_terms.OwnTerm`): each takes the fluence and a function
        from a `Region` to its dose rows, and returns a convex penalty and constraints. The certificate is that of the
        problem without them.
    progress : callable, optional
        Told in a line what has been reached.
    on_round : callable, optional
        Given every round of row generation as a `Round`.
    warm_start : WarmStart, optional
        A fluence of the same beamlets to start from. With the limits that it was planned for the target dose is that of
        a cold start or better, less the tolerance of levels; with others it is one start more.
    tries : int, optional
        How often the voxels that dose-volume limits let go are chosen once more, from the best fluence perturbed, where
        the limits hold D95 below the cap. Each takes as long as forty rounds; 0 for a quick answer.
    algebra : Algebra, optional
        Where the structured solver works: `DeviceAlgebra` with CuPy for a GPU.

    Returns
    -------
    Escalation

    Raises
    ------
    InfeasibleError
        The floor dose cannot be reached within the mandatory limits; its `conflicts` name what would have to give.
    InputError
        An extra term that is not convex by CVXPY's rules.
    InterruptionError
        It was interrupted before any fluence kept the limits and the floor.
    OptimisationError
        No solver succeeded.
    UsageError
        Fewer than no tries.
    """
    if tries < 0:
        raise UsageError(f"tries must be 0 or more, got {tries}.", remedy="0 takes the voxels that are chosen first.")
    operator, goals = as_operator(influence), asked_of(goals)
    voxels, beamlets = operator.shape
    goals.check_covered(voxels)
    start = operator.dose(np.ones(beamlets))
    unit = goals.target_gy / max(float(start[goals.target.positions].mean()), 1e-12)
    goals.modulation.check_neighbours(operator.neighbours)
    rough = roughness(operator.neighbours, beamlets)
    master = Master(
        operator, unit, rough, tuple(extra_terms), goals.modulation, rounds=Rounds(on_round), algebra=algebra
    )
    tangents = Tangents(goals.risk) if goals.risk is not None else None
    run = Run(master, goals, progress, _never_cold(goals), {}, [], [], tangents=tangents, tries=tries)
    try:
        return _escalated(run, start * unit, warm_start)
    except KeyboardInterrupt:
        best = best_so_far(run)
        fluence = best.result.fluence * _normalisation(run, best.result, best.d95_gy)
        stop = Stop(stopped_at(best), "", {}, ())
        ended = (None, None, None, None, stop, True)
        return Escalation(fluence, best.d95_gy, tuple(run.levels), best.result.record.threads, *ended)


def _escalated(run: Run, open_dose_gy: Array, warm_start: WarmStart | None) -> Escalation:
    """All levels in their order."""
    rounds = run.master.rounds
    rounds.expect(FEWEST_LEVELS, later=FEWEST_LESSER)
    raised = _raised_on_reference(run, raise_prescription(run, open_dose_gy, warm_start))
    if raised.scalars["D95"] < run.goals.floor_gy * (1 - LEVEL_TOLERANCE):
        raised = _raised_on_reference(run, reach_or_explain(run, raised))
    climbed = take_rung(run, raised)
    if climbed.end is not None:
        raised = _raised_on_reference(run, climbed.raised)
    goals = run.goals
    kept = Kept(keep(raised.scalars["D95"], goals.target_gy), None)
    raised, kept = _raise_gtv(run, raised, kept)
    met = kept.d95_gy >= goals.target_gy and kept.gtv_gy in (None, goals.gtv_d98_gy)
    if met and goals.cap_gy > goals.target_gy:
        raised = _raised_on_reference(run, raise_to_cap(run, raised, kept.d95_gy, kept.gtv_gy))
        kept = Kept(keep(raised.scalars["D95"], goals.cap_gy), kept.gtv_gy)
    rounds.kept_gy = kept.d95_gy
    rounds.expect(FEWEST_LESSER)
    final = _serve_lesser_goals(run, raised, kept)
    return _with_certificate(run, final, kept, climbed)


def _with_certificate(run: Run, final: StageResult, kept: Kept, climbed: Climbed) -> Escalation:
    """The result with what can be vouched for, and what stopped it."""
    factor = _normalisation(run, final, kept.d95_gy)
    certified = _at_its_own_prices(run, [level for level in run.raised if level.scalar == "D95"][-1])
    gap, residual, bound_gy = gap_fixed(run, certified), kkt_residual(run, certified), d95_bound(run, certified)
    distance = None if bound_gy is None else bound_gy / certified.reached_gy - 1.0
    return Escalation(
        fluence=final.fluence * factor,
        prescription_gy=kept.d95_gy,
        levels=tuple(run.levels),
        threads=final.record.threads,
        gap_fixed=gap,
        gap_bound=distance,
        kkt=residual,
        bound_gy=bound_gy,
        stop=stop_of(run, climbed),
        ladder=climbed.end,
        risk=risk_end(run, certified, final.dose_gy * factor),
        modulation_costs_gy=_cost_of_modulation(run, certified),
    )


def _at_its_own_prices(run: Run, raised: Raised) -> Raised:
    """A level with the multipliers of its own problem.

    Where a complication probability is limited, those at hand also belong to what holds one solution near the last.
    """
    if run.goals.risk is None:
        return raised
    free = solve_stage(run.master, raised.stage, raised.result.dose_gy, raised.result.scalars)
    priced = dataclasses.replace(raised, result=dataclasses.replace(raised.result, prices=free.prices))
    run.raised[:] = [priced if level is raised else level for level in run.raised]
    return priced


def _cost_of_modulation(run: Run, raised: Raised) -> float | None:
    """D95 in Gy that a level gains without limits on the fluence, the same voxels released; solved once more for it."""
    if not run.goals.modulation.limited:
        return None
    _, high = raised.stage.scalars["D95"]
    if raised.reached_gy >= high * (1 - 1e-6):
        return 0.0
    free = dataclasses.replace(run.master, modulation=UNLIMITED, active=dict(run.master.active))
    stage = dataclasses.replace(raised.stage, name="without the limits on the fluence: D95 (Gy)")
    result = solve_level(dataclasses.replace(run, master=free), stage, raised.result)
    # More freedom cannot cost dose: less than nothing is the solver's rounding.
    return max(result.scalars["D95"] - raised.reached_gy, 0.0)


def _raised_on_reference(run: Run, raised: StageResult) -> StageResult:
    """A level raised again with its limits held on the reference dose, where the fast one is visibly off."""
    level = next(each for each in reversed(run.raised) if each.result is raised)
    if fast_error_gy(run, raised) <= VISIBLE_GY:
        return raised
    stage, again = held_on_reference(run, level.stage, raised)
    run.raised.append(dataclasses.replace(level, stage=stage, result=again))
    # What was feasible by the fast dose alone counts no more.
    run.best = None
    remember(run, stage, again, again.scalars["D95"])
    return again


def _raise_gtv(run: Run, last: StageResult, kept: Kept) -> tuple[StageResult, Kept]:
    """Level 2: GTV D98 up to its goal, unless it is there already."""
    goal = run.goals.gtv_d98_gy
    if not run.goals.gtv.positions.size:
        return last, kept
    reached = last.dose_gy[gtv_kept(run, last)].min()
    if reached < goal:
        last = raise_dose(run, gtv_stage(run, last, kept), last, kept, goal)
        reached = last.scalars["GTV D98"]
    return last, Kept(kept.d95_gy, keep(reached, goal))


def _serve_lesser_goals(run: Run, last: StageResult, kept: Kept) -> StageResult:
    """Level 4: fall-off alone, which meets most optimal limits; then with them, re-sorted if some are exceeded."""
    low = solve_level(run, lesser_stage(run, last, kept, ([], [])), last, rounds=1)
    # What may not be given up is sorted by a dose that keeps it: sorted by one that does not, it may be out of reach.
    stage = lesser_stage(run, last, kept, optimal_bounds(run, low, kept))
    served = solve_level(run, stage, low, rounds=SORTING_ROUNDS)
    if not served.settled or sum(served.scalars.values()) > RESORT_GAIN:
        keeps = served if served.settled else last
        stage = lesser_stage(run, keeps, kept, optimal_bounds(run, served, kept))
        served = solve_level(run, stage, served)
    remember(run, stage, served, kept.d95_gy)
    stage, served = held_on_reference(run, stage, served)
    remember(run, stage, served, kept.d95_gy)
    return served


def _normalisation(run: Run, final: StageResult, kept_gy: float) -> float:
    """Factor that brings a D95 above the cap down to it, as far as every lesion keeps what was reached.

    Level 4 may lift voxels that D95 lets go above the cap, and D95 with them. Less fluence keeps every upper limit,
    and limits relative to D95 do not notice.
    """
    goals = run.goals
    region, full = goals.target, goals.share == 1.0
    relative = final.dose_gy[region.positions] / goals.share
    reached, highest = _d95(relative[full], region.cc[full]), goals.cap_gy + RESERVE_GY
    if reached <= highest:
        return 1.0
    places = [np.searchsorted(region.positions, lesion.positions) for lesion in goals.lesions]
    least = min(_d95(relative[at], lesion.cc) for at, lesion in zip(places, goals.lesions, strict=True))
    factor = min(max(highest / reached, kept_gy / least), 1.0)
    run.progress(f"normalised: D95 of {reached:.2f} Gy lies above the cap, fluence scaled by {factor:.4f}")
    return float(factor)


def _d95(dose: Array, cc: Array) -> float:
    order = np.argsort(-dose)
    return float(dose[order][np.searchsorted(np.cumsum(cc[order]), (1 - COLD_SHARE) * cc.sum())])


def _never_cold(goals: PlanGoals) -> npt.NDArray[np.bool_]:
    """Voxels of the target (n,) that are never let go: those that are mostly tumour.

    A sliver of GTV does not make a voxel of bowel tumour. Nor does one of the prescribed structure: a GTV voxel that
    the PRV of an organ takes nearly all of would have to reach the full dose beside, or inside, that organ.
    """
    half_cc = 0.5 * goals.voxel_cc
    tumour = goals.gtv.positions[goals.gtv.cc >= half_cc]
    return np.isin(goals.target.positions, tumour) & (goals.target.cc >= half_cc)

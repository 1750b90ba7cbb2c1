"""What the escalating optimiser is compared with, on the same case: tail means in CVXPY, and quadratic penalties.

1. *Tail means.* One convex problem with every voxel that a mandatory goal names (or a stated share of them): D95 is
   replaced by the mean of the coldest 5 %, "at most V above L" by a mean of the hottest V of at most L, which is
   sufficient (Romeijn et al., Phys Med Biol 48:3521, 2003; Rockafellar & Uryasev, J Risk 2:21, 2000).
2. *Quadratic penalties.* L-BFGS-B (Byrd et al., SIAM J Sci Comput 16:1190, 1995) on the fluence, with the usual
   penalties: squared underdose and overdose, and for dose-volume limits the squared excess of those voxels between
   the limit and the dose that the volume has now (Wu & Mohan, Med Phys 27:701, 2000). Weights are fixed beforehand.
"""

from __future__ import annotations

import time
from dataclasses import dataclass, replace
from typing import Any

import cvxpy as cp
import numpy as np
import numpy.typing as npt
from scipy import sparse
from scipy.optimize import minimize

from benchmarks.abdomen import AbdomenCase
from benchmarks.cases import CUTOFF_MM
from optimize import DoseVolumeLimit, MeanLimit, PlanGoals, Region

Array = npt.NDArray[np.float64]

COLD_SHARE = 0.05
SOLVERS: dict[str, Any] = {
    "HIGHS": lambda s: {"highs_options": {"solver": "ipm", "time_limit": s, "threads": 1}},
    "CLARABEL": lambda s: {"time_limit": s, "max_threads": 1},
    "SCS": lambda s: {"time_limit_secs": s},
}
UNDERDOSE, OVERDOSE, MANDATORY, OPTIMAL = 1000.0, 300.0, 300.0, 30.0
"""Priorities of the penalties, each a mean over the volume of its structure in Gy^2."""
MOST_ITERATIONS = 500


@dataclass(frozen=True, slots=True, eq=False)
class Found:
    """A fluence (B,), None where there is none, and in words how it ended."""

    fluence: Array | None
    said: str


def open_field_unit(case: AbdomenCase) -> float:
    """Fluence of an open field that gives the target its prescription on average."""
    dose = case.influence.dose(np.ones(case.influence.shape[1]))
    return case.goals.target_gy / float(dose[case.goals.target.positions].mean())


def tail_means(case: AbdomenCase, *, solver: str, limit_s: float, share: float = 1.0) -> Found:
    """Baseline 1.

    Parameters
    ----------
    case : AbdomenCase
    solver : str
        One of `SOLVERS`, with its own time limit.
    limit_s : float
        Seconds of the solver.
    share : float
        Part of the voxels of every structure that the problem holds, drawn by the case's seed. All of them go in as a
        matrix cut at `CUTOFF_MM`, a part with whole rows; what comes out is judged on all voxels in any case.
    """
    rng = np.random.default_rng(case.seed)
    goals, unit = subsampled(case.goals, share, rng), open_field_unit(case)
    mandatory = [limit for limit in (*goals.limits, *goals.means) if limit.mandatory]
    regions = [goals.target, goals.ptv, *goals.lesions, *(limit.region for limit in mandatory)]
    voxels = np.unique(np.concatenate([region.positions for region in regions]))
    part = case.influence.restricted_to(voxels)
    matrix = part.tocsr(CUTOFF_MM if share == 1.0 else np.inf).astype(np.float64) * unit
    x, level = cp.Variable(matrix.shape[1], nonneg=True), cp.Variable()
    rows = _Rows(voxels, matrix, x)
    kept = [_cold_mean(rows, lesion) >= level for lesion in goals.lesions]
    kept += [rows.of(goals.ptv) <= goals.hot_spot_ratio * level, level <= goals.cap_gy]
    kept += [_kept(rows, limit) for limit in mandatory]
    problem = cp.Problem(cp.Maximize(level / goals.target_gy), kept)
    began = time.perf_counter()
    try:
        problem.solve(solver=solver, canon_backend=cp.SCIPY_CANON_BACKEND, **SOLVERS[solver](limit_s))
    except cp.SolverError as error:
        return Found(None, f"{solver}: {str(error).splitlines()[0]}")
    seconds = time.perf_counter() - began
    said = f"{solver} {problem.status} after {seconds:.0f} s, {voxels.size} voxels, {matrix.nnz / 1e6:.1f} M entries"
    if x.value is None or not problem.status.startswith("optimal"):
        return Found(None, said)
    return Found(np.maximum(x.value, 0.0) * unit, said)


@dataclass(frozen=True, slots=True, eq=False)
class _Rows:
    """Doses of voxels as CVXPY expressions."""

    voxels: npt.NDArray[np.int64]
    matrix: sparse.csr_array
    x: cp.Variable

    def of(self, region: Region) -> cp.Expression:
        return self.matrix[np.searchsorted(self.voxels, region.positions)] @ self.x


def subsampled(goals: PlanGoals, share: float, rng: np.random.Generator) -> PlanGoals:
    """The goals on a share of the voxels of each structure, each voxel standing for more volume."""
    if share == 1.0:
        return goals
    made: dict[str, Region] = {}

    def part(region: Region) -> Region:
        if region.name not in made:
            count = max(1, round(share * region.positions.size))
            at = np.sort(rng.choice(region.positions.size, count, replace=False))
            cc = region.cc[at]
            made[region.name] = Region(region.name, region.positions[at], cc * region.cc.sum() / cc.sum())
        return made[region.name]

    return replace(
        goals,
        target=part(goals.target),
        ptv=part(goals.ptv),
        lesions=tuple(part(lesion) for lesion in goals.lesions),
        limits=tuple(replace(limit, region=part(limit.region)) for limit in goals.limits),
        means=tuple(replace(mean, region=part(mean.region)) for mean in goals.means),
    )


def _cold_mean(rows: _Rows, lesion: Region) -> cp.Expression:
    """Mean dose of the coldest 5 % of the volume, from below."""
    level = cp.Variable()
    return level - lesion.cc @ cp.pos(level - rows.of(lesion)) / (COLD_SHARE * lesion.cc.sum())


def _kept(rows: _Rows, limit: DoseVolumeLimit | MeanLimit) -> cp.Constraint:
    dose, cc = rows.of(limit.region), limit.region.cc
    if isinstance(limit, MeanLimit):
        return cc @ dose / cc.sum() <= limit.limit_gy
    if limit.spare_cc <= cc.min():
        return dose <= limit.limit_gy
    level = cp.Variable()
    return level + cc @ cp.pos(dose - level) / limit.spare_cc <= limit.limit_gy


def quadratic_penalties(case: AbdomenCase) -> Found:
    """Baseline 2: the target is asked for its cap, as escalation asks for as much as there is."""
    unit = open_field_unit(case)

    def cost(x: Array) -> tuple[float, Array]:
        value, slope = penalties(case.goals, case.influence.dose(x * unit))
        return value, unit * case.influence.adjoint(slope)

    start = np.ones(case.influence.shape[1])
    bounds = [(0.0, None)] * start.size
    ended = minimize(cost, start, jac=True, method="L-BFGS-B", bounds=bounds, options={"maxiter": MOST_ITERATIONS})
    return Found(np.maximum(ended.x, 0.0) * unit, f"{ended.nit} iterations, {ended.nfev} doses: {ended.message}")


def penalties(goals: PlanGoals, dose: Array) -> tuple[float, Array]:
    """Their sum and its derivative by the dose of every voxel (V,)."""
    slope, total = np.zeros(dose.size), 0.0

    def add(region: Region, excess: Array, weight: float) -> None:
        nonlocal total
        cc = weight * region.cc / region.cc.sum()
        total += float(cc @ excess**2)
        slope[region.positions] += 2.0 * cc * excess

    asked = goals.cap_gy * goals.share
    add(goals.target, np.minimum(dose[goals.target.positions] - asked, 0.0), UNDERDOSE)
    hottest = min(goals.hot_spot_max_gy, goals.hot_spot_ratio * goals.cap_gy)
    add(goals.ptv, np.maximum(dose[goals.ptv.positions] - hottest, 0.0), OVERDOSE)
    for limit in goals.limits:
        inside = dose[limit.region.positions]
        excess = np.where(inside <= _dose_at(inside, limit), np.maximum(inside - limit.limit_gy, 0.0), 0.0)
        add(limit.region, excess, MANDATORY if limit.mandatory else OPTIMAL)
    for mean in goals.means:
        cc = mean.region.cc / mean.region.cc.sum()
        beyond = max(float(cc @ dose[mean.region.positions]) - mean.limit_gy, 0.0)
        weight = MANDATORY if mean.mandatory else OPTIMAL
        total += weight * beyond**2
        slope[mean.region.positions] += 2.0 * weight * beyond * cc
    return total, slope


def _dose_at(dose: Array, limit: DoseVolumeLimit) -> float:
    """Dose that the spared volume has now: hotter voxels are let go."""
    order = np.argsort(-dose)
    filled = np.cumsum(limit.region.cc[order])
    return float(dose[order][min(np.searchsorted(filled, limit.spare_cc), dose.size - 1)])

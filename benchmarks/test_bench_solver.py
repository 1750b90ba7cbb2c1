"""Speed of the structured interior point against CLARABEL and HiGHS on one synthetic master problem.

The master has the shape that plan optimisation produces: smooth positive rows of Gaussian pencils over a few
beams, a target level to raise, organ caps, hot-spot rows and mean-dose rows. Run at full size with::

    pytest benchmarks/test_bench_solver.py --benchmark-enable -s

With ``--benchmark-disable`` (the default) each case runs once at a small size.
"""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import Any

import cvxpy as cp
import numpy as np
import pytest
import scipy.sparse as sp
from threadpoolctl import threadpool_limits

from dosecalc.errors import OptimisationError
from optimize.solvers import DoseLimits, StructuredInteriorPoint, solve_qp, solve_with_fallback

COMPARISON_LIMIT_S = 120.0
THREADS = 1  # as the optimiser: a second one spins where the processor is shared, and CPU time is compared
ATTENUATION_PER_MM = 0.005  # about 6 MV in water beyond the dose maximum
SKIN_DEPTH_MM = 100.0
# (weight, lateral sigma in mm at the isocentre depth): primary, scatter, broad scatter
PENCIL_MM = ((0.80, 3.5), (0.16, 11.0), (0.04, 35.0))


@dataclass(frozen=True, slots=True)
class SyntheticMaster:
    """Rows of a reduced fluence problem; doses in units of the prescription.

    Attributes
    ----------
    target, organ, ring : numpy.ndarray, shape (rows, beamlets), float64
        Dose per unit fluence at sampled voxels.
    mean : numpy.ndarray, shape (organs, beamlets)
        Mean-dose rows.
    organ_cap : numpy.ndarray, shape (rows,)
        Caps of the organ rows.
    mean_cap : numpy.ndarray, shape (organs,)
        Caps of the mean-dose rows.
    laplacian : scipy.sparse.csr_array, shape (beamlets, beamlets)
        Graph Laplacian of neighbouring beamlets.
    """

    target: np.ndarray
    organ: np.ndarray
    ring: np.ndarray
    mean: np.ndarray
    organ_cap: np.ndarray
    mean_cap: np.ndarray
    laplacian: sp.csr_array


def beamlet_disc(radius_mm: float, width_mm: float) -> np.ndarray:
    """Beamlet centres (v, u) in mm inside a disc, shape (beamlets, 2)."""
    ticks = np.arange(-radius_mm, radius_mm + width_mm, width_mm)
    v, u = np.meshgrid(ticks, ticks, indexing="ij")
    return np.column_stack([v.ravel(), u.ravel()])[np.hypot(v, u).ravel() <= radius_mm]


def ball(rng: np.random.Generator, count: int, centre_mm: Any, inner_mm: float, outer_mm: float) -> np.ndarray:
    """Points uniformly distributed in a spherical shell, shape (count, 3)."""
    direction = rng.normal(size=(count, 3))
    direction /= np.linalg.norm(direction, axis=1, keepdims=True)
    radius = np.cbrt(rng.uniform(inner_mm**3, outer_mm**3, size=(count, 1)))
    return np.asarray(centre_mm) + radius * direction


def dose_rows(points_mm: np.ndarray, angles: np.ndarray, beamlets_mm: np.ndarray) -> np.ndarray:
    """Dose per unit fluence, shape (points, angles x beamlets)."""
    blocks = []
    for angle in angles:
        along = points_mm[:, 0] * np.cos(angle) + points_mm[:, 1] * np.sin(angle)
        across = -points_mm[:, 0] * np.sin(angle) + points_mm[:, 1] * np.cos(angle)
        square = (points_mm[:, 2, None] - beamlets_mm[:, 0]) ** 2 + (across[:, None] - beamlets_mm[:, 1]) ** 2
        depth = SKIN_DEPTH_MM + along[:, None]
        lateral = sum(w / sigma**2 * np.exp(-0.5 * square / sigma**2) for w, sigma in PENCIL_MM)
        blocks.append(lateral * np.exp(-ATTENUATION_PER_MM * depth) * (900.0 / (900.0 + along[:, None])) ** 2)
    return np.hstack(blocks)


def neighbour_laplacian(beamlets_mm: np.ndarray, width_mm: float, beams: int) -> sp.csr_array:
    """Graph Laplacian of adjacent beamlets, beam by beam."""
    distance = np.linalg.norm(beamlets_mm[:, None] - beamlets_mm[None], axis=2)
    adjacent = ((distance > 0) & (distance < 1.01 * width_mm)).astype(float)
    return sp.csr_array(sp.block_diag([np.diag(adjacent.sum(axis=1)) - adjacent] * beams))


def synthetic_master(beams: int = 9, radius_mm: float = 32.0, rows: int = 3000, seed: int = 1) -> SyntheticMaster:
    """Sphere target between three organs: about ``130 * beams`` beamlets at the default radius."""
    rng = np.random.default_rng(seed)
    width_mm = 5.0
    beamlets = beamlet_disc(radius_mm, width_mm)
    angles = np.deg2rad(np.linspace(190.0, 390.0, beams))
    target_mm = radius_mm - width_mm
    target = dose_rows(ball(rng, rows // 5, (0, 0, 0), 0, target_mm), angles, beamlets)
    centres = ((target_mm + 9, 4, -3), (-8, -target_mm - 13, 5), (6, 12, target_mm + 16))
    organs = [dose_rows(ball(rng, rows // 7, c, 0, 14.0), angles, beamlets) for c in centres]
    spare = rows - 2 * len(target) - 3 * len(organs[0]) - 3
    ring = dose_rows(ball(rng, spare, (0, 0, 0), target_mm + 6, target_mm + 25), angles, beamlets)
    unit = target.mean(axis=0).sum()  # unit fluence everywhere gives a mean target dose of one
    caps = (0.55, 0.45, 0.5)
    return SyntheticMaster(
        target / unit,
        np.vstack(organs) / unit,
        ring / unit,
        np.vstack([o.mean(axis=0) for o in organs]) / unit,
        np.repeat(caps, len(organs[0])),
        np.array([0.3, 0.25, 0.3]),
        neighbour_laplacian(beamlets, width_mm, beams),
    )


def master_problem(master: SyntheticMaster, *, smoothness: float = 0.0) -> tuple[cp.Problem, list[DoseLimits]]:
    """Raise the coldest target voxel ``t`` under caps; ``smoothness`` makes it a QP. Voxels are dose limits."""
    x = cp.Variable(master.target.shape[1], name="fluence")
    t = cp.Variable(name="level")
    constraints = [x >= 0, t <= 2.0, master.mean @ x <= master.mean_cap]
    none = np.zeros(len(master.target))
    limits = [
        DoseLimits(x, master.target, none, t, 1.0, -1),
        DoseLimits(x, master.target, none, t, 1.0 / 0.6),
        DoseLimits(x, master.organ, master.organ_cap),
        DoseLimits(x, master.ring, np.zeros(len(master.ring)), t, 0.9),
    ]
    objective = t - 1e-4 * cp.sum(x) / x.size
    if smoothness:
        objective = objective - smoothness * cp.quad_form(x, master.laplacian, assume_PSD=True) / x.size
    return cp.Problem(cp.Maximize(objective), constraints), limits


@pytest.fixture(scope="module")
def master(size: str) -> SyntheticMaster:
    """Full size when benchmarks are measured, small when they only run."""
    if size == "tiny":
        return synthetic_master(beams=5, radius_mm=17.0, rows=300)
    return synthetic_master()


@pytest.mark.parametrize("smoothness", [0.0, 0.01], ids=["linear", "quadratic"])
def test_interior_point(benchmark: Any, master: SyntheticMaster, smoothness: float) -> None:
    """Seconds of the structured interior point alone, compilation left out."""
    problem, limits = master_problem(master, smoothness=smoothness)
    data = problem.get_problem_data(StructuredInteriorPoint())[0]
    arguments = [data[key] for key in ("P", "q", "F", "G", "A", "b")]
    dense = [limit.dense_rows(data["param_prob"].var_id_to_col) for limit in limits]
    with threadpool_limits(limits=THREADS, user_api="blas"):
        solution = benchmark.pedantic(solve_qp, args=arguments, kwargs={"dense": dense}, rounds=3)
    benchmark.extra_info.update(
        beamlets=master.target.shape[1], rows=len(solution.dual_inequality), iterations=solution.iterations
    )
    assert solution.status == "optimal"


@pytest.mark.parametrize(
    ("smoothness", "solvers"),
    [(0.0, ("INTERIOR_POINT", "CLARABEL", "HIGHS")), (0.01, ("INTERIOR_POINT", "CLARABEL"))],
    ids=["linear", "quadratic"],
)
def test_ratio_to_clarabel_and_highs(
    benchmark: Any, master: SyntheticMaster, smoothness: float, solvers: tuple[str, ...]
) -> None:
    """The same problem through `solve_with_fallback` with one solver after the other, in one run.

    Seconds include CVXPY's compilation; a solver that meets the time limit is reported as such.
    """
    results = benchmark.pedantic(_compare, args=(master, smoothness, solvers), rounds=1)
    own = results[solvers[0]]
    print(f"\n{master.target.shape[1]} beamlets, smoothness {smoothness:g}, {THREADS} BLAS thread")
    for name, (wall, cpu, value, text) in results.items():
        print(f"  {name:15s} wall {wall:6.2f} s  cpu {cpu:6.2f} s  ratio {cpu / own[1]:5.1f}  {value}  {text}")
    solved = [value for _, _, value, _ in results.values() if value is not None]
    assert own[2] is not None
    assert np.ptp(solved) <= 1e-5 * abs(own[2])


def _compare(
    master: SyntheticMaster, smoothness: float, solvers: tuple[str, ...]
) -> dict[str, tuple[float, float, float | None, str]]:
    """Wall seconds, processor seconds, objective (None where there is none) and outcome of each solver."""
    results = {}
    for name in solvers:
        problem, limits = master_problem(master, smoothness=smoothness)
        wall, cpu = time.perf_counter(), time.process_time()
        value = None
        try:
            record = solve_with_fallback(
                problem, limits=limits, order=(name,), time_limit_s=COMPARISON_LIMIT_S, threads=THREADS
            )
            text, value = record.attempts[0][1], float(problem.objective.value)
        except OptimisationError as error:
            text = error.message
        results[name] = (time.perf_counter() - wall, time.process_time() - cpu, value, text)
    return results

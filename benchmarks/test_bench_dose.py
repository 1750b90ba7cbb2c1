"""Speed of the dose operator, and of numba against the NumPy kernels, on the geometry of `benchmarks.cases`.

Measure with (the tables come last)::

    pytest benchmarks/test_bench_dose*.py --benchmark-enable
    pytest benchmarks/test_bench_dose*.py --benchmark-enable --full-size --benchmark-json=RECORD.json

Rates count every (voxel, beamlet) pair of the problem: the operator gives the dose of them all, without a lateral
cut-off, in far fewer operations. NumPy traces rays at some five seconds a beam, so it is compared on one beam.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from benchmarks.cases import CUTOFF_MM, SIZES, Problem, centred_grid, sized_problem
from benchmarks.cases import problem as problem_of
from benchmarks.records import Other
from dosecalc import DoseInfluence, dose_influence, select_backend
from dosecalc.heterogeneity import RANGE_MM
from dosecalc.pencil_beam import weights_looked_up
from dosecalc.raytrace import trace

pytestmark = pytest.mark.benchmark(timer=time.process_time)
# Rows asked for, and the diameter of the target in mm that gives about 1200 beamlets to nine beams.
ROWS = {"tiny": (50, 20.0), "small": (1000, 48.0), "full": (4000, 48.0)}


@pytest.fixture(scope="module")
def problem(size: str) -> Problem:
    """All beams."""
    return sized_problem(size)


@pytest.fixture(scope="module")
def one_beam(size: str) -> dict[str, Problem]:
    """The first beam alone, for each set of kernels."""
    return {backend: sized_problem(size, beams=1, backend=backend) for backend in ("numba", "numpy")}


def nothing() -> None:
    """Instead of a warm-up round, where making the problem has run the same code."""


def trace_all(operator: DoseInfluence, density: Any, backend: str) -> list[np.ndarray]:
    """Radiological depth of every voxel, per beam; the upstream densities are traced with it."""
    points, kernels = operator.grid.centres_mm(operator.voxels), select_backend(backend)
    sources = [beam.source_mm(operator.machine.sad_mm) for beam in operator.beamlets.beams]
    return [trace(density, source, points, RANGE_MM, backend=kernels)[0] for source in sources]


def build(problem: Problem, density: Any) -> DoseInfluence:
    """The same operator, made again."""
    made = problem.operator
    return dose_influence(density, made.grid, made.beamlets, made.machine, voxels=made.voxels, backend=made.backend)


def test_operator(measure: Callable[..., Any], problem: Problem, block: Any) -> None:
    """All that is made once per plan: ray tracing, upstream densities, weights, tables."""
    made = measure(
        lambda: build(problem, block),
        operation="operator: rays, weights, tables",
        problem=problem.text,
        count=problem.operator.shape[0] * len(problem.operator.beamlets.beams),
        unit="voxels x beams",
        rounds=3,
        warm_up=nothing,
    )
    assert made.shape == problem.operator.shape
    assert len(made.depth_mm) == len(made.beamlets.beams)


def test_ray_trace(measure: Callable[..., Any], problem: Problem, block: Any) -> None:
    """Radiological depth and upstream densities of every voxel, one ray from the source of each beam to it."""
    operator = problem.operator
    depth = measure(
        lambda: trace_all(operator, block, "numba"),
        operation="ray tracing",
        problem=problem.text,
        count=operator.shape[0] * len(operator.beamlets.beams),
        unit="rays",
        rounds=3,
        warm_up=nothing,
    )
    assert [each.shape for each in depth] == [(operator.shape[0],)] * len(operator.beamlets.beams)
    assert np.allclose(depth[-1], operator.depth_mm[-1])


def test_component_weights(measure: Callable[..., Any], problem: Problem) -> None:
    """Weight of each Gaussian at each voxel."""
    operator = problem.operator
    points = operator.grid.centres_mm(operator.voxels)
    scales = [beam.project(points, operator.machine.sad_mm)[2] for beam in operator.beamlets.beams]

    def look_up() -> list[np.ndarray]:
        given = zip(operator.arguments, scales, strict=True)
        looked_up = (weights_looked_up(operator.machine, *each, np.float32) for each in given)
        return [operator.backend.kernels.component_weights(*arguments) for arguments in looked_up]

    weights = measure(
        look_up,
        operation="component weights",
        problem=problem.text,
        count=len(points) * len(scales),
        unit="voxels x beams",
    )
    assert all(len(w) == len(points) and w.min() >= 0 for w in weights)


def test_dose(measure: Callable[..., Any], problem: Problem) -> None:
    """Dose of every voxel from one fluence."""
    dose = measure(
        lambda: problem.operator.dose(problem.fluence),
        operation="dose",
        problem=problem.text,
        count=problem.pairs,
        unit="pairs",
    )
    assert dose.shape == (problem.operator.shape[0],)
    assert dose.max() > 0


def test_adjoint(measure: Callable[..., Any], problem: Problem) -> None:
    """The transpose of the dose, as a gradient needs it."""
    back = measure(
        lambda: problem.operator.adjoint(problem.weights),
        operation="adjoint",
        problem=problem.text,
        count=problem.pairs,
        unit="pairs",
    )
    assert back.shape == (problem.operator.shape[1],)
    assert back @ problem.fluence == pytest.approx(problem.weights @ problem.operator.dose(problem.fluence), rel=1e-4)


def test_rows(measure: Callable[..., Any], size: str) -> None:
    """Rows of some voxels, without a cut-off; the operator holds these voxels alone, scattered over the dose grid."""
    shape, beams, _ = SIZES[size]
    count, diameter_mm = ROWS[size]
    grid = centred_grid(shape, 3.0)
    voxels = np.sort(np.random.default_rng(1).choice(grid.size, count, replace=False))
    some = problem_of(grid, beams=beams, diameter_mm=diameter_mm, voxels=voxels)
    rows = measure(
        lambda: some.operator.rows(np.arange(count)),
        operation="rows of every voxel",
        problem=some.text,
        count=some.pairs,
        unit="pairs",
    )
    expected = some.operator.dose(some.fluence)
    assert rows.shape == some.operator.shape
    assert np.allclose(rows @ some.fluence, expected, rtol=1e-4, atol=1e-5 * expected.max())


def test_matrix(measure: Callable[..., Any], problem: Problem) -> None:
    """The stored matrix, made from an operator that is there."""
    operator = problem.operator
    matrix = measure(
        lambda: operator.tocsr(cutoff_mm=CUTOFF_MM),
        operation=f"stored matrix, cut at {CUTOFF_MM:g} mm",
        problem=problem.text,
        count=problem.pairs,
        unit="pairs",
        rounds=1,
        warm_up=lambda: operator.restricted_to(np.arange(100)).tocsr(cutoff_mm=CUTOFF_MM),
    )
    assert matrix.shape == operator.shape
    assert 0 < matrix.nnz <= problem.pairs


def test_reference_dose(measure: Callable[..., Any], problem: Problem) -> None:
    """The direct float64 error-function sum, which judges the finished plan."""
    reference = problem.operator.at_reference()
    dose = measure(
        lambda: reference.dose(problem.fluence),
        operation="reference dose (float64)",
        problem=problem.text,
        count=problem.pairs,
        unit="pairs",
        rounds=1,
        warm_up=lambda: reference.restricted_to(np.arange(100)).dose(problem.fluence),
    )
    assert np.abs(problem.operator.dose(problem.fluence) - dose).max() <= 1e-3 * dose.max()


@pytest.mark.parametrize("operation", ["ray tracing", "dose", "adjoint", "reference dose (float64)"])
def test_numba_against_numpy(
    measure: Callable[..., Any],
    cpu_seconds: Callable[..., float],
    one_beam: dict[str, Problem],
    block: Any,
    operation: str,
) -> None:
    """Each kernel against its NumPy twin, which states the same in readable form."""
    runs = {
        "ray tracing": lambda p, backend: trace_all(p.operator, block, backend)[0],
        "dose": lambda p, _: p.operator.dose(p.fluence),
        "adjoint": lambda p, _: p.operator.adjoint(p.weights),
        "reference dose (float64)": lambda p, _: p.operator.at_reference().dose(p.fluence),
    }
    run, quick = runs[operation], operation in ("dose", "adjoint")
    slow: list[np.ndarray] = []
    found = measure(
        lambda: run(one_beam["numba"], "numba"),
        operation=operation,
        problem=one_beam["numba"].text,
        rounds=5 if quick else 2,
        other=lambda: Other(
            "NumPy", cpu_seconds(lambda: slow.append(run(one_beam["numpy"], "numpy")), rounds=5 if quick else 1)
        ),
    )
    assert np.abs(found - slow[-1]).max() <= 2e-6 * np.abs(slow[-1]).max()

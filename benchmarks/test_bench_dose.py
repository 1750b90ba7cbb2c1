"""Speed of the dose operator on a block of water with a lung-like and a bone-like insert.

Measure with (the table comes last)::

    pytest benchmarks/test_bench_dose.py --benchmark-enable
    pytest benchmarks/test_bench_dose.py --benchmark-enable --full-size

Rates count every (voxel, beamlet) pair of the problem: the operator gives the dose of them all, without a
lateral cut-off, in far fewer operations. The stored matrix is made from all of them, those within 50 mm kept.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest

from dosecalc import (
    Beam,
    BeamModel,
    DoseInfluence,
    Grid,
    Volume,
    aim,
    dose_influence,
    load_machine,
    select_backend,
)
from dosecalc.heterogeneity import RANGE_MM
from dosecalc.pencil_beam import component_weights
from dosecalc.raytrace import trace
from dosecalc.regions import sphere

BACKENDS = ("numpy", "numba")
EITHER = "either"
"""Operations that run the same code whatever the backend."""
CUTOFF_MM = 50.0
BEAMLET_MM = 5.0
DENSITY_GRID = Grid((-148.5, -118.5, -88.5), (3.0, 3.0, 3.0), (60, 80, 100))
# (voxels of the dose grid along z, y, x; beams; target diameter in mm; rows asked for)
SIZES = {
    "tiny": ((8, 9, 10), 2, 20.0, 50),
    "small": ((40, 39, 39), 3, 40.0, 2000),
    "full": ((50, 64, 63), 9, 60.0, 4000),
}


@dataclass(frozen=True, slots=True, eq=False)
class Problem:
    """A density, an operator per backend, and a fluence and voxel weights to apply them to."""

    density: Volume
    machine: BeamModel
    operators: dict[str, DoseInfluence]
    fluence: np.ndarray
    weights: np.ndarray
    row_voxels: np.ndarray
    text: str

    @property
    def pairs(self) -> int:
        """Voxels times beamlets."""
        voxels, beamlets = self.operators["numba"].shape
        return voxels * beamlets


def inhomogeneous_block() -> Volume:
    """Water, 300 x 240 x 180 mm, with a slab of lung density and a rod of bone density."""
    values = np.ones(DENSITY_GRID.shape, np.float32)
    values[40:, :, :35] = 0.26
    values[:, 55:61, 48:54] = 1.6
    return Volume(DENSITY_GRID, values)


@pytest.fixture(scope="module")
def problem(size: str) -> Problem:
    """Equispaced coplanar beams on a sphere in the middle of the dose grid."""
    shape, beams, diameter_mm, rows = SIZES[size]
    corner = tuple(-1.5 * (n - 1) for n in reversed(shape))
    grid = Grid(corner, (3.0, 3.0, 3.0), shape)
    density, machine = inhomogeneous_block(), load_machine("generic_6mv")
    target = sphere((0.0, 0.0, 0.0), diameter_mm, grid, name="target")
    beamlets = aim([Beam(k * 360.0 / beams) for k in range(beams)], at=target, width_mm=BEAMLET_MM)
    operators = {b: dose_influence(density, grid, beamlets, machine, backend=b) for b in BACKENDS}
    rng = np.random.default_rng(0)
    return Problem(
        density,
        machine,
        operators,
        rng.random(beamlets.count),
        rng.random(grid.size),
        np.sort(rng.choice(grid.size, rows, replace=False)),
        f"{grid.size} voxels (3 mm) x {beams} beams, {beamlets.count} beamlets ({BEAMLET_MM:g} mm), float32",
    )


@pytest.mark.parametrize("backend", BACKENDS)
def test_ray_trace(measure: Callable[..., Any], problem: Problem, backend: str) -> None:
    """Radiological depth and upstream densities of every voxel, one ray from the source of each beam to it."""
    operator, kernels = problem.operators[backend], select_backend(backend)
    points = operator.grid.centres_mm(operator.voxels)
    sources = [beam.source_mm(problem.machine.sad_mm) for beam in operator.beamlets.beams]

    def trace_all() -> list[np.ndarray]:
        return [trace(problem.density, source, points, RANGE_MM, backend=kernels)[0] for source in sources]

    depth = measure(
        trace_all,
        operation="ray trace",
        backend=backend,
        problem=problem.text,
        count=len(points) * len(sources),
        unit="rays",
        rounds=3,
    )
    assert np.allclose(depth[0], operator.depth_mm[0])


def test_component_weights(measure: Callable[..., Any], problem: Problem) -> None:
    """Weight of each Gaussian at each voxel, once per plan."""
    operator = problem.operators["numba"]
    points = operator.grid.centres_mm(operator.voxels)
    scales = [beam.project(points, problem.machine.sad_mm)[2] for beam in operator.beamlets.beams]

    def look_up() -> list[np.ndarray]:
        return [
            component_weights(problem.machine, arguments, scale, operator.backend, np.float32)
            for arguments, scale in zip(operator.arguments, scales, strict=True)
        ]

    weights = measure(
        look_up,
        operation="component weights",
        backend=EITHER,
        problem=problem.text,
        count=len(points) * len(scales),
        unit="voxel x beam",
    )
    assert all(w.min() >= 0 for w in weights)


@pytest.mark.parametrize("backend", BACKENDS)
def test_dose(measure: Callable[..., Any], problem: Problem, backend: str) -> None:
    """Dose of every voxel from one fluence."""
    operator = problem.operators[backend]
    dose = measure(
        lambda: operator.dose(problem.fluence),
        operation="dose",
        backend=backend,
        problem=problem.text,
        count=problem.pairs,
    )
    assert dose.max() > 0


@pytest.mark.parametrize("backend", BACKENDS)
def test_adjoint(measure: Callable[..., Any], problem: Problem, backend: str) -> None:
    """The transpose of the dose, as a gradient needs it."""
    operator = problem.operators[backend]
    back = measure(
        lambda: operator.adjoint(problem.weights),
        operation="adjoint",
        backend=backend,
        problem=problem.text,
        count=problem.pairs,
    )
    assert back @ problem.fluence == pytest.approx(problem.weights @ operator.dose(problem.fluence), rel=1e-4)


def test_rows(measure: Callable[..., Any], problem: Problem) -> None:
    """Rows of some voxels, without a cut-off."""
    operator = problem.operators["numba"]
    rows = measure(
        lambda: operator.rows(problem.row_voxels),
        operation=f"rows of {problem.row_voxels.size} voxels",
        backend=EITHER,
        problem=problem.text,
        count=problem.row_voxels.size * operator.beamlets.count,
    )
    expected = operator.dose(problem.fluence)[problem.row_voxels]
    assert np.allclose(rows @ problem.fluence, expected, rtol=1e-4, atol=1e-5 * expected.max())


def test_matrix(measure: Callable[..., Any], problem: Problem) -> None:
    """The stored matrix, cut at 50 mm."""
    operator = problem.operators["numba"]
    matrix = measure(
        lambda: operator.tocsr(cutoff_mm=CUTOFF_MM),
        operation=f"matrix, cut at {CUTOFF_MM:g} mm",
        backend=EITHER,
        problem=problem.text,
        count=problem.pairs,
        rounds=1,
    )
    assert 0 < matrix.nnz <= problem.pairs


def test_product_with_the_stored_matrix(measure: Callable[..., Any], problem: Problem) -> None:
    """SciPy's product with that matrix: what the operator replaces."""
    matrix = problem.operators["numba"].tocsr(cutoff_mm=CUTOFF_MM)
    fluence = problem.fluence.astype(np.float32)
    dose = measure(
        lambda: matrix @ fluence,
        operation="product, stored matrix",
        backend="scipy",
        problem=problem.text,
        count=matrix.nnz,
        unit="entries",
    )
    assert dose.max() <= problem.operators["numba"].dose(problem.fluence).max() * (1 + 1e-4)


@pytest.mark.parametrize("backend", BACKENDS)
def test_reference_dose(measure: Callable[..., Any], problem: Problem, backend: str) -> None:
    """The direct float64 error-function sum, which judges the finished plan."""
    reference = problem.operators[backend].at_reference()
    dose = measure(
        lambda: reference.dose(problem.fluence),
        operation="reference dose (float64)",
        backend=backend,
        problem=problem.text,
        count=problem.pairs,
        rounds=1 if backend == "numpy" else 3,
    )
    fast = problem.operators[backend].dose(problem.fluence)
    assert np.abs(fast - dose).max() <= 1e-3 * dose.max()

"""Speed of the CUDA kernels by the GPU's own clock; skipped where no GPU can be used.

Measure with (`--full-size` holds more weights than a GPU's caches)::

    pytest benchmarks/test_bench_cuda.py -m cuda --benchmark-enable --full-size --benchmark-json=RECORD.json

"On the device" is from arrays on the GPU to arrays on the GPU, launches included: the time between two CUDA events. The
warm-up, which compiles the kernels or reads them from disk, is reported for itself and in no other figure. Whole verbs
(`dose`, `adjoint`, `rows`, `tocsr`) are wall times from NumPy to NumPy, the bus included.
"""

from __future__ import annotations

import dataclasses
import statistics
import time
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from benchmarks.cases import CUTOFF_MM, Problem, inhomogeneous_block, sized_problem
from dosecalc import DoseInfluence, Volume, dose_influence, gamma_index, select_backend
from dosecalc.errors import DeviceError

pytestmark = pytest.mark.cuda
ROUNDS = 20
ROWS = 4000


@pytest.fixture(scope="module")
def problem(size: str) -> Problem:
    """All beams, prepared on the GPU."""
    try:
        select_backend("cupy")
    except DeviceError as error:
        pytest.skip(str(error))
    return sized_problem(size, backend="cupy")


@pytest.fixture
def on_device(benchmark: Any, state: Callable[..., None], problem: Problem) -> Callable[..., float]:
    """``on_device(function, figure)``: median seconds between two events around it; the first call apart."""
    cupy = pytest.importorskip("cupy")

    def run(function: Callable[[], Any], figure: str) -> float:
        begin = time.perf_counter()
        function()
        cupy.cuda.Device().synchronize()
        warm_up_s, seconds = time.perf_counter() - begin, []
        for _ in range(ROUNDS):
            start, end = cupy.cuda.Event(), cupy.cuda.Event()
            start.record()
            function()
            end.record()
            end.synchronize()
            seconds.append(1e-3 * cupy.cuda.get_elapsed_time(start, end))
        benchmark.pedantic(lambda: (function(), cupy.cuda.Device().synchronize()), rounds=1)
        text = f"{problem.text}; {problem.operator.backend.reason}"
        state(f"{figure}, on the device", statistics.median(seconds), "s", text)
        state(f"{figure}, first call", warm_up_s, "s", text)
        return statistics.median(seconds)

    return run


def device_dose(operator: DoseInfluence, fields: list[Any]) -> Any:
    """Dose of every voxel from the fields of all beams, left on the device."""
    kernels, dose = operator.backend.kernels, operator.backend.kernels.zeros(operator.shape[0], np.float64)
    for beam, field in zip(operator._prepared, fields, strict=True):
        maps = kernels.field_maps(beam.table_v.coefficients, field, beam.table_u.coefficients)
        dose += kernels.gather(maps, *beam.taps)
    return dose


def device_adjoint(operator: DoseInfluence, values: Any) -> list[Any]:
    """Its transpose: one field per beam, left on the device."""
    kernels, fields = operator.backend.kernels, []
    for beam in operator._prepared:
        shape = len(beam.table_v.coefficients), len(beam.table_u.coefficients)
        planes = kernels.scatter(values, shape, *beam.taps)
        fields.append(kernels.collect_field(beam.table_v.coefficients, planes, beam.table_u.coefficients))
    return fields


def device_fields(problem: Problem) -> list[Any]:
    """The fluence as one small field per beam, on the device."""
    operator = problem.operator
    parts = (problem.fluence[operator.beamlets.of_beam(b)].astype(np.float32) for b in range(len(operator._prepared)))
    pairs = zip(operator._prepared, parts, strict=True)
    return [operator.backend.kernels.to_device(beam.lattice.spread(part)) for beam, part in pairs]


def test_dose_and_adjoint(problem: Problem, on_device: Callable[..., float]) -> None:
    """All beams; the adjoint of random weights."""
    operator, fields = problem.operator, device_fields(problem)
    values = operator.backend.kernels.to_device(problem.weights.astype(np.float32))
    on_device(lambda: (device_dose(operator, fields), device_adjoint(operator, values)), "dose + adjoint")
    dose = operator.backend.kernels.to_host(device_dose(operator, fields))
    assert np.abs(dose - operator.dose(problem.fluence)).max() <= 2e-6 * dose.max()


def test_rows(problem: Problem, on_device: Callable[..., float]) -> None:
    """Rows of random voxels for all beamlets, in float32."""
    operator = problem.operator
    kernels, (voxels, beamlets) = operator.backend.kernels, operator.shape
    chosen = np.sort(np.random.default_rng(1).permutation(voxels)[:ROWS])
    made = kernels.zeros((chosen.size, beamlets), np.float32)
    on_device(lambda: operator._fill_rows(chosen, made), f"rows of {chosen.size} voxels")
    assert np.abs(kernels.to_host(made) - operator.rows(chosen)).max() == 0.0


def test_against_the_stored_matrix(problem: Problem, on_device: Callable[..., float]) -> None:
    """cuSPARSE on the truncated matrix, dose and adjoint: what the operator is to be faster than."""
    sparse = pytest.importorskip("cupyx.scipy.sparse")
    kernels = problem.operator.backend.kernels
    matrix = sparse.csr_matrix(problem.operator.tocsr(cutoff_mm=CUTOFF_MM))
    back = matrix.T.tocsr()
    x, w = (kernels.to_device(a.astype(np.float32)) for a in (problem.fluence, problem.weights))
    on_device(lambda: (matrix @ x, back @ w), f"dose + adjoint by cuSPARSE, cut at {CUTOFF_MM:g} mm")
    assert matrix.nnz > 0


def test_gamma(problem: Problem, benchmark: Any, state: Callable[..., None]) -> None:
    """3 %/2 mm of a plan dose against itself 2 % higher, moved by 0.7 mm: from NumPy to NumPy."""
    operator = problem.operator
    whole = np.zeros(operator.grid.size)
    whole[operator.voxels] = operator.dose(problem.fluence)
    shape, (x, y, z) = operator.grid.shape, operator.grid.origin_mm
    moved = dataclasses.replace(operator.grid, origin_mm=(x + 0.7, y, z))
    doses = Volume(operator.grid, whole.reshape(shape)), Volume(moved, 1.02 * whole.reshape(shape))
    seconds, found = [], {}
    for name in ("cupy", "numba"):
        found[name] = gamma_index(*doses, backend=name)
        begin = time.perf_counter()
        gamma_index(*doses, backend=name)
        seconds.append(time.perf_counter() - begin)
        state(f"gamma of {found[name].compared.size} points, {name}", seconds[-1], "s", problem.text)
    benchmark.pedantic(lambda: gamma_index(*doses, backend="cupy"), rounds=3)
    assert np.nanmax(np.abs(found["cupy"].values - found["numba"].values)) < 1e-9


@pytest.mark.parametrize("verb", ["prepare", "dose", "adjoint", "rows", "tocsr"])
def test_verbs(problem: Problem, benchmark: Any, state: Callable[..., None], verb: str) -> None:
    """From NumPy to NumPy, ray trace and tables included in "prepare"."""
    operator = problem.operator
    chosen = np.arange(min(ROWS, operator.shape[0]))
    run: dict[str, Callable[[], Any]] = {
        "prepare": lambda: dose_influence(
            inhomogeneous_block(), operator.grid, operator.beamlets, operator.machine, backend=operator.backend
        ),
        "dose": lambda: operator.dose(problem.fluence),
        "adjoint": lambda: operator.adjoint(problem.weights),
        "rows": lambda: operator.rows(chosen),
        "tocsr": lambda: operator.tocsr(cutoff_mm=CUTOFF_MM),
    }
    run[verb]()
    seconds: list[float] = []

    def timed() -> Any:
        begin = time.perf_counter()
        result = run[verb]()
        seconds.append(time.perf_counter() - begin)
        return result

    assert benchmark.pedantic(timed, rounds=3) is not None
    state(f"{verb}, from NumPy to NumPy", statistics.median(seconds), "s", problem.text)

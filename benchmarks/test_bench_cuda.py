"""Speed of the CUDA kernels by the GPU's own clock; skipped where no GPU can be used.

Measure with (`--full-size` is what `benchmarks.gpu_table` names, and holds more weights than a GPU's caches)::

    pytest benchmarks/test_bench_cuda.py benchmarks/test_bench_cuda_plan.py -m cuda --benchmark-enable --full-size \\
        --benchmark-json=RECORD.json --gpu-peers PYTHON
    python -m benchmarks.gpu_table RECORD.json --write README.md

"On the device" is from arrays on the GPU to arrays on the GPU, launches included: the time between two CUDA events.
What begins with the density is measured by two events too, which then count the work of the host between them. The
warm-up, which compiles the kernels or reads them from disk, is reported for itself and in no other figure. Whole verbs
(`dose`, `adjoint`, `rows`, `tocsr`) are wall times from NumPy to NumPy, the bus included.
"""

from __future__ import annotations

import dataclasses
import statistics
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from benchmarks.accuracy import peers
from benchmarks.cases import CUTOFF_MM, SIZES, Problem, centred_grid, inhomogeneous_block, sized_problem
from benchmarks.cases import problem as problem_of
from dosecalc import DoseInfluence, Volume, dose_influence, gamma_index, select_backend
from dosecalc.errors import DeviceError
from dosecalc.prepared import add_dose, collect

pytestmark = pytest.mark.cuda
ROUNDS = 20
MATRIX_ROUNDS = 5
ROWS = 4000
ROWS_DIAMETER_MM = {"tiny": 20.0, "small": 48.0, "full": 48.0}
"""Of the target that gives about 1200 beamlets to nine beams."""
PEER_ROUNDS = 3


@pytest.fixture(scope="module")
def problem_with(size: str) -> Callable[[float], Problem]:
    """``problem_with(beamlet_mm)``: all beams, prepared on the GPU."""
    try:
        select_backend("cupy")
    except DeviceError as error:
        pytest.skip(str(error))
    made: dict[float, Problem] = {}

    def get(beamlet_mm: float) -> Problem:
        if beamlet_mm not in made:
            made[beamlet_mm] = sized_problem(size, beamlet_mm=beamlet_mm, backend="cupy")
        return made[beamlet_mm]

    return get


@pytest.fixture
def problem(problem_with: Callable[[float], Problem]) -> Problem:
    """With beamlets of 5 mm."""
    return problem_with(5.0)


@pytest.fixture
def on_device(benchmark: Any, size: str, state: Callable[..., None]) -> Callable[..., float]:
    """``on_device(function, figure, problem)``: median seconds between two events around it; the first call apart."""
    cupy, kept = pytest.importorskip("cupy"), []

    def run(function: Callable[[], Any], figure: str, problem: Problem, rounds: int = ROUNDS) -> float:
        begin = time.perf_counter()
        function()
        cupy.cuda.Device().synchronize()
        warm_up_s, seconds = time.perf_counter() - begin, []
        for _ in range(1 if size == "tiny" else rounds):
            start, end = cupy.cuda.Event(), cupy.cuda.Event()
            start.record()
            function()
            end.record()
            end.synchronize()
            seconds.append(1e-3 * cupy.cuda.get_elapsed_time(start, end))
        if not kept:
            kept.append(benchmark.pedantic(lambda: (function(), cupy.cuda.Device().synchronize()), rounds=1))
        text = f"{problem.text}; {problem.operator.backend.reason}"
        state(f"{figure}, on the device", statistics.median(seconds), "s", text)
        state(f"{figure}, first call", warm_up_s, "s", text)
        return statistics.median(seconds)

    return run


def device_dose(operator: DoseInfluence, fields: list[Any]) -> Any:
    """Dose of every voxel from the fields of all beams, left on the device."""
    kernels = operator.backend.kernels
    dose = kernels.zeros(operator.shape[0], np.float64)
    add_dose(operator._prepared, fields, dose, kernels)
    return dose


def device_adjoint(operator: DoseInfluence, values: Any) -> list[Any]:
    """Its transpose: one field per beam, left on the device."""
    return collect(operator._prepared, values, operator.backend.kernels)


def device_fields(problem: Problem) -> list[Any]:
    """The fluence as one small field per beam, on the device."""
    operator = problem.operator
    parts = (problem.fluence[operator.beamlets.of_beam(b)].astype(np.float32) for b in range(len(operator._prepared)))
    pairs = zip(operator._prepared, parts, strict=True)
    return [operator.backend.kernels.to_device(beam.lattice.spread(part)) for beam, part in pairs]


@pytest.mark.parametrize("beamlet_mm", [5.0, 2.5])
def test_stored_matrix(
    problem_with: Callable[[float], Problem],
    on_device: Callable[..., float],
    gpu_row: Callable[..., None],
    beamlet_mm: float,
) -> None:
    """From density and beamlets to a matrix that stays on the GPU, nothing cut; then from an operator that is there."""
    problem, density = problem_with(beamlet_mm), inhomogeneous_block()
    operator = problem.operator
    given = density, operator.grid, operator.beamlets, operator.machine

    def whole() -> Any:
        return dose_influence(*given, backend=operator.backend).device_csr()

    seconds = on_device(whole, f"stored matrix, {beamlet_mm:g} mm, from density", problem, MATRIX_ROUNDS)
    gpu_row(f"matrix {beamlet_mm:g}", problem.pairs / seconds / 1e9)
    on_device(operator.device_csr, f"stored matrix, {beamlet_mm:g} mm, operator ready", problem, MATRIX_ROUNDS)
    cut = operator.device_csr(cutoff_mm=CUTOFF_MM)
    assert 0 < cut.nnz <= problem.pairs


def test_dose_and_adjoint(
    problem_with: Callable[[float], Problem], on_device: Callable[..., float], gpu_row: Callable[..., None]
) -> None:
    """All beams, 2.5 mm; the adjoint of random weights; beside cuSPARSE on the truncated matrix."""
    problem = problem_with(2.5)
    operator, fields = problem.operator, device_fields(problem)
    kernels = operator.backend.kernels
    x, w = (kernels.to_device(a.astype(np.float32)) for a in (problem.fluence, problem.weights))
    ours = on_device(
        lambda: (device_dose(operator, fields), device_adjoint(operator, w)), "dose + adjoint, 2.5 mm", problem
    )
    gpu_row("dose + adjoint", 1e3 * ours)
    matrix = operator.device_csr(cutoff_mm=CUTOFF_MM)
    back = matrix.T.tocsr()
    text = f"dose + adjoint by cuSPARSE, 2.5 mm, cut at {CUTOFF_MM:g} mm, {matrix.nnz / 1e6:.3g} million entries"
    gpu_row("cuSPARSE", on_device(lambda: (matrix @ x, back @ w), text, problem) / ours)
    dose = kernels.to_host(device_dose(operator, fields))
    assert np.abs(dose - operator.dose(problem.fluence)).max() <= 2e-6 * dose.max()
    # What is cut off is missing in the products of the matrix, and nothing else.
    assert np.all(kernels.to_host(matrix @ x) <= dose + 1e-4 * dose.max())


def test_rows(size: str, problem: Problem, on_device: Callable[..., float], gpu_row: Callable[..., None]) -> None:
    """Rows of random voxels for about 1200 beamlets, in float32."""
    shape, beams, _ = SIZES[size]
    grid = centred_grid(shape, 3.0)
    chosen = np.sort(np.random.default_rng(1).permutation(grid.size)[:ROWS])
    some = problem_of(grid, beams=beams, diameter_mm=ROWS_DIAMETER_MM[size], voxels=chosen, backend="cupy")
    operator, every = some.operator, np.arange(chosen.size)
    kernels = operator.backend.kernels
    made = kernels.zeros(operator.shape, np.float32)
    gpu_row("rows", 1e3 * on_device(lambda: operator._fill_rows(every, made), f"rows of {chosen.size} voxels", some))
    assert np.abs(kernels.to_host(made) - operator.rows(every)).max() <= 1e-7 * operator.rows(every).max()


def test_matrix_of_pyradplan(request: pytest.FixtureRequest, problem: Problem, benchmark: Any, state: Any) -> None:
    """The matrix of TG119 by pyRadPlan's arrays of CuPy, wall time: the same case as in `test_bench_dose_peers`."""
    peer: Path | None = request.config.getoption("--gpu-peers")
    if peer is None:
        pytest.skip("pyRadPlan with CuPy runs in an environment of its own: --gpu-peers PYTHON")
    found = benchmark.pedantic(lambda: peers.load(peer, str(PEER_ROUNDS), "cupy"), rounds=1)
    density, beamlets, _ = peers.repeated(
        {key.removeprefix("matrix_"): value for key, value in found.items()}, float(found["matrix_bixel_mm"])
    )
    grid = peers.grid_of(*(found[f"matrix_dose_{name}"] for name in ("origin_mm", "spacing_mm", "shape")))
    voxels, cutoff_mm, backend = np.unique(found["matrix_rows"]), float(found["matrix_cutoff_mm"]), "cupy"
    seconds = []
    for _ in range(PEER_ROUNDS + 1):
        begin = time.perf_counter()
        ours = dose_influence(density, grid, beamlets, problem.operator.machine, voxels=voxels, backend=backend)
        ours.tocsr(cutoff_mm=cutoff_mm)
        seconds.append(time.perf_counter() - begin)
    text = f"TG119, {voxels.size} voxels, {beamlets.count} beamlets, cut at {cutoff_mm:g} mm, to the host"
    state(f"stored matrix by pyRadPlan {found['version']} with CuPy", float(found["matrix_wall_s"].min()), "s", text)
    state("stored matrix, ours", min(seconds[1:]), "s", text)
    assert found["matrix_arrays"] == "cupy"


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

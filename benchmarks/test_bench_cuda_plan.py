"""An optimisation and a whole plan with the dose and the solver on a GPU; skipped where no GPU can be used.

Measured with `test_bench_cuda`, which says how; both are wall times, after a run on a tiny case that compiles all.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from benchmarks.abdomen import abdomen_case
from benchmarks.abdomen_judging import judge, reference_dose
from dosecalc import select_backend
from dosecalc.errors import DeviceError
from dosecalc.phantom import write_synthetic_patient
from optimize.cli import DEMO_GRID_MM
from optimize.escalate import escalate
from optimize.job import Job, parse_targets
from optimize.plan_verb import run_plan
from optimize.solvers import DeviceAlgebra, algebra_beside

pytestmark = pytest.mark.cuda
SEED = 45990
"""That of docs/optimiser_benchmarks.md."""


@pytest.fixture(autouse=True)
def gpu_at_hand() -> None:
    """Else skipped with the reason."""
    try:
        select_backend("cupy")
    except DeviceError as error:
        pytest.skip(str(error))


def test_optimiser(benchmark: Any, size: str, state: Callable[..., None], gpu_row: Callable[..., None]) -> None:
    """A random abdomen of 365 thousand voxels and 1200 beamlets with 19 organ goals, its solver on the GPU."""
    if size == "tiny":
        pytest.skip("a whole optimisation is tried with --benchmark-enable only")
    algebra = algebra_beside(select_backend("cupy"))
    assert isinstance(algebra, DeviceAlgebra)
    warm = abdomen_case("tiny", 2, backend="cupy")
    escalate(warm.influence, warm.goals, algebra=algebra)
    case, seconds = abdomen_case("medium" if size == "full" else "tiny", SEED, backend="cupy"), []

    def timed() -> Any:
        begin = time.perf_counter()
        found = escalate(case.influence, case.goals, algebra=algebra)
        seconds.append(time.perf_counter() - begin)
        return found

    found = benchmark.pedantic(timed, rounds=1)
    state("optimisation", seconds[0], "s", f"{case.text}; {case.influence.backend.reason}")
    gpu_row("optimiser", seconds[0])
    assert {level.solver for level in found.levels} == {"INTERIOR_POINT"}
    assert judge(case, reference_dose(case, found.fluence)).worst_pct == 0.0


def test_plan(
    benchmark: Any, size: str, tmp_path: Path, state: Callable[..., None], gpu_row: Callable[..., None]
) -> None:
    """`dosecalc plan` of the demonstration's patient, from DICOM to the report, the second time."""
    if size == "tiny":
        pytest.skip("a whole plan is tried with --benchmark-enable only")
    patient, seconds = write_synthetic_patient(tmp_path / "patient"), []

    def timed(out: Path) -> None:
        begin = time.perf_counter()
        run_plan(
            Job(
                ct=tmp_path / "patient" / "ct",
                structures=tmp_path / "patient" / "rtstruct.dcm",
                targets=parse_targets([patient.target_name], ["GTV"], []),
                protocol="crlm_5fx",
                machine="generic_6mv",
                backend="cupy",
                out=out,
                dose_grid_mm=DEMO_GRID_MM,
            )
        )
        seconds.append(time.perf_counter() - begin)

    timed(tmp_path / "cold")
    benchmark.pedantic(lambda: timed(tmp_path / "warm"), rounds=1)
    state("demonstration's patient, from DICOM to the report, first time", seconds[0], "s", "backend cupy")
    state("demonstration's patient, from DICOM to the report, warm", seconds[1], "s", "backend cupy")
    gpu_row("plan", seconds[1])
    assert (tmp_path / "warm" / "report.html").exists()

"""One way to measure, what a record of a run holds, and the tables at the end of it.

Times are processor seconds of all threads of this process (`time.process_time`): on a machine that is shared they say
more than wall time. Nothing is measured when benchmarks only run to show that they work (``--benchmark-disable``, the
default of this project): then sizes are the smallest, and tests check counts and shapes.
"""

from __future__ import annotations

import os
import shutil
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numba
import pytest
from threadpoolctl import threadpool_limits

# Last, so that an installed package goes before the checkout: `benchmarks` itself is not installed.
sys.path.append(str(Path(__file__).resolve().parents[1]))

from benchmarks import gpu_table, tables
from benchmarks.cases import inhomogeneous_block
from benchmarks.records import Other, command_line, slim
from dosecalc import Volume

ROUNDS = 5
MEASURED = pytest.StashKey[list[dict[str, Any]]]()
GPU = pytest.StashKey[dict[str, str]]()
LOAD_AT_START = pytest.StashKey[tuple[float, float, float]]()


def pytest_addoption(parser: pytest.Parser) -> None:
    """Options of benchmarks that are measured."""
    group = parser.getgroup("benchmarks of this project")
    group.addoption("--full-size", action="store_true", help="the size of a clinical plan: 200 k voxels, nine beams")
    group.addoption("--threads", type=int, default=1, help="threads of numba and BLAS while measuring (default 1)")
    group.addoption("--abdomen-seed", type=int, help="of random abdomens (default: drawn)")
    group.addoption("--search-s", type=float, default=1800.0, help="seconds of the search for the best known plan")
    group.addoption("--limit-s", type=float, default=600.0, help="seconds of the solver of a baseline")
    group.addoption("--gpu-peers", type=Path, help="Python of an environment with pyRadPlan and CuPy")
    group.addoption("--peers", type=Path, help="Python of an environment with pyRadPlan (extra `peers`)")


def pytest_configure(config: pytest.Config) -> None:
    """A fresh list of what is measured."""
    config.stash[MEASURED] = []
    config.stash[GPU] = {}
    config.stash[LOAD_AT_START] = os.getloadavg()


@pytest.fixture(scope="session")
def size(request: pytest.FixtureRequest) -> str:
    """ "tiny" when nothing is measured, "full" on request, else "small"."""
    config = request.config
    if config.getoption("benchmark_disable") and not config.getoption("benchmark_enable"):
        return "tiny"
    return "full" if config.getoption("--full-size") else "small"


@pytest.fixture(scope="session")
def block() -> Volume:
    """The density that rays are traced through."""
    return inhomogeneous_block()


@pytest.fixture
def limited(request: pytest.FixtureRequest) -> Any:
    """The number of threads that ``--threads`` asks for, in numba and in BLAS, for the time of one test."""
    threads, before = request.config.getoption("--threads"), numba.get_num_threads()
    numba.set_num_threads(threads)
    with threadpool_limits(limits=threads):
        yield threads
    numba.set_num_threads(before)


@pytest.fixture
def measure(request: pytest.FixtureRequest, benchmark: Any, limited: int, size: str) -> Callable[..., Any]:
    """``measure(function, operation=..., problem=..., ...)``: time it, keep what was found, return its result.

    ``warm_up`` (default: the function itself) runs before anything is timed, so that compilation and first touch are
    left out. ``other`` is measured just before, and the ratio of processor seconds is kept; ``more`` is kept as it is.
    """

    def run(
        function: Callable[[], Any],
        *,
        operation: str,
        problem: str,
        count: float = 1,
        unit: str = "",
        rounds: int = ROUNDS,
        warm_up: Callable[[], Any] | None = None,
        other: Callable[[], Other] | None = None,
        more: dict[str, Any] | None = None,
    ) -> Any:
        if size == "tiny":
            if other is not None:
                other()
            return benchmark.pedantic(function, rounds=1)
        compared = other() if other is not None else None
        wall: list[float] = []
        (warm_up or function)()

        def timed() -> Any:
            began = time.perf_counter()
            result = function()
            wall.append(time.perf_counter() - began)
            return result

        result = benchmark.pedantic(timed, rounds=rounds)
        benchmark.extra_info.update(
            operation=operation, problem=problem, threads=limited, wall_s=statistics.median(wall), **(more or {})
        )
        if unit:
            benchmark.extra_info.update(count=count, unit=unit)
        if compared is not None:
            benchmark.extra_info.update(other=compared.name, other_cpu_s=compared.cpu_s, other_threads=compared.threads)
        _keep(request.config, benchmark)
        return result

    return run


@pytest.fixture
def state(request: pytest.FixtureRequest, benchmark: Any, size: str) -> Callable[..., None]:
    """``state(figure, value, unit, problem)``: keep a figure that is no processor time."""

    def keep(figure: str, value: float, unit: str, problem: str) -> None:
        if size != "tiny":
            benchmark.extra_info.setdefault("figures", []).append([figure, value, unit, problem])
            if len(benchmark.extra_info["figures"]) == 1:
                _keep(request.config, benchmark)

    return keep


@pytest.fixture
def gpu_row(request: pytest.FixtureRequest, benchmark: Any, size: str) -> Callable[..., None]:
    """``gpu_row(key, value)``: keep a row of `benchmarks.gpu_table`, which only the sizes it names are measured for."""

    def keep(key: str, value: float) -> None:
        asked = gpu_table.ROWS[key]
        if size == "full":
            benchmark.extra_info.setdefault("gpu_rows", []).append([key, value])
            request.config.stash[GPU].update(gpu())
        assert value > 0, asked.text

    return keep


def gpu() -> dict[str, str]:
    """What the times on a GPU depend on."""
    import cupy

    facts = cupy.cuda.runtime.getDeviceProperties(cupy.cuda.Device().id)
    driver, runtime = cupy.cuda.runtime.driverGetVersion(), cupy.cuda.runtime.runtimeGetVersion()
    said = {"driver": f"for CUDA {driver // 1000}.{driver % 1000 // 10}"}
    if shutil.which("nvidia-smi"):
        asked = ["nvidia-smi", "--query-gpu=driver_version", "--format=csv,noheader"]
        said["driver"] = subprocess.run(asked, check=True, capture_output=True, text=True).stdout.splitlines()[0]
    return {
        "name": facts["name"].decode(), "cupy": cupy.__version__, **said,
        "cuda": f"{runtime // 1000}.{runtime % 1000 // 10}",
    }  # fmt: skip


def _keep(config: pytest.Config, benchmark: Any) -> None:
    median = benchmark.stats.stats.median
    config.stash[MEASURED].append(
        {"name": benchmark.name, "stats": {"median": median}, "extra_info": benchmark.extra_info}
    )


@pytest.fixture
def cpu_seconds(size: str) -> Callable[..., float]:
    """``cpu_seconds(function, rounds=...)``: median over the rounds, for what an operation is compared with."""

    def run(function: Callable[[], Any], rounds: int = ROUNDS) -> float:
        seconds = []
        for _ in range(1 if size == "tiny" else rounds):
            began = time.process_time()
            function()
            seconds.append(time.process_time() - began)
        return statistics.median(seconds)

    return run


def pytest_benchmark_update_machine_info(config: pytest.Config, machine_info: dict[str, Any]) -> None:
    """What the times depend on, and no names of machines."""
    cpu = machine_info["cpu"]
    kept = {key: machine_info[key] for key in ("machine", "system", "python_version")}
    machine_info.clear()
    machine_info.update(
        **kept,
        cpu={"brand_raw": cpu.get("brand_raw", "unknown"), "count": os.cpu_count()},
        load_average={"start": config.stash[LOAD_AT_START], "end": os.getloadavg()},
        threads=config.getoption("--threads"),
    )


def pytest_benchmark_update_json(config: pytest.Config, output_json: dict[str, Any]) -> None:
    """The command goes in, and the GPU that was measured; what nobody reads again stays out."""
    if found := config.stash[GPU]:
        output_json["machine_info"]["gpu"] = found
    slim(output_json, command=command_line(config.invocation_params.args))


def pytest_terminal_summary(terminalreporter: Any, config: pytest.Config) -> None:
    """The tables of `python -m benchmarks.tables`, and each point behind the growth exponents."""
    found = config.stash[MEASURED]
    if found:
        terminalreporter.section("measured")
        terminalreporter.write_line(f"{config.getoption('--threads')} thread(s), load average at start and end "
                                    f"{config.stash[LOAD_AT_START][0]:.1f}, {os.getloadavg()[0]:.1f}")  # fmt: skip
        terminalreporter.write_line("\n\n".join(tables.sections(found, points=True)))

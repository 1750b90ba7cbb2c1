"""One measurement fixture and the table at the end of a run.

Processor seconds are those of all threads of this process (`time.process_time`). Nothing is reported when
benchmarks only run to show that they work (``--benchmark-disable``, the default of this project).
"""

from __future__ import annotations

import os
import platform
import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import pytest

ROUNDS = 5


@dataclass(frozen=True, slots=True)
class Row:
    """One measured operation.

    Attributes
    ----------
    operation, backend, problem : str
    wall_s, cpu_s : float
        Medians over the rounds.
    count : float
        How many `unit` one call handles.
    unit : str
        "pairs" are (voxel, beamlet) pairs of the whole problem, whether or not each one is visited.
    """

    operation: str
    backend: str
    problem: str
    wall_s: float
    cpu_s: float
    count: float
    unit: str


ROWS = pytest.StashKey[list[Row]]()


def pytest_addoption(parser: pytest.Parser) -> None:
    """``--full-size``: the size of a clinical plan instead of a small one."""
    parser.addoption("--full-size", action="store_true", help="benchmarks: 200 k voxels and nine beams")


def pytest_configure(config: pytest.Config) -> None:
    """A fresh list of rows for each run."""
    config.stash[ROWS] = []


@pytest.fixture(scope="session")
def size(request: pytest.FixtureRequest) -> str:
    """ "tiny" when nothing is measured, "full" on request, else "small"."""
    config = request.config
    if config.getoption("benchmark_disable") and not config.getoption("benchmark_enable"):
        return "tiny"
    return "full" if config.getoption("--full-size") else "small"


@pytest.fixture
def measure(request: pytest.FixtureRequest, benchmark: Any, size: str) -> Callable[..., Any]:
    """``measure(function, operation=..., backend=..., ...)``: time it, keep a row, return its result.

    The function runs once before it is timed, so that compilation and first touch are left out.
    """

    def run(
        function: Callable[[], Any],
        *,
        operation: str,
        backend: str,
        problem: str,
        count: float,
        unit: str = "pairs",
        rounds: int = ROUNDS,
    ) -> Any:
        wall: list[float] = []
        cpu: list[float] = []

        def timed() -> Any:
            began, used = time.perf_counter(), time.process_time()
            result = function()
            cpu.append(time.process_time() - used)
            wall.append(time.perf_counter() - began)
            return result

        if size == "tiny":
            return benchmark.pedantic(timed, rounds=1)
        result = benchmark.pedantic(timed, rounds=rounds, warmup_rounds=1)
        # The warm-up round comes first and is not counted.
        row = Row(operation, backend, problem, statistics.median(wall[1:]), statistics.median(cpu[1:]), count, unit)
        request.config.stash[ROWS].append(row)
        benchmark.extra_info.update(problem=problem, cpu_s=row.cpu_s, unit=unit, per_cpu_s=count / row.cpu_s)
        return result

    return run


def pytest_terminal_summary(terminalreporter: Any, config: pytest.Config) -> None:
    """The table: wall and processor time, rate per processor second, and how much slower NumPy is."""
    rows = config.stash[ROWS]
    if not rows:
        return
    write = terminalreporter.write_line
    terminalreporter.section("rates")
    write(f"{platform.machine()}, {os.cpu_count()} cores, Python {platform.python_version()}; medians")
    write("'numpy / own' compares processor seconds of the same operation in this run")
    for problem in dict.fromkeys(row.problem for row in rows):
        write(f"\n{problem}")
        write(_columns("operation", "backend", "wall ms", "CPU ms", "M per CPU s", "unit", "numpy / own"))
        for row in (r for r in rows if r.problem == problem):
            write(_line(row, rows))


def _line(row: Row, rows: list[Row]) -> str:
    numpy = [r.cpu_s for r in rows if (r.operation, r.problem, r.backend) == (row.operation, row.problem, "numpy")]
    ratio = f"{numpy[0] / row.cpu_s:.1f}" if numpy and row.backend == "numba" else ""
    rate = f"{row.count / row.cpu_s / 1e6:.3g}" if row.count > 1 else ""
    times = (f"{seconds * 1e3:.1f}" for seconds in (row.wall_s, row.cpu_s))
    return _columns(row.operation, row.backend, *times, rate, row.unit, ratio)


def _columns(*cells: str) -> str:
    return "{:<28}{:<9}{:>10}{:>10}{:>13}  {:<14}{:>11}".format(*cells)

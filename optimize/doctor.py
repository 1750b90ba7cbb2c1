"""What this machine can compute with: GPU, driver, wheels, the backend that `auto` takes, and a dose by each."""

from __future__ import annotations

import os
import platform
import time
from dataclasses import asdict, dataclass
from importlib.metadata import PackageNotFoundError, version
from typing import Any

import numpy as np
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from dosecalc.backend import NAMES, select_backend
from dosecalc.beams import Beam, open_field
from dosecalc.errors import DeviceError
from dosecalc.gpu import EXTRAS, GpuReport, extra_for, gpu_report
from dosecalc.grid import Grid, Volume
from dosecalc.influence import DoseInfluence, dose_influence
from dosecalc.machine import load_machine

PACKAGES = ("numpy", "scipy", "numba", "cvxpy", "clarabel", "cupy-cuda12x", "cupy-cuda13x")
MACHINE = "generic_6mv"
LARGEST_DIFFERENCE = 2e-4
"""Of the maximum, between the tables in float32 and the float64 reference; 9e-5 is usual."""


@dataclass(frozen=True, slots=True)
class BackendCheck:
    """A dose by one backend, beside the reference.

    Attributes
    ----------
    backend : str
    usable : bool
    note : str
        Why it was taken, or why it cannot be used and what to do.
    difference : float or None
        Largest difference from the float64 reference, as a share of the maximum dose.
    first_s, again_s : float or None
        From density to dose, the first time (with compilation where kernels are not kept yet) and once more.
    right : bool or None
        Whether the difference is no larger than tables in float32 explain.
    """

    backend: str
    usable: bool
    note: str
    difference: float | None = None
    first_s: float | None = None
    again_s: float | None = None
    right: bool | None = None


@dataclass(frozen=True, slots=True)
class Health:
    """All that `dosecalc doctor` says.

    Attributes
    ----------
    version, python, system : str
    cores : int
    packages : dict
        Versions of what the speed depends on; those that are not installed are left out.
    gpu : GpuReport
    auto : str
        The backend that `auto` takes.
    auto_reason : str
    wheel : str or None
        The extra whose CuPy wheel fits the driver.
    checks : tuple of BackendCheck
    """

    version: str
    python: str
    system: str
    cores: int
    packages: dict[str, str]
    gpu: GpuReport
    auto: str
    auto_reason: str
    wheel: str | None
    checks: tuple[BackendCheck, ...]

    @property
    def wrong(self) -> tuple[str, ...]:
        """Backends whose dose is not right."""
        return tuple(check.backend for check in self.checks if check.right is False)


def examine() -> Health:
    """Ask the driver, choose a backend, and compute a small dose by every backend."""
    gpu, auto = gpu_report(), select_backend("auto")
    return Health(
        version=_version("dosecalc") or "unknown",
        python=platform.python_version(),
        system=f"{platform.system()} {platform.release()}, {platform.machine()}",
        cores=os.cpu_count() or 1,
        packages={name: found for name in PACKAGES if (found := _version(name))},
        gpu=gpu,
        auto=auto.name,
        auto_reason=auto.reason,
        wheel=extra_for(gpu.driver_cuda),
        checks=tuple(_check(name) for name in NAMES if name != "auto"),
    )


def health_record(health: Health) -> dict[str, Any]:
    """The same as plain values."""
    return {**asdict(health), "self_test": "failed" if health.wrong else "passed", "wrong": list(health.wrong)}


def _check(name: str) -> BackendCheck:
    try:
        backend = select_backend(name)
    except DeviceError as error:
        return BackendCheck(name, False, str(error))
    begin = time.perf_counter()
    operator = _water_box(name)
    dose = operator.dose(np.ones(operator.beamlets.count))
    middle = time.perf_counter()
    _water_box(name).dose(np.ones(operator.beamlets.count))
    end = time.perf_counter()
    reference = _water_box("numpy", "reference").dose(np.ones(operator.beamlets.count))
    difference = float(np.abs(dose - reference).max() / reference.max())
    right = bool(difference <= LARGEST_DIFFERENCE)  # False for NaN
    return BackendCheck(name, True, backend.reason, difference, middle - begin, end - middle, right)


def _water_box(backend: str, precision: Any = "float32") -> DoseInfluence:
    """Two crossing beams on a box of water with an insert of lung density."""
    grid = Grid((-45.0, -45.0, -45.0), (5.0, 5.0, 5.0), (19, 19, 19))
    density = np.ones(grid.shape, np.float32)
    density[4:9, 4:9, 10:15] = 0.26
    field = open_field(Beam(0.0), x_mm=(-15, 15), y_mm=(-15, 15), width_mm=5)
    field = field + open_field(Beam(70.0, 10.0), x_mm=(-15, 10), y_mm=(-10, 15), width_mm=5)
    return dose_influence(
        Volume(grid, density), grid, field, load_machine(MACHINE), backend=backend, precision=precision
    )


def _version(name: str) -> str | None:
    try:
        return version(name)
    except PackageNotFoundError:
        return None


def print_health(console: Console, health: Health) -> None:
    """The verdict first, then what it rests on."""
    console.print(_verdict(health), highlight=False, soft_wrap=True)
    facts = Table(show_header=False, box=None, padding=(0, 2, 0, 0))
    facts.add_column(no_wrap=True, style="bold")
    facts.add_column(overflow="fold")
    for name, text in _facts(health):
        facts.add_row(name, escape(text))
    console.print(facts)
    table = Table(title="Self-test: a box of water with lung, against the float64 reference")
    for column in ("backend", "result", "largest difference", "first time", "again"):
        table.add_column(column)
    for check in health.checks:
        table.add_row(*_row(check))
    console.print(table)


def _verdict(health: Health) -> str:
    if health.wrong:
        return f"[red]The dose of {', '.join(health.wrong)} is wrong on this machine: do not use it.[/red]"
    return f"[green]All is well.[/green] Plans are computed by {health.auto}."


def _facts(health: Health) -> list[tuple[str, str]]:
    gpu = health.gpu
    driver = "none found" if gpu.driver_cuda is None else "supports CUDA {}.{}".format(*gpu.driver_cuda)
    gpus = "; ".join(
        f"{g.name}, {g.memory_gib:.0f} GiB, compute capability {g.compute_capability[0]}.{g.compute_capability[1]}"
        for g in gpu.gpus
    )
    return [
        ("dosecalc", f"{health.version}, Python {health.python}, {health.system}, {health.cores} cores"),
        ("packages", ", ".join(f"{name} {number}" for name, number in health.packages.items())),
        ("auto takes", f"{health.auto} ({health.auto_reason})"),
        ("NVIDIA driver", driver),
        ("GPU", gpus or "none found"),
        ("CuPy wheel", _wheel(health)),
        ("GPU usable", _usable(health)),
    ]


def _usable(health: Health) -> str:
    """What is missing for the GPU, or what CuPy said when it was tried."""
    if health.gpu.missing:
        return f"no: {health.gpu.missing}. {health.gpu.remedy}"
    refused = [check.note for check in health.checks if check.backend == "cupy" and not check.usable]
    return f"no: {refused[0]}" if refused else "yes, by --backend cupy"


def _wheel(health: Health) -> str:
    installed = [name for name in health.packages if name.startswith("cupy-")]
    if len(installed) > 1:
        return f"{' and '.join(installed)} are both installed and overwrite each other: uninstall both, install one"
    here = f"{installed[0]} is installed" if installed else "not installed"
    if health.wheel is None:
        either = " or ".join(f'"dosecalc[{extra}]"' for extra in sorted(EXTRAS.values()))
        return f"{here}; which one ({either}) depends on the driver"
    return f'{here}; this driver takes pip install "dosecalc[{health.wheel}]"'


def _row(check: BackendCheck) -> tuple[str, ...]:
    if check.difference is None or check.first_s is None or check.again_s is None:
        return check.backend, "not usable here", "", "", ""
    result = "[green]right[/green]" if check.right else "[red]WRONG[/red]"
    share = f"{check.difference:.1e} of the maximum"
    return check.backend, result, share, f"{check.first_s:.2f} s", f"{check.again_s:.2f} s"

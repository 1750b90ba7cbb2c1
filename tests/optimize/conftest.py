"""The small case, written as DICOM and planned once, and a way to run the command line in this process."""

from __future__ import annotations

import contextlib
import io
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from unittest import mock

import pytest

from dosecalc.density import to_density
from dosecalc.influence import DoseInfluence, dose_influence
from optimize.cli import main
from optimize.goals import PlanGoals, resolve_goals
from optimize.planning import Plan

from .small_case import ACCEPTED, Patient, load_protocol, make_plan, write_patient


@dataclass(frozen=True, slots=True)
class Finished:
    """What a command left: exit code and both streams."""

    code: int
    out: str
    err: str


Run = Callable[..., Finished]


def run_cli(*arguments: str | Path) -> Finished:
    """`dosecalc ...` in this process."""
    out, err = io.StringIO(), io.StringIO()
    argv = ["dosecalc", *map(str, arguments)]
    with (
        contextlib.redirect_stdout(out),
        contextlib.redirect_stderr(err),
        mock.patch.object(sys, "argv", argv),
        pytest.raises(SystemExit) as ended,
    ):
        main()
    code = ended.value.code
    return Finished(code if isinstance(code, int) else int(code is not None), out.getvalue(), err.getvalue())


@pytest.fixture(scope="session")
def dosecalc() -> Run:
    return run_cli


@pytest.fixture(scope="session")
def patient(tmp_path_factory: pytest.TempPathFactory) -> Patient:
    return write_patient(tmp_path_factory.mktemp("patient"))


@pytest.fixture(scope="session")
def planned(patient: Patient, machine: object, tmp_path_factory: pytest.TempPathFactory) -> Plan:
    return make_plan(patient, load_protocol(tmp_path_factory.mktemp("protocol")), machine)


@pytest.fixture(scope="session")
def problem(planned: Plan) -> tuple[DoseInfluence, PlanGoals]:
    """The operator on every voxel that has dose, and the goals of the small case."""
    grid = planned.dose.grid
    voxels = planned.anatomy.structures["Body"].on(grid).indices
    density = to_density(planned.ct.volume, planned.machine.calibration)
    influence = dose_influence(density, grid, planned.beamlets, planned.machine, voxels=voxels, backend="numpy")
    goals = resolve_goals(planned.protocol, planned.anatomy.structures, grid, voxels, skip=frozenset(ACCEPTED))
    return influence, goals

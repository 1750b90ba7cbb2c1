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

from optimize.cli import main
from optimize.planning import Plan

from .small_case import Patient, load_protocol, make_plan, write_patient


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

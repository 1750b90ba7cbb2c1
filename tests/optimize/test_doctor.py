"""What `dosecalc doctor` says of a machine without a GPU, with one, and of a backend whose dose is wrong."""

from __future__ import annotations

import dataclasses
import io
import json

import pytest
from rich.console import Console
from typer.testing import CliRunner

from dosecalc.backend import select_backend
from dosecalc.errors import DeviceError
from dosecalc.gpu import Gpu, GpuReport
from optimize import doctor
from optimize.cli import app

NO_DRIVER = GpuReport(None, (), False, "there is no NVIDIA driver (libcuda.so.1 is not found)", "Have it installed.")
NO_CUPY = GpuReport(
    (12, 8), (Gpu("NVIDIA H200", 140.4, (9, 0)),), False, "CuPy is not installed", 'pip install "dosecalc[cuda12]"'
)


@pytest.fixture(scope="module")
def health():
    """Of this machine, as if it had no driver and NumPy alone: the fastest to compute."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(doctor, "gpu_report", lambda: NO_DRIVER)
        patch.setattr(doctor, "NAMES", ("auto", "numpy", "cupy"))
        patch.setattr(doctor, "select_backend", without_a_gpu)
        yield doctor.examine()


def without_a_gpu(name="auto"):
    if name == "cupy":
        raise DeviceError(f"backend 'cupy' cannot be used: {NO_DRIVER.missing}.", remedy=NO_DRIVER.remedy)
    return select_backend("numpy" if name == "auto" else name)


def printed(health) -> str:
    console = Console(record=True, width=140, file=io.StringIO())
    doctor.print_health(console, health)
    return console.export_text()


def test_without_a_gpu_all_is_well_and_it_says_what_is_missing(health):
    text = printed(health)
    assert text.startswith("All is well. Plans are computed by numpy.")
    assert "there is no NVIDIA driver (libcuda.so.1 is not found). Have it installed." in text
    assert "not usable here" in text
    (numpy, cupy) = health.checks
    assert numpy.right and 1e-7 < numpy.difference <= doctor.LARGEST_DIFFERENCE
    assert (cupy.usable, cupy.difference, cupy.right) == (False, None, None)


def test_a_gpu_without_cupy_names_the_wheel(health):
    text = printed(dataclasses.replace(health, gpu=NO_CUPY, wheel="cuda12"))
    assert "supports CUDA 12.8" in text
    assert "NVIDIA H200, 140 GiB, compute capability 9.0" in text
    assert 'not installed; this driver takes pip install "dosecalc[cuda12]"' in text


def test_two_wheels_are_a_fault(health):
    both = {**health.packages, "cupy-cuda12x": "13.6.0", "cupy-cuda13x": "14.2.0"}
    assert "uninstall both, install one" in printed(dataclasses.replace(health, packages=both))


def test_a_gpu_whose_libraries_fail_is_not_called_usable(health):
    """Driver, GPU and wheel are there, and yet a kernel or a library did not start: the reason is printed."""
    there = GpuReport((12, 8), NO_CUPY.gpus, True, "", "")
    failed = dataclasses.replace(health.checks[1], note="CuPy is installed but fails on this GPU (libcusolver).")
    ill = dataclasses.replace(health, gpu=there, checks=(health.checks[0], failed))
    assert "no: CuPy is installed but fails on this GPU (libcusolver)." in " ".join(printed(ill).split())
    works = dataclasses.replace(failed, usable=True)
    assert "yes, by --backend cupy" in printed(dataclasses.replace(ill, checks=(health.checks[0], works)))


def test_a_wrong_dose_is_told_and_refused(health, monkeypatch):
    wrong = dataclasses.replace(health.checks[0], backend="cupy", difference=0.03, right=False)
    ill = dataclasses.replace(health, checks=(health.checks[0], wrong))
    assert printed(ill).startswith("The dose of cupy is wrong on this machine: do not use it.")
    monkeypatch.setattr(doctor, "examine", lambda: ill)
    ended = CliRunner().invoke(app, ["doctor", "--json"])
    assert json.loads(ended.stdout)["wrong"] == ["cupy"]
    assert "off by more than tables in float32 explain" in str(ended.exception)
    assert ended.exception.exit_code == 10


def test_the_command_prints_a_record(health, monkeypatch):
    monkeypatch.setattr(doctor, "examine", lambda: health)
    record = json.loads(CliRunner().invoke(app, ["doctor", "--json"]).stdout)
    assert (record["self_test"], record["auto"], record["gpu"]["missing"]) == ("passed", "numpy", NO_DRIVER.missing)
    assert [check["backend"] for check in record["checks"]] == ["numpy", "cupy"]

"""What is said of a machine without a usable GPU: which part is missing, and what to do about it."""

from __future__ import annotations

import ctypes
import sys
from types import SimpleNamespace

import pytest

from dosecalc import backend, gpu
from dosecalc.errors import DeviceError

H200 = ("NVIDIA H200", 141 * 2**30, (9, 0))


def fake_driver(version=13000, start=0, gpus=(H200,)) -> SimpleNamespace:
    """The functions of libcuda that are asked, for a machine with these GPUs."""

    def put(pointer, kind, value) -> int:
        ctypes.cast(pointer, ctypes.POINTER(kind))[0] = value
        return 0

    def name(buffer, length, device) -> int:
        buffer.value = gpus[device.value][0].encode()
        return 0

    return SimpleNamespace(
        cuDriverGetVersion=lambda at: put(at, ctypes.c_int, version),
        cuInit=lambda flags: start,
        cuDeviceGetCount=lambda at: put(at, ctypes.c_int, len(gpus)),
        cuDeviceGet=lambda at, index: put(at, ctypes.c_int, index),
        cuDeviceGetName=name,
        cuDeviceTotalMem_v2=lambda at, device: put(at, ctypes.c_size_t, gpus[device.value][1]),
        cuDeviceGetAttribute=lambda at, which, device: put(at, ctypes.c_int, gpus[device.value][2][which - 75]),
    )


@pytest.fixture
def machine_with(monkeypatch):
    """``machine_with(driver, cupy=False)``: this machine has that driver, and CuPy or not."""

    def pretend(driver, *, cupy=False) -> None:
        def library(name):
            assert name == gpu.DRIVER
            if driver is None:
                raise OSError("cannot open shared object file")
            return driver

        monkeypatch.setattr(gpu.ctypes, "CDLL", library)
        monkeypatch.setattr(gpu.importlib.util, "find_spec", lambda name: SimpleNamespace() if cupy else None)
        backend._cupy.cache_clear()

    yield pretend
    backend._cupy.cache_clear()


@pytest.mark.parametrize(
    ("driver", "missing", "remedy"),
    [
        (None, "no NVIDIA driver", "driver installed"),
        (fake_driver(start=999), "does not start (cuInit: error 999)", "nvidia-smi"),
        (fake_driver(start=100), "sees no GPU", "CUDA_VISIBLE_DEVICES"),
        (fake_driver(gpus=()), "sees no GPU", "CUDA_VISIBLE_DEVICES"),
        (fake_driver(version=11080), "supports CUDA 11.8 at most; CUDA 12 is needed", "driver updated"),
        (fake_driver(version=12080), "CuPy is not installed", 'pip install "dosecalc[cuda12]"'),
        (fake_driver(version=13010), "CuPy is not installed", 'pip install "dosecalc[cuda13]"'),
        (fake_driver(version=14000), "CuPy is not installed", 'pip install "dosecalc[cuda13]"'),
    ],
)
def test_cupy_by_name_says_what_is_missing(machine_with, driver, missing, remedy):
    machine_with(driver)
    with pytest.raises(DeviceError) as caught:
        backend.select_backend("cupy")
    assert caught.value.exit_code == 31
    assert missing in str(caught.value)
    assert remedy in str(caught.value)
    assert "--backend auto, numba or numpy" in str(caught.value)


def test_a_wheel_that_fails_is_named(machine_with, monkeypatch):
    """Driver, GPU and CuPy are there, but CuPy does not work, as when it was made for another CUDA version."""
    machine_with(fake_driver(), cupy=True)
    monkeypatch.setitem(sys.modules, "cupy", None)
    with pytest.raises(DeviceError, match=r"CuPy is installed but fails on this GPU.*dosecalc doctor"):
        backend.select_backend("cupy")


def test_gpus_are_described(machine_with):
    machine_with(fake_driver(version=12090, gpus=(H200, ("NVIDIA A100", 40 * 2**30, (8, 0)))), cupy=True)
    found = gpu.gpu_report()
    assert (found.driver_cuda, found.missing, found.cupy) == ((12, 9), "", True)
    assert [(g.name, g.memory_gib, g.compute_capability) for g in found.gpus] == [
        ("NVIDIA H200", 141.0, (9, 0)),
        ("NVIDIA A100", 40.0, (8, 0)),
    ]


def test_a_run_must_cover_what_it_declares(monkeypatch):
    """A declared backend that is missing fails; one that is not declared is skipped; a misspelt one fails."""
    from ..backends import VARIABLE, absent

    monkeypatch.setenv(VARIABLE, "numpy, numba")
    with pytest.raises(pytest.skip.Exception, match="no GPU"):
        absent("cupy", "no GPU")
    monkeypatch.setenv(VARIABLE, "numpy,cupy")
    with pytest.raises(pytest.fail.Exception, match="declares 'cupy'"):
        absent("cupy", "no GPU")
    monkeypatch.setenv(VARIABLE, "cuda_shim")
    with pytest.raises(pytest.fail.Exception, match="cuda-shim"):
        absent("cupy", "no GPU")

"""What calls CuPy, run without a GPU: the device, the backend of that name, `doctor`, and the benchmarks of a GPU."""

from __future__ import annotations

import sys

import numpy as np
import pytest

from dosecalc.backend import select_backend
from dosecalc.errors import DeviceError
from optimize import doctor

from ..backends import backend_named
from . import stand_in_cupy


@pytest.fixture
def cupy(request, monkeypatch):
    """``backend="cupy"`` runs on the stand-in."""
    folder = backend_named("cuda-shim", request).kernels.device.folder
    device = stand_in_cupy.install(monkeypatch, folder)
    yield device
    monkeypatch.undo()
    stand_in_cupy.backend._cupy.cache_clear()


def test_the_backend_tries_a_kernel_and_says_what_it_runs_on(cupy):
    found = select_backend("cupy")
    assert found.reason == "asked for by name; a stand-in, 1 GiB, sm_90; CuPy 0 (a stand-in), CUDA 12.9"
    assert found.on_device and found.block_pairs == 64_000_000
    assert set(cupy.launched) == {"field_lines", "field_maps"}


def test_a_library_that_is_missing_fails_at_once(cupy, monkeypatch):
    """cuBLAS or cuSOLVER, which the wheel does not hold: not after minutes, in the solver."""

    def missing(matrix):
        raise ImportError("libcusolver.so.11: cannot open shared object file")

    monkeypatch.setattr(sys.modules["cupy"].linalg, "cholesky", missing)
    with pytest.raises(DeviceError, match=r"ImportError: libcusolver.*NVIDIA's libraries") as caught:
        select_backend("cupy")
    assert caught.value.exit_code == 31


def test_the_doctor_computes_a_right_dose_with_it(cupy):
    check = doctor._check("cupy")
    assert check.right and check.difference < doctor.LARGEST_DIFFERENCE
    assert {"trace", "component_weights", "gather"} <= set(cupy.launched)


def test_the_matrix_is_one_of_cupy(cupy):
    """int32 columns and pointers, given without a copy; its product is the dose."""
    operator = doctor._water_box("cupy")
    matrix = operator.device_csr()
    x = select_backend("cupy").kernels.to_device(np.ones(matrix.shape[1], np.float32))
    dose = operator.dose(np.ones(matrix.shape[1]))
    assert np.abs((matrix @ x).get() - dose).max() < 5e-6 * dose.max()

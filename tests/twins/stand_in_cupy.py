"""CuPy's names on this CPU, so that what calls CuPy runs without a GPU: as strict as CuPy where a mistake would show.

`install` puts it in place of `cupy` and `cupyx`; kernels are those of the shim. As a plugin of pytest (``-p
tests.twins.stand_in_cupy``) it does so for a whole run: the benchmarks of a GPU are tried with it. Nothing here knows
what a GPU rounds or how long it takes.
"""

from __future__ import annotations

import sys
import time
from pathlib import Path
from types import ModuleType, SimpleNamespace

import numpy as np
import pytest
from scipy import sparse

from dosecalc import backend
from dosecalc.gpu import Gpu, GpuReport
from dosecalc.kernels.cuda_source import source

from .device_array import DeviceArray, ErrorState, numbers, on_device, solve_triangular
from .shim_device import MOST_SHARED, ShimDevice

PLAIN_SHARED = 48 * 1024
REPORT = GpuReport((12, 9), (Gpu("a stand-in", 1.0, (9, 0)),), True, "", "")


class RawKernel:
    """One entry point, launched as CuPy launches it."""

    def __init__(self, device, name, options):
        told = dict(option.removeprefix("-D").split("=") for option in options if option.startswith("-D"))
        self.device, self.name = device, name
        self.real, self.components = {"float": np.float32, "double": np.float64}[told["REAL"]], int(told["COMPONENTS"])
        self.max_dynamic_shared_size_bytes = PLAIN_SHARED

    def __call__(self, grid, block, args, *, shared_mem=0):
        assert isinstance(grid, tuple) and isinstance(block, tuple) and 1 <= len(grid) <= 3
        (given,) = args
        assert isinstance(given, np.ndarray) and given.size == 1, "CuPy gives arrays of size one by value, no others"
        assert all(type(size) is int and size > 0 for size in (*grid, *block)), (grid, block)
        assert shared_mem <= self.max_dynamic_shared_size_bytes <= MOST_SHARED, "too much shared memory"
        self.device.launch(self.name, self.real, self.components, grid, block, given, shared_mem)


class RawModule:
    """The shipped source, compiled when a kernel is asked for."""

    device: ShimDevice

    def __init__(self, *, code, options):
        assert code == source() and isinstance(options, tuple)
        self.options = options

    def get_function(self, name):
        return RawKernel(self.device, name, self.options)


class Event:
    """A point in time."""

    def record(self):
        self.at = time.perf_counter()

    def synchronize(self):
        assert self.at


class CsrMatrix:
    """`cupyx.scipy.sparse.csr_matrix` as far as it is used."""

    def __init__(self, given, shape=None):
        if not sparse.issparse(given):
            assert all(type(part) is DeviceArray for part in given), "not on the device"
            assert given[1].dtype == given[2].dtype == np.int32
            given = sparse.csr_array(tuple(map(numbers, given)), shape=shape)
        self.held, self.shape, self.nnz = sparse.csr_array(given), given.shape, given.nnz
        self.data, self.T = on_device(self.held.data), SimpleNamespace(tocsr=lambda: CsrMatrix(self.held.T.tocsr()))

    def __matmul__(self, x):
        return on_device(self.held @ numbers(x))

    def get(self):
        return self.held


def cupy_module(device: ShimDevice) -> dict[str, ModuleType]:
    """The modules by name."""
    xp = device.xp
    cupy = ModuleType("cupy")
    for name in (name for name in dir(xp) if not name.startswith("_")):
        setattr(cupy, name, getattr(xp, name))
    cupy.asnumpy, cupy.__version__ = device.to_host, "0 (a stand-in)"
    cupy.RawModule = type("RawModule", (RawModule,), {"device": device})
    cupy.get_default_memory_pool = lambda: SimpleNamespace(free_bytes=lambda: 0, free_all_blocks=device.release)
    facts = {"name": b"a stand-in", "totalGlobalMem": 2**30, "major": 9, "minor": 0}
    this = SimpleNamespace(
        id=0, attributes={"MaxSharedMemoryPerBlockOptin": MOST_SHARED}, synchronize=lambda: None,
        mem_info=(device.free_bytes(), 2**40),
    )  # fmt: skip
    runtime = SimpleNamespace(
        getDevice=lambda: 0,
        getDeviceProperties=lambda number: facts,
        runtimeGetVersion=lambda: 12090,
        driverGetVersion=lambda: 12090,
    )
    elapsed_ms = staticmethod(lambda begin, end: 1e3 * (end.at - begin.at))
    cupy.cuda = SimpleNamespace(Device=lambda: this, Event=Event, get_elapsed_time=elapsed_ms, runtime=runtime)
    csr, linalg = ModuleType("cupyx.scipy.sparse"), ModuleType("cupyx.scipy.linalg")
    csr.csr_matrix, linalg.solve_triangular = CsrMatrix, solve_triangular
    folders = {name: ModuleType(name) for name in ("cupyx", "cupyx.scipy")}
    folders["cupyx"].errstate = ErrorState
    return {"cupy": cupy, **folders, csr.__name__: csr, linalg.__name__: linalg}


def install(patch: pytest.MonkeyPatch, folder: Path) -> ShimDevice:
    """Let ``backend="cupy"`` run on the stand-in; compiled kernels are kept in the folder."""
    device = ShimDevice(folder)
    for name, module in cupy_module(device).items():
        patch.setitem(sys.modules, name, module)
    patch.delitem(sys.modules, "dosecalc.kernels.cupy_device", raising=False)
    patch.setattr(backend, "gpu_report", lambda: REPORT)
    backend._cupy.cache_clear()
    return device


def pytest_configure(config: pytest.Config) -> None:
    """For a whole run."""
    patch = pytest.MonkeyPatch()
    install(patch, Path(config.cache.mkdir("cuda_shim")))
    config.add_cleanup(patch.undo)

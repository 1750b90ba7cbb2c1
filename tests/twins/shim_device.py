"""The CUDA kernels on a CPU: the same source, compiled by a C++ compiler through cuda_shim.h."""

from __future__ import annotations

import ctypes
import hashlib
import os
import shutil
import subprocess
from pathlib import Path

import numpy as np

from dosecalc.kernels.cuda_kernels import CudaKernels
from dosecalc.kernels.cuda_source import entry_points, options, source

HEADER = Path(__file__).with_name("cuda_shim.h")
COMPILER = os.environ.get("CXX", "g++")
MOST_SHARED = 227 * 1024
FAULTS = {1: "threads wait at a barrier that others of their block never reach", 2: "the launch is beyond the device"}


def missing() -> str:
    """Why the shim cannot be built here, or nothing."""
    return "" if shutil.which(COMPILER) else f"there is no C++ compiler {COMPILER!r}"


def build(folder: Path, real: str, components: int) -> Path:
    """The compiled kernels; built again only when their source has changed."""
    text = "\n".join(['#include "cuda_shim.h"', source(), *(f"SHIM_ENTRY({name})" for name in entry_points())])
    flags = [*options(real, components), "-O1", "-Wall", "-Werror", "-Wno-unknown-pragmas", "-U_FORTIFY_SOURCE"]
    key = hashlib.sha256("\n".join([text, HEADER.read_text(encoding="utf-8"), *flags]).encode()).hexdigest()[:16]
    library = folder / f"kernels_{key}.so"
    if not library.exists():
        made = folder / f"{library.stem}.{os.getpid()}.so"
        command = [COMPILER, *flags, "-fPIC", "-shared", f"-I{HEADER.parent}", "-x", "c++", "-", "-o", str(made)]
        subprocess.run(command, input=text, text=True, check=True)
        made.replace(library)
    return library


class DeviceArray(np.ndarray):
    """Memory "on the device": as in CuPy, it does not mix with NumPy's arrays."""

    def __array_ufunc__(self, ufunc, method, *inputs, **kwargs):
        given = (*inputs, *kwargs.get("out", ()))
        if any(type(a) is np.ndarray and a.ndim for a in given):
            raise TypeError(f"{ufunc.__name__} of an array on the device and one on the host")
        plain = {**kwargs, **({"out": tuple(map(_plain, kwargs["out"]))} if "out" in kwargs else {})}
        result = getattr(ufunc, method)(*map(_plain, inputs), **plain)
        return kwargs["out"][0] if "out" in kwargs else _on_device(result)


def _plain(value):
    return value.view(np.ndarray) if isinstance(value, DeviceArray) else value


def _on_device(value):
    return value.view(DeviceArray) if isinstance(value, np.ndarray) else value


class _Functions:
    """The functions of `Device.xp`."""

    arange = staticmethod(lambda *args, **kwargs: _on_device(np.arange(*args, **kwargs)))
    ascontiguousarray = staticmethod(lambda a: _on_device(np.ascontiguousarray(a)))
    empty = staticmethod(lambda shape, dtype: _full_of_nan(shape, dtype))
    zeros = staticmethod(lambda shape, dtype: _on_device(np.zeros(shape, dtype)))
    broadcast_to = staticmethod(lambda a, shape: _on_device(np.broadcast_to(_plain(a), shape)))
    argsort = staticmethod(lambda a, kind: _on_device(np.argsort(_plain(a), kind=kind)))
    searchsorted = staticmethod(lambda a, v: _on_device(np.searchsorted(_plain(a), _plain(v))))

    @staticmethod
    def asarray(a, dtype=None):
        if isinstance(a, DeviceArray):
            return a if dtype is None or a.dtype == dtype else _on_device(_plain(a).astype(dtype))
        return _on_device(np.array(a, dtype=dtype))


def _full_of_nan(shape, dtype):
    """What was never written is seen."""
    return _on_device(np.full(shape, np.nan if np.issubdtype(dtype, np.floating) else -77, dtype))


class _Launch(ctypes.Structure):
    _fields_ = (
        ("blocks", ctypes.c_int * 3),
        ("threads", ctypes.c_int * 3),
        ("shared", ctypes.c_int),
        ("backwards", ctypes.c_int),
    )


class ShimDevice:
    """A `Device` that runs the kernels in this process; `backwards` runs blocks and threads in the opposite order."""

    xp = _Functions
    most_shared = MOST_SHARED

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.backwards = False
        self.launched: set[str] = set()
        self._libraries: dict[tuple[str, int], ctypes.CDLL] = {}

    def launch(self, kernel, real, components, blocks, threads, arguments, shared):
        threads = threads if isinstance(threads, tuple) else (threads,)
        how = _Launch(_three(blocks), _three(threads), shared, self.backwards)
        held = [_address(argument) for argument in arguments]
        pointers = (ctypes.c_void_p * len(held))(*(ctypes.addressof(value) for value in held))
        fault = getattr(self._library(np.dtype(real).name, components), f"run_{kernel}")(ctypes.byref(how), pointers)
        assert fault == 0, f"{kernel}: {FAULTS[fault]}"
        self.launched.add(kernel)

    def to_host(self, array):
        assert isinstance(array, DeviceArray), "not on the device"
        return np.array(_plain(array))

    def _library(self, real: str, components: int) -> ctypes.CDLL:
        key = real, components
        if key not in self._libraries:
            self._libraries[key] = ctypes.CDLL(str(build(self.folder, real, components)))
        return self._libraries[key]


def _three(size):
    return (ctypes.c_int * 3)(*size, *[1] * (3 - len(size)))


def _address(argument):
    if isinstance(argument, DeviceArray):
        return ctypes.c_void_p(argument.ctypes.data)
    kinds = {"int32": ctypes.c_int32, "int64": ctypes.c_int64, "float64": ctypes.c_double}
    assert not isinstance(argument, np.ndarray), "an array on the host was given to a kernel"
    return kinds[argument.dtype.name](argument.item())


def shim_kernels(folder: Path) -> CudaKernels:
    """The kernels of the CUDA path on this CPU."""
    return CudaKernels(ShimDevice(folder))

"""The CUDA kernels on a CPU: the same source, compiled by a C++ compiler through cuda_shim.h."""

from __future__ import annotations

import ctypes
import hashlib
import os
import shutil
import subprocess
from collections import Counter
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from scipy import sparse

from dosecalc.kernels.cuda_kernels import CudaKernels
from dosecalc.kernels.cuda_source import entry_points, options, source

from .device_array import DeviceArray, Functions, Room

HEADER = Path(__file__).with_name("cuda_shim.h")
COMPILER = os.environ.get("CXX", "g++")
MORE_FLAGS = os.environ.get("DOSECALC_SHIM_FLAGS", "").split()
"""Such as ``-fsanitize=address,undefined``: see `tools/sanitize_cuda.py`."""
MOST_SHARED = 227 * 1024
MOST_PARAMETERS = 4096
"""Bytes that a launch takes by value."""
FAULTS = {1: "threads wait at a barrier that others of their block never reach", 2: "the launch is beyond the device"}


def missing() -> str:
    """Why the shim cannot be built here, or nothing."""
    return "" if shutil.which(COMPILER) else f"there is no C++ compiler {COMPILER!r}"


def build(folder: Path, real: str, components: int) -> Path:
    """The compiled kernels; built again only when their source has changed."""
    text = "\n".join(['#include "cuda_shim.h"', source(), *(f"SHIM_ENTRY({name})" for name in entry_points())])
    flags = [
        *options(real, components),
        "-O1",
        "-Wall",
        "-Werror",
        "-Wno-unknown-pragmas",
        "-U_FORTIFY_SOURCE",
        *MORE_FLAGS,
    ]
    key = hashlib.sha256("\n".join([text, HEADER.read_text(encoding="utf-8"), *flags]).encode()).hexdigest()[:16]
    library = folder / f"kernels_{key}.so"
    if not library.exists():
        made = folder / f"{library.stem}.{os.getpid()}.so"
        command = [COMPILER, *flags, "-fPIC", "-shared", f"-I{HEADER.parent}", "-x", "c++", "-", "-o", str(made)]
        subprocess.run(command, input=text, text=True, check=True)
        made.replace(library)
    return library


class _Launch(ctypes.Structure):
    _fields_ = (
        ("blocks", ctypes.c_int * 3),
        ("threads", ctypes.c_int * 3),
        ("shared", ctypes.c_int),
        ("backwards", ctypes.c_int),
    )


class ShimDevice:
    """A `Device` that runs the kernels in this process; `backwards` runs blocks and threads in the opposite order."""

    most_shared = MOST_SHARED

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.room = Room()
        self.xp = Functions(self.room)
        self.backwards = False
        self.launched: Counter[str] = Counter()
        self._libraries: dict[tuple[str, int], ctypes.CDLL] = {}

    def launch(self, kernel, real, components, blocks, threads, calls, shared):
        assert max(blocks[1:]) <= 65_535, "more blocks along y or z than a GPU takes"
        assert calls.size == 1 and calls.itemsize == MOST_PARAMETERS
        how = _Launch(_three(blocks), _three(threads), shared, self.backwards)
        given = ctypes.c_void_p(calls.ctypes.data)
        fault = getattr(self._library(np.dtype(real).name, components), f"run_{kernel}")(ctypes.byref(how), given)
        assert fault == 0, f"{kernel}: {FAULTS[fault]}"
        self.launched[kernel] += 1

    def address(self, array):
        assert isinstance(array, DeviceArray), "an array on the host was given to a kernel"
        return array.ctypes.data

    def to_host(self, array):
        assert isinstance(array, DeviceArray), "not on the device"
        return array.get()

    def free_bytes(self):
        return 2**40 if self.room.capacity is None else self.room.capacity - self.room.held

    def release(self):
        """Nothing is held for later."""

    def csr_matrix(self, parts, shape):
        assert all(isinstance(part, DeviceArray) for part in parts)
        return StandInCsr(parts, shape)

    def _library(self, real: str, components: int) -> ctypes.CDLL:
        key = real, components
        if key not in self._libraries:
            self._libraries[key] = ctypes.CDLL(str(build(self.folder, real, components)))
        return self._libraries[key]


@dataclass
class StandInCsr:
    """In place of `cupyx.scipy.sparse.csr_matrix`."""

    parts: tuple
    shape: tuple[int, int]

    def get(self):
        """As SciPy's."""
        return sparse.csr_array(tuple(part.get() for part in self.parts), shape=self.shape)


def _three(size):
    return (ctypes.c_int * 3)(*size, *[1] * (3 - len(size)))


def shim_kernels(folder: Path) -> CudaKernels:
    """The kernels of the CUDA path on this CPU."""
    return CudaKernels(ShimDevice(folder))

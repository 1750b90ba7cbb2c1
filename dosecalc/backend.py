"""The one place that decides which kernels run; it reports its choice and falls back aloud."""

from __future__ import annotations

import logging
from dataclasses import dataclass
from functools import cache
from typing import Any

import numpy as np

from .errors import DeviceError, UsageError
from .gpu import ADVICE, gpu_report

log = logging.getLogger(__name__)

NAMES: tuple[str, ...] = ("auto", "numpy", "numba", "cupy")
GPU_BLOCK_PAIRS = 64_000_000
"""256 MB in float32."""
GPU_BYTES_PER_PAIR = 64
"""A block takes a sixteenth of the free memory at most: the rest is for the operator and the matrix."""


@dataclass(frozen=True, slots=True)
class Backend:
    """A set of kernels and why it was chosen.

    Attributes
    ----------
    name : str
        "numpy", "numba" or "cupy".
    reason : str
        For the run record.
    kernels : module or object
        Has every kernel function of `dosecalc.kernels`, with the same arguments, and the functions of
        `dosecalc.kernels.host_arrays`, which say where the arrays are.
    block_pairs : int
        Voxel x beamlet pairs of the stored matrix that are made at once: few enough for a processor's cache, or enough
        to keep a GPU busy.
    """

    name: str
    reason: str
    kernels: Any
    block_pairs: int = 500_000

    @property
    def on_device(self) -> bool:
        """Whether its arrays live in the memory of a GPU."""
        return hasattr(self.kernels, "device")


def select_backend(name: str = "auto") -> Backend:
    """The backend of that name; "auto" takes numba where it works and NumPy elsewhere, and says so.

    "auto" leaves a GPU alone: the CUDA kernels have been tested on a CPU only (docs/gpu.md), so that a GPU is for who
    asks for it by name.

    Raises
    ------
    UsageError
        Unknown name.
    DeviceError
        A backend asked for by name cannot be used; for "cupy" it says whether driver, GPU or CuPy is missing.
    """
    if name not in NAMES:
        raise UsageError(f"unknown backend {name!r}; there are {', '.join(NAMES)}.")
    if name == "cupy":
        return _cupy()
    if name == "numpy":
        return _numpy("asked for by name")
    try:
        from .kernels import numba_kernels
    except Exception as error:
        if name == "numba":
            raise DeviceError(f"backend 'numba' cannot be loaded: {error}", remedy="Use --backend numpy.") from error
        log.warning("numba cannot be loaded (%s): falling back to the slower NumPy kernels", error)
        return _numpy(f"fallback: numba cannot be loaded ({type(error).__name__})")
    reason = "asked for by name" if name == "numba" else "auto: the default; a GPU is used when asked for by name"
    return Backend("numba", f"{reason}; {numba_kernels.threads()} threads", numba_kernels)


def _numpy(reason: str) -> Backend:
    from .kernels import numpy_kernels

    return Backend("numpy", reason, numpy_kernels)


@cache
def _cupy() -> Backend:
    """The CUDA kernels on the current GPU, tried once: a wheel that does not fit the driver fails here, not later."""
    found = gpu_report()
    if found.missing:
        raise DeviceError(f"backend 'cupy' cannot be used: {found.missing}.", remedy=found.remedy)
    try:
        from .kernels.cuda_kernels import CudaKernels
        from .kernels.cupy_device import CupyDevice

        device = CupyDevice()
        kernels = CudaKernels(device)
        kernels.to_host(
            kernels.field_maps(*(kernels.zeros(shape, np.float32) for shape in ((1, 12, 1), (1, 1), (1, 12, 1))))
        )
        device.try_libraries()
        pairs = min(GPU_BLOCK_PAIRS, device.free_bytes() // GPU_BYTES_PER_PAIR)
        return Backend("cupy", f"asked for by name; {device.describe()}", kernels, pairs)
    except Exception as error:
        said = str(error).strip().splitlines()
        raise DeviceError(
            f"backend 'cupy' cannot be used: CuPy is installed but fails on this GPU ({type(error).__name__}"
            f"{': ' + said[0] if said else ''}).",
            remedy="Does the wheel fit the driver, and are NVIDIA's libraries there? "
            f"dosecalc doctor names the extra that installs both. Or: {ADVICE}",
        ) from error


def compiled_here(backend: Backend) -> bool:
    """Whether this process had to compile a kernel (a cold start) or found all it used in numba's cache."""
    functions = [getattr(backend.kernels, name) for name in dir(backend.kernels)]
    functions += [function.__wrapped__ for function in functions if hasattr(function, "__wrapped__")]
    return any(getattr(getattr(function, "stats", None), "cache_misses", None) for function in functions)

"""The one place that decides which kernels run; it reports its choice and falls back aloud."""

from __future__ import annotations

import importlib.util
import logging
from dataclasses import dataclass
from types import ModuleType
from typing import Literal

from .errors import DeviceError, UsageError

log = logging.getLogger(__name__)

BackendName = Literal["auto", "numpy", "numba", "cupy"]
NAMES: tuple[str, ...] = ("auto", "numpy", "numba", "cupy")


@dataclass(frozen=True, slots=True)
class Backend:
    """A set of kernels and why it was chosen.

    Attributes
    ----------
    name : str
        "numpy" or "numba".
    reason : str
        For the run record.
    kernels : module
        Has every kernel function of `dosecalc.kernels`, with the same arguments.
    """

    name: str
    reason: str
    kernels: ModuleType


def select_backend(name: str = "auto") -> Backend:
    """The backend of that name; "auto" takes numba where it works and NumPy elsewhere.

    Raises
    ------
    UsageError
        Unknown name.
    DeviceError
        "cupy" was asked for: this version has no CUDA kernels.
    """
    if name not in NAMES:
        raise UsageError(f"unknown backend {name!r}; there are {', '.join(NAMES)}.")
    if name == "cupy":
        raise DeviceError(
            "backend 'cupy' was asked for, but this version ships no CUDA kernels.",
            remedy="Use --backend auto, numba or numpy.",
        )
    if name == "numpy":
        return _numpy("asked for by name")
    try:
        from .kernels import numba_kernels
    except Exception as error:
        if name == "numba":
            raise DeviceError(f"backend 'numba' cannot be loaded: {error}", remedy="Use --backend numpy.") from error
        log.warning("numba cannot be loaded (%s): falling back to the slower NumPy kernels", error)
        return _numpy(f"fallback: numba cannot be loaded ({type(error).__name__})")
    reason = "asked for by name" if name == "numba" else "auto: the default on a CPU"
    return Backend("numba", f"{reason}; {numba_kernels.threads()} threads", numba_kernels)


def _numpy(reason: str) -> Backend:
    from .kernels import numpy_kernels

    return Backend("numpy", reason, numpy_kernels)


def compiled_here(backend: Backend) -> bool:
    """Whether this process had to compile a kernel (a cold start) or found all it used in numba's cache."""
    stats = (getattr(kernel, "stats", None) for kernel in vars(backend.kernels).values())
    return any(getattr(found, "cache_misses", None) for found in stats)


def cupy_installed() -> bool:
    """Whether a CuPy wheel is installed; says nothing about a usable GPU."""
    return importlib.util.find_spec("cupy") is not None

"""Which backends a test run covers.

``DOSECALC_TEST_BACKENDS="numpy,numba,cuda-shim,cuda-compile"`` declares what must be covered: what is declared and
cannot run here fails; what is not declared is covered where it can run, and skipped with its reason elsewhere.
"""

from __future__ import annotations

import os
from functools import cache
from pathlib import Path

import pytest

from dosecalc.backend import Backend, select_backend
from dosecalc.errors import DosecalcError

from .twins import shim_device

CPU = ("numpy", "numba")
CUDA = ("cuda-shim", "cupy")
ALL = (*CPU, *CUDA)
OTHERS = ("cuda-compile",)
VARIABLE = "DOSECALC_TEST_BACKENDS"
POOL = "DOSECALC_TEST_CUPY_POOL"
"""Set to "off", every array of CuPy is an allocation of its own, whose bounds compute-sanitizer knows."""


def declared() -> frozenset[str]:
    """What this run must cover."""
    names = frozenset(name.strip() for name in os.environ.get(VARIABLE, "").split(",") if name.strip())
    unknown = names - {*ALL, *OTHERS}
    if unknown:
        pytest.fail(f"{VARIABLE} names {', '.join(sorted(unknown))}; there are {', '.join((*ALL, *OTHERS))}.")
    return names


def absent(name: str, reason: str) -> None:
    """Skip with the reason, or fail where the run was declared to cover it."""
    if name in declared():
        pytest.fail(f"{VARIABLE} declares {name!r}, which cannot run here: {reason}")
    pytest.skip(f"{name}: {reason}")


def backend_named(name: str, request: pytest.FixtureRequest) -> Backend:
    """A backend of the tests, for `dose_influence` and for its kernels."""
    if name == "cuda-shim":
        if reason := shim_device.missing():
            absent(name, reason)
        return _shim(_folder(request))
    try:
        chosen = select_backend(name)
        if name == "cupy" and os.environ.get(POOL) == "off":
            import cupy

            cupy.cuda.set_allocator(None)
        return chosen
    except DosecalcError as error:
        absent(name, str(error))
        raise


def _folder(request: pytest.FixtureRequest) -> Path:
    """Where the compiled kernels are kept: from one run to the next, unless pytest keeps no cache."""
    kept = getattr(request.config, "cache", None)
    return Path(kept.mkdir("cuda_shim")) if kept else request.getfixturevalue("tmp_path_factory").getbasetemp()


@cache
def _shim(folder: Path) -> Backend:
    return Backend("cuda-shim", "the CUDA source on a CPU", shim_device.shim_kernels(folder))

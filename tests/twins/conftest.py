from __future__ import annotations

import pytest

from ..backends import CUDA, backend_named


@pytest.fixture(params=CUDA)
def kernels(request):
    """The CUDA kernels wherever they can run."""
    return backend_named(request.param, request).kernels


@pytest.fixture
def shim(request):
    """The CUDA kernels on this CPU."""
    return backend_named("cuda-shim", request).kernels

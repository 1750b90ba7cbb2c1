"""The CUDA source under the address and the undefined behaviour sanitizer of g++."""

from __future__ import annotations

import subprocess
import sys

import pytest

from tools import sanitize_cuda

from ..backends import absent
from . import shim_device


@pytest.mark.long
def test_no_kernel_leaves_its_arrays(tmp_path):
    """On the cases of the twins; an entry written one place too far ends this with the line of the source."""
    if reason := shim_device.missing():
        absent("cuda-shim", reason)
    command = [sys.executable, sanitize_cuda.__file__, "cpu", "--out", tmp_path / "log"]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, (tmp_path / "log").read_text(encoding="utf-8")

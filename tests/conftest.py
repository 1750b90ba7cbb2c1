"""Shared fixtures: the machine, a marker phantom, and where the reference data lies when it is there."""

from __future__ import annotations

import os
import sys
from pathlib import Path

if "PYTEST_XDIST_WORKER" in os.environ:  # workers share the cores; read when NumPy and numba are imported
    os.environ.update(OPENBLAS_NUM_THREADS="1", NUMBA_NUM_THREADS="1")

import numpy as np
import pytest

from dosecalc.grid import Grid, Volume
from dosecalc.machine import load_machine

# Last, so that an installed package goes before the checkout: for `tools` and `benchmarks`, which are not installed.
sys.path.append(str(Path(__file__).resolve().parents[1]))

SHARED = Path(__file__).resolve().parents[2] / "shared"


@pytest.fixture(scope="session")
def machine():
    return load_machine("generic_6mv")


@pytest.fixture(scope="session")
def shared() -> Path:
    if not SHARED.is_dir():
        pytest.skip("the reference data folder is not beside the project")
    return SHARED


@pytest.fixture(scope="session")
def marker_phantom() -> Volume:
    """Water with three markers of different density and size: symmetric in no axis, unequal spacing and counts."""
    grid = Grid((-61.0, -38.0, -52.5), (2.0, 2.5, 3.5), (31, 37, 53))
    values = np.ones(grid.shape, dtype=np.float32)
    values[4:9, 6:12, 10:14] = 2.5
    values[20:23, 25:33, 30:33] = 0.2
    values[14:16, 10:12, 40:48] = 4.0
    return Volume(grid, values)

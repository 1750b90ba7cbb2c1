"""Rays that start where something begins have the depths of rays that cross every cell."""

from __future__ import annotations

import numpy as np
import pytest

from dosecalc.kernels import numpy_kernels

pytest.importorskip("numba", reason="the compiled rays need numba")

from numba import njit

from dosecalc.kernels import numba_kernels
from dosecalc.kernels.numba_front import passed_shares

from .test_cuda_twins import close

SHAPE = (26, 31, 44)
SPACING = np.array([3.0, 2.0, 2.5])
RANGES = np.array([2.5, 20.0])
AIR = 0.1
SOURCES = {
    "far, along an axis": (20.0, -400.0, 12.0),
    "far, between axes": (300.0, 280.0, 15.0),
    "far, along no axis": (-200.0, 230.0, 170.0),
    "far, on a cell face": (21.5, 333.5, 12.5),
    "beside the grid": (46.0, 15.0, 12.0),
    "half a cell outside": (20.0, -1.0, 12.0),
    "inside": (20.0, 3.0, 12.0),
    "on the grid's face": (20.0, -0.5, 12.0),
}


def scanned(margin: float, rng: np.random.Generator) -> np.ndarray:
    """A body and a couch in a margin of one density."""
    density = np.full(SHAPE, margin, np.float32)
    density[4:22, 9:19, 11:35] = rng.uniform(0.2, 1.8, (18, 10, 24))
    density[:, 24:26, 3:40] = rng.choice(np.float32([0.05, 0.07, 0.5]), (26, 2, 37))
    density[2, 6, 8] = 1.0
    return density


HIGH = np.array(SHAPE[::-1], dtype=float)


@pytest.fixture
def targets() -> np.ndarray:
    """In all of the grid and around it."""
    return np.random.default_rng(11).uniform(-6, HIGH + 6, (1500, 3))


@pytest.mark.parametrize("margin", [0.0, 0.001, 0.05, 0.3, 1.0])
@pytest.mark.parametrize("source", SOURCES.values(), ids=SOURCES)
def test_depths_and_averages_are_those_of_every_cell(source, margin, targets):
    args = scanned(margin, np.random.default_rng(12)), np.array(source), targets, SPACING, RANGES, AIR
    (depth, average), (depth_stated, average_stated) = numba_kernels.trace(*args), numpy_kernels.trace(*args)
    close(depth, depth_stated)
    # Where a ray has met 1e-5 mm of a medium, the average is a quotient of two small numbers.
    np.testing.assert_allclose(average, average_stated, rtol=0, atol=1e-10)


@pytest.mark.parametrize("margin", [0.0, 0.001, 1.0])
@pytest.mark.parametrize("source", SOURCES.values(), ids=SOURCES)
def test_depths_of_rays_that_end_on_cell_faces(source, margin):
    """Where a ray ends as a medium begins, the average of what it met is that of a rounding: depths alone are told."""
    ends = np.floor(np.random.default_rng(13).uniform(0, HIGH, (500, 3))) + 0.5
    args = scanned(margin, np.random.default_rng(12)), np.array(source), ends, SPACING, RANGES[:0], AIR
    close(numba_kernels.trace(*args)[0], numpy_kernels.trace(*args)[0])


@pytest.mark.parametrize("margin", [0.0, 0.001])
def test_a_grid_of_one_density(margin, targets):
    args = np.full(SHAPE, margin, np.float32), np.array([20.0, -400.0, 12.0]), targets, SPACING, RANGES, AIR
    for found, stated in zip(numba_kernels.trace(*args), numpy_kernels.trace(*args), strict=True):
        close(found, stated)


@njit
def passed(density, source, targets):
    """As `trace` calls it: not from Python, for which nothing else does and numba's cache fails now and then."""
    return passed_shares(density, source, targets, AIR)


def test_most_of_a_margin_is_passed():
    """Rays from above pass the nine rows of cells before the body, but for what its blocks hold of them."""
    source, target = np.array([22.0, -400.0, 12.0]), np.array([[22.0, 15.0, 12.0]])
    share = passed(scanned(0.001, np.random.default_rng(13)), source, target)[0]
    assert 7.5 - 1e-5 <= share * 415.0 - 400.0 <= 8.5


def test_a_medium_in_front_is_not_passed():
    density = scanned(0.3, np.random.default_rng(14))
    assert not passed(density, np.array([22.0, -400.0, 12.0]), np.array([[22.0, 15.0, 12.0]])).any()

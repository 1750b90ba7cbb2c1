"""The kernels that place voxels and make their tables, against the NumPy twins."""

from __future__ import annotations

import numpy as np
import pytest

from dosecalc import Beam
from dosecalc.kernels import numpy_kernels
from dosecalc.kernels.numpy_places import SURVEYED

from ..backends import ALL, backend_named
from .test_cuda_twins import REALS, close


@pytest.fixture(params=[name for name in ALL if name != "numpy"])
def kernels(request):
    return backend_named(request.param, request).kernels


def voxels(count, seed=31):
    """Points around an isocentre, depths, and scales of light, watery and dense media."""
    rng = np.random.default_rng(seed)
    scales = rng.uniform(0.2, 2.5, (2, count)) * rng.choice([1.0, 1.1], (2, count))
    return rng.uniform(-150, 150, (count, 3)), rng.uniform(0, 300, count), scales


@pytest.mark.parametrize("count", [0, 1, 700])
def test_project(kernels, count):
    points = voxels(count)[0]
    args = np.array([3.0, -7.0, 20.0]), Beam(130.0, 15.0, 40.0).axes, 1000.0
    for found, stated in zip(kernels.project(points, *args), numpy_kernels.project(points, *args), strict=True):
        close(kernels.to_host(found), stated)


@pytest.mark.parametrize("count", [1, 127, 128, 1000, 70_000], ids=lambda n: f"{n} voxels")
def test_survey(kernels, count):
    """Fewer voxels than a block has threads, more than all blocks have; to the bit."""
    points, depth, scales = voxels(count)
    place = numpy_kernels.project(points, np.zeros(3), Beam(20.0).axes, 1000.0)
    stated, found = np.zeros(SURVEYED), kernels.zeros(SURVEYED, np.float64)
    for survey, result in ((numpy_kernels.survey, stated), (kernels.survey, found)):
        survey(place, depth, scales, (0.5, 1.5), result)
    assert np.array_equal(kernels.to_host(found), stated)
    assert count < 1000 or (0 < stated[9] < count and 0 < stated[10] < count)


def test_survey_shows_what_is_no_number(kernels):
    points, depth, scales = voxels(300)
    depth[170] = np.nan
    place = numpy_kernels.project(points, np.zeros(3), Beam(20.0).axes, 1000.0)
    found = kernels.zeros(SURVEYED, np.float64)
    kernels.survey(place, depth, scales, (0.5, 1.5), found)
    assert np.flatnonzero(np.isnan(kernels.to_host(found))).tolist() == [5]


@pytest.mark.parametrize("real", REALS)
def test_locate(kernels, real):
    """Positions between nodes, on them and half way, which go to the even one."""
    t = np.r_[np.random.default_rng(32).uniform(-50, 50, 300), np.arange(-20, 20) * 0.25 - 50.0]
    for part in (slice(0), slice(None)):
        args = t[part], -60.0, 0.5, real
        for found, stated in zip(kernels.locate(*args), numpy_kernels.locate(*args), strict=True):
            found = kernels.to_host(found)
            assert found.dtype == stated.dtype and np.array_equal(found, stated)


def test_blurred_squares(kernels):
    """A point source, a wide and a narrow blur; positions on the edges of beamlets."""
    args = np.arange(41) * 0.5 - 10.0, np.array([-4.0, 1.0, 6.0]), np.array([5.0, 5.0, 2.5]), np.array([0.0, 0.7, 40.0])
    close(kernels.to_host(kernels.blurred_squares(*args)), numpy_kernels.blurred_squares(*args))


@pytest.mark.parametrize("real", REALS)
@pytest.mark.parametrize("nodes", [2, 5, 29, 100])
def test_spline_coefficients(kernels, real, nodes):
    """Axes shorter than the filter's reach, mirrored several times, and longer; tails of a Gaussian become zeros."""
    rng = np.random.default_rng(33)
    values = rng.random((nodes, 3, 7)) * np.exp(-0.5 * np.square(np.arange(nodes) - nodes / 2))[:, None, None]
    stated = numpy_kernels.spline_coefficients(values, 1e-12, real)
    found = kernels.to_host(kernels.spline_coefficients(values, 1e-12, real))
    close(found, stated, real)
    assert nodes < 100 or (found == 0).any()


def test_splines_go_through_the_values(kernels):
    """The law: with coefficients c, (c[i-1] + 6 c[i] + c[i+1]) / 8 is the value at node i."""
    values = np.random.default_rng(34).random((60, 2, 3))
    c = kernels.to_host(kernels.spline_coefficients(values, 0.0, np.float64))
    close((c[:-2] + 6 * c[1:-1] + c[2:]) / 8, values[1:-1])

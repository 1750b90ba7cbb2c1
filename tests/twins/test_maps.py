"""Reading maps and their adjoint compiled for the CPU, with any number of components, against the NumPy twins."""

from __future__ import annotations

import numpy as np
import pytest

from dosecalc.kernels import numba_kernels, numpy_kernels

SHAPE = 9, 13
COMPONENTS = (1, 2, 7, 8, 9, 12, 16, 17)
TOLERANCE = {np.float32: 1e-6, np.float64: 1e-14}


def taps(components, real, voxels=41):
    rng = np.random.default_rng(components)
    nearest = (rng.integers(1, nodes - 1, voxels).astype(np.int32) for nodes in SHAPE)
    offsets = (rng.uniform(-0.5, 0.5, voxels).astype(real) for _ in SHAPE)
    return *nearest, *offsets, rng.random((voxels, components), real)


@pytest.mark.parametrize("real", TOLERANCE)
@pytest.mark.parametrize("components", COMPONENTS)
def test_maps_are_read_as_stated(components, real):
    maps, read = np.random.default_rng(2).random((*SHAPE, components), real), taps(components, real)
    found, stated = (kernels.gather(maps, *read) for kernels in (numba_kernels, numpy_kernels))
    assert found.dtype == real
    assert np.abs(found - stated).max() <= TOLERANCE[real] * stated.max()


@pytest.mark.parametrize("real", TOLERANCE)
@pytest.mark.parametrize("components", COMPONENTS)
def test_voxels_are_spread_over_the_maps_as_stated(components, real):
    spread = taps(components, real)
    values = np.random.default_rng(3).random(len(spread[0]))
    values[::5] = 0.0
    found, stated = (kernels.scatter(values, SHAPE, *spread) for kernels in (numba_kernels, numpy_kernels))
    assert found.shape == (components, *SHAPE)
    assert np.abs(found - stated).max() <= TOLERANCE[real] * stated.max()


@pytest.mark.parametrize("components", COMPONENTS)
def test_what_is_no_number_stays_where_it_is(components):
    *places, weights = taps(components, np.float32)
    weights[17, components // 2] = np.nan
    dose = numba_kernels.gather(np.ones((*SHAPE, components), np.float32), *places, weights)
    assert np.flatnonzero(np.isnan(dose)).tolist() == [17]
    planes = numba_kernels.scatter(np.ones(len(weights)), SHAPE, *places, weights)
    assert np.unique(np.nonzero(np.isnan(planes))[0]).tolist() == [components // 2]
    assert np.isnan(planes).sum() == 9

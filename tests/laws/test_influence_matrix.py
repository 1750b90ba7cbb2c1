"""The matrix made in one call is that of the operator, to the bit."""

from __future__ import annotations

import numpy as np
import pytest

from dosecalc.beams import Beam, open_field
from dosecalc.errors import InputError, UsageError
from dosecalc.grid import Volume
from dosecalc.influence import dose_influence
from dosecalc.matrix_at_once import influence_matrix

from ..backends import ALL, backend_named

CUTOFF_MM = 12.0


@pytest.fixture(params=ALL)
def backend(request):
    return backend_named(request.param, request)


@pytest.fixture(scope="module")
def beamlets():
    """One beam through the middle of the phantom, one through its rim: most voxels lie near one of them at most."""
    middle = open_field(Beam(20, 10, 15), x_mm=(-10, 10), y_mm=(-5, 10), width_mm=5)
    return middle + open_field(Beam(250, isocentre_mm=(0.0, 0.0, 20.0)), x_mm=(-5, 5), y_mm=(0, 10), width_mm=2.5)


@pytest.fixture
def voxels(marker_phantom, backend):
    """Out of order, some twice; few where a CPU stands in for a GPU, thread by thread."""
    every = 97 if backend.name == "cuda-shim" else 5
    flat = np.random.default_rng(3).permutation(marker_phantom.grid.size)[::every]
    return np.append(flat, flat[:3])


def same(one, other) -> bool:
    return all(np.array_equal(getattr(one, part), getattr(other, part)) for part in ("data", "indices", "indptr"))


@pytest.mark.parametrize("precision", ["float32", "float64", "reference"])
def test_it_is_the_matrix_of_the_operator(backend, machine, marker_phantom, beamlets, voxels, precision):
    case = marker_phantom, marker_phantom.grid, beamlets, machine
    ways = {"voxels": voxels, "backend": backend, "precision": precision}
    found = influence_matrix(*case, cutoff_mm=CUTOFF_MM, **ways)
    stated = dose_influence(*case, **ways).tocsr(cutoff_mm=CUTOFF_MM)
    assert found.shape == (voxels.size, beamlets.count) and found.dtype == np.float32
    assert 0 < found.nnz < 0.2 * voxels.size * beamlets.count
    assert same(found, stated)


def test_without_a_cutoff_it_is_the_operator(machine, marker_phantom, beamlets):
    case, voxels = (marker_phantom, marker_phantom.grid, beamlets, machine), np.arange(0, marker_phantom.grid.size, 11)
    matrix, fluence = influence_matrix(*case, cutoff_mm=np.inf, voxels=voxels), np.arange(beamlets.count) + 1.0
    dose = dose_influence(*case, voxels=voxels).dose(fluence)
    assert np.abs(matrix @ fluence - dose).max() <= 2e-6 * dose.max()


def test_voxels_that_no_beamlet_reaches(machine, marker_phantom, beamlets):
    grid = marker_phantom.grid
    for voxels in (np.zeros(0, int), np.arange(3)):
        found = influence_matrix(marker_phantom, grid, beamlets, machine, voxels=voxels, cutoff_mm=0.5)
        assert found.shape == (voxels.size, beamlets.count) and found.nnz == 0


def test_what_is_refused(machine, marker_phantom, beamlets):
    grid = marker_phantom.grid
    with pytest.raises(UsageError, match=r"cutoff_mm must be > 0"):
        influence_matrix(marker_phantom, grid, beamlets, machine, cutoff_mm=0.0)
    with pytest.raises(InputError, match=r"finite and >= 0"):
        influence_matrix(Volume(grid, np.full(grid.shape, np.nan)), grid, beamlets, machine, cutoff_mm=5.0)
    with pytest.raises(InputError, match=r"voxels must lie in 0\.\."):
        influence_matrix(marker_phantom, grid, beamlets, machine, cutoff_mm=5.0, voxels=[grid.size])
    with pytest.raises(UsageError, match="unknown precision"):
        influence_matrix(marker_phantom, grid, beamlets, machine, cutoff_mm=5.0, precision="half")

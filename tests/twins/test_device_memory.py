"""The stored matrix on the device, what crosses the bus on the way, and memory that runs out: through the shim."""

from __future__ import annotations

import logging
from collections import Counter

import numpy as np
import pytest

from dosecalc import Beam, Grid, Volume, dose_influence, gamma_index, load_machine, open_field
from dosecalc.backend import Backend
from dosecalc.errors import ResourceError, UsageError
from dosecalc.kernels.cuda_device import FullGpuError
from dosecalc.kernels.cuda_kernels import CudaKernels
from dosecalc.kernels.numpy_places import SURVEYED

from ..backends import CUDA, backend_named
from .device_array import BUS
from .shim_device import ShimDevice

GRID = Grid((-20.0, -16.0, -12.0), (4.0, 4.0, 6.0), (5, 8, 10))
CUTS = [{}, {"cutoff_mm": 14.0}, {"cutoff_mm": 14.0, "threshold": 0.02}]


def operator(backend, precision="float32"):
    """Two beams on water with a light corner."""
    density = np.ones(GRID.shape, np.float32)
    density[:2, :3] = 0.3
    field = open_field(Beam(0.0), x_mm=(-12, 13), y_mm=(-10, 10), width_mm=5)
    field = field + open_field(Beam(70.0, 10.0), x_mm=(-10, 10), y_mm=(-7, 8), width_mm=5)
    machine = load_machine("generic_6mv")
    return dose_influence(Volume(GRID, density), GRID, field, machine, backend=backend, precision=precision)


@pytest.fixture
def small(request):
    """``small(capacity)``: the shim with so many bytes, and kernels of its own."""
    folder = backend_named("cuda-shim", request).kernels.device.folder

    def made(capacity=None) -> Backend:
        device = ShimDevice(folder)
        device.room.capacity = capacity
        return Backend("cupy", "the CUDA source on a CPU", CudaKernels(device), 4_000)

    return made


def leave(backend, free):
    """Only so many bytes are left beside what must be held."""
    kernels = backend.kernels
    kernels._derived.clear()
    kernels.device.room.capacity = kernels.device.room.held + free


@pytest.mark.parametrize("cut", CUTS, ids=["whole", "cut off", "and threshold"])
@pytest.mark.parametrize("precision", ["float32", "reference"])
@pytest.mark.parametrize("name", CUDA)
def test_the_matrix_on_the_device_is_that_of_numpy(request, name, precision, cut):
    stated = operator("numpy", precision).tocsr(**cut)
    there = operator(backend_named(name, request), precision)
    for found in (there.device_csr(**cut).get(), there.tocsr(**cut)):
        assert found.shape == stated.shape and found.data.dtype == np.float32
        assert np.array_equal(found.indptr, stated.indptr)
        assert np.array_equal(found.indices, stated.indices)
        assert np.abs(found.data - stated.data).max() <= 2e-6 * stated.data.max()


def test_nothing_of_a_matrix_left_on_the_device_comes_to_the_host(small, monkeypatch):
    """One count of entries, and one number for all beams: whether all found the room that was counted."""
    there, sizes = operator(small()), []
    device = there.backend.kernels.device
    monkeypatch.setattr(device, "to_host", watched(device.to_host, sizes))
    there.device_csr(cutoff_mm=14.0)
    assert sizes == [1, 1]
    there.device_csr(cutoff_mm=14.0, threshold=0.02)
    assert sizes[2:] == [1]


def watched(function, sizes):
    def call(array):
        sizes.append(array.size)
        return function(array)

    return call


@pytest.mark.parametrize("precision", ["float32", "reference"])
def test_of_the_set_up_only_density_and_voxel_numbers_cross(small, precision):
    """And the machine's two tables, once; back come two looks at the density, and eleven numbers per beam together."""
    BUS.clear()
    there = operator(small(), precision)
    table = there.machine.mixture.primary.size
    large = [GRID.size, GRID.size] + [table, table] * (precision == "float32")
    small_ones = Counter(BUS.there) - Counter(large)
    assert Counter(BUS.there) >= Counter(large)
    assert sum(small_ones.values()) <= 12 and sum(size * count for size, count in small_ones.items()) < 900
    assert [size for size in BUS.back if size > 1] == [2 * SURVEYED] and len(BUS.back) <= 5
    BUS.clear()
    assert [each.size for each in there.depth_mm] == [GRID.size] * 2 == BUS.back


def test_verbs_fetch_their_result_alone(small, monkeypatch):
    there, sizes = operator(small()), []
    device = there.backend.kernels.device
    monkeypatch.setattr(device, "to_host", watched(device.to_host, sizes))
    voxels, beamlets = there.shape
    there.dose(np.ones(beamlets))
    assert sizes == [voxels]
    there.adjoint(np.ones(voxels))
    assert sizes[1:] == [20 + 12]
    there.rows([3, 4, 5])
    assert sizes[2:] == [3 * beamlets]


@pytest.mark.parametrize("precision", ["float32", "reference"])
def test_doses_and_rows_can_be_left_there(small, precision):
    """As the optimiser asks for them: the fast dose, and rows of either precision; no number of them comes back."""
    there = operator(small(), precision)
    x, voxels = np.random.default_rng(5).random(there.shape[1]), [7, 3, 200]
    BUS.clear()
    rows = there.rows_there(voxels)
    assert max(BUS.back, default=0) <= 1
    assert there.array_module is there.backend.kernels.device.xp
    assert np.array_equal(rows.get(), there.rows(voxels))
    BUS.clear()
    dose = there.dose_there(x)
    assert max(BUS.back, default=0) <= 1
    assert np.array_equal(dose.get(), there.dose(x))


def test_out_of_memory_goes_on_in_smaller_parts_and_is_told(small, caplog):
    """The same numbers; the log and the notices for the run record name what was divided."""
    stated = operator(small())
    there = operator(small())
    matrix = stated.tocsr(cutoff_mm=30.0, threshold=0.001)
    leave(there.backend, 60_000)
    with caplog.at_level(logging.WARNING):
        found = there._device_matrix(30.0, 0.001).on_host()
        rows = there.rows(np.arange(there.shape[0]))
    assert np.array_equal(found.indptr, matrix.indptr) and np.array_equal(found.data, matrix.data)
    assert np.array_equal(rows, stated.rows(np.arange(there.shape[0])))
    assert np.array_equal(there.rows_there([3, 200]).get(), rows[[3, 200]])
    told = there.backend.kernels.take_notices()
    assert "The GPU's memory was full: rows went on in parts of 200." in told
    assert set(told) <= set(caplog.messages)
    assert not stated.backend.kernels.take_notices()


def test_dose_and_adjoint_go_on_beam_after_beam(small):
    """The maps of one beam fit, those of both do not: the same numbers."""
    stated, there = operator(small()), operator(small())
    x, w = np.random.default_rng(5).random(there.shape[1]), np.random.default_rng(6).random(there.shape[0])
    dose, adjoint = stated.dose(x), stated.adjoint(w)
    maps = [12 * 4 * nodes_v * nodes_u for nodes_v, nodes_u in (beam.map_shape for beam in there._prepared)]
    leave(there.backend, max(maps) + min(maps) // 2)
    found = there.dose(x), there.adjoint(w)
    for made, whole in zip(found, (dose, adjoint), strict=True):
        assert np.array_equal(made, whole)
    told = there.backend.kernels.take_notices()
    for verb in ("dose", "adjoint"):
        assert f"The GPU's memory was full: the {verb} of beams went on in parts of 1." in told
    leave(there.backend, 6000)
    with pytest.raises(ResourceError, match="no room for the dose of beams, not even in parts of one"):
        there.dose(x)


def test_where_not_even_one_voxel_fits_it_is_refused(small):
    there = operator(small())
    leave(there.backend, 100)
    with pytest.raises(ResourceError, match=r"no room for rows, not even in parts of one: \d+ MiB are free") as caught:
        there.rows(np.arange(40))
    assert caught.value.exit_code == 30
    assert "--backend numba" in str(caught.value)


def test_a_matrix_that_does_not_fit_names_its_size(small):
    there = operator(small())
    leave(there.backend, 80_000)
    with pytest.raises(ResourceError, match=r"stored matrix of 9\.\d+e-05 GiB.*tocsr\(\) brings it"):
        there.device_csr()
    assert there._device_matrix(np.inf, 0.0).on_host().nnz == there.shape[0] * there.shape[1]


def test_what_can_be_made_again_is_given_up_first(small):
    """Voxels sorted for the adjoint are forgotten when memory runs out, and sorted again."""
    there = operator(small())
    kernels, weights = there.backend.kernels, np.ones(there.shape[0])
    before = there.adjoint(weights)
    held = len(kernels._derived)
    assert held > 0
    kernels.device.room.capacity = kernels.device.room.held
    with pytest.raises(FullGpuError):
        kernels.zeros(10**6, np.float64)
    assert len(kernels._derived) == 0
    kernels.device.room.capacity = None
    assert np.array_equal(there.adjoint(weights), before)


def test_memory_that_is_free_decides_the_first_part(small):
    kernels, parts = small(1000).kernels, []
    kernels.in_parts("a test", 100, 60, parts.append, bytes_each=50)
    assert [part.stop - part.start for part in parts] == [10] * 10


def test_an_operator_on_the_host_has_no_matrix_on_a_device():
    with pytest.raises(UsageError, match=r"runs on numpy.*tocsr\(\)"):
        operator("numpy").device_csr()


def test_gamma_goes_on_in_parts(small, monkeypatch):
    backend = small()
    monkeypatch.setattr("dosecalc.gamma.select_backend", lambda name: backend)
    rng = np.random.default_rng(3)
    doses = [Volume(GRID, 50.0 + rng.random(GRID.shape)) for _ in range(2)]
    whole = gamma_index(*doses)
    leave(backend, 175_000)
    assert np.array_equal(gamma_index(*doses).values, whole.values)
    assert "gamma went on in parts of" in backend.kernels.take_notices()[0]

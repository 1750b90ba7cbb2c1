"""The CUDA source against the NumPy twins: on a CPU through the shim, and on a GPU where there is one."""

from __future__ import annotations

import inspect

import numpy as np
import pytest

from dosecalc.errors import ResourceError
from dosecalc.kernels import cuda_kernels, numpy_kernels
from dosecalc.kernels.cuda_source import entry_points

REALS = (np.float32, np.float64)
COMPONENTS = (12, 24, 5)
"""The shipped mixture, twice as many, and a number whose rows begin on no 16-byte boundary."""


def close(found, stated, real=np.float64):
    tolerance = 2e-6 if real == np.float32 else 1e-12
    assert found.shape == stated.shape and found.dtype == stated.dtype
    assert np.isfinite(found).all()
    assert np.abs(found - stated).max(initial=0) <= tolerance * max(np.abs(stated).max(initial=0), 1e-300)


def components_case(seed, count, components, real):
    """Maps, taps and weights of some voxels; several share their nearest node, some lie at the first and last."""
    rng = np.random.default_rng(seed)
    shape = 19, 23
    iv, iu = (rng.integers(1, n - 1, count).astype(np.int32) for n in shape)
    fv, fu = (rng.uniform(-0.5, 0.5, count).astype(real) for _ in range(2))
    weights = rng.random((count, components)).astype(real)
    return shape, rng.random((*shape, components)).astype(real), (iv, iu, fv, fu, weights)


@pytest.mark.parametrize("components", COMPONENTS)
@pytest.mark.parametrize("real", REALS)
@pytest.mark.parametrize("count", [0, 1, 700])
def test_gather_and_scatter(kernels, count, real, components):
    shape, maps, taps = components_case(1, count, components, real)
    values = np.random.default_rng(2).normal(size=count).astype(real)
    close(kernels.to_host(kernels.gather(maps, *taps)), numpy_kernels.gather(maps, *taps), real)
    close(kernels.to_host(kernels.scatter(values, shape, *taps)), numpy_kernels.scatter(values, shape, *taps), real)


@pytest.mark.parametrize("components", COMPONENTS)
@pytest.mark.parametrize("real", REALS)
@pytest.mark.parametrize(("lines", "columns"), [(1, 1), (7, 40), (33, 17)])
def test_field_maps_and_collect_field(kernels, real, components, lines, columns):
    """Sizes below, beside and above the tiles of 16 nodes and 32 columns."""
    rng = np.random.default_rng(3)
    table_v, table_u = (rng.normal(size=(n, components, j)).astype(real) for n, j in ((31, lines), (18, columns)))
    field, planes = (rng.random(s).astype(real) for s in ((lines, columns), (components, 31, 18)))
    close(
        kernels.to_host(kernels.field_maps(table_v, field, table_u)),
        numpy_kernels.field_maps(table_v, field, table_u),
        real,
    )
    found = kernels.to_host(kernels.collect_field(table_v, planes, table_u))
    exact = numpy_kernels.collect_field(*(a.astype(np.float64) for a in (table_v, planes, table_u)))
    close(found, exact.astype(real), real)


@pytest.mark.parametrize("components", COMPONENTS)
@pytest.mark.parametrize("real", REALS)
def test_component_weights(kernels, real, components):
    """Places inside, on nodes, at both ends of the tables, and below the first scale."""
    rng = np.random.default_rng(4)
    depth_nodes, scale_nodes = np.array([0.0, 3.0, 10.0, 11.0, 400.0]), np.geomspace(0.15, 4.0, 8)
    primary, scatter = (rng.random((5, 8, components)) for _ in range(2))
    depth = np.r_[depth_nodes, rng.uniform(0, 400, 60)]
    scales = np.stack([np.r_[0.1, scale_nodes[[0, -1, 3, 4]], rng.uniform(0.15, 4.0, 60)] for _ in range(2)])
    for part in (slice(0), slice(1), slice(None)):
        magnification = rng.uniform(0.8, 1.2, 65)[part]
        args = depth_nodes, scale_nodes, primary, scatter, depth[part], scales[:, part], magnification, 0.01, real
        close(kernels.to_host(kernels.component_weights(*args)), numpy_kernels.component_weights(*args), real)


def rays():
    """Targets of every kind: inside, behind, beside and before the grid, and the source itself."""
    rng = np.random.default_rng(5)
    return np.concatenate([rng.uniform(-3, 16, (200, 3)), rng.integers(0, 9, (50, 3)), [[5.0, 4.0, -30.0]]])


@pytest.mark.parametrize("ranges", [(), (2.5, 20.0), (1.0, 2.0, 4.0, 8.0, 16.0)], ids=len)
@pytest.mark.parametrize(
    "source",
    [(5.0, 4.0, -30.0), (4.2, 3.1, 5.7), (-40.0, -37.0, -31.0), (6.5, 4.0, -30.0), (-0.5, 4.0, 3.0)],
    ids=["along an axis", "inside", "oblique", "on a cell face", "on the grid's face"],
)
def test_trace(kernels, source, ranges):
    rng = np.random.default_rng(6)
    density = rng.choice([0.0, 0.05, 0.26, 1.0, 1.7], size=(12, 9, 14)).astype(np.float32)
    args = density, np.array(source), rays(), np.array([2.0, 2.5, 3.5]), np.array(ranges), 0.1
    for found, stated in zip(kernels.trace(*args), numpy_kernels.trace(*args), strict=True):
        close(kernels.to_host(found), stated)


@pytest.mark.parametrize("targets", [np.empty((0, 3)), np.zeros((1, 3))], ids=["no ray", "no length"])
def test_trace_of_nothing(kernels, targets):
    """No ray at all, and one through a single voxel to its own source."""
    args = np.ones((1, 1, 1), np.float32), np.zeros(3), targets, np.ones(3), np.array([2.5]), 0.1
    for found, stated in zip(kernels.trace(*args), numpy_kernels.trace(*args), strict=True):
        close(kernels.to_host(found), stated)


def lattice(rng, lines, columns):
    """Beamlets on a lattice: some cells empty, two beamlets in one cell."""
    cells = rng.permutation(lines * columns)[: max(1, lines * columns * 3 // 4)]
    cells = np.r_[cells, cells[0]]
    return cells // columns, cells % columns, rng.uniform(0.9, 1.1, cells.size)


@pytest.mark.parametrize("components", COMPONENTS)
@pytest.mark.parametrize(("real", "wide"), [(np.float32, False), (np.float32, True), (np.float64, True)])
@pytest.mark.parametrize(("lines", "columns"), [(1, 1), (9, 14)])
def test_spline_rows(kernels, real, wide, components, lines, columns):
    rng = np.random.default_rng(7)
    table_v, table_u = (rng.random((n, components, j)).astype(real) for n, j in ((19, lines), (23, columns)))
    for count in (0, 1, 37):
        taps = components_case(8, count, components, real)[2]
        row, column, output = lattice(rng, lines, columns)
        args = table_v, table_u, *taps, row, column, output.astype(real)
        wanted = np.float64 if wide else real
        compare_rows(kernels, "spline_rows", args, count, len(row), wanted, real)


@pytest.mark.parametrize("components", COMPONENTS)
def test_direct_rows_and_dose(kernels, components):
    """With a point source among the components, and voxels on the edges of beamlets."""
    rng = np.random.default_rng(9)
    sigma = np.r_[0.0, np.geomspace(0.7, 320.0, components - 1)]
    columns = np.arange(13) * 5.0 - 30.0, np.full(13, 5.0), sigma
    rows = np.arange(6) * 2.5 - 7.0, np.full(6, 2.5), sigma
    for count in (0, 1, 37):
        u, v = (rng.integers(-40, 40, count) / s for s in (2.0, 4.0))
        weights, field = rng.random((count, components)), rng.random((6, 13))
        args = u, v, weights
        found = kernels.to_host(kernels.direct_dose(*args, field, columns, rows))
        close(found, numpy_kernels.direct_dose(*args, field, columns, rows))
        row, column, output = lattice(rng, 6, 13)
        args = *args, columns, rows, row, column, output
        compare_rows(kernels, "direct_rows", args, count, len(row), np.float64, np.float64)


def compare_rows(kernels, name, args, count, beamlets, wanted, real):
    """Rows are written into a part of longer ones; what lies beside them is left alone."""
    stated, made = np.zeros((count, beamlets + 3), wanted), kernels.zeros((count, beamlets + 3), wanted)
    getattr(numpy_kernels, name)(*args, stated[:, 2 : 2 + beamlets])
    getattr(kernels, name)(*args, made[:, 2 : 2 + beamlets])
    close(kernels.to_host(made), stated, real)


@pytest.mark.parametrize("real", REALS)
@pytest.mark.parametrize("threshold", [0.0, 0.3])
@pytest.mark.parametrize("cutoff_mm", [np.inf, 9.0])
@pytest.mark.parametrize("first", [(0, 5, 75), (5, 70)], ids=["two beams", "one of several"])
def test_kept_entries(kernels, first, cutoff_mm, threshold, real):
    """Beams with fewer beamlets than a warp has lanes and with more; more rows than a block takes; one beam alone."""
    rng = np.random.default_rng(10)
    count = 150
    centre = rng.integers(-10, 10, 75) * 1.0, rng.integers(-10, 10, 75) * 1.0
    beams, first = len(first) - 1, np.array(first)
    position = rng.integers(-10, 10, (count, beams)) * 1.0, rng.integers(-10, 10, (count, beams)) * 1.0
    values = rng.random((count, 75)).astype(real)
    device = kernels.to_device(values)
    largest, found = np.zeros(75), kernels.zeros(75, np.float64)
    numpy_kernels.largest_near(values, position, centre, first, cutoff_mm, largest)
    kernels.largest_near(device, position, centre, first, cutoff_mm, found)
    assert np.array_equal(kernels.to_host(found), largest)
    least = threshold * largest if threshold else np.full(75, -np.inf)
    args = position, centre, first, cutoff_mm, least
    counts = numpy_kernels.count_kept(values, *args)
    assert np.array_equal(kernels.to_host(kernels.count_kept(device, *args)), counts)
    if not threshold:
        anything = kernels.repeated_zero(values.shape, real)
        assert np.array_equal(kernels.to_host(kernels.count_kept(anything, *args)), counts)
    start = np.r_[0, np.cumsum(counts)]
    data, indices = np.zeros(start[-1], np.float32), np.zeros(start[-1], np.int32)
    numpy_kernels.fill_kept(values, *args, start[:-1], data, indices)
    made = kernels.zeros(start[-1], np.float32), kernels.zeros(start[-1], np.int32)
    kernels.fill_kept(device, *args, start[:-1], *made)
    assert np.array_equal(kernels.to_host(made[0]), data)
    assert np.array_equal(kernels.to_host(made[1]), indices)


@pytest.mark.parametrize("shape", [(6, 7, 8), (1, 9, 5)], ids=["volume", "plane"])
def test_gamma_search(kernels, shape):
    """Points on voxel centres, between them and on the grid's edge; offsets that leave it; some that never pass."""
    rng = np.random.default_rng(15)
    dose = rng.uniform(0, 60, shape)
    last = np.array(shape[::-1]) - 1
    points = np.concatenate([rng.uniform(0, last, (60, 3)), rng.integers(0, last + 1, (20, 3))])
    expected = np.r_[rng.uniform(0, 60, 70), np.full(10, 500.0)]
    offsets = rng.integers(-5, 6, (300, 3)) * 0.4 * (last > 0)
    offsets[0] = 0.0
    offsets = offsets[np.argsort(np.square(offsets).sum(axis=1), kind="stable")]
    args = dose, points, expected, np.full(80, 1.8), offsets, np.array([0.7, 0.9, 1.1]), 0.4, 2.0
    stated = numpy_kernels.gamma_search(*args)
    assert np.count_nonzero(stated == 2.0) >= 10 and np.count_nonzero(stated < 1) > 10
    close(kernels.to_host(kernels.gamma_search(*args)), stated)
    nothing = (dose, points[:0], expected[:0], np.zeros(0), *args[4:])
    close(kernels.to_host(kernels.gamma_search(*nothing)), numpy_kernels.gamma_search(*nothing))


def test_the_order_of_threads_does_not_matter(shim):
    """Blocks and threads run forwards and backwards: a race, or a sum in order of arrival, would show in the bits."""
    shape, maps, taps = components_case(11, 500, 12, np.float32)
    rng = np.random.default_rng(12)
    tables = [rng.random((n, 12, j)).astype(np.float32) for n, j in ((19, 9), (23, 14))]
    sigma = np.geomspace(0.7, 320.0, 12)
    axes = (np.arange(14) * 5.0, np.full(14, 5.0), sigma), (np.arange(9) * 5.0, np.full(9, 5.0), sigma)
    results = []
    for backwards in (False, True):
        shim.device.backwards = backwards
        rows = shim.zeros((500, 50), np.float32)
        shim.spline_rows(*tables, *taps, np.arange(50) // 14, np.arange(50) % 14, np.ones(50), rows)
        largest = shim.zeros(50, np.float64)
        places = (rng.random((500, 1)),) * 2, (np.zeros(50),) * 2, np.array([0, 50])
        shim.largest_near(rows, *places, np.inf, largest)
        planes = np.ascontiguousarray(maps.transpose(2, 0, 1))
        near, room = (shim.zeros(25_000, np.float32), shim.zeros(25_000, np.int32)), np.full(500, 50)
        of_rows = *tables, *taps, np.arange(50) // 14, np.arange(50) % 14, np.ones(50)
        shim.fill_near(of_rows, None, *places, np.inf, room, 50 * np.arange(500), *near)
        results.append(
            [
                shim.gather(maps, *taps),
                shim.scatter(taps[2], shape, *taps),
                shim.field_maps(tables[0], np.ones((9, 14)), tables[1]),
                shim.collect_field(tables[0], planes, tables[1]),
                shim.direct_dose(taps[2] * 50.0, taps[3] * 50.0, taps[4].astype(np.float64), np.ones((9, 14)), *axes),
                rows,
                largest,
                *near,
            ]
        )
    shim.device.backwards = False
    for forwards, backwards in zip(*results, strict=True):
        assert np.array_equal(forwards.get(), backwards.get())


def test_what_follows_from_the_nodes_is_kept_as_long_as_they_live(shim):
    """Voxels are sorted once, not at every adjoint; other voxels in the same memory are not taken for them."""
    shape, _, taps = components_case(13, 50, 12, np.float32)
    before = len(shim._derived)
    shim.scatter(taps[2], shape, *taps)
    shim.scatter(taps[3], shape, *taps)
    assert len(shim._derived) == before + 1
    del taps
    assert len(shim._derived) == before


def test_names_and_arguments_are_those_of_the_numpy_twins():
    """Every kernel of the hot path is there, and each CUDA entry point is launched by one of them."""
    from dosecalc.kernels import numba_kernels

    for name in set(numba_kernels.__all__) - {"threads"}:
        stated = list(inspect.signature(getattr(numpy_kernels, name)).parameters)
        assert list(inspect.signature(getattr(cuda_kernels.CudaKernels, name)).parameters)[1:] == stated, name
    launched = inspect.getsource(cuda_kernels)
    assert [name for name in entry_points() if f'"{name}"' not in launched] == []


def test_a_full_gpu_is_told_in_words(shim, monkeypatch):
    """CuPy's error is a MemoryError; it becomes one of ours, with what to do."""

    def full(shape, dtype):
        raise MemoryError("Out of memory allocating 8,589,934,592 bytes")

    monkeypatch.setattr(shim.device.xp, "empty", full)
    with pytest.raises(ResourceError, match=r"8,589,934,592 bytes.*coarser dose grid"):
        shim.room_for(np.zeros(3))


def test_more_shared_memory_than_a_block_has_is_refused(shim):
    """A lattice of 2,000 x 2,000 beamlets has no place in a block: said before the launch."""
    taps = components_case(14, 1, 24, np.float64)[2]
    tables = [np.zeros((n, 24, 2000)) for n in (19, 23)]
    with pytest.raises(ResourceError, match="shared memory"):
        shim.spline_rows(*tables, *taps, np.zeros(1, int), np.zeros(1, int), np.ones(1), shim.zeros((1, 1), np.float64))

"""Entries written straight into the stored matrix, on every backend, against rows and what is kept of them."""

from __future__ import annotations

import numpy as np
import pytest

from dosecalc.errors import DoseError
from dosecalc.kernels import numpy_kernels

from ..backends import ALL, backend_named

COUNT = 60


@pytest.fixture(params=[name for name in ALL if name != "numpy"])
def kernels(request):
    return backend_named(request.param, request).kernels


def spacing_of(shape, even):
    """Whole numbers, so that many distances are exactly the cut-off; or columns further and further apart."""
    lines, columns = np.arange(shape[0]) * 5.0 - 20.0, np.arange(shape[1]) * 3.0 - 15.0
    return lines, columns if even else columns + 0.1 * np.arange(shape[1]) ** 2


def beam(real, components, shape, even, seed=21):
    """Rows of one beam whose beamlets leave cells of the lattice empty, and where its voxels and beamlets are."""
    rng = np.random.default_rng(seed)
    table_v, table_u = (rng.random((n, components, j)).astype(real) for n, j in zip((9, 11), shape, strict=True))
    # Some voxels read the last node of all.
    iv, iu = (rng.integers(1, n - 1, COUNT).astype(np.int32) for n in (9, 11))
    fv, fu = (rng.uniform(-0.5, 0.5, COUNT).astype(real) for _ in range(2))
    weights = rng.random((COUNT, components)).astype(real)
    cells = np.sort(rng.permutation(shape[0] * shape[1])[: max(1, shape[0] * shape[1] * 4 // 5)])
    row, column = np.divmod(cells, shape[1])
    rows = table_v, table_u, iv, iu, fv, fu, weights, row, column, rng.uniform(0.9, 1.1, cells.size).astype(real)
    lines, columns = spacing_of(shape, even)
    before = np.zeros(4)
    centre = np.r_[before, columns[row]], np.r_[before, lines[row]]
    position = rng.integers(-25, 40, (COUNT, 1)) * 1.0, rng.integers(-25, 40, (COUNT, 1)) * 1.0
    return rows, position, centre, np.array([4, 4 + cells.size])


@pytest.mark.parametrize("real", [np.float32, np.float64])
@pytest.mark.parametrize(("components", "shape", "even"), [(12, (9, 21), True), (5, (4, 9), False), (2, (1, 1), True)])
@pytest.mark.parametrize("cutoff_mm", [np.inf, 15.0, 0.5])
def test_entries_are_those_of_rows(kernels, real, components, shape, even, cutoff_mm):
    rows, position, centre, first = beam(real, components, shape, even)
    values, least = np.zeros((COUNT, first[1]), real), np.full(first[1], -np.inf)
    args = position, centre, first, cutoff_mm
    count = numpy_kernels.count_kept(values, *args, least)
    start = np.r_[2, 2 + np.cumsum(count)]
    stated = np.zeros(start[-1] + 3, np.float32), np.zeros(start[-1] + 3, np.int32)
    numpy_kernels.spline_rows(*rows, values[:, first[0] :])
    numpy_kernels.fill_kept(values, *args, least, start[:-1], *stated)
    made = kernels.zeros(len(stated[0]), np.float32), kernels.zeros(len(stated[1]), np.int32)
    kernels.fill_near(rows, kernels.zeros((7, first[1]), real), *args, count, start[:-1], *made)
    data, indices = (kernels.to_host(each) for each in made)
    assert np.array_equal(indices, stated[1])
    assert np.abs(data - stated[0]).max() <= 5e-7 * stated[0].max()
    # Whole lanes are written, and yet nothing beside the voxels' own entries.
    assert not data[:2].any() and not data[-3:].any()


@pytest.mark.parametrize("name", [name for name in ALL if name != "numpy"])
def test_what_was_counted_otherwise_is_refused(request, name):
    """Room for other entries than lie within the cut-off: told, and nothing is written beyond it."""
    kernels = backend_named(name, request).kernels
    rows, position, centre, first = beam(np.float32, 12, (9, 21), True)
    args = position, centre, first, 15.0
    count = numpy_kernels.count_kept(np.zeros((COUNT, first[1])), *args, np.full(first[1], -np.inf))
    start = np.cumsum(count) - count
    made = kernels.zeros(count.sum(), np.float32), kernels.zeros(count.sum(), np.int32)
    wrong = np.argmax(count)
    count[wrong] -= 1
    with pytest.raises(DoseError, match="1 voxel"):
        kernels.fill_near(rows, None, *args, count, start, *made)
    for each in made:
        assert kernels.to_host(each)[start[wrong] + count[wrong]] == 0

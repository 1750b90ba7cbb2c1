"""What the interior point does with its large arrays: precision on the host, and no host calls on a device."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pytest
import scipy.sparse as sp

from dosecalc.backend import Backend, select_backend
from optimize.escalate import escalate
from optimize.goals import DoseVolumeLimit
from optimize.solvers import HOST, DeviceAlgebra, algebra_beside, interior_point, solve_qp
from optimize.solvers.algebra import DOUBLE_SHARE
from optimize.solvers.device_algebra import _places
from optimize.solvers.structure import DenseRows

from ..twins.device_array import BUS, DeviceArray, Functions, Room, cholesky, on_device, solve_triangular
from .terms_case import make_slice

RNG_SEED = 12


def dense_problem(rows: int = 320, columns: int = 24):
    """``P, q, G, h`` with a bound on each side of every column, and dense rows with their limits."""
    rng = np.random.default_rng(RNG_SEED)
    G = np.vstack([-np.eye(columns), np.eye(columns)])
    h = np.concatenate([np.zeros(columns), np.full(columns, 4.0)])
    block = rng.random((rows, columns))
    return np.diag(rng.random(columns)), -rng.random(columns) - 5.0, G, h, block, 5.0 + 5.0 * rng.random(rows)


def device() -> DeviceAlgebra:
    return DeviceAlgebra(Functions(Room()), cholesky, solve_triangular)


@pytest.mark.parametrize("equality", [False, True])
def test_a_device_is_given_the_dense_work_and_returns_the_same_optimum(equality, monkeypatch):
    P, q, G, h, block, limit = dense_problem()
    A, b = (np.ones((1, len(q))), [8.0]) if equality else (None, None)
    rows = [DenseRows(block, 1.0, 0, None, 0.0, limit)]
    host = solve_qp(P, q, G, h, A, b, dense=rows)
    held = []
    monkeypatch.setattr(interior_point, "equilibrate", _watching(held, interior_point.equilibrate))
    there = solve_qp(P, q, G, h, A, b, dense=rows, algebra=device())
    assert isinstance(held[0].rows.dense, DeviceArray)
    assert there.status == host.status == "optimal"
    np.testing.assert_allclose(there.x, host.x, atol=1e-5)
    np.testing.assert_allclose(there.dual_inequality, host.dual_inequality, atol=1e-4)


FEW = 13
"""Numbers that come back together at most."""


def whole_problem():
    """Every part that the solver knows: curvature, an equality, sparse rows, bounds, dense rows, some with a price."""
    P, q, G, h, block, limit = dense_problem()
    columns = len(q)
    chain = sp.diags_array([1.0, -1.0], offsets=[0, 1], shape=(columns - 1, columns))
    G = sp.vstack([sp.csr_array(G), chain, sp.csr_array((np.full(3, -1.0), (range(3), range(3))), shape=(3, columns))])
    h = np.concatenate([h, np.full(columns - 1, 0.5), np.full(3, -0.25)])
    A, b = np.ones((1, columns)), np.array([10.0])
    half = len(block) // 2
    dense = [
        DenseRows(block[:half], 1.0, 0, None, 0.0, limit[:half] + 10.0),
        DenseRows(block[half:], 1.0, 0, None, 0.0, limit[half:], np.full(len(block) - half, 0.3)),
    ]
    return {"P": P, "q": q, "G": G, "h": h, "A": A, "b": b, "dense": dense}


def test_nothing_but_a_few_numbers_crosses_the_bus_in_an_iteration(monkeypatch):
    """Everything goes there before the first iteration, and the solution comes back after the last one."""
    given, iterations = whole_problem(), []

    def watched(*arguments, **options):
        BUS.clear()
        result = advance(*arguments, **options)
        iterations.append((list(BUS.there), list(BUS.back)))
        return result

    advance = interior_point.advance
    monkeypatch.setattr(interior_point, "advance", watched)
    BUS.clear()
    there = solve_qp(**given, algebra=device())
    assert there.status == "optimal" and len(iterations) >= there.iterations > 5
    assert all(sent == [] for sent, _ in iterations)
    assert all(set(back) <= set(range(1, FEW + 1)) for _, back in iterations)
    assert max(len(back) for _, back in iterations) <= 16
    host = solve_qp(**given)
    np.testing.assert_allclose(there.x, host.x, atol=1e-5)
    np.testing.assert_allclose(there.dual_inequality, host.dual_inequality, atol=1e-4)


def test_every_number_of_a_solve_goes_there_once():
    """Dense rows, and vectors; the norms of rows and columns come back for the scaling, then the measures of every
    iterate, together, and the solution."""
    P, q, G, h, block, limit = dense_problem()
    BUS.clear()
    found = solve_qp(P, q, G, h, dense=[DenseRows(block, 1.0, 0, None, 0.0, limit)], algebra=device())
    rows, columns = block.shape
    assert BUS.there.count(rows * columns) == 1 and sum(BUS.there) < 3 * rows * columns
    large = [size for size in BUS.back if size > FEW]
    scaling, points = large[:14], large[14:]
    assert scaling == [rows, columns] * 7
    assert points == [len(found.x), *[len(found.dual_inequality)] * 2] * 2  # x, z, s: the solution, and a warm start
    assert sum(size >= FEW - 2 for size in BUS.back) == found.iterations + 1 + len(large)


def test_rows_that_were_sent_are_not_sent_again():
    """Row generation: the second problem has 40 rows more and 10 fewer, in another order; then all die on the host."""
    P, q, G, h, block, limit = dense_problem()
    rows, there = [row.astype(np.float32) for row in block], device()

    def solved(chosen, algebra):
        part = DenseRows([rows[i] for i in chosen], 1.0, 0, None, 0.0, limit[chosen])
        return solve_qp(P, q, G, h, dense=[part], algebra=algebra)

    solved(np.arange(200), there)
    BUS.clear()
    again = np.random.default_rng(RNG_SEED).permutation(np.arange(10, 240))
    found = solved(again, there)
    assert [size for size in BUS.there if size > 600] == [40 * len(q)]
    np.testing.assert_allclose(found.x, solved(again, HOST).x, atol=1e-5)
    assert len(there.sent) == 240
    rows.clear()
    assert len(there.sent) == 0


def test_a_warm_start_goes_there_and_comes_back():
    """From the same inner point the device takes the steps of the host; nothing but numbers crosses in between."""
    given = whole_problem()
    cold = solve_qp(**given)
    starts = cold.inner, solve_qp(**given, algebra=device()).inner
    warm = [solve_qp(**given, start=start, algebra=device()) for start in starts]
    host = solve_qp(**given, start=cold.inner)
    assert [each.iterations for each in warm] == [host.iterations] * 2 and host.iterations < cold.iterations
    for each in warm:
        assert each.status == "optimal"
        np.testing.assert_allclose(each.x, cold.x, atol=1e-4)


def test_bounds_of_one_column_are_added():
    """Up to four bounds on a column, none on another, against a sum per bin."""
    column = np.array([3, 0, 3, 1, 3, 0, 3])
    values = np.random.default_rng(RNG_SEED).random(7)
    rows = SimpleNamespace(bound_places=on_device(_places(column, 5)))
    assert rows.bound_places.shape == (4, 5)
    stated = np.bincount(column, weights=values, minlength=5)
    np.testing.assert_allclose(device().on_columns(rows, on_device(values)).get(), stated, rtol=1e-15)
    none = SimpleNamespace(bound_places=on_device(_places(column[:0], 5)))
    assert not device().on_columns(none, on_device(values[:0])).get().any()


def test_a_full_device_takes_fewer_rows_at_once():
    """The normal matrix is the same when the memory holds a quarter of the scaled rows."""
    sizes = []

    def in_parts(what, count, most, run):
        assert most == count
        for begin in range(0, count, 80):
            sizes.append(min(begin + 80, count) - begin)
            run(slice(begin, begin + sizes[-1]))

    block = dense_problem()[4]
    weight, onto = (on_device(a) for a in (np.random.default_rng(RNG_SEED).random(len(block)), np.eye(block.shape[1])))
    whole = device().gram(on_device(block), weight, onto, exact=True)
    parted = DeviceAlgebra(Functions(Room()), cholesky, solve_triangular, in_parts)
    found = parted.gram(on_device(block), weight, onto, exact=True)
    np.testing.assert_allclose(found.get(), whole.get(), rtol=1e-13)
    assert sizes == [80] * 4


def _watching(held, real):
    def watched(*arguments):
        found = real(*arguments)
        held.append(found[0])
        return found

    return watched


def test_a_matrix_without_a_factor_is_none_on_host_and_device():
    indefinite = np.array([[1.0, 2.0], [2.0, 1.0]], order="F")
    assert HOST.cholesky(indefinite.copy(order="F"), np.ones(2)) is None
    assert device().cholesky(on_device(indefinite), on_device(np.ones(2))) is None


def test_single_precision_rounds_only_the_light_rows():
    """Rounding stays below 2^-24 per operation of the light rows' own sum, 10^8 times smaller than the heavy ones'."""
    rng = np.random.default_rng(RNG_SEED)
    block = rng.random((400, 30))
    weight = rng.random(400)
    weight[rng.choice(400, int(DOUBLE_SHARE * 400), replace=False)] *= 1e8
    exact = np.tril((block.T * weight) @ block)
    mixed = np.tril(HOST.gram(block, weight, np.zeros((30, 30), order="F"), exact=False))
    light = weight[weight <= 1.0].sum()
    double_rounding = 1e-13 * np.abs(exact).max()
    assert np.abs(mixed - exact).max() < 20 * 2.0**-24 * light + double_rounding
    assert np.abs(mixed - exact).max() > 2.0**-24 * 1e-3  # and single precision there was
    assert np.abs(np.tril(HOST.gram(block, weight, np.zeros((30, 30), order="F"), exact=True)) - exact).max() < (
        double_rounding
    )


def test_a_whole_escalation_on_a_device(monkeypatch):
    """Every level ends where it does on the host, and the dense work was given to the device."""
    case, asked = make_slice(1), []
    limits = (DoseVolumeLimit("organ_max", True, case.organ, 40.0, 0.5),)
    host = escalate(case.influence, case.goals(*limits))
    there = device()
    monkeypatch.setattr(DeviceAlgebra, "gram", counted(DeviceAlgebra.gram, asked))
    found = escalate(case.influence, case.goals(*limits), algebra=there)
    assert found.prescription_gy == pytest.approx(host.prescription_gy, rel=1e-4)
    assert {level.solver for level in found.levels} == {"INTERIOR_POINT"}
    assert len(asked) > 20


def counted(function, asked):
    def call(self, *args, **options):
        asked.append(function)
        return function(self, *args, **options)

    return call


def test_the_solver_works_beside_the_dose():
    """On the host with every backend of a CPU; with the CUDA kernels on what runs them."""
    assert algebra_beside(select_backend("numpy")) is HOST
    device_of = SimpleNamespace(xp=object(), cholesky=cholesky, solve_triangular=solve_triangular)
    on_gpu = SimpleNamespace(device=device_of, in_parts=lambda *given: None)
    there = algebra_beside(Backend("cupy", "in a test", on_gpu))
    assert isinstance(there, DeviceAlgebra) and (there.xp, there.in_parts) == (device_of.xp, on_gpu.in_parts)

"""What the interior point does with its large arrays: precision on the host, and no host calls on a device."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pytest
import scipy.linalg
from numpy.lib.mixins import NDArrayOperatorsMixin

from dosecalc.backend import Backend, select_backend
from optimize.escalate import escalate
from optimize.goals import DoseVolumeLimit
from optimize.solvers import HOST, DeviceAlgebra, algebra_beside, interior_point, solve_qp
from optimize.solvers.algebra import DOUBLE_SHARE
from optimize.solvers.structure import DenseRows

from .terms_case import make_slice

RNG_SEED = 12


def dense_problem(rows: int = 320, columns: int = 24):
    """``P, q, G, h`` with a bound on each side of every column, and dense rows with their limits."""
    rng = np.random.default_rng(RNG_SEED)
    G = np.vstack([-np.eye(columns), np.eye(columns)])
    h = np.concatenate([np.zeros(columns), np.full(columns, 4.0)])
    block = rng.random((rows, columns))
    return np.diag(rng.random(columns)), -rng.random(columns) - 5.0, G, h, block, 5.0 + 5.0 * rng.random(rows)


class OnDevice(NDArrayOperatorsMixin):
    """An array that, as CuPy's, becomes a NumPy array through ``get`` alone."""

    __array_priority__ = 1000

    def __init__(self, data):
        self.data = data

    def __array__(self, *args, **kwargs):
        raise TypeError("Implicit conversion to a NumPy array is not allowed.")

    def __array_ufunc__(self, ufunc, method, *inputs, **kwargs):
        assert method == "__call__"
        assert all(isinstance(i, OnDevice | float | int) for i in inputs), "a host array met a device array"
        return OnDevice(ufunc(*[i.data if isinstance(i, OnDevice) else i for i in inputs], **kwargs))

    @property
    def T(self):
        return OnDevice(self.data.T)

    @property
    def shape(self):
        return self.data.shape

    def __len__(self):
        return len(self.data)

    def __getitem__(self, part):
        return OnDevice(self.data[part])

    def get(self):
        CROSSED["back"].append(self.data.size)
        return self.data.copy()


CROSSED: dict[str, list[int]] = {"there": [], "back": []}
"""How many numbers each crossing of the bus took, in either direction."""


class Linalg:
    @staticmethod
    def cholesky(matrix):
        try:
            return OnDevice(np.linalg.cholesky(matrix.data))
        except np.linalg.LinAlgError:
            return OnDevice(np.full(matrix.shape, np.nan))  # as CuPy says it


class StandIn:
    """The functions of an array module that the solver may use on a device, on arrays that refuse all others."""

    linalg = Linalg

    @staticmethod
    def asarray(array):
        if isinstance(array, OnDevice):
            return array
        CROSSED["there"].append(np.size(array))
        return OnDevice(np.array(array))

    @staticmethod
    def diag(array):
        return OnDevice(np.diag(array.data).copy())

    @staticmethod
    def tril(array, k=0):
        return OnDevice(np.tril(array.data, k))


def solve_triangular(factor, right, **options):
    return OnDevice(scipy.linalg.solve_triangular(factor.data, right.data, **options))


def device() -> DeviceAlgebra:
    return DeviceAlgebra(StandIn, solve_triangular)


@pytest.mark.parametrize("equality", [False, True])
def test_a_device_is_given_the_dense_work_and_returns_the_same_optimum(equality, monkeypatch):
    P, q, G, h, block, limit = dense_problem()
    A, b = (np.ones((1, len(q))), [8.0]) if equality else (None, None)
    rows = [DenseRows(block, 1.0, 0, None, 0.0, limit)]
    host = solve_qp(P, q, G, h, A, b, dense=rows)
    held = []
    monkeypatch.setattr(interior_point, "equilibrate", _watching(held, interior_point.equilibrate))
    there = solve_qp(P, q, G, h, A, b, dense=rows, algebra=device())
    assert isinstance(held[0].rows.dense, OnDevice)
    assert there.status == host.status == "optimal"
    np.testing.assert_allclose(there.x, host.x, atol=1e-5)
    np.testing.assert_allclose(there.dual_inequality, host.dual_inequality, atol=1e-4)


def test_what_crosses_the_bus_in_an_iteration_is_listed():
    """The rows go there once; then vectors, and one thin matrix of the columns per factorisation. Vectors come back."""
    P, q, G, h, block, limit = dense_problem()
    for crossed in CROSSED.values():
        crossed.clear()
    solve_qp(P, q, G, h, dense=[DenseRows(block, 1.0, 0, None, 0.0, limit)], algebra=device())
    rows, columns = block.shape
    assert CROSSED["there"].count(rows * columns) == 1
    assert set(CROSSED["there"]) <= {rows * columns, columns * columns, rows, columns}
    assert set(CROSSED["back"]) <= {rows, columns}
    assert CROSSED["there"].count(columns * columns) < len(CROSSED["back"]) / 5


def test_a_full_device_takes_fewer_rows_at_once():
    """The normal matrix is the same when the memory holds a quarter of the scaled rows."""
    sizes = []

    def in_parts(what, count, most, run):
        assert most == count
        for begin in range(0, count, 80):
            sizes.append(min(begin + 80, count) - begin)
            run(slice(begin, begin + sizes[-1]))

    block = dense_problem()[4]
    rng, onto = np.random.default_rng(RNG_SEED), np.eye(block.shape[1], order="F")
    weight = rng.random(len(block))
    whole = device().gram(device().hold(block), weight, onto, exact=True)
    parted = DeviceAlgebra(StandIn, solve_triangular, in_parts)
    np.testing.assert_allclose(parted.gram(parted.hold(block), weight, onto, exact=True).data, whole.data, rtol=1e-13)
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
    assert device().cholesky(OnDevice(indefinite), np.ones(2)) is None


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
    device_of = SimpleNamespace(xp=StandIn, solve_triangular=solve_triangular)
    on_gpu = SimpleNamespace(device=device_of, in_parts=lambda *given: None)
    there = algebra_beside(Backend("cupy", "in a test", on_gpu))
    assert isinstance(there, DeviceAlgebra) and (there.xp, there.in_parts) == (StandIn, on_gpu.in_parts)

"""Row generation on a device: doses stay there, voxels are chosen there, and rows go from operator to solver there."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import Any

import cvxpy as cp
import numpy as np
import pytest

from optimize import problem
from optimize.escalate import escalate
from optimize.goals import DoseVolumeLimit
from optimize.matrix import MatrixInfluence
from optimize.operator import dose_in, rows_in
from optimize.solvers import DeviceAlgebra, DoseLimits, solve_with_fallback
from optimize.stacked import StackedInfluence

from ..twins.device_array import BUS, DeviceArray, Functions, Room, cholesky, on_device, solve_triangular
from .terms_case import make_slice


@dataclass(frozen=True, slots=True, eq=False)
class MatrixOnDevice:
    """A matrix that computes there; `rows` is for the certificate and the bound, which work on the host."""

    matrix: MatrixInfluence
    array_module: Functions

    @property
    def shape(self) -> tuple[int, int]:
        return self.matrix.shape

    @property
    def neighbours(self) -> np.ndarray:
        return self.matrix.neighbours

    def dose(self, fluence: np.ndarray) -> np.ndarray:
        return self.matrix.dose(fluence)

    def adjoint(self, weights: np.ndarray) -> np.ndarray:
        return self.matrix.adjoint(weights)

    def rows(self, positions: np.ndarray) -> np.ndarray:
        return self.matrix.rows(positions)

    def dose_there(self, fluence: np.ndarray) -> DeviceArray:
        self.array_module.asarray(fluence)
        return on_device(self.matrix.dose(fluence))

    def rows_there(self, positions: np.ndarray) -> DeviceArray:
        self.array_module.asarray(positions)
        return on_device(self.matrix.rows(positions))

    def restricted_to(self, positions: np.ndarray) -> MatrixOnDevice:
        return dataclasses.replace(self, matrix=self.matrix.restricted_to(positions))

    def at_reference(self) -> MatrixOnDevice:
        return self


def device() -> DeviceAlgebra:
    return DeviceAlgebra(Functions(Room()), cholesky, solve_triangular)


def watched(function: Any, crossings: list[tuple[list[int], list[int]]]) -> Any:
    """The function, with what crossed in either direction while it ran."""

    def call(*given: Any, **options: Any) -> Any:
        before = len(BUS.there), len(BUS.back)
        result = function(*given, **options)
        crossings.append((BUS.there[before[0] :], BUS.back[before[1] :]))
        return result

    return call


def test_doses_and_rows_stay_on_the_device_and_the_plan_is_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    """In a round the fluence goes there, and what was chosen comes back; rows are asked for by position alone."""
    case, there = make_slice(1, finer=3), device()
    limits = (DoseVolumeLimit("organ_max", True, case.organ, 40.0, 0.5),)
    host = escalate(case.influence, case.goals(*limits), tries=0)
    rounds: list[tuple[list[int], list[int]]] = []
    made: list[tuple[list[int], list[int]]] = []
    asked: list[int] = []

    def counted(operator: Any, positions: np.ndarray, xp: Any) -> Any:
        asked.append(positions.size)
        return rows_in(operator, positions, xp)

    doses: list[tuple[list[int], list[int]]] = []
    monkeypatch.setattr(problem, "dose_in", watched(problem.dose_in, doses))
    monkeypatch.setattr(problem, "add_violated", watched(problem.add_violated, rounds))
    monkeypatch.setattr(problem, "rows_in", watched(counted, made))
    BUS.clear()
    found = escalate(MatrixOnDevice(case.influence, there.xp), case.goals(*limits), tries=0, algebra=there)
    assert found.prescription_gy == pytest.approx(host.prescription_gy, rel=1e-4)
    assert {level.solver for level in found.levels} == {"INTERIOR_POINT"}
    voxels, beamlets = case.influence.shape
    assert len(rounds) > 10
    assert doses == [([beamlets], [])] * len(rounds)
    for sent, back in rounds:
        assert sent == []
        assert back[0] % 3 == 0 and back[0] <= 15, "three numbers of every family, together"
        assert max(back) < voxels / 4
    assert made == [([count], []) for count in asked] and asked
    assert len(there.sent) == 0, "a row was sent from the host"


def test_rows_made_there_are_read_here_where_they_are_asked_for() -> None:
    """As solvers of the host do; beside rows of the host, which are sent once."""
    there, rng = device(), np.random.default_rng(3)
    block, x = rng.random((7, 5)), rng.standard_normal(5)
    rows = [*there.rows_of(on_device(block[:4])), *there.rows_of(on_device(block[4:6])), block[6]]
    rows = [rows[k] for k in (5, 0, 6, 3, 1, 4, 2)]
    stated = block[[5, 0, 6, 3, 1, 4, 2]]
    np.testing.assert_array_equal(np.array(rows), stated)
    BUS.clear()
    found, size = there.products(rows, x)
    np.testing.assert_allclose(found, stated @ x, rtol=1e-14)
    assert size == pytest.approx((np.abs(stated) @ np.abs(x)).max(), rel=1e-14)
    assert sorted(BUS.back) == [3, 7]  # the largest of each of three stacks, and one number per row
    assert there.products([], x)[1] == 0.0 and there.products([], x)[0].size == 0


def test_a_solver_of_the_host_is_given_rows_of_the_device() -> None:
    """As where the structured solver fails on a GPU."""
    rng, x = np.random.default_rng(5), cp.Variable(4)
    block, level = rng.random((9, 4)), np.full(9, 2.0)
    master = cp.Problem(cp.Maximize(cp.sum(x)), [x >= 0])
    there = device()
    limits = [DoseLimits(x, there.rows_of(on_device(block)), level)]
    record = solve_with_fallback(master, limits=limits, order=("CLARABEL",), algebra=there)
    assert record.solver == "CLARABEL"
    stated = cp.Problem(cp.Maximize(cp.sum(x)), [x >= 0, block @ x <= level])
    found = master.objective.value
    assert found == pytest.approx(stated.solve(solver="HIGHS"), rel=1e-6)


def test_a_full_device_hands_over_to_a_solver_of_the_host() -> None:
    """Rows that were made there are read where they are; nothing more is asked of the device."""
    room = Room()
    there = DeviceAlgebra(Functions(room), cholesky, solve_triangular)
    rng, x = np.random.default_rng(5), cp.Variable(4)
    rows = there.rows_of(room.take(rng.random((9, 4)).astype(np.float32)))
    master, limits = cp.Problem(cp.Maximize(cp.sum(x)), [x >= 0]), [DoseLimits(x, rows, np.full(9, 2.0))]
    solve_with_fallback(master, limits=limits)
    best, room.capacity = master.objective.value, room.held
    record = solve_with_fallback(master, limits=limits, algebra=there)
    assert record.solver == "CLARABEL" and "MemoryError" in record.attempts[0][1]
    assert master.objective.value == pytest.approx(best, rel=1e-6)


def test_rows_are_multiplied_in_parts_where_the_device_is_full() -> None:
    """And written into the solver's block so."""
    rng, parts = np.random.default_rng(8), []

    def in_parts(what: str, count: int, most: int, run: Any) -> None:
        for first in range(0, count, 3):
            parts.append(what)
            run(slice(first, min(first + 3, count)))

    there = DeviceAlgebra(Functions(Room()), cholesky, solve_triangular, in_parts)
    block, x = rng.random((7, 5)), rng.random(5)
    rows = there.rows_of(on_device(block))
    np.testing.assert_allclose(there.products(rows[::-1], x)[0], block[::-1] @ x, rtol=1e-14)
    for columns in (slice(1, 6), np.array([6, 0, 2, 5, 1])):
        held = on_device(np.zeros((7, 7)))
        there.write(rows[::-1], held, columns)
        np.testing.assert_array_equal(held.get()[:, columns], block[::-1])
    assert parts == ["the doses of the solver's rows"] * 3 + ["the solver's rows"] * 6


@pytest.mark.parametrize("both", [True, False])
def test_stacked_operators_answer_where_the_first_is(both: bool) -> None:
    """In the order asked for; the second may be on the host."""
    coarse, fine, there = make_slice(1).influence, make_slice(2).influence, device()
    below = MatrixOnDevice(fine, there.xp) if both else fine
    stacked, stated = StackedInfluence(MatrixOnDevice(coarse, there.xp), below), StackedInfluence(coarse, fine)
    x, split = np.random.default_rng(2).random(coarse.shape[1]), coarse.shape[0]
    mixed = np.array([split + 3, 5, split, 0, split + 1, 2])
    assert stacked.array_module is there.xp and stated.array_module is np
    np.testing.assert_array_equal(dose_in(stacked, x, there.xp).get(), stated.dose(x))
    np.testing.assert_array_equal(rows_in(stacked, mixed, there.xp).get(), stated.rows(mixed))
    np.testing.assert_array_equal(dose_in(stacked, x, np), stated.dose(x))
    np.testing.assert_array_equal(dose_in(stated, x, there.xp).get(), stated.dose(x))

"""Dose rows given to the solver directly say the same as CVXPY constraints, on random masters and in every fallback."""

from __future__ import annotations

import cvxpy as cp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dosecalc.errors import OptimisationError
from optimize.solvers import DoseLimits, StructuredInteriorPoint, solve_qp, solve_with_fallback
from optimize.solvers.structure import DenseRows

BEAMLETS = 18


def random_master(seed: int, *, smoothness: float, cone: bool = False, rows: int = 70):
    """Raise the level of a target under organ caps: the problem without its voxels, and their limits."""
    rng = np.random.default_rng(seed)
    x, level = cp.Variable(BEAMLETS, name="fluence"), cp.Variable(name="level")
    target, organ = 0.5 + rng.random((rows, BEAMLETS)), rng.random((2 * rows, BEAMLETS)) * rng.random(BEAMLETS)
    limits = [
        DoseLimits(x, list(target), np.zeros(rows), level, 1.0, -1),
        DoseLimits(x, list(target), np.zeros(rows), level, 1.8),
        DoseLimits(x, list(organ), 0.5 + rng.random(2 * rows)),
    ]
    spread = smoothness * cp.sum_squares(cp.diff(x)) if smoothness else 0.0
    constraints = [x >= 0, level <= 50.0]
    if cone:
        constraints.append(cp.norm(x) <= 1.0)
    return cp.Problem(cp.Maximize(level - spread), constraints), limits


@settings(max_examples=8, deadline=None, derandomize=True)
@given(seed=st.integers(0, 2**32 - 1), smoothness=st.sampled_from([0.0, 1e-3, 0.1]))
def test_objectives_agree_with_clarabel_and_highs(seed, smoothness):
    """Relative 1e-4 is the agreement that plans rely on; HiGHS for linear masters, CLARABEL for quadratic ones."""
    problem, limits = random_master(seed, smoothness=smoothness)
    record = solve_with_fallback(problem, limits=limits, order=("INTERIOR_POINT",))
    found = problem.objective.value
    other = solve_with_fallback(problem, limits=limits, order=("CLARABEL" if smoothness else "HIGHS",))
    assert record.status == other.status == "optimal"
    assert found == pytest.approx(problem.objective.value, rel=1e-4)


def test_multipliers_are_those_of_the_same_constraints():
    problem, limits = random_master(3, smoothness=0.05)
    solve_with_fallback(problem, limits=limits)
    direct = [limit.dual_value for limit in limits]
    solve_with_fallback(problem, limits=limits, order=("CLARABEL",))
    for limit, multipliers in zip(limits, direct, strict=True):
        assert multipliers.min() >= 0
        np.testing.assert_allclose(multipliers, limit.dual_value, atol=1e-4)
    # Stationarity in the level: a unit more of it costs what the rows that hold it down are worth.
    assert direct[0].sum() - 1.8 * direct[1].sum() == pytest.approx(1.0, abs=1e-5)


@pytest.mark.parametrize("smoothness", [0.0, 0.05])
def test_rows_at_a_price_cost_the_same_as_in_clarabel(smoothness):
    problem, limits = random_master(8, smoothness=smoothness)
    price = np.random.default_rng(8).uniform(0.005, 0.05, len(limits[2].rows))
    limits[2] = DoseLimits(limits[2].variable, limits[2].rows, limits[2].level, price=price)

    def worth() -> float:
        excess = np.array(limits[2].rows) @ limits[2].variable.value - limits[2].level
        assert excess.max() > 1e-3  # some are paid for
        return float(problem.objective.value - price @ np.maximum(excess, 0.0))

    record = solve_with_fallback(problem, limits=limits)
    found, multipliers = worth(), limits[2].dual_value
    assert record.solver == "INTERIOR_POINT"
    assert multipliers.min() >= 0 and np.all(multipliers <= price + 1e-6)
    solve_with_fallback(problem, limits=limits, order=("CLARABEL",))
    assert found == pytest.approx(worth(), rel=1e-4)
    np.testing.assert_allclose(multipliers, limits[2].dual_value, atol=1e-4)


def test_few_digits_take_fewer_iterations_and_prove_nothing():
    problem, limits = random_master(9, smoothness=0.01)
    exact = solve_with_fallback(problem, limits=limits)
    best = problem.objective.value
    loose = solve_with_fallback(problem, limits=limits, tolerance=1e-3)
    assert loose.iterations < exact.iterations
    assert problem.objective.value == pytest.approx(best, rel=1e-2)
    floor = DoseLimits(limits[0].variable, limits[0].rows, np.full(70, 1e3), sense=-1)
    record = solve_with_fallback(problem, limits=[*limits, floor], tolerance=1e-3)
    assert record.status == "infeasible"
    assert [name for name, _ in record.attempts] == ["INTERIOR_POINT", "INTERIOR_POINT", "CLARABEL"]


def test_a_grown_master_is_solved_without_stale_rows():
    problem, limits = random_master(4, smoothness=0.0)
    few = [DoseLimits(m.variable, m.rows[:20], m.level[:20], m.scalar, m.slope, m.sense) for m in limits]
    solve_with_fallback(problem, limits=few)
    loose = float(problem.objective.value)
    solve_with_fallback(problem, limits=limits)
    assert problem.objective.value < loose - 1e-3
    assert max(limit.violation_and_size()[0] for limit in limits) < 1e-5


def test_a_cone_is_left_to_clarabel_and_the_record_says_so():
    problem, limits = random_master(5, smoothness=0.0, cone=True)
    record = solve_with_fallback(problem, limits=limits)
    assert record.solver == "CLARABEL" and "raised SolverError" in record.attempts[0][1]
    stated = cp.Problem(problem.objective, [*problem.constraints, *(limit.stated()[0] for limit in limits)])
    found = problem.objective.value
    stated.solve(solver="SCS", eps=1e-7)
    assert found == pytest.approx(stated.value, rel=1e-4)


def test_infinitely_wrong_rows_and_unknown_variables_are_told():
    with pytest.raises(OptimisationError, match="dense row"):
        solve_qp(None, [1.0], [[-1.0]], [0.0], dense=[DenseRows([np.array([np.nan])], 1.0, 0, None, 0.0, np.ones(1))])
    with pytest.raises(OptimisationError, match="dense row"):
        solve_qp(None, [1.0], [[-1.0]], [0.0], dense=[DenseRows([np.ones(1)], 1.0, 0, None, 0.0, np.full(1, np.inf))])
    x = cp.Variable(2, nonneg=True, name="declared")
    limits = [DoseLimits(x, [np.ones(2)], np.ones(1))]
    with pytest.raises(OptimisationError, match="declared of a dose limit is not a plain variable"):
        cp.Problem(cp.Maximize(cp.sum(x))).solve(solver=StructuredInteriorPoint(), limits=limits)


class Breaking(StructuredInteriorPoint):
    """Solves a problem without its dose limits, and says that it is optimal."""

    def name(self):
        return "FORGETFUL"

    def solve_via_data(self, data, warm_start, verbose, solver_opts, solver_cache=None):
        return super().solve_via_data(data, warm_start, verbose, {**solver_opts, "limits": ()}, solver_cache)


def test_a_solver_that_forgets_the_dose_limits_is_found_out():
    problem, limits = random_master(6, smoothness=1e-3)
    record = solve_with_fallback(problem, limits=limits, order=(Breaking(), "CLARABEL"))
    assert record.solver == "CLARABEL"
    assert record.attempts[0][0] == "FORGETFUL" and "dose limits 1 are violated" in record.attempts[0][1]


def test_contradicting_dose_limits_are_infeasible_for_two_solvers():
    problem, limits = random_master(7, smoothness=0.0)
    floor = DoseLimits(limits[0].variable, limits[0].rows, np.full(70, 1e3), sense=-1)
    record = solve_with_fallback(problem, limits=[*limits, floor])
    assert record.status == "infeasible"
    assert [name for name, _ in record.attempts] == ["INTERIOR_POINT", "CLARABEL"]

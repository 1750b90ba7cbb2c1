"""The structured interior point against CLARABEL, against laws, and inside the chain of solvers."""

from __future__ import annotations

from dataclasses import replace

import cvxpy as cp
import cvxpy.settings as cps
import numpy as np
import pytest
import scipy.sparse as sp

from dosecalc.errors import OptimisationError
from optimize.solvers import StructuredInteriorPoint, interior_point, solve_qp, solve_with_fallback
from optimize.solvers.interior_point import QpSolution
from optimize.solvers.presolve import reduce_problem
from optimize.solvers.scaling import equilibrate

SEEDS = range(6)
# CLARABEL's own word on some of the random linear programs; the comparison holds all the same.
pytestmark = pytest.mark.filterwarnings("ignore:Solution may be inaccurate:UserWarning")


def random_problem(seed: int, *, quadratic: bool, equalities: int = 0, n: int = 25, m: int = 60):
    """A feasible, bounded problem ``P, q, G, h, A, b``; the last 2n rows are bounds."""
    rng = np.random.default_rng(seed)
    inside = rng.normal(size=n)
    dense = rng.normal(size=(m, n))
    G = np.vstack([dense, -np.eye(n), np.eye(n)])
    h = np.concatenate([dense @ inside + rng.random(m), 2 - inside, 3 + inside])
    factor = rng.normal(size=(n // 3, n))
    P = factor.T @ factor if quadratic else np.zeros((n, n))
    A = rng.normal(size=(equalities, n))
    return P, rng.normal(size=n), G, h, A, A @ inside


def clarabel(P, q, G, h, A, b):
    """Objective, inequality duals and equality duals from CLARABEL, through CVXPY."""
    x = cp.Variable(len(q))
    constraints = [G @ x <= h] + ([A @ x == b] if len(b) else [])
    curvature = 0.5 * cp.quad_form(x, cp.psd_wrap(P)) if P.any() else 0.0
    problem = cp.Problem(cp.Minimize(curvature + q @ x), constraints)
    problem.solve(solver="CLARABEL")
    return problem.value, [c.dual_value for c in constraints]


def objective(P, q, x):
    return 0.5 * x @ P @ x + q @ x


@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize("quadratic", [False, True])
@pytest.mark.parametrize("equalities", [0, 4])
def test_objective_and_duals_agree_with_clarabel(seed, quadratic, equalities):
    data = random_problem(seed, quadratic=quadratic, equalities=equalities)
    P, q, G, h, *_ = data
    solution = solve_qp(*data, tol=1e-9)
    value, duals = clarabel(*data)
    assert solution.status == "optimal"
    assert objective(P, q, solution.x) == pytest.approx(value, rel=1e-6, abs=1e-6)
    assert (G @ solution.x - h).max() < 1e-6
    # Random data make the optimum, and with it the multipliers, unique.
    np.testing.assert_allclose(solution.dual_inequality, duals[0], atol=1e-4 * (1 + np.abs(duals[0]).max()))
    if equalities:
        np.testing.assert_allclose(solution.dual_equality, duals[1], atol=1e-4 * (1 + np.abs(duals[1]).max()))


@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize("quadratic", [False, True])
def test_kkt_conditions_hold(seed, quadratic):
    P, q, G, h, A, b = random_problem(seed, quadratic=quadratic, equalities=3)
    s = solve_qp(P, q, G, h, A, b, tol=1e-9)
    stationarity = P @ s.x + q + G.T @ s.dual_inequality + A.T @ s.dual_equality
    assert np.abs(stationarity).max() < 1e-6
    assert s.dual_inequality.min() >= 0
    assert np.abs(s.dual_inequality * (G @ s.x - h)).max() < 1e-5
    assert np.abs(A @ s.x - b).max() < 1e-7


def test_bounds_only_has_the_analytic_answer():
    # min sum (x_i - c_i)^2 / 2 in [0, 1]: clip(c); multipliers are the overshoot.
    c = np.array([-0.5, 0.25, 2.0])
    G, h = np.vstack([-np.eye(3), np.eye(3)]), np.array([0.0, 0, 0, 1, 1, 1])
    s = solve_qp(np.eye(3), -c, G, h, tol=1e-10)
    np.testing.assert_allclose(s.x, [0, 0.25, 1], atol=1e-6)
    np.testing.assert_allclose(s.dual_inequality, [0.5, 0, 0, 0, 0, 1.0], atol=1e-6)


def test_equality_only_solves_the_linear_system():
    # The point of the line x + 2 y = 5 nearest to the origin is (1, 2), with multiplier -1.
    s = solve_qp(np.eye(2), np.zeros(2), np.zeros((0, 2)), np.zeros(0), [[1.0, 2.0]], [5.0])
    np.testing.assert_allclose(s.x, [1, 2], atol=1e-6)
    np.testing.assert_allclose(s.dual_equality, [-1], atol=1e-6)


def test_primal_infeasible_carries_a_farkas_certificate():
    P, q, G, h, *_ = random_problem(1, quadratic=True)
    direction = np.ones(len(q))
    G = np.vstack([G, direction])
    h = np.append(h, -1e3)  # below what the bounds allow
    s = solve_qp(P, q, G, h)
    assert s.status == "primal_infeasible"
    assert np.isnan(s.x).all()
    z = s.dual_inequality / -(h @ s.dual_inequality)
    assert z.min() >= 0 and np.abs(G.T @ z).max() < 1e-5


def test_contradicting_equalities_and_empty_rows_are_infeasible():
    bounds, limits = np.vstack([-np.eye(2), np.eye(2)]), np.ones(4)
    apart = solve_qp(None, [1.0, 1.0], bounds, limits, [[1.0, 1.0], [1.0, 1.0]], [0.0, 1.0])
    assert apart.status == "primal_infeasible"
    empty = solve_qp(None, [1.0, 1.0], np.vstack([bounds, np.zeros(2)]), np.append(limits, -1.0))
    assert empty.status == "primal_infeasible"
    np.testing.assert_array_equal(empty.dual_inequality, [0, 0, 0, 0, 1])
    nothing = solve_qp(None, [1.0, 1.0], bounds, limits, np.zeros((1, 2)), [1.0])
    assert nothing.status == "primal_infeasible"


def test_unbounded_returns_a_ray_of_descent():
    P = np.diag([1.0, 0.0])
    s = solve_qp(P, [0.0, -1.0], [[1.0, -1.0], [0.0, -1.0]], [1.0, 0.0])
    assert s.status == "dual_infeasible"
    ray = s.x / np.abs(s.x).max()
    assert ray[1] == pytest.approx(1) and abs(ray[0]) < 1e-5


def test_redundant_and_degenerate_rows_change_nothing():
    P, q, G, h, A, b = random_problem(2, quadratic=False, equalities=2)
    once = solve_qp(P, q, G, h, A, b, tol=1e-9)
    twice = solve_qp(
        P, q, np.vstack([G, G, 2 * G[:5]]), np.r_[h, h, 2 * h[:5]], np.vstack([A, A]), np.r_[b, b], tol=1e-9
    )
    assert twice.status == "optimal"
    assert q @ twice.x == pytest.approx(q @ once.x, rel=1e-7)


def test_degenerate_vertex():
    # Every limit of max x + y meets in (1, 1).
    G = np.array([[1.0, 0], [0, 1], [1, 1], [2, 1], [1, 2], [-1, 0], [0, -1]])
    s = solve_qp(None, [-1.0, -1.0], G, [1, 1, 2, 3, 3, 0, 0])
    np.testing.assert_allclose(s.x, [1, 1], atol=1e-6)


@pytest.mark.parametrize("factor", [100.0, 1e-3])
def test_units_do_not_change_the_answer(factor):
    P, q, G, h, A, b = random_problem(3, quadratic=True, equalities=2)
    gray = solve_qp(P, q, G, h, A, b, tol=1e-10)
    scaled_rows = G.copy()
    scaled_rows[:60] *= factor
    scaled_limits = h.copy()
    scaled_limits[:60] *= factor
    other = solve_qp(P, q, scaled_rows, scaled_limits, A, b, tol=1e-10)
    np.testing.assert_allclose(other.x, gray.x, atol=1e-7)
    # The two may stop an iteration apart: multipliers agree relative to the largest.
    allowed = 1e-6 * gray.dual_inequality.max()
    np.testing.assert_allclose(other.dual_inequality[:60] * factor, gray.dual_inequality[:60], atol=allowed)
    both = ((G, h), (scaled_rows, scaled_limits))
    inside = [equilibrate(reduce_problem(P, q, *rows, A, b).problem)[0] for rows in both]
    np.testing.assert_allclose(inside[0].rows.dense, inside[1].rows.dense, atol=1e-13)
    np.testing.assert_allclose(inside[0].h, inside[1].h, atol=1e-13)


def test_hinge_columns_stay_out_of_the_factored_matrix_and_change_nothing():
    rng = np.random.default_rng(5)
    rows, n = rng.random((40, 12)), 12
    weight = np.full(40, 0.1)
    # min sum w (1 - R x)_+ + 0.1 sum x, x >= 0: u >= 1 - R x, u >= 0.
    G = np.block([[-rows, -np.eye(40)], [-np.eye(n), np.zeros((n, 40))], [np.zeros((40, n)), -np.eye(40)]])
    h = np.r_[-np.ones(40), np.zeros(n + 40)]
    q = np.r_[np.full(n, 0.1), weight]
    reduced = reduce_problem(None, q, G, h, None, None)
    assert reduced.problem.rows.core == n
    s = solve_qp(None, q, G, h, tol=1e-9)
    value, _ = clarabel(np.zeros((n + 40, n + 40)), q, G, h, np.zeros((0, n + 40)), np.zeros(0))
    assert q @ s.x == pytest.approx(value, rel=1e-6)
    assert np.abs(q + G.T @ s.dual_inequality).max() < 1e-7


def test_defined_variables_are_substituted_with_their_multipliers():
    # CVXPY states sum_squares(D x) as y = D x: y and its equalities must not reach the factorisation.
    rng = np.random.default_rng(6)
    difference, target = np.diff(np.eye(20), axis=0), rng.random(20)
    x = cp.Variable(20)
    constraints = [x >= target, cp.sum(x) == 1.2 * target.sum()]
    problem = cp.Problem(cp.Minimize(cp.sum_squares(difference @ x)), constraints)
    data = problem.get_problem_data(StructuredInteriorPoint())[0]
    reduced = reduce_problem(data["P"], data["q"], data["F"], data["G"], data["A"], data["b"])
    assert reduced.problem.rows.columns == 20 and len(reduced.problem.b) == 1
    problem.solve(solver="CLARABEL")
    value, duals = problem.value, [c.dual_value for c in constraints]
    problem.solve(solver=StructuredInteriorPoint(), tol=1e-9)
    assert problem.value == pytest.approx(value, rel=1e-6)
    for constraint, dual in zip(constraints, duals, strict=True):
        np.testing.assert_allclose(constraint.dual_value, dual, atol=1e-5)


def test_sparse_and_dense_rows_agree():
    P, q, G, h, *_ = random_problem(7, quadratic=True, n=60)
    rng = np.random.default_rng(7)
    thin = np.zeros((30, 60))
    for row in thin:
        row[rng.choice(60, 2, replace=False)] = 1.0
    G, h = np.vstack([G, thin]), np.r_[h, np.full(30, 8.0)]
    reduced = reduce_problem(P, q, G, h, None, None)
    assert reduced.problem.rows.sparse.shape[0] == 30
    s = solve_qp(sp.csr_array(P), q, sp.csc_array(G), h)
    value, _ = clarabel(P, q, G, h, np.zeros((0, 60)), np.zeros(0))
    assert objective(P, q, s.x) == pytest.approx(value, rel=1e-6)


def test_infinite_limits_are_no_limits_and_inputs_are_untouched():
    P, q, G, h, *_ = random_problem(8, quadratic=True)
    open_limits = h.copy()
    open_limits[:3] = np.inf
    before = [a.copy() for a in (P, q, G, open_limits)]
    s = solve_qp(P, q, G, open_limits)
    reference = solve_qp(P, q, G[3:], h[3:])
    np.testing.assert_allclose(s.x, reference.x, atol=1e-9)
    assert (s.dual_inequality[:3] == 0).all()
    for array, copy in zip((P, q, G, open_limits), before, strict=True):
        np.testing.assert_array_equal(array, copy)


def test_steps_that_raise_the_dual_residual_are_followed_by_refined_ones(monkeypatch):
    """Every direction of one factorisation misses here, as it does where weights span many orders."""
    problem = random_problem(5, quadratic=True)
    exact, asked = interior_point.advance, []

    def inexact(qp, at, measure, *, refine):
        asked.append(refine)
        moved = exact(qp, at, measure, refine=refine)
        return moved if refine or moved is None else replace(moved, x=moved.x + 1e-3 * np.abs(moved.x).max())

    expected = solve_qp(*problem)
    monkeypatch.setattr(interior_point, "advance", inexact)
    solution = solve_qp(*problem)
    assert solution.status == "optimal"
    assert not asked[0] and asked[-1]
    assert objective(*problem[:2], solution.x) == pytest.approx(objective(*problem[:2], expected.x), rel=1e-6)


def test_limits_of_iterations_and_bad_data_are_told():
    data = random_problem(9, quadratic=True)
    assert solve_qp(*data, max_iterations=1).status == "iteration_limit"
    assert solve_qp(*data, time_limit_s=-1.0).status == "time_limit"
    P, q, G, h, *_ = data
    with pytest.raises(OptimisationError, match="NaN"):
        solve_qp(P, q, np.where(G > 2, np.nan, G), h)
    with pytest.raises(OptimisationError, match="shape"):
        solve_qp(P, q[:-1], G, h)


# ---- inside CVXPY and the chain of solvers ----------------------------------------------------------------


def escalation(*, smooth: bool = False, floor: float = 0.0):
    """Raise the level ``t`` of a small target under organ caps; the names follow the planning problem."""
    rng = np.random.default_rng(11)
    target, organ = 0.5 + rng.random((15, 10)), rng.random((25, 10))
    x, t = cp.Variable(10, name="x"), cp.Variable(name="t")
    constraints = [x >= 0, target @ x >= t, organ @ x <= 1.0, target @ x <= t / 0.6, t >= floor]
    level = t - 0.01 * cp.sum_squares(x) if smooth else t
    return cp.Problem(cp.Maximize(level), constraints)


@pytest.mark.parametrize("smooth", [False, True])
def test_cvxpy_duals_have_cvxpys_signs_under_maximise(smooth):
    problem = escalation(smooth=smooth)
    problem.solve(solver="CLARABEL")
    value, duals = problem.value, [c.dual_value for c in problem.constraints]
    problem.solve(solver=StructuredInteriorPoint(), tol=1e-9)
    assert problem.status == "optimal"
    assert problem.value == pytest.approx(value, rel=1e-6)
    for constraint, dual in zip(problem.constraints, duals, strict=True):
        np.testing.assert_allclose(constraint.dual_value, dual, atol=1e-5)


def test_dual_is_the_shadow_price_of_a_cap():
    def solved(cap):
        x, t = cp.Variable(10), cp.Variable()
        rng = np.random.default_rng(11)
        target, organ = 0.5 + rng.random((15, 10)), rng.random((25, 10))
        limit = organ @ x <= cap
        problem = cp.Problem(cp.Maximize(t), [x >= 0, target @ x >= t, limit])
        problem.solve(solver=StructuredInteriorPoint(), tol=1e-10)
        return problem.value, np.sum(limit.dual_value)

    step = 1e-3
    slope = (solved(1 + step)[0] - solved(1 - step)[0]) / (2 * step)
    assert solved(1.0)[1] == pytest.approx(slope, rel=1e-4)


class Faulty(StructuredInteriorPoint):
    """A solver that misbehaves: ``fault`` turns the honest solution into what it returns."""

    def __init__(self, label, fault):
        super().__init__()
        self.label, self.fault = label, fault

    def name(self):
        return self.label

    def solve_via_data(self, *args, **kwargs):
        solution, value, seconds = super().solve_via_data(*args, **kwargs)
        return self.fault(solution), value, seconds


def raising(solution):
    raise RuntimeError("numerical panic")


def with_x(change):
    def fault(solution: QpSolution) -> QpSolution:
        fields = {name: getattr(solution, name) for name in QpSolution.__slots__}
        return QpSolution(**fields | {"x": change(solution.x)})

    return fault


def with_status(status):
    def fault(solution: QpSolution) -> QpSolution:
        fields = {name: getattr(solution, name) for name in QpSolution.__slots__}
        return QpSolution(**fields | {"status": status})

    return fault


@pytest.mark.parametrize(
    ("label", "fault", "words"),
    [
        ("RAISES", raising, "raised RuntimeError: numerical panic"),
        ("NAN", with_x(lambda x: np.full_like(x, np.nan)), "no finite value"),
        ("LIES", with_x(lambda x: 1.001 * x), "is violated by"),
        ("WRONGLY_INFEASIBLE", with_status("primal_infeasible"), "infeasible"),
        ("GIVES_UP", with_status("numerical_error"), "raised SolverError"),
        ("TIMES_OUT", with_status("time_limit"), "raised SolverError"),
        ("WRONGLY_UNBOUNDED", with_status("dual_infeasible"), "unbounded"),
    ],
)
def test_a_faulty_solver_is_passed_over_and_named(label, fault, words):
    honest = escalation()
    honest.solve(solver="CLARABEL")
    problem = escalation()
    record = solve_with_fallback(problem, order=(Faulty(label, fault), "CLARABEL"))
    assert record.solver == "CLARABEL" and record.status == "optimal"
    assert problem.value == pytest.approx(honest.value, rel=1e-7)
    assert record.attempts[0][0] == label and words in record.attempts[0][1]
    assert record.threads >= 1 and record.iterations > 0


def test_all_solvers_failing_is_one_error_that_names_each():
    problem = escalation(smooth=True)
    with pytest.raises(OptimisationError, match=r"BROKEN: raised RuntimeError.*HIGHS: skipped.*quadratic"):
        solve_with_fallback(problem, order=(Faulty("BROKEN", raising), "HIGHS"))
    assert all(v.value is None for v in problem.variables())
    with pytest.raises(OptimisationError, match="time limit was reached"):
        solve_with_fallback(problem, time_limit_s=0.0)


def test_infeasible_needs_two_solvers():
    record = solve_with_fallback(escalation(floor=1e3))
    assert record.status == "infeasible"
    assert [name for name, _ in record.attempts] == ["INTERIOR_POINT", "CLARABEL"]
    with pytest.raises(OptimisationError, match="infeasible in"):
        solve_with_fallback(escalation(floor=1e3), order=("INTERIOR_POINT",))


def test_unbounded_needs_two_solvers():
    t = cp.Variable()
    record = solve_with_fallback(cp.Problem(cp.Maximize(t), [t >= 1]))
    assert record.status == "unbounded" and len(record.attempts) == 2


def test_the_interior_point_is_first_and_an_active_constraint_written_against_zero_is_no_lie():
    x = cp.Variable(3)
    problem = cp.Problem(cp.Minimize(cp.sum(x)), [1.0 - cp.sum(x) <= 0, x >= 0, x[0] - x[1] == 0])
    record = solve_with_fallback(problem)
    assert record.solver == "INTERIOR_POINT" and len(record.attempts) == 1
    assert problem.value == pytest.approx(1.0, rel=1e-6)


def test_a_slack_at_zero_is_no_lie():
    problem = escalation()
    slack = cp.Variable(nonneg=True, name="slack")
    target, *rest = problem.constraints[1:]
    soft = cp.Problem(
        cp.Maximize(problem.objective.args[0] - 100 * slack),
        [problem.constraints[0], target, *rest, slack >= 0, slack <= 0.1],
    )
    record = solve_with_fallback(soft)
    assert record.solver == "INTERIOR_POINT" and slack.value == pytest.approx(0.0, abs=1e-6)


def test_the_chain_reaches_highs_for_a_linear_problem():
    problem = escalation()
    record = solve_with_fallback(problem, order=(Faulty("BROKEN", raising), "HIGHS"))
    assert record.solver == "HIGHS" and problem.status == cps.OPTIMAL

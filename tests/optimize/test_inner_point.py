"""Warm starts: the same optimum from a point of the problem with fewer rows, in fewer iterations."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest

from optimize.solvers import DoseLimits, solve_qp, solve_with_fallback
from optimize.solvers.embedding import starting_point
from optimize.solvers.inner_point import kept_point, started_at
from optimize.solvers.presolve import reduce_problem
from optimize.solvers.scaling import equilibrate
from optimize.solvers.structure import DenseRows, times

from .test_dose_limits import random_master

COLUMNS, KNOWN = 12, 54


def priced_problem(seed: int = 5, rows: int = 60):
    """``P, q, G, h`` with an equality-defined column, hard dense rows, and as many that have a price."""
    rng = np.random.default_rng(seed)
    G, h = -np.eye(COLUMNS), np.zeros(COLUMNS)
    hard = DenseRows(rng.random((rows, COLUMNS)), 1.0, 0, None, 0.0, 1.0 + rng.random(rows))
    soft = DenseRows(rng.random((rows, COLUMNS)), -1.0, 0, None, 0.0, -rng.random(rows), rng.uniform(0.01, 0.1, rows))
    return np.diag(rng.random(COLUMNS)), rng.random(COLUMNS), G, h, hard, soft


def first_rows(given: DenseRows, count: int) -> DenseRows:
    price = None if given.price is None else given.price[:count]
    return dataclasses.replace(given, rows=given.rows[:count], h=given.h[:count], price=price)


def scaled(given, dense):
    reduced = reduce_problem(*given, None, None, dense)
    return reduced, *equilibrate(reduced.problem)


def test_an_iterate_comes_back_as_it_was_but_for_the_rows_with_a_price():
    *given, hard, soft = priced_problem()
    reduced, problem, scaling = scaled(given, [hard, soft])
    at = starting_point(problem)
    back = started_at(reduced, problem, scaling, kept_point(reduced, scaling, at), problem.rows)
    sure = np.concatenate([np.arange(len(hard.h)), problem.rows.general + np.arange(COLUMNS)])
    np.testing.assert_allclose(back.x[:COLUMNS], at.x[:COLUMNS], rtol=1e-12)
    np.testing.assert_allclose(back.s[sure], at.s[sure], rtol=1e-12)
    np.testing.assert_allclose(back.z[sure], at.z[sure], rtol=1e-12)


def test_rows_with_a_price_start_on_the_central_path():
    """Stationarity and ``G x + s = h`` hold exactly, every product of slack and multiplier is the point's mean."""
    *given, hard, soft = priced_problem()
    reduced, problem, scaling = scaled(given, [hard, soft])
    at = starting_point(problem)
    rows, start = problem.rows, started_at(reduced, problem, scaling, kept_point(reduced, scaling, at), problem.rows)
    row, bound = rows.hinge_row, np.argsort(rows.bound_column)[COLUMNS:] + rows.general
    of_row, of_bound = rows.hinge_value * start.z[row], rows.bound_value[bound - rows.general] * start.z[bound]
    np.testing.assert_allclose(problem.q[COLUMNS:] + of_row + of_bound, 0.0, atol=1e-12)
    both = np.concatenate([row, bound])
    np.testing.assert_allclose((times(rows, start.x) + start.s)[both], problem.h[both], atol=1e-12)
    np.testing.assert_allclose((start.s * start.z)[both], at.complementarity, rtol=1e-9)
    assert min(start.s.min(), start.z.min()) > 0


def test_new_rows_cost_fewer_iterations_and_the_optimum_is_that_of_a_cold_start():
    *given, hard, soft = priced_problem()
    before = solve_qp(*given, dense=[first_rows(hard, KNOWN), first_rows(soft, KNOWN)])
    cold = solve_qp(*given, dense=[hard, soft])
    inner, new = before.inner, np.full(len(hard.h) - KNOWN, np.nan)
    parts = (np.split(values, [COLUMNS, COLUMNS + KNOWN]) for values in (inner.slack, inner.multiplier))
    slack, multiplier = (np.concatenate([own, first, new, second, new]) for own, first, second in parts)
    warm = solve_qp(*given, dense=[hard, soft], start=dataclasses.replace(inner, slack=slack, multiplier=multiplier))
    assert before.status == cold.status == warm.status == "optimal"
    assert warm.iterations < cold.iterations
    np.testing.assert_allclose(warm.x, cold.x, atol=1e-6)
    np.testing.assert_allclose(warm.dual_inequality, cold.dual_inequality, atol=1e-5)
    assert np.abs(before.x - cold.x).max() > 1e-3  # the new rows matter


def handed_on(few: list[DoseLimits], limits: list[DoseLimits]) -> None:
    for known, limit in zip(few, limits, strict=True):
        limit.inner = np.full((2, len(limit.rows)), np.nan)
        limit.inner[:, : known.inner.shape[1]] = known.inner


@pytest.mark.parametrize("smoothness", [0.0, 0.05])
@pytest.mark.parametrize("share", [1.0, 0.6])
def test_a_master_through_cvxpy_again_or_grown(smoothness, share):
    """The same object of CVXPY with more rows; a floor that none can reach is still proven infeasible."""
    problem, limits = random_master(4, smoothness=smoothness)
    cold = solve_with_fallback(problem, limits=limits)
    value = problem.objective.value
    some = [slice(0, int(share * len(m.rows))) for m in limits]
    few = [
        DoseLimits(m.variable, m.rows[part], m.level[part], m.scalar, m.slope, m.sense)
        for m, part in zip(limits, some, strict=True)
    ]
    solve_with_fallback(problem, limits=few, tolerance=1e-3)
    handed_on(few, limits)
    warm = solve_with_fallback(problem, limits=limits)
    assert warm.solver == "INTERIOR_POINT" and (share < 1 or warm.iterations < cold.iterations)
    assert problem.objective.value == pytest.approx(value, rel=1e-6)
    floor = DoseLimits(limits[0].variable, limits[0].rows, np.full(70, 1e3), sense=-1)
    floor.inner = np.full((2, 70), np.nan)
    handed_on(few, limits)
    assert solve_with_fallback(problem, limits=[*limits, floor]).status == "infeasible"


def test_where_the_start_leads_nowhere_the_usual_one_is_taken():
    *given, hard, soft = priced_problem()
    cold = solve_qp(*given, dense=[hard, soft])
    lost = dataclasses.replace(cold.inner, x=np.full(COLUMNS, np.nan))
    again = solve_qp(*given, dense=[hard, soft], start=lost)
    assert again.status == "optimal"
    np.testing.assert_array_equal(again.x, cold.x)


def test_no_inner_point_comes_from_a_problem_without_an_optimum():
    problem, limits = random_master(6, smoothness=0.0)
    floor = DoseLimits(limits[0].variable, limits[0].rows, np.full(70, 1e3), sense=-1)
    assert solve_with_fallback(problem, limits=[*limits, floor]).status == "infeasible"
    assert floor.inner is None

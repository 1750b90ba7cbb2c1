"""The structured interior point as a CVXPY solver: ``problem.solve(solver=StructuredInteriorPoint())``.

CVXPY calls this a custom solver; it takes the same route as the quadratic-program solvers that CVXPY ships.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import cvxpy.settings as s
import numpy as np
from cvxpy.reductions.solution import Solution, failure_solution
from cvxpy.reductions.solvers import utilities
from cvxpy.reductions.solvers.qp_solvers.qp_solver import QpSolver

from .algebra import HOST
from .inner_point import InnerPoint
from .interior_point import DEFAULT_TOLERANCE, QpSolution, solve_qp
from .limits import DoseLimits
from .structure import IndexArray

NAME = "INTERIOR_POINT"
STATUS = {
    "optimal": s.OPTIMAL,
    "optimal_inaccurate": s.OPTIMAL_INACCURATE,
    "primal_infeasible": s.INFEASIBLE,
    "dual_infeasible": s.UNBOUNDED,
    # A limit leaves a point that met no tolerance: an error here, so that nobody takes it for a plan.
    "iteration_limit": s.SOLVER_ERROR,
    "time_limit": s.SOLVER_ERROR,
    "numerical_error": s.SOLVER_ERROR,
}


class StructuredInteriorPoint(QpSolver):
    """CVXPY interface of `solve_qp`, for linear and convex quadratic programs.

    Options of ``problem.solve``: ``tol``, ``max_iterations``, ``time_limit_s``, ``algebra``, and ``limits``, a
    sequence of `DoseLimits` that apply beside the problem's constraints and are given their multipliers.
    """

    MIP_CAPABLE = False

    def name(self) -> str:
        """The name that CVXPY reports in ``problem.solver_stats``."""
        return NAME

    def import_solver(self) -> None:
        """Nothing to import: the solver is part of this package."""

    def cite(self, data: dict[str, Any]) -> str:
        """BibTeX of the method."""
        return (
            "@article{goulart2024clarabel, title={Clarabel: An interior-point solver for conic programs with "
            "quadratic objectives}, author={Goulart, Paul J. and Chen, Yuwen}, journal={arXiv:2405.12762}, "
            "year={2024}}"
        )

    def solve_via_data(
        self,
        data: dict[str, Any],
        warm_start: bool,
        verbose: bool,
        solver_opts: dict[str, Any],
        solver_cache: dict[str, Any] | None = None,
    ) -> tuple[QpSolution, float, float]:
        """Solve CVXPY's standard form; returns the solution, its objective value and the seconds it took.

        ``warm_start``, CVXPY's default, is for a problem that was solved before with other dose limits: those that hold
        an inner point take part in it. ``verbose`` is ignored.
        """
        begin, limits = time.perf_counter(), solver_opts.get("limits", ())
        column_of = data[s.PARAM_PROB].var_id_to_col
        cache = {} if solver_cache is None else solver_cache
        solution = solve_qp(
            data[s.P],
            data[s.Q],
            data[s.F],
            data[s.G],
            data[s.A],
            data[s.B],
            tol=solver_opts.get("tol", DEFAULT_TOLERANCE),
            max_iterations=solver_opts.get("max_iterations", 100),
            time_limit_s=solver_opts.get("time_limit_s", float("inf")),
            dense=[limit.dense_rows(column_of) for limit in limits],
            algebra=solver_opts.get("algebra", HOST),
            start=_start(cache.get(NAME), limits) if warm_start else None,
        )
        compiled, ends = len(data[s.G]), np.cumsum([len(limit.rows) for limit in limits])[:-1]
        parts = np.split(solution.dual_inequality[compiled:], ends)
        for limit, multipliers in zip(limits, parts, strict=False):
            limit.dual_value = multipliers
        cache[NAME] = _kept(solution.inner, compiled, ends, limits)
        solution = replace(solution, dual_inequality=solution.dual_inequality[:compiled])
        value = float(0.5 * solution.x @ (data[s.P] @ solution.x) + data[s.Q] @ solution.x)
        return solution, value, time.perf_counter() - begin

    def invert(self, results: tuple[QpSolution, float, float], inverse_data: dict[str, Any]) -> Solution:
        """CVXPY's solution object, with one dual value per constraint in CVXPY's sign convention."""
        solution, value, seconds = results
        status = STATUS[solution.status]
        attributes = {
            s.SOLVE_TIME: seconds,
            s.NUM_ITERS: solution.iterations,
            s.EXTRA_STATS: {"status": solution.status, "gap": solution.gap},
        }
        if status not in s.SOLUTION_PRESENT:
            return failure_solution(status, attributes)
        duals = utilities.get_dual_values(
            solution.dual_equality, utilities.extract_dual_value, inverse_data[self.EQ_CONSTR]
        ) | utilities.get_dual_values(
            solution.dual_inequality, utilities.extract_dual_value, inverse_data[self.NEQ_CONSTR]
        )
        primal = {self.VAR_ID: solution.x}
        return Solution(status, value + inverse_data[s.OFFSET], primal, duals, attributes)


def _kept(inner: InnerPoint | None, compiled: int, ends: IndexArray, limits: Sequence[DoseLimits]) -> InnerPoint | None:
    """The point without the dose limits' rows, which they keep themselves."""
    if inner is None:
        return None
    both = np.stack([inner.slack, inner.multiplier])
    for limit, part in zip(limits, np.split(both[:, compiled:], ends, axis=1), strict=False):
        limit.inner = part
    return replace(inner, slack=both[0, :compiled], multiplier=both[1, :compiled])


def _start(kept: InnerPoint | None, limits: Sequence[DoseLimits]) -> InnerPoint | None:
    """The point with the dose limits' rows; None where there is none, or one of them is not to start from it."""
    parts = [limit.inner for limit in limits if limit.inner is not None]
    if kept is None or not limits or len(parts) < len(limits):
        return None
    both = np.concatenate([np.stack([kept.slack, kept.multiplier]), *parts], axis=1)
    return replace(kept, slack=both[0], multiplier=both[1])

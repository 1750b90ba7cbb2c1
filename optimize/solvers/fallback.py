"""One problem, several solvers: the first answer that stands up to a re-evaluation counts.

A solver's word is not taken: the point it returns is put into the CVXPY expressions of the original problem,
and infeasible or unbounded counts only when two solvers say so.
"""

from __future__ import annotations

import logging
import time
import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import cvxpy as cp
import cvxpy.settings as cps
import numpy as np
from cvxpy.atoms.affine.add_expr import AddExpression
from cvxpy.atoms.affine.binary_operators import MulExpression
from cvxpy.atoms.affine.unary_operators import NegExpression
from threadpoolctl import threadpool_limits

from dosecalc.errors import OptimisationError, ResourceError

from .algebra import HOST, Algebra
from .cvxpy_interface import NAME, StructuredInteriorPoint
from .limits import DoseLimits
from .threads import default_threads

logger = logging.getLogger(__name__)

# Of CVXPY's compilers the fastest for dense rows: a plan's stages take 5 s less in all than with the default.
CANON_BACKEND = "SCIPY"
DEFAULT_ORDER = (NAME, "CLARABEL", "HIGHS")
# One object, so that CVXPY recognises a problem that it has compiled for it before.
INTERIOR_POINT = StructuredInteriorPoint()
# A constraint may miss by this much, relative to the size of its own terms.
VIOLATION_TOLERANCE = 1e-5
# Terms smaller than this share of the largest variable count as this large.
SMALL_TERM = 1e-3
INFEASIBLE = (cps.INFEASIBLE, cps.INFEASIBLE_INACCURATE)
UNBOUNDED = (cps.UNBOUNDED, cps.UNBOUNDED_INACCURATE)
SOLVED = (cps.OPTIMAL, cps.OPTIMAL_INACCURATE)


@dataclass(frozen=True, slots=True)
class SolveRecord:
    """How a problem was solved.

    Attributes
    ----------
    solver : str
        The solver whose answer counts.
    status : str
        ``optimal``, ``optimal_inaccurate``, ``infeasible`` or ``unbounded``; the last two from two solvers.
    seconds : float
        Wall time of all attempts, the compilation by CVXPY included.
    iterations : int or None
        Of the solver whose answer counts, where it reports them.
    threads : int
        The BLAS thread limit that applied.
    attempts : tuple of (str, str)
        Every solver that was asked, with its outcome in words.
    """

    solver: str
    status: str
    seconds: float
    iterations: int | None
    threads: int
    attempts: tuple[tuple[str, str], ...]


@dataclass(frozen=True, slots=True)
class _Outcome:
    verdict: str  # "optimal", "optimal_inaccurate", "infeasible", "unbounded" or "failed"
    text: str
    iterations: int | None = None


def solve_with_fallback(
    problem: cp.Problem,
    *,
    limits: Sequence[DoseLimits] = (),
    order: Sequence[str | Any] = DEFAULT_ORDER,
    time_limit_s: float = 300.0,
    threads: int | None = None,
    tolerance: float | None = None,
    violation_tolerance: float = VIOLATION_TOLERANCE,
    algebra: Algebra = HOST,
) -> SolveRecord:
    """Solve with the first solver whose answer holds; the variables then carry that answer.

    Parameters
    ----------
    problem : cvxpy.Problem
        Linear or convex quadratic.
    limits : sequence of DoseLimits
        Further constraints with many dense rows. The structured interior point reads their rows directly; for the
        other solvers CVXPY compiles them with the problem. Their multipliers end up in `dual_value` either way.
    order : sequence of str or cvxpy solver objects
        Solvers to try. HIGHS is skipped, and the skip recorded, for a quadratic objective.
    time_limit_s : float
        For all attempts together, in seconds. Handed to the solvers, which look at it between iterations.
    threads : int, optional
        BLAS threads; by default `default_threads`.
    tolerance : float, optional
        Relative, for a point that need not be exact: the structured interior point is asked for it first, and the
        solvers in `order` where it does not find one.
    violation_tolerance : float
        Largest violation of a constraint, relative to the size of its terms, that passes the re-evaluation; ten times
        `tolerance` where that is more.
    algebra : Algebra
        Where the structured interior point works; where it fails there, as without memory, the next solver is asked.

    Returns
    -------
    SolveRecord

    Raises
    ------
    OptimisationError
        No solver gave an answer that holds; the message names each attempt.
    """
    threads = default_threads() if threads is None else threads
    begin, attempts = time.monotonic(), list[tuple[str, str]]()
    verdicts: set[str] = set()
    queue: list[tuple[str | Any, float | None]] = [(solver, None) for solver in order]
    if tolerance is not None:
        queue.insert(0, (NAME, tolerance))
    with threadpool_limits(limits=threads, user_api="blas"):
        for solver, asked in queue:
            left = time_limit_s - (time.monotonic() - begin)
            name = _name(solver)
            outcome = _attempt(problem, limits, solver, left, threads, asked, violation_tolerance, algebra)
            attempts.append((name, outcome.text))
            logger.info("solver %s: %s", name, outcome.text)
            if asked is not None and outcome.verdict not in SOLVED:
                continue  # few digits prove nothing
            confirmed = outcome.verdict in verdicts or outcome.verdict in SOLVED
            if outcome.verdict != "failed" and confirmed:
                seconds = time.monotonic() - begin
                return SolveRecord(name, outcome.verdict, seconds, outcome.iterations, threads, tuple(attempts))
            if outcome.verdict != "failed":
                verdicts.add(outcome.verdict)
    _clear(problem)
    tried = "; ".join(f"{name}: {text}" for name, text in attempts) or "no solver was named"
    raise OptimisationError(
        f"No solver gave an answer that holds ({tried}).",
        where="solve_with_fallback",
        remedy="Raise the time limit, look for limits of very different sizes, or name another solver.",
    )


def _name(solver: str | Any) -> str:
    return solver if isinstance(solver, str) else str(solver.name())


def _attempt(
    problem: cp.Problem,
    limits: Sequence[DoseLimits],
    solver: str | Any,
    time_left_s: float,
    threads: int,
    asked: float | None,
    tolerance: float,
    algebra: Algebra,
) -> _Outcome:
    """Ask one solver and judge its answer."""
    name = _name(solver)
    if time_left_s <= 0:
        return _Outcome("failed", "not asked: the time limit was reached")
    if name == "HIGHS" and not _is_linear(problem):
        return _Outcome("failed", "skipped: the objective is quadratic, HIGHS is used for linear ones")
    _clear(problem)
    begin = time.monotonic()
    stated, options = problem, _call(solver, time_left_s, threads)
    structured = isinstance(options["solver"], StructuredInteriorPoint)
    if structured:
        options |= {"limits": tuple(limits), "algebra": algebra}
        if asked is not None:
            options["tol"], tolerance = asked, max(10.0 * asked, tolerance)
    elif limits:
        stated = _stated(problem, limits)
    try:
        with warnings.catch_warnings():
            # Answers that a solver calls inaccurate are judged by `_fault` like every other.
            warnings.filterwarnings("ignore", "Solution may be inaccurate", UserWarning)
            stated.solve(canon_backend=CANON_BACKEND, **options)
    except Exception as error:  # noqa: BLE001 - a foreign solver may raise anything; the text is kept
        return _Outcome("failed", f"raised {type(error).__name__}: {error}")
    took = f"{time.monotonic() - begin:.2f} s"
    status, iterations = str(stated.status), _iterations(stated)
    if status in INFEASIBLE:
        return _Outcome("infeasible", f"infeasible in {took}", iterations)
    if status in UNBOUNDED:
        return _Outcome("unbounded", f"unbounded in {took}", iterations)
    if status not in SOLVED:
        return _Outcome("failed", f"ended as {status} after {took}")
    for limit, constraint in zip(limits, stated.constraints[len(problem.constraints) :], strict=False):
        limit.dual_value = np.atleast_1d(constraint.dual_value)
    try:
        fault = _fault(problem, limits, tolerance, algebra if structured else HOST)
    except (MemoryError, ResourceError) as error:
        fault = f"its point could not be put into the limits: {error}"
    if fault:
        return _Outcome("failed", f"said {status}, but {fault}")
    return _Outcome(status, f"{status} in {took}", iterations)


def _stated(problem: cp.Problem, limits: Sequence[DoseLimits]) -> cp.Problem:
    """The problem with its dose limits, all in CVXPY."""
    constraints, costs = zip(*(limit.stated() for limit in limits), strict=True)
    total, objective = sum(costs), problem.objective
    cost = total if isinstance(objective, cp.Minimize) else -total
    return cp.Problem(type(objective)(objective.expr + cost), [*problem.constraints, *constraints])


def _call(solver: str | Any, time_left_s: float, threads: int) -> dict[str, Any]:
    """Arguments of ``problem.solve`` for one solver."""
    if solver == NAME:
        return {"solver": INTERIOR_POINT, "time_limit_s": time_left_s}
    if solver == "CLARABEL":
        return {"solver": solver, "time_limit": time_left_s, "max_threads": threads}
    if solver == "HIGHS":
        options = {"solver": "ipm", "time_limit": time_left_s, "threads": threads}
        return {"solver": solver, "highs_options": options}
    return {"solver": solver}


def _is_linear(problem: cp.Problem) -> bool:
    return bool(problem.objective.expr.is_pwl())


def _iterations(problem: cp.Problem) -> int | None:
    stats = problem.solver_stats
    return None if stats is None or stats.num_iters is None else int(stats.num_iters)


def _clear(problem: cp.Problem) -> None:
    """Forget earlier values, so that no solver is credited with the point of another."""
    for variable in problem.variables():
        variable.value = None


def _fault(problem: cp.Problem, limits: Sequence[DoseLimits], tolerance: float, algebra: Algebra) -> str:
    """What is wrong with the point that the variables carry; empty where nothing is."""
    for variable in problem.variables():
        if variable.value is None or not np.all(np.isfinite(variable.value)):
            return f"variable {variable.name()} holds no finite value"
    value = problem.objective.value
    if value is None or not np.isfinite(value):
        return "the objective is not finite"
    # A constraint on quantities that end near zero has tiny terms: the point as a whole then sets rounding.
    rounding = SMALL_TERM * max(float(np.max(np.abs(v.value), initial=0.0)) for v in problem.variables())
    for index, constraint in enumerate(problem.constraints):
        violation = float(np.max(constraint.violation(), initial=0.0))
        size = max(_constraint_size(constraint), rounding)
        if not violation <= tolerance * size:
            return f"constraint {index} is violated by {violation:.3g} (its terms reach {size:.3g})"
    for index, limit in enumerate(limits):
        violation, largest = limit.violation_and_size(algebra)
        if not violation <= tolerance * max(largest, rounding):
            return f"dose limits {index} are violated by {violation:.3g} (their terms reach {largest:.3g})"
    return ""


def _constraint_size(constraint: Any) -> float:
    """Largest term of a constraint at the point."""
    return max(_term_size(side) for side in constraint.args)


def _term_size(expression: Any) -> float:
    """Largest absolute value among the terms of an expression, before they cancel each other."""
    if isinstance(expression, AddExpression | NegExpression):
        return max(_term_size(term) for term in expression.args)
    if isinstance(expression, MulExpression) and expression.args[0].is_constant():
        left, right = (abs(factor.value) for factor in expression.args)
        product = left @ right if np.ndim(left) and np.ndim(right) else left * right
        return float(np.max(product, initial=0.0))
    return float(np.max(np.abs(expression.value), initial=0.0))

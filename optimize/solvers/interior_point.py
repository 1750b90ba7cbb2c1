"""Structured primal-dual interior point for linear and convex quadratic programs with dense rows.

Mehrotra's predictor-corrector on the homogeneous embedding of a quadratic program, which ends with an optimal
point or with a certificate of infeasibility: Goulart and Chen, "Clarabel: an interior-point solver for conic
programs with quadratic objectives" (2024), arXiv:2405.12762, sections 2-4, for the nonnegative cone. The
Newton system is reduced to a dense matrix over the columns (`normal_equations`), the fast choice where a few
hundred to a few thousand columns meet thousands of dense rows.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import scipy.sparse as sp
from numpy.typing import ArrayLike

from .algebra import HOST, SINGLE, Algebra
from .embedding import Iterate, Residuals, advance, residuals, starting_point, verdict
from .inner_point import INSIDE, InnerPoint, kept_point, started_at
from .presolve import Reduced, reduce_problem, restore
from .scaling import ConvexQp, Scaling, equilibrate
from .structure import DenseRows, FloatArray

DEFAULT_TOLERANCE = 1e-7
# From this tolerance up single precision carries what is asked for, and on the host the rows are held in it: half the
# memory, and half the time of what is read once per product.
SINGLE_TOLERANCE = 1e-4
# A stalled solve within this is usable, and says so.
REDUCED_TOLERANCE = 1e-5
CERTIFIED = ("optimal", "primal_infeasible", "dual_infeasible")


@dataclass(frozen=True, slots=True)
class QpSolution:
    """What `solve_qp` found.

    Attributes
    ----------
    x : numpy.ndarray, shape (columns,)
        The minimiser; a ray of descent where the status is ``dual_infeasible``; NaN where there is none.
    dual_inequality : numpy.ndarray, shape (rows,)
        Multipliers of ``G x <= h``, nonnegative; a Farkas certificate where ``primal_infeasible``.
    dual_equality : numpy.ndarray, shape (equalities,)
        Multipliers of ``A x = b``. Stationarity reads ``P x + q + A' y + G' z = 0``.
    status : str
        ``optimal``, ``optimal_inaccurate``, ``primal_infeasible``, ``dual_infeasible``, ``iteration_limit``,
        ``time_limit`` or ``numerical_error``.
    iterations : int
    gap, primal_residual, dual_residual : float
        Relative, in scaled units, at the returned point.
    inner : InnerPoint or None
        On the way to it: where to start a problem with nearly the same rows.
    """

    x: FloatArray
    dual_inequality: FloatArray
    dual_equality: FloatArray
    status: str
    iterations: int
    gap: float
    primal_residual: float
    dual_residual: float
    inner: InnerPoint | None = None


def solve_qp(
    P: sp.spmatrix | ArrayLike | None,
    q: ArrayLike,
    G: sp.spmatrix | ArrayLike,
    h: ArrayLike,
    A: sp.spmatrix | ArrayLike | None = None,
    b: ArrayLike | None = None,
    *,
    tol: float = DEFAULT_TOLERANCE,
    max_iterations: int = 100,
    time_limit_s: float = np.inf,
    dense: Sequence[DenseRows] = (),
    algebra: Algebra = HOST,
    start: InnerPoint | None = None,
) -> QpSolution:
    """Minimise ``1/2 x'Px + q'x`` subject to ``Gx <= h`` and ``Ax = b``.

    Parameters
    ----------
    P : array or sparse array, shape (columns, columns), or None
        Symmetric positive semidefinite; None for a linear program. Only its symmetric part is used.
    q : array, shape (columns,)
    G : array or sparse array, shape (rows, columns)
        Rows with one nonzero are treated as bounds.
    h : array, shape (rows,)
        ``+inf`` drops the row.
    A, b : array, shapes (equalities, columns) and (equalities,), optional
        A variable that an equality defines (``y = D x``) is substituted; the rest should be few.
    tol : float
        Relative tolerance of the primal and dual residuals and of the gap.
    max_iterations : int
    time_limit_s : float
        Wall time in seconds, looked at between iterations.
    dense : sequence of DenseRows
        Further rows of ``Gx <= h`` with finite ``h``, given as arrays; their multipliers come last.
    algebra : Algebra
        Where the problem is held and solved: by default NumPy with LAPACK, from a tolerance of 1e-4 up in single
        precision.
    start : InnerPoint, optional
        Of a problem with the same columns, inequalities ``G`` and equalities, with NaN for dense rows that it did not
        have. Where no verdict is reached from there the problem is solved from the usual start.

    Returns
    -------
    QpSolution

    Raises
    ------
    OptimisationError
        The data have inconsistent shapes or contain NaN.
    """
    single = algebra is HOST and tol >= SINGLE_TOLERANCE
    algebra = SINGLE if single else algebra
    reduced = reduce_problem(P, q, G, h, A, b, dense, algebra)
    if reduced.contradiction is not None:
        z, y = reduced.contradiction
        return QpSolution(np.full(reduced.columns, np.nan), z, y, "primal_infeasible", 0, np.nan, np.nan, np.nan)
    scaled, scaling = equilibrate(reduced.problem)
    problem = algebra.place(scaled)
    # Overflow is looked for explicitly (`_iterate`); warnings would say the same thing less clearly.
    with np.errstate(all="ignore"):
        deadline, end = time.monotonic() + time_limit_s, None
        if start is not None:
            inner = started_at(reduced, scaled, scaling, start, problem.rows).carried(algebra.send)
            end = _iterate(problem, inner, tol, max_iterations, deadline)
        if end is None or end.status not in CERTIFIED:
            end = _iterate(problem, starting_point(problem), tol, max_iterations, deadline)
    return _finish(reduced, scaling, end, algebra)


@dataclass(frozen=True, slots=True)
class _End:
    """Where the iteration ended, and the first iterate that is a start for similar problems."""

    at: Iterate | None
    measure: Residuals | None
    status: str
    iterations: int
    inside: Iterate | None = None


def _iterate(problem: ConvexQp, iterate: Iterate | None, tol: float, max_iterations: int, deadline: float) -> _End:
    """Step until a verdict, a limit or a numerical end; without a verdict the best iterate counts."""
    best, iterations, inside = _End(iterate, None, "numerical_error", 0), 0, None
    refine, before = False, np.inf
    while iterate is not None:
        measure = residuals(problem, iterate)
        if not measure.finite:
            break
        if inside is None and measure.worst <= INSIDE:
            inside = iterate
        status = verdict(measure, tol)
        if status != "running":
            return _End(iterate, measure, status, iterations, inside)
        if best.measure is None or measure.worst < best.measure.worst:
            best = _End(iterate, measure, "numerical_error", iterations)
        if iterations >= max_iterations:
            return replace(best, status="iteration_limit", iterations=iterations)
        if time.monotonic() > deadline:
            return replace(best, status="time_limit", iterations=iterations)
        # A step that raises the dual residual was too inexact to be corrected by the next one: near the end, where
        # weights span many orders, the error of one factorisation would grow from step to step.
        refine, before = refine or measure.dual > before, measure.dual
        moved = advance(problem, iterate, measure, refine=refine)
        iterate = moved if moved is not None or refine else advance(problem, iterate, measure, refine=True)
        iterations += 1
    return replace(best, iterations=iterations)


def _finish(reduced: Reduced, scaling: Scaling, end: _End, algebra: Algebra) -> QpSolution:
    """The end point in the caller's units and order."""
    measure, status = end.measure, end.status
    if end.at is None or measure is None:
        sizes = (reduced.columns, reduced.inequalities, len(reduced.original.b))
        x, z, y = (np.full(size, np.nan) for size in sizes)
        return QpSolution(x, z, y, "numerical_error", end.iterations, np.nan, np.nan, np.nan)
    if status not in CERTIFIED and measure.worst <= REDUCED_TOLERANCE:
        status = "optimal_inaccurate"
    is_ray = status in ("primal_infeasible", "dual_infeasible")
    at = end.at.carried(algebra.fetch)
    size = 1.0 if is_ray else at.tau
    x, z, y = restore(
        reduced,
        scaling.level * scaling.column * at.x / size,
        scaling.equality * at.y / (size * scaling.cost),
        scaling.row * at.z / (size * scaling.cost),
        is_ray=is_ray,
    )
    if status == "primal_infeasible":
        x = np.full_like(x, np.nan)
    if status == "dual_infeasible":
        z, y = np.full_like(z, np.nan), np.full_like(y, np.nan)
    inner = None
    if status == "optimal" and end.inside is not None:
        inner = kept_point(reduced, scaling, end.inside.carried(algebra.fetch))
    return QpSolution(x, z, y, status, end.iterations, measure.gap, measure.primal, measure.dual, inner)

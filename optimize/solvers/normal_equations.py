"""The Newton system of the interior point, reduced to a dense positive definite matrix over the core columns.

Solves ``[P A' G'; A 0 0; G 0 -1/w] [x; y; z] = [r1; r2; r3]`` through ``z = w (G x - r3)``. The hinge columns
drop out analytically: each only changes the weight of the row that holds it. What is left is
``P + G' diag(w') G + diag(bounds)``, one BLAS syrk and one Cholesky factorisation (Wright, Primal-Dual
Interior-Point Methods, SIAM 1997, ch. 11).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.linalg import blas, lapack

from .scaling import ConvexQp
from .structure import FloatArray, bound_diagonal, times, transpose_times

STATIC_REGULARISATION = 1e-12
LARGEST_REGULARISATION = 1e-5
# The weighted copy of a block of rows stays in the processor's cache.
ROW_BLOCK = 256
REFINEMENT_STEPS = 3
REFINEMENT_TOLERANCE = 1e-8


@dataclass(frozen=True, slots=True)
class Factor:
    """A factored Newton system; see `factorise`."""

    problem: ConvexQp
    weight: FloatArray
    lower: FloatArray
    hinge_diagonal: FloatArray
    penalty: float
    equality_rows: FloatArray
    schur_lower: FloatArray


def factorise(problem: ConvexQp, weight: FloatArray) -> Factor | None:
    """Factor the Newton system at the row weights ``z / s``; None where none can be had."""
    rows, core = problem.rows, problem.rows.core
    diagonal = problem.P.diagonal() + bound_diagonal(rows, weight) + STATIC_REGULARISATION
    hinge_pull = weight[rows.hinge_row] * rows.hinge_value**2
    hinge_diagonal = diagonal[core:] + hinge_pull
    reduced = weight[: rows.general].copy()
    # w - (w g)^2 / (d + w g^2), written without the cancellation.
    reduced[rows.hinge_row] *= diagonal[core:] / hinge_diagonal
    matrix = _gram(problem, reduced)
    matrix[np.diag_indices(core)] += diagonal[:core] - problem.P.diagonal()[:core]
    equality_rows = problem.A[:, :core].toarray()
    penalty = float(np.abs(np.diagonal(matrix)).mean()) if len(problem.b) else 0.0
    if penalty:
        # [N A'; A 0] and [N + p A'A, A'; A 0] have the same solutions; the second is definite where N is not.
        matrix += penalty * (equality_rows.T @ equality_rows)
    lower = _cholesky(matrix)
    if lower is None:
        return None
    solved = _lower_solve(lower, np.asfortranarray(equality_rows.T))
    schur = _cholesky(np.asfortranarray(solved.T @ solved)) if penalty else np.empty((0, 0))
    if schur is None:
        return None
    return Factor(problem, weight, lower, hinge_diagonal, penalty, equality_rows, schur)


def _gram(problem: ConvexQp, weight: FloatArray) -> FloatArray:
    """Lower triangle of ``P + G' diag(weight) G`` over the core columns, bounds left out; Fortran order."""
    rows, core = problem.rows, problem.rows.core
    split = rows.dense.shape[0]
    matrix = np.zeros((core, core), order="F")
    for first in range(0, split, ROW_BLOCK):
        block = slice(first, min(first + ROW_BLOCK, split))
        scaled = rows.dense[block] * np.sqrt(weight[block])[:, None]
        matrix = blas.dsyrk(1.0, scaled.T, beta=1.0, c=matrix, lower=1, overwrite_c=1)
    if rows.sparse.nnz:
        matrix += (rows.sparse.T @ (rows.sparse * weight[split:, None])).toarray()
    if problem.P.nnz:
        P = problem.P[:core, :core].tocoo()
        matrix[P.coords] += P.data
    return matrix


def _cholesky(matrix: FloatArray) -> FloatArray | None:
    """Lower Cholesky factor with as little diagonal regularisation as works."""
    if not matrix.size:
        return matrix
    diagonal = np.diagonal(matrix).copy()
    if not np.all(np.isfinite(diagonal)):
        return None
    size = max(float(np.abs(diagonal).max()), STATIC_REGULARISATION)
    relative = 1e-14
    while relative <= LARGEST_REGULARISATION:
        matrix[np.diag_indices(len(diagonal))] = diagonal + relative * (np.abs(diagonal) + 1e-6 * size)
        lower, info = lapack.dpotrf(matrix, lower=1, clean=0)
        if info == 0:
            return lower
        relative *= 100
    return None


def _lower_solve(lower: FloatArray, right: FloatArray) -> FloatArray:
    if not right.size:
        return right
    solved, _ = lapack.dtrtrs(lower, right, lower=1)
    return solved


def _cholesky_solve(lower: FloatArray, right: FloatArray) -> FloatArray:
    if not right.size:
        return right
    solved, _ = lapack.dpotrs(lower, right, lower=1)
    return solved


def solve(
    factor: Factor, r1: FloatArray, r2: FloatArray, r3: FloatArray, *, refine: bool = True
) -> tuple[FloatArray, ...]:
    """Solution ``(x, y, z)`` of the Newton system, iteratively refined on demand.

    Refinement stops when the residual is at rounding level or no longer halves; the best iterate is returned.
    """
    problem, rows = factor.problem, factor.problem.rows
    x, y = _solve_once(factor, r1, r2, factor.weight * r3)
    if not refine:
        return x, y, factor.weight * (times(rows, x) - r3)
    best, best_error = None, np.inf
    size = max(np.abs(r1).max(initial=0.0), np.abs(r2).max(initial=0.0), 1e-300)
    for step in range(REFINEMENT_STEPS + 1):
        z = factor.weight * (times(rows, x) - r3)
        e1 = r1 - problem.P @ x - problem.A.T @ y - transpose_times(rows, z)
        e2 = r2 - problem.A @ x
        error = max(np.abs(e1).max(initial=0.0), np.abs(e2).max(initial=0.0))
        if not error < best_error:
            break
        stalled = error > 0.5 * best_error
        best, best_error = (x, y, z), error
        if error <= REFINEMENT_TOLERANCE * size or stalled or step == REFINEMENT_STEPS:
            break
        dx, dy = _solve_once(factor, e1, e2, np.zeros_like(r3))
        x, y = x + dx, y + dy
    return best if best is not None else (x, y, np.full_like(r3, np.nan))


def _solve_once(
    factor: Factor, r1: FloatArray, r2: FloatArray, weighted_r3: FloatArray
) -> tuple[FloatArray, FloatArray]:
    """One application of the factors to ``(r1, r2, r3)``."""
    rows, core = factor.problem.rows, factor.problem.rows.core
    pull = factor.weight[rows.hinge_row] * rows.hinge_value / factor.hinge_diagonal
    on_hinges = (r1 + _hinge_part(factor, weighted_r3))[core:]
    folded = weighted_r3.copy()
    folded[rows.hinge_row] -= pull * on_hinges
    right = (r1 + transpose_times(rows, folded))[:core]
    right += factor.penalty * (factor.equality_rows.T @ r2)
    unconstrained = _cholesky_solve(factor.lower, right)
    y = _cholesky_solve(factor.schur_lower, factor.equality_rows @ unconstrained - r2)
    x_core = unconstrained
    if y.size:
        x_core = _cholesky_solve(factor.lower, right - factor.equality_rows.T @ y)
    if not len(rows.hinge_row):
        return x_core, y
    padded = np.concatenate([x_core, np.zeros(len(rows.hinge_row))])
    x_hinge = on_hinges / factor.hinge_diagonal - pull * times(rows, padded)[rows.hinge_row]
    return np.concatenate([x_core, x_hinge]), y


def _hinge_part(factor: Factor, v: FloatArray) -> FloatArray:
    """``G' v`` on the hinge columns only (zero on the core), without touching the dense block."""
    rows = factor.problem.rows
    result: NDArray[np.float64] = np.bincount(
        rows.bound_column, weights=rows.bound_value * v[rows.general :], minlength=rows.columns
    ).astype(float)
    result[: rows.core] = 0.0
    result[rows.core :] += rows.hinge_value * v[rows.hinge_row]
    return result

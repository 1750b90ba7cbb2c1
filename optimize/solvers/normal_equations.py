"""The Newton system of the interior point, reduced to a dense positive definite matrix over the core columns.

Solves ``[P A' G'; A 0 0; G 0 -1/w] [x; y; z] = [r1; r2; r3]`` through ``z = w (G x - r3)``. The hinge columns
drop out analytically: each only changes the weight of the row that holds it. What is left is
``P + G' diag(w') G + diag(bounds)``, one BLAS syrk and one Cholesky factorisation (Wright, Primal-Dual
Interior-Point Methods, SIAM 1997, ch. 11).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import scipy.sparse as sp

from .algebra import HOST, Algebra, HostAlgebra, fetched, largest
from .scaling import ConvexQp
from .structure import FloatArray, bound_diagonal, completed, core_times, transpose_times

STATIC_REGULARISATION = 1e-12
LARGEST_REGULARISATION = 1e-5
REFINEMENT_STEPS = 3
REFINEMENT_TOLERANCE = 1e-8


@dataclass(frozen=True, slots=True)
class Factor:
    """A factored Newton system; see `factorise`."""

    problem: ConvexQp
    weight: FloatArray
    lower: Any
    hinge_diagonal: FloatArray
    penalty: float
    equality_rows: FloatArray
    schur_lower: FloatArray


def factorise(problem: ConvexQp, weight: FloatArray, *, exact: bool = True) -> Factor | None:
    """Factor the Newton system at the row weights ``z / s``; None where none can be had.

    Unless ``exact``, rows of small weight may be summed in single precision.
    """
    rows, core = problem.rows, problem.rows.core
    diagonal = problem.P.diagonal() + bound_diagonal(rows, weight) + STATIC_REGULARISATION
    hinge_pull = weight[rows.hinge_row] * rows.hinge_value**2
    hinge_diagonal = diagonal[core:] + hinge_pull
    reduced = weight[: rows.general].copy()
    # w - (w g)^2 / (d + w g^2), written without the cancellation.
    reduced[rows.hinge_row] *= diagonal[core:] / hinge_diagonal
    if not np.isfinite(reduced).all():
        return None
    matrix = rows.algebra.thin_part(problem, reduced, diagonal)
    dense_weight, equality_rows = reduced[: rows.dense.shape[0]], _dense(problem.A[:, :core])
    penalty = 0.0
    if len(problem.b):
        # [N A'; A 0] and [N + p A'A, A'; A 0] have the same solutions; the second is definite where N is not.
        # Any p will do that has the size of N, whose dense rows have norms near one.
        penalty = float(np.abs(rows.algebra.diagonal(matrix)).mean() + dense_weight.sum() / core)
        matrix += penalty * (equality_rows.T @ equality_rows)
    lower = _cholesky(rows.algebra, rows.algebra.gram(rows.dense, dense_weight, matrix, exact=exact))
    if lower is None:
        return None
    schur: FloatArray | None = np.empty((0, 0))
    if penalty:
        pulled = equality_rows @ rows.algebra.solve(lower, equality_rows.T)
        schur = _cholesky(_double(rows.algebra), pulled)
    if schur is None:
        return None
    return Factor(problem, weight, lower, hinge_diagonal, penalty, equality_rows, schur)


def _dense(matrix: Any) -> Any:
    """A few rows as a plain array; on a device they are one."""
    return matrix.toarray() if sp.issparse(matrix) else matrix


def _double(algebra: Algebra) -> Algebra:
    """In the same place, in double precision."""
    return HOST if isinstance(algebra, HostAlgebra) else algebra


def _cholesky(algebra: Algebra, matrix: Any) -> Any | None:
    """Lower Cholesky factor with as little diagonal regularisation as works."""
    diagonal = algebra.diagonal(matrix)
    if not (len(diagonal) and np.isfinite(diagonal).all()):
        return None if len(diagonal) else matrix
    size = np.maximum(np.abs(diagonal).max(), STATIC_REGULARISATION)
    relative = 1e-14
    while relative <= LARGEST_REGULARISATION:
        lower = algebra.cholesky(matrix, diagonal + relative * (np.abs(diagonal) + 1e-6 * size))
        if lower is not None:
            return lower
        relative *= 100
    return None


def solve(
    factor: Factor, r1: FloatArray, r2: FloatArray, r3: FloatArray, *, refine: bool = True
) -> tuple[FloatArray, ...]:
    """Solution ``(x, y, z)`` of the Newton system, iteratively refined on demand.

    Refinement stops when the residual is at rounding level or no longer halves; the best iterate is returned.
    """
    problem, rows = factor.problem, factor.problem.rows
    x, y, image = _solve_once(factor, r1, r2, factor.weight * r3)
    if not refine:
        return x, y, factor.weight * (image - r3)
    best, best_error = None, np.inf
    size = max(*fetched(largest(r1, r2)), 1e-300)
    for step in range(REFINEMENT_STEPS + 1):
        z = factor.weight * (image - r3)
        e1 = r1 - problem.P @ x - problem.A.T @ y - transpose_times(rows, z)
        e2 = r2 - problem.A @ x
        (error,) = fetched(largest(e1, e2))
        if not error < best_error:
            break
        stalled = error > 0.5 * best_error
        best, best_error = (x, y, z), error
        if error <= REFINEMENT_TOLERANCE * size or stalled or step == REFINEMENT_STEPS:
            break
        dx, dy, d_image = _solve_once(factor, e1, e2, np.zeros_like(r3))
        x, y, image = x + dx, y + dy, image + d_image
    return best if best is not None else (x, y, np.full_like(r3, np.nan))


def _solve_once(
    factor: Factor, r1: FloatArray, r2: FloatArray, weighted_r3: FloatArray
) -> tuple[FloatArray, FloatArray, FloatArray]:
    """One application of the factors to ``(r1, r2, r3)``: ``x``, ``y`` and ``G x``."""
    rows, core, algebra = factor.problem.rows, factor.problem.rows.core, factor.problem.rows.algebra
    pull = factor.weight[rows.hinge_row] * rows.hinge_value / factor.hinge_diagonal
    on_hinges = (r1 + _hinge_part(factor, weighted_r3))[core:]
    folded = weighted_r3.copy()
    folded[rows.hinge_row] -= pull * on_hinges
    right = (r1 + transpose_times(rows, folded))[:core]
    right += factor.penalty * (factor.equality_rows.T @ r2)
    x_core, y = algebra.solve(factor.lower, right), r2
    if y.size:
        y = _double(algebra).solve(factor.schur_lower, factor.equality_rows @ x_core - r2)
        x_core = algebra.solve(factor.lower, right - factor.equality_rows.T @ y)
    image = core_times(rows, x_core)
    x = np.concatenate([x_core, on_hinges / factor.hinge_diagonal - pull * image[rows.hinge_row]])
    return x, y, completed(rows, image, x)


def _hinge_part(factor: Factor, v: FloatArray) -> FloatArray:
    """``G' v`` on the hinge columns only (zero on the core), without touching the dense block."""
    rows = factor.problem.rows
    result = rows.algebra.on_columns(rows, rows.bound_value * v[rows.general :])
    result[: rows.core] = 0.0
    result[rows.core :] += rows.hinge_value * v[rows.hinge_row]
    return result

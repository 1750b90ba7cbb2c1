"""Equilibration: the problem in units in which its rows and columns have norms near one.

Makes the answer and the stopping tests independent of the caller's units (Gy or cGy, MU or 1000 MU).
Ruiz iteration in the Euclidean norm: Knight, Ruiz, Ucar, SIAM J. Matrix Anal. Appl. 35 (2014) 931.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import scipy.sparse as sp

from .structure import FloatArray, Rows

ROUNDS = 6
# A column or row that is empty, or tiny beyond rounding, keeps its scale.
SMALLEST_NORM = 1e-10


@dataclass(frozen=True, slots=True)
class ConvexQp:
    """``min 1/2 x'Px + q'x`` subject to ``Ax = b`` and ``Gx <= h``, sorted by structure.

    Attributes
    ----------
    P : scipy.sparse.csr_array, shape (columns, columns)
    q : numpy.ndarray, shape (columns,)
    rows : Rows
        ``G``.
    h : numpy.ndarray, shape (rows,)
    A : scipy.sparse.csr_array, shape (equalities, columns)
    b : numpy.ndarray, shape (equalities,)
    """

    P: sp.csr_array
    q: FloatArray
    rows: Rows
    h: FloatArray
    A: sp.csr_array
    b: FloatArray


@dataclass(frozen=True, slots=True)
class Scaling:
    """``x = level * column * x'``, ``z = row * z' / cost``, ``y = equality * y' / cost``.

    ``level`` is the size of the right-hand sides, ``cost`` multiplies the objective (once ``level`` is out).
    """

    column: FloatArray
    row: FloatArray
    equality: FloatArray
    level: float
    cost: float


def equilibrate(problem: ConvexQp) -> tuple[ConvexQp, Scaling]:
    """The problem in scaled units, and the way back.

    The dense rows of ``problem`` are scaled in place: a second copy would be most of the solver's memory.
    """
    column, row, equality = _ruiz(problem)
    rows = _scaled_rows(problem.rows, column, row)
    h, b = row * problem.h, equality * problem.b
    level = _typical(np.concatenate([h, b]))
    P = sp.csr_array(sp.diags_array(column) @ problem.P @ sp.diags_array(column)) * level
    q = column * problem.q
    largest = max(np.abs(q).max(initial=0.0), np.abs(P.data).max(initial=0.0))
    cost = 1.0 / largest if largest > 0 else 1.0
    A = sp.csr_array(sp.diags_array(equality) @ problem.A @ sp.diags_array(column))
    scaled = ConvexQp(sp.csr_array(P * cost), q * cost, rows, h / level, A, b / level)
    return scaled, Scaling(column, row, equality, level, cost)


def _typical(values: FloatArray) -> float:
    """Median size of the nonzero values; a median because one huge cap must not loosen every other one."""
    sizes = np.abs(values[values != 0])
    return float(np.median(sizes)) if sizes.size else 1.0


def _ruiz(problem: ConvexQp) -> tuple[FloatArray, FloatArray, FloatArray]:
    """Column, row and equality factors; a bound row follows its column."""
    rows = problem.rows
    sparse_squared, A_squared = rows.sparse.power(2), problem.A.power(2)
    P_squared = problem.P.power(2)
    column, split = np.ones(rows.columns), rows.dense.shape[0]
    ones = (np.ones(rows.core), np.zeros(split))
    # Rows of norm one to begin with: what follows no longer depends on the units of any row.
    of_dense, of_sparse = rows.algebra.squared(rows.dense, ones)[0], np.asarray(sparse_squared.sum(axis=1)).ravel()
    row_norm2 = np.concatenate([of_dense, of_sparse])
    row_norm2[rows.hinge_row] += rows.hinge_value**2
    general = 1.0 / _root(row_norm2) ** 2
    equality = 1.0 / _root(np.asarray(A_squared.sum(axis=1)).ravel()) ** 2
    for _ in range(ROUNDS):
        c2, r2, e2 = column**2, general**2, equality**2
        of_rows, of_columns = rows.algebra.squared(rows.dense, (c2[: rows.core], r2[:split]))
        row_norm2 = r2 * np.concatenate([of_rows, sparse_squared @ c2[: rows.core]])
        row_norm2[rows.hinge_row] += (r2[rows.hinge_row] * rows.hinge_value**2) * c2[rows.core :]
        column_sum = P_squared @ c2 + A_squared.T @ e2
        column_sum[: rows.core] += of_columns + sparse_squared.T @ r2[split:]
        column_sum[rows.core :] += rows.hinge_value**2 * r2[rows.hinge_row]
        equality = equality / _root(e2 * (A_squared @ c2))
        general = general / _root(row_norm2)
        column = column / _root(c2 * column_sum)
    bound = 1.0 / (np.abs(rows.bound_value) * column[rows.bound_column])
    return column, np.concatenate([general, bound]), equality


def _root(norm_squared: FloatArray) -> FloatArray:
    """Square root of the norm, one where the norm is negligible."""
    norm = np.sqrt(norm_squared)
    return np.sqrt(np.where(norm > SMALLEST_NORM, norm, 1.0))


def _scaled_rows(rows: Rows, column: FloatArray, row: FloatArray) -> Rows:
    split, core = rows.dense.shape[0], column[: rows.core]
    rows.algebra.scale(rows.dense, row[:split], core)
    return replace(
        rows,
        sparse=sp.csr_array(sp.diags_array(row[split : rows.general]) @ rows.sparse @ sp.diags_array(core)),
        hinge_value=row[rows.hinge_row] * rows.hinge_value * column[rows.core :],
        bound_value=row[rows.general :] * rows.bound_value * column[rows.bound_column],
    )

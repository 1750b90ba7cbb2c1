"""The rows of ``G x <= h`` sorted by shape, so that each shape pays only for what it is.

Bound rows (one nonzero) act on the diagonal, sparse rows through sparse products, dense rows through BLAS.
A hinge column is a variable that appears in one row only, apart from its own bounds: the slack of a soft
limit or of a tail mean. It stays out of the dense block and is eliminated analytically.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import scipy.sparse as sp
from numpy.typing import NDArray

from .algebra import HOST, Algebra

FloatArray = NDArray[np.float64]
IndexArray = NDArray[np.intp]

# A sparse Gram product costs about 500 times more per multiplication than BLAS; its cost grows with the
# square of the density, so the two meet near 1 / sqrt(500) = 4 %.
DENSE_ROW_DENSITY = 0.04


@dataclass(frozen=True, slots=True)
class Rows:
    """Inequality rows in the order dense, sparse, bound.

    Columns are ordered core first (``dense.shape[1]`` of them), hinges after.

    Attributes
    ----------
    dense : array of `algebra`, shape (dense_rows, core); numpy.ndarray in C order on the host
    sparse : scipy.sparse.csr_array, shape (sparse_rows, core)
    hinge_row : numpy.ndarray, shape (hinges,)
        The row, dense or sparse, that holds each hinge column; no row appears twice.
    hinge_value : numpy.ndarray, shape (hinges,)
        The coefficient of the hinge column in that row.
    bound_column, bound_value : numpy.ndarray, shape (bound_rows,)
        The only nonzero of each bound row.
    algebra : Algebra
        What multiplies and factors ``dense``.
    """

    dense: Any
    sparse: sp.csr_array
    hinge_row: IndexArray
    hinge_value: FloatArray
    bound_column: IndexArray
    bound_value: FloatArray
    algebra: Algebra = HOST

    @property
    def core(self) -> int:
        """Number of columns that are factored."""
        return int(self.dense.shape[1])

    @property
    def columns(self) -> int:
        """Number of columns, hinges included."""
        return self.core + len(self.hinge_row)

    @property
    def general(self) -> int:
        """Number of rows that are not bounds."""
        return int(self.dense.shape[0] + self.sparse.shape[0])

    @property
    def count(self) -> int:
        """Number of rows."""
        return self.general + len(self.bound_column)


@dataclass(frozen=True, slots=True)
class Order:
    """Where the sorted rows and columns came from: ``sorted = original[index]``."""

    row: IndexArray
    column: IndexArray


def sort_rows(G: sp.csr_array, P: sp.csr_array, A: sp.csr_array) -> tuple[Rows, Order]:
    """Sort the rows of ``G`` by shape and its columns into core and hinges.

    Parameters
    ----------
    G : scipy.sparse.csr_array, shape (rows, columns)
        Inequality rows; explicit zeros removed, none empty.
    P : scipy.sparse.csr_array, shape (columns, columns)
        Quadratic objective: a hinge column may meet only itself in it.
    A : scipy.sparse.csr_array, shape (equalities, columns)
        A hinge column may not appear in it.

    Returns
    -------
    rows : Rows
    order : Order
    """
    entries = np.diff(G.indptr)
    is_bound = entries == 1
    hinge_column, hinge_row = _find_hinges(G, P, A, is_bound)
    columns = G.shape[1]
    core_column = np.setdiff1d(np.arange(columns), hinge_column)
    is_dense = ~is_bound & (entries > DENSE_ROW_DENSITY * len(core_column))
    dense_row, sparse_row = np.flatnonzero(is_dense), np.flatnonzero(~is_bound & ~is_dense)
    bound_row = np.flatnonzero(is_bound)
    order = Order(np.concatenate([dense_row, sparse_row, bound_row]), np.concatenate([core_column, hinge_column]))
    new_row, new_column = np.argsort(order.row), np.argsort(order.column)
    start = G.indptr[bound_row]
    by_core = G[:, core_column].tocsr() if len(hinge_column) else G
    hinge_value = np.asarray(G[hinge_row, hinge_column], dtype=float).ravel() if len(hinge_row) else np.empty(0)
    rows = Rows(
        np.ascontiguousarray(by_core[dense_row].toarray(), dtype=float),
        sp.csr_array(by_core[sparse_row]),
        new_row[hinge_row],
        hinge_value,
        new_column[G.indices[start]],
        G.data[start].astype(float),
    )
    return rows, order


def _find_hinges(
    G: sp.csr_array, P: sp.csr_array, A: sp.csr_array, is_bound: NDArray[np.bool_]
) -> tuple[IndexArray, IndexArray]:
    """Columns with one entry outside the bound rows, at most one per row, and that row."""
    columns, row_of = G.shape[1], np.repeat(np.arange(G.shape[0]), np.diff(G.indptr))
    in_bound = is_bound[row_of]
    entries = np.bincount(G.indices[~in_bound], minlength=columns)
    # Only a column with a bound or curvature of its own has an invertible diagonal.
    bounded = np.bincount(G.indices[in_bound], minlength=columns) > 0
    coupled = P - sp.diags_array(P.diagonal())
    meets_others = np.bincount(coupled.tocoo().col[coupled.tocoo().data != 0], minlength=columns) > 0
    meets_equality = np.bincount(A.indices, minlength=columns) > 0
    is_hinge = (entries == 1) & ~meets_others & ~meets_equality & (bounded | (P.diagonal() > 0))
    here = ~in_bound & is_hinge[G.indices]
    row, first = np.unique(row_of[here], return_index=True)
    return G.indices[here][first].astype(np.intp), row.astype(np.intp)


def times(rows: Rows, x: FloatArray) -> FloatArray:
    """``G x``, shape (rows,)."""
    return completed(rows, core_times(rows, x[: rows.core]), x)


def core_times(rows: Rows, core: FloatArray) -> FloatArray:
    """``G x`` on the general rows for hinges at zero, shape (general,): all of the work of `times`."""
    return np.concatenate([rows.algebra.times(rows.dense, core), rows.sparse @ core])


def completed(rows: Rows, of_core: FloatArray, x: FloatArray) -> FloatArray:
    """``G x`` from `core_times` of the same point."""
    image = np.concatenate([of_core, rows.bound_value * x[rows.bound_column]])
    image[rows.hinge_row] += rows.hinge_value * x[rows.core :]
    return image


def transpose_times(rows: Rows, z: FloatArray) -> FloatArray:
    """``G' z``, shape (columns,)."""
    dense_rows, general = rows.dense.shape[0], rows.general
    result = np.bincount(rows.bound_column, weights=rows.bound_value * z[general:], minlength=rows.columns).astype(
        float
    )
    result[: rows.core] += rows.algebra.transpose_times(rows.dense, z[:dense_rows])
    result[: rows.core] += rows.sparse.T @ z[dense_rows:general]
    result[rows.core :] += rows.hinge_value * z[rows.hinge_row]
    return result


def bound_diagonal(rows: Rows, weight: FloatArray) -> FloatArray:
    """Diagonal of the bound rows' part of ``G' diag(weight) G``, shape (columns,)."""
    return np.bincount(
        rows.bound_column, weights=weight[rows.general :] * rows.bound_value**2, minlength=rows.columns
    ).astype(float)

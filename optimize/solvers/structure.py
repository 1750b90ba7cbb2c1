"""The rows of ``G x <= h`` sorted by shape, so that each shape pays only for what it is.

Bound rows (one nonzero) act on the diagonal, sparse rows through sparse products, dense rows through BLAS.
A hinge column is a variable that appears in one row only, apart from its own bounds: the slack of a soft
limit or of a tail mean. It stays out of the dense block and is eliminated analytically.
"""

from __future__ import annotations

from collections.abc import Sequence
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
        What multiplies and factors ``dense``; says where all the arrays are.
    bound_places : array, shape (layers, columns), or None
        On a device: the bound rows of each column, and their number where it has no further one.
    """

    dense: Any
    sparse: sp.csr_array
    hinge_row: IndexArray
    hinge_value: FloatArray
    bound_column: IndexArray
    bound_value: FloatArray
    algebra: Algebra = HOST
    bound_places: Any = None

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
class DenseRows:
    """Rows of ``G x <= h`` that are given as arrays: ``sign * row`` from column ``first`` on, and one entry more.

    With a ``price`` a row may be exceeded: it gets a slack column of its own, which costs that much per unit.

    Attributes
    ----------
    rows : sequence of rows (`algebra.Algebra`), each of shape (width,)
    sign : float
    first : int
    column : int or None
        Column of the entry that all rows share.
    value : float
        That entry.
    h : numpy.ndarray, shape (rows,)
        Finite.
    price : numpy.ndarray or None, shape (rows,)
        Finite, 0 or more.
    """

    rows: Sequence[Any]
    sign: float
    first: int
    column: int | None
    value: float
    h: FloatArray
    price: FloatArray | None = None

    def write(self, block: Any, position: IndexArray, algebra: Algebra) -> None:
        """Write the rows into a block of zeros; ``position`` is where each column of the caller stands in it."""
        if not len(self.rows):
            return
        at = position[self.first : self.first + len(self.rows[0])]
        # A plain copy where the columns stand side by side, as they do unless some of them left the problem.
        algebra.write(self.rows, block, slice(at[0], at[-1] + 1) if np.all(np.diff(at) == 1) else at)
        if self.sign != 1.0:
            block *= self.sign
        if self.column is not None:
            block[:, position[self.column]] = self.value


def met_columns(dense: Sequence[DenseRows], columns: int) -> NDArray[np.bool_]:
    """Which columns some dense row meets, shape (columns,)."""
    result = np.zeros(columns, bool)
    for part in dense:
        if len(part.rows):
            result[part.first : part.first + len(part.rows[0])] = True
            if part.column is not None:
                result[part.column] = True
    return result


@dataclass(frozen=True, slots=True)
class Order:
    """Where the sorted rows and columns came from: ``sorted = original[index]``."""

    row: IndexArray
    column: IndexArray


def sort_rows(
    G: sp.csr_array,
    P: sp.csr_array,
    A: sp.csr_array,
    dense: Sequence[DenseRows],
    caller_column: IndexArray,
    algebra: Algebra = HOST,
) -> tuple[Rows, Order]:
    """Sort the rows of ``G`` by shape and its columns into core and hinges.

    Parameters
    ----------
    G : scipy.sparse.csr_array, shape (rows, columns)
        Inequality rows; explicit zeros removed, none empty.
    P : scipy.sparse.csr_array, shape (columns, columns)
        Quadratic objective: a hinge column may meet only itself in it.
    A : scipy.sparse.csr_array, shape (equalities, columns)
        A hinge column may not appear in it.
    dense : sequence of DenseRows
        Further rows, numbered after those of ``G``; a hinge column may not appear in them. Their slacks are the last
        columns of ``G``, which holds nothing of them but their bounds.
    caller_column : numpy.ndarray, shape (columns,)
        The numbers by which they know the columns, ascending.
    algebra : Algebra
        Where the dense block is to be.

    Returns
    -------
    rows : Rows
    order : Order
    """
    entries = np.diff(G.indptr)
    is_bound = entries == 1
    count, columns = G.shape
    met = met_columns(dense, caller_column[-1] + 1 if columns else 0)[caller_column]
    hinge_column, hinge_row = _find_hinges(G, P, A, is_bound, met)
    soft_row = count + _soft_rows(dense)
    soft_column = np.arange(columns - len(soft_row), columns)
    hinge_value = np.asarray(G[hinge_row, hinge_column], dtype=float).ravel() if len(hinge_row) else np.empty(0)
    hinge_value = np.concatenate([hinge_value, np.full(len(soft_row), -1.0)])
    hinge_column, hinge_row = np.concatenate([hinge_column, soft_column]), np.concatenate([hinge_row, soft_row])
    core_column = np.setdiff1d(np.arange(columns), hinge_column)
    is_dense = ~is_bound & (entries > DENSE_ROW_DENSITY * len(core_column))
    dense_row, sparse_row = np.flatnonzero(is_dense), np.flatnonzero(~is_bound & ~is_dense)
    bound_row = np.flatnonzero(is_bound)
    added = count + np.arange(sum(len(part.rows) for part in dense))
    order = Order(
        np.concatenate([dense_row, added, sparse_row, bound_row]), np.concatenate([core_column, hinge_column])
    )
    new_row, new_column = np.argsort(order.row), np.argsort(order.column)
    position = np.zeros(caller_column[-1] + 1 if columns else 0, dtype=np.intp)
    position[caller_column] = new_column
    start = G.indptr[bound_row]
    by_core = G[:, core_column].tocsr() if len(hinge_column) else G
    rows = Rows(
        _dense_block(by_core[dense_row].astype(algebra.real), dense, position, algebra),
        sp.csr_array(by_core[sparse_row]),
        new_row[hinge_row],
        hinge_value,
        new_column[G.indices[start]],
        G.data[start].astype(float),
        algebra,
    )
    return rows, order


def _soft_rows(dense: Sequence[DenseRows]) -> IndexArray:
    """Which of the dense rows have a price, numbered through."""
    has_price = [np.full(len(part.rows), part.price is not None) for part in dense]
    return np.flatnonzero(np.concatenate(has_price)) if has_price else np.zeros(0, np.intp)


def _dense_block(of_G: sp.csr_array, dense: Sequence[DenseRows], position: IndexArray, algebra: Algebra) -> Any:
    """The dense rows of ``G`` over the core columns, and below them the added ones; each written once, in its type."""
    first = of_G.shape[0]
    block = algebra.block(of_G, first + sum(len(part.rows) for part in dense))
    for part in dense:
        last = first + len(part.rows)
        part.write(block[first:last], position, algebra)
        first = last
    return block


def _find_hinges(
    G: sp.csr_array, P: sp.csr_array, A: sp.csr_array, is_bound: NDArray[np.bool_], met: NDArray[np.bool_]
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
    is_hinge = (entries == 1) & ~met & ~meets_others & ~meets_equality & (bounded | (P.diagonal() > 0))
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
    result = rows.algebra.on_columns(rows, rows.bound_value * z[general:])
    result[: rows.core] += rows.algebra.transpose_times(rows.dense, z[:dense_rows])
    result[: rows.core] += rows.sparse.T @ z[dense_rows:general]
    result[rows.core :] += rows.hinge_value * z[rows.hinge_row]
    return result


def bound_diagonal(rows: Rows, weight: FloatArray) -> FloatArray:
    """Diagonal of the bound rows' part of ``G' diag(weight) G``, shape (columns,)."""
    return rows.algebra.on_columns(rows, weight[rows.general :] * rows.bound_value**2)

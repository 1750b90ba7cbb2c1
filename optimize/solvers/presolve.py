"""From the caller's arrays to the structured problem, and back.

Drops rows without effect, substitutes the variables that an equality defines, and sorts the rows. The
substitution matters because CVXPY states ``sum_squares(D x)`` as ``y = D x`` plus a square of ``y``: one
equality per neighbour pair, which would otherwise dominate the work.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import scipy.sparse as sp
from numpy.typing import ArrayLike, NDArray

from dosecalc.errors import OptimisationError

from .algebra import HOST, Algebra
from .scaling import ConvexQp
from .structure import DenseRows, FloatArray, IndexArray, Order, met_columns, sort_rows

# The right-hand side of an empty row may miss zero by this much before the problem contradicts itself.
EMPTY_ROW_TOLERANCE = 1e-9
# Above this density a substitution goes through BLAS (see `structure.DENSE_ROW_DENSITY`).
DENSE_BASIS = 0.04


@dataclass(frozen=True, slots=True)
class Original:
    """The caller's problem as sparse arrays."""

    P: sp.csr_array
    q: FloatArray
    G: sp.csr_array
    h: FloatArray
    A: sp.csr_array
    b: FloatArray


@dataclass(frozen=True, slots=True)
class Substitution:
    """``x = offset + basis v``: what is left after the defined variables are gone.

    Attributes
    ----------
    offset : numpy.ndarray, shape (columns,)
    basis : scipy.sparse.csr_array, shape (columns, kept columns)
    kept : numpy.ndarray, shape (kept columns,)
        The columns of the caller that remain.
    column, row : numpy.ndarray, shape (defined,)
        Each defined variable and the equality that defines it.
    equality : numpy.ndarray
        The equalities that remain.
    """

    offset: FloatArray
    basis: sp.csr_array
    kept: IndexArray
    column: IndexArray
    row: IndexArray
    equality: IndexArray


@dataclass(frozen=True, slots=True)
class Reduced:
    """The structured problem with what `restore` needs.

    ``row`` indexes the inequality rows that remain: the caller's, the bounds of ``slacks`` slack columns, the dense
    ones. ``contradiction`` is a pair of multipliers, in the caller's order, that proves infeasibility without solving
    (an empty row that cannot hold), or None.
    """

    original: Original
    problem: ConvexQp
    substitution: Substitution
    row: IndexArray
    order: Order
    contradiction: tuple[FloatArray, FloatArray] | None
    slacks: int
    dense_rows: int

    @property
    def columns(self) -> int:
        """Of the caller."""
        return len(self.original.q) - self.slacks

    @property
    def inequalities(self) -> int:
        """Of the caller, dense ones included."""
        return len(self.original.h) - self.slacks + self.dense_rows


def reduce_problem(
    P: sp.spmatrix | ArrayLike | None,
    q: ArrayLike,
    G: sp.spmatrix | ArrayLike,
    h: ArrayLike,
    A: sp.spmatrix | ArrayLike | None,
    b: ArrayLike | None,
    dense: Sequence[DenseRows] = (),
    algebra: Algebra = HOST,
) -> Reduced:
    """Check, substitute and sort, dense rows where ``algebra`` has them; arguments as in `interior_point.solve_qp`."""
    original, slacks = _with_slacks(_checked(P, q, G, h, A, b), dense)
    out = _substitution(original, met_columns(dense, len(original.q)))
    constant, basis = out.offset, out.basis
    # A defined variable meets no inequality, so G only loses its (empty) columns.
    G_v = original.G[:, out.kept] if len(out.column) else original.G
    A_v = sp.csr_array(original.A[out.equality] @ basis)
    h_v, b_v = original.h, original.b[out.equality] - original.A[out.equality] @ constant
    A_v.eliminate_zeros()
    empty, empty_equality = np.diff(G_v.indptr) == 0, np.diff(A_v.indptr) == 0
    row = np.flatnonzero(np.isfinite(h_v) & ~empty)
    equality = np.flatnonzero(~empty_equality)
    P_v = _congruence(original.P, basis)
    rows, order = sort_rows(
        G_v if len(row) == len(h_v) else G_v[row], P_v, sp.csr_array(A_v[equality]), dense, out.kept, algebra
    )
    h_all = np.concatenate([h_v, *(part.h for part in dense)])
    _check_dense(rows.dense, np.concatenate([h_all[len(h_v) :], original.q[len(original.q) - slacks :]]))
    row = np.concatenate([row, np.arange(len(h_v), len(h_all))])
    q_v = basis.T @ (original.q + original.P @ constant)
    problem = ConvexQp(
        sp.csr_array(P_v[order.column][:, order.column]),
        q_v[order.column],
        rows,
        h_all[row][order.row],
        sp.csr_array(A_v[equality][:, order.column]),
        b_v[equality],
    )
    remaining = replace(out, equality=out.equality[equality])
    added = len(h_all) - len(h_v)
    broken = _broken_row(original, np.where(empty, h_v, 0.0), np.where(empty_equality, b_v, 0.0), out)
    if broken is not None:
        broken = np.concatenate([broken[0][: len(h_v) - slacks], np.zeros(added)]), broken[1]
    return Reduced(original, problem, remaining, row, order, broken, slacks, added)


def restore(
    reduced: Reduced, v: FloatArray, y: FloatArray, z: FloatArray, *, is_ray: bool
) -> tuple[FloatArray, FloatArray, FloatArray]:
    """Point and multipliers in the caller's order.

    Parameters
    ----------
    v, y, z : numpy.ndarray
        Point and multipliers of ``reduced.problem``.
    is_ray : bool
        Whether they certify infeasibility: a ray carries neither the offset nor the objective's gradient.

    Returns
    -------
    x, dual_inequality, dual_equality : numpy.ndarray
    """
    original, out = reduced.original, reduced.substitution
    kept = np.empty(out.basis.shape[1])
    kept[reduced.order.column] = v
    x = out.basis @ kept + (0.0 if is_ray else out.offset)
    dual_inequality, given = np.zeros(reduced.inequalities + reduced.slacks), len(original.h) - reduced.slacks
    dual_inequality[reduced.row[reduced.order.row]] = z
    dual_equality = np.zeros(len(original.b))
    dual_equality[out.equality] = y
    gradient = 0.0 if is_ray else original.P @ x + original.q
    # No dense row meets a variable that an equality defines.
    _define_multipliers(original, out, gradient, dual_inequality[: len(original.h)], dual_equality)
    without_slacks = np.delete(dual_inequality, np.s_[given : given + reduced.slacks])
    return x[: reduced.columns], without_slacks, dual_equality


def _with_slacks(given: Original, dense: Sequence[DenseRows]) -> tuple[Original, int]:
    """The problem with a column from 0 up for every dense row that has a price, and their number."""
    price = np.concatenate([np.zeros(0), *(part.price for part in dense if part.price is not None)])
    more, columns = len(price), len(given.q)
    if not more:
        return given, 0
    wider = columns + more
    bounds = sp.csr_array((np.full(more, -1.0), (np.arange(more), columns + np.arange(more))), shape=(more, wider))
    G = sp.csr_array(sp.vstack([_widened(given.G, 0, more), bounds], format="csr"))
    P, A = _widened(given.P, more, more), _widened(given.A, 0, more)
    h = np.concatenate([given.h, np.zeros(more)])
    return Original(P, np.concatenate([given.q, price]), G, h, A, given.b), more


def _widened(M: sp.csr_array, rows: int, columns: int) -> sp.csr_array:
    """The matrix with so many empty rows and columns more."""
    pointer = np.concatenate([M.indptr, np.full(rows, M.indptr[-1])])
    return sp.csr_array((M.data, M.indices, pointer), shape=(M.shape[0] + rows, M.shape[1] + columns))


def _define_multipliers(
    original: Original,
    out: Substitution,
    gradient: FloatArray | float,
    dual_inequality: FloatArray,
    dual_equality: FloatArray,
) -> None:
    """Fill in the multipliers of the defining equalities from stationarity in the defined variables."""
    if not len(out.row):
        return
    unbalanced = gradient + original.G.T @ dual_inequality + original.A.T @ dual_equality
    dual_equality[out.row] = -unbalanced[out.column] / original.A[out.row, out.column]


def _checked(
    P: sp.spmatrix | ArrayLike | None,
    q: ArrayLike,
    G: sp.spmatrix | ArrayLike,
    h: ArrayLike,
    A: sp.spmatrix | ArrayLike | None,
    b: ArrayLike | None,
) -> Original:
    """The data as float64 sparse arrays of consistent shapes without NaN."""
    q, h = np.asarray(q, dtype=float).ravel(), np.asarray(h, dtype=float).ravel()
    b = np.zeros(0) if b is None else np.asarray(b, dtype=float).ravel()
    n = len(q)
    shapes = {"P": (n, n), "G": (len(h), n), "A": (len(b), n)}
    given = {"P": P, "G": G, "A": A}
    matrix = {
        name: sp.csr_array(shape) if given[name] is None else sp.csr_array(given[name], dtype=float)
        for name, shape in shapes.items()
    }
    for name, shape in shapes.items():
        if matrix[name].shape != shape:
            raise OptimisationError(
                f"{name} has shape {matrix[name].shape}, expected {shape} from the lengths of q, h and b.",
                where="solve_qp",
                remedy="Pass matrices whose columns match q and whose rows match h (G) or b (A).",
            )
    values = {"q": q, "b": b} | {name: M.data for name, M in matrix.items()}
    bad = [name for name, data in values.items() if not np.isfinite(data).all()]
    if bad or np.isnan(h).any() or (h == -np.inf).any():
        raise OptimisationError(
            f"{', '.join(bad) or 'h'} contains NaN or an infinite value where a number is needed.",
            where="solve_qp",
            remedy="Only h may hold +inf (no limit); check the dose rows and limits that were passed.",
        )
    symmetric = sp.csr_array((matrix["P"] + matrix["P"].T) * 0.5)
    return Original(symmetric, q, _pruned(matrix["G"]), h, _pruned(matrix["A"]), b)


def _check_dense(block: Any, limits: FloatArray) -> None:
    """Refuse dense rows and their limits with NaN or infinities; in a row they spread to its sum."""
    if not (np.isfinite(block.sum(axis=1)).all() and np.isfinite(limits).all()):
        raise OptimisationError(
            "a dense row or its limit contains NaN or an infinite value where a number is needed.",
            where="solve_qp",
            remedy="Check the dose rows and limits that were passed.",
        )


def _pruned(M: sp.csr_array) -> sp.csr_array:
    """The matrix without duplicate or explicit zero entries; the caller's is left alone."""
    if M.has_canonical_format and np.all(M.data):
        return M
    copy = M.copy()
    copy.sum_duplicates()
    copy.eliminate_zeros()
    return copy


def _substitution(original: Original, met: NDArray[np.bool_]) -> Substitution:
    """Variables that meet one equality and no inequality (``met``: a dense one) leave through it, one per row."""
    A, columns = sp.csc_array(original.A), len(original.q)
    in_inequality = met | (np.bincount(original.G.indices, minlength=columns) > 0)
    single = np.flatnonzero((np.diff(A.indptr) == 1) & ~in_inequality)
    row, first = np.unique(A.indices[A.indptr[single]], return_index=True)
    column = single[first]
    equality = np.setdiff1d(np.arange(len(original.b)), row)
    kept = np.setdiff1d(np.arange(columns), column)
    embed = sp.csr_array((np.ones(len(kept)), (kept, np.arange(len(kept)))), shape=(columns, len(kept)))
    offset = np.zeros(columns)
    if not len(row):
        return Substitution(offset, embed, kept, column, row.astype(np.intp), equality)
    pivot = A.data[A.indptr[column]]
    offset[column] = original.b[row] / pivot
    defining = sp.diags_array(-1.0 / pivot) @ original.A[row][:, kept]
    lift = sp.csr_array((np.ones(len(column)), (column, np.arange(len(column)))), shape=(columns, len(column)))
    return Substitution(offset, sp.csr_array(embed + lift @ defining), kept, column, row.astype(np.intp), equality)


def _congruence(P: sp.csr_array, basis: sp.csr_array) -> sp.csr_array:
    """``basis' P basis``, through BLAS where the basis is dense."""
    if basis.nnz > DENSE_BASIS * basis.shape[0] * basis.shape[1] and P.nnz:
        wide = basis.toarray()
        return sp.csr_array(wide.T @ (P @ wide))
    return sp.csr_array(basis.T @ P @ basis)


def _broken_row(
    original: Original, h_empty: FloatArray, b_empty: FloatArray, out: Substitution
) -> tuple[FloatArray, FloatArray] | None:
    """Multipliers that prove an empty row ``0 <= h < 0`` or ``0 = b != 0``, None where all of them hold."""
    dual_inequality, dual_equality = np.zeros(len(original.h)), np.zeros(len(original.b))
    allowed = EMPTY_ROW_TOLERANCE * max(1.0, np.abs(original.b).max(initial=0.0))
    if h_empty.min(initial=0.0) < -allowed:
        dual_inequality[int(np.argmin(h_empty))] = 1.0
    elif np.abs(b_empty).max(initial=0.0) > allowed:
        worst = int(np.argmax(np.abs(b_empty)))
        dual_equality[out.equality[worst]] = -np.sign(b_empty[worst])
    else:
        return None
    _define_multipliers(original, out, 0.0, dual_inequality, dual_equality)
    return dual_inequality, dual_equality

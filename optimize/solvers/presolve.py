"""From the caller's arrays to the structured problem, and back.

Drops rows without effect, substitutes the variables that an equality defines, and sorts the rows. The
substitution matters because CVXPY states ``sum_squares(D x)`` as ``y = D x`` plus a square of ``y``: one
equality per neighbour pair, which would otherwise dominate the work.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import scipy.sparse as sp
from numpy.typing import ArrayLike

from dosecalc.errors import OptimisationError

from .scaling import ConvexQp
from .structure import FloatArray, IndexArray, Order, sort_rows

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

    ``row`` indexes the caller's inequality rows that remain. ``contradiction`` is a pair of multipliers, in
    the caller's order, that proves infeasibility without solving (an empty row that cannot hold), or None.
    """

    original: Original
    problem: ConvexQp
    substitution: Substitution
    row: IndexArray
    order: Order
    contradiction: tuple[FloatArray, FloatArray] | None


def reduce_problem(
    P: sp.spmatrix | ArrayLike | None,
    q: ArrayLike,
    G: sp.spmatrix | ArrayLike,
    h: ArrayLike,
    A: sp.spmatrix | ArrayLike | None,
    b: ArrayLike | None,
) -> Reduced:
    """Check, substitute and sort; arguments as in `interior_point.solve_qp`."""
    original = _checked(P, q, G, h, A, b)
    out = _substitution(original)
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
    rows, order = sort_rows(G_v if len(row) == len(h_v) else G_v[row], P_v, sp.csr_array(A_v[equality]))
    q_v = basis.T @ (original.q + original.P @ constant)
    problem = ConvexQp(
        sp.csr_array(P_v[order.column][:, order.column]),
        q_v[order.column],
        rows,
        h_v[row][order.row],
        sp.csr_array(A_v[equality][:, order.column]),
        b_v[equality],
    )
    remaining = replace(out, equality=out.equality[equality])
    broken = _broken_row(original, np.where(empty, h_v, 0.0), np.where(empty_equality, b_v, 0.0), out)
    return Reduced(original, problem, remaining, row, order, broken)


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
    dual_inequality = np.zeros(len(original.h))
    dual_inequality[reduced.row[reduced.order.row]] = z
    dual_equality = np.zeros(len(original.b))
    dual_equality[out.equality] = y
    gradient = 0.0 if is_ray else original.P @ x + original.q
    _define_multipliers(original, out, gradient, dual_inequality, dual_equality)
    return x, dual_inequality, dual_equality


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


def _pruned(M: sp.csr_array) -> sp.csr_array:
    """The matrix without duplicate or explicit zero entries; the caller's is left alone."""
    if M.has_canonical_format and np.all(M.data):
        return M
    copy = M.copy()
    copy.sum_duplicates()
    copy.eliminate_zeros()
    return copy


def _substitution(original: Original) -> Substitution:
    """Variables that meet one equality and no inequality leave through that equality, one per row."""
    A, columns = sp.csc_array(original.A), len(original.q)
    in_inequality = np.bincount(original.G.indices, minlength=columns) > 0
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

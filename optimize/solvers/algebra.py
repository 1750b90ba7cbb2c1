"""Where a problem lives, and the operations on it that differ from place to place.

Everything that grows as rows x columns or columns^3 goes through an `Algebra`. `HOST` is NumPy with LAPACK; on a GPU
(`device_algebra`) vectors are arrays of the device too, on which NumPy's functions work as on its own.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import reduce
from typing import Any, Protocol

import numpy as np
import scipy.sparse as sp
from numpy.typing import DTypeLike, NDArray
from scipy.linalg import blas, lapack

FloatArray = NDArray[np.float64]

# Rows per BLAS call, and rows that are copied at a time so that they stay in the processor's cache.
ROW_BLOCK, COPIED_ROWS = 1024, 64
# Rows are summed in double precision from the largest weight down to this share of them, the others in single: their
# rounding is relative to a weight that is small beside the first ones'.
DOUBLE_SHARE = 1 / 8
# Rows that are squared at a time.
SQUARED_ROWS = 256
# Below so many rows there is nothing to gain.
FEWEST_SINGLE_ROWS = 256


class Algebra(Protocol):
    """Operations on a `block` and what goes with it; ``None`` from `cholesky` says that there is no factor.

    A row is an array of NumPy, shape (columns,), or one of those that `rows_of` gave; NumPy makes an array of any.
    """

    @property
    def xp(self) -> Any:
        """The module of the arrays."""

    @property
    def real(self) -> DTypeLike:
        """Type of the block."""

    def block(self, first: sp.csr_array, rows: int) -> Any:
        """A dense block whose first rows are those of a sparse array, in its type; the others are zeros."""

    def rows_of(self, made: Any) -> list[Any]:
        """The rows of an array of `xp`, shape (rows, columns), each by itself; they stay where they are."""

    def products(self, rows: Sequence[Any], x: FloatArray) -> tuple[FloatArray, float]:
        """``row @ x`` of every row, on the host, and the largest ``|row| @ |x|``; 0 without rows."""

    def write(self, rows: Sequence[Any], block: Any, columns: Any) -> None:
        """Write rows into some columns, a slice or an index, of as many rows of a block."""

    def squared(self, block: Any, factors: tuple[FloatArray, FloatArray]) -> tuple[FloatArray, FloatArray]:
        """Products of the squared entries with a factor per column and with one per row, all on the host."""

    def scale(self, block: Any, row: FloatArray, column: FloatArray) -> None:
        """Multiply each row and column of a block by a factor, in place."""

    def place(self, problem: Any) -> Any:
        """A `scaling.ConvexQp` whose dense rows are held, with all its other parts where they are."""

    def send(self, vector: FloatArray) -> Any:
        """A vector where the others are."""

    def fetch(self, vector: Any) -> FloatArray:
        """A vector on the host."""

    def places_of_largest(self, values: Any, count: int) -> Any:
        """Where the `count` largest of some values are, in any order; of all where there are no more."""

    def on_columns(self, rows: Any, values: FloatArray) -> FloatArray:
        """Values of the bound rows of `structure.Rows` summed on their columns, shape (columns,)."""

    def thin_part(self, problem: Any, weight: FloatArray, diagonal: FloatArray) -> Any:
        """What the normal matrix of a problem holds beside the dense rows' product, shape (core, core)."""

    def times(self, block: Any, x: FloatArray) -> FloatArray:
        """``block @ x``, shape (rows,)."""

    def transpose_times(self, block: Any, z: FloatArray) -> FloatArray:
        """``block' @ z``, shape (columns,)."""

    def gram(self, block: Any, weight: FloatArray, onto: FloatArray, *, exact: bool) -> Any:
        """``onto + block' diag(weight) block``; the lower triangle counts, and ``onto`` may be overwritten."""

    def diagonal(self, matrix: Any) -> FloatArray:
        """A copy of the diagonal."""

    def cholesky(self, matrix: Any, diagonal: FloatArray) -> Any | None:
        """Cholesky factor of the matrix with another diagonal, as `solve` takes it."""

    def solve(self, factor: Any, right: FloatArray) -> FloatArray:
        """Solution of the system that was factored."""


@dataclass(frozen=True, slots=True)
class HostAlgebra:
    """NumPy arrays, BLAS and LAPACK; the block in single precision where only a few digits are asked for.

    Then rows are to come in it too, and no product of them is formed in double.
    """

    single: bool = False

    @property
    def xp(self) -> Any:
        """NumPy."""
        return np

    @property
    def real(self) -> DTypeLike:
        """Type of the block."""
        return np.float32 if self.single else np.float64

    def block(self, first: sp.csr_array, rows: int) -> NDArray[Any]:
        """In C order."""
        block = np.zeros((rows, first.shape[1]), first.dtype)
        first.toarray(out=block[: first.shape[0]])
        return block

    def rows_of(self, made: NDArray[Any]) -> list[Any]:
        """Views of them."""
        return list(made)

    def products(self, rows: Sequence[Any], x: FloatArray) -> tuple[FloatArray, float]:
        """Row by row: no copy of all of them."""
        size = max((float(np.abs(row) @ np.abs(x)) for row in rows), default=0.0)
        return np.array([np.asarray(row) @ x for row in rows]), size

    def write(self, rows: Sequence[Any], block: NDArray[Any], columns: Any) -> None:
        """Each once, in the type of the block."""
        for target, row in zip(block, rows, strict=True):
            target[columns] = row

    def squared(self, block: NDArray[Any], factors: tuple[FloatArray, FloatArray]) -> tuple[FloatArray, FloatArray]:
        """Without a squared copy."""
        of_columns, of_rows = factors
        row_sum, column_sum = np.empty(len(block)), np.zeros(block.shape[1])
        for first in range(0, len(block), SQUARED_ROWS):
            part = slice(first, first + SQUARED_ROWS)
            squared = np.square(block[part])
            row_sum[part] = squared @ of_columns
            column_sum += squared.T @ of_rows[part]
        return row_sum, column_sum

    def scale(self, block: NDArray[Any], row: FloatArray, column: FloatArray) -> None:
        """In the type of the block."""
        block *= column
        block *= row[:, None]

    def place(self, problem: Any) -> Any:
        """The problem itself."""
        return problem

    def send(self, vector: FloatArray) -> FloatArray:
        """The vector itself."""
        return vector

    def fetch(self, vector: FloatArray) -> FloatArray:
        """The vector itself."""
        return vector

    def places_of_largest(self, values: FloatArray, count: int) -> NDArray[np.intp]:
        """Without sorting the others."""
        return np.argpartition(-values, min(count, len(values)) - 1)[:count]

    def on_columns(self, rows: Any, values: FloatArray) -> FloatArray:
        """A sum per bin."""
        return np.bincount(rows.bound_column, weights=values, minlength=rows.columns).astype(float)

    def thin_part(self, problem: Any, weight: FloatArray, diagonal: FloatArray) -> FloatArray:
        """In Fortran order."""
        rows, core = problem.rows, problem.rows.core
        matrix = np.zeros((core, core), order="F")
        if rows.sparse.nnz:
            thin = weight[rows.dense.shape[0] : rows.general, None]
            matrix += (rows.sparse.T @ (rows.sparse * thin)).toarray()
        P = problem.P[:core, :core].tocoo()
        matrix[P.coords] += P.data
        matrix[np.diag_indices(core)] += diagonal[:core] - problem.P.diagonal()[:core]
        return matrix

    def times(self, block: NDArray[Any], x: FloatArray) -> FloatArray:
        """``block @ x``."""
        return (block @ x.astype(block.dtype)).astype(np.float64, copy=False)

    def transpose_times(self, block: NDArray[Any], z: FloatArray) -> FloatArray:
        """``block' @ z``."""
        return (block.T @ z.astype(block.dtype)).astype(np.float64, copy=False)

    def gram(self, block: NDArray[Any], weight: FloatArray, onto: FloatArray, *, exact: bool) -> FloatArray:
        """Half of the products of `numpy.matmul`, and all but the heaviest rows in single precision."""
        root = np.sqrt(weight)
        if self.single:
            return _add_rows(block, root, np.arange(len(weight)), onto.astype(np.float32), np.float32)
        if exact or len(weight) < FEWEST_SINGLE_ROWS:
            return _add_rows(block, root, np.arange(len(weight)), onto, np.float64)
        heaviest = int(DOUBLE_SHARE * len(weight))
        order = np.argpartition(-weight, heaviest)
        matrix = _add_rows(block, root, np.sort(order[:heaviest]), onto, np.float64)
        return _with_single(block, root, np.sort(order[heaviest:]), matrix)

    def diagonal(self, matrix: FloatArray) -> FloatArray:
        """A copy of the diagonal."""
        return np.diagonal(matrix).astype(np.float64)

    def cholesky(self, matrix: FloatArray, diagonal: FloatArray) -> FloatArray | None:
        """LAPACK's factor in the precision of the matrix; the upper triangle holds what was there."""
        matrix[np.diag_indices(len(diagonal))] = diagonal
        factored = lapack.spotrf if matrix.dtype == np.float32 else lapack.dpotrf
        lower, info = factored(matrix, lower=1, clean=0)
        return None if info else lower

    def solve(self, factor: FloatArray, right: FloatArray) -> FloatArray:
        """Two triangular solves."""
        if not right.size:
            return right
        solved = lapack.spotrs if factor.dtype == np.float32 else lapack.dpotrs
        return solved(factor, right, lower=1)[0].astype(np.float64, copy=False)


def _with_single(block: NDArray[Any], root: FloatArray, index: NDArray[np.intp], matrix: FloatArray) -> FloatArray:
    """The matrix with the products of some rows, which are summed in single precision."""
    matrix += _add_rows(block, root, index, np.zeros(matrix.shape, np.float32, order="F"), np.float32)
    return matrix


def _add_rows(block: NDArray[Any], root: FloatArray, index: NDArray[np.intp], matrix: Any, dtype: Any) -> Any:
    """Add ``sum root_i^2 row_i row_i'`` over some rows to the lower triangle of a Fortran matrix."""
    update = blas.dsyrk if dtype == np.float64 else blas.ssyrk
    buffer = np.empty((min(ROW_BLOCK, len(index)), block.shape[1]), dtype)
    for first in range(0, len(index), ROW_BLOCK):
        part = index[first : first + ROW_BLOCK]
        scaled = buffer[: len(part)]
        for begin in range(0, len(part), COPIED_ROWS):
            few = part[begin : begin + COPIED_ROWS]
            np.multiply(block[few], root[few, None], out=scaled[begin : begin + COPIED_ROWS], casting="same_kind")
        matrix = update(1.0, scaled.T, beta=1.0, c=matrix, lower=1, overwrite_c=1)
    return matrix


def largest(*arrays: FloatArray) -> Any:
    """The largest absolute value of some arrays, 0 of none; where they are."""
    return reduce(np.maximum, [np.abs(a).max() for a in arrays if a.size], 0.0)


def fetched(*numbers: Any) -> list[float]:
    """Numbers on the host; those that are on a device cross the bus together, once."""
    there = [number for number in numbers if hasattr(number, "get")]
    together: Any = np.stack(there) if there else None
    back = iter(together.get().tolist() if there else ())
    return [next(back) if hasattr(number, "get") else float(number) for number in numbers]


HOST, SINGLE = HostAlgebra(), HostAlgebra(single=True)

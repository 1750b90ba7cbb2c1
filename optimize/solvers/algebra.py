"""Where the dense block of rows lives, and the few operations on it that cost anything.

Everything that grows as rows x columns or columns^3 goes through an `Algebra`; vectors go in and come out as NumPy
arrays. `HOST` is NumPy with LAPACK. `DeviceAlgebra` needs only an array module with NumPy's names, CuPy for one::

    solve_qp(..., algebra=DeviceAlgebra(cupy, cupyx.scipy.linalg.solve_triangular))
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray
from scipy.linalg import blas, lapack

from dosecalc.backend import Backend
from dosecalc.kernels.host_arrays import in_parts

FloatArray = NDArray[np.float64]

# Rows per BLAS call, and rows that are copied at a time so that they stay in the processor's cache.
ROW_BLOCK, COPIED_ROWS = 1024, 64
# Rows are summed in double precision from the largest weight down to this share of them, the others in single: their
# rounding is relative to a weight that is small beside the first ones'.
DOUBLE_SHARE = 1 / 8
# Below so many rows there is nothing to gain.
FEWEST_SINGLE_ROWS = 256


class Algebra(Protocol):
    """Operations on arrays that `hold` has placed; ``None`` from `cholesky` says that there is no factor."""

    def hold(self, block: FloatArray) -> Any:
        """The block where the other operations want it."""

    def times(self, block: Any, x: FloatArray) -> FloatArray:
        """``block @ x``, shape (rows,)."""

    def transpose_times(self, block: Any, z: FloatArray) -> FloatArray:
        """``block' @ z``, shape (columns,)."""

    def gram(self, block: Any, weight: FloatArray, onto: FloatArray, *, exact: bool) -> Any:
        """``onto + block' diag(weight) block``; the lower triangle counts, and ``onto`` may be overwritten."""

    def diagonal(self, matrix: Any) -> FloatArray:
        """A copy of the diagonal."""

    def cholesky(self, matrix: Any, diagonal: FloatArray) -> Any | None:
        """Lower Cholesky factor of the matrix with another diagonal."""

    def solve(self, lower: Any, right: FloatArray) -> FloatArray:
        """Solution of ``lower lower' x = right``."""


@dataclass(frozen=True, slots=True)
class HostAlgebra:
    """NumPy arrays, BLAS and LAPACK; the block in single precision where only a few digits are asked for.

    Then rows are to come in it too, and no product of them is formed in double.
    """

    single: bool = False

    def hold(self, block: NDArray[Any]) -> NDArray[Any]:
        """The block itself."""
        return block

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

    def solve(self, lower: FloatArray, right: FloatArray) -> FloatArray:
        """Two triangular solves."""
        if not right.size:
            return right
        solved = lapack.spotrs if lower.dtype == np.float32 else lapack.dpotrs
        return solved(lower, right, lower=1)[0].astype(np.float64, copy=False)


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


@dataclass(frozen=True, slots=True)
class DeviceAlgebra:
    """Arrays of another array module.

    Attributes
    ----------
    xp : module
        `cupy`, or another module with NumPy's functions. An array that has a ``get`` comes back through it.
    solve_triangular : callable
        The function of that name in the module's counterpart of `scipy.linalg`.
    in_parts : callable
        `in_parts` of the kernels beside it: takes fewer rows at once where the device's memory runs out.
    """

    xp: Any
    solve_triangular: Callable[..., Any]
    in_parts: Callable[..., None] = in_parts

    def hold(self, block: FloatArray) -> Any:
        """A copy on the device."""
        return self.xp.asarray(block)

    def times(self, block: Any, x: FloatArray) -> FloatArray:
        """``block @ x``."""
        return self._back(block @ self.xp.asarray(x))

    def transpose_times(self, block: Any, z: FloatArray) -> FloatArray:
        """``block' @ z``."""
        return self._back(block.T @ self.xp.asarray(z))

    def gram(self, block: Any, weight: FloatArray, onto: FloatArray, *, exact: bool) -> Any:
        """The full product in double precision, in which a device for numerical work is fast."""
        lower = self.xp.tril(self.xp.asarray(onto))
        whole, root = [lower + self.xp.tril(lower, -1).T], self.xp.asarray(np.sqrt(weight)[:, None])

        def add(part: slice) -> None:
            scaled = block[part] * root[part]
            whole[0] = whole[0] + scaled.T @ scaled

        self.in_parts("the solver's normal matrix", len(weight), max(1, len(weight)), add)
        return whole[0]

    def diagonal(self, matrix: Any) -> FloatArray:
        """A copy of the diagonal."""
        return self._back(self.xp.diag(matrix)).copy()

    def cholesky(self, matrix: Any, diagonal: FloatArray) -> Any | None:
        """The module's factor; CuPy reports failure by NaN, NumPy by an exception."""
        changed = matrix + self.xp.diag(self.xp.asarray(diagonal) - self.xp.diag(matrix))
        try:
            lower = self.xp.linalg.cholesky(changed)
        except np.linalg.LinAlgError:
            return None
        return lower if np.all(np.isfinite(self._back(self.xp.diag(lower)))) else None

    def solve(self, lower: Any, right: FloatArray) -> FloatArray:
        """Two triangular solves."""
        half = self.solve_triangular(lower, self.xp.asarray(right), lower=True)
        return self._back(self.solve_triangular(lower, half, lower=True, trans="T"))

    def _back(self, array: Any) -> FloatArray:
        """A device array as a NumPy array."""
        fetched: FloatArray = array.get() if hasattr(array, "get") else np.asarray(array)
        return fetched


def algebra_beside(backend: Backend) -> Algebra:
    """The solver works where the dose is computed: on the GPU beside the CUDA kernels, else on the host."""
    if backend.name != "cupy":
        return HOST
    device = backend.kernels.device
    return DeviceAlgebra(device.xp, device.solve_triangular, backend.kernels.in_parts)


HOST, SINGLE = HostAlgebra(), HostAlgebra(single=True)

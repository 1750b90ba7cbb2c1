"""The solver's problem on a GPU: everything is sent once per solve, and some numbers per iteration come back.

Rows that are sparse on the host are dense here: a GPU multiplies them faster than their places can be read, and no sum
depends on the order in which threads arrive.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from dosecalc.backend import Backend
from dosecalc.kernels.host_arrays import in_parts

from .algebra import HOST, Algebra, FloatArray

Array = Any


@dataclass(frozen=True, slots=True)
class Curvature:
    """The matrix P of the objective: dense over the core columns, diagonal over the hinges.

    Attributes
    ----------
    core : (core, core) float64
    hinges : (hinges,) float64
    """

    core: Array
    hinges: Array

    def __matmul__(self, x: Array) -> Array:
        size = len(self.core)
        return np.concatenate([self.core @ x[:size], self.hinges * x[size:]])

    def diagonal(self) -> Array:
        """Shape (columns,)."""
        return np.concatenate([self.core.diagonal(), self.hinges])


@dataclass(frozen=True, slots=True)
class DeviceAlgebra:
    """Arrays of another array module, vectors and matrices alike.

    Attributes
    ----------
    xp : module
        `cupy`, or another module with NumPy's functions, on whose arrays NumPy's own functions work too.
    solve_triangular : callable
        The function of that name in the module's counterpart of `scipy.linalg`.
    in_parts : callable
        `in_parts` of the kernels beside it: takes fewer rows at once where the device's memory runs out.
    """

    xp: Any
    solve_triangular: Callable[..., Any]
    in_parts: Callable[..., None] = in_parts

    def hold(self, block: FloatArray) -> Array:
        """A copy on the device."""
        return self.xp.asarray(block)

    def place(self, problem: Any) -> Any:
        """A copy on the device, but for the dense rows, which are there."""
        send, rows, core = self.xp.asarray, problem.rows, problem.rows.core
        placed = replace(
            rows,
            sparse=send(rows.sparse.toarray()),
            **{name: send(getattr(rows, name)) for name in ("hinge_row", "hinge_value", "bound_column", "bound_value")},
            bound_layers=tuple((send(column), send(row)) for column, row in _layers(rows.bound_column)),
        )
        P = Curvature(send(problem.P[:core, :core].toarray()), send(problem.P.diagonal()[core:]))
        q, h, A, b = map(send, (problem.q, problem.h, problem.A.toarray(), problem.b))
        return replace(problem, P=P, q=q, rows=placed, h=h, A=A, b=b)

    def fetch(self, vector: Array) -> FloatArray:
        """A copy on the host."""
        found: FloatArray = vector.get()
        return found

    def on_columns(self, rows: Any, values: Array) -> Array:
        """Layer by layer: each meets a column once, so that nothing is added twice at a time."""
        total = self.xp.zeros(rows.columns)
        for column, row in rows.bound_layers:
            total[column] += values[row]
        return total

    def thin_part(self, problem: Any, weight: Array, diagonal: Array) -> Array:
        """Both triangles."""
        rows, core = problem.rows, problem.rows.core
        matrix = problem.P.core + self.xp.diag((diagonal - problem.P.diagonal())[:core])
        if not len(rows.sparse):
            return matrix
        return matrix + rows.sparse.T @ (rows.sparse * weight[rows.dense.shape[0] : rows.general][:, None])

    def times(self, block: Array, x: Array) -> Array:
        """``block @ x``."""
        return block @ x

    def transpose_times(self, block: Array, z: Array) -> Array:
        """``block' @ z``."""
        return block.T @ z

    def gram(self, block: Array, weight: Array, onto: Array, *, exact: bool) -> Array:
        """The full product in double precision, in which a device for numerical work is fast."""
        whole, root = [onto], np.sqrt(weight)[:, None]

        def add(part: slice) -> None:
            scaled = block[part] * root[part]
            whole[0] = whole[0] + scaled.T @ scaled

        self.in_parts("the solver's normal matrix", len(weight), max(1, len(weight)), add)
        return whole[0]

    def diagonal(self, matrix: Array) -> Array:
        """A copy of the diagonal."""
        return self.xp.diag(matrix)

    def cholesky(self, matrix: Array, diagonal: Array) -> Array | None:
        """The module's factor; CuPy reports failure by NaN, NumPy by an exception."""
        changed = matrix + self.xp.diag(diagonal - self.xp.diag(matrix))
        try:
            lower = self.xp.linalg.cholesky(changed)
        except np.linalg.LinAlgError:
            return None
        return lower if bool(np.isfinite(self.xp.diag(lower)).all()) else None

    def solve(self, lower: Array, right: Array) -> Array:
        """Two triangular solves."""
        half = self.solve_triangular(lower, right, lower=True)
        return self.solve_triangular(lower, half, lower=True, trans="T")


def _layers(column: np.ndarray) -> list[tuple[np.ndarray, np.ndarray]]:
    """Bound rows in groups that meet every column once at most: their columns, and which rows they are."""
    order = np.argsort(column, kind="stable")
    ordered = column[order]
    rank = np.arange(len(column)) - np.searchsorted(ordered, ordered)
    return [(ordered[rank == k], order[rank == k]) for k in range(int(rank.max(initial=-1)) + 1)]


def algebra_beside(backend: Backend) -> Algebra:
    """The solver works where the dose is computed: on the GPU beside the CUDA kernels, else on the host."""
    if backend.name != "cupy":
        return HOST
    device = backend.kernels.device
    return DeviceAlgebra(device.xp, device.solve_triangular, backend.kernels.in_parts)

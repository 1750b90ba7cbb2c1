"""The solver's problem on a GPU: everything is sent once per solve, and some numbers per iteration come back.

Rows that are sparse on the host are dense here: a GPU multiplies them faster than their places can be read, and no sum
depends on the order in which threads arrive.
"""

from __future__ import annotations

import weakref
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any

import numpy as np
import scipy.sparse as sp
from numpy.typing import DTypeLike

from dosecalc.backend import Backend
from dosecalc.kernels.host_arrays import in_parts

from .algebra import HOST, Algebra, FloatArray, fetched

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


@dataclass(frozen=True, slots=True, eq=False)
class DeviceRow:
    """A row that was made on the device and stays there, in the stack that it was made in.

    Attributes
    ----------
    stack : (rows, columns), on the device
    place : int
        Which of its rows.
    """

    stack: Array
    place: int

    def __len__(self) -> int:
        return int(self.stack.shape[1])

    def __array__(self, dtype: DTypeLike | None = None, copy: bool | None = None) -> np.ndarray:
        """A copy on the host, for solvers that work there."""
        row: np.ndarray = self.stack[self.place].get()
        return row if dtype is None else row.astype(dtype)


class SentRows:
    """Rows of dose by their place on the device, and those of the host that were sent: none of them is sent twice.

    Row generation offers most of them again and again. They lie in the stacks in which they were made or sent; one that
    was sent goes when none of its rows lives on the host any longer.
    """

    def __init__(self) -> None:
        self._held: dict[int, tuple[weakref.ref[FloatArray], Array, int]] = {}

    def __len__(self) -> int:
        return len(self._held)

    def stacks(self, rows: Sequence[Any], xp: Any) -> Iterator[tuple[Array, Array, Array]]:
        """Stack by stack: where its rows stand in the list, the stack, and where they stand in it."""
        rows = list(rows)
        new = [row for row in rows if not isinstance(row, DeviceRow) and id(row) not in self._held]
        if new:
            stack = xp.asarray(np.array(new))
            self._held.update((id(row), (self._watched(row), stack, place)) for place, row in enumerate(new))
        groups: dict[int, tuple[Array, list[tuple[int, int]]]] = {}
        for at, row in enumerate(rows):
            stack, place = (row.stack, row.place) if isinstance(row, DeviceRow) else self._held[id(row)][1:]
            groups.setdefault(id(stack), (stack, []))[1].append((at, place))
        for stack, pairs in groups.values():
            there = xp.asarray(np.array(pairs))
            yield there[:, 0], stack, there[:, 1]

    def _watched(self, row: FloatArray) -> weakref.ref[FloatArray]:
        """A row that is forgotten when it dies: another may then have its identity."""
        key = id(row)
        return weakref.ref(row, lambda _: self._forget(key))

    def _forget(self, key: int) -> None:
        self._held.pop(key, None)


@dataclass(frozen=True, slots=True)
class DeviceAlgebra:
    """Arrays of another array module, vectors and matrices alike.

    Attributes
    ----------
    xp : module
        `cupy`, or another module with NumPy's functions, on whose arrays NumPy's own functions work too.
    cholesky_of : callable
        Lower factor of a matrix, or a `numpy.linalg.LinAlgError`.
    solve_triangular : callable
        The function of that name in the module's counterpart of `scipy.linalg`.
    in_parts : callable
        `in_parts` of the kernels beside it: takes fewer rows at once where the device's memory runs out.
    sent : SentRows
    """

    xp: Any
    cholesky_of: Callable[[Any], Any]
    solve_triangular: Callable[..., Any]
    in_parts: Callable[..., None] = in_parts
    sent: SentRows = field(default_factory=SentRows, repr=False, compare=False)

    @property
    def real(self) -> DTypeLike:
        """Double precision, in which a device for numerical work is fast."""
        return np.float64

    def block(self, first: sp.csr_array, rows: int) -> Array:
        """On the device."""
        block = self.xp.zeros((rows, first.shape[1]))
        if first.shape[0]:
            block[: first.shape[0]] = self.xp.asarray(first.toarray())
        return block

    def rows_of(self, made: Array) -> list[Any]:
        """`DeviceRow` each."""
        return [DeviceRow(made, place) for place in range(len(made))]

    def products(self, rows: Sequence[Any], x: FloatArray) -> tuple[FloatArray, float]:
        """One number per row comes back, and the largest of each part."""
        found, sizes, there = self.xp.zeros(len(rows)), [0.0], self.xp.asarray(x)

        def multiply(at: Array, taken: Array) -> None:
            exact = taken.astype(np.float64)
            found[at] = exact @ there
            sizes.append((np.abs(exact) @ np.abs(there)).max())

        self._each("the doses of the solver's rows", rows, multiply)
        return self.fetch(found), max(fetched(*sizes))

    def write(self, rows: Sequence[Any], block: Array, columns: Any) -> None:
        """Rows that were made here or written before are on the device already."""
        where = columns if isinstance(columns, slice) else self.xp.asarray(columns)

        def copy(at: Array, taken: Array) -> None:
            block[at if isinstance(columns, slice) else at[:, None], where] = taken.astype(block.dtype)

        self._each("the solver's rows", rows, copy)

    def _each(self, what: str, rows: Sequence[Any], run: Callable[[Array, Array], None]) -> None:
        """Call ``run(at, taken)`` with places in the list and the rows that stand there, in parts that fit."""
        for at, stack, place in self.sent.stacks(rows, self.xp):
            take = partial(_take, run, at, stack, place)
            self.in_parts(what, len(place), max(1, len(place)), take)

    def squared(self, block: Array, factors: tuple[FloatArray, FloatArray]) -> tuple[FloatArray, FloatArray]:
        """Two vectors go there and two come back."""
        of_columns, of_rows = map(self.xp.asarray, factors)
        row_sum, column_sum = self.xp.zeros(len(block)), [self.xp.zeros(block.shape[1])]

        def add(part: slice) -> None:
            squared = block[part] * block[part]
            row_sum[part] = squared @ of_columns
            column_sum[0] = column_sum[0] + squared.T @ of_rows[part]

        self.in_parts("the solver's scaling", len(block), max(1, len(block)), add)
        return self.fetch(row_sum), self.fetch(column_sum[0])

    def scale(self, block: Array, row: FloatArray, column: FloatArray) -> None:
        """In place."""
        block *= self.xp.asarray(column)
        block *= self.xp.asarray(row)[:, None]

    def place(self, problem: Any) -> Any:
        """A copy on the device, but for the dense rows, which are there."""
        send, rows, core = self.xp.asarray, problem.rows, problem.rows.core
        placed = replace(
            rows,
            sparse=self._spread(rows.sparse),
            **{name: send(getattr(rows, name)) for name in ("hinge_row", "hinge_value", "bound_column", "bound_value")},
            bound_places=send(_places(rows.bound_column, rows.columns)),
        )
        P = Curvature(self._spread(problem.P[:core, :core]), send(problem.P.diagonal()[core:]))
        q, h, A, b = map(send, (problem.q, problem.h, problem.A.toarray(), problem.b))
        return replace(problem, P=P, q=q, rows=placed, h=h, A=A, b=b)

    def _spread(self, matrix: sp.sparray) -> Array:
        """A sparse array of the host as a dense one, of which the entries alone are sent."""
        held, whole = sp.coo_array(matrix), self.xp.zeros(matrix.shape)
        held.sum_duplicates()
        if held.nnz:
            row, column = (self.xp.asarray(each) for each in held.coords)
            whole[row, column] = self.xp.asarray(held.data)
        return whole

    def send(self, vector: FloatArray) -> Array:
        """A copy on the device."""
        return self.xp.asarray(vector)

    def fetch(self, vector: Array) -> FloatArray:
        """A copy on the host."""
        found: FloatArray = vector.get()
        return found

    def places_of_largest(self, values: Array, count: int) -> Array:
        """Of all sorted: CuPy's argpartition asks the host twice, and counts on the threads of a warp to keep step."""
        return self.xp.argsort(-values)[:count]

    def on_columns(self, rows: Any, values: Array) -> Array:
        """Column by column, in the order of the rows: nothing is added where another thread adds."""
        return np.concatenate([values, self.xp.zeros(1)])[rows.bound_places].sum(axis=0)

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
        """The full product."""
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
        """Transposed: the upper factor in columns, as cuBLAS takes it without a copy."""
        try:
            return self.cholesky_of(matrix + self.xp.diag(diagonal - self.xp.diag(matrix))).T
        except np.linalg.LinAlgError:
            return None

    def solve(self, factor: Array, right: Array) -> Array:
        """Two triangular solves."""
        half = self.solve_triangular(factor, right, lower=False, trans="T")
        return self.solve_triangular(factor, half, lower=False)


def _take(run: Callable[[Array, Array], None], at: Array, stack: Array, place: Array, part: slice) -> None:
    run(at[part], stack[place[part]])


def _places(column: np.ndarray, columns: int) -> np.ndarray:
    """The bound rows of each column, (layers, columns); their number where a column has no further one."""
    order = np.argsort(column, kind="stable")
    ordered = column[order]
    rank = np.arange(len(column)) - np.searchsorted(ordered, ordered)
    places = np.full((int(rank.max(initial=-1)) + 1, columns), len(column))
    places[rank, ordered] = order
    return places


def algebra_beside(backend: Backend) -> Algebra:
    """The solver works where the dose is computed: on the GPU beside the CUDA kernels, else on the host."""
    if backend.name != "cupy":
        return HOST
    device = backend.kernels.device
    return DeviceAlgebra(device.xp, device.cholesky, device.solve_triangular, backend.kernels.in_parts)

"""A stored dose-influence matrix as the optimiser's operator, and what else can stand in for one."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
from scipy import sparse

from dosecalc.errors import InputError, UsageError

from .operator import Operator

Array = npt.NDArray[Any]
UNKNOWN_NEIGHBOURS = np.zeros((0, 2), np.int64)
"""No pair of neighbouring beamlets: smoothness is then not judged."""


@dataclass(frozen=True, slots=True, eq=False)
class MatrixInfluence:
    """Dose of V voxels from B beamlets by a stored matrix, in float64; it is its own reference.

    Attributes
    ----------
    matrix : (V, B) scipy.sparse matrix or array of any format, or numpy array
        Gy, course total, per unit fluence; finite and >= 0. Kept as float64 CSR, 12 bytes for each stored entry.
    neighbours : (n, 2) int64
        Pairs of beamlets that share an edge, see `dosecalc.beams.neighbouring_beamlets`. Without any, the fluence is
        not kept smooth.

    Raises
    ------
    InputError
        Not a matrix of real numbers, empty, or with entries that are negative or not finite; pairs that are no pairs
        of beamlets.
    """

    matrix: sparse.csr_array
    neighbours: npt.NDArray[np.int64] = dataclasses.field(default_factory=UNKNOWN_NEIGHBOURS.copy)

    def __post_init__(self) -> None:
        object.__setattr__(self, "matrix", checked_matrix(self.matrix))
        object.__setattr__(self, "neighbours", _checked_pairs(self.neighbours, self.shape[1]))

    @property
    def shape(self) -> tuple[int, int]:
        """(V, B)."""
        rows, columns = self.matrix.shape
        return int(rows), int(columns)

    def dose(self, fluence: npt.ArrayLike) -> npt.NDArray[np.float64]:
        """Dose (V,) in Gy of a fluence (B,)."""
        return np.asarray(self.matrix @ _vector("fluence", fluence, self.shape[1]))

    def adjoint(self, weights: npt.ArrayLike) -> npt.NDArray[np.float64]:
        """Transpose of `dose`, (B,), of weights (V,)."""
        return np.asarray(self.matrix.T @ _vector("weights", weights, self.shape[0]))

    def rows(self, positions: npt.ArrayLike) -> npt.NDArray[np.float64]:
        """Dose of some voxels (n,) per unit fluence, (n, B), dense."""
        return np.asarray(self.matrix[self._within(positions)].toarray())

    def restricted_to(self, positions: npt.ArrayLike) -> MatrixInfluence:
        """The same for some of the voxels, in that order."""
        return MatrixInfluence(self.matrix[self._within(positions)], self.neighbours)

    def at_reference(self) -> MatrixInfluence:
        """Itself."""
        return self

    def _within(self, positions: npt.ArrayLike) -> Array:
        index = np.atleast_1d(np.asarray(positions))
        if not np.issubdtype(index.dtype, np.integer):
            raise InputError(f"voxel positions must be integers, got dtype {index.dtype}.")
        if index.size and (index.min() < 0 or index.max() >= self.shape[0]):
            raise InputError(f"voxel positions must lie in 0..{self.shape[0] - 1}.")
        return index


@dataclass(frozen=True, slots=True, eq=False)
class _Completed:
    """The rest of an `Operator` around something that offers `shape`, `dose`, `adjoint` and `rows` alone."""

    offered: Any
    positions: npt.NDArray[np.int64]
    neighbours: npt.NDArray[np.int64]

    @property
    def shape(self) -> tuple[int, int]:
        return int(self.positions.size), int(self.offered.shape[1])

    def dose(self, fluence: npt.ArrayLike) -> npt.NDArray[np.float64]:
        return np.asarray(self.offered.dose(np.asarray(fluence)), np.float64)[self.positions]

    def adjoint(self, weights: npt.ArrayLike) -> npt.NDArray[np.float64]:
        everywhere = np.zeros(self.offered.shape[0])
        everywhere[self.positions] = weights
        return np.asarray(self.offered.adjoint(everywhere), np.float64)

    def rows(self, positions: npt.NDArray[Any]) -> npt.NDArray[np.float64]:
        return np.array(self.offered.rows(self.positions[positions]), np.float64)

    def restricted_to(self, positions: npt.NDArray[Any]) -> _Completed:
        return dataclasses.replace(self, positions=self.positions[positions])

    def at_reference(self) -> _Completed:
        return self


def as_operator(influence: Any) -> Operator:
    """Whatever gives dose from fluence, as the optimiser's operator.

    Parameters
    ----------
    influence : Operator, matrix or object
        An `Operator` is returned as it is. A SciPy sparse matrix or a NumPy array (V, B) becomes a `MatrixInfluence`.
        Of any other object `shape`, `dose`, `adjoint` and `rows` are used, and `neighbours` where it has them.

    Raises
    ------
    UsageError
        None of these.
    InputError
        A matrix that cannot be used.
    """
    if sparse.issparse(influence) or isinstance(influence, np.ndarray):
        return MatrixInfluence(influence)
    missing = [name for name in ("shape", "dose", "adjoint", "rows") if not hasattr(influence, name)]
    if missing:
        raise UsageError(
            f"{type(influence).__name__} cannot be optimised over: it has no {', '.join(missing)}.",
            remedy="Give a (V, B) matrix, or an object with shape, dose, adjoint and rows (see optimize.Operator).",
        )
    if all(hasattr(influence, name) for name in ("neighbours", "restricted_to", "at_reference")):
        complete: Operator = influence
        return complete
    voxels, beamlets = influence.shape
    pairs = getattr(influence, "neighbours", UNKNOWN_NEIGHBOURS)
    return _Completed(influence, np.arange(voxels), _checked_pairs(pairs, beamlets))


def checked_matrix(given: Any) -> sparse.csr_array:
    """A dose-influence matrix as float64 CSR; shares memory with a float64 CSR that is given.

    Raises
    ------
    InputError
        As for `MatrixInfluence`.
    """
    if not sparse.issparse(given):
        given = np.asarray(given)
    if given.ndim != 2 or not np.issubdtype(given.dtype, np.floating) or 0 in given.shape:
        raise InputError(
            "a dose-influence matrix must have voxels as rows, beamlets as columns and floating-point entries; got "
            f"shape {given.shape} and dtype {given.dtype}.",
            remedy="Convert stored integers to Gy per unit fluence first.",
        )
    if sparse.issparse(given) and given.format in ("csr", "csc"):
        # SciPy's arithmetic trusts the indices and reads beyond the arrays where they are wrong.
        try:
            given.check_format(full_check=True)
        except ValueError as error:
            raise InputError(f"the indices of the dose-influence matrix are damaged: {error}.") from error
    matrix = sparse.csr_array(given, dtype=np.float64)
    if not np.isfinite(matrix.data).all() or (matrix.nnz and matrix.data.min() < 0):
        raise InputError(
            f"{np.count_nonzero(~np.isfinite(matrix.data))} entries of the dose-influence matrix are not finite and "
            f"{np.count_nonzero(matrix.data < 0)} are negative; dose per unit fluence is finite and >= 0."
        )
    return matrix


def _checked_pairs(given: npt.ArrayLike, beamlets: int) -> npt.NDArray[np.int64]:
    pairs = np.asarray(given)
    if pairs.ndim != 2 or pairs.shape[1] != 2 or not np.issubdtype(pairs.dtype, np.integer):
        raise InputError(f"neighbours must be (n, 2) integers, got shape {pairs.shape} and dtype {pairs.dtype}.")
    if pairs.size and (pairs.min() < 0 or pairs.max() >= beamlets):
        raise InputError(
            f"neighbours must be pairs of beamlets in 0..{beamlets - 1}, got {pairs.min()}..{pairs.max()}."
        )
    return pairs.astype(np.int64, copy=False)


def _vector(name: str, value: npt.ArrayLike, length: int) -> npt.NDArray[np.float64]:
    array = np.asarray(value, dtype=np.float64)
    if array.shape != (length,) or not np.isfinite(array).all():
        raise InputError(f"{name} must be {length} finite numbers, got shape {array.shape}.")
    return array

"""Operators one above the other: the dose grid's voxels, then those of a finer grid, from the same beamlets."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from dosecalc.errors import InputError

from .operator import Operator, array_module, dose_in, rows_in

Array = npt.NDArray[Any]


@dataclass(frozen=True, slots=True, eq=False)
class StackedInfluence:
    """Two operators as one: positions 0 to V1 - 1 are voxels of the first, the following ones those of the second.

    Attributes
    ----------
    first, second : Operator
        Of the same beamlets.
    """

    first: Operator
    second: Operator

    def __post_init__(self) -> None:
        counts = self.first.shape[1], self.second.shape[1]
        if counts[0] != counts[1]:
            raise InputError(f"stacked operators must share their beamlets, got {counts[0]} and {counts[1]}.")

    @property
    def shape(self) -> tuple[int, int]:
        """(V, B)."""
        return self.first.shape[0] + self.second.shape[0], self.first.shape[1]

    @property
    def neighbours(self) -> npt.NDArray[np.int64]:
        """Pairs of beamlets of one beam that share an edge, (n, 2)."""
        return self.first.neighbours

    @property
    def array_module(self) -> Any:
        """Of the first operator: the module of the arrays that `dose_there` and `rows_there` give."""
        return array_module(self.first)

    def dose(self, fluence: npt.ArrayLike, /) -> npt.NDArray[np.float64]:
        """Dose (V,) in Gy of a fluence (B,)."""
        return np.concatenate([self.first.dose(fluence), self.second.dose(fluence)])

    def dose_there(self, fluence: npt.ArrayLike, /) -> Any:
        """The same as an array of `array_module`."""
        xp = self.array_module
        return xp.concatenate([dose_in(each, fluence, xp) for each in (self.first, self.second)])

    def adjoint(self, weights: npt.ArrayLike, /) -> npt.NDArray[np.float64]:
        """Transpose of `dose`, (B,)."""
        w = np.asarray(weights)
        if w.shape != (self.shape[0],):
            raise InputError(f"weights must be {self.shape[0]} numbers (one per voxel), got shape {w.shape}.")
        split = self.first.shape[0]
        summed: npt.NDArray[np.float64] = self.first.adjoint(w[:split]) + self.second.adjoint(w[split:])
        return summed

    def rows(self, positions: Array, /) -> npt.NDArray[np.float64]:
        """Dose of some voxels (n,) per unit fluence of every beamlet, (n, B), Gy."""
        above, of_first, of_second = self._divided(positions)
        result = np.empty((above.size, self.shape[1]))
        result[above] = self.first.rows(of_first)
        result[~above] = self.second.rows(of_second)
        return result

    def rows_there(self, positions: Array, /) -> Any:
        """The same as an array of `array_module`."""
        xp = self.array_module
        above, of_first, of_second = self._divided(positions)
        made = xp.concatenate([rows_in(self.first, of_first, xp), rows_in(self.second, of_second, xp)])
        return made[xp.asarray(np.argsort(np.argsort(~above, kind="stable")))]

    def restricted_to(self, positions: Array, /) -> StackedInfluence:
        """The same for some voxels, those of the first operator before those of the second."""
        above, of_first, of_second = self._divided(positions)
        if np.any(above[1:] & ~above[:-1]):
            raise InputError("voxels of the first operator must come before those of the second.")
        return StackedInfluence(self.first.restricted_to(of_first), self.second.restricted_to(of_second))

    def at_reference(self) -> StackedInfluence:
        """Both at the precision that plans are judged by."""
        return StackedInfluence(self.first.at_reference(), self.second.at_reference())

    def _divided(self, positions: Array) -> tuple[Array, Array, Array]:
        """Which voxels are the first operator's, and the positions in either."""
        index = np.atleast_1d(np.asarray(positions))
        split = self.first.shape[0]
        above = index < split
        return above, index[above], index[~above] - split

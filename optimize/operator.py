"""What the optimiser asks of dose: any linear operator from beamlets to voxels will do."""

from __future__ import annotations

from typing import Any, Protocol

import numpy as np
import numpy.typing as npt


class Operator(Protocol):
    """Dose of V voxels from B beamlets, linear and non-negative.

    `dosecalc.DoseInfluence` is one. Doses are course totals in Gy; the fluence may have any unit, the same throughout.
    Voxels and beamlets are named by their position, from 0.
    """

    @property
    def shape(self) -> tuple[int, int]:
        """(V, B)."""

    @property
    def neighbours(self) -> npt.NDArray[np.int64]:
        """Pairs of beamlets of one beam that share an edge, (n, 2): what smoothness is judged on. (0, 2): unknown."""

    def dose(self, fluence: npt.ArrayLike, /) -> npt.NDArray[np.float64]:
        """Dose (V,) in Gy of a fluence (B,)."""

    def adjoint(self, weights: npt.ArrayLike, /) -> npt.NDArray[np.float64]:
        """Transpose of `dose`, (B,): sum over voxels of weight (V,) times dose per unit fluence."""

    def rows(self, positions: npt.NDArray[Any], /) -> npt.NDArray[np.float64]:
        """Dose of some voxels (n,) per unit fluence of every beamlet, (n, B), Gy, which the caller may change."""

    def restricted_to(self, positions: npt.NDArray[Any], /) -> Operator:
        """The same operator for some of its voxels, in that order."""

    def at_reference(self) -> Operator:
        """The operator that plans are judged by, in full float64 precision; itself where there is only one."""


def array_module(operator: Operator) -> Any:
    """NumPy, or the module of the arrays that an operator's `dose_there` and `rows_there` give, as on a GPU.

    An operator that has these two, as `dosecalc.DoseInfluence`, names the module as its own `array_module`.
    """
    return getattr(operator, "array_module", np) if hasattr(operator, "dose_there") else np


def dose_in(operator: Any, fluence: npt.ArrayLike, xp: Any) -> Any:
    """`Operator.dose` as an array of a module; only the fluence crosses where the operator computes with it."""
    if array_module(operator) is xp is not np:
        return operator.dose_there(fluence)
    return xp.asarray(operator.dose(fluence))


def rows_in(operator: Any, positions: npt.NDArray[Any], xp: Any) -> Any:
    """`Operator.rows` as an array of a module; only the positions cross where the operator computes with it."""
    if array_module(operator) is xp is not np:
        return operator.rows_there(positions)
    return xp.asarray(operator.rows(positions))

"""Limits on the fluence itself: how high a beamlet may be, and how much neighbours may differ."""

from __future__ import annotations

from dataclasses import dataclass

import cvxpy as cp
import numpy as np
import numpy.typing as npt

from dosecalc.errors import InputError

from .smoothness import neighbour_differences

Array = npt.NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Modulation:
    """Limits on a fluence; infinite where there is none.

    Attributes
    ----------
    max_fluence : float
        Of a beamlet, in the unit of the operator: MU of the course for an operator of this software.
    max_variation : float
        Total variation per pair of neighbouring beamlets over the mean fluence: mean |x_i - x_j| / mean x. It does not
        change when the whole fluence is scaled, so it does not hold a dose back by itself (total variation as a measure
        of the segments that a fluence takes: Zhu et al., Phys Med Biol 53:6653, 2008).
    """

    max_fluence: float = np.inf
    max_variation: float = np.inf

    @property
    def limited(self) -> bool:
        """Whether there is any limit."""
        return bool(np.isfinite(self.max_fluence) or np.isfinite(self.max_variation))

    def check_neighbours(self, neighbours: npt.NDArray[np.int64]) -> None:
        """Refuse a limit on the variation where nobody said which beamlets are neighbours.

        Raises
        ------
        InputError
        """
        if np.isfinite(self.max_variation) and not len(neighbours):
            raise InputError(
                "a limit on the variation of the fluence needs to know which beamlets are neighbours; none are known.",
                where="max_variation",
                remedy="Give the pairs: MatrixInfluence(matrix, neighbours).",
            )

    def stated(self, x: cp.Variable, neighbours: npt.NDArray[np.int64], unit: float) -> list[cp.Constraint]:
        """The limits on a fluence `unit` x, x (B,) and not negative."""
        kept: list[cp.Constraint] = [x <= self.max_fluence / unit] if np.isfinite(self.max_fluence) else []
        if np.isfinite(self.max_variation):
            differences = neighbour_differences(neighbours, x.size)
            size = cp.Variable(differences.shape[0], name="variation")
            mean = cp.sum(size) / size.size
            kept += [differences @ x <= size, -differences @ x <= size, mean <= self.max_variation * cp.sum(x) / x.size]
        return kept

    def priced(
        self, kept: list[cp.Constraint], beamlets: int, neighbours: npt.NDArray[np.int64], unit: float
    ) -> tuple[Array, float]:
        """What the solved limits add to the Lagrangian: a gradient (B,) and a constant, per unit of the objective.

        Multipliers are made admissible, so that weak duality holds whatever the solver returned: none is negative, and
        those of a difference add up to no more than what the variation costs.
        """
        prices = [np.maximum(np.atleast_1d(each.dual_value), 0.0) for each in kept]
        gradient, constant = np.zeros(beamlets), 0.0
        if np.isfinite(self.max_fluence):
            gradient += prices[0]
            constant -= float(prices[0].sum()) * self.max_fluence / unit
        if np.isfinite(self.max_variation):
            up, down, (whole,) = prices[-3:]
            differences = neighbour_differences(neighbours, beamlets)
            share = np.minimum(1.0, whole / up.size / np.maximum(up + down, 1e-300))
            gradient += differences.T @ (share * (up - down)) - whole * self.max_variation / beamlets
        return gradient, constant


UNLIMITED = Modulation()


def variation(fluence: Array, neighbours: npt.NDArray[np.int64]) -> float | None:
    """Mean |x_i - x_j| of neighbouring beamlets over the mean fluence; None without neighbours or fluence."""
    if not len(neighbours) or not fluence.mean() > 0:
        return None
    return float(np.abs(neighbour_differences(neighbours, fluence.size) @ fluence).mean() / fluence.mean())

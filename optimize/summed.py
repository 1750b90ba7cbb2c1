"""A metric of the sum of the present dose with an earlier one, whose value and slope the optimiser needs.

With B the earlier EQD2 of a voxel after recovery, n present fractions and c = n alpha/beta, the summed dose D in
present fractions has EQD2(D) = B + EQD2(d), D (1 + D/c) = d (1 + d/c) + (1 + 2/(alpha/beta)) B, so that

    (D + c/2)^2 = (d + c/2)^2 + k,    k = c (1 + 2/(alpha/beta)) B

D + c/2 is the Euclidean length of (d + c/2, sqrt k), which is convex in d, and it rises with d >= 0 at
dD/dd = (d + c/2) / (D + c/2), at most 1. A convex metric that never falls, taken of D, is therefore convex in d (Boyd &
Vandenberghe 2004, section 3.2.4): upper limits on the sum need no approximation, their tangents hold for every plan.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from protocols.metrics import Metric

Array = npt.NDArray[np.float64]


@dataclass(frozen=True, slots=True, eq=False)
class OfSum:
    """A metric of the dose that has, in the present fractions, the EQD2 of both treatments.

    Attributes
    ----------
    metric : Metric
    before_gy : (n,) float64
        Earlier EQD2 of each voxel less what recovered.
    fractions : int
        Present ones.
    alpha_beta_gy : float
        Of the organ.
    """

    metric: Metric
    before_gy: Array
    fractions: int
    alpha_beta_gy: float

    def of(self, dose_gy: Array) -> Array:
        """The sum at a present dose (n,), Gy in present fractions."""
        return np.hypot(dose_gy + self._half_gy, self._root_gy) - self._half_gy

    def slope(self, dose_gy: Array) -> Array:
        """How much the sum rises with the present dose, (n,) Gy per Gy."""
        return (dose_gy + self._half_gy) / np.hypot(dose_gy + self._half_gy, self._root_gy)

    @property
    def _half_gy(self) -> float:
        return 0.5 * self.fractions * self.alpha_beta_gy

    @property
    def _root_gy(self) -> Array:
        """sqrt k."""
        return np.sqrt(2.0 * self._half_gy * (1.0 + 2.0 / self.alpha_beta_gy) * self.before_gy)

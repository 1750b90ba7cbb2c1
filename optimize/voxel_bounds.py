"""Conditions on the dose of voxels and on weighted sums of it: what a stage asks beside its objective."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[Any]

NO_VOXELS = np.zeros(0, np.int64)
RESERVE_GY = 0.02
"""Upper bounds enter the master this much lower: covers the fast operator's rounding for voxels outside the master."""


@dataclass(frozen=True, slots=True, eq=False)
class Bound:
    """Conditions on voxel doses: d <= level + slope * scalar for sense +1, d >= for sense -1.

    Attributes
    ----------
    name : str
        Active rows are remembered under it from stage to stage.
    positions : (n,) int64
        Voxels, as positions in the operator's list.
    level_gy : (n,) float64
    scalar : str or None
    slope : float
    sense : +1 or -1
    price : (n,) float64 or None
        What a Gy on the wrong side adds to the objective; None where there may be none.
    """

    name: str
    positions: npt.NDArray[np.int64]
    level_gy: npt.NDArray[np.float64]
    scalar: str | None = None
    slope: float = 0.0
    sense: int = 1
    price: npt.NDArray[np.float64] | None = None

    def __post_init__(self) -> None:
        # A limit that is not there has no rows: solvers take or refuse an infinite one as they please.
        if not np.isfinite(self.level_gy).all():
            raise ValueError(f"bound {self.name!r} has voxels whose level is no number.")

    def excess_gy(self, dose: Array, scalars: Mapping[str, float]) -> Array:
        """How far each voxel is on the wrong side, (n,), by the dose (V,) of all; negative on the good side."""
        return self.beyond_gy(dose[self.positions], self.level_gy, scalars)

    def beyond_gy(self, dose: Array, level_gy: Array, scalars: Mapping[str, float]) -> Array:
        """The same for the doses and levels of its voxels, or of some of them, wherever these arrays are."""
        moved = self.slope * scalars[self.scalar] if self.scalar else 0.0
        return self.sense * (dose - level_gy - moved)


@dataclass(frozen=True, slots=True, eq=False)
class MeanBound:
    """A condition on a weighted sum of doses: row @ x <= level + slope * scalar."""

    name: str
    row: npt.NDArray[np.float64]
    level_gy: float
    scalar: str | None = None
    slope: float = 0.0

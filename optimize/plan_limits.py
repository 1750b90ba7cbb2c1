"""Limits on the voxels of an operator: what a goal becomes for the optimiser."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt

from dosecalc.errors import InputError
from protocols.metrics import Metric

from .curvature import curvature
from .summed import OfSum

Array = npt.NDArray[Any]


@dataclass(frozen=True, slots=True, eq=False)
class Region:
    """Voxels of one structure, for the optimiser.

    Attributes
    ----------
    name : str
    positions : (n,) int64
        Positions in the operator's voxel list, strictly ascending.
    cc : (n,) float64
        Volume of the structure inside each voxel.

    Raises
    ------
    InputError
        Positions that are not integers, negative, repeated or out of order; volumes that are negative, not finite or
        not one for each voxel.
    """

    name: str
    positions: npt.NDArray[np.int64] = field(repr=False)
    cc: npt.NDArray[np.float64] = field(repr=False)

    def __post_init__(self) -> None:
        positions, cc = np.asarray(self.positions), np.asarray(self.cc, np.float64)
        if positions.ndim != 1 or not np.issubdtype(positions.dtype, np.integer):
            raise InputError(
                f"region {self.name!r} needs a list of integer voxel positions, got {positions.dtype} of shape "
                f"{positions.shape}.",
                remedy="From a mask, use numpy.flatnonzero(mask).",
            )
        if positions.size and (positions[0] < 0 or np.any(np.diff(positions) <= 0)):
            raise InputError(f"the voxel positions of region {self.name!r} must be >= 0 and strictly ascending.")
        if cc.shape != positions.shape or not (np.isfinite(cc) & (cc >= 0)).all():
            raise InputError(f"region {self.name!r} needs one volume in cc, finite and >= 0, for each of its voxels.")
        object.__setattr__(self, "positions", positions.astype(np.int64, copy=False))
        object.__setattr__(self, "cc", cc)


def _check_dose(limit: str, region: Region, dose_gy: float) -> None:
    """Refuse a limit that is no dose; an infinite one limits nothing."""
    if not dose_gy >= 0:
        raise InputError(
            f"limit {limit!r} on {region.name} must be a dose >= 0 Gy, got {dose_gy:g} Gy.", where="limit_gy"
        )


@dataclass(frozen=True, slots=True, eq=False)
class DoseVolumeLimit:
    """At most (less than) `spare_cc` of the region may exceed `limit_gy`: D(Vcc), V(x Gy), CV and maxima alike.

    `unit_cc` is the volume of one unit of a goal whose limit is a volume (1 cc, or a percent of the region), else 0.
    `left_gy` is given after an earlier treatment: what each voxel of the region may still receive, (n,) Gy, -inf where
    it is above the limit already.
    """

    id: str
    mandatory: bool
    region: Region
    limit_gy: float
    spare_cc: float
    unit_cc: float = 0.0
    left_gy: npt.NDArray[np.float64] | None = None

    def __post_init__(self) -> None:
        _check_dose(self.id, self.region, self.limit_gy)
        if not self.spare_cc >= 0:
            raise InputError(f"limit {self.id!r} on {self.region.name}: a volume >= 0 cc may exceed it, got "
                             f"{self.spare_cc:g} cc.", where="spare_cc")  # fmt: skip

    def excess_gy(self, dose_gy: Array) -> npt.NDArray[np.float64]:
        """Dose (V,) of the region's voxels less what they may receive, (n,): infinite where that is spent."""
        left: npt.NDArray[np.float64] | float = self.limit_gy if self.left_gy is None else self.left_gy
        excess: npt.NDArray[np.float64] = dose_gy[self.region.positions] - left
        return excess

    @property
    def caps_gy(self) -> npt.NDArray[np.float64]:
        """The highest dose of each voxel of the region that is not let go, (n,)."""
        if self.left_gy is None:
            return np.full(self.region.positions.size, self.limit_gy)
        return np.maximum(self.left_gy, 0.0)

    def caps_at(self, positions: Array) -> npt.NDArray[np.float64]:
        """The same for some positions of the region."""
        if self.left_gy is None:
            return np.full(positions.size, self.limit_gy)
        return np.maximum(self.left_gy[np.searchsorted(self.region.positions, positions)], 0.0)


@dataclass(frozen=True, slots=True, eq=False)
class MeanLimit:
    """The mean dose of the region must not exceed `limit_gy`."""

    id: str
    mandatory: bool
    region: Region
    limit_gy: float

    def __post_init__(self) -> None:
        _check_dose(self.id, self.region, self.limit_gy)


@dataclass(frozen=True, slots=True, eq=False)
class ConvexLimit:
    """A metric that is convex in the dose must not exceed `limit_gy` (sense +1), a concave one not fall below it (-1).

    Lower limits are optimal ones: what the target must reach is for the prescription to say. After an earlier treatment
    the metric of an upper limit is that of the sum.
    """

    id: str
    mandatory: bool
    region: Region
    metric: Metric | OfSum
    limit_gy: float
    sense: int = 1

    def __post_init__(self) -> None:
        _check_dose(self.id, self.region, self.limit_gy)
        needed = "convex" if self.sense > 0 else "concave"
        if needed not in curvature(self.metric):
            raise InputError(
                f"limit {self.id!r} on {self.region.name}: {self.metric} is not {needed} in the dose, so "
                f"{'an upper' if self.sense > 0 else 'a lower'} limit on it cannot be held.",
                where="metric",
                remedy="Upper limits: Dmean, MOH or a gEUD with a >= 1; lower limits: MOC or a gEUD with a <= 1.",
            )


@dataclass(frozen=True, slots=True, eq=False)
class RelativeLimit:
    """Less than `spare_cc` of the region may exceed `ratio` times the D95 that is reached; optimal."""

    id: str
    region: Region
    ratio: float
    spare_cc: float

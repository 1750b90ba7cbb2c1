"""Limits on the voxels of an operator: what a goal becomes for the optimiser."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from dosecalc.errors import InputError
from protocols.metrics import Metric


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
    positions: npt.NDArray[np.int64]
    cc: npt.NDArray[np.float64]

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


@dataclass(frozen=True, slots=True, eq=False)
class DoseVolumeLimit:
    """At most (less than) `spare_cc` of the region may exceed `limit_gy`: D(Vcc), V(x Gy), CV and maxima alike.

    `unit_cc` is the volume of one unit of a goal whose limit is a volume (1 cc, or a percent of the region), else 0.
    """

    id: str
    mandatory: bool
    region: Region
    limit_gy: float
    spare_cc: float
    unit_cc: float = 0.0


@dataclass(frozen=True, slots=True, eq=False)
class MeanLimit:
    """The mean dose of the region must not exceed `limit_gy`."""

    id: str
    mandatory: bool
    region: Region
    limit_gy: float


@dataclass(frozen=True, slots=True, eq=False)
class ConvexLimit:
    """A metric that is convex in the dose must not exceed `limit_gy` (sense +1), a concave one not fall below it (-1).

    Lower limits are optimal ones: what the target must reach is for the prescription to say.
    """

    id: str
    mandatory: bool
    region: Region
    metric: Metric
    limit_gy: float
    sense: int = 1


@dataclass(frozen=True, slots=True, eq=False)
class RelativeLimit:
    """Less than `spare_cc` of the region may exceed `ratio` times the D95 that is reached; optimal."""

    id: str
    region: Region
    ratio: float
    spare_cc: float

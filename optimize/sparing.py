"""Sort and fix: which voxels a dose-volume goal lets go, given a dose.

Re-sorting keeps the previous plan feasible: whatever it lets exceed (or miss) the limit is among the voxels let go now.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from .plan_limits import DoseVolumeLimit, Region

Array = npt.NDArray[Any]

VOLUME_ROUNDING = 1e-9
"""Share of a volume by which a released volume stays below its allowance, against rounding in the sum."""


def kept_below(limit: DoseVolumeLimit, dose_gy: Array) -> npt.NDArray[np.int64]:
    """Voxels that must stay below the limit once the hottest `spare_cc` (exclusive) are let go."""
    region = limit.region
    # With one limit for all voxels the order is that of the dose, without a difference that rounds small doses away.
    hot = dose_gy[region.positions] if limit.left_gy is None else limit.excess_gy(dose_gy)
    order = np.argsort(-hot, kind="stable")
    released = np.cumsum(region.cc[order]) < limit.spare_cc * (1 - VOLUME_ROUNDING)
    return np.sort(region.positions[order[~released]])


def kept_above(region: Region, share: float, score: Array, protected: Array) -> npt.NDArray[np.int64]:
    """Voxels that must reach the target dose once the coldest share (inclusive) is let go.

    Parameters
    ----------
    region : Region
    share : float
        Fraction of the region's volume that may stay colder.
    score : (n,)
        Order of release, lowest first: dose, less a little for voxels whose bound is dear.
    protected : (n,) bool
        Voxels that are never let go (inside the GTV).
    """
    allowed = share * region.cc.sum() * (1 - VOLUME_ROUNDING)
    order = np.argsort(np.where(protected, np.inf, score), kind="stable")
    released = (np.cumsum(region.cc[order]) <= allowed) & ~protected[order]
    return np.sort(region.positions[order[~released]])

"""Which voxels a limit lets go next: the hottest, and before some of them those whose caps cost the most dose.

Sorted by dose alone a voxel at its cap is never let go while others are above it, so that re-sorting ends where each
released voxel uses its release, however little, and whatever another would be worth. The multiplier of a cap says what
that is: per cc of the limit's volume it is the gain that a knapsack is filled by (Dantzig, Oper Res 5:266, 1957).
Swaps by it may lose dose, sorting by dose never does: a swap is kept where it gains.
"""

from __future__ import annotations

import dataclasses

import numpy as np

from .bounds import CAPS
from .levels import Run
from .problem import StageResult
from .voxel_bounds import NO_VOXELS

SWAP_GY = 1.0
"""How far above its dose the dearest voxel of a limit is sorted. On small tight cases 2 Gy and more lose now and then
what they gain, and ties alone (0.2 Gy) take more passes."""


def dear_first(run: Run, last: StageResult) -> StageResult:
    """The same result with a dose to sort by that puts voxels with dear caps before others of nearly their dose."""
    positions, multipliers = last.prices.get(CAPS, (NO_VOXELS, np.zeros(0)))
    price, lift = np.zeros(last.dose_gy.size), np.zeros(last.dose_gy.size)
    price[positions] = np.maximum(multipliers, 0.0)
    for limit in run.goals.limits:
        inside = limit.region.positions[limit.region.cc > 0]
        worth = price[inside] / limit.region.cc[limit.region.cc > 0]
        if limit.mandatory and worth.max(initial=0.0) > 0:
            lift[inside] = np.maximum(lift[inside], SWAP_GY * worth / worth.max())
    return dataclasses.replace(last, dose_gy=last.dose_gy + lift)

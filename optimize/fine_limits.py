"""Small-volume limits beside the target, held on voxels of about 1 mm as well as on the dose grid.

Beside a target the dose climbs by several Gy from one voxel centre of the dose grid to the next, so a limit on 0.035 cc
that holds at the centres is broken between them. The optimiser therefore states each such limit twice: on the dose
grid, where the scorecard judges it, and on the fine voxels on which the second opinion judges it again
(`verification`). The fine voxels are voxels of the problem like any others, below those of the dose grid.
"""

from __future__ import annotations

import dataclasses

import numpy as np
import numpy.typing as npt

from protocols import Protocol

from .goals import DoseVolumeLimit, PlanGoals, Region
from .verification import FineVoxels, is_small


def with_fine_limits(
    goals: PlanGoals, protocol: Protocol, fine: FineVoxels, voxels: npt.NDArray[np.int64]
) -> PlanGoals:
    """The goals with every mandatory small-volume limit near the target stated on the fine voxels too.

    Parameters
    ----------
    goals : PlanGoals
        On `voxels`.
    protocol : Protocol
    fine : FineVoxels
        Their positions follow those of `voxels` (`stacked.StackedInfluence`).
    voxels : (V,) int64
        The operator's voxels of the dose grid, ascending.

    Returns
    -------
    PlanGoals
        The added limits have the ids of the goals that they come from, and regions named after the fine voxels.
    """
    small = {goal.id for goal in protocol.goals if is_small(goal)}
    near = [limit for limit in goals.limits if limit.id in small and limit.region.name in fine.parts]
    places = None
    if goals.centres_mm is not None:
        places = np.concatenate([goals.centres_mm, fine.grid.centres_mm(fine.voxels)])
    added = (_on_fine_voxels(limit, fine, voxels) for limit in near)
    return dataclasses.replace(goals, limits=(*goals.limits, *added), centres_mm=places)


def _on_fine_voxels(limit: DoseVolumeLimit, fine: FineVoxels, voxels: npt.NDArray[np.int64]) -> DoseVolumeLimit:
    """A limit on the fine voxels of its organ and, further out, on those of the dose grid."""
    (near, near_cc), (far, far_cc) = fine.parts[limit.region.name], fine.beyond[limit.region.name]
    region = Region(
        f"{limit.region.name} on voxels of {fine.grid.spacing_mm[0]:.2g} mm",
        np.concatenate([np.searchsorted(voxels, far), voxels.size + near]),
        np.concatenate([far_cc, near_cc]),
    )
    return dataclasses.replace(limit, region=region)

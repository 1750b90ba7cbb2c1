"""Goals without a protocol: a target, how far to raise it, and some limits."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from dosecalc.errors import InputError

from .goals import ConvexLimit, DoseVolumeLimit, MeanLimit, PlanGoals, Region, RelativeLimit
from .modulation import UNLIMITED, Modulation
from .voxel_bounds import RESERVE_GY


def goals_from_limits(
    target: Region,
    limits: Sequence[DoseVolumeLimit | MeanLimit | ConvexLimit | RelativeLimit],
    *,
    target_gy: float,
    hot_spot_ratio: float,
    floor_gy: float = 0.0,
    outside: Region | None = None,
    outside_ratio: float = 1.05,
    centres_mm: npt.NDArray[np.float64] | None = None,
    modulation: Modulation = UNLIMITED,
) -> PlanGoals:
    """Raise the D95% of one target as far as the limits let it.

    Parameters
    ----------
    target : Region
    limits : sequence of DoseVolumeLimit, MeanLimit, ConvexLimit or RelativeLimit
        Mandatory ones are kept; the others are served once the target's dose is settled.
    target_gy : float
        Dose at which the escalation ends, > 0.
    hot_spot_ratio : float
        Highest dose in the target over its D95%, > 1.
    floor_gy : float
        D95% below which the answer is that the limits contradict it.
    outside : Region, optional
        The body less the target: its mean dose is kept low at the end.
    outside_ratio : float
        Highest dose there over the target's D95%, an optimal goal; 1.05 is what the shipped protocols ask for.
    centres_mm : (V, 3) float64, optional
        Where the operator's voxels lie; see `PlanGoals`.
    modulation : Modulation
        Limits on the fluence.

    Raises
    ------
    InputError
        An empty region, doses out of order, one id for several limits, or a mandatory limit too low for any dose.
    """
    for region in (target, *(limit.region for limit in limits)):
        if not region.cc.sum() > 0:
            raise InputError(f"region {region.name!r} has no volume, so nothing can be asked of its dose.")
    ids = [limit.id for limit in limits]
    if twice := sorted({each for each in ids if ids.count(each) > 1}):
        raise InputError(f"several limits have the id {', '.join(twice)}, each needs its own.", where="limits")
    hard = [limit for limit in limits if not isinstance(limit, RelativeLimit) and limit.mandatory]
    if low := [f"{each.id} ({each.limit_gy:.3g} Gy)" for each in hard if each.limit_gy <= RESERVE_GY]:
        raise InputError(
            f"the mandatory limits {', '.join(low)} lie within the {RESERVE_GY:g} Gy that the optimiser keeps in "
            "reserve of each: scatter alone gives more.",
            where="limits",
            remedy="Check their unit, or make them optimal.",
        )
    if not (0 <= floor_gy <= target_gy and 0 < target_gy < np.inf and 1 < hot_spot_ratio < np.inf):
        raise InputError(
            "a floor from 0 to the target dose, a target dose above 0 and a hot-spot ratio above 1 are needed, got "
            f"{floor_gy:g} Gy, {target_gy:g} Gy and {hot_spot_ratio:g}."
        )
    nothing = np.zeros(0, np.int64), np.zeros(0)
    return PlanGoals(
        target=target,
        gtv=Region("GTV", *nothing),
        ptv=target,
        lesions=(target,),
        share=np.ones(target.positions.size),
        outside=outside or Region("outside", *nothing),
        liver=None,
        limits=tuple(limit for limit in limits if isinstance(limit, DoseVolumeLimit)),
        means=tuple(limit for limit in limits if isinstance(limit, MeanLimit)),
        floor_gy=floor_gy,
        target_gy=target_gy,
        cap_gy=target_gy,
        gtv_d98_gy=0.0,
        hot_spot_ratio=hot_spot_ratio,
        hot_spot_max_gy=np.inf,
        ptv_mean_max_gy=np.inf,
        outside_ratio=outside_ratio,
        voxel_cc=float(target.cc.max()),
        centres_mm=centres_mm,
        convex=tuple(limit for limit in limits if isinstance(limit, ConvexLimit)),
        relative=tuple(limit for limit in limits if isinstance(limit, RelativeLimit)),
        modulation=modulation,
    )

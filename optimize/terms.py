"""What each metric becomes in the optimiser: linear, sorted and fixed, convex by tangents, relative, or refused.

| metric | upper limit | lower limit |
|---|---|---|
| D(V), V(x), Dmax, critical volume, also of biological dose | sorted and fixed, exact | refused (CV is one) |
| Dmean | linear | optimal |
| gEUD, mean of a hottest or coldest share | a >= 1, hottest: convex | a <= 1, coldest: concave, optimal |
| Dmean, gEUD (a >= 1), hottest share of biological dose | convex | refused |
| CI_RTOG, R50, D2cm%, V120%(PTV-GTV) | optimal: relative to the D95 that the first levels reached | refused |
| V70Gy(PTV-GTV) | sorted and fixed, exact | refused |
| CI_Paddick, HI, Dmin | refused | refused |

What is refused as a mandatory limit stops the plan; as an optimal one it is judged, and the plan says that it was not
made for it.

A protocol's biological doses are turned back to physical ones where the metric looks at single voxels: the conversion
rises with dose, so nothing is lost.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import NoReturn, TypeAlias

import numpy as np
import numpy.typing as npt
from scipy.spatial import cKDTree

from protocols.errors import ProtocolError
from protocols.metrics import (
    Biological,
    CriticalVolume,
    DoseAtVolume,
    DoseBeyond2cm,
    HalfDoseSpill,
    Homogeneity,
    HotOutsideGtv,
    MaxDose,
    MeanDose,
    Metric,
    MinDose,
    PaddickConformity,
    PlanMetric,
    RtogConformity,
    StructureVolume,
    VolumeAtDose,
)
from protocols.schema import Goal, Protocol

from .curvature import curvature
from .plan_limits import ConvexLimit, DoseVolumeLimit, MeanLimit, Region, RelativeLimit

Term: TypeAlias = DoseVolumeLimit | MeanLimit | ConvexLimit | RelativeLimit

STRICTLY_BELOW_GY = 0.01
"""V(x Gy) counts voxels at x, so voxels that must not count are kept this much below (the acceptance tolerance)."""
BEYOND_MM = 20.0


def term_of(
    goal: Goal, regions: Mapping[str, Region], voxel_cc: float, centres_mm: npt.NDArray[np.float64] | None
) -> Term | None:
    """The limit that keeps the goal; None for a goal on anatomy alone.

    Raises
    ------
    ProtocolError
        A goal that can be judged but not optimised, with what to use instead.
    """
    if instead := refusal(goal):
        _refuse(goal, instead)
    region = regions[goal.structure]
    if isinstance(goal.metric, StructureVolume):
        return None
    if isinstance(goal.metric, HotOutsideGtv):
        return _hot_outside(goal, goal.metric, regions)
    if isinstance(goal.metric, PlanMetric):
        return _relative(goal, regions, voxel_cc, centres_mm)
    metric, limit = _physical(goal.metric, goal.limit)
    if isinstance(metric, CriticalVolume):
        return _spared(goal, region, metric)
    if goal.comparator in ("<", "<="):
        return _upper(goal, region, metric, limit)
    return ConvexLimit(goal.id, False, region, metric, limit, -1)


def refusal(goal: Goal) -> str:
    """What to use instead of a goal that no plan can be made for, whatever the patient; empty where one can."""
    upper, mandatory = goal.comparator in ("<", "<="), goal.level == "mandatory"
    if isinstance(goal.metric, StructureVolume):
        return ""
    if isinstance(goal.metric, PlanMetric):
        exact = isinstance(goal.metric, HotOutsideGtv) and goal.metric.unit == "Gy"
        taken = upper and not isinstance(goal.metric, PaddickConformity) and (exact or not mandatory)
        return "" if taken else INSTEAD[type(goal.metric)]
    metric, _ = _physical(goal.metric, goal.limit)
    if isinstance(metric, CriticalVolume):
        return ""
    if upper:
        taken = isinstance(metric, SORTED_OR_LINEAR) or "convex" in curvature(metric)
        return "" if taken else INSTEAD.get(type(metric), NOT_CONVEX)
    if "concave" not in curvature(metric):
        return INSTEAD.get(type(metric), NOT_CONCAVE)
    return OF_THE_PRESCRIPTION if mandatory else ""


def not_optimised(protocol: Protocol) -> Iterator[str]:
    """One sentence, starting with the key, for every mandatory goal that no plan can be made for."""
    for goal in protocol.goals:
        if goal.level == "mandatory" and (instead := refusal(goal)):
            yield str(_refused(goal, instead))


def _physical(metric: Metric, limit: float) -> tuple[Metric, float]:
    """A metric of the biological dose that looks at single voxels, as one of the physical dose, and its limit."""
    if not isinstance(metric, Biological):
        return metric, limit
    match metric.metric:
        case DoseAtVolume() | MaxDose() | MinDose():
            return metric.metric, metric.physical(limit)
        case VolumeAtDose(dose_gy=dose, unit=unit):
            return VolumeAtDose(metric.physical(dose), unit), limit
        case CriticalVolume(volume_cc=volume, dose_gy=dose):
            return CriticalVolume(volume, metric.physical(dose)), limit
        case _:
            return metric, limit


def _spared(goal: Goal, region: Region, metric: CriticalVolume) -> DoseVolumeLimit:
    spare = max(float(region.cc.sum()) - metric.volume_cc, 0.0)
    return DoseVolumeLimit(goal.id, goal.level == "mandatory", region, metric.dose_gy - STRICTLY_BELOW_GY, spare, 1.0)


def _upper(goal: Goal, region: Region, metric: Metric, limit: float) -> Term:
    mandatory, total_cc = goal.level == "mandatory", float(region.cc.sum())
    match metric:
        case DoseAtVolume(volume=volume, unit=unit):
            spare = volume if unit == "cc" else volume / 100.0 * total_cc
            # D(V cc) of a structure smaller than V is its maximum: nothing may be spared.
            return DoseVolumeLimit(goal.id, mandatory, region, limit, spare if spare < total_cc else 0.0)
        case VolumeAtDose(dose_gy=dose, unit=unit):
            unit_cc = 1.0 if unit == "cc" else total_cc / 100.0
            return DoseVolumeLimit(goal.id, mandatory, region, dose - STRICTLY_BELOW_GY, limit * unit_cc, unit_cc)
        case MaxDose():
            return DoseVolumeLimit(goal.id, mandatory, region, limit, 0.0)
        case MeanDose():
            return MeanLimit(goal.id, mandatory, region, limit)
    return ConvexLimit(goal.id, mandatory, region, metric, limit)


def _relative(
    goal: Goal, regions: Mapping[str, Region], voxel_cc: float, centres_mm: npt.NDArray[np.float64] | None
) -> RelativeLimit:
    """A limit on the body relative to the dose that the target reaches, an optimal one."""
    body, ptv = regions["Body"], regions["PTV"]
    ptv_cc = float(ptv.cc.sum())
    if isinstance(goal.metric, DoseBeyond2cm):
        if centres_mm is None:
            _refuse(goal, "it needs to know where the voxels lie: give centres_mm")
        return RelativeLimit(goal.id, _beyond(body, ptv, voxel_cc, centres_mm), goal.limit / 100.0, 0.0)
    ratio = 1.0 if isinstance(goal.metric, RtogConformity) else 0.5
    return RelativeLimit(goal.id, body, ratio, goal.limit * ptv_cc)


def _hot_outside(goal: Goal, metric: HotOutsideGtv, regions: Mapping[str, Region]) -> DoseVolumeLimit | RelativeLimit:
    """A limit on the PTV without the GTV: exact for a dose in Gy, optimal for one relative to what is reached."""
    if "GTV" not in regions:
        _refuse(goal, "it needs a GTV, and this plan has none: plan on a GTV, or leave the goal out")
    rim = _without(regions["PTV"], regions["GTV"])
    if metric.unit == "%":
        return RelativeLimit(goal.id, rim, metric.level / 100.0, goal.limit)
    level_gy = metric.level - STRICTLY_BELOW_GY
    return DoseVolumeLimit(goal.id, goal.level == "mandatory", rim, level_gy, goal.limit, 1.0)


def _without(ptv: Region, gtv: Region) -> Region:
    """What each voxel holds of the PTV beside the GTV."""
    _, mine, theirs = np.intersect1d(ptv.positions, gtv.positions, assume_unique=True, return_indices=True)
    cc = ptv.cc.copy()
    cc[mine] = np.maximum(cc[mine] - gtv.cc[theirs], 0.0)
    return Region("PTV-GTV", ptv.positions[cc > 0], cc[cc > 0])


def _beyond(body: Region, ptv: Region, voxel_cc: float, centres_mm: npt.NDArray[np.float64]) -> Region:
    """Body voxels whose centre is 2 cm or more from that of every voxel of which the PTV holds half."""
    inside = ptv.positions[ptv.cc >= 0.5 * voxel_cc] if np.any(ptv.cc >= 0.5 * voxel_cc) else ptv.positions
    far = cKDTree(centres_mm[inside]).query(centres_mm[body.positions])[0] >= BEYOND_MM
    return Region("Body beyond 2 cm", body.positions[far], body.cc[far])


INSTEAD: dict[type, str] = {
    PaddickConformity: "it is a quotient that is not convex; use CI_RTOG <= as an optimal goal, which with the "
    "coverage that D95 stands for bounds it",
    RtogConformity: "it moves with the dose that the target reaches; state it as optimal, or hold V(x Gy) of the Body",
    HalfDoseSpill: "it moves with the dose that the target reaches; state it as optimal, or hold V(x Gy) of the Body",
    DoseBeyond2cm: "it moves with the dose that the target reaches; state it as optimal, or hold Dmax of a ring "
    "(structures: ring(PTV, 20, 100)) in Gy",
    HotOutsideGtv: "it moves with the dose that the target reaches; state it as optimal, or with a dose in Gy: "
    "V70Gy(PTV-GTV) can be mandatory; upper limits only",
    Homogeneity: "it is a quotient that is not convex; the hot spot of the prescription bounds the dose over D95",
    MinDose: "one voxel decides it; use MOC2% >= (mean of the coldest 2 %) as an optimal goal",
}
"""What to use instead of a metric that the optimiser does not take."""
SORTED_OR_LINEAR = DoseAtVolume, VolumeAtDose, MaxDose, MeanDose
NOT_CONVEX = "it is not convex; use D, V, Dmean, Dmax, MOH or a gEUD with a >= 1"
NOT_CONCAVE = "use a lower limit on Dmean, MOC (coldest share) or a critical volume"
OF_THE_PRESCRIPTION = "what a target must reach is the prescription's to say (floor); state this one as optimal"


def _refuse(goal: Goal, instead: str) -> NoReturn:
    raise _refused(goal, instead)


def _refused(goal: Goal, instead: str) -> ProtocolError:
    return ProtocolError(
        f"goal {goal.id}: {goal.metric} {goal.comparator} {goal.limit:g} {goal.unit} ({goal.level}) can be judged but "
        f"not optimised: {instead}.",
        where=f"goals[{goal.id}].metric",
        remedy="Docs: writing_a_protocol.md lists what each metric can be.",
    )

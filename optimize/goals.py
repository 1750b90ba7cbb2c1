"""Clinical goals resolved to voxels: what the problem builder may limit, spare or raise."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from dosecalc.errors import InputError
from dosecalc.grid import Grid
from dosecalc.structures import StructureSet
from protocols.errors import ProtocolError
from protocols.escalation import LadderRung
from protocols.prescription import Prescription
from protocols.schema import Goal, Protocol

from .judging import needs
from .modulation import UNLIMITED, Modulation
from .plan_limits import ConvexLimit, DoseVolumeLimit, MeanLimit, Region, RelativeLimit
from .reserve import with_reserve
from .risk import RiskLimit
from .terms import Term, term_of

Array = npt.NDArray[Any]

__all__ = [
    "ConvexLimit",
    "DoseVolumeLimit",
    "MeanLimit",
    "PlanGoals",
    "Region",
    "RelativeLimit",
    "goals_from_regions",
    "resolve_goals",
]


@dataclass(frozen=True, slots=True, eq=False)
class PlanGoals:
    """Everything the optimiser aims at, on the voxels of one operator.

    Attributes
    ----------
    target, gtv, ptv : Region
        Everything that is prescribed on, union of GTVs, union of PTVs.
    lesions : tuple of Region
        The parts of `target` that must reach its dose each for itself; `target` alone for one lesion.
    share : (n,) float64
        For each voxel of `target` the dose it shall reach over that of the protocol's prescription: below one for
        lesions that are prescribed less.
    outside : Region
        Body voxels that lie mostly outside the PTV.
    liver : Region or None
        Liver minus GTVs, kept low at the last level.
    limits, means, convex : tuple
        Organ limits, mandatory and optimal.
    relative : tuple of RelativeLimit
        Limits on the body in terms of the dose that the target reaches.
    modulation : Modulation
        Limits on the fluence.
    judged_only : tuple of str
        Optimal goals that the plan is judged on and not made for, one sentence each.
    floor_gy, target_gy, cap_gy : float
        D95% of `target`.
    gtv_d98_gy : float
    hot_spot_ratio, hot_spot_max_gy, ptv_mean_max_gy, outside_ratio : float
        Highest dose over D95 inside the PTV, its absolute cap, mean of the PTV, highest dose over D95 outside.
    voxel_cc : float
        Volume of a whole voxel.
    centres_mm : (V, 3) float64 or None
        Where the operator's voxels lie, if known: the voxels of the target with the least room beside capped organs
        are given up first, in mm where known, otherwise by the dose that beamlets past the organs give.
    rungs : tuple of LadderRung
        The only doses that the target may be given, ascending; empty where any is.
    ptv_mean_min_gy : float
        Mean of the PTV, at least.
    risk : RiskLimit or None
        The complication probability that must not be exceeded.
    """

    target: Region
    gtv: Region
    ptv: Region
    lesions: tuple[Region, ...]
    share: npt.NDArray[np.float64]
    outside: Region
    liver: Region | None
    limits: tuple[DoseVolumeLimit, ...]
    means: tuple[MeanLimit, ...]
    floor_gy: float
    target_gy: float
    cap_gy: float
    gtv_d98_gy: float
    hot_spot_ratio: float
    hot_spot_max_gy: float
    ptv_mean_max_gy: float
    outside_ratio: float
    voxel_cc: float
    centres_mm: npt.NDArray[np.float64] | None = None
    convex: tuple[ConvexLimit, ...] = ()
    relative: tuple[RelativeLimit, ...] = ()
    modulation: Modulation = UNLIMITED
    judged_only: tuple[str, ...] = ()
    rungs: tuple[LadderRung, ...] = ()
    ptv_mean_min_gy: float = 0.0
    risk: RiskLimit | None = None

    @property
    def averages(self) -> tuple[MeanLimit | ConvexLimit, ...]:
        """Limits that every voxel of a structure counts in."""
        return (*self.means, *self.convex)

    @property
    def ptv_mean(self) -> MeanLimit:
        """The mean dose of the PTV, as the prescription limits it."""
        return MeanLimit("ptv_mean", True, self.ptv, self.ptv_mean_max_gy)

    def check_covered(self, voxels: int) -> None:
        """Refuse regions that name voxels which an operator of so many does not have, and centres of another count."""
        regions = [self.target, self.gtv, self.ptv, self.outside, *self.lesions]
        regions += [limit.region for limit in self.limits] + [mean.region for mean in self.means]
        regions += [limit.region for limit in self.convex] + [limit.region for limit in self.relative]
        regions += [self.risk.region] if self.risk is not None else []
        for region in regions if self.liver is None else (*regions, self.liver):
            if region.positions.size and region.positions[-1] >= voxels:
                raise InputError(
                    f"region {region.name!r} names voxel {region.positions[-1]}, the operator has 0..{voxels - 1}."
                )
        if self.centres_mm is not None and self.centres_mm.shape != (voxels, 3):
            raise InputError(f"centres_mm must be ({voxels}, 3), got {self.centres_mm.shape}.")


def resolve_goals(
    protocol: Protocol,
    structures: StructureSet,
    grid: Grid,
    voxels: Array,
    *,
    skip: frozenset[str] = frozenset(),
    lesions: tuple[str, ...] = (),
) -> PlanGoals:
    """Turn the protocol's goals into limits on the operator's voxels.

    Parameters
    ----------
    protocol : Protocol
    structures : StructureSet
        With the derived ones (PTV, PTV_opt, Liver-GTV, Body, ...) under the names that the protocol uses.
    grid : Grid
        Dose grid.
    voxels : (V,) int64
        The operator's voxels: ascending C-order indices of `grid`, covering every structure used.
    skip : frozenset of str
        Structures whose goals are not assessed (missing and accepted, report-only).
    lesions : tuple of str
        Parts of the prescribed structure, one for each of several lesions.

    Raises
    ------
    ProtocolError
        A mandatory goal that can be judged but not optimised; optimal ones are told in `PlanGoals.judged_only`.
    """
    find = RegionFinder(structures, grid, voxels)
    rx = protocol.prescription
    judged = [g.structure for g in protocol.goals if g.structure not in skip]
    wanted = (*judged, *rx.risk_structures, rx.structure, "PTV", "Body", "GTV", "Liver-GTV", *lesions)
    regions = {name: find(name) for name in dict.fromkeys(wanted) if name in structures}
    return goals_from_regions(
        protocol,
        regions,
        voxel_cc=grid.voxel_cc,
        centres_mm=grid.centres_mm(voxels),
        skip=skip | (set(judged) - set(regions)),
        lesions=lesions,
    )


def goals_from_regions(
    protocol: Protocol,
    regions: Mapping[str, Region],
    *,
    voxel_cc: float,
    centres_mm: npt.NDArray[np.float64] | None = None,
    skip: frozenset[str] = frozenset(),
    lesions: tuple[str, ...] = (),
) -> PlanGoals:
    """Turn the protocol's goals into limits on voxels that are given: nothing is contoured or derived.

    Parameters
    ----------
    protocol : Protocol
    regions : mapping of Region
        By the names that the protocol uses: PTV, Body, the prescribed structure, and each structure of a goal. GTV
        and Liver-GTV are used where given.
    voxel_cc : float
        Volume of a whole voxel.
    centres_mm : (V, 3) float64, optional
        Where the operator's voxels lie; see `PlanGoals`.
    skip : frozenset of str
        Structures whose goals are left out.
    lesions : tuple of str
        Parts of the prescribed structure, one for each of several lesions.

    Raises
    ------
    InputError
        A region that is missing.
    ProtocolError
        A mandatory goal that can be judged but not optimised; optimal ones are told in `PlanGoals.judged_only`.
    """
    rx = protocol.prescription
    usable = [g for g in protocol.goals if not skip.intersection(needs(g))]
    needed = ("PTV", "Body", rx.structure, *lesions, *(g.structure for g in usable))
    needed += rx.risk_structures
    if missing := sorted(set(needed) - set(regions)):
        raise InputError(
            f"protocol {protocol.name!r} needs voxels of {', '.join(missing)}; given are {', '.join(sorted(regions))}.",
            remedy="Give each as a Region, or leave the goals of an organ out with skip.",
        )
    nothing = Region("GTV", np.zeros(0, np.int64), np.zeros(0))
    terms, judged_only = _terms(usable, regions, voxel_cc, centres_mm)
    parts = tuple(regions[name] for name in lesions or (rx.structure,))
    target, share, floor_gy = _prescribed(regions[rx.structure], parts, rx)
    rules = protocol.planning
    goals = PlanGoals(
        target=target,
        gtv=regions.get("GTV", nothing),
        ptv=regions["PTV"],
        lesions=parts,
        share=share,
        outside=_mostly_outside(regions["Body"], regions["PTV"], voxel_cc),
        liver=regions.get("Liver-GTV"),
        limits=tuple(term for term in terms if isinstance(term, DoseVolumeLimit)),
        means=tuple(term for term in terms if isinstance(term, MeanLimit)),
        floor_gy=floor_gy,
        target_gy=rx.target.dose_gy,
        cap_gy=rx.cap.dose_gy,
        gtv_d98_gy=rx.gtv_d98.limit,
        hot_spot_ratio=1.0 / rx.hot_spot.isodose,
        hot_spot_max_gy=rx.hot_spot.max_gy or np.inf,
        ptv_mean_max_gy=rx.ptv_mean_max.limit if rx.ptv_mean_max else np.inf,
        outside_ratio=rx.outside_ptv.max_pct_of_d95 / 100.0,
        voxel_cc=voxel_cc,
        centres_mm=centres_mm,
        convex=tuple(term for term in terms if isinstance(term, ConvexLimit)),
        relative=tuple(term for term in terms if isinstance(term, RelativeLimit)),
        judged_only=judged_only,
        modulation=Modulation(rules.max_fluence_mu or np.inf, rules.max_variation or np.inf),
        rungs=rx.rungs,
        risk=_risk(protocol, regions),
    )
    return with_reserve(goals, rules.reserve_percent) if rules.reserve_percent else goals


def _terms(
    goals: list[Goal], regions: Mapping[str, Region], voxel_cc: float, centres_mm: npt.NDArray[np.float64] | None
) -> tuple[list[Term | None], tuple[str, ...]]:
    """What every goal becomes, and a sentence on each optimal one that becomes nothing."""
    terms, told = list[Term | None](), []
    for goal in goals:
        try:
            terms.append(term_of(goal, regions, voxel_cc, centres_mm))
        except ProtocolError as error:
            if goal.level == "mandatory":
                raise
            told.append(error.message)
    return terms, tuple(told)


def _risk(protocol: Protocol, regions: Mapping[str, Region]) -> RiskLimit | None:
    asked = protocol.prescription.iso_ntcp
    if asked is None:
        return None
    return RiskLimit(regions[asked.curve.structure], asked.curve, protocol.fractions, asked.max_pct / 100.0)


def _mostly_outside(body: Region, ptv: Region, voxel_cc: float) -> Region:
    """Body voxels of which the PTV holds no more than half."""
    kept = ~np.isin(body.positions, ptv.positions[ptv.cc > 0.5 * voxel_cc])
    return Region("Body-PTV", body.positions[kept], body.cc[kept])


def _prescribed(whole: Region, lesions: tuple[Region, ...], rx: Prescription) -> tuple[Region, Array, float]:
    """Every voxel prescribed on, its share of the prescription, and the dose that brings every lesion to its floor."""
    if not rx.lesions:
        return whole, np.ones(whole.positions.size), rx.floor.dose_gy
    positions = np.unique(np.concatenate([whole.positions, *(lesion.positions for lesion in lesions)]))
    cc, share = np.zeros(positions.size), np.zeros(positions.size)
    floor_gy = rx.floor.dose_gy
    for part in (whole, *lesions):
        own = rx.of_lesion(part.name)
        ratio = own.target.dose_gy / rx.target.dose_gy if own else 1.0
        at = np.searchsorted(positions, part.positions)
        cc[at] = np.maximum(cc[at], part.cc)
        share[at] = np.maximum(share[at], ratio)
        if own:
            floor_gy = max(floor_gy, own.floor.dose_gy / ratio)
    return Region(whole.name, positions, cc), share, floor_gy


@dataclass(frozen=True, slots=True)
class RegionFinder:
    """Structures on the voxels of an operator, by name."""

    structures: StructureSet
    grid: Grid
    voxels: Array

    def __call__(self, name: str) -> Region:
        on_grid = self.structures[name].on(self.grid)
        positions = np.searchsorted(self.voxels, on_grid.indices)
        inside = positions < self.voxels.size
        inside[inside] = self.voxels[positions[inside]] == on_grid.indices[inside]
        if not inside.all():
            raise InputError(
                f"{np.count_nonzero(~inside)} voxels of structure {name!r} have no dose: "
                "the operator does not cover them."
            )
        return Region(name, positions, on_grid.cc)

"""What stands in the way of the floor dose: a limit, how far it would have to give, and the geometry behind it."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import numpy as np

from dosecalc import margins, regions
from dosecalc.errors import InfeasibleError
from dosecalc.grid import Grid
from dosecalc.structures import StructureSet
from protocols import DoseAtVolume, Goal, MaxDose, Metric, Protocol
from protocols.metrics import Biological

from .escalation_results import RISK
from .reserve import reserve_sentence

NEAR_MM = 5.0
"""About the 80-50 % penumbra of a 6 MV field in soft tissue: target this close to an organ shares its fall-off."""


@dataclass(frozen=True, slots=True)
class Closeness:
    """How the target lies beside an organ, on the dose grid.

    Attributes
    ----------
    target : str
        What is prescribed on.
    target_cc, organ_cc : float
    overlap_cc, ptv_overlap_cc : float
        Of the organ with the target, and with the PTV.
    distance_mm : float
        Least distance of their surfaces, 0 where they overlap.
    near_cc : float
        Of the target, within `NEAR_MM` of the organ.
    fall_off_gy_per_mm : float or None
        What takes the floor dose at the target to the limit at the organ; None where they touch, or where the limit is
        on no near-maximum.
    """

    target: str
    target_cc: float
    organ_cc: float
    overlap_cc: float
    ptv_overlap_cc: float
    distance_mm: float
    near_cc: float
    fall_off_gy_per_mm: float | None


@dataclass(frozen=True, slots=True)
class Conflict:
    """A mandatory limit that would have to give for the floor dose to be reached.

    Attributes
    ----------
    id, structure : str
    limit_gy : float
        Its dose; of a limit on a volume, the dose of that volume; of a risk, the gEUD of the doses in 2 Gy fractions.
    needed_gy : float
        What it would have to be when all limits give together, with the least sum of relative excesses; `limit_gy`
        where it need not give then.
    unit : str
        Of the goal's own limit: Gy, cc or %.
    relaxation_alone : float or None
        The smallest relaxation found, in `unit`, that lets the floor be reached with all other limits unchanged; None
        where none does, or where it was not looked for.
    limit, needed_alone : float or None
        The goal's own limit, and what it would be with that relaxation.
    reached_without_gy : float or None
        D95 that the others allow without this limit.
    pairs : tuple of str
        Limits that together with this one make way where no limit does alone.
    where : str
        Protocol file and key.
    closeness : Closeness or None
        None for a limit on the target itself.
    says : str
        All of it in words.
    """

    id: str
    structure: str
    limit_gy: float
    needed_gy: float
    unit: str = "Gy"
    relaxation_alone: float | None = None
    limit: float | None = None
    needed_alone: float | None = None
    reached_without_gy: float | None = None
    pairs: tuple[str, ...] = ()
    where: str = ""
    closeness: Closeness | None = None
    says: str = ""


@contextmanager
def explained(protocol: Protocol, structures: StructureSet, grid: Grid) -> Iterator[None]:
    """Add to the conflicts of an infeasible body where the protocol states each limit, and the geometry behind it.

    Parameters
    ----------
    protocol : Protocol
    structures : StructureSet
        Derived ones included.
    grid : Grid
        Dose grid.
    """
    try:
        yield
    except InfeasibleError as error:
        if percent := protocol.planning.reserve_percent:
            error.message += f" {reserve_sentence(percent)} The limits named here are those less the reserve."
        goals = {goal.id: goal for goal in protocol.goals}
        error.conflicts = tuple(
            _explained(each, goals.get(each.id), protocol, structures, grid) if isinstance(each, Conflict) else each
            for each in error.conflicts
        )
        raise


def where_of(protocol: Protocol, goal_id: str) -> str:
    """The file and key that state a limit."""
    if any(goal.id == goal_id for goal in protocol.goals):
        return f"{protocol.origin_of(goal_id)}: goals[{goal_id}].limit"
    keys = {"ptv_mean": "ptv_mean_max.limit", "prescription_floor": "floor.dose_gy", RISK: "iso_ntcp.max_pct"}
    key = keys.get(goal_id, goal_id)
    return f"{protocol.origin_of('prescription')}: prescription.{key}"


def _explained(each: Conflict, goal: Goal | None, protocol: Protocol, structures: StructureSet, grid: Grid) -> Conflict:
    """A conflict with its limit as the goal states it, its key, the geometry, and a sentence on all of it."""
    floor_gy, near, where = protocol.prescription.floor.dose_gy, None, where_of(protocol, each.id)
    metric = " NTCP, by the gEUD of doses in 2 Gy fractions" if each.id == RISK else ""
    limit, upper = each.limit_gy if each.limit is None else each.limit, True
    if goal is not None and goal.structure not in (protocol.prescription.structure, "PTV", "GTV", "Body"):
        maximum = isinstance(goal.metric, DoseAtVolume | MaxDose)
        near = _closeness(goal.structure, protocol, structures, grid, each.limit_gy if maximum else None)
    if goal is not None:
        limit, upper, metric = goal.limit, goal.comparator in ("<", "<="), f" {goal.metric}"
    more, needed = each.relaxation_alone, None
    if more is not None:
        # Given so much, a limit less the reserve is what was found to suffice.
        more /= 1.0 - (protocol.planning.reserve_percent or 0.0) / 100.0
        needed = _given(goal.metric if goal else None, limit, more if upper else -more)
    each = dataclasses.replace(each, where=where, closeness=near, limit=limit, needed_alone=needed)
    told = f"{each.structure}{metric} ({each.id}; {where}): {each.says or _needs(each)}."
    geometry = f" {_geometry(near, floor_gy, each.limit_gy)}" if near is not None else ""
    return dataclasses.replace(each, says=told + geometry)


def _given(metric: Metric | None, limit: float, more: float) -> float:
    """A limit that gives way; by so much physical dose where it is biological and looks at single voxels."""
    if isinstance(metric, Biological) and isinstance(metric.metric, DoseAtVolume | MaxDose):
        return metric.of(metric.physical(limit) + more)
    return limit + more


def _needs(each: Conflict) -> str:
    """What would have to give, in words."""
    told = []
    same = each.unit == "Gy" and each.needed_alone is not None and abs(each.needed_gy - each.needed_alone) < 0.05
    if each.needed_gy > each.limit_gy and not same:
        told.append(f"together with what else gives, {each.needed_gy:.1f} Gy instead of {each.limit_gy:g} Gy")
    if each.needed_alone is not None:
        told.append(f"alone, {each.needed_alone:.1f} {each.unit} instead of {each.limit:g} {each.unit}")
    elif each.reached_without_gy is not None:
        told.append(f"alone it does not suffice, without it D95 reaches {each.reached_without_gy:.1f} Gy")
    if each.pairs:
        told.append(f"with {' or with '.join(each.pairs)} it makes way")
    return "; ".join(told)


def _closeness(
    organ: str, protocol: Protocol, structures: StructureSet, dose_grid: Grid, limit_gy: float | None
) -> Closeness:
    rx = protocol.prescription
    x, y, z = dose_grid.spacing_mm
    around = margins.box_around(regions.shares(structures["PTV"], dose_grid), 2 * NEAR_MM, dose_grid)
    # As where targets are grown: overlaps and margins of a few mm need finer voxels than dose does.
    fine = around.resampled((x / 2, y / 2, z / 2))
    own, ptv, there = (regions.shares(structures[name], fine) for name in (rx.structure, "PTV", organ))
    grid = fine if there.any() else dose_grid
    first, second = (regions.shares(structures[name], grid) for name in (rx.structure, organ))
    distance = margins.least_distance(first, second, grid)
    falls = limit_gy is not None and distance > 0 and rx.floor.dose_gy > limit_gy
    return Closeness(
        target=rx.structure,
        target_cc=structures[rx.structure].on(dose_grid).volume_cc,
        organ_cc=structures[organ].on(dose_grid).volume_cc,
        overlap_cc=_shared_cc(own, there, fine),
        ptv_overlap_cc=_shared_cc(ptv, there, fine),
        distance_mm=distance,
        near_cc=_shared_cc(own, margins.grown(there, NEAR_MM, fine), fine) if there.any() else 0.0,
        fall_off_gy_per_mm=(rx.floor.dose_gy - limit_gy) / distance if falls and limit_gy is not None else None,
    )


def _shared_cc(first: margins.Shares, second: margins.Shares, grid: Grid) -> float:
    return float(np.minimum(first, second).sum(dtype=np.float64)) * grid.voxel_cc


def _geometry(near: Closeness, floor_gy: float, limit_gy: float) -> str:
    """The overlap, the distance and the fall-off that would be needed."""
    told = f"{near.ptv_overlap_cc:.2f} of its {near.organ_cc:.1f} cc lie inside the PTV"
    if near.target != "PTV":
        told += f", {near.overlap_cc:.2f} cc inside {near.target}"
    told += (
        f"; the least distance of {near.target} is {near.distance_mm:.1f} mm, and {near.near_cc:.1f} of its "
        f"{near.target_cc:.1f} cc lie within {NEAR_MM:g} mm."
    )
    if near.fall_off_gy_per_mm is not None:
        share = near.fall_off_gy_per_mm / floor_gy
        told += (
            f" From the floor of {floor_gy:g} Gy to {limit_gy:g} Gy the dose would have to fall by "
            f"{near.fall_off_gy_per_mm:.1f} Gy per mm ({share:.0%} of the floor per mm)."
        )
    return told

"""Where a target lies that a planner should know of: in lung or gas, inside a capped organ, or outside the liver."""

from __future__ import annotations

import numpy as np
from scipy import ndimage

from dosecalc import margins, regions
from dosecalc.grid import Grid, Volume
from dosecalc.structures import Structure, StructureSet
from protocols import Protocol, names_in
from protocols.metrics import DoseAtVolume, MaxDose

from .targets import Target

LOW_DENSITY_HU = -400.0
"""Half way between soft tissue and inflated lung (about -800 HU): lung and gas lie below."""
WORTH_SAYING_CC = 0.05
"""Less is contour detail along a shared border."""
OUTSIDE_LIVER_SHARE = 0.1
"""Of a GTV: a contour that is 2 mm off at the capsule leaves 4 % of a lesion of 16 mm outside, 10 % of one of 10 mm."""
OUTSIDE_LIVER_SHARE_WITH_MARGIN = 0.5
"""Of ITV, CTV and PTV: margins of a lesion under the capsule lie outside, its middle does not."""
_LIVER = ("Liver", "Liver-GTV", "Liver-PTV")


def placement_warnings(
    ours: dict[str, Structure], structures: StructureSet, ct: Volume, grid: Grid, protocol: Protocol
) -> list[str]:
    """Volumes of the targets in lung or gas, and of the innermost target in organs with a mandatory maximum.

    Parameters
    ----------
    ours : dict
        The targets by role, as far as they are defined; PTV among them.
    structures : StructureSet
        The organs.
    ct : Volume
        HU.
    grid : Grid
        Around the targets.
    """
    told = _in_lung_or_gas(ours, ct, grid)
    inner = next(role for role in ("GTV", "CTV", "PTV") if role in ours)
    for organ in _capped(protocol):
        if organ in structures and (shared := shared_cc(ours[inner], structures[organ], grid)) > WORTH_SAYING_CC:
            told.append(
                f"{inner}: {shared:.2f} of its {_cc(ours[inner], grid):.2f} cc lie inside {organ}, whose mandatory "
                "limits hold there as well."
            )
    return told


def outside_liver_warnings(
    drawn: dict[Target, Structure], structures: StructureSet, grid: Grid, protocol: Protocol
) -> list[str]:
    """Targets of a protocol for the liver that lie outside it: most often a sign or an axis of their coordinates.

    Parameters
    ----------
    drawn : dict
        Each target in the role that it was given.
    structures : StructureSet
        The organs.
    grid : Grid
        Around the targets.
    protocol : Protocol
        Nothing is said where it names no part of the liver.
    """
    if "Liver" not in structures or not _speaks_of_liver(protocol):
        return []
    liver = _with_holes_filled(regions.shares(structures["Liver"], grid))
    told = []
    for target, structure in drawn.items():
        share = OUTSIDE_LIVER_SHARE if target.role == "GTV" else OUTSIDE_LIVER_SHARE_WITH_MARGIN
        whole = regions.shares(structure, grid)
        total_cc = float(whole.sum(dtype=np.float64)) * grid.voxel_cc
        outside_cc = float(regions.difference(whole, liver).sum(dtype=np.float64)) * grid.voxel_cc
        if outside_cc > share * total_cc:
            told.append(
                f"{target.name}: {outside_cc:.1f} of its {total_cc:.1f} cc lie outside Liver; check that its "
                "coordinates are LPS in mm with the right signs, and that Liver was drawn with the tumour in it."
            )
    return told


def _speaks_of_liver(protocol: Protocol) -> bool:
    used = (name for entry in protocol.structures for name in names_in(entry.expression))
    asked = (goal.structure for goal in protocol.goals)
    return any(name in _LIVER for name in (*asked, *protocol.prescription.risk_structures, *used))


def _with_holes_filled(liver: margins.Shares) -> margins.Shares:
    """A label map with one label to a voxel has no liver where its tumour is."""
    solid = liver >= 0.5
    return np.where(ndimage.binary_fill_holes(solid) & ~solid, np.float32(1.0), liver)


def _in_lung_or_gas(ours: dict[str, Structure], ct: Volume, grid: Grid) -> list[str]:
    low = ct.values < LOW_DENSITY_HU
    if not low.any():  # a scan cropped to the inside of the patient
        return []
    thin = regions.from_shares("lung or gas", ct.grid, low.astype(np.float32))
    told = []
    for role in ("GTV", "PTV"):
        if role in ours and (shared := shared_cc(ours[role], thin, grid)) > WORTH_SAYING_CC:
            told.append(
                f"{role}: {shared:.2f} of its {_cc(ours[role], grid):.2f} cc are lung or gas (below "
                f"{LOW_DENSITY_HU:g} HU), where this dose model reads too high."
            )
    return told


def _capped(protocol: Protocol) -> list[str]:
    """Organs of which a mandatory goal limits the hottest part."""
    goals = (g for g in protocol.goals if g.level == "mandatory" and g.comparator in ("<", "<="))
    return list(dict.fromkeys(g.structure for g in goals if isinstance(g.metric, DoseAtVolume | MaxDose)))


def shared_cc(first: Structure, second: Structure, grid: Grid) -> float:
    """The volume that two structures share, on a grid."""
    shared = np.minimum(regions.shares(first, grid), regions.shares(second, grid))
    return float(shared.sum(dtype=np.float64)) * grid.voxel_cc


def _cc(structure: Structure, grid: Grid) -> float:
    return float(regions.shares(structure, grid).sum(dtype=np.float64)) * grid.voxel_cc

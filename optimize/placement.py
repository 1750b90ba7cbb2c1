"""Where a target lies that a planner should know of: in lung or gas, or inside an organ whose limits cap its dose."""

from __future__ import annotations

import numpy as np

from dosecalc import regions
from dosecalc.grid import Grid, Volume
from dosecalc.structures import Structure, StructureSet
from protocols import Protocol
from protocols.metrics import DoseAtVolume, MaxDose

LOW_DENSITY_HU = -400.0
"""Half way between soft tissue and inflated lung (about -800 HU): lung and gas lie below."""
WORTH_SAYING_CC = 0.05
"""Less is contour detail along a shared border."""


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

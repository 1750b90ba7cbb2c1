"""The plan's dose once more on a finer grid: how far the dose grid is from it, structure by structure.

Between its voxel centres the dose grid stands for the trilinear dose; the finer grid's dose is computed there. Their
difference is what the dose grid leaves out. Source of the procedure: AAPM MPPG 5.b (Geurts et al., J Appl Clin Med
Phys 23:e13641, 2022) asks that the grid's resolution be part of what is validated.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy.ndimage import map_coordinates

from dosecalc import regions
from dosecalc.grid import Grid, Volume
from dosecalc.structures import StructureSet
from protocols import Protocol

from .results import DoseDifference

SMALL_PTV_SPACING_MM = 1.0
"""Largest spacing for targets that the protocol calls small."""
NEAR_MM, FAR_VOXELS = 30.0, 60_000
"""Within this distance of the PTV every voxel is computed; of those further out, where the dose is flatter, this many,
evenly taken.
"""


@dataclass(frozen=True, slots=True, eq=False)
class FineParts:
    """Where structures lie on a finer grid.

    Attributes
    ----------
    grid : Grid
    voxels : (n,) int64
        C-order flat indices of all of them, ascending.
    parts : dict
        For each structure its positions in `voxels`, and the cc that each voxel stands for.
    """

    grid: Grid
    voxels: npt.NDArray[np.int64]
    parts: dict[str, tuple[npt.NDArray[np.int64], npt.NDArray[np.float64]]]


def fine_parts(structures: StructureSet, protocol: Protocol, grid: Grid) -> FineParts | None:
    """Targets and the structures of goals on the protocol's verification grid; None where the dose grid is as fine.

    Parameters
    ----------
    structures : StructureSet
        With "PTV".
    protocol : Protocol
    grid : Grid
        The dose grid.
    """
    rules = protocol.planning
    ptv = structures["PTV"]
    small = float(ptv.on(grid).cc.sum()) < rules.small_ptv_cc
    spacing_mm = min(rules.verify_grid_mm, SMALL_PTV_SPACING_MM) if small else rules.verify_grid_mm
    if max(grid.spacing_mm) <= spacing_mm:
        return None
    fine = grid.resampled(spacing_mm)
    found = {name: structures[name].on(fine) for name in compared_names(structures, protocol)}
    # Flags of the whole grid: sorting a million indices of every structure takes ten times as long.
    near, taken = np.zeros(fine.size, bool), np.zeros(fine.size, bool)
    near[regions.grow(ptv, NEAR_MM, grid, name="near").on(fine).indices] = True
    for part in found.values():
        taken[part.indices] = True
    further = np.flatnonzero(taken & ~near)
    step = -(-further.size // FAR_VOXELS) or 1
    taken[further] = False
    taken[further[::step]] = True
    voxels = np.flatnonzero(taken)
    parts = {}
    for name, part in found.items():
        kept = taken[part.indices]
        if kept.any():
            indices = part.indices[kept]
            cc = part.cc[kept] * np.where(near[indices], 1, step)
            parts[name] = np.searchsorted(voxels, indices), cc
    return FineParts(fine, voxels, parts)


def compared_names(structures: StructureSet, protocol: Protocol) -> tuple[str, ...]:
    """Targets and the structures of goals, as far as they are there."""
    targets = ("GTV", "PTV", protocol.prescription.structure)
    names = dict.fromkeys((*targets, *(goal.structure for goal in protocol.goals)))
    return tuple(name for name in names if name in structures)


def differences(dose: Volume, finer: FineParts, finer_gy: npt.NDArray[np.float64]) -> tuple[DoseDifference, ...]:
    """Mean and largest difference of the finer grid's dose from the dose grid's, for each structure.

    Parameters
    ----------
    dose : Volume
        Gy; 0 where nothing was computed.
    finer : FineParts
    finer_gy : (n,) float64
        Dose of `finer.voxels`.
    """
    between = _interpolated(dose, finer.grid.centres_mm(finer.voxels))
    told = []
    for name, (positions, cc) in finer.parts.items():
        here, there = finer_gy[positions], between[positions]
        known = np.isfinite(there)
        if known.any():
            change = here[known] - there[known]
            largest = float(change[np.argmax(np.abs(change))])
            mean = float(np.average(change, weights=cc[known]))
            told.append(DoseDifference(name, int(known.sum()), mean, largest))
    return tuple(told)


def _interpolated(dose: Volume, points_mm: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """Trilinear dose in Gy; NaN where none of the surrounding voxels has one.

    Voxels without dose lie outside the body: they take no part, so that the skin is not compared with air.
    """
    at = dose.grid.index_coordinates(points_mm)[:, ::-1].T
    values = np.asarray(dose.values, dtype=np.float64)
    share = map_coordinates((values > 0).astype(np.float64), at, order=1, mode="nearest")
    with np.errstate(invalid="ignore"):
        return np.where(share > 0, map_coordinates(values, at, order=1, mode="nearest") / share, np.nan)

"""The second opinion: small-volume limits beside the target, judged again on the dose of a finer grid.

On the dose grid a limit such as D0.035cc is that of one or two voxels, and beside a target the dose climbs by several
Gy from one voxel centre to the next: a limit that holds at those centres is broken between them, which only a finer
grid shows. The optimiser holds the limits on both (`fine_limits`); a dose that was read is only judged on both.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt

from dosecalc import margins, regions
from dosecalc.grid import Grid, Volume
from dosecalc.structures import StructureSet, Voxels
from protocols import Goal, Protocol
from protocols.metrics import DoseAtVolume, MaxDose

from .judging import judged
from .metrics import measure
from .results import GoalResult

Summed: TypeAlias = Callable[[str, npt.NDArray[np.float64], npt.NDArray[np.float64]], npt.NDArray[np.float64]]
REACH_MM = 15.0
"""Organ voxels within this distance of the PTV: further out the dose is flat enough for the dose grid."""
VOXELS_IN_SMALLEST = 30
"""Voxels that the smallest volume of a limit holds at least: 0.035 cc of 2 mm voxels are four, and depend on where
they lie by several Gy; the spacing is then finer than the protocol's."""
LARGEST_CC = 5.0
"""Limits for larger volumes do not notice single voxels."""


@dataclass(frozen=True, slots=True, eq=False)
class FineVoxels:
    """Voxels of a finer grid near the target, and what the dose grid holds of the same organs further out.

    Attributes
    ----------
    grid : Grid
    voxels : (n,) int64
        C-order flat indices, ascending.
    parts : dict
        For each organ its positions in `voxels` and its cc per voxel.
    beyond : dict
        For each organ the rest of it: voxels of the dose grid, cc per voxel.
    """

    grid: Grid
    voxels: npt.NDArray[np.int64]
    parts: dict[str, tuple[npt.NDArray[np.int64], npt.NDArray[np.float64]]]
    beyond: dict[str, tuple[npt.NDArray[np.int64], npt.NDArray[np.float64]]]


def is_small(goal: Goal) -> bool:
    """Whether a goal is a mandatory upper limit of the dose to a small volume."""
    metric = goal.metric
    small = isinstance(metric, MaxDose) or (
        isinstance(metric, DoseAtVolume) and metric.unit == "cc" and metric.volume <= LARGEST_CC
    )
    return goal.level == "mandatory" and goal.comparator in ("<", "<=") and small


def fine_voxels(
    structures: StructureSet, protocol: Protocol, grid: Grid, *, skip: frozenset[str] = frozenset()
) -> FineVoxels | None:
    """The fine voxels of a plan, or None where the dose grid is as fine already or nothing is near.

    Parameters
    ----------
    structures : StructureSet
        With "PTV".
    protocol : Protocol
        Its `verify_grid_mm` is the largest spacing.
    grid : Grid
        The dose grid.
    skip : frozenset of str
        Structures whose goals are not assessed.
    """
    smallest = [
        goal.metric.volume for goal in protocol.goals if is_small(goal) and isinstance(goal.metric, DoseAtVolume)
    ]
    enough_mm = (1000.0 * min(smallest, default=np.inf) / VOXELS_IN_SMALLEST) ** (1.0 / 3.0)
    spacing_mm = min(protocol.planning.verify_grid_mm, enough_mm)
    if max(grid.spacing_mm) <= spacing_mm:
        return None
    ptv = regions.shares(structures["PTV"], grid)
    fine = margins.box_around(ptv, REACH_MM, grid).resampled(spacing_mm)
    near = regions.grow(structures["PTV"], REACH_MM, fine, name="near the PTV")
    near_fine, near_coarse = (regions.shares(near, one).reshape(-1) for one in (fine, grid))
    parts, beyond = {}, {}
    for name in dict.fromkeys(goal.structure for goal in protocol.goals if is_small(goal)):
        if name in structures and name not in skip:
            close = _shared(structures[name].on(fine), near_fine)
            if close[0].size:
                parts[name] = close
                beyond[name] = _shared(structures[name].on(grid), 1.0 - near_coarse)
    if not parts:
        return None
    voxels = np.unique(np.concatenate([indices for indices, _ in parts.values()]))
    return FineVoxels(fine, voxels, {n: (np.searchsorted(voxels, i), cc) for n, (i, cc) in parts.items()}, beyond)


def _shared(
    organ: Voxels, share: npt.NDArray[np.floating[Any]]
) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.float64]]:
    """Voxels of an organ and their cc, each times the share of the voxel that counts."""
    cc = organ.cc * share[organ.indices]
    return organ.indices[cc > 0], cc[cc > 0]


def second_opinion(
    goals: tuple[GoalResult, ...],
    protocol: Protocol,
    fine: FineVoxels,
    dose_gy: npt.NDArray[np.float64],
    dose: Volume,
    summed: Summed | None = None,
) -> tuple[GoalResult, ...]:
    """The limits of organs near the target, judged again: on the fine voxels there, on the dose grid further out.

    Parameters
    ----------
    goals : tuple of GoalResult
        Judged on the dose grid.
    protocol : Protocol
    fine : FineVoxels
    dose_gy : (n,) float64
        Reference dose of `fine.voxels`.
    dose : Volume
        On the dose grid, Gy.
    summed : callable, optional
        From a structure's name, points (n, 3) in mm and the dose there to the dose that is judged (n,), such as the sum
        with an earlier treatment.
    """
    row_of = {row.id: row for row in goals}
    again = []
    for goal in protocol.goals:
        row = row_of.get(goal.id)
        if is_small(goal) and goal.structure in fine.parts and row is not None and row.assessed:
            (near, near_cc), (far, far_cc) = fine.parts[goal.structure], fine.beyond[goal.structure]
            both = np.concatenate([dose_gy[near], dose.values.reshape(-1)[far]])
            if summed is not None:
                points = np.concatenate([fine.grid.centres_mm(fine.voxels[near]), dose.grid.centres_mm(far)])
                both = summed(goal.structure, points, both)
            note = f"near the PTV, on voxels of {fine.grid.spacing_mm[0]:.2g} mm"
            value = measure(goal.metric, both, np.concatenate([near_cc, far_cc]))
            again.append(judged(row, value, note))
    return tuple(again)


def opinion_lines(goals: tuple[GoalResult, ...], again: tuple[GoalResult, ...]) -> tuple[str, ...]:
    """One sentence for each limit that is met on the dose grid and exceeded on the finer one."""
    row_of = {row.id: row for row in goals}
    return tuple(
        f"{row.structure} {row.metric} ({row.id}) is {row.value:.1f} {row.unit} {row.note}, "
        f"{row_of[row.id].value:.1f} on the dose grid, {row.comparator} {row.limit:g} asked for."
        for row in again
        if row_of[row.id].met and not row.met
    )

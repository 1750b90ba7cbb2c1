"""What the stated uncertainty of the dose model means for a plan's structures and limits; no verdict changes by it."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable

import numpy as np
import numpy.typing as npt

from dosecalc import regions
from dosecalc.grid import Volume
from dosecalc.influence import DoseInfluence
from dosecalc.structures import StructureSet
from dosecalc.uncertainty import TAIL_MM, DoubtfulVoxels, doubtful_voxels, leakage, stated
from protocols import Protocol

from .recomputed import compared_names
from .results import GoalResult, PlanEvaluation, StatedFigure, StructureUncertainty

Array = npt.NDArray[np.float64]


def with_uncertainty(
    judged: PlanEvaluation,
    protocol: Protocol,
    structures: StructureSet,
    plan: tuple[DoseInfluence, Array, Volume],
    dose: Volume,
    judge: Callable[[Volume], tuple[GoalResult, ...]],
) -> PlanEvaluation:
    """The evaluation with the stated uncertainty of every value and structure.

    A goal's is what its value moves by when the dose of every voxel is raised, or lowered, by its stated uncertainty:
    so it is in the unit of the goal, and follows from where the voxels lie that decide it. What leaks through closed
    leaves comes on top of what the model is uncertain by, and raises dose only.

    Parameters
    ----------
    judged : PlanEvaluation
    protocol : Protocol
    structures : StructureSet
        Derived ones included.
    plan : (DoseInfluence, fluence, density)
        The operator on `dose`'s voxels, (B,) fluence, and the electron density that it was made with.
    dose : Volume
        Gy.
    judge : callable
        Judges the goals on another dose in the same way.
    """
    influence, fluence, density = plan
    doubtful = doubtful_voxels(influence, fluence, density, structures["Body"])
    target_gy = judged.prescription.dose_gy
    off = _off_gy(influence, doubtful, dose, structures, target_gy)
    through, said = leakage(influence, fluence, target_gy)
    above = off.values.copy()
    above.reshape(-1)[influence.voxels] += through
    values = np.asarray(dose.values, dtype=np.float64)
    moved = [judge(Volume(dose.grid, changed)) for changed in (values + above, np.maximum(values - off.values, 0))]
    goals = tuple(_with_range(row, up, down) for row, up, down in zip(judged.goals, *moved, strict=True))
    found = _by_structure(structures, protocol, influence, doubtful, Volume(dose.grid, above))
    figures = tuple(
        StatedFigure(each.where, each.percent, each.evidence)
        for each in (*stated(influence.machine, influence.heterogeneity), said)
    )
    opinion = dataclasses.replace(judged.verification, uncertainty=found, stated=figures)
    return dataclasses.replace(judged, goals=goals, verification=opinion)


def _off_gy(
    influence: DoseInfluence, doubtful: DoubtfulVoxels, dose: Volume, structures: StructureSet, target_gy: float
) -> Volume:
    """Stated uncertainty of every voxel in Gy: of its own dose or, beside the target, of what does not reach it."""
    machine, grid = influence.machine, dose.grid
    flat = np.asarray(dose.values, dtype=np.float64).reshape(-1)
    off = np.zeros(grid.size)
    off[influence.voxels] = flat[influence.voxels] * doubtful.percent(machine, influence.heterogeneity) / 100.0
    beside = regions.grow(structures["PTV"], TAIL_MM, grid, name="beside").on(grid).indices
    # A share of the target's dose comes from beams whose edge such a voxel lies beside.
    missing = np.maximum(target_gy - flat[beside], 0.0)
    tail = stated(machine, influence.heterogeneity)[-1].percent / 100.0
    off[beside] = np.where(flat[beside] > 0, np.maximum(off[beside], tail * missing), 0.0)
    return Volume(grid, off.reshape(grid.shape))


def _with_range(row: GoalResult, up: GoalResult, down: GoalResult) -> GoalResult:
    if row.value is None or up.value is None or down.value is None:
        return row
    return dataclasses.replace(row, uncertainty=max(abs(up.value - row.value), abs(down.value - row.value)))


def _by_structure(
    structures: StructureSet, protocol: Protocol, influence: DoseInfluence, doubtful: DoubtfulVoxels, off: Volume
) -> tuple[StructureUncertainty, ...]:
    grid = off.grid
    place = np.full(grid.size, -1, np.int64)
    place[influence.voxels] = np.arange(influence.voxels.size)
    told = []
    for name in compared_names(structures, protocol):
        part = structures[name].on(grid)
        known = place[part.indices] >= 0
        if not known.any():
            continue
        at, cc = place[part.indices[known]], part.cc[known]
        here = off.values.reshape(-1)[part.indices[known]]
        build_up, lung, behind = (
            100.0 * float(cc[flags[at]].sum() / cc.sum())
            for flags in (doubtful.build_up, doubtful.lung, doubtful.behind_lung)
        )
        mean, largest = float(np.average(here, weights=cc)), float(here.max())
        told.append(StructureUncertainty(name, build_up, lung, behind, mean, largest))
    return tuple(told)

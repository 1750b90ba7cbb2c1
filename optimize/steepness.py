"""Goals that hold at voxel centres but not between them: where the dose grid is too coarse for the verdict."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import numpy as np

from dosecalc.grid import Volume
from dosecalc.structures import StructureSet
from protocols import Goal
from protocols.metrics import PlanMetric, StructureVolume

from .judging import judged
from .metrics import measure
from .regions import Region
from .results import GoalResult
from .sampling import parts_per_voxel, samples_of

TOO_STEEP = "the dose is too steep there for this dose grid."
"""How each sentence ends."""


def steep_goals(
    dose: Volume,
    structures: StructureSet,
    regions: Mapping[str, Region],
    goals: Iterable[Goal],
    rows: Iterable[GoalResult],
) -> tuple[str, ...]:
    """One sentence for each goal that is met at voxel centres and clearly broken where the dose is interpolated.

    The optimiser holds limits at voxel centres, and the scorecard judges it there; between a voxel that is held and
    its neighbour that is not, the dose may climb far above the limit. Interpolated doses show it without a finer dose
    calculation. A goal that is broken by no more than what counts as binding is not worth a word.

    Parameters
    ----------
    dose : Volume
        Course-total Gy.
    structures : StructureSet
    regions : mapping of str to Region
        The structures on the dose grid.
    goals : iterable of Goal
    rows : iterable of GoalResult
        The goals judged at voxel centres, found by their ids.
    """
    row_of = {row.id: row for row in rows}
    asked = [goal for goal in goals if goal.structure in structures and goal.structure in regions]
    doubtful = [goal for goal in asked if _may_break(row_of[goal.id], goal, dose, regions[goal.structure])]
    sampled = {name: samples_of(dose, structures[name]) for name in {goal.structure for goal in doubtful}}
    told = []
    for goal in doubtful:
        samples, row = sampled[goal.structure], row_of[goal.id]
        again = judged(row, measure(goal.metric, samples.dose_gy, samples.cc))
        if not (again.met or again.binding):
            told.append(
                f"{row.structure} {row.metric} ({row.id}) is {again.value:.1f} {row.unit} where the dose is "
                f"interpolated between voxel centres, {row.value:.1f} at them, {row.comparator} {row.limit:g} asked "
                f"for: {TOO_STEEP}"
            )
    return tuple(told)


def _may_break(row: GoalResult, goal: Goal, dose: Volume, region: Region) -> bool:
    """Whether sampling could change a verdict: an interpolated dose is at most the highest of the voxels around."""
    if not row.met or isinstance(goal.metric, StructureVolume | PlanMetric):
        return False
    if parts_per_voxel(region.total_cc, dose.grid.spacing_mm) == (1, 1, 1):
        return False
    if row.unit != "Gy" or row.comparator not in ("<", "<="):
        return True
    place = np.stack(np.unravel_index(region.indices, dose.grid.shape))
    around = tuple(
        slice(max(0, low - 1), high + 2) for low, high in zip(place.min(axis=1), place.max(axis=1), strict=True)
    )
    return bool(dose.values[around].max() > row.limit)

"""The second opinion on a finished plan: its fluence on finer grids, at the reference precision."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from functools import partial

import numpy as np
import numpy.typing as npt

from dosecalc.dose_inputs import Precision
from dosecalc.grid import Grid, Volume
from dosecalc.influence import DoseInfluence, dose_influence
from dosecalc.structures import StructureSet
from protocols import Protocol

from .prior_treatment import PriorTreatment
from .recomputed import differences, fine_parts
from .results import GoalResult, PlanEvaluation, SecondOpinion
from .retreatment import on_sum
from .steepness import TOO_STEEP
from .verification import FineVoxels, fine_voxels, opinion_lines, second_opinion


@dataclass(frozen=True, slots=True, eq=False)
class FinerDose:
    """The finished fluence on any voxels."""

    density: Volume
    influence: DoseInfluence
    fluence: npt.NDArray[np.float64]

    def on(self, grid: Grid, voxels: npt.NDArray[np.int64]) -> npt.NDArray[np.float64]:
        """Reference dose in Gy of voxels of another grid."""
        return same_model(self.influence, self.density, grid, voxels, "reference").dose(self.fluence)


def same_model(
    influence: DoseInfluence, density: Volume, grid: Grid, voxels: npt.NDArray[np.int64], precision: Precision
) -> DoseInfluence:
    """The operator of the same beamlets by the same dose model on voxels of another grid.

    Parameters
    ----------
    influence : DoseInfluence
    density : Volume
        What `influence` was traced through.
    grid : Grid
    voxels : (n,) int64
        C-order flat indices of `grid`.
    precision : str
    """
    return dose_influence(
        density,
        grid,
        influence.beamlets,
        influence.machine,
        voxels=voxels,
        backend=influence.backend,
        precision=precision,
        heterogeneity=influence.heterogeneity,
    )


def with_second_opinion(
    judged: PlanEvaluation,
    protocol: Protocol,
    structures: StructureSet,
    skip: frozenset[str],
    dose: Volume,
    finer: FinerDose,
    prior: PriorTreatment | None = None,
) -> PlanEvaluation:
    """The evaluation with what finer grids show; it takes the place of what interpolation made probable.

    Parameters
    ----------
    judged : PlanEvaluation
    protocol : Protocol
    structures : StructureSet
        Derived ones included.
    skip : frozenset of str
        Structures whose goals are not assessed.
    dose : Volume
        On the dose grid, Gy.
    finer : FinerDose
    prior : PriorTreatment, optional
        An earlier treatment that `judged` counts in: limits on the sum are judged again too.
    """
    near, parts = fine_voxels(structures, protocol, dose.grid, skip=skip), fine_parts(structures, protocol, dose.grid)
    again: tuple[GoalResult, ...] = ()
    if near is not None:
        near_gy = finer.on(near.grid, near.voxels)
        again = second_opinion(judged.goals, protocol, near, near_gy, dose)
        judged = _with_sum_again(judged, protocol, near, near_gy, dose, prior)
    compared = differences(dose, parts, finer.on(parts.grid, parts.voxels)) if parts else ()
    opinion = SecondOpinion(again, max(parts.grid.spacing_mm) if parts else None, compared)
    kept = _unless_computed(judged.warnings, again)
    return dataclasses.replace(judged, verification=opinion, warnings=(*opinion_lines(judged.goals, again), *kept))


def _unless_computed(warnings: tuple[str, ...], again: tuple[GoalResult, ...]) -> tuple[str, ...]:
    """The warnings without what interpolation made probable of limits that were computed again."""
    computed = [f"({row.id})" for row in again]
    return tuple(w for w in warnings if not (w.endswith(TOO_STEEP) and any(row in w for row in computed)))


def _with_sum_again(
    judged: PlanEvaluation,
    protocol: Protocol,
    near: FineVoxels,
    near_gy: npt.NDArray[np.float64],
    dose: Volume,
    prior: PriorTreatment | None,
) -> PlanEvaluation:
    """The evaluation with limits on the sum with an earlier treatment judged on the fine voxels."""
    summed = judged.with_prior
    if summed is None or prior is None:
        return judged
    rows = tuple(row.goal for row in summed.goals)
    finer = second_opinion(rows, protocol, near, near_gy, dose, partial(on_sum, prior, protocol))
    told = (*_unless_computed(summed.warnings, finer), *opinion_lines(rows, finer))
    return dataclasses.replace(judged, with_prior=dataclasses.replace(summed, finer=finer, warnings=told))

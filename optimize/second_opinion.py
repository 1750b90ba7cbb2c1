"""The second opinion on a finished plan: its fluence on finer grids, at the reference precision."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from dosecalc.grid import Grid, Volume
from dosecalc.influence import DoseInfluence, Precision, dose_influence
from dosecalc.structures import StructureSet
from protocols import Protocol

from .recomputed import differences, fine_parts
from .results import PlanEvaluation, SecondOpinion
from .steepness import TOO_STEEP
from .verification import fine_voxels, opinion_lines, second_opinion


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
    """
    near, parts = fine_voxels(structures, protocol, dose.grid, skip=skip), fine_parts(structures, protocol, dose.grid)
    again = second_opinion(judged.goals, protocol, near, finer.on(near.grid, near.voxels), dose) if near else ()
    compared = differences(dose, parts, finer.on(parts.grid, parts.voxels)) if parts else ()
    opinion = SecondOpinion(again, max(parts.grid.spacing_mm) if parts else None, compared)
    computed = [f"({row.id})" for row in again]
    kept = [w for w in judged.warnings if not (w.endswith(TOO_STEEP) and any(row in w for row in computed))]
    return dataclasses.replace(judged, verification=opinion, warnings=(*opinion_lines(judged.goals, again), *kept))

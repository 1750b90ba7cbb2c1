"""Start from an earlier fluence: its dose is sorted by, and the voxels near a bound in it are the first rows."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from dosecalc.errors import InputError

from .levels import Run
from .metrics import dose_at_volume
from .problem import Stage, StageResult
from .released import COLD_SHARE
from .row_choice import NEAR_GY, ROWS_PER_ROUND


@dataclass(frozen=True, slots=True, eq=False)
class WarmStart:
    """A fluence (B,) to start from, MU-equivalents course total, and whether its optimisation had ended."""

    fluence: npt.NDArray[np.float64]
    finished: bool = True


def warm_result(run: Run, start: WarmStart) -> StageResult:
    """The earlier fluence as if a level had just ended with it: what is sorted by and seeded from.

    Raises
    ------
    InputError
        Not one finite number >= 0 for every beamlet.
    """
    fluence, beamlets = np.asarray(start.fluence, np.float64), run.master.influence.shape[1]
    if fluence.shape != (beamlets,) or not np.isfinite(fluence).all() or fluence.min() < 0:
        raise InputError(f"the fluence to start from must be {beamlets} finite numbers >= 0, got {fluence.shape}.")
    dose = run.master.influence.dose(fluence)
    target = run.goals.target
    relative = dose[target.positions] / run.goals.share
    reached = dose_at_volume(relative, target.cc, (1 - COLD_SHARE) * float(target.cc.sum()))
    return dataclasses.replace(StageResult.start(dose, {"D95": reached}), rounds=1)


def seed_rows(run: Run, stage: Stage, last: StageResult) -> None:
    """The voxels within `NEAR_GY` of their bound, or beyond it, are the first rows of a stage."""
    for bound in stage.bounds:
        excess = bound.excess_gy(last.dose_gy, last.scalars)
        critical = np.argsort(-excess, kind="stable")[:ROWS_PER_ROUND]
        run.master.active[bound.name] = np.sort(bound.positions[critical[excess[critical] > -NEAR_GY]])

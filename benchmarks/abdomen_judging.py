"""What a fluence of an abdomen case is worth, whoever made it: the reference dose, judged by `optimize.evaluate`."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from benchmarks.abdomen import AbdomenCase
from dosecalc import Volume
from optimize import GoalResult, PlanEvaluation, evaluate

HALVINGS = 12
"""Of the interval in which the largest admissible scale is looked for: to 0.03 % of it."""


@dataclass(frozen=True, slots=True)
class Judged:
    """D95 of what is prescribed on (Gy), the worst violation of a mandatory goal in percent of its limit, and its name.

    `scaled_d95_gy` is the D95 of the fluence times the largest factor with which every mandatory organ goal holds,
    and D95 stays within the cap.
    """

    d95_gy: float
    worst_pct: float
    worst: str
    scaled_d95_gy: float


def reference_dose(case: AbdomenCase, fluence: npt.NDArray[np.float64]) -> Volume:
    """Dose of the float64 error-function sum, Gy, on the case's grid."""
    values = np.zeros(case.influence.grid.size)
    values[case.influence.voxels] = np.maximum(case.influence.at_reference().dose(fluence), 0.0)
    return Volume(case.influence.grid, values.reshape(case.influence.grid.shape))


def judge(case: AbdomenCase, dose: Volume) -> Judged:
    """Judge a dose as it is, and scaled to keep the organ goals."""
    plan = _evaluation(case, dose, 1.0)
    d95_gy = plan.prescription.dose_gy
    worst_pct, worst = max(((_beyond_pct(goal), _named(goal)) for goal in _mandatory(plan)), default=(0.0, ""))
    scaled = d95_gy if _organs_kept(case, plan) and d95_gy <= case.goals.cap_gy * 1.001 else _scaled(case, dose, d95_gy)
    return Judged(d95_gy, max(worst_pct, 0.0), worst if worst_pct > 0 else "", scaled)


def _scaled(case: AbdomenCase, dose: Volume, d95_gy: float) -> float:
    low, high = 0.0, case.goals.cap_gy / d95_gy
    for _ in range(HALVINGS):
        middle = (low + high) / 2
        kept = _organs_kept(case, _evaluation(case, dose, middle))
        low, high = (middle, high) if kept else (low, middle)
    return low * d95_gy


def _evaluation(case: AbdomenCase, dose: Volume, factor: float) -> PlanEvaluation:
    anatomy = case.anatomy
    return evaluate(
        Volume(dose.grid, dose.values * factor), anatomy.structures, case.protocol,
        cut_structures=anatomy.cut, lesions=anatomy.lesions,
    )  # fmt: skip


def _mandatory(plan: PlanEvaluation) -> list[GoalResult]:
    return [goal for goal in plan.goals if goal.level == "mandatory" and goal.assessed]


def _organs_kept(case: AbdomenCase, plan: PlanEvaluation) -> bool:
    on_organs = {goal.id for goal in case.protocol.goals}
    return all(goal.met for goal in _mandatory(plan) if goal.id in on_organs)


def _beyond_pct(goal: GoalResult) -> float:
    return 0.0 if goal.met or goal.slack is None else -100.0 * goal.slack / goal.limit


def _named(goal: GoalResult) -> str:
    return f"{goal.structure} {goal.metric}"

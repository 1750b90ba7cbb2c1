"""What an earlier treatment leaves for the optimiser, so that limits on the sum hold: exactly, whatever the metric.

A limit on the sum (`retreatment`) is one on the present dose d of each voxel. With B the earlier EQD2 after recovery,
the summed dose D in present fractions has EQD2(D) = B + EQD2(d), which rises with d. So

- *D(Vcc), V(x Gy), critical volumes, maxima*: D is above L exactly where EQD2(d) is above EQD2(L) - B. Inverting EQD2,
  a quadratic, gives each voxel a limit of its own, and the volume above it is the volume above L of the sum: exact. A
  voxel whose B alone is above EQD2(L) counts as let go before any other.
- *Mean doses, gEUD, tail means, means of biological dose*: D is convex in d (`summed`), so the metric of D is too. Its
  tangents, taken at the present dose, hold for every plan; a mean dose then is no longer one row but a convex limit.
- *Complication probabilities*: the EQD2 of each voxel is raised by B of the model's own alpha/beta (`risk`).

As dD/dd is at most 1, what d exceeds its limit by, D exceeds L by no more. Voxels outside the earlier dose grid keep L.
Lower limits stay on the present dose: D is at least d, so they hold on the sum as well.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
import numpy.typing as npt

from dosecalc.errors import InfeasibleError, InputError
from dosecalc.structures import StructureSet
from protocols import Protocol, dose_of_eqd2, eqd2
from protocols.metrics import MeanDose
from protocols.tissues import alpha_beta_of

from .goals import ConvexLimit, DoseVolumeLimit, MeanLimit, PlanGoals, Region
from .prior_treatment import PriorTreatment
from .retreatment import earlier_eqd2, on_target
from .risk import RiskLimit
from .summed import OfSum


def less_earlier(
    goals: PlanGoals, protocol: Protocol, structures: StructureSet, prior: PriorTreatment | None
) -> PlanGoals:
    """The goals with every limit of an organ reduced to what an earlier treatment leaves of it.

    Parameters
    ----------
    goals : PlanGoals
        With the places of its voxels.
    protocol : Protocol
    structures : StructureSet
        Which of them are targets: their goals stay those on the present dose.
    prior : PriorTreatment, optional
        None: the goals as they are.

    Raises
    ------
    InputError
        The goals do not say where their voxels lie.
    """
    if prior is None:
        return goals
    if goals.centres_mm is None:
        raise InputError(
            "the goals do not say where their voxels lie, so the earlier dose in them is not known.",
            remedy="Resolve the goals with centres_mm.",
        )
    organs = {goal.id: goal.structure for goal in protocol.goals if not on_target(goal, structures)}
    left = _Left(prior, protocol, goals.centres_mm, organs)
    averages = tuple(left.of_average(limit) if limit.id in organs else limit for limit in goals.averages)
    return dataclasses.replace(
        goals,
        limits=tuple(left.of_voxels(limit) if limit.id in organs else limit for limit in goals.limits),
        means=tuple(limit for limit in averages if isinstance(limit, MeanLimit)),
        convex=tuple(limit for limit in averages if isinstance(limit, ConvexLimit)),
        risk=None if goals.risk is None else left.of_risk(goals.risk),
    )


@contextmanager
def told_of_earlier(prior: PriorTreatment | None) -> Iterator[None]:
    """Add to the remedy of an infeasible body that its limits are on the sum with an earlier treatment."""
    try:
        yield
    except InfeasibleError as error:
        if prior is not None:
            said = (
                "Limits of organs are those on the sum with the earlier treatment: where it gave dose, less is left of "
                "them. "
            )
            error.remedy = said + (error.remedy or "")
        raise


@dataclasses.dataclass(frozen=True, slots=True, eq=False)
class _Left:
    prior: PriorTreatment
    protocol: Protocol
    centres_mm: npt.NDArray[np.float64]
    organs: dict[str, str]

    def of_voxels(self, limit: DoseVolumeLimit) -> DoseVolumeLimit:
        ratio = self._ratio(limit.id)
        before = self._before(limit.region, ratio)
        if not before.any():
            return limit
        left = eqd2(limit.limit_gy, self.protocol.fractions, ratio) - before
        dose = dose_of_eqd2(np.maximum(left, 0.0), self.protocol.fractions, ratio)
        dose[before == 0] = limit.limit_gy  # not through rounding
        return dataclasses.replace(limit, left_gy=np.where(left < 0, -np.inf, dose))

    def of_average(self, limit: MeanLimit | ConvexLimit) -> MeanLimit | ConvexLimit:
        ratio = self._ratio(limit.id)
        before = self._before(limit.region, ratio)
        metric = MeanDose() if isinstance(limit, MeanLimit) else limit.metric
        lower = isinstance(limit, ConvexLimit) and limit.sense < 0
        if lower or isinstance(metric, OfSum) or not before.any():
            return limit
        of_sum = OfSum(metric, before, self.protocol.fractions, ratio)
        return ConvexLimit(limit.id, limit.mandatory, limit.region, of_sum, limit.limit_gy)

    def of_risk(self, risk: RiskLimit) -> RiskLimit:
        before = self._before(risk.region, risk.model.alpha_beta_gy)
        return dataclasses.replace(risk, before_gy=before) if before.any() else risk

    def _ratio(self, limit_id: str) -> float:
        return alpha_beta_of(self.organs[limit_id], self.protocol.stated_alpha_beta).alpha_beta_gy

    def _before(self, region: Region, alpha_beta_gy: float) -> npt.NDArray[np.float64]:
        """Earlier EQD2 of a region's voxels, (n,) Gy, 0 where it is not known."""
        before, known = earlier_eqd2(self.prior, self.centres_mm[region.positions], alpha_beta_gy)
        return np.where(known, before, 0.0)

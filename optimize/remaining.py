"""What an earlier treatment leaves for the optimiser: each voxel's own limit, so that limits on the sum hold.

A limit on the sum (`retreatment`) is one on the present dose d of each voxel. With B the earlier EQD2 after recovery,
the summed dose D in present fractions has EQD2(D) = B + EQD2(d), which rises with d. So

- *D(Vcc), V(x Gy), critical volumes, maxima*: D is above L exactly where EQD2(d) is above EQD2(L) - B. Inverting EQD2,
  a quadratic, gives each voxel a limit of its own, and the volume above it is the volume above L of the sum: exact. A
  voxel whose B alone is above EQD2(L) counts as let go before any other.
- *Mean doses*: with n fractions and c = n alpha/beta, (D + c/2)^2 = (d + c/2)^2 + constant, a hyperbola whose slope
  dD/dd = (d + c/2) / (D + c/2) is at most 1. So D is at most d plus the D of no present dose, and the mean of d is held
  below L less the mean of that. This is safe and not exact: where the earlier dose is high, a plan could give more.

As dD/dd is at most 1, what d exceeds its limit by, D exceeds L by no more. Voxels outside the earlier dose grid keep L.
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
from protocols.tissues import alpha_beta_of

from .goals import DoseVolumeLimit, MeanLimit, PlanGoals
from .prior_treatment import PriorTreatment
from .retreatment import earlier_eqd2, on_target


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
    return dataclasses.replace(
        goals,
        limits=tuple(left.of_voxels(limit) if limit.id in organs else limit for limit in goals.limits),
        means=tuple(left.of_mean(mean) if mean.id in organs else mean for mean in goals.means),
    )


def present_only(goals: PlanGoals, prior: PriorTreatment | None) -> tuple[str, ...]:
    """One sentence on each limit that is held on the present dose alone, although there was an earlier one."""
    if prior is None:
        return ()
    return tuple(
        f"{limit.region.name} {limit.metric} ({limit.id}): the optimiser holds it on the present dose alone; on the "
        "sum with the earlier treatment it is judged."
        for limit in goals.convex
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
                "them (of mean doses a little less than there is). "
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
        before, ratio = self._before(limit)
        if not before.any():
            return limit
        left = eqd2(limit.limit_gy, self.protocol.fractions, ratio) - before
        dose = dose_of_eqd2(np.maximum(left, 0.0), self.protocol.fractions, ratio)
        dose[before == 0] = limit.limit_gy  # not through rounding
        return dataclasses.replace(limit, left_gy=np.where(left < 0, -np.inf, dose))

    def of_mean(self, mean: MeanLimit) -> MeanLimit:
        before, ratio = self._before(mean)
        alone = dose_of_eqd2(before, self.protocol.fractions, ratio)
        return dataclasses.replace(mean, spent_gy=float(np.average(alone, weights=mean.region.cc)))

    def _before(self, limit: DoseVolumeLimit | MeanLimit) -> tuple[npt.NDArray[np.float64], float]:
        """Earlier EQD2 of the region's voxels, 0 where it is not known, and alpha/beta, both in Gy."""
        ratio = alpha_beta_of(self.organs[limit.id], self.protocol.stated_alpha_beta).alpha_beta_gy
        before, known = earlier_eqd2(self.prior, self.centres_mm[limit.region.positions], ratio)
        return np.where(known, before, 0.0), ratio

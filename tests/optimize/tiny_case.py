"""A target, an organ and a liver of a few voxels under a random matrix, small enough to be solved as it is in CVXPY."""

from __future__ import annotations

import dataclasses
from typing import Any

import cvxpy as cp
import numpy as np

from optimize.goals import DoseVolumeLimit, PlanGoals, Region
from optimize.plain_goals import goals_from_limits
from optimize.risk import RiskLimit
from protocols.escalation import LadderRung
from protocols.outcome_models import Lyman

BEAMLETS, FRACTIONS, HOT_RATIO, ORGAN_GY, TARGET_GY = 12, 6, 1.6, 42.0, 150.0
# Ten, ten and forty voxels of one size: 5 % of the target is less than a voxel, so that D95 is its minimum.
TARGET, ORGAN, LIVER = np.arange(10), np.arange(10, 20), np.arange(20, 60)


def matrix(seed: int = 1) -> np.ndarray:
    """Dose of every voxel per unit of every beamlet, (60, 12)."""
    rng = np.random.default_rng(seed)
    strength = np.r_[np.full(TARGET.size, 1.0), np.full(ORGAN.size, 0.35), np.full(LIVER.size, 0.3)]
    return strength[:, None] * rng.uniform(0.2, 1.0, (strength.size, BEAMLETS))


def region(name: str, voxels: np.ndarray) -> Region:
    """Voxels of 0.1 cc each."""
    return Region(name, voxels, np.full(voxels.size, 0.1))


def model(n: float) -> Lyman:
    """A complication model like the shipped ones of the liver, with another volume effect."""
    return Lyman(
        kind="lyman", id="tiny", title="Tiny", endpoint="none", population="none", source="a test", status="VERIFIED",
        structure="Liver-GTV", n=n, m=0.12, td50_gy=45.8, td50_fraction_gy=1.5, alpha_beta_gy=2.5,
    )  # fmt: skip


def risk_limit(n: float, probability: float = 0.05) -> RiskLimit:
    """On the liver."""
    return RiskLimit(region("Liver-GTV", LIVER), model(n), FRACTIONS, probability)


def rung(dose_gy: float, basis: Any = "D95") -> LadderRung:
    """A rung of a test's ladder."""
    return LadderRung(dose_gy=dose_gy, basis=basis, source="a test", status="VERIFIED")


def goals(organ_gy: float = ORGAN_GY, **changed: Any) -> PlanGoals:
    """Raise the target below a maximum of the organ."""
    limit = DoseVolumeLimit("organ_max", True, region("Organ", ORGAN), organ_gy, 0.0)
    plain = goals_from_limits(region("PTV", TARGET), [limit], target_gy=TARGET_GY, hot_spot_ratio=HOT_RATIO)
    return dataclasses.replace(plain, **changed)


def best_d95_gy(
    dose_of: np.ndarray, *, organ_gy: float = ORGAN_GY, risk: RiskLimit | None = None, share: Any = 1.0
) -> float:
    """The same problem stated on every voxel; the generalised mean as a norm, for a = 1 and any a above."""
    x, least = cp.Variable(BEAMLETS, nonneg=True), cp.Variable()
    dose = dose_of @ x
    kept = [
        dose[TARGET] >= least * share,
        dose[TARGET] <= HOT_RATIO * least,
        dose[ORGAN] <= organ_gy,
        least <= TARGET_GY,
    ]
    if risk is not None:
        beta, a = FRACTIONS * risk.model.alpha_beta_gy, 1.0 / risk.model.n
        eqd2 = (dose[LIVER] + cp.square(dose[LIVER]) / beta) / (1.0 + 2.0 / risk.model.alpha_beta_gy)
        mean = cp.sum(eqd2) / LIVER.size if a == 1 else cp.pnorm(eqd2, a) / LIVER.size ** (1.0 / a)
        kept.append(mean <= risk.limit_gy)
    problem = cp.Problem(cp.Maximize(least), kept)
    problem.solve(solver="CLARABEL")
    return float(least.value)

"""A complication probability as a limit of the optimiser: convex in the fluence, kept by tangents.

The probability of Lyman, Kutcher and Burman rises with the generalised mean g of the voxels' doses in 2 Gy fractions:

    g = (sum v_i e_i^a)^(1/a),   e_i = d_i (1 + d_i / (N alpha/beta)) / (1 + 2 / (alpha/beta)),   a = 1/n

with v_i the shares of the volume (Niemierko, Med Phys 26:1100, 1999) and N fractions (`protocols.radiobiology`). e is
convex and rises with d >= 0, the a-norm is convex and rises with e for a >= 1, and d is linear in the fluence, so g is
convex in the fluence (Boyd & Vandenberghe 2004, section 3.2.4) and lies above each of its tangents:

    g(d) >= g(c) + sum w_i (d_i - c_i),   w_i = v_i (e_i(c) / g(c))^(a-1) e'_i(c)

Tangents imposed below the limit therefore never cut off a plan that keeps it; they are added until the dose of the
solution keeps it too (Kelley, J SIAM 8:703, 1960). For a < 1 the generalised mean is concave in e: refused.
"""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
from scipy.special import ndtri

from dosecalc.errors import OptimisationError
from protocols import LQ
from protocols.errors import ProtocolError
from protocols.outcome_models import Lyman

from .organ_risk import RISK, lyman_dose, lyman_probability
from .problem import RESERVE_GY, Master, MeanBound, Stage, StageResult, solve_stage

if TYPE_CHECKING:
    from .goals import Region

Array = npt.NDArray[Any]

KEPT_GY = 0.01
"""A solution keeps the limit when its gEUD is no more than this above what the tangents were held to, which lies
`RESERVE_GY` below the limit: 0.01 Gy is 0.02 to 0.03 percentage points of the shipped curves at 5 %."""
MOST_CUTS = 40
"""Tangents per stage, after which it gives up aloud."""


@dataclass(frozen=True, slots=True, eq=False)
class RiskLimit:
    """The complication probability of a region must not exceed `probability`.

    Raises
    ------
    ProtocolError
        A volume effect n above 1: the limit is not convex.
    """

    region: Region
    model: Lyman
    fractions: int
    probability: float

    def __post_init__(self) -> None:
        if self.model.n > 1.0:
            raise ProtocolError(
                f"{self.model.id} has a volume effect n of {self.model.n:g}, so a = 1/n is below 1: its generalised "
                "mean is not convex in the dose, and no solver here can vouch for the dose that keeps a risk.",
                where="prescription.iso_ntcp.model",
                remedy="Use a model with n of at most 1, or limit the mean dose.",
            )

    @property
    def limit_gy(self) -> float:
        """The gEUD of EQD2 that has the stated probability."""
        return lyman_dose(self.probability, self.model.td50_eqd2_gy(self.model.alpha_beta_gy), self.model.m)

    def eud_gy(self, dose_gy: Array) -> float:
        """gEUD of EQD2 of a dose (V,)."""
        powers = self._eqd2(dose_gy) ** (1.0 / self.model.n)
        return float(np.average(powers, weights=self.region.cc) ** self.model.n)

    def pct(self, eud_gy: float) -> float:
        """Probability in percent at a gEUD."""
        model = self.model
        return 100.0 * lyman_probability(eud_gy, model.td50_eqd2_gy(model.alpha_beta_gy), model.m)

    @property
    def gy_per_pct(self) -> float:
        """By how much the gEUD may rise per percentage point of the limit: m TD50 over the normal density there."""
        quantile = float(ndtri(self.probability))
        density = np.exp(-0.5 * quantile**2) / np.sqrt(2.0 * np.pi)
        return float(0.01 * self.model.m * self.model.td50_eqd2_gy(self.model.alpha_beta_gy) / density)

    def tangent(self, dose_gy: Array) -> tuple[Array, float]:
        """Weights (n,) of the region's voxels and a level in Gy: the weighted dose at most the level, plus the limit.

        `level` is what the tangent at this dose adds to any limit on the gEUD.
        """
        dose, model = dose_gy[self.region.positions], self.model
        eud = self.eud_gy(dose_gy)
        slope = (1.0 + 2.0 * dose / (self.fractions * model.alpha_beta_gy)) / (1.0 + 2.0 / model.alpha_beta_gy)
        shares = self.region.cc / self.region.cc.sum()
        weights: Array = shares * (self._eqd2(dose_gy) / eud) ** (1.0 / model.n - 1.0) * slope
        return weights, float(weights @ dose) - eud

    def _eqd2(self, dose_gy: Array) -> Array:
        return LQ.eqd2(np.maximum(dose_gy[self.region.positions], 0.0), self.fractions, self.model.alpha_beta_gy)


@dataclass(slots=True, eq=False)
class Tangents:
    """The tangents of a limit that were made so far: each holds for every stage of a plan.

    Attributes
    ----------
    limit : RiskLimit
    cuts : list of (row, level)
        Row (B,) per unit of the fluence variable, and what the tangent adds to the limit in Gy.
    """

    limit: RiskLimit
    cuts: list[tuple[Array, float]] = field(default_factory=list)

    def bounds(self, *, soft: bool = False) -> list[MeanBound]:
        """The tangents as conditions of a stage; soft ones with a relative excess over the limit as their scalar."""
        return [self._bound(index, soft=soft) for index in range(len(self.cuts))]

    def _bound(self, index: int, *, soft: bool) -> MeanBound:
        row, level = self.cuts[index]
        limit_gy = self.limit.limit_gy
        return MeanBound(f"{RISK} {index}", row, limit_gy + level, RISK if soft else None, limit_gy if soft else 0.0)

    def add(self, master: Master, stage: Stage, result: StageResult) -> Stage | None:
        """The stage with the tangent at its solution; None where the solution keeps the limit."""
        soft = RISK in stage.scalars
        allowed_gy = self.limit.limit_gy * (1.0 + (result.scalars[RISK] if soft else 0.0)) - RESERVE_GY
        if self.limit.eud_gy(result.dose_gy) <= allowed_gy + KEPT_GY:
            return None
        weights, level = self.limit.tangent(result.dose_gy)
        self.cuts.append((master.mean_row(self.limit.region.positions, weights), level))
        return dataclasses.replace(stage, means=(*stage.means, self._bound(len(self.cuts) - 1, soft=soft)))


def solve_within_risk(
    master: Master, tangents: Tangents | None, stage: Stage, last: StageResult, *, rounds: int | None = None
) -> tuple[Stage, StageResult]:
    """Solve a stage, with tangents added until its solution keeps the limit on the risk.

    Parameters
    ----------
    master : Master
    tangents : Tangents or None
        None where no risk is limited.
    stage : Stage
        With the tangents that it is to keep already.
    last : StageResult
        Where the rows start from.
    rounds : int, optional
        As for `solve_stage`: one solution for sorting, which is not settled where it breaks the limit.

    Returns
    -------
    stage : Stage
        With all its tangents.
    result : StageResult
    """
    for _ in range(MOST_CUTS):
        result = solve_stage(master, stage, last.dose_gy, last.scalars, rounds=rounds)
        more = tangents.add(master, stage, result) if tangents is not None else None
        if more is None:
            return stage, result
        if rounds is not None:
            return more, dataclasses.replace(result, settled=False)
        stage, last = more, result
    raise OptimisationError(
        f"stage {stage.name!r}: the complication probability is still above its limit after {MOST_CUTS} tangents.",
        remedy="Report this case: a handful should do.",
    )

"""A complication probability as a limit of the optimiser: convex in the fluence, kept by tangents.

The probability of Lyman, Kutcher and Burman (Lyman, Radiat Res Suppl 8:S13, 1985) is Phi((g - TD50) / (m TD50)) and
rises with the generalised mean g of the voxels' doses in 2 Gy fractions:

    g = (sum v_i e_i^a)^(1/a),   e_i = d_i (1 + d_i / (N alpha/beta)) / (1 + 2 / (alpha/beta)),   a = 1/n

with v_i the shares of the volume (Niemierko, Med Phys 26:1100, 1999) and N fractions (`protocols.radiobiology`). e is
convex and rises with d >= 0, the a-norm is convex and rises with e for a >= 1, and d is linear in the fluence, so g is
convex in the fluence (Boyd & Vandenberghe 2004, section 3.2.4) and lies above each of its tangents:

    g(d) >= g(c) + sum w_i (d_i - c_i),   w_i = v_i (e_i(c) / g(c))^(a-1) e'_i(c)

Tangents imposed below the limit therefore never cut off a plan that keeps it; they are added until the dose of the
solution keeps it too (Kelley, J SIAM 8:703, 1960), each at a solution that was brought down to the limit. As a plan has
hundreds of beamlets, the limit's curvature holds one solution near the last (`held_near`). For a < 1 the generalised
mean is concave in e: refused.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import cvxpy as cp
import numpy as np
import numpy.typing as npt
from scipy.optimize import brentq
from scipy.special import ndtr, ndtri

from dosecalc.errors import OptimisationError
from protocols import LQ
from protocols.errors import ProtocolError
from protocols.outcome_models import Lyman

from .escalation_results import RISK
from .problem import RAISED_DOSES, Master, Stage, StageResult, solve_stage
from .voxel_bounds import RESERVE_GY, MeanBound

if TYPE_CHECKING:
    from .goals import Region

Array = npt.NDArray[Any]

KEPT_GY = 0.01
"""A solution keeps the limit when its gEUD is no more than this above what the tangents were held to, which lies
`RESERVE_GY` below the limit: 0.01 Gy is 0.02 to 0.03 percentage points of the shipped curves at 5 %."""
SAMPLE = 1000
"""Voxels that the curvature is taken from: it only steers."""
SETTLED, SETTLED_LATER = 2e-4, 2e-2
"""A solution is settled when what holds it near the one before is worth no more than this of an objective of order one:
of a stage that raises a dose, and of the stages that serve lesser goals."""
BINDING = 1e-2
"""Multiplier times limit, in the unit of an objective of order one, above which the limit binds."""
CHECKED_EVERY, CLOSE = 5, 1e-3
"""After so many solutions one that keeps the limit is compared with that of the tangents alone, which no plan exceeds:
it is settled within this share of it, the tolerance of levels."""
ENOUGH = 10
"""Solutions after which a stage that serves lesser goals takes the first that keeps the limit."""
MOST_SOLVES = 60
"""Solutions per stage, after which it gives up aloud."""


@dataclass(frozen=True, slots=True, eq=False)
class RiskLimit:
    """The complication probability of a region must not exceed `probability`.

    `before_gy` is given after an earlier treatment: its EQD2 in each voxel of the region, (n,), by the model's
    alpha/beta. It raises e_i by a constant, so that all of the above holds.

    Raises
    ------
    ProtocolError
        A volume effect n above 1: the limit is not convex.
    """

    region: Region
    model: Lyman
    fractions: int
    probability: float
    before_gy: npt.NDArray[np.float64] | None = None

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
        return self._td50_gy * (1.0 + self.model.m * float(ndtri(self.probability)))

    def eud_gy(self, dose_gy: Array) -> float:
        """gEUD of EQD2 of a dose (V,)."""
        powers = self._eqd2(dose_gy) ** (1.0 / self.model.n)
        return float(np.average(powers, weights=self.region.cc) ** self.model.n)

    def pct(self, eud_gy: float) -> float:
        """Probability in percent at a gEUD."""
        return 100.0 * float(ndtr((eud_gy - self._td50_gy) / (self.model.m * self._td50_gy)))

    @property
    def gy_per_pct(self) -> float:
        """By how much the gEUD may rise per percentage point of the limit: m TD50 over the normal density there."""
        quantile = float(ndtri(self.probability))
        density = np.exp(-0.5 * quantile**2) / np.sqrt(2.0 * np.pi)
        return float(0.01 * self.model.m * self._td50_gy / density)

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

    @property
    def _td50_gy(self) -> float:
        return self.model.td50_eqd2_gy(self.model.alpha_beta_gy)

    def factor_to(self, eud_gy: float, dose_gy: Array) -> float:
        """The factor on all doses, at most 1, that brings the gEUD down to this; 0 where none does."""
        if self.eud_gy(dose_gy) <= eud_gy:
            return 1.0
        if self.eud_gy(0.0 * dose_gy) >= eud_gy:
            return 0.0
        return float(brentq(lambda factor: self.eud_gy(factor * dose_gy) - eud_gy, 0.0, 1.0, xtol=1e-6))

    def curvature(self, dose_gy: Array, positions: Array) -> Array:
        """Diagonal (m,) of the gEUD's second derivative by the doses of some voxels, without its negative part."""
        dose, a = np.maximum(dose_gy[positions], 0.0), 1.0 / self.model.n
        at = np.searchsorted(self.region.positions, positions)
        shares = self.region.cc[at] / self.region.cc.sum()
        eud, per = self.eud_gy(dose_gy), 1.0 + 2.0 / self.model.alpha_beta_gy
        beta = self.fractions * self.model.alpha_beta_gy
        # Of voxels with hardly any dose the power is not bounded, and means nothing.
        relative = np.maximum(self._eqd2(dose_gy)[at] / eud, 0.1)
        slope = (1.0 + 2.0 * dose / beta) / per
        found: Array = shares * relative ** (a - 1.0) * (2.0 / beta / per + (a - 1.0) / eud * slope**2 / relative)
        return found

    def _eqd2(self, dose_gy: Array) -> Array:
        e = LQ.eqd2(np.maximum(dose_gy[self.region.positions], 0.0), self.fractions, self.model.alpha_beta_gy)
        return e if self.before_gy is None else e + self.before_gy


@dataclass(frozen=True, slots=True, eq=False)
class Near:
    """A stage held near a fluence (B,) by a quadratic term with a matrix (B, B); not held without one."""

    stage: Stage
    matrix: Array | None = None
    fluence: Array | None = None
    unit_fluence: float = 1.0

    def moved_by(self, result: StageResult) -> float:
        """What the term's slope at a solution is worth at most, in the unit of the objective."""
        if self.matrix is None or self.fluence is None:
            return 0.0
        slope = self.matrix @ (result.fluence - self.fluence) / self.unit_fluence
        return float(np.abs(slope).max() * result.fluence.sum() / self.unit_fluence)


def held_near(stage: Stage, matrix: Array, fluence: Array, unit_fluence: float) -> Near:
    """A stage with the curvature of the limit around a fluence in its objective, so that its solution lies near it.

    The Lagrangian's second-order term, as in sequential quadratic programming (Nocedal & Wright 2006, section 18.1):
    without it the tangents alone are followed to vertices far away. It vanishes where the solutions settle.
    """
    centre = fluence / unit_fluence
    pull = matrix @ centre

    def objective(x: cp.Variable, s: Mapping[str, cp.Variable]) -> cp.Expression:
        return stage.objective(x, s) + 0.5 * cp.quad_form(x, matrix, assume_PSD=True) - pull @ x

    return Near(dataclasses.replace(stage, objective=objective), matrix, fluence, unit_fluence)


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

    def excess_gy(self, result: StageResult) -> float:
        """By how much a solution's gEUD exceeds what the tangents are held to."""
        return self.limit.eud_gy(result.dose_gy) - self._allowed_gy(result) + RESERVE_GY

    def _allowed_gy(self, result: StageResult) -> float:
        return self.limit.limit_gy * (1.0 + result.scalars.get(RISK, 0.0))

    def added(self, master: Master, stage: Stage, result: StageResult) -> tuple[Stage, Near]:
        """The stage with the tangent at its solution, brought down to the limit, and the same held near that."""
        factor = self.limit.factor_to(self._allowed_gy(result), result.dose_gy)
        dose_gy = factor * result.dose_gy
        weights, level = self.limit.tangent(dose_gy)
        self.cuts.append((master.mean_row(self.limit.region.positions, weights), level))
        bound = self._bound(len(self.cuts) - 1, soft=RISK in stage.scalars)
        more = dataclasses.replace(stage, means=(*stage.means, bound))
        matrix = (self._price(result) or 1.0 / self.limit.limit_gy) * self._curvature(master, dose_gy)
        return more, held_near(more, matrix, factor * result.fluence, master.unit_fluence)

    def near(self, master: Master, stage: Stage, last: StageResult) -> Near:
        """A stage held near the last solution where the limit bound that of the same kind; else as it is."""
        price = self._price(last)
        if not price or set(last.scalars) != set(stage.scalars):
            return Near(stage)
        return held_near(stage, price * self._curvature(master, last.dose_gy), last.fluence, master.unit_fluence)

    def _price(self, result: StageResult) -> float:
        """Multiplier of the limit at a solution, the sum over its tangents; 0 where it does not bind."""
        price = sum(float(found.sum()) for name, (_, found) in result.prices.items() if name.startswith(RISK))
        return price if price * self.limit.limit_gy > BINDING else 0.0

    def _curvature(self, master: Master, dose_gy: Array) -> Array:
        """Second derivative (B, B) of the gEUD by the fluence variable, from above, on a sample of the voxels."""
        positions = self.limit.region.positions
        sample = positions[:: max(1, positions.size // SAMPLE)]
        rows = np.array(master.rows(sample))
        curved: Array = rows.T @ (self.limit.curvature(dose_gy, sample)[:, None] * rows)
        return curved * (positions.size / sample.size)


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
    near = tangents.near(master, stage, last) if tangents is not None else Near(stage)
    for solved in range(1, MOST_SOLVES + 1):
        result = solve_stage(master, near.stage, last.dose_gy, last.scalars, rounds=rounds)
        if tangents is None:
            return stage, result
        kept = tangents.excess_gy(result) <= KEPT_GY
        if kept and _settled(master, stage, result, near, solved):
            return stage, result
        stage, near = tangents.added(master, stage, result)
        if rounds is not None:
            return stage, dataclasses.replace(result, settled=result.settled and kept)
        last = result
    raise OptimisationError(
        f"stage {stage.name!r}: no dose that keeps the complication probability settled in {MOST_SOLVES} solutions.",
        remedy="Report this case: a handful should do.",
    )


def _settled(master: Master, stage: Stage, result: StageResult, near: Near, solved: int) -> bool:
    """Whether a solution that keeps the limit is the best there is, as near as its stage asks for."""
    raised = [name for name in stage.scalars if name in RAISED_DOSES]
    if not raised:
        return solved >= ENOUGH or near.moved_by(result) <= SETTLED_LATER
    if near.moved_by(result) <= SETTLED or _fulfilled(stage, result, raised):
        return True
    if solved % CHECKED_EVERY:
        return False
    above = solve_stage(master, stage, result.dose_gy, result.scalars).scalars
    return all(result.scalars[name] >= above[name] * (1.0 - CLOSE) for name in raised)


def _fulfilled(stage: Stage, result: StageResult, raised: list[str]) -> bool:
    """Whether every dose that a stage raises is as high as it is asked to be."""
    return all(result.scalars[name] >= stage.scalars[name][1] * (1.0 - 1e-6) for name in raised)

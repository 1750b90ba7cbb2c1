"""What can be vouched for in a level's convex problem, by code that shares nothing with the solvers.

A certificate of the fluence model, not of the delivered plan. The problem of a level, with the released voxels fixed,
maximises a dose s (D95, say) less the price of rough fluence over x >= 0 and low <= s <= high:

    minimise  -s + T w x'Rx   subject to   a_i x <= level_i + slope_i s,   m_k x <= level_k

with the rows of the full grid: those in the last master keep the reserve of `problem.RESERVE_GY`, all others their
stated level. T is the dose that the objective was divided by, so everything here is in Gy of s. The multipliers y of
the last master, 0 for every row outside it, are put into the Lagrangian, whose gradient is formed by the dose operator.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from .levels import Raised, Run
from .operator import Operator
from .problem import MODULATION_WEIGHT, ROWS_AT_ONCE
from .voxel_bounds import NO_VOXELS, RESERVE_GY

Array = npt.NDArray[Any]


@dataclass(frozen=True, slots=True, eq=False)
class Ceiling:
    """An inequality row @ x <= most_gy that every admissible fluence keeps; `row` (B,) is positive.

    It pays for what a set of multipliers lacks: see `cost_of`.
    """

    row: Array
    most_gy: float

    def cost_of(self, gradient: Array) -> float:
        """Least value of gradient @ x over the admissible fluences, from below, Gy.

        With d the largest of -gradient_j / row_j (or 0), gradient + d row >= 0, so for x >= 0
        gradient @ x >= -d row @ x >= -d most_gy.
        """
        with np.errstate(divide="ignore", invalid="ignore"):
            lacking = np.where(gradient < 0, -gradient / self.row, 0.0)
        return -float(lacking.max(initial=0.0)) * self.most_gy


@dataclass(frozen=True, slots=True, eq=False)
class Lagrangian:
    """constant + gradient @ x + slope s: nowhere above the objective of an admissible (x, s), Gy."""

    constant: float
    gradient: Array
    slope: float

    def least(self, ceiling: Ceiling, low_gy: float, high_gy: float) -> float:
        """A number that no admissible objective goes below (weak duality: Boyd & Vandenberghe 2004, section 5.1)."""
        return self.constant + ceiling.cost_of(self.gradient) + min(self.slope * low_gy, self.slope * high_gy)


def target_ceiling(run: Run) -> Ceiling:
    """Mean dose of the PTV: no voxel of it, so not their mean, is raised above the hot spot that the cap allows."""
    goals = run.goals
    hottest = min(goals.hot_spot_max_gy, goals.hot_spot_ratio * goals.cap_gy, goals.ptv_mean_max_gy)
    shares = np.zeros(run.master.influence.shape[0])
    shares[goals.ptv.positions] = goals.ptv.cc / goals.ptv.cc.sum()
    return Ceiling(run.master.influence.adjoint(shares) * run.master.unit_fluence, hottest)


def weighted_rows(operator: Operator, positions: Array, weights: Array) -> Array:
    """Sum over voxels of weight times dose per unit fluence, (B,), on the reference operator, a few rows at a time."""
    reference, total = operator.at_reference(), np.zeros(operator.shape[1])
    for start in range(0, positions.size, ROWS_AT_ONCE):
        part = slice(start, start + ROWS_AT_ONCE)
        total += weights[part] @ reference.rows(positions[part])
    return total


def lagrangian(run: Run, raised: Raised) -> Lagrangian:
    """The Lagrangian of a raised level at the multipliers of its last master; negative ones count as 0."""
    result, operator = raised.result, run.master.influence
    x = result.fluence / run.master.unit_fluence
    rough = raised.unit_gy * MODULATION_WEIGHT * (run.master.roughness @ x)
    # Of a convex quadratic the tangent at x lies below it.
    constant, gradient, slope = -float(x @ rough), 2.0 * rough, -1.0
    voxels, weights = [], []
    for bound in raised.stage.bounds:
        positions, price = _multipliers(raised, bound.name)
        level = bound.level_gy[np.isin(bound.positions, positions)] - bound.sense * RESERVE_GY
        constant -= float(bound.sense * price @ level)
        slope -= bound.sense * bound.slope * float(price.sum()) if bound.scalar else 0.0
        voxels.append(positions)
        weights.append(bound.sense * price)
    for mean in raised.stage.means:
        _, (price,) = _multipliers(raised, mean.name)
        constant -= price * (mean.level_gy - RESERVE_GY)
        gradient = gradient + price * mean.row
    if result.of_fluence is not None:
        gradient = gradient + raised.unit_gy * result.of_fluence[0]
        constant += raised.unit_gy * result.of_fluence[1]
    rows = weighted_rows(operator, np.concatenate(voxels), np.concatenate(weights))
    return Lagrangian(constant, gradient + run.master.unit_fluence * rows, slope)


def _multipliers(raised: Raised, name: str) -> tuple[Array, Array]:
    """Voxels in the last master and their multipliers in Gy of the raised dose per Gy; none below 0."""
    positions, price = raised.result.prices.get(name, (NO_VOXELS, np.zeros(0)))
    return positions, raised.unit_gy * np.maximum(price, 0.0)


def gap_fixed(run: Run, raised: Raised) -> float:
    """Duality gap of the level's problem with its released voxels fixed, over the dose reached.

    The lower bound holds whatever the solver returned: it is the Lagrangian's at multipliers made admissible.
    """
    result, low_high = raised.result, raised.stage.scalars[raised.scalar]
    x = result.fluence / run.master.unit_fluence
    roughness = MODULATION_WEIGHT * float(x @ (run.master.roughness @ x))
    objective = raised.unit_gy * roughness - raised.reached_gy
    return abs(objective - lagrangian(run, raised).least(target_ceiling(run), *low_high)) / raised.reached_gy


def kkt_residual(run: Run, raised: Raised) -> float:
    """Largest residual of the conditions of Karush, Kuhn and Tucker on the full grid, over the dose reached.

    Primal: the worst voxel or mean beyond its level. Dual: the most negative multiplier, over the largest.
    Stationarity: what negative reduced costs of the beamlets are worth (`Ceiling.cost_of`). Complementarity: the sums
    of multiplier times slack, of reduced cost times fluence, and the same of the range of the raised dose.
    """
    result, found = raised.result, lagrangian(run, raised)
    x, reached = result.fluence / run.master.unit_fluence, raised.reached_gy
    low, high = raised.stage.scalars[raised.scalar]
    beyond, slackness = _rows_kept(run, raised)
    idle = float(np.maximum(found.gradient, 0.0) @ x)
    ends = found.slope * reached - min(found.slope * low, found.slope * high)
    prices = np.concatenate([price for _, price in result.prices.values()])
    wrong_sign = float(np.max(-prices, initial=0.0) / max(float(np.abs(prices).max(initial=0.0)), 1e-300))
    lacking = -target_ceiling(run).cost_of(found.gradient)
    outside = max(beyond, low - reached, reached - high, 0.0)
    return max(wrong_sign, *(value / reached for value in (outside, lacking, slackness + idle + ends)))


def _full_dose(run: Run, raised: Raised) -> Array:
    """Dose on the full grid, (V,); of the voxels in the last master on the reference operator."""
    operator, fluence = run.master.influence, raised.result.fluence
    dose = operator.dose(fluence)
    inside = np.unique(np.concatenate([positions for positions, _ in raised.result.prices.values()]))
    dose[inside] = operator.at_reference().restricted_to(inside).dose(fluence)
    return dose


def _rows_kept(run: Run, raised: Raised) -> tuple[float, float]:
    """Gy by which the worst row of the full grid is exceeded, and the sum of multiplier times slack."""
    result, worst, slackness = raised.result, 0.0, 0.0
    dose = _full_dose(run, raised)
    for bound in raised.stage.bounds:
        positions, price = _multipliers(raised, bound.name)
        inside = np.isin(bound.positions, positions)
        excess = bound.excess_gy(dose, result.scalars) + np.where(inside, RESERVE_GY, 0.0)
        worst = max(worst, float(excess.max(initial=0.0)))
        slackness += float(price @ np.abs(excess[inside]))
    for mean in raised.stage.means:
        over = float(mean.row @ (result.fluence / run.master.unit_fluence)) - mean.level_gy + RESERVE_GY
        worst, slackness = max(worst, over), slackness + _multipliers(raised, mean.name)[1][0] * abs(over)
    return worst, slackness

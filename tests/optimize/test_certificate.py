"""What the escalation vouches for: residuals, bounds that hold whatever a solver said, and prices of limits."""

from __future__ import annotations

import dataclasses
import itertools

import numpy as np
import pytest
from scipy.optimize import linprog

from optimize.certificate import gap_fixed, kkt_residual, lagrangian, target_ceiling
from optimize.goals import DoseVolumeLimit, PlanGoals, Region
from optimize.levels import Kept, Raised, Run, raise_dose
from optimize.limiting import limiting, price_text
from optimize.operator import Operator
from optimize.planning import Plan
from optimize.prices import price_per_cc, shadow_prices, what_stopped, with_limit
from optimize.problem import MODULATION_WEIGHT, Master, StageResult, solve_stage
from optimize.raising import RESORT_GAIN
from optimize.relaxation import d95_bound
from optimize.smoothness import roughness
from optimize.stages import prescription_stage
from optimize.voxel_bounds import RESERVE_GY

TARGETS, ORGANS, BEAMLETS, CAP_GY = 25, 6, 8, 60.0


class Matrix:
    """A small matrix as an operator."""

    def __init__(self, matrix: np.ndarray) -> None:
        self.matrix, self.shape = matrix, matrix.shape
        # One beam of beamlets in a row.
        self.neighbours = np.stack([np.arange(self.shape[1] - 1), np.arange(1, self.shape[1])], axis=1)

    def dose(self, fluence: np.ndarray) -> np.ndarray:
        return self.matrix @ fluence

    def adjoint(self, weights: np.ndarray) -> np.ndarray:
        return weights @ self.matrix

    def rows(self, positions: np.ndarray) -> np.ndarray:
        return self.matrix[positions]

    def restricted_to(self, positions: np.ndarray) -> Matrix:
        return Matrix(self.matrix[positions])

    def at_reference(self) -> Matrix:
        return self


def small_goals(limits: tuple[DoseVolumeLimit, ...]) -> PlanGoals:
    """Voxels of target, of which D95 lets one go, and six of an organ; 1 cc each."""
    target = Region("PTV_opt", np.arange(TARGETS), np.ones(TARGETS))
    nothing = Region("none", np.zeros(0, np.int64), np.zeros(0))
    return PlanGoals(
        target=target, gtv=nothing, ptv=target, lesions=(target,), share=np.ones(TARGETS), outside=nothing, liver=None,
        limits=limits, means=(), floor_gy=1.0, target_gy=60.0, cap_gy=60.0, gtv_d98_gy=60.0, hot_spot_ratio=1.5,
        hot_spot_max_gy=np.inf, ptv_mean_max_gy=np.inf, outside_ratio=1.05, voxel_cc=1.0,
    )  # fmt: skip


def small_run(seed: int) -> Run:
    """A random problem whose organ limit, with one voxel released, holds the target back."""
    matrix = np.random.default_rng(seed).uniform(0.2, 1.0, (TARGETS + ORGANS, BEAMLETS))
    organ = Region("Organ", np.arange(TARGETS, TARGETS + ORGANS), np.ones(ORGANS))
    return new_run(Matrix(matrix), small_goals((DoseVolumeLimit("organ", True, organ, 20.0, 1.5, 1.0),)))


def new_run(operator: Operator, goals: PlanGoals) -> Run:
    """A run before its first level; the unit of fluence gives an open field about the target dose."""
    unit = goals.target_gy / operator.dose(np.ones(operator.shape[1]))[goals.target.positions].mean()
    master = Master(operator, unit, roughness(operator.neighbours, operator.shape[1]))
    return Run(master, goals, lambda text: None, np.zeros(goals.target.positions.size, bool), {}, [], [])


def raised_level(run: Run) -> Raised:
    """Level 1, once, the released voxels chosen by an open field."""
    operator, asked = run.master.influence, run.goals.target_gy
    open_field = operator.dose(np.full(operator.shape[1], run.master.unit_fluence))
    last = StageResult.start(open_field, {"D95": asked})
    raise_dose(run, prescription_stage(run, last, (0.0, asked), None), last, Kept(0.0, None), asked)
    return run.raised[-1]


def rough_gy(run: Run, result: StageResult) -> float:
    """What the objective charges for rough fluence, in Gy of D95."""
    x = result.fluence / run.master.unit_fluence
    return CAP_GY * MODULATION_WEIGHT * float(x @ (run.master.roughness @ x))


def best_d95(run: Run) -> float:
    """The largest D95 over every choice of released voxels, by enumeration (HiGHS); no reserve, no modulation."""
    matrix, best = run.master.influence.rows(np.arange(TARGETS + ORGANS)), 0.0
    for cold, hot in itertools.product(range(TARGETS), range(ORGANS)):
        target, organ = np.delete(matrix[:TARGETS], cold, 0), np.delete(matrix[TARGETS:], hot, 0)
        rows = np.block(
            [
                [-target, np.ones((len(target), 1))],
                [organ, np.zeros((len(organ), 1))],
                [matrix[:TARGETS], np.full((TARGETS, 1), -1.5)],
            ]
        )
        side = np.concatenate([np.zeros(len(target)), np.full(len(organ), 20.0), np.zeros(TARGETS)])
        bounds = [(0, None)] * BEAMLETS + [(0, CAP_GY)]
        found = linprog(np.append(np.zeros(BEAMLETS), -1.0), rows, side, bounds=bounds, method="highs")
        best = max(best, float(found.x[-1]))
    return best


@pytest.mark.parametrize("seed", [1, 2])
def test_the_solved_level_satisfies_the_optimality_conditions(seed: int) -> None:
    run = small_run(seed)
    level = raised_level(run)
    assert 10.0 < level.reached_gy < 0.99 * CAP_GY
    assert kkt_residual(run, level) < 1e-5
    assert gap_fixed(run, level) < 1e-5


def test_a_solver_that_lies_is_found_out() -> None:
    run = small_run(1)
    level = raised_level(run)

    def told(**changes: object) -> Raised:
        return dataclasses.replace(level, result=dataclasses.replace(level.result, **changes))

    low = {"D95": 0.9 * level.reached_gy}
    short = told(fluence=0.9 * level.result.fluence, scalars=low)
    assert gap_fixed(run, short) > 0.05
    assert kkt_residual(run, short) > 0.05
    too_much = told(fluence=1.1 * level.result.fluence)
    assert kkt_residual(run, too_much) > 1e-2
    turned = told(prices={name: (rows, -price) for name, (rows, price) in level.result.prices.items()})
    assert kkt_residual(run, turned) >= 1.0


@pytest.mark.parametrize("seed", range(5))
def test_the_bound_with_fixed_voxels_holds_for_any_multipliers(seed: int) -> None:
    """Weak duality: whatever multipliers the solver returns, the Lagrangian does not pass the true optimum."""
    run = small_run(1)
    level = raised_level(run)
    drawn = np.random.default_rng(seed)
    told = level.result.prices.items()
    wrong = {name: (rows, price * drawn.uniform(0.3, 2.0, price.shape)) for name, (rows, price) in told}
    lied = dataclasses.replace(level, result=dataclasses.replace(level.result, prices=wrong))
    optimum = rough_gy(run, level.result) - level.reached_gy
    least = lagrangian(run, lied).least(target_ceiling(run), 0.0, CAP_GY)
    assert least < optimum - 0.1
    assert lagrangian(run, level).least(target_ceiling(run), 0.0, CAP_GY) == pytest.approx(optimum, abs=1e-3)


@pytest.mark.parametrize("seed", [1, 2])
def test_no_choice_of_released_voxels_passes_the_bound(seed: int) -> None:
    run = small_run(seed)
    level = raised_level(run)
    bound, best = d95_bound(run, level), best_d95(run)
    assert bound is not None
    # The level loses the reserve and the modulation, no more than it may.
    assert level.reached_gy <= best + 1e-6
    assert best - 1e-6 <= bound
    assert bound < CAP_GY - 1.0


def test_a_prescription_that_was_met_has_no_distance_to_its_bound() -> None:
    run = small_run(1)
    (organ,) = run.goals.limits
    run.goals = dataclasses.replace(run.goals, limits=(dataclasses.replace(organ, limit_gy=200.0),))
    level = raised_level(run)
    assert d95_bound(run, level) == CAP_GY
    stop = what_stopped(run)
    assert (stop.dose, stop.binding, stop.prices) == ("", (), {"hot_spot": 0.0, "organ": 0.0})
    assert "no limit binds" in stop.says


@pytest.mark.parametrize("seed", [1, 2])
def test_prices_are_the_gain_per_gy_of_a_limit_moved_by_a_percent(seed: int) -> None:
    """Central differences with the same voxels released; the price is of D95 less what rough fluence costs."""
    run = small_run(seed)
    level = raised_level(run)
    (organ,) = run.goals.limits

    def reached(factor: float) -> float:
        stage = with_limit(run, level, dataclasses.replace(organ, limit_gy=factor * organ.limit_gy))
        found = solve_stage(run.master, stage, level.result.dose_gy, level.result.scalars)
        return found.scalars["D95"] - rough_gy(run, found)

    slope = (reached(1.01) - reached(0.99)) / (0.02 * organ.limit_gy)
    assert shadow_prices(run, level)["organ"] == pytest.approx(slope, rel=0.05)
    # Euler: D95 and limit scale with the fluence, its roughness with the square; nothing else is in Gy but the reserve.
    scaled = level.reached_gy - 2.0 * rough_gy(run, level.result)
    assert slope * (organ.limit_gy - RESERVE_GY) == pytest.approx(scaled, rel=0.01)


def test_a_price_on_the_phantom_is_what_a_limit_moved_by_a_percent_gains(problem) -> None:
    run = new_run(*problem)
    level = raised_level(run)
    (duodenum,) = (m for m in run.goals.limits if m.id == "duodenum_max")
    moved = with_limit(run, level, dataclasses.replace(duodenum, limit_gy=1.01 * duodenum.limit_gy))
    gained = (
        solve_stage(run.master, moved, level.result.dose_gy, level.result.scalars).scalars["D95"] - level.reached_gy
    )
    assert gained > 0.1
    price = shadow_prices(run, level)["duodenum_max"]
    assert price == pytest.approx(gained / (0.01 * duodenum.limit_gy), rel=0.05)


def test_the_price_of_a_volume_is_what_more_of_it_gains() -> None:
    run = small_run(1)
    level = raised_level(run)
    (organ,) = run.goals.limits
    per_cc = price_per_cc(run, level, organ)
    eased = dataclasses.replace(run.goals, limits=(dataclasses.replace(organ, spare_cc=organ.spare_cc + 2.0),))
    freed = small_run(1)
    freed.goals = eased
    # Sorted by the level's own dose, it gains no less than a level raised from the start, and never beats the bound.
    fresh = raised_level(freed)
    assert per_cc >= (fresh.reached_gy * (1 - RESORT_GAIN) - level.reached_gy) / 2.0
    assert per_cc <= (d95_bound(freed, fresh) - level.reached_gy) / 2.0
    assert per_cc > 0.1
    stop = what_stopped(run)
    assert stop.binding[0] == "organ"
    assert stop.prices["organ"] == pytest.approx(per_cc)


def test_the_small_plan_says_what_limits_its_dose(planned: Plan) -> None:
    judged = planned.evaluation
    assert judged.escalation is not None
    certificate = judged.certificate
    assert certificate.kkt is not None and certificate.kkt < 1e-5
    assert certificate.gap_fixed is not None and certificate.gap_fixed < 1e-5
    assert certificate.gap_bound is not None
    bound_gy = judged.prescription.dose_gy * (1 + certificate.gap_bound)
    assert judged.escalation.d95_bound_gy == pytest.approx(bound_gy, rel=2e-3)
    state, dearest = limiting(judged)[0]
    assert (state, dearest.id) == ("binding", "duodenum_max")
    assert price_text(dearest, judged).endswith("Gy of D95 per Gy")
    prices = {g.id: g.shadow_price for g in judged.goals}
    assert prices["duodenum_max"] > 0.5
    assert prices["cord_max"] == 0.0
    assert prices["duodenum_2cc"] is None
    assert judged.escalation.binds_next == "liver_mean"

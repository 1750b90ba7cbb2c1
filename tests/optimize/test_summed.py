"""Convex limits on the sum with an earlier treatment: by hand, against their tangents' law, and as a whole problem."""

from __future__ import annotations

import dataclasses
import math

import cvxpy as cp
import numpy as np
import pytest

from dosecalc.errors import InfeasibleError
from optimize.escalate import Escalation, escalate
from optimize.goals import ConvexLimit, PlanGoals
from optimize.risk import RiskLimit
from optimize.summed import OfSum
from optimize.tangents import tangent
from protocols import eqd2
from protocols.metrics import Biological, MeanDose, Metric, parse_metric

from .tiny_case import BEAMLETS, FRACTIONS, HOT_RATIO, LIVER, TARGET, TARGET_GY, goals, matrix, model, region

RATIO = 2.5
HALF = np.array([10.0, 10.0, 0.0, 0.0])
"""Earlier EQD2 in Gy of four voxels of one size: two had 10 Gy in 5 fractions, two nothing."""
SUM_GY = 6.25 * (math.sqrt(1 + 4 * 36 / 12.5) - 1)
"""10 Gy in 5 fractions twice, in 5 fractions: BED 36 = D (1 + D / 12.5), so 15.86 Gy."""
EVERYWHERE = np.full(4, 10.0)
CC = np.full(4, 0.1)
METRICS = ("Dmean", "gEUD(a=2)", "MOH50%", "MOH25%", "EQD2_2.5(Dmean)", "EQD2_3(gEUD(a=4))", "BED_3(MOH50%)")
DOSE_OF = matrix()
BEFORE = np.linspace(0.0, 12.0, LIVER.size)


def parsed(text: str) -> Metric:
    """In five fractions."""
    metric = parse_metric(text)
    return metric.in_fractions(5) if isinstance(metric, Biological) else metric


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("Dmean", (SUM_GY + 10.0) / 2),
        ("gEUD(a=2)", math.sqrt((SUM_GY**2 + 100.0) / 2)),
        ("MOH50%", SUM_GY),
        # 20 Gy and 10 Gy in 2 Gy fractions: the mean EQD2 of the sum needs no inversion.
        ("EQD2_2.5(Dmean)", 15.0),
        ("BED_2.5(MOH50%)", 36.0),
    ],
)
def test_two_equal_courses_by_hand(text: str, expected: float) -> None:
    """10 Gy in 5 fractions everywhere, after as much in half of the organ; alpha/beta 2.5 Gy."""
    value, _ = tangent(OfSum(parsed(text), HALF, 5, RATIO), EVERYWHERE, CC)
    assert value == pytest.approx(expected, rel=1e-12)


def test_the_complication_model_adds_the_earlier_eqd2() -> None:
    """n = 1: the mean of 20 and 10 Gy. n = 1/2: their root mean square."""
    voxels = region("Liver-GTV", np.arange(4))
    for n, expected in ((1.0, 15.0), (0.5, math.sqrt(250.0))):
        limit = RiskLimit(voxels, model(n), 5, 0.05, before_gy=HALF)
        assert limit.eud_gy(EVERYWHERE) == pytest.approx(expected, rel=1e-12)
        assert limit.factor_to(0.5, EVERYWHERE) == 0.0  # spent by the earlier 5 Gy on average


@pytest.mark.parametrize("text", METRICS)
def test_the_tangent_lies_below_the_metric_of_the_sum_everywhere(text: str) -> None:
    """Convex and rising in the present dose; were a tangent above anywhere, it would cut off plans within the limit."""
    rng = np.random.default_rng(3)
    before = np.where(rng.uniform(size=30) < 0.3, 0.0, rng.uniform(0, 60, 30))
    metric, cc = OfSum(parsed(text), before, 5, RATIO), rng.uniform(0.1, 1.0, 30)
    for _ in range(40):
        here, there = np.maximum(rng.normal(10.0, 12.0, (2, 30)), 0.0)
        value, slope = tangent(metric, here, cc)
        assert value + slope @ (there - here) <= tangent(metric, there, cc)[0] * (1 + 1e-12)
        assert np.all(slope >= 0)
        assert tangent(metric, here, cc)[0] >= tangent(metric.metric, here, cc)[0]
    step = tangent(metric, here + 1e-6, cc)[0] - value
    assert step == pytest.approx(1e-6 * slope.sum(), rel=1e-4)


def test_the_tangent_of_the_risk_lies_below_it_with_an_earlier_dose() -> None:
    rng = np.random.default_rng(4)
    for n in (0.97, 0.5, 0.1):
        limit = RiskLimit(region("Liver-GTV", LIVER), model(n), FRACTIONS, 0.05, before_gy=BEFORE)
        for _ in range(20):
            here, there = np.maximum(rng.normal(15.0, 15.0, (2, LIVER[-1] + 1)), 0.0)
            weights, level = limit.tangent(here)
            assert weights @ here[LIVER] - level == pytest.approx(limit.eud_gy(here))
            assert weights @ there[LIVER] - level <= limit.eud_gy(there) + 1e-9


def best_d95_gy(mean_gy: float | None = None, eqd2_gy: float | None = None, present_gy: float | None = None) -> float:
    """The same problem stated on every voxel, with D + c/2 as the length of (d + c/2, sqrt k)."""
    x, least = cp.Variable(BEAMLETS, nonneg=True), cp.Variable()
    dose, half = DOSE_OF @ x, FRACTIONS * RATIO / 2
    kept = [dose[TARGET] >= least, dose[TARGET] <= HOT_RATIO * least, least <= TARGET_GY]
    if mean_gy is not None:
        root = np.sqrt(2 * half * (1 + 2 / RATIO) * BEFORE)
        length = cp.norm(cp.vstack([dose[LIVER] + half, root]), axis=0)
        kept.append(cp.sum(length) / LIVER.size - half <= mean_gy)
    if eqd2_gy is not None:
        present = (dose[LIVER] + cp.square(dose[LIVER]) / (2 * half)) / (1 + 2 / RATIO)
        kept.append(cp.sum(present + BEFORE) / LIVER.size <= eqd2_gy)
    if present_gy is not None:
        kept.append(cp.sum(dose[LIVER]) / LIVER.size <= present_gy)
    problem = cp.Problem(cp.Maximize(least), kept)
    problem.solve(solver="CLARABEL")
    return float(least.value)


def raised_gy(result: Escalation) -> float:
    return next(level.value for level in result.levels if "D95" in level.name)


def without_organ(**changed: object) -> PlanGoals:
    return dataclasses.replace(goals(), limits=(), **changed)


def test_a_mean_of_the_sum_ends_with_the_dose_of_the_exact_problem() -> None:
    """The linear bound D <= d + D(no present dose) would have left a twentieth of the dose."""
    limit = ConvexLimit("mean", True, region("Liver-GTV", LIVER), OfSum(MeanDose(), BEFORE, FRACTIONS, RATIO), 22.0)
    result = escalate(DOSE_OF, without_organ(convex=(limit,)))
    best = best_d95_gy(mean_gy=22.0)
    assert raised_gy(result) == pytest.approx(best, rel=2e-3)
    assert tangent(limit.metric, (DOSE_OF @ result.fluence)[LIVER], limit.region.cc)[0] <= 22.0 + 0.01
    # Without its tangents the bound would be what was asked for.
    assert result.bound_gy is not None and best * (1 - 1e-6) <= result.bound_gy < 0.6 * TARGET_GY
    alone = limit.metric.of(np.zeros(LIVER.size)).mean()
    assert best_d95_gy(present_gy=22.0 - alone) < 0.95 * best


def test_a_risk_of_the_sum_ends_with_the_dose_of_the_exact_problem() -> None:
    """n = 1: the gEUD is the mean EQD2 of both treatments."""
    limit = RiskLimit(region("Liver-GTV", LIVER), model(1.0), FRACTIONS, 0.05, before_gy=BEFORE)
    result = escalate(DOSE_OF, without_organ(risk=limit))
    assert raised_gy(result) == pytest.approx(best_d95_gy(eqd2_gy=limit.limit_gy), rel=2e-3)
    assert result.risk is not None and result.risk.with_earlier
    both = (eqd2((DOSE_OF @ result.fluence)[LIVER], FRACTIONS, RATIO) + BEFORE).mean()
    assert both <= limit.limit_gy + 0.01


def test_a_mean_that_the_earlier_dose_has_used_up_is_infeasible() -> None:
    spent = OfSum(MeanDose(), np.full(LIVER.size, 40.0), FRACTIONS, RATIO)
    limit = ConvexLimit("mean", True, region("Liver-GTV", LIVER), spent, 22.0)
    with pytest.raises(InfeasibleError):
        escalate(DOSE_OF, without_organ(convex=(limit,), floor_gy=30.0))

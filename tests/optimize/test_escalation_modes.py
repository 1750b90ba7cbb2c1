"""Ladder and iso-NTCP against the same problem stated on every voxel, and what each says of the dose it chose."""

from __future__ import annotations

import dataclasses

import cvxpy as cp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dosecalc.errors import InfeasibleError
from optimize.escalate import Escalation, escalate
from optimize.escalation_results import RISK, LadderEnd
from optimize.organ_risk import geud, lyman_probability
from optimize.plain_goals import goals_from_limits
from optimize.risk import RiskLimit
from protocols import LQ
from protocols.errors import ProtocolError

from .tiny_case import (
    FRACTIONS,
    HOT_RATIO,
    LIVER,
    ORGAN,
    ORGAN_GY,
    TARGET,
    best_d95_gy,
    goals,
    matrix,
    model,
    region,
    risk_limit,
    rung,
)

DOSE_OF = matrix()


def d95_gy(result: Escalation) -> float:
    """Of ten equal voxels none is let go."""
    return float((DOSE_OF @ result.fluence)[TARGET].min())


def risk_pct(result: Escalation, limit: RiskLimit) -> float:
    """By the code that judges plans."""
    curve, dose = limit.model, (DOSE_OF @ result.fluence)[LIVER]
    eud = geud(LQ.eqd2(dose, FRACTIONS, curve.alpha_beta_gy), np.ones(dose.size), 1.0 / curve.n)
    return 100.0 * lyman_probability(eud, curve.td50_eqd2_gy(curve.alpha_beta_gy), curve.m)


def test_a_binding_risk_ends_at_what_was_stated_with_the_dose_of_the_exact_problem() -> None:
    """a = 2; with a = 1 below, where the risk stops a ladder."""
    n = 0.5
    limit = risk_limit(n)
    best = best_d95_gy(DOSE_OF, risk=limit)
    result = escalate(DOSE_OF, goals(risk=limit, target_gy=1.03 * best, cap_gy=1.03 * best))
    raised = next(level.value for level in result.levels if "D95" in level.name)
    assert raised == pytest.approx(best, rel=1e-3)
    assert result.risk is not None
    assert result.risk.raised_pct == pytest.approx(5.0, abs=0.1)
    assert risk_pct(result, limit) == pytest.approx(result.risk.pct, abs=1e-3)
    assert 4.9 < result.risk.pct <= 5.0
    assert 1 <= result.risk.cuts <= 12
    assert result.stop.binding == (RISK,)
    # The price is the slope of the exact problem, Gy of D95 per percentage point.
    low, high = (best_d95_gy(DOSE_OF, risk=risk_limit(n, share)) for share in (0.049, 0.051))
    assert result.stop.prices[RISK] == pytest.approx((high - low) / 0.2, rel=0.02)
    assert result.gap_fixed < 1e-4
    assert result.kkt < 1e-4


def test_many_beamlets_settle_with_few_tangents() -> None:
    """Sixty pencils through a disc: followed to their vertices, forty tangents did not settle the shipped curve."""
    side = (np.arange(30) - 14.5) * 3.6
    x, y = (axis.ravel() for axis in np.meshgrid(side, side))
    pencils = []
    for angle in np.deg2rad(np.arange(0, 360, 36)):
        u, v = x * np.cos(angle) + y * np.sin(angle), y * np.cos(angle) - x * np.sin(angle)
        pencils += [np.exp(-0.5 * ((u - c) / 3.0) ** 2 - 0.006 * v) for c in np.linspace(-12.5, 12.5, 6)]
    dose_of, radius = np.array(pencils).T, np.hypot(x, y)
    target, liver = np.flatnonzero(radius < 13), np.flatnonzero((radius > 11) & (np.hypot(x + 10, y) < 45))
    limit = RiskLimit(region("Liver-GTV", liver), model(0.97), FRACTIONS, 0.05)
    plain = goals_from_limits(region("PTV", target), [], target_gy=62.0, hot_spot_ratio=1.5)
    result = escalate(dose_of, dataclasses.replace(plain, risk=limit), tries=0)
    assert result.risk is not None
    assert result.risk.raised_pct == pytest.approx(5.0, abs=0.1)
    assert result.stop.binding == (RISK,)
    assert result.risk.cuts <= 20
    assert result.gap_fixed < 1e-4


@settings(max_examples=30, deadline=None, derandomize=True)
@given(seed=st.integers(0, 2**32 - 1), n=st.sampled_from([1.0, 0.97, 0.5, 0.1]))
def test_a_tangent_lies_below_the_generalised_mean_and_touches_it(seed: int, n: float) -> None:
    """Were it above anywhere, it would cut off plans that keep the limit; doses of 0 included."""
    limit, rng = risk_limit(n), np.random.default_rng(seed)
    here, there = np.maximum(rng.normal(15.0, 15.0, (2, LIVER[-1] + 1)), 0.0)
    weights, level = limit.tangent(here)
    assert weights @ here[LIVER] - level == pytest.approx(limit.eud_gy(here))
    assert weights @ there[LIVER] - level <= limit.eud_gy(there) + 1e-9
    assert 1.000001 * weights @ here[LIVER] - level == pytest.approx(limit.eud_gy(1.000001 * here), abs=1e-9)


def test_a_generalised_mean_that_is_not_convex_is_refused() -> None:
    with pytest.raises(ProtocolError, match=r"n of 1\.2.*not convex"):
        RiskLimit(region("Liver-GTV", LIVER), model(1.2), FRACTIONS, 0.05)


def test_a_lowest_rung_that_the_risk_forbids_names_it_in_percent() -> None:
    """The rung of 50 Gy would hold, but lies below the floor of 51 Gy."""
    limit = risk_limit(1.0, 0.001)
    best = best_d95_gy(DOSE_OF, risk=limit)
    lowest = float(np.ceil(1.03 * best))
    ladder = tuple(map(rung, (50.0, lowest)))
    with pytest.raises(InfeasibleError, match=f"below the floor of {lowest:g} Gy") as refusal:
        escalate(DOSE_OF, goals(risk=limit, floor_gy=51.0, rungs=ladder))
    (conflict,) = refusal.value.conflicts
    assert (conflict.id, conflict.unit, conflict.structure) == (RISK, "%", "Liver-GTV")
    assert refusal.value.reached_gy == pytest.approx(best, rel=2e-3)
    # With the risk that it asks for instead, the exact problem has the rung, and not much more.
    asked = 0.1 + conflict.relaxation_alone
    assert best_d95_gy(DOSE_OF, risk=risk_limit(1.0, asked / 100.0)) == pytest.approx(lowest, rel=2e-3)


def test_a_ladder_below_the_floor_is_refused() -> None:
    with pytest.raises(ProtocolError, match=r"every rung lies below the floor of 130 Gy"):
        escalate(DOSE_OF, goals(rungs=(rung(120.0),), floor_gy=130.0))


def test_the_plan_stands_on_the_highest_rung_that_holds_and_is_optimised_there() -> None:
    doses = (60.0, 100.0, 118.0)
    best = best_d95_gy(DOSE_OF)
    assert max(dose for dose in doses if dose <= best) == 100.0  # of every rung planned by itself
    result = escalate(DOSE_OF, goals(rungs=tuple(map(rung, doses))))
    end = result.ladder
    assert end is not None
    assert (end.basis, end.rungs_gy, end.rung_gy, end.next_gy) == ("D95", doses, 100.0, 118.0)
    assert end.reachable_gy == pytest.approx(best, rel=1e-3)
    assert d95_gy(result) == pytest.approx(100.0, abs=0.05)
    assert result.stop.binding == ("organ_max",)
    low, high = (best_d95_gy(DOSE_OF, organ_gy=gy) for gy in (ORGAN_GY - 0.1, ORGAN_GY + 0.1))
    assert result.stop.prices["organ_max"] == pytest.approx((high - low) / 0.2, rel=0.02)
    assert "118 Gy, is out of reach" in result.stop.says
    # Solved again at the rung, with its own certificate.
    assert [level.value for level in result.levels if "D95" in level.name][-1] == pytest.approx(100.0)
    assert result.gap_fixed < 1e-4


def test_rungs_on_the_mean_of_the_target_hold_it_and_the_floor() -> None:
    floor_gy, doses = 105.0, (80.0, 115.0, 150.0)
    result = escalate(
        DOSE_OF, goals(rungs=tuple(rung(d, "mean_PTV") for d in doses), floor_gy=floor_gy, target_gy=110, cap_gy=110)
    )
    dose = DOSE_OF @ result.fluence
    assert result.ladder is not None
    assert (result.ladder.basis, result.ladder.rung_gy, result.ladder.next_gy) == ("mean_PTV", 115.0, 150.0)
    assert result.ladder.reachable_gy == pytest.approx(_best_mean_gy(floor_gy), rel=1e-3)
    assert 114.9 <= dose[TARGET].mean() <= 115.0
    assert dose[TARGET].min() >= floor_gy
    assert dose[ORGAN].max() <= ORGAN_GY
    assert result.stop.dose == "PTV mean"


def _best_mean_gy(floor_gy: float) -> float:
    """The highest mean of the target with every voxel of it at the floor, stated on every voxel."""
    x, least = cp.Variable(DOSE_OF.shape[1], nonneg=True), cp.Variable()
    dose = DOSE_OF @ x
    kept = [dose[TARGET] >= least, dose[TARGET] <= HOT_RATIO * least, least >= floor_gy, least <= 110]
    problem = cp.Problem(cp.Maximize(cp.sum(dose[TARGET]) / TARGET.size), [*kept, dose[ORGAN] <= ORGAN_GY])
    problem.solve(solver="CLARABEL")
    return float(problem.value)


def test_every_one_of_several_lesions_is_raised_in_step_within_the_risk() -> None:
    """The second lesion is prescribed three quarters of the first; both modes at once."""
    parts, share = (region("A", TARGET[:5]), region("B", TARGET[5:])), np.repeat([1.0, 0.75], 5)
    limit = risk_limit(1.0)
    best = best_d95_gy(DOSE_OF, risk=limit, share=share)
    ladder = tuple(map(rung, (50.0, np.floor(0.97 * best), np.ceil(1.02 * best))))
    result = escalate(DOSE_OF, goals(lesions=parts, share=share, risk=limit, rungs=ladder))
    assert result.ladder is not None
    assert result.ladder.rung_gy == ladder[1].dose_gy
    assert result.ladder.reachable_gy == pytest.approx(best, rel=1e-3)
    dose = DOSE_OF @ result.fluence
    # The colder of the two, over its share, is at the rung; bringing the other down would take it below.
    relative = dose[TARGET[:5]].min(), dose[TARGET[5:]].min() / 0.75
    assert min(relative) == pytest.approx(ladder[1].dose_gy, abs=0.05)
    assert max(relative) < 1.02 * ladder[1].dose_gy
    assert risk_pct(result, limit) <= 5.0
    assert result.stop.binding == (RISK,)


def test_a_bound_below_the_next_rung_proves_it_out_of_reach() -> None:
    assert LadderEnd("D95", (50.0, 60.0), 50.0, 60.0, 55.0, 58.0).proved
    assert not LadderEnd("D95", (50.0, 60.0), 50.0, 60.0, 55.0, 60.0).proved
    assert not LadderEnd("D95", (50.0, 60.0), 60.0, None, None, 58.0).proved

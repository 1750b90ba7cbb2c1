"""Planning against what remains after an earlier treatment: each voxel's own limit, against the sum it stands for."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest

from dosecalc.errors import InfeasibleError, InputError
from dosecalc.grid import Grid, Volume
from dosecalc.influence import DoseInfluence
from dosecalc.structures import StructureSet
from optimize.escalate import escalate
from optimize.evaluate import evaluate
from optimize.goals import ConvexLimit, DoseVolumeLimit, MeanLimit, PlanGoals, Region
from optimize.planning import Plan, _on_grid, _with_sum
from optimize.prior_treatment import PriorTreatment
from optimize.relaxation import _chain, _dose_caps
from optimize.remaining import less_earlier, told_of_earlier
from optimize.risk import RiskLimit
from optimize.sparing import kept_below
from optimize.tangents import tangent
from protocols import Protocol, dose_of_eqd2, eqd2
from protocols.metrics import parse_metric

from .small_case import ACCEPTED, DUODENUM_GY, load_protocol
from .tiny_case import model

LINE = Grid((0.0, 0.0, 0.0), (10.0, 10.0, 10.0), (1, 1, 40))
"""A row of voxels of 1 cc."""
ROW = Region("row", np.arange(40), np.full(40, 1.0))
FRACTIONS = 5


@pytest.fixture(scope="module")
def protocol(tmp_path_factory: pytest.TempPathFactory) -> Protocol:
    """Five fractions, cord D0.035cc at most 25 Gy (alpha/beta 2 Gy), mean liver dose at most 15.2 Gy (2.5 Gy)."""
    return load_protocol(tmp_path_factory.mktemp("protocol"))


def of_row(problem: tuple[DoseInfluence, PlanGoals], *limits: DoseVolumeLimit | MeanLimit | ConvexLimit) -> PlanGoals:
    """Goals on the row of voxels alone."""
    volumes = tuple(limit for limit in limits if isinstance(limit, DoseVolumeLimit))
    means = tuple(limit for limit in limits if isinstance(limit, MeanLimit))
    convex = tuple(limit for limit in limits if isinstance(limit, ConvexLimit))
    return dataclasses.replace(problem[1], limits=volumes, means=means, convex=convex, centres_mm=LINE.centres_mm())


def sum_of(dose_gy: np.ndarray, before_gy: np.ndarray, ratio: float) -> np.ndarray:
    """What the scorecard judges: the dose of the summed EQD2, in the present fractions."""
    return dose_of_eqd2(before_gy + eqd2(dose_gy, FRACTIONS, ratio), FRACTIONS, ratio)


@pytest.mark.parametrize("recovery", [0.0, 0.3])
def test_a_voxel_exceeds_its_own_limit_exactly_where_the_sum_exceeds_the_limit(
    problem: tuple[DoseInfluence, PlanGoals], protocol: Protocol, recovery: float
) -> None:
    """Earlier doses of 0 to 58.5 Gy in 12 fractions: some voxels have all of the 25 Gy left, some are beyond it."""
    values = 1.5 * np.arange(40.0).reshape(LINE.shape)
    prior = PriorTreatment(Volume(LINE, values), 12, recovery)
    before = (1 - recovery) * eqd2(values.ravel(), 12, 2.0)
    (limit,) = less_earlier(
        of_row(problem, DoseVolumeLimit("cord_max", True, ROW, 25.0, 3.0)), protocol, StructureSet(()), prior
    ).limits
    assert limit.left_gy is not None and limit.left_gy[0] == 25.0
    spent = dose_of_eqd2(before, FRACTIONS, 2.0) > 25.0
    assert np.array_equal(np.isneginf(limit.left_gy), spent) and 0 < spent.sum() < 20
    for dose in np.random.default_rng(0).uniform(0, 40, (50, 40)):
        total = sum_of(dose, before, 2.0)
        assert np.array_equal(limit.excess_gy(dose) > 0, total > 25.0)
        beyond = ~spent & (dose > limit.caps_gy)
        assert np.all(total[beyond] - 25.0 <= dose[beyond] - limit.caps_gy[beyond] + 1e-9)
    at = sum_of(limit.caps_gy, before, 2.0)[~spent]
    assert at == pytest.approx(25.0, abs=1e-9)
    # What is spent goes first, however hot other voxels are.
    three = dataclasses.replace(limit, spare_cc=float(spent.sum()) + 0.5)
    assert not np.isin(np.flatnonzero(spent), kept_below(three, np.where(spent, 0.0, 1e3))).any()


def test_averages_are_those_of_what_the_scorecard_judges(
    problem: tuple[DoseInfluence, PlanGoals], protocol: Protocol
) -> None:
    """A mean, a gEUD and a lower limit, with a quarter recovered; lower limits stay on the present dose."""
    values = np.linspace(0.0, 25.0, 40).reshape(LINE.shape)
    prior = PriorTreatment(Volume(LINE, values), 10, 0.25)
    before = 0.75 * eqd2(values.ravel(), 10, 2.5)
    geud = parse_metric("gEUD(a=3)")
    lower = ConvexLimit("liver_mean", False, ROW, parse_metric("Dmean"), 5.0, -1)
    given = (MeanLimit("liver_mean", True, ROW, 15.2), ConvexLimit("liver_mean", True, ROW, geud, 20.0), lower)
    left = less_earlier(of_row(problem, *given), protocol, StructureSet(()), prior)
    mean, power, unchanged = left.convex
    assert left.means == () and unchanged is lower and (mean.limit_gy, mean.mandatory) == (15.2, True)
    for dose in np.random.default_rng(1).exponential(8.0, (20, 40)):
        total = sum_of(dose, before, 2.5)
        assert tangent(mean.metric, dose, ROW.cc)[0] == pytest.approx(total.mean(), rel=1e-9)
        assert tangent(power.metric, dose, ROW.cc)[0] == pytest.approx((total**3).mean() ** (1 / 3), rel=1e-9)
        assert np.all(total >= dose - 1e-9)


def test_a_risk_counts_both_treatments_by_its_own_alpha_beta(
    problem: tuple[DoseInfluence, PlanGoals], protocol: Protocol
) -> None:
    """20 Gy in 10 fractions is 20 Gy EQD2 whatever the alpha/beta, 30 Gy in 10 are 36.67 Gy at 2.5 Gy."""
    values = np.repeat([20.0, 30.0], 20).reshape(LINE.shape)
    risk = RiskLimit(ROW, model(1.0), FRACTIONS, 0.05)
    goals = dataclasses.replace(of_row(problem), risk=risk)
    left = less_earlier(goals, protocol, StructureSet(()), PriorTreatment(Volume(LINE, values), 10)).risk
    assert left is not None and left.limit_gy == risk.limit_gy
    # 10 Gy in 5 fractions more: 10 Gy EQD2.
    assert left.eud_gy(np.full(40, 10.0)) == pytest.approx(10.0 + (20.0 + 30.0 * 5.5 / 4.5) / 2)


def test_no_earlier_dose_leaves_every_goal_as_it_is(problem: tuple[DoseInfluence, PlanGoals], planned: Plan) -> None:
    """The same limits, so the same plan: none given, and none where the organs lie."""
    goals, structures = problem[1], planned.anatomy.structures
    assert less_earlier(goals, planned.protocol, structures, None) is goals
    nothing = PriorTreatment(Volume(planned.dose.grid, np.zeros(planned.dose.grid.shape)), 5)
    left = less_earlier(goals, planned.protocol, structures, nothing)
    assert all(a is b for a, b in zip(left.limits, goals.limits, strict=True))
    nowhere = dataclasses.replace(goals, centres_mm=None)
    with pytest.raises(InputError, match="where their voxels lie"):
        less_earlier(nowhere, planned.protocol, structures, nothing)
    assert left.means == goals.means and left.convex == goals.convex and left.risk is goals.risk


def test_conditions_on_every_plan_hold_with_limits_of_each_voxel() -> None:
    """Random plans of two limits whose levels differ from voxel to voxel keep the cuts of the relaxation."""
    rng = np.random.default_rng(2)
    rows, cc = rng.uniform(0.2, 1.0, (40, 3)), ROW.cc
    left = rng.uniform(1.0, 4.0, 40)
    left[:2] = -np.inf
    high = DoseVolumeLimit("high", True, ROW, 5.0, 6.0, left_gy=left)
    low = DoseVolumeLimit("low", True, ROW, 3.0, 20.0, left_gy=np.where(left > 0, 0.6 * left, left))
    caps = _dose_caps(rows, cc, high.caps_gy, high.spare_cc)
    cuts, kept = list(_chain([high, low], ROW.positions, cc, caps)), 0
    for fluence in rng.exponential(1.0, (3000, 3)):
        dose = rows @ fluence
        if all(cc[limit.excess_gy(dose) > 0].sum() <= limit.spare_cc for limit in (high, low)):
            kept += 1
            assert np.all(dose <= caps + 1e-9)
            for cut in cuts:
                over = np.maximum(dose[cut.positions] - cut.level_gy, 0.0)
                assert (
                    over.max(initial=0.0) <= 1e-9 if cut.weight is None else cut.weight @ over <= cut.allowance + 1e-9
                )
    assert kept > 100


def test_a_plan_that_knows_of_the_earlier_dose_keeps_limits_on_the_sum(
    problem: tuple[DoseInfluence, PlanGoals], planned: Plan
) -> None:
    """An earlier dose that rises across the duodenum: blind to it the sum is broken, told of it it is held."""
    grid, (influence, goals) = planned.dose.grid, problem
    x = grid.centres_mm()[:, 0].reshape(grid.shape)
    prior = PriorTreatment(Volume(grid, np.clip(8.0 + 0.3 * x, 0.0, 16.0)), 5)
    found = escalate(influence, less_earlier(goals, planned.protocol, planned.anatomy.structures, prior))
    dose = _on_grid(influence.at_reference().dose(found.fluence), influence.voxels, grid)

    def summed(one: Volume) -> dict[str, float]:
        structures = planned.anatomy.structures.without(planned.anatomy.report_only)
        judged = evaluate(one, structures, planned.protocol, accepted_missing=ACCEPTED)
        judged = _with_sum(judged, one, planned.anatomy, planned.protocol, ACCEPTED, prior)
        rows = judged.with_prior.goals
        return {row.goal.id: row.goal.value for row in rows if row.goal.level == "mandatory" and row.goal.assessed}

    blind, knowing = summed(planned.dose), summed(dose)
    assert blind["duodenum_max"] > DUODENUM_GY + 0.5
    assert DUODENUM_GY - 0.05 < knowing["duodenum_max"] <= DUODENUM_GY + 0.01
    assert knowing["cord_max"] <= 25.01 and knowing["liver_mean"] <= 15.21
    assert found.bound_gy is None or found.bound_gy >= found.levels[0].value - 1e-6


def test_an_infeasible_answer_says_that_its_limits_are_on_the_sum() -> None:
    prior = PriorTreatment(Volume(LINE, np.ones(LINE.shape)), 5)
    with (
        pytest.raises(InfeasibleError, match=r"on the sum with the earlier treatment.*More fractions"),
        told_of_earlier(prior),
    ):
        raise InfeasibleError("no.", remedy="More fractions.")
    with pytest.raises(InfeasibleError) as told, told_of_earlier(None):
        raise InfeasibleError("no.", remedy="More fractions.")
    assert told.value.remedy == "More fractions."

"""Which voxels are let go, against the exact answer: a mixed-integer program on a slice of few voxels."""

from __future__ import annotations

import dataclasses
from types import SimpleNamespace

import numpy as np
import pytest
from scipy.optimize import Bounds, LinearConstraint, milp

from dosecalc import InfeasibleError, UsageError
from optimize import raising
from optimize.bounds import CAPS
from optimize.escalate import escalate
from optimize.goals import PlanGoals
from optimize.levels import Run
from optimize.plan_limits import DoseVolumeLimit, Region
from optimize.problem import StageResult
from optimize.released import COLD_SHARE
from optimize.rising_price import EXCESS, SHORTFALL, STEPS, dose_by_price, rising_prices
from optimize.sparing import kept_below
from optimize.swapping import SWAP_GY, dear_first

from .terms_case import Slice, make_slice

LIMIT_GY, SPARED = 40.0, 0.2
SEEDS, ENOUGH = (1, 5, 10, 6, 19), 0.99
"""Of the exact D95: reserve, smoothness and the tolerance of levels take up to a hundredth of it."""


def most_d95_gy(case: Slice, goals: PlanGoals, limit: DoseVolumeLimit) -> float:
    """Upper bound on D95 over fluence x, dose s and a binary per voxel that is let go, by HiGHS."""
    organ, target, beamlets = limit.region, goals.target, case.matrix.shape[1]
    free = 2.0 * goals.hot_spot_ratio * goals.target_gy  # no dose is that high
    hot = case.matrix[goals.ptv.positions]
    binaries = organ.positions.size + target.positions.size
    rows = np.zeros((binaries + len(hot), beamlets + 1 + binaries))
    o, t = slice(0, organ.positions.size), slice(organ.positions.size, binaries)
    rows[o, :beamlets], rows[t, :beamlets] = case.matrix[organ.positions], -case.matrix[target.positions]
    rows[t, beamlets] = 1.0
    rows[:binaries, beamlets + 1 :] = -free * np.eye(binaries)
    rows[binaries:, :beamlets], rows[binaries:, beamlets] = hot, -goals.hot_spot_ratio
    most = np.concatenate([np.full(organ.positions.size, limit.limit_gy), np.zeros(target.positions.size + len(hot))])
    let_go = np.zeros((2, rows.shape[1]))
    let_go[0, beamlets + 1 :][o], let_go[1, beamlets + 1 :][t] = organ.cc, target.cc
    volumes = [limit.spare_cc, COLD_SHARE * target.cc.sum()]
    found = milp(
        -np.eye(rows.shape[1])[beamlets],
        integrality=np.repeat([0, 1], [beamlets + 1, binaries]),
        bounds=Bounds(0.0, np.concatenate([np.full(beamlets, np.inf), [goals.target_gy], np.ones(binaries)])),
        constraints=[LinearConstraint(rows, -np.inf, most), LinearConstraint(let_go, -np.inf, volumes)],
        options={"mip_rel_gap": 5e-3, "time_limit": 20.0},
    )
    return float(-found.mip_dual_bound)


def fifth_of_the_organ(case: Slice) -> tuple[PlanGoals, DoseVolumeLimit]:
    limit = DoseVolumeLimit("it", True, case.organ, LIMIT_GY, SPARED * float(case.organ.cc.sum()))
    return case.goals(limit, floor_gy=1.0), limit


@pytest.mark.parametrize("seed", SEEDS)
def test_the_voxels_let_go_are_nearly_the_best(seed: int) -> None:
    """A fifth of the organ and a twentieth of the target, out of tens of voxels."""
    case = make_slice(seed)
    goals, limit = fifth_of_the_organ(case)
    most = most_d95_gy(case, goals, limit)
    assert most < 0.9 * goals.target_gy
    reached = escalate(case.influence, goals).prescription_gy
    assert ENOUGH * most <= reached <= most


def test_a_rising_price_finds_what_sorting_by_dose_misses(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without it the same slice ends a twentieth lower; a dose that is of no use to sort by costs nothing."""
    case = make_slice(1)
    goals, _ = fifth_of_the_organ(case)
    priced = escalate(case.influence, goals).prescription_gy
    with monkeypatch.context() as without:
        without.setattr(raising, "repriced", lambda run, best, aim: best)
        sorted_only = escalate(case.influence, goals).prescription_gy
    useless = np.random.default_rng(1).uniform(size=case.matrix.shape[0])
    monkeypatch.setattr(raising, "dose_by_price", lambda run, last, *how: dataclasses.replace(last, dose_gy=useless))
    assert priced > 1.03 * sorted_only
    assert escalate(case.influence, goals).prescription_gy == pytest.approx(sorted_only, rel=1e-6)


@pytest.mark.parametrize(("tries", "made"), [(0, 0), (1, 1), (6, 2)])
def test_voxels_are_chosen_once_more_as_often_as_told(monkeypatch: pytest.MonkeyPatch, tries: int, made: int) -> None:
    """Where limits hold the dose below the cap, and not where the first voxels reach it; two in vain end it."""
    passes: list[bool] = []

    def counted(run: Run, last: StageResult, asked_gy: float, gtv_gy: float | None, rng: object = None) -> StageResult:
        passes.append(rng is None)
        return dose_by_price(run, last, asked_gy, gtv_gy, rng)  # type: ignore[arg-type]

    monkeypatch.setattr(raising, "dose_by_price", counted)
    case = make_slice(1)
    goals, _ = fifth_of_the_organ(case)
    reached = escalate(case.influence, goals, tries=tries).prescription_gy
    assert passes == [True] + [False] * made
    easy = dataclasses.replace(goals, target_gy=0.5 * reached, cap_gy=0.5 * reached)
    escalate(case.influence, easy, tries=tries)
    assert len(passes) == 1 + made
    with pytest.raises(InfeasibleError):
        escalate(case.influence, dataclasses.replace(goals, floor_gy=1.5 * reached), tries=tries)
    assert passes[1 + made :] == [True], "tries for a floor that is out of reach"


def test_fewer_than_no_tries_are_refused() -> None:
    """Before anything is solved."""
    case = make_slice(1)
    with pytest.raises(UsageError, match="tries must be 0 or more, got -1"):
        escalate(case.influence, fifth_of_the_organ(case)[0], tries=-1)


def test_two_runs_are_the_same() -> None:
    """What is drawn begins with the same number."""
    case = make_slice(10)
    goals, _ = fifth_of_the_organ(case)
    one, other = (escalate(case.influence, goals).fluence for _ in range(2))
    assert np.array_equal(one, other)


@pytest.mark.parametrize("share", [0.5, 0.9])
def test_a_target_below_the_cap_costs_no_dose(share: float) -> None:
    """Voxels are chosen for the cap too, once the target's dose is reached."""
    case = make_slice(1)
    goals, _ = fifth_of_the_organ(case)
    at_once = escalate(case.influence, goals).prescription_gy
    lower = dataclasses.replace(goals, target_gy=share * at_once, floor_gy=0.0)
    assert lower.cap_gy > at_once
    assert escalate(case.influence, lower).prescription_gy >= 0.99 * at_once


def test_prices_rise_evenly_and_count_in_doses_of_the_target() -> None:
    """The same Gy for a Gy whatever the target's dose, which the objective is divided by."""
    found = rising_prices(50.0)
    assert len(found) == STEPS
    for name, ends in (("excess", EXCESS), ("shortfall", SHORTFALL)):
        in_gy = np.array([getattr(prices, name) for prices in found]) * 50.0
        assert in_gy[[0, -1]] == pytest.approx(ends)
        assert np.ptp(np.diff(np.log(in_gy))) == pytest.approx(0.0, abs=1e-12)
    assert rising_prices(100.0)[3].excess == pytest.approx(found[3].excess / 2)


def test_a_dear_cap_is_let_go_before_a_release_that_is_hardly_used() -> None:
    """One voxel of five may exceed 10 Gy; by price per cc, and never before one that is further above than a swap."""
    organ = Region("organ", np.arange(5), np.array([0.1, 0.1, 0.1, 0.05, 0.1]))
    run = SimpleNamespace(goals=SimpleNamespace(limits=(DoseVolumeLimit("x", True, organ, 10.0, 0.15),)))
    prices = {CAPS: (np.array([1, 2, 3]), np.array([0.2, 0.4, 0.3]))}

    def released(hottest_gy: float) -> list[int]:
        dose = np.array([hottest_gy, 10.0, 10.0, 10.0, 3.0])
        last = dataclasses.replace(StageResult.start(dose, {}), prices=prices)
        return np.setdiff1d(organ.positions, kept_below(run.goals.limits[0], dear_first(run, last).dose_gy)).tolist()

    assert released(10.0 + 0.9 * SWAP_GY) == [3]
    assert released(10.0 + 1.1 * SWAP_GY) == [0]

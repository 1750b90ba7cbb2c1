"""Limits on the fluence, the reserve on limits, and the monitor units of a sweep: each where it binds."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest

from dosecalc.errors import InputError
from optimize.escalate import escalate
from optimize.metrics import measure
from optimize.modulation import Modulation, variation
from optimize.monitor_units import sweep_mu
from optimize.plan_limits import ConvexLimit, DoseVolumeLimit, MeanLimit
from optimize.reserve import with_reserve
from protocols.errors import ProtocolError
from protocols.metrics import parse_metric

from .terms_case import PAIRS, Slice, make_slice, raised


@pytest.fixture(scope="module")
def case() -> Slice:
    return make_slice(1)


def limits(case: Slice) -> tuple[DoseVolumeLimit, ...]:
    return (DoseVolumeLimit("organ_max", True, case.organ, 40.0, 0.5),)


@pytest.fixture(scope="module")
def plain(case):
    return escalate(case.influence, case.goals(*limits(case)))


def test_the_variation_is_held_and_its_cost_told(case, plain) -> None:
    before = variation(plain.fluence, PAIRS)
    asked = Modulation(max_variation=0.5 * before)
    goals = case.goals(*limits(case), modulation=asked)
    found = escalate(case.influence, goals)
    assert variation(found.fluence, PAIRS) == pytest.approx(0.5 * before, rel=1e-4)
    # The cost is that with the same voxels released; the whole escalation without the limit may also release others.
    assert found.modulation_costs_gy > 0.5
    assert plain.prescription_gy - found.prescription_gy > 0.9 * found.modulation_costs_gy
    assert plain.modulation_costs_gy is None
    # The certificate knows the limit: without its multipliers the gap would be the cost.
    assert found.gap_fixed < 1e-4


def test_no_beamlet_passes_the_highest_fluence(case, plain) -> None:
    highest = 0.5 * plain.fluence.max()
    found = escalate(case.influence, case.goals(*limits(case), modulation=Modulation(max_fluence=highest)))
    assert found.fluence.max() == pytest.approx(highest, rel=1e-4)
    # With the same voxels released: another choice of them may gain more than the limit costs.
    assert found.modulation_costs_gy > 0.05
    assert found.gap_fixed < 1e-4


def test_a_variation_needs_neighbours(case) -> None:
    goals = case.goals(*limits(case), modulation=Modulation(max_variation=0.2))
    with pytest.raises(InputError, match="which beamlets are neighbours"):
        escalate(case.matrix, goals)


def test_a_reserve_leaves_its_share_of_the_binding_limit(case) -> None:
    """3 % of the limit on dose, on volume, on a mean and on a gEUD, each as the only one."""
    organ, metric = case.organ, parse_metric("gEUD(a=4)")
    stated = (
        (DoseVolumeLimit("it", True, organ, 30.0, 0.5), parse_metric("D0.5cc"), 30.0),
        (DoseVolumeLimit("it", True, organ, 15.0 - 0.01, 2.0, 1.0), parse_metric("V15Gy"), 2.0),
        (MeanLimit("it", True, organ, 15.0), parse_metric("Dmean"), 15.0),
        (ConvexLimit("it", True, organ, metric, 20.0), metric, 20.0),
    )
    for limit, judged_by, value in stated:
        _, last = raised(case, with_reserve(case.goals(limit), 3.0))
        used = measure(judged_by, (case.matrix @ last.fluence)[organ.positions], organ.cc)
        voxel = 0.25 if judged_by.value_unit == "cc" else 0.0
        assert 0.96 * value - voxel <= used <= 0.97 * value


def test_a_reserve_leaves_optimal_limits_alone_and_room_for_the_hot_spot(case) -> None:
    optimal = dataclasses.replace(limits(case)[0], mandatory=False)
    goals = case.goals(optimal)
    kept = with_reserve(goals, 3.0)
    assert kept.limits == goals.limits
    assert kept.hot_spot_ratio == pytest.approx(0.97 * goals.hot_spot_ratio)
    with pytest.raises(ProtocolError, match=r"planning\.reserve_percent: .* which no dose has"):
        with_reserve(dataclasses.replace(goals, hot_spot_ratio=1.02), 3.0)


def test_a_staircase_takes_the_sum_of_its_rises() -> None:
    """1, 3, 2, 5, 4: up by 1, 2 and 3 in one sweep; the same in two rows at once; 5 more where a gap starts a hill."""
    stairs, u, width = np.array([1.0, 3.0, 2.0, 5.0, 4.0]), np.arange(5) * 5.0, np.full(5, 5.0)
    assert sweep_mu(stairs, u, np.zeros(5), width) == pytest.approx(6.0)
    assert sweep_mu(stairs[::-1], u[::-1], np.zeros(5), width) == pytest.approx(6.0)
    two = np.concatenate([stairs, np.full(5, 4.0)]), np.tile(u, 2), np.repeat([0.0, 5.0], 5), np.full(10, 5.0)
    assert sweep_mu(*two) == pytest.approx(6.0)
    apart = np.array([0.0, 5.0, 10.0, 20.0, 25.0])
    assert sweep_mu(stairs, apart, np.zeros(5), width) == pytest.approx(8.0)
    assert sweep_mu(np.full(5, 7.0), u, np.zeros(5), width) == pytest.approx(7.0)  # an open field
    assert sweep_mu(np.zeros(0), np.zeros(0), np.zeros(0), np.zeros(0)) == 0.0

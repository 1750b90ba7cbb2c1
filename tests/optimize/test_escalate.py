"""Escalation on the operator of the small case: order of levels, what gives when the floor is out of reach."""

from __future__ import annotations

import dataclasses
import logging

import numpy as np
import pytest

from dosecalc.errors import InfeasibleError
from dosecalc.influence import DoseInfluence
from optimize.alone import _goals_without
from optimize.escalate import LEVEL_TOLERANCE, Escalation, _never_cold, escalate
from optimize.goals import PlanGoals, Region, goals_from_regions
from optimize.levels import Run
from optimize.matrix import MatrixInfluence
from optimize.metrics import dose_at_volume
from optimize.planning import Plan
from optimize.problem import Master
from optimize.smoothness import roughness
from optimize.sorting import sorting_dose

from .small_case import ACCEPTED, DUODENUM_GY, FLOOR_GY


@pytest.fixture(scope="module")
def escalated(problem) -> tuple[Escalation, list[str]]:
    """The goals as they are, and what was told on the way."""
    told: list[str] = []
    return escalate(*problem, progress=told.append), told


def d95_gy(influence: DoseInfluence, goals: PlanGoals, fluence: np.ndarray) -> float:
    dose = influence.at_reference().dose(fluence)
    cc = goals.target.cc
    return dose_at_volume(dose[goals.target.positions], cc, 0.95 * cc.sum())


def scaled(goals: PlanGoals, **factors: float) -> PlanGoals:
    """The goals with some limits multiplied."""
    limits = tuple(dataclasses.replace(m, limit_gy=m.limit_gy * factors.get(m.id, 1.0)) for m in goals.limits)
    return dataclasses.replace(goals, limits=limits)


@pytest.fixture(scope="module")
def refused(problem) -> InfeasibleError:
    """With 10 Gy for the duodenum."""
    influence, goals = problem
    with pytest.raises(InfeasibleError) as refusal:
        escalate(influence, scaled(goals, duodenum_max=0.4))
    return refusal.value


def test_an_unreachable_floor_names_the_limit_that_would_have_to_give(refused: InfeasibleError) -> None:
    conflicts = {c.id: c for c in refused.conflicts}
    assert "duodenum_max" in conflicts
    assert "cord_max" not in conflicts
    duodenum = conflicts["duodenum_max"]
    assert duodenum.structure == "Duodenum"
    assert duodenum.limit_gy == pytest.approx(0.4 * DUODENUM_GY)
    assert duodenum.needed_gy > 0.41 * DUODENUM_GY
    assert refused.reached_gy is not None
    assert 0 < refused.reached_gy < 40.0
    # With no other limit in the way, what it gives alone is what it gives in the joint answer.
    assert duodenum.relaxation_alone == pytest.approx(duodenum.needed_gy - duodenum.limit_gy, abs=0.3)
    assert all(word in str(refused) for word in ("Duodenum", "duodenum_max", "40 Gy", "more fractions"))


def test_giving_what_the_conflicts_ask_for_reaches_the_floor(problem, refused: InfeasibleError) -> None:
    influence, goals = problem
    asked = scaled(goals, duodenum_max=0.4)
    factors = {c.id: 1.05 * c.needed_gy / c.limit_gy for c in refused.conflicts}
    hot = factors.pop("hot_spot", 1.0)
    relaxed = dataclasses.replace(
        scaled(asked, **factors), hot_spot_ratio=hot * goals.hot_spot_ratio, hot_spot_max_gy=hot * goals.hot_spot_max_gy
    )
    assert set(factors) | {"hot_spot"} == {"duodenum_max", "hot_spot"}
    assert d95_gy(influence, goals, escalate(influence, relaxed).fluence) >= FLOOR_GY * (1 - LEVEL_TOLERANCE)


def test_without_limits_in_the_way_the_target_dose_is_met_and_the_cap_not_passed(problem) -> None:
    influence, goals = problem
    free = scaled(goals, duodenum_max=10.0, duodenum_2cc=10.0)
    result = escalate(influence, free)
    reached = d95_gy(influence, free, result.fluence)
    assert reached == pytest.approx(60.0, rel=2e-3)
    assert result.prescription_gy == pytest.approx(60.0, rel=2e-3)


def test_later_levels_keep_what_the_first_reached(problem, escalated) -> None:
    influence, goals = problem
    result, told = escalated
    raised = [level.value for level in result.levels if level.name.startswith("PTV_opt")]
    assert d95_gy(influence, goals, result.fluence) >= max(raised) * (1 - LEVEL_TOLERANCE) - 0.02
    assert [level.name.split()[0] for level in result.levels][-1] == "optimal"
    assert len(told) == len(result.levels)
    assert result.fluence.min() >= 0
    assert FLOOR_GY <= result.prescription_gy <= 60.0


def test_the_stored_matrix_has_the_same_optimum(planned: Plan, problem, escalated) -> None:
    """From nothing but the matrix, the pairs of neighbours and the voxels of each structure."""
    influence, goals = problem
    regions = {}
    for structure in planned.anatomy.structures:
        inside = structure.on(influence.grid)
        regions[structure.name] = Region(structure.name, np.searchsorted(influence.voxels, inside.indices), inside.cc)
    given = goals_from_regions(
        planned.protocol,
        regions,
        voxel_cc=influence.grid.voxel_cc,
        centres_mm=influence.grid.centres_mm(influence.voxels),
        skip=frozenset(ACCEPTED),
    )
    stored = MatrixInfluence(influence.tocsr(), influence.neighbours)
    result = escalate(stored, given)
    assert result.prescription_gy == pytest.approx(escalated[0].prescription_gy, rel=1e-4)
    doses = [influence.dose(found.fluence) for found in (escalated[0], result)]
    reached = [dose_at_volume(d[goals.target.positions], goals.target.cc, 0.95 * goals.target.cc.sum()) for d in doses]
    assert reached[1] == pytest.approx(reached[0], rel=1e-4)
    for limit in goals.limits:
        above = doses[1][limit.region.positions] > limit.limit_gy + 0.01
        assert not limit.mandatory or limit.region.cc[above].sum() <= limit.spare_cc


def test_each_lesion_reaches_the_dose_for_itself(problem) -> None:
    """Cut in two, the part beside the duodenum may not be given up for the whole."""
    influence, goals = problem
    target = goals.target
    x_mm = influence.grid.centres_mm(influence.voxels[target.positions])[:, 0]
    near = x_mm >= np.quantile(x_mm, 0.85)
    parts = tuple(Region(name, target.positions[m], target.cc[m]) for name, m in (("far", ~near), ("near", near)))

    def reached(given: PlanGoals) -> list[float]:
        dose = influence.at_reference().dose(escalate(influence, given).fluence)
        return [dose_at_volume(dose[part.positions], part.cc, 0.95 * part.cc.sum()) for part in parts]

    far, beside = reached(goals)
    assert beside < 0.9 * far
    far, beside = reached(dataclasses.replace(goals, lesions=parts, floor_gy=0.0))
    assert beside == pytest.approx(far, rel=0.02)


def test_asking_for_the_whole_target_sorts_better_than_the_room_beside_organs(problem, escalated, monkeypatch) -> None:
    """Sort and fix is only as good as its start: from the room beside the duodenum it ends below the floor.

    With no rising price after it, which would choose other voxels from there.
    """
    influence, goals = problem
    result, _ = escalated
    monkeypatch.setattr("optimize.raising.sorting_dose", lambda run, asked_gy, start: None)
    monkeypatch.setattr("optimize.raising.repriced", lambda run, best, aim: best)
    with pytest.raises(InfeasibleError) as refusal:
        escalate(influence, goals)
    assert refusal.value.reached_gy < d95_gy(influence, goals, result.fluence) - 5.0


def test_only_voxels_that_are_mostly_tumour_and_mostly_target_are_never_cold(problem) -> None:
    """Of four voxels of 0.125 cc: all target and tumour, a sliver of tumour, a sliver of target, no tumour."""
    _, goals = problem
    positions = np.arange(4)
    target = Region("PTV_opt", positions, np.array([0.125, 0.125, 0.002, 0.125]))
    gtv = Region("GTV", positions[:3], np.array([0.125, 0.002, 0.125]))
    small = dataclasses.replace(goals, target=target, gtv=gtv, lesions=(target,), share=np.ones(4))
    assert small.voxel_cc == pytest.approx(0.125)
    assert _never_cold(small).tolist() == [True, False, False, False]


@pytest.mark.parametrize("given_up", ["hot_spot", "duodenum"])
def test_a_dose_to_sort_by_is_found_whichever_limit_is_given_up(problem, given_up, caplog) -> None:
    """By the solver that is asked first: an infinite hot spot once went to one that took minutes."""
    influence, goals = problem
    goals = _goals_without(goals, (given_up,))
    start = influence.dose(np.ones(influence.shape[1]))
    unit = goals.target_gy / start[goals.target.positions].mean()
    master = Master(influence, unit, roughness(influence.neighbours, influence.shape[1]))
    run = Run(master, goals, lambda text: None, np.zeros(goals.target.positions.size, bool), {}, [], [])
    with caplog.at_level(logging.INFO, logger="optimize.solvers.fallback"):
        assert sorting_dose(run, goals.floor_gy, start * unit) is not None
    assert {message.split(":")[0] for message in caplog.messages} == {"solver INTERIOR_POINT"}
    assert all("optimal" in message for message in caplog.messages)

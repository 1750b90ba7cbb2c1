"""Goals become limits on voxels: volumes that may be spared, positions in the operator's list, and refusals."""

from __future__ import annotations

import numpy as np
import pytest

from dosecalc.errors import InputError
from dosecalc.grid import Grid
from dosecalc.regions import from_shares
from dosecalc.structures import StructureSet
from optimize.goals import DoseVolumeLimit, MeanLimit, resolve_goals
from optimize.planning import Plan
from optimize.terms import STRICTLY_BELOW_GY
from protocols import Goal, available, load
from protocols.errors import ProtocolError

from .small_case import FLOOR_GY

GRID = Grid((-16.0, -20.0, 5.0), (2.0, 3.0, 4.0), (6, 8, 10))  # voxels of 0.024 cc


def boxed(name: str, role: str, z: slice, y: slice, x: slice, share: float = 1.0):
    values = np.zeros(GRID.shape, dtype=np.float32)
    values[z, y, x] = share
    return from_shares(name, GRID, values, role)


WHOLE = slice(None)
ORGAN = boxed("Duodenum", "ORGAN", slice(1, 5), slice(2, 6), slice(6, 8), 0.5)
ORGAN_CC = 32 * 0.024 * 0.5
STRUCTURES = StructureSet(
    (
        boxed("Body", "EXTERNAL", WHOLE, WHOLE, slice(1, 9)),
        boxed("GTV", "GTV", slice(2, 4), slice(3, 5), slice(3, 5)),
        boxed("PTV", "PTV", slice(1, 5), slice(2, 6), slice(2, 6)),
        boxed("PTV_opt", "PTV", slice(1, 5), slice(2, 6), slice(2, 5)),
        ORGAN,
    )
)


def goal(metric: str, comparator: str = "<=", limit: float = 20.0, unit: str = "Gy", level: str = "mandatory") -> Goal:
    row = {"id": "it", "structure": "Duodenum", "metric": metric, "level": level, "level_by": "source"}
    if not metric.startswith("CV"):
        row |= {"comparator": comparator, "limit": limit, "unit": unit}
    return Goal.model_validate(row | {"source": "a citation", "status": "VERIFIED"})


def resolved(planned: Plan, *goals: Goal, voxels=None, skip=frozenset()):
    protocol = planned.protocol.model_copy(update={"goals": goals})
    everywhere = np.arange(GRID.size)
    return resolve_goals(protocol, STRUCTURES, GRID, everywhere if voxels is None else voxels, skip=skip)


@pytest.mark.parametrize(
    ("given", "limit_gy", "spare_cc"),
    [
        (goal("D0.1cc"), 20.0, 0.1),
        (goal("D10%"), 20.0, 0.1 * ORGAN_CC),
        (goal("D5cc"), 20.0, 0.0),  # more than the organ has: its maximum counts
        (goal("Dmax"), 20.0, 0.0),
        (goal("V15Gy", limit=0.2, unit="cc"), 15.0 - STRICTLY_BELOW_GY, 0.2),
        (goal("V15Gy%", limit=25.0, unit="%"), 15.0 - STRICTLY_BELOW_GY, 0.25 * ORGAN_CC),
        (goal("CV0.3cc<12Gy"), 12.0 - STRICTLY_BELOW_GY, ORGAN_CC - 0.3),
        (goal("CV700cc<12Gy"), 12.0 - STRICTLY_BELOW_GY, 0.0),
    ],
    ids=lambda value: str(value.metric) if isinstance(value, Goal) else "",
)
def test_what_a_goal_lets_exceed_its_dose(planned: Plan, given: Goal, limit_gy: float, spare_cc: float) -> None:
    (limit,) = resolved(planned, given).limits
    assert isinstance(limit, DoseVolumeLimit)
    assert limit.limit_gy == pytest.approx(limit_gy)
    assert limit.spare_cc == pytest.approx(spare_cc, rel=1e-5)
    assert (limit.id, limit.mandatory) == ("it", True)
    assert limit.region.cc.sum() == pytest.approx(ORGAN_CC, rel=1e-5)


def test_a_mean_is_a_limit_of_its_own_and_a_volume_is_none(planned: Plan) -> None:
    found = resolved(planned, goal("Dmean", level="optimal"))
    (mean,) = found.means
    assert isinstance(mean, MeanLimit)
    assert (mean.limit_gy, mean.mandatory, found.limits) == (20.0, False, ())
    anatomical = resolved(planned, goal("Volume", ">=", 700.0, "cc"))
    assert (anatomical.limits, anatomical.means) == ((), ())


@pytest.mark.parametrize("name", available())
def test_every_goal_of_the_shipped_protocols_can_be_optimised(planned: Plan, name: str) -> None:
    goals = tuple(goal.model_copy(update={"structure": "Duodenum"}) for goal in load(name).goals)
    found = resolved(planned, *goals)
    volumes = [goal.id for goal in goals if str(goal.metric) == "Volume"]
    assert {t.id for t in (*found.limits, *found.averages)} | set(volumes) == {goal.id for goal in goals}


@pytest.mark.parametrize("metric", ["D95%", "Dmean", "Dmin"])
def test_a_lower_limit_on_an_organ_is_refused_and_not_left_out(planned: Plan, metric: str) -> None:
    with pytest.raises(ProtocolError, match="judged but not optimised") as refusal:
        resolved(planned, goal(metric, ">="))
    assert "it" in str(refusal.value)


def test_an_optimal_goal_that_cannot_be_aimed_at_is_told(planned: Plan) -> None:
    found = resolved(planned, goal("Dmin", ">=", level="optimal"), goal("Dmean").model_copy(update={"id": "other"}))
    assert [mean.id for mean in found.means] == ["other"]
    (told,) = found.judged_only
    assert "goal it: Dmin >= 20 Gy (optimal) can be judged but not optimised" in told


def test_a_reserve_and_limits_on_the_fluence_come_from_the_planning_rules(planned: Plan) -> None:
    rules = planned.protocol.planning.model_copy(update={"reserve_percent": 3.0, "max_fluence_mu": 900.0})
    goals = (goal("D0.1cc"), goal("V15Gy", limit=0.2, unit="cc").model_copy(update={"id": "volume"}))
    protocol = planned.protocol.model_copy(update={"goals": goals, "planning": rules})
    found = resolve_goals(protocol, STRUCTURES, GRID, np.arange(GRID.size))
    dose, volume = found.limits
    assert (dose.limit_gy, dose.spare_cc) == pytest.approx((0.97 * 20.0, 0.1))
    assert (volume.limit_gy, volume.spare_cc) == pytest.approx((15.0 - STRICTLY_BELOW_GY, 0.97 * 0.2))
    assert found.hot_spot_ratio == pytest.approx(0.97 / 0.6)
    assert (found.modulation.max_fluence, found.modulation.max_variation) == (900.0, np.inf)


@pytest.mark.parametrize(
    ("metric", "unit", "limit_gy"),
    [("EQD2_3(D0.1cc)", "Gy", 16.08495), ("BED_3(V15Gy)", "cc", 9.2705 - STRICTLY_BELOW_GY)],
)
def test_a_biological_limit_is_the_physical_one_of_the_same_effect(planned, metric, unit, limit_gy) -> None:
    """d (1 + d / 15) = 20 (1 + 2 / 3), and = 15, in five fractions."""
    asked = goal(metric, limit=20.0 if unit == "Gy" else 0.2, unit=unit).in_fractions(5)
    (limit,) = resolved(planned, asked).limits
    assert limit.limit_gy == pytest.approx(limit_gy, abs=1e-3)


def test_positions_count_in_the_operators_list(planned: Plan) -> None:
    body = STRUCTURES["Body"].on(GRID).indices
    found = resolved(planned, goal("Dmax"), voxels=body)
    np.testing.assert_array_equal(body[found.limits[0].region.positions], ORGAN.on(GRID).indices)
    np.testing.assert_array_equal(body[found.ptv.positions], STRUCTURES["PTV"].on(GRID).indices)


def test_a_voxel_without_dose_is_an_error(planned: Plan) -> None:
    inside = STRUCTURES["PTV"].on(GRID).indices
    with pytest.raises(InputError, match="'Duodenum' have no dose"):
        resolved(planned, goal("Dmax"), voxels=inside)


def test_outside_is_the_body_without_the_ptv(planned: Plan) -> None:
    found = resolved(planned, goal("Dmax"))
    outside, body, ptv = set(found.outside.positions), STRUCTURES["Body"].on(GRID), set(found.ptv.positions)
    assert outside.isdisjoint(ptv)
    assert outside | ptv == set(body.indices)


def test_the_prescription_is_passed_on(planned: Plan) -> None:
    found, rx = resolved(planned, goal("Dmax")), planned.protocol.prescription
    assert (found.floor_gy, found.target_gy, found.cap_gy) == (FLOOR_GY, 60.0, 60.0)
    assert found.hot_spot_ratio == pytest.approx(1 / 0.6)
    assert (found.hot_spot_max_gy, found.ptv_mean_max_gy) == (100.0, np.inf)
    assert (found.gtv_d98_gy, found.outside_ratio) == (rx.gtv_d98.limit, 1.05)


def test_what_is_skipped_or_missing_sets_no_limit(planned: Plan) -> None:
    absent = goal("Dmax").model_copy(update={"structure": "Stomach"})
    assert resolved(planned, goal("Dmax"), skip=frozenset({"Duodenum"})).limits == ()
    assert resolved(planned, absent).limits == ()

"""Small-volume limits beside the target hold between the voxel centres of the dose grid too."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest

from dosecalc.density import to_density
from dosecalc.errors import InfeasibleError, InputError
from dosecalc.influence import DoseInfluence, dose_influence
from optimize.escalate import escalate
from optimize.fine_limits import with_fine_limits
from optimize.goals import PlanGoals, resolve_goals
from optimize.metrics import dose_at_volume
from optimize.planning import Plan
from optimize.second_opinion import same_model
from optimize.stacked import StackedInfluence
from optimize.verification import FineVoxels, fine_voxels

from .small_case import ACCEPTED, DUODENUM_GY

HELD_GY = 0.01
"""Hard limits hold within this much of the reference dose."""


@dataclasses.dataclass(frozen=True, slots=True, eq=False)
class Case:
    """The small case on both grids."""

    coarse: DoseInfluence
    below: DoseInfluence
    goals: PlanGoals
    fine: FineVoxels

    def limited(self, planned: Plan) -> PlanGoals:
        return with_fine_limits(self.goals, planned.protocol, self.fine, self.coarse.voxels)


@pytest.fixture(scope="module")
def case(planned: Plan) -> Case:
    grid, structures = planned.dose.grid, planned.anatomy.structures
    voxels = structures["Body"].on(grid).indices
    density = to_density(planned.ct.volume, planned.machine.calibration)
    coarse = dose_influence(density, grid, planned.beamlets, planned.machine, voxels=voxels, backend="numpy")
    goals = resolve_goals(planned.protocol, structures, grid, voxels, skip=frozenset(ACCEPTED))
    fine = fine_voxels(structures, planned.protocol, grid)
    assert fine is not None
    return Case(coarse, same_model(coarse, density, fine.grid, fine.voxels, "float32"), goals, fine)


def test_a_limit_that_was_broken_between_voxel_centres_is_kept(case: Case, planned: Plan) -> None:
    """Without the fine voxels the same escalation exceeds it by more than a Gy on 1 mm; the plan does not."""
    alone = escalate(case.coarse, case.goals).fluence
    near, cc = case.fine.parts["Duodenum"]
    between = dose_at_volume(case.below.at_reference().dose(alone)[near], cc, 0.035)
    limit = next(m for m in case.goals.limits if m.id == "duodenum_max")
    at_centres = dose_at_volume(case.coarse.dose(alone)[limit.region.positions], limit.region.cc, 0.035)
    assert at_centres <= DUODENUM_GY + HELD_GY
    assert between > DUODENUM_GY + 1.0

    on_grid = next(g for g in planned.evaluation.goals if g.id == "duodenum_max")
    again = {row.id: row for row in planned.evaluation.verification.goals}
    assert on_grid.value <= DUODENUM_GY + HELD_GY
    assert again["duodenum_max"].value <= DUODENUM_GY + HELD_GY
    assert not any("on the dose grid" in warning for warning in planned.evaluation.warnings)


def test_the_limit_is_stated_twice_and_far_voxels_stay_coarse(case: Case, planned: Plan) -> None:
    both = case.limited(planned)
    first, second = (m for m in both.limits if m.id == "duodenum_max")
    assert (first.limit_gy, first.spare_cc) == (second.limit_gy, second.spare_cc)
    assert first.region.name == "Duodenum"
    assert second.region.name == "Duodenum on voxels of 1.1 mm"
    count = case.coarse.shape[0]
    fine = second.region.positions >= count
    assert np.array_equal(second.region.positions[fine] - count, case.fine.parts["Duodenum"][0])
    assert np.all(np.diff(second.region.positions) > 0)
    assert second.region.cc.sum() == pytest.approx(first.region.cc.sum(), rel=0.03)
    assert [m.id for m in both.limits].count("duodenum_2cc") == 1  # optimal: on the dose grid only
    assert [m.id for m in both.limits].count("cord_max") == 1  # out of reach


def test_a_limit_that_binds_on_fine_voxels_is_named_once_where_the_floor_is_out_of_reach(
    case: Case, planned: Plan
) -> None:
    goals = case.limited(planned)
    tight = tuple(
        dataclasses.replace(m, limit_gy=0.5 * m.limit_gy) if "voxels of" in m.region.name else m for m in goals.limits
    )
    with pytest.raises(InfeasibleError, match=r"Duodenum \(duodenum_max\) needs") as refusal:
        escalate(StackedInfluence(case.coarse, case.below), dataclasses.replace(goals, limits=tight))
    assert [c.structure for c in refusal.value.conflicts if c.id == "duodenum_max"] == ["Duodenum"]


def test_a_stacked_operator_is_its_parts(case: Case) -> None:
    stacked = StackedInfluence(case.coarse, case.below)
    voxels, beamlets = stacked.shape
    rng = np.random.default_rng(0)
    x, w = rng.random(beamlets), rng.random(voxels)
    dose = stacked.dose(x)
    split = case.coarse.shape[0]
    assert np.array_equal(dose, np.concatenate([case.coarse.dose(x), case.below.dose(x)]))
    assert dose @ w == pytest.approx(x @ stacked.adjoint(w), rel=1e-5)
    mixed = np.array([split + 3, 5, split, 0])
    np.testing.assert_allclose(stacked.rows(mixed) @ x, dose[mixed], rtol=1e-4)
    some = np.array([0, 5, split, split + 3])
    np.testing.assert_allclose(stacked.restricted_to(some).dose(x), dose[some], rtol=1e-6)
    np.testing.assert_allclose(stacked.at_reference().restricted_to(some).dose(x), dose[some], rtol=1e-3)
    with pytest.raises(InputError, match="before those of the second"):
        stacked.restricted_to(mixed)
    with pytest.raises(InputError, match="one per voxel"):
        stacked.adjoint(w[1:])
    other = dataclasses.replace(case.below, beamlets=case.below.beamlets + case.below.beamlets)
    with pytest.raises(InputError, match="share their beamlets"):
        StackedInfluence(case.coarse, other)

"""Which voxels enter the master and leave it, on the host and on a device."""

from __future__ import annotations

import numpy as np
import pytest

from optimize.row_choice import IDLE_GY, Active, Family, add_violated, drop_idle, families_of, seed_rows
from optimize.solvers import HOST, Algebra, DeviceAlgebra
from optimize.voxel_bounds import RESERVE_GY, Bound

from ..twins.device_array import DeviceArray, Functions, Room, cholesky, solve_triangular

VOXELS = 9000
ALGEBRAS = {"host": HOST, "device": DeviceAlgebra(Functions(Room()), cholesky, solve_triangular)}


@pytest.fixture(params=ALGEBRAS)
def algebra(request: pytest.FixtureRequest) -> Algebra:
    return ALGEBRAS[request.param]


def bounds() -> tuple[Bound, Bound, Bound]:
    """An upper limit, a lower one that moves with D95, and one of nothing."""
    organ, target = np.arange(0, VOXELS, 2), np.arange(1, VOXELS, 3)
    return (
        Bound("organ", organ, np.full(organ.size, 30.0)),
        Bound("target", target, np.zeros(target.size), "D95", 1.0, -1),
        Bound("none", np.zeros(0, np.int64), np.zeros(0)),
    )


def waits(family: Family, active: Active) -> bool:
    """Whether exactly the voxels outside the master wait."""
    waiting = family.waiting.get() if isinstance(family.waiting, DeviceArray) else family.waiting
    return np.array_equal(waiting, ~np.isin(family.bound.positions, active[family.bound.name]))


def test_the_most_violated_enter_until_none_is_left(algebra: Algebra) -> None:
    """The same voxels on host and device, with those that lie near their limit."""
    rng, active = np.random.default_rng(1), Active()
    dose, scalars = rng.uniform(0, 40, VOXELS), {"D95": 20.0}
    seed_rows(active, bounds(), dose, scalars, 40)
    before = {name: set(positions.tolist()) for name, positions in active.items()}
    families = families_of(active, bounds(), algebra)
    organ, target, _ = bounds()
    beyond = {b.name: b.positions[b.excess_gy(dose, scalars) + RESERVE_GY > 0.01] for b in (organ, target)}
    waited = [np.setdiff1d(beyond[name], active[name]) for name in beyond]
    largest = max(
        b.excess_gy(dose, scalars)[np.isin(b.positions, new)].max() for b, new in zip(bounds(), waited, strict=False)
    )
    worst_gy = add_violated(active, families, algebra.xp.asarray(dose), scalars, algebra)
    assert worst_gy == pytest.approx(largest + RESERVE_GY, rel=1e-12)
    for family in families:
        assert waits(family, active)
        assert before[family.bound.name] <= set(active[family.bound.name].tolist())
    while add_violated(active, families, algebra.xp.asarray(dose), scalars, algebra):
        assert all(waits(family, active) for family in families)
    for name, positions in beyond.items():
        assert np.isin(positions, active[name]).all()


def test_a_voxel_that_was_dropped_enters_again_where_it_must(algebra: Algebra) -> None:
    """It is idle by its own dose, and violated in the next round."""
    active, scalars = Active(organ=np.array([0, 2, 10, 400])), {"D95": 20.0}
    (organ, *_) = bounds()
    families = families_of(active, [organ], algebra)
    own_gy = {"organ": (active["organ"], np.array([29.0, 10.0, 31.0, 0.0]))}
    drop_idle(active, families, own_gy, scalars, algebra)
    assert active["organ"].tolist() == [0, 10] and waits(families[0], active)
    dose = np.zeros(VOXELS)
    dose[[0, 2, 10]] = 30.0 - IDLE_GY, 45.0, 29.0
    assert add_violated(active, families, algebra.xp.asarray(dose), scalars, algebra) == pytest.approx(15.02)
    assert active["organ"].tolist() == [0, 2, 10] and waits(families[0], active)
    assert add_violated(active, families, algebra.xp.asarray(dose), scalars, algebra) == 0.0

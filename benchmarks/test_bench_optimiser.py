"""Time of a whole escalation on a synthetic case: a sphere in water beside a bowel, and a cord behind it.

Measure with::

    pytest benchmarks/test_bench_optimiser.py --benchmark-enable -s

The protocol is the shipped `crlm_5fx`; goals of structures that the case does not have are left out, and
there is no liver. One solver against another on a large problem: `test_bench_solver.py`.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest

import protocols
from dosecalc import Beam, DoseInfluence, Grid, StructureSet, Volume, aim, dose_influence, load_machine
from dosecalc.regions import everything, minus, sphere
from optimize import PlanGoals, resolve_goals
from optimize.escalate import Escalation, escalate

pytestmark = pytest.mark.benchmark(timer=time.process_time)
# (voxels of the dose grid along z, y, x; spacing in mm; beams; diameter of the target in mm)
SIZES = {
    "tiny": ((13, 14, 15), 5.0, 3, 16.0),
    "small": ((26, 32, 34), 3.0, 5, 26.0),
    "full": ((40, 60, 60), 3.0, 9, 40.0),
}


@dataclass(frozen=True, slots=True, eq=False)
class Case:
    """An operator and what to aim at."""

    influence: DoseInfluence
    goals: PlanGoals
    text: str


@pytest.fixture(scope="module")
def case(size: str) -> Case:
    """Water all around; the dose is computed in every voxel of the grid."""
    shape, spacing_mm, beams, diameter_mm = SIZES[size]
    grid = Grid(tuple(-spacing_mm / 2 * (n - 1) for n in reversed(shape)), (spacing_mm,) * 3, shape)
    structures = small_anatomy(grid, diameter_mm)
    machine, protocol = load_machine("generic_6mv"), protocols.load("crlm_5fx")
    beamlets = aim(
        [Beam(k * 360.0 / beams) for k in range(beams)],
        at=structures["PTV"],
        width_mm=protocol.planning.beamlet_mm,
    )
    voxels = np.arange(grid.size)
    influence = dose_influence(water_around(grid), grid, beamlets, machine, voxels=voxels)
    return Case(
        influence,
        resolve_goals(protocol, structures, grid, voxels),
        f"{grid.size} voxels ({spacing_mm:g} mm), {beams} beams, {beamlets.count} beamlets, crlm_5fx",
    )


def small_anatomy(grid: Grid, diameter_mm: float) -> StructureSet:
    """A GTV in its PTV, a bowel 8 mm beside it, and a cord."""
    radius = diameter_mm / 2
    gtv = sphere((0.0, 0.0, 0.0), diameter_mm - 8.0, grid, name="GTV", role="GTV")
    ptv = sphere((0.0, 0.0, 0.0), diameter_mm, grid, name="PTV", role="PTV")
    bowel = sphere((radius + 14.0, 0.0, 3.0), 12.0, grid, name="Duodenum")
    cord = sphere((-3.0, radius + 15.0, 0.0), 10.0, grid, name="SpinalCord")
    body = everything("Body", grid)
    opt = minus("PTV_opt", grid, ptv, role="PTV")
    return StructureSet((gtv, ptv, opt, bowel, cord, body))


def water_around(grid: Grid) -> Volume:
    """Water on the grid and 60 mm beyond it on each side, in 10 mm voxels."""
    half = np.array(grid.spacing_mm) * np.array(grid.shape[::-1]) / 2 + 60.0
    counts = np.ceil(half / 5.0).astype(int)
    corner = tuple((-5.0 * (counts - 1)).tolist())
    return Volume(Grid(corner, (10.0, 10.0, 10.0), tuple(counts[::-1].tolist())), np.ones(counts[::-1], np.float32))


def test_escalation(measure: Callable[..., Any], case: Case) -> None:
    """All levels of the escalation; what it reached is checked by applying the operator."""
    result: Escalation = measure(
        lambda: escalate(case.influence, case.goals),
        operation="escalation",
        problem=case.text,
        rounds=1,
    )
    print(f"\n{case.text}")
    for level in result.levels:
        print(f"  {level}")
    dose = case.influence.dose(result.fluence)
    target = case.goals.target
    order = np.argsort(dose[target.positions])
    filled = np.cumsum(target.cc[order]) / target.cc.sum()
    d95_gy = dose[target.positions][order][np.searchsorted(filled, 0.05)]
    assert case.goals.floor_gy - 0.1 <= d95_gy <= case.goals.cap_gy * 1.01
    for limit in case.goals.limits:
        if limit.mandatory:
            inside = dose[limit.region.positions]
            assert limit.region.cc[inside > limit.limit_gy + 0.05].sum() <= limit.spare_cc + 0.01, limit.id

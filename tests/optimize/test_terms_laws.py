"""Every metric that can be a limit: the plan keeps it, and uses nine tenths of it where the target asks for more."""

from __future__ import annotations

from functools import cache

import numpy as np
import pytest

from dosecalc.grid import Grid, Volume
from dosecalc.structures import Voxels
from optimize import Region
from optimize.conformity import conformity, hot_outside_gtv_cc
from optimize.escalate import escalate
from optimize.metrics import dose_at_volume, measure
from optimize.regions import Region as Dosed
from optimize.terms import term_of
from protocols import Goal
from protocols.errors import ProtocolError
from protocols.metrics import CriticalVolume, Metric, parse_metric

from .terms_case import VOXEL_CC, Slice, make_slice, raised

FRACTIONS = 3
LIMITS = (
    "D20%", "D0.5cc", "V15Gy", "V15Gy%", "CV1cc<15Gy", "Dmean", "Dmax", "gEUD(a=4)", "MOH20%", "EQD2_3(D0.5cc)",
    "BED_3(V40Gy)", "EQD2_3(Dmean)", "BED_3(gEUD(a=2))", "EQD2_3(MOH30%)",
)  # fmt: skip
VOLUMES = ("V15Gy", "V15Gy%", "CV1cc<15Gy", "BED_3(V40Gy)")
OUT_OF_REACH_GY = 1500.0
GRID = Grid((-32.5, -32.5, 0.0), (5.0, 5.0, 10.0), (1, 14, 14))


@cache
def unlimited(seed: int, finer: int) -> tuple[Slice, np.ndarray]:
    """A case and its dose without any limit on the organ."""
    case = make_slice(seed, finer=finer)
    return case, case.matrix @ raised(case, case.goals())[1].fluence


def goal(metric: Metric, comparator: str, limit: float, structure: str, level: str = "mandatory") -> Goal:
    row = {"id": "it", "structure": structure, "metric": metric, "level": level, "level_by": "source"}
    row |= {"comparator": comparator, "limit": limit, "unit": metric.value_unit}
    return Goal.model_validate(row | {"source": "a test", "status": "VERIFIED"}).in_fractions(FRACTIONS)


def seeded(texts: tuple[str, ...], seeds: tuple[int, ...]) -> list[tuple[str, int]]:
    return [(text, seed) for text in texts for seed in seeds]


@pytest.mark.parametrize(("text", "seed"), seeded(LIMITS, (30,)) + seeded(VOLUMES, (5, 8)))
def test_a_limit_holds_and_is_used(text: str, seed: int) -> None:
    """Half of what the organ gets at 200 Gy, and a target that asks for more than it can get; of a critical volume half
    of what is lost is spared. Volumes are counted in voxels, so there these are small: a tenth of the limit holds some.
    """
    case, before = unlimited(seed, 2 if text in VOLUMES else 1)
    at, cc = case.organ.positions, case.organ.cc
    free = goal(parse_metric(text), ">=" if text.startswith("CV") else "<=", 1.0, "organ").metric
    now, total_cc = measure(free, before[at], cc), float(cc.sum())
    if isinstance(free, CriticalVolume):
        least = (now + total_cc) / 2
        asked = goal(CriticalVolume(least, free.dose_gy), ">=", least, "organ")
    else:
        asked = goal(parse_metric(text), "<=", now / 2, "organ")
    term = term_of(asked, {"organ": case.organ}, VOXEL_CC, None)
    _, last = raised(case, case.goals(term, target_gy=OUT_OF_REACH_GY))
    value = measure(asked.metric, (case.matrix @ last.fluence)[at], cc)
    assert last.scalars["D95"] < 0.9 * OUT_OF_REACH_GY
    if isinstance(free, CriticalVolume):
        assert 0.9 * (total_cc - asked.limit) <= total_cc - value <= total_cc - asked.limit
    else:
        assert 0.9 * asked.limit <= value <= asked.limit


def values(case: Slice, dose: np.ndarray) -> dict[str, float | None]:
    """Indices of the plan at the D95 that it reached."""
    target = Voxels(GRID, case.target.positions, case.target.cc)
    reached = dose_at_volume(dose[case.target.positions], target.cc, 0.95 * float(target.cc.sum()))
    body = Voxels(GRID, case.body.positions, case.body.cc)
    return {
        each.metric: each.value for each in conformity(Volume(GRID, dose.reshape(GRID.shape)), body, target, reached)
    }


@pytest.mark.parametrize(("text", "limit", "seed"), [("R50", 6.9, 0), ("CI_RTOG", 1.5, 1), ("D2cm%", 57.0, 0)])
def test_a_limit_relative_to_the_reached_dose_is_served(text: str, limit: float, seed: int) -> None:
    """Beyond its limit without it, within it with it, and the target no colder."""
    case = make_slice(seed)
    plain = escalate(case.influence, case.goals())
    assert values(case, case.matrix @ plain.fluence)[text] > limit
    regions = {"Body": case.body, "PTV": case.target}
    asked = term_of(goal(parse_metric(text), "<=", limit, "PTV", "optimal"), regions, VOXEL_CC, case.centres_mm)
    served = escalate(case.influence, case.goals(asked))
    assert values(case, case.matrix @ served.fluence)[text] <= limit + 0.01
    assert served.prescription_gy == pytest.approx(plain.prescription_gy, rel=1e-4)


def core(case: Slice) -> Region:
    """The inner third of a target: its GTV."""
    inner = np.hypot(*case.centres_mm[case.target.positions, :2].T) < 8.0
    return Region("GTV", case.target.positions[inner], case.target.cc[inner])


def hot_cc(case: Slice, fluence: np.ndarray, level: float, share_of_d95: bool) -> float:
    """What a goal on the hot spot is judged on."""
    dose = case.matrix @ fluence
    target, gtv = (Dosed(r.name, r.positions, dose[r.positions], r.cc, "") for r in (case.target, core(case)))
    d95 = dose_at_volume(target.dose_gy, target.cc, 0.95 * target.total_cc)
    return hot_outside_gtv_cc(target, gtv, GRID, level * d95 / 100.0 if share_of_d95 else level)


def test_a_hot_spot_is_kept_inside_the_gtv() -> None:
    """More than the limit without the aim, within it with it, and the target no colder."""
    case = make_slice(5)
    regions = {"PTV": case.target, "GTV": core(case), "Body": case.body}
    asked = term_of(goal(parse_metric("V105%(PTV-GTV)"), "<=", 0.3, "PTV", "optimal"), regions, VOXEL_CC, None)
    plain, served = (escalate(case.influence, case.goals(*terms)) for terms in ((), (asked,)))
    assert hot_cc(case, plain.fluence, 105.0, True) > 0.6
    assert hot_cc(case, served.fluence, 105.0, True) <= 0.3
    assert served.prescription_gy == pytest.approx(plain.prescription_gy, rel=1e-4)


def test_a_hot_spot_in_gy_is_a_hard_limit_and_is_used() -> None:
    """The target asks for more than it can get while 0.6 cc outside the GTV may have 150 Gy; the GTV has more."""
    case = make_slice(0)
    regions = {"PTV": case.target, "GTV": core(case), "Body": case.body}
    asked = term_of(goal(parse_metric("V150Gy(PTV-GTV)"), "<=", 0.6, "PTV"), regions, VOXEL_CC, None)
    _, last = raised(case, case.goals(asked, target_gy=OUT_OF_REACH_GY))
    assert 0.9 * 0.6 <= hot_cc(case, last.fluence, 150.0, False) <= 0.6
    assert (case.matrix @ last.fluence)[core(case).positions].max() > 150.0


def test_a_hot_spot_needs_a_gtv() -> None:
    case = make_slice(0)
    asked = goal(parse_metric("V150Gy(PTV-GTV)"), "<=", 0.4, "PTV")
    with pytest.raises(ProtocolError, match="it needs a GTV, and this plan has none"):
        term_of(asked, {"PTV": case.target, "Body": case.body}, VOXEL_CC, None)


def test_a_cold_tail_is_raised_to_its_limit() -> None:
    """Below it without the aim, above it with it."""
    case, tail = make_slice(1), parse_metric("MOC5%")
    asked = term_of(goal(tail, ">=", 199.6, "target", "optimal"), {"target": case.target}, VOXEL_CC, None)
    cold = []
    for limits in ((), (asked,)):
        dose = case.matrix @ escalate(case.influence, case.goals(*limits)).fluence
        cold.append(measure(tail, dose[case.target.positions], case.target.cc))
    assert cold[0] < 199.5
    assert cold[1] >= 199.6


@pytest.mark.parametrize(
    ("text", "comparator", "level", "says"),
    [
        ("CI_Paddick", ">=", "mandatory", "use CI_RTOG"),
        ("CI_Paddick", ">=", "optimal", "use CI_RTOG"),
        ("R50", "<=", "mandatory", "state it as optimal"),
        ("D2cm%", "<=", "mandatory", "Dmax of a ring"),
        ("HI", "<=", "optimal", "hot spot"),
        ("V120%(PTV-GTV)", "<=", "mandatory", "V70Gy(PTV-GTV) can be mandatory"),
        ("Dmin", ">=", "optimal", "MOC2%"),
        ("gEUD(a=-8)", "<=", "mandatory", "not convex"),
        ("MOC5%", ">=", "mandatory", "prescription"),
        ("EQD2_3(MOC5%)", ">=", "optimal", "judged but not optimised"),
    ],
)
def test_what_is_not_convex_is_refused_with_what_to_use_instead(text, comparator, level, says) -> None:
    case = make_slice(0)
    asked = goal(parse_metric(text), comparator, 1.0, "PTV", level)
    regions = {"Body": case.body, "PTV": case.target, "GTV": case.target}
    with pytest.raises(ProtocolError, match="can be judged but not optimised") as refusal:
        term_of(asked, regions, VOXEL_CC, case.centres_mm)
    assert says in str(refusal.value)


def test_an_index_of_the_plan_is_stated_of_the_ptv() -> None:
    with pytest.raises(ValueError, match="stated of the PTV, got 'Liver'"):
        goal(parse_metric("R50"), "<=", 4.0, "Liver", "optimal")

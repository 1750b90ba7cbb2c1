"""Every metric that can be a limit: the plan keeps it, and uses nine tenths of it where the target asks for more."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from optimize.goals import Region
from optimize.metrics import measure
from optimize.terms import term_of
from protocols import Goal
from protocols.metrics import parse_metric

from .slice_case import Slice, make_slice, raised

LIMITS = [
    ("D20%", 14.0), ("D0.5cc", 14.0), ("V10Gy", 1.5), ("V10Gy%", 30.0), ("CV{}cc<10Gy", 0.0), ("Dmean", 6.0),
    ("Dmax", 16.0), ("gEUD(a=4)", 9.0), ("MOH20%", 12.0), ("EQD2_3(D0.5cc)", 30.0), ("BED_3(V20Gy)", 1.5),
    ("EQD2_3(Dmean)", 8.0), ("BED_3(gEUD(a=2))", 15.0), ("EQD2_3(MOH30%)", 20.0),
]  # fmt: skip


def goal(case: Slice, metric: str, limit: float) -> Goal:
    """A mandatory upper limit of the organ; of a critical volume two thirds of it."""
    text = metric.format(round(float(case.organ.cc.sum()) * 2 / 3, 2))
    row = {"id": "it", "structure": "organ", "metric": text, "level": "mandatory", "level_by": "source"}
    if not text.startswith("CV"):
        row |= {"comparator": "<=", "limit": limit, "unit": parse_metric(text).value_unit}
    return Goal.model_validate(row | {"source": "a test", "status": "VERIFIED"}).in_fractions(3)


@pytest.mark.parametrize(("metric", "limit"), LIMITS, ids=[metric for metric, _ in LIMITS])
@settings(max_examples=2, deadline=None, derandomize=True)
@given(seed=st.integers(0, 10_000))
def test_a_limit_holds_and_is_used(metric: str, limit: float, seed: int) -> None:
    case = make_slice(seed)
    asked = goal(case, metric, limit)
    term = term_of(asked, {"organ": case.organ}, 0.25, None)
    _, last = raised(case, case.goals(term))
    dose = case.matrix @ last.fluence
    value = measure(asked.metric, dose[case.organ.positions], case.organ.cc)
    assert last.scalars["D95"] < 59.0
    if metric.startswith("CV"):
        total = float(case.organ.cc.sum())
        assert value >= asked.limit - 1e-6
        assert total - value >= 0.9 * (total - asked.limit) - 0.25
        return
    # Volumes come in voxels of up to 0.25 cc: as much of the limit as they allow.
    grain = {"Gy": 0.0, "cc": 0.25, "%": 25.0 / float(case.organ.cc.sum())}[asked.unit]
    assert 0.9 * asked.limit - grain <= value <= asked.limit

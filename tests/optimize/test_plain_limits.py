"""Limits that are stated without a protocol: what is no limit is refused by its id before anything is solved."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

from dosecalc.errors import InputError
from optimize import Region
from optimize.plan_limits import ConvexLimit, DoseVolumeLimit, MeanLimit
from protocols.metrics import parse_metric

from .terms_case import Slice, make_slice

NOTHING = Region("nothing", np.zeros(0, np.int64), np.zeros(0))


@pytest.fixture(scope="module")
def case() -> Slice:
    return make_slice(0)


@pytest.mark.parametrize("dose_gy", [np.nan, -5.0, -np.inf])
def test_a_limit_is_a_dose(case: Slice, dose_gy: float) -> None:
    makers: tuple[Callable[[], object], ...] = (
        lambda: DoseVolumeLimit("it", True, case.organ, dose_gy, 0.0),
        lambda: MeanLimit("it", True, case.organ, dose_gy),
        lambda: ConvexLimit("it", True, case.organ, parse_metric("gEUD(a=4)"), dose_gy),
    )
    for make in makers:
        with pytest.raises(InputError, match="'it' on organ must be a dose >= 0 Gy"):
            make()


def test_a_limit_spares_a_volume(case: Slice) -> None:
    for spare_cc in (np.nan, -1.0):
        with pytest.raises(InputError, match="'it' on organ: a volume >= 0 cc may exceed it"):
            DoseVolumeLimit("it", True, case.organ, 10.0, spare_cc)


@pytest.mark.parametrize(
    ("metric", "sense", "needed"),
    [("gEUD(a=0.5)", 1, "convex"), ("MOC5%", 1, "convex"), ("Dmin", 1, "convex"), ("gEUD(a=4)", -1, "concave")],
)
def test_tangents_hold_upper_limits_of_convex_and_lower_ones_of_concave_metrics(
    case: Slice, metric: str, sense: int, needed: str
) -> None:
    """A tangent of the wrong side would cut off what is allowed, or allow what is not, in silence."""
    with pytest.raises(InputError, match=f"is not {needed} in the dose"):
        ConvexLimit("it", True, case.organ, parse_metric(metric), 10.0, sense)


def test_limits_of_a_plan_are_told_apart_and_reachable(case: Slice) -> None:
    first = DoseVolumeLimit("it", True, case.organ, 50.0, 0.0)
    with pytest.raises(InputError, match="several limits have the id it"):
        case.goals(first, MeanLimit("it", True, case.organ, 20.0))
    with pytest.raises(InputError, match=r"mandatory limits low \(0.01 Gy\) lie within the 0.02 Gy"):
        case.goals(first, MeanLimit("low", True, case.organ, 0.01))
    with pytest.raises(InputError, match="region 'nothing' has no volume"):
        case.goals(DoseVolumeLimit("it", True, NOTHING, 50.0, 0.0))
    with pytest.raises(InputError, match="floor from 0 to the target dose"):
        case.goals(first, floor_gy=300.0)

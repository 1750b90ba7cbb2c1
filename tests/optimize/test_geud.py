"""Slopes of the problem against the metrics that judge: finite differences, and the law that makes them cuts."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from optimize.geud import geud
from optimize.metrics import measure
from optimize.slopes import geud_slope, tail_shares
from protocols.metrics import parse_metric

doses = arrays(np.float64, 12, elements=st.floats(0.1, 80.0))
volumes = arrays(np.float64, 12, elements=st.floats(0.01, 1.0))


@given(doses, doses, volumes, st.sampled_from([-8.0, -1.0, 0.5, 1.0, 1.03, 4.0, 12.0]))
def test_the_tangent_lies_on_the_convex_side_everywhere(at: np.ndarray, other: np.ndarray, cc: np.ndarray, a: float):
    value, slope = geud_slope(at, cc, a)
    assert slope @ at == pytest.approx(value, rel=1e-9)
    apart = slope @ other - geud(other, cc, a)
    assert apart <= 1e-9 * value if a >= 1 else apart >= -1e-9 * value


@given(doses, volumes, st.sampled_from([-4.0, 0.5, 2.0, 8.0]))
def test_the_slope_is_the_derivative(dose: np.ndarray, cc: np.ndarray, a: float):
    _, slope = geud_slope(dose, cc, a)
    step = 1e-4 * dose[3]
    high, low = dose.copy(), dose.copy()
    high[3], low[3] = dose[3] + step, dose[3] - step
    measured = (geud(high, cc, a) - geud(low, cc, a)) / (2 * step)
    assert slope[3] == pytest.approx(measured, rel=1e-4, abs=1e-9)


def test_no_dose_has_the_slope_of_the_mean():
    value, slope = geud_slope(np.zeros(4), np.ones(4), 6.0)
    assert value == 0.0
    assert slope == pytest.approx(np.full(4, 0.25))


@given(doses, doses, volumes, st.sampled_from([3.0, 25.0, 80.0]), st.booleans())
def test_tail_shares_are_those_of_the_judged_mean(
    at: np.ndarray, other: np.ndarray, cc: np.ndarray, percent: float, coldest: bool
) -> None:
    """Their mean is the measured one, and lies on its safe side for every other dose."""
    metric = parse_metric(f"MO{'C' if coldest else 'H'}{percent:g}%")
    shares = tail_shares(at, cc, percent, coldest=coldest)
    assert shares @ at == pytest.approx(measure(metric, at, cc), rel=1e-9)
    apart = shares @ other - measure(metric, other, cc)
    assert apart >= -1e-9 if coldest else apart <= 1e-9

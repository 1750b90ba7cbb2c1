"""The compiled error function against SciPy's."""

from __future__ import annotations

import math

import numpy as np
import pytest
from scipy import special

from dosecalc.kernels.error_function import END, PER_UNIT, erf


def test_every_argument_to_rounding() -> None:
    nodes = np.arange(-END * PER_UNIT, END * PER_UNIT + 1) / PER_UNIT
    halfway = nodes + 0.5 / PER_UNIT
    anywhere = np.random.default_rng(0).uniform(-7.0, 7.0, 20_000)
    arguments = np.concatenate([nodes, halfway, np.nextafter(halfway, -9.0), anywhere])
    assert np.abs([erf(x) - special.erf(x) for x in arguments]).max() < 5e-16


@pytest.mark.parametrize(("x", "value"), [(0.0, 0.0), (math.inf, 1.0), (-math.inf, -1.0), (1e300, 1.0)])
def test_ends(x: float, value: float) -> None:
    assert erf(x) == value


def test_nan_stays_nan() -> None:
    assert math.isnan(erf(math.nan))

"""The compiled error function against SciPy's."""

from __future__ import annotations

import math

import numpy as np
import pytest
from numba import njit
from scipy import special

from dosecalc.kernels.error_function import CENTRE, END, erf
from dosecalc.kernels.numba_lanes import LANES, load, store


@njit(cache=True)
def _of_all(x: np.ndarray, result: np.ndarray) -> None:
    for i in range(np.uint64(0), np.uint64(len(x)), np.uint64(LANES)):
        store(result, i, erf(load(x, i)))


def compiled(x: np.ndarray) -> np.ndarray:
    whole = np.append(x, np.zeros(-len(x) % LANES))
    result = np.empty_like(whole)
    _of_all(whole, result)
    return result[: len(x)]


def test_every_argument_to_rounding() -> None:
    even = np.linspace(-END - 0.5, END + 0.5, 400_001)
    near = np.concatenate([np.geomspace(1e-300, END, 10_000), np.nextafter([END, CENTRE], 0), [END, CENTRE]])
    x = np.concatenate([even, near, -near])
    assert np.abs(compiled(x) - special.erf(x)).max() < 2e-15


def test_it_is_odd_and_never_beyond_one() -> None:
    x = np.random.default_rng(0).uniform(0.0, 7.0, 20_000)
    assert np.array_equal(compiled(-x), -compiled(x))
    assert compiled(x).max() == 1.0


@pytest.mark.parametrize(("x", "value"), [(math.inf, 1.0), (-math.inf, -1.0), (1e300, 1.0), (END, 1.0)])
def test_ends(x: float, value: float) -> None:
    assert compiled(np.array([x]))[0] == value


def test_nan_stays_nan_in_its_lane() -> None:
    found = compiled(np.array([0.5, math.nan, math.inf, 0.5]))
    assert list(np.isnan(found)) == [False, True, False, False]

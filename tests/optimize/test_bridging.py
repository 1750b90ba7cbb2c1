"""The isodose that joins two lesions, on doses whose saddle is known."""

from __future__ import annotations

import numpy as np
import pytest

from dosecalc.grid import Grid, Volume
from optimize.bridging import bridging_dose_gy, bridging_lines

GRID = Grid((-40.0, -12.0, -12.0), (2.0, 2.0, 2.0), (13, 13, 41))
X, Y, Z = (GRID.centres_mm()[:, a] for a in range(3))


def at(x_mm: float) -> np.ndarray:
    return np.flatnonzero(np.hypot(np.hypot(X - x_mm, Y), Z) < 5.0)


def two_hills(sigma_mm: float) -> Volume:
    dose = sum(50.0 * np.exp(-((X - c) ** 2 + Y**2 + Z**2) / (2 * sigma_mm**2)) for c in (-20.0, 20.0))
    return Volume(GRID, dose.reshape(GRID.shape))


@pytest.mark.parametrize("sigma_mm", [8.0, 12.0, 16.0])
def test_the_saddle_between_two_hills(sigma_mm: float) -> None:
    saddle = 2 * 50.0 * np.exp(-(20.0**2) / (2 * sigma_mm**2))  # on the line between the centres, half way
    assert bridging_dose_gy(two_hills(sigma_mm), at(-20.0), at(20.0)) == pytest.approx(saddle, rel=1e-4)


def test_a_gap_is_not_crossed_and_a_detour_counts() -> None:
    dose = np.full(GRID.shape, 10.0)
    dose[:, :, 20] = 0.0  # a wall at x = 0 ...
    assert bridging_dose_gy(Volume(GRID, dose), at(-20.0), at(20.0)) == pytest.approx(0.0, abs=1e-4)
    dose[0, 0, 20] = 4.0  # ... with one hole in a corner
    assert bridging_dose_gy(Volume(GRID, dose), at(-20.0), at(20.0)) == pytest.approx(4.0, abs=1e-4)


def test_every_pair_is_named() -> None:
    lines = bridging_lines(two_hills(12.0), {"one": at(-20.0), "two": at(20.0), "mid": at(0.0)}, 50.0)
    assert [line.split(":")[0] for line in lines] == ["one and two", "one and mid", "two and mid"]
    assert "24.9 Gy (50% of the reached dose)" in lines[0]

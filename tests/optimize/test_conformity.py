"""Indices of conformity on doses whose isodose volumes are balls."""

from __future__ import annotations

import numpy as np
import pytest

from dosecalc.grid import Grid, Volume
from dosecalc.structures import Voxels
from optimize.conformity import conformity, hot_outside_gtv_cc
from optimize.regions import Region

GRID = Grid((-44.5, -44.5, -44.5), (1.0, 1.0, 1.0), (90, 90, 90))
distance_mm = np.linalg.norm(GRID.centres_mm(), axis=1)
BODY = Voxels(GRID, np.arange(GRID.size), np.full(GRID.size, GRID.voxel_cc))


def ball(radius_mm: float) -> Voxels:
    inside = np.flatnonzero(distance_mm < radius_mm)
    return Voxels(GRID, inside, np.full(inside.size, GRID.voxel_cc))


def found(ptv_mm: float, isodose_mm: float, half_mm: float) -> dict[str, float | None]:
    """Indices of a ball in a dose that falls in steps at two radii, and along the radius beyond."""
    dose = np.where(distance_mm < isodose_mm, 50.0, np.where(distance_mm < half_mm, 25.0, 20.0 - 0.2 * distance_mm))
    rows = conformity(Volume(GRID, dose.reshape(GRID.shape)), BODY, ball(ptv_mm), 50.0)
    return {row.name: row.value for row in rows}


def test_isodose_larger_than_the_target() -> None:
    values = found(14.0, 17.0, 24.0)
    assert values["Paddick conformity"] == pytest.approx((14 / 17) ** 3, rel=0.03)
    assert values["RTOG conformity"] == pytest.approx((17 / 14) ** 3, rel=0.03)
    assert values["R50%"] == pytest.approx((24 / 14) ** 3, rel=0.03)
    assert values["Gradient index"] == pytest.approx((24 / 17) ** 3, rel=0.03)
    # Ball of 14 mm and 20 mm beyond: the dose falls by 0.2 Gy per mm there.
    assert values["D2cm"] == pytest.approx(100 * (20 - 0.2 * 34) / 50, abs=1.0)
    assert values["Homogeneity"] == 0.0


def test_isodose_smaller_than_the_target() -> None:
    values = found(17.0, 14.0, 24.0)
    assert values["Paddick conformity"] == pytest.approx((14 / 17) ** 3, rel=0.03)
    assert values["RTOG conformity"] == pytest.approx((14 / 17) ** 3, rel=0.03)
    # Half of the reached dose at 24 mm: cold target voxels carry 25 Gy, half of 50.
    assert values["Homogeneity"] == pytest.approx((50 - 25) / 50)


def test_a_hot_spot_counts_outside_the_gtv_alone() -> None:
    """The dose falls by 1 Gy per mm from 70 Gy: 60 Gy at 10 mm, where the GTV ends at 6 mm and the PTV at 14 mm."""

    def region(radius_mm: float) -> Region:
        at = ball(radius_mm)
        return Region("it", at.indices, 70.0 - distance_mm[at.indices], at.cc, "")

    ptv, gtv = region(14.0), region(6.0)
    shell_cc = 4 / 3 * np.pi * (1.0**3 - 0.6**3)
    assert hot_outside_gtv_cc(ptv, gtv, GRID, 60.0) == pytest.approx(shell_cc, rel=0.02)
    assert hot_outside_gtv_cc(ptv, gtv, GRID, 64.0) == 0.0
    assert hot_outside_gtv_cc(ptv, ptv, GRID, 0.0) == 0.0


def test_no_dose_no_index() -> None:
    dose = Volume(GRID, np.zeros(GRID.shape))
    assert conformity(dose, BODY, ball(10.0), 0.0) == ()


def test_homogeneity_of_a_linear_gradient() -> None:
    """A cube of 40 mm in a dose from 40 to 60 Gy along z: D2% = 59.6, D50% = 50, D98% = 40.4 Gy."""
    place = GRID.centres_mm()
    cube = np.flatnonzero((np.abs(place) < 20.0).all(axis=1))
    dose = np.clip(50.0 + 0.5 * place[:, 2], 0.0, None).reshape(GRID.shape)
    ptv = Voxels(GRID, cube, np.full(cube.size, GRID.voxel_cc))
    values = {row.name: row.value for row in conformity(Volume(GRID, dose), BODY, ptv, 50.0)}
    # One layer of voxels is 2.5 % of the cube and 0.5 Gy: D2% lies in the hottest layer, D98% in the coldest.
    assert values["Homogeneity"] == pytest.approx((59.6 - 40.4) / 50.0, abs=0.5 / 50.0)
    assert values["RTOG conformity"] == pytest.approx(90 * 90 * 45 / 40**3, rel=1e-9)
    assert values["Paddick conformity"] == pytest.approx(20**2 * 40**4 / (40**3 * 90 * 90 * 45), rel=1e-9)
    assert values["R50%"] == pytest.approx(90 * 90 * 90 / 40**3, rel=1e-9)
    # The hottest voxel 2 cm or more away: at 44.5 mm, 25 mm beyond the last layer.
    assert values["D2cm"] == pytest.approx(100 * (50 + 0.5 * 44.5) / 50.0, rel=1e-9)

"""What is plausible as a CT and as a dose: real kinds of scans pass, and bands are where they are said to be."""

from __future__ import annotations

import numpy as np
import pytest

from dosecalc.errors import InputError
from dosecalc.grid import Grid, Volume
from dosecalc.plausibility import check_ct, dose_doubts, findings

GRID = Grid((0.0, 0.0, 0.0), (5.0, 5.0, 5.0), (4, 40, 40))


def half_air(tissue_hu: float) -> Volume:
    """Air, and a block of tissue with noise of 10 HU."""
    values = np.full(GRID.shape, -1000.0)
    block = values[:, 8:32, 8:32]
    block[:] = tissue_hu + 10 * np.random.default_rng(0).standard_normal(block.shape)
    return Volume(GRID, values)


@pytest.mark.parametrize(("tissue_hu", "told"), [(-100.0, 0), (0.0, 0), (60.0, 0), (140.0, 0), (200.0, 1), (-150.0, 1)])
def test_fat_and_organs_pass_and_the_unusual_is_told(tissue_hu: float, told: int) -> None:
    assert len(check_ct(half_air(tissue_hu))) == told


@pytest.mark.parametrize("tissue_hu", [-250.0, 400.0, 1024.0])
def test_what_no_tissue_has_is_refused_unless_accepted(tissue_hu: float) -> None:
    with pytest.raises(InputError, match="--accept-ct"):
        check_ct(half_air(tissue_hu))
    (told,) = check_ct(half_air(tissue_hu), accepted=True)
    assert "accepted by the user" in told


@pytest.mark.parametrize(("spacing_mm", "refused"), [(0.19, True), (0.21, False), (19.9, False), (20.1, True)])
def test_the_distance_of_slices(spacing_mm: float, refused: bool) -> None:
    ct = half_air(0.0)
    scan = Volume(Grid((0.0, 0.0, 0.0), (5.0, 5.0, spacing_mm), GRID.shape), ct.values)
    assert bool(findings(scan).faults) == refused


def test_doses_of_no_course_and_coarse_grids_are_told() -> None:
    def doubts(highest_gy: float, spacing_mm: float) -> str:
        grid = Grid((0.0, 0.0, 0.0), (2.0, 2.0, spacing_mm), (3, 3, 3))
        return " ".join(dose_doubts(Volume(grid, np.full(grid.shape, highest_gy))))

    assert doubts(60.0, 3.0) == ""
    assert "6000 Gy" in doubts(6000.0, 2.0)
    assert "0.005 Gy" in doubts(0.005, 2.0)
    assert "2 x 2 x 5 mm" in doubts(60.0, 5.0)

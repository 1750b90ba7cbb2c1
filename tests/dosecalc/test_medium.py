"""The medium that rays cross: outside the Body, stated densities, and what HU say about them."""

from __future__ import annotations

import math
import re

import numpy as np
import pytest

from dosecalc.beams import Beam
from dosecalc.density import HuCalibration
from dosecalc.errors import InputError
from dosecalc.grid import Grid, Volume
from dosecalc.hu_notices import contrast_notice, hu_notices
from dosecalc.medium import DensityOverride, medium, near_body, outside_warnings
from dosecalc.raytrace import radiological_depth
from dosecalc.structures import Occupancy, Structure

GRID = Grid((-99.0, -79.0, -20.0), (2.0, 2.0, 4.0), (11, 80, 100))
X, Y, Z = (GRID.centres_mm()[:, a].reshape(GRID.shape) for a in range(3))
TRUNK = (np.abs(X) < 70) & (np.abs(Y) < 50)
COUCH = (Y > 54) & (Y < 64)
"""10 mm thick, 4 mm below the trunk."""
TABLE = HuCalibration(np.array([-1000.0, 0.0, 3000.0]), np.array([0.0, 1.0, 2.5]), "a test")
POINT = np.array([[1.0, 1.0, 0.0]])
BELOW, ABOVE = Beam(180.0), Beam(0.0)


def structure(name: str, mask: np.ndarray, role: str = "ORGAN") -> Structure:
    return Structure(name, role, Occupancy(GRID, mask.astype(np.float32)))


BODY = structure("Body", TRUNK, "EXTERNAL")


def ct(*parts: tuple[np.ndarray, float]) -> Volume:
    values = np.where(TRUNK, 0.0, -1000.0)
    for mask, hu in parts:
        values[mask] = hu
    return Volume(GRID, values.astype(np.float32))


def depth(density: Volume, beam: Beam) -> float:
    return float(radiological_depth(density, beam.source_mm(1000.0), POINT)[0])


@pytest.mark.parametrize(("outside", "couch_mm"), [("nothing", 0.0), ("as_scanned", 5.0)])
def test_a_couch_counts_only_by_choice_and_is_told_either_way(outside: str, couch_mm: float) -> None:
    """10 mm of density 0.5 behind the patient: 5 mm of water to the beam from below, none to the one from above."""
    scan = ct((COUCH, -500.0))
    made = medium(scan, TABLE, BODY, outside_body=outside)
    # the trunk ends at 50 mm
    assert depth(made.density, BELOW) == pytest.approx(49.0 + couch_mm, abs=0.02)
    assert depth(made.density, ABOVE) == pytest.approx(51.0, abs=0.02)
    (line,) = outside_warnings(made, scan, TABLE, BODY, (BELOW, ABOVE), POINT, sad_mm=1000.0, tpr20_10=0.667)
    assert line.startswith("beam 180 degrees: 100% of its rays")
    assert "5 mm of water on average, 2 % of their dose" in line
    assert ("counts as scanned" in line) == (outside == "as_scanned")


def test_thin_clothing_and_air_are_not_worth_a_word() -> None:
    scan = ct((~TRUNK, -985.0), ((Y < -52) & (Y > -56) & (np.abs(X) < 70), -700.0))
    made = medium(scan, TABLE, BODY)
    assert depth(made.density, ABOVE) == pytest.approx(51.0 + 0.03, abs=0.02)  # the voxel that touches the skin
    assert outside_warnings(made, scan, TABLE, BODY, (ABOVE,), POINT, sad_mm=1000.0, tpr20_10=0.667) == []


def test_skin_that_fills_a_voxel_in_part_keeps_its_density() -> None:
    """An outline drawn a voxel too small loses nothing of the skin."""
    tight = structure("Body", (np.abs(X) < 70) & (np.abs(Y) < 48), "EXTERNAL")
    assert near_body(tight, ct()).sum() > tight.on(GRID).indices.size
    assert depth(medium(ct(), TABLE, tight).density, ABOVE) == pytest.approx(51.0, abs=0.01)


def test_metal_of_the_couch_does_not_refuse_a_plan_but_metal_in_the_body_does() -> None:
    assert depth(medium(ct((COUCH, 9000.0)), TABLE, BODY).density, BELOW) == pytest.approx(49.0, abs=0.01)
    with pytest.raises(InputError, match="lie above 3000 HU"):
        medium(ct((COUCH, 9000.0)), TABLE, BODY, outside_body="as_scanned")
    clip = (np.abs(X - 41) < 2) & (np.abs(Y) < 2)
    with pytest.raises(InputError, match="lie above 3000 HU"):
        medium(ct((clip, 9000.0)), TABLE, BODY)
    stated = [(structure("Clip", clip), DensityOverride("Clip", 3.8))]
    assert medium(ct((clip, 9000.0)), TABLE, BODY, stated).density.values.max() == np.float32(3.8)


def test_a_stated_density_replaces_the_scanned_one_and_says_what_it_replaced() -> None:
    """20 mm of contrast of density 1.1 become water: the depth behind them falls by 2 mm."""
    bowel = (Y < -20) & (Y > -40) & TRUNK
    scan = ct((bowel, 200.0))
    before = medium(scan, TABLE, BODY)
    after = medium(scan, TABLE, BODY, [(structure("Bowel", bowel), DensityOverride("Bowel", 1.0))])
    assert depth(before.density, ABOVE) - depth(after.density, ABOVE) == pytest.approx(2.0, abs=0.01)
    (applied,) = after.applied
    assert applied.cc == pytest.approx(bowel.sum() * GRID.voxel_cc)
    assert (applied.mean_hu, applied.low_hu, applied.high_hu) == (200.0, 200.0, 200.0)
    assert str(applied) == (
        f"density of Bowel set to 1 relative to water in {applied.cc:.1f} cc, where the CT has 200 HU on average "
        "(200 to 200)"
    )


def test_overrides_that_cannot_be_meant_are_refused() -> None:
    for density in (-0.1, 6.7, math.nan):
        with pytest.raises(InputError, match=r"expected 0 to 4\.5"):
            DensityOverride("Steel", density)
    left, right = structure("A", TRUNK & (X < 10)), structure("B", TRUNK & (X > -10))
    stated = [(left, DensityOverride("A", 1.0)), (right, DensityOverride("B", 0.3))]
    with pytest.raises(InputError, match=r"structure 'B': .* cc have another density"):
        medium(ct(), TABLE, BODY, stated)
    medium(ct(), TABLE, BODY, [stated[0], (right, DensityOverride("B", 1.0))])
    nowhere = structure("Thin", 0.4 * TRUNK)
    with pytest.raises(InputError, match="no voxel of the CT lies at least half in it"):
        medium(ct(), TABLE, BODY, [(nowhere, DensityOverride("Thin", 1.0))])


def test_metal_and_a_saturated_range_are_named() -> None:
    clip = (np.abs(X - 41) < 3) & (np.abs(Y) < 4)
    scan = ct((clip, 3071.0))
    metal, saturated = hu_notices(scan, TRUNK)
    assert f"{clip.sum() * GRID.voxel_cc:.2f} cc of the Body lie above 3000 HU (highest 3071)" in metal
    assert f"{clip.sum()} voxels share the highest value, 3071 HU" in saturated
    assert hu_notices(scan, TRUNK & ~clip) == []  # under a stated density
    bone = np.where(clip, 1000.0 + 10 * np.arange(GRID.size).reshape(GRID.shape) % 900, 0.0)
    assert hu_notices(ct((clip, bone[clip])), TRUNK) == []


def test_padding_in_the_body_and_a_circle_that_cuts_it_are_named() -> None:
    circle = np.hypot(X, Y) > 60
    body = TRUNK & (np.abs(X) < 60)
    inside, border = hu_notices(ct((circle, -2000.0)), body)
    assert f"{(circle & body).sum() * GRID.voxel_cc:.1f} cc of the Body are padding" in inside
    assert "the circle that the scanner sees cuts the body" in border
    assert hu_notices(ct((np.hypot(X, Y) > 95, -2000.0)), TRUNK) == []


def test_contrast_in_the_liver_is_told_with_the_size_of_its_effect() -> None:
    liver = structure("Liver", TRUNK & (X < 0)).on(GRID)
    (line,) = contrast_notice(ct((TRUNK, 150.0)), liver, TRUNK, TABLE, 0.667)
    # (150 - 55) HU are 0.0475 of density here: 4.75 mm of water in 100 mm, 1.9 % of the dose
    effect = 100 * (1 - math.exp(-4.75 * math.log(1 / 0.667) / 100))
    assert float(re.search(r"([\d.]+) % too low", line)[1]) == pytest.approx(effect, abs=0.06)
    assert contrast_notice(ct((TRUNK, 60.0)), liver, TRUNK, TABLE, 0.667) == []
    assert contrast_notice(ct((TRUNK, 150.0)), liver, TRUNK & (X > 0), TABLE, 0.667) == []

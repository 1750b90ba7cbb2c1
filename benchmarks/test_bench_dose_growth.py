"""How dose + adjoint grow with voxels, beamlets and beams: a grid of cases on the geometry of `benchmarks.cases`.

Measure with (points and fitted exponents come last)::

    pytest benchmarks/test_bench_dose_growth.py --benchmark-enable --full-size
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from typing import Any

import pytest

from benchmarks.cases import centred_grid, problem

pytestmark = pytest.mark.benchmark(timer=time.process_time)
WIDTHS_MM = (5.0, 2.5)
GRIDS_MM = (3.0, 2.5, 2.0)
MARGIN_MM = 5.0  # of `aim`
BEAMS = (1, 3, 5, 9, 15)
# Edge of the dose grid, a cube, and diameter of the target, mm: at full size 64 000, 110 592 and 216 000 voxels.
SIZES = {"tiny": (30.0, 10.0), "small": (60.0, 20.0), "full": (120.0, 40.0)}


@pytest.mark.parametrize("width_mm", WIDTHS_MM)
@pytest.mark.parametrize("spacing_mm", GRIDS_MM)
@pytest.mark.parametrize("beams", BEAMS)
def test_growth(measure: Callable[..., Any], size: str, width_mm: float, spacing_mm: float, beams: int) -> None:
    """One dose and one adjoint, as an iteration of an optimiser needs them."""
    edge_mm, diameter_mm = SIZES[size]
    edge = round(edge_mm / spacing_mm)
    case = problem(centred_grid((edge,) * 3, spacing_mm), beams=beams, diameter_mm=diameter_mm, beamlet_mm=width_mm)
    voxels, beamlets = case.operator.shape
    dose, back = measure(
        lambda: (case.operator.dose(case.fluence), case.operator.adjoint(case.weights)),
        operation="dose + adjoint",
        problem=case.text,
        rounds=3,
        more={
            "voxels": voxels,
            "beamlets_per_beam": beamlets / beams,
            "beams": beams,
            "beamlet_mm": width_mm,
            "spacing_mm": spacing_mm,
        },
    )
    assert voxels == round(edge_mm / spacing_mm) ** 3
    assert len(case.operator.beamlets.beams) == beams
    # Squares of a beam cover the disc of the target, and at most what lies within margin + width of it on either axis:
    # a disc and a square add up to pi r^2 + 8 r a + 4 a^2. Projections of near points are up to 3 % larger.
    radius_mm, reach_mm = 1.03 * diameter_mm / 2, MARGIN_MM + width_mm
    covered_mm2 = beamlets / beams * width_mm**2
    assert math.pi / 4 * diameter_mm**2 <= covered_mm2
    assert covered_mm2 <= math.pi * radius_mm**2 + 8 * radius_mm * reach_mm + 4 * reach_mm**2
    assert dose.shape == (voxels,)
    assert back.shape == (beamlets,)

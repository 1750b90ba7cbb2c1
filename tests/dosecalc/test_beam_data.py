"""A machine's figures in water, against published ones and against the dose operator."""

from __future__ import annotations

import numpy as np
import pytest

from dosecalc.beam_data import beam_data
from dosecalc.beams import Beam, open_field
from dosecalc.field_dose import field_dose
from dosecalc.grid import Grid, Volume
from dosecalc.influence import dose_influence
from dosecalc.machine import load_machine


def test_the_flattened_beam_is_that_of_the_textbook_and_of_published_output_factors(machine) -> None:
    """Depth doses 66-67 and 38-39 %; Followill et al, J Appl Clin Med Phys 13:3962 (2012), Table 2."""
    data = beam_data(machine)
    assert data.depth_dose_10cm_pct == pytest.approx(66.5, rel=0.01)
    assert data.depth_dose_20cm_pct == pytest.approx(38.5, rel=0.01)
    assert data.maximum_mm == pytest.approx(15.0, abs=2.0)
    published = {60.0: 0.930, 40.0: 0.878, 30.0: 0.842, 20.0: 0.790}
    found = {factor.side_mm: factor for factor in data.output_factors}
    for side, factor in published.items():
        assert found[side].total == pytest.approx(factor, rel=0.02)
        assert found[side].phantom > found[side].total
    assert (found[100.0].total, found[100.0].phantom) == (1.0, 1.0)


@pytest.mark.parametrize("name", ["generic_6fff", "generic_10fff"])
def test_beam_quality_is_the_stated_one(name: str) -> None:
    assert beam_data(load_machine(name)).tpr20_10 == pytest.approx(load_machine(name).tpr20_10, abs=0.005)


def test_the_closed_form_is_the_dose_operator(machine) -> None:
    """40 mm field at SSD 900 mm, 99 mm deep in a block that is wide enough for the axis."""
    grid = Grid((-29.0, -99.0, -29.0), (2.0, 2.0, 2.0), (30, 100, 30))
    water = Volume(grid, np.ones(grid.shape, np.float32))
    field = open_field(Beam(0.0), x_mm=(-20, 20), y_mm=(-20, 20), width_mm=5)
    axis = np.array([np.ravel_multi_index((z, 49, x), grid.shape) for z in (14, 15) for x in (14, 15)])
    influence = dose_influence(water, grid, field, machine, voxels=axis, backend="numpy", precision="reference")
    dose = influence.dose(np.ones(field.count)).mean()
    closed = field_dose(machine, field_mm=40.0, ssd_mm=900.0, depth_mm=99.0)
    assert dose == pytest.approx(closed, rel=2e-3)

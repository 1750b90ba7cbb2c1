"""Outside the range of validity a dose says so, with beam, value and range; beyond the kernel table there is none."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest

from dosecalc.beams import Beam, open_field
from dosecalc.errors import DoseError
from dosecalc.grid import Grid, Volume
from dosecalc.influence import dose_influence
from dosecalc.structures import Voxels
from dosecalc.validity import ValidityWarning, sentences, target_warnings

BEAM = Beam(90.0, 20.0)


def block(density=1.0, size_mm=200.0, inner=None) -> Volume:
    """A cube of 10 mm voxels, with a layer of another density in its middle."""
    count = round(size_mm / 10.0)
    grid = Grid((5.0 - size_mm / 2,) * 3, (10.0,) * 3, (count,) * 3)
    values = np.full(grid.shape, density, np.float32)
    if inner is not None:
        values[:, :, count // 2 - 4 : count // 2 + 4] = inner
    return Volume(grid, values)


def warned(machine, phantom, *, half_mm=(20.0, 20.0), width_mm=10.0, **kwargs) -> tuple[ValidityWarning, ...]:
    u, v = half_mm
    field = open_field(BEAM, x_mm=(-u, u), y_mm=(-v, v), width_mm=width_mm)
    return dose_influence(phantom, phantom.grid, field, machine, **kwargs).outside_validity


def test_inside_nothing_is_said(machine, caplog):
    assert warned(machine, block()) == ()
    assert warned(machine, block(inner=0.26)) == ()
    assert warned(machine, block(inner=1.78)) == ()
    assert caplog.text == ""


def test_a_narrow_and_a_wide_field(machine, caplog):
    (narrow,) = warned(machine, block(), half_mm=(1.5, 20.0), width_mm=1.0)
    assert (narrow.where, narrow.value, narrow.low) == ("beam 90 degrees, couch 20", pytest.approx(3.0), 5.0)
    assert str(narrow) in caplog.text
    (wide,) = warned(machine, block(), half_mm=(160.0, 20.0))
    assert (wide.value, wide.high) == (pytest.approx(320.0), 300.0)
    with pytest.raises(DoseError, match=r"beam 90 degrees, couch 20: the opening is 1 mm wide"):
        warned(machine, block(), half_mm=(0.5, 20.0), width_mm=1.0)


def test_a_depth_beyond_the_range_and_beyond_the_table(machine):
    shallow = dataclasses.replace(machine, depth_mm=(0.0, 150.0))
    (deep,) = warned(shallow, block())
    assert 190 < deep.value < 230
    assert (deep.high, deep.where) == (150.0, "beam 90 degrees, couch 20")
    with pytest.raises(DoseError, match=r"couch 20: a radiological depth .* ends at 600 mm"):
        warned(machine, block(inner=8.0))


def test_a_density_above_the_calibration_and_above_the_table(machine):
    (dense,) = warned(machine, block(inner=3.4))
    assert dense.value == pytest.approx(3.4, abs=0.01)
    assert (dense.low, dense.high) == machine.density
    with pytest.raises(DoseError, match="lateral scale"):
        warned(machine, block(size_mm=120.0, inner=5.5))
    assert warned(machine, block(inner=3.4), heterogeneity="depth_scaling") == ()


def test_a_medium_thinner_than_lung_is_held_and_named(machine):
    """Density 0.12 is computed with the kernel of the table's end, which is not silent."""
    (thin,) = warned(machine, block(0.12))
    assert thin.value == pytest.approx(0.12, abs=1e-6)
    assert thin.low == machine.density[0]
    assert "in 100 % of the voxels" in str(thin)


def test_a_single_dense_voxel_is_no_implant(machine):
    """A calcification shadows too few voxels to be named; the same density as a layer is."""
    speck = np.array(block().values)
    speck[10, 10, 10] = 2.6
    assert warned(machine, Volume(block().grid, speck)) == ()
    assert len(warned(machine, block(inner=2.6))) == 1


def test_what_several_beams_share_is_said_once(machine):
    opening = {"x_mm": (-20.0, 20.0), "y_mm": (-20.0, 20.0), "width_mm": 10.0}
    first, second, third = (open_field(Beam(angle), **opening) for angle in (90.0, 180.0, 270.0))
    field = first + second + third
    phantom = block(0.12)
    told = dose_influence(phantom, phantom.grid, field, machine).outside_validity
    assert len(told) == 3
    (sentence,) = sentences(told)
    assert sentence.startswith("3 beams (90 degrees, 180 degrees, 270 degrees): an upstream density of 0.12 ")


def test_lung_in_the_target():
    density = block(inner=0.26)

    def target(columns: slice) -> Voxels:
        chosen = np.zeros(density.grid.shape, bool)
        chosen[8:12, 8:12, columns] = True
        flat = np.flatnonzero(chosen)
        return Voxels(density.grid, flat, np.full(flat.size, density.grid.voxel_cc))

    assert list(target_warnings("PTV", target(slice(1, 6)), density)) == []
    (dome,) = target_warnings("PTV", target(slice(2, 7)), density)
    assert dome.value == pytest.approx(20.0)
    assert "PTV: lung, as a share of the volume, 20 %" in str(dome)
    with pytest.raises(DoseError, match=r"PTV: 80% of the target is lung"):
        list(target_warnings("PTV", target(slice(5, 10)), density))

"""The stated uncertainty: that it covers what was measured, and where it holds in a slab of lung."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pytest

from dosecalc.beams import Beam, open_field
from dosecalc.grid import Grid, Volume
from dosecalc.influence import dose_influence
from dosecalc.structures import Occupancy, Structure
from dosecalc.uncertainty import BUILD_UP, LUNG, TAIL, TAIL_EXTRA_FOCAL, WATER, doubtful_voxels, stated

TABLE = Path(__file__).resolve().parents[2] / "docs" / "accuracy.md"
GRID = Grid((-49.0, -69.0, -40.0), (2.0, 2.0, 4.0), (21, 70, 50))
X, Y, Z = (GRID.centres_mm()[:, a].reshape(GRID.shape) for a in range(3))
LUNG_SLAB = (Y > -20) & (Y < 20)
"""The block begins at y = -70, so 50 mm of tissue lie in front of the lung for the beam from above."""


def largest(case: str, quantity: str) -> float:
    """Largest size of a difference among rows of docs/accuracy.md, in percent."""
    found = []
    for line in TABLE.read_text(encoding="utf-8").splitlines():
        cells = [cell.strip() for cell in line.split("|")]
        if len(cells) > 6 and re.search(case, cells[1]) and re.search(quantity, cells[2]):
            found.append(abs(float(cells[5].split(" %")[0])))
    assert found
    return max(found)


def test_the_figures_cover_the_accuracy_table() -> None:
    lung, behind = LUNG["density_scaling"]
    slab = "Monte Carlo lung slab"
    assert largest("Monte Carlo water", "axis, absolute, .*(20|[1-9]0)-.*mm") <= WATER.percent
    assert largest("output factors", "over 10x10$") <= WATER.percent
    assert largest("Elekta 6 MV (10x10|5x5 inplane)", "inside 80 %") <= WATER.percent
    assert largest(slab, "mid lung|distal lung") <= lung.percent
    assert largest(slab, "0-6 mm beyond|6-20 mm beyond") <= behind.percent
    assert largest(slab, "20-70 mm beyond") <= WATER.percent
    first_mm = [largest("Elekta 6 MV .* depth dose", f"build-up at {depth} mm") for depth in (1, 2, 3)]
    assert WATER.percent < max(first_mm) <= BUILD_UP.percent
    assert all(f"{off:.0f} %" in BUILD_UP.evidence for off in first_mm)
    assert largest("Monte Carlo water", "axis, absolute, [02]-[24] mm") <= 2.0
    assert largest("^Elekta 6 MV 5x5", "tail") <= TAIL.percent
    assert largest("with extra-focal source, .*5x5|with extra-focal source, 10x10", "tail") <= TAIL_EXTRA_FOCAL.percent


@pytest.fixture(scope="module")
def slab(machine):
    """A 20 mm field from above through 8 cm of tissue, 4 cm of lung and tissue again; a dark beam from the left."""
    density = Volume(GRID, np.where(LUNG_SLAB, 0.26, 1.0).astype(np.float32))
    beams = [open_field(Beam(angle), x_mm=(-10, 10), y_mm=(-10, 10), width_mm=5) for angle in (0.0, 90.0)]
    influence = dose_influence(density, GRID, beams[0] + beams[1], machine, backend="numpy", precision="float64")
    fluence = np.where(influence.beamlets.beam_index == 0, 1.0, 1e-4)
    body = Structure("Body", "EXTERNAL", Occupancy(GRID, np.ones(GRID.shape, np.float32)))
    return influence, doubtful_voxels(influence, fluence, density, body)


def test_lung_its_far_side_and_the_build_up_are_found_along_the_lit_beam(slab) -> None:
    _, found = slab
    at = {name: getattr(found, name).reshape(GRID.shape) for name in ("build_up", "lung", "behind_lung")}
    np.testing.assert_array_equal(at["lung"], LUNG_SLAB)
    # on the axis: behind the slab for 20 mm, downstream of it only
    column = Y[10, at["behind_lung"][10, :, 25], 25]
    assert (column.min(), column.max()) == (21.0, 39.0)
    assert set(Y[10, at["build_up"][10, :, 25], 25]) == {-69.0}  # the next centre lies just below 3 mm
    # outside the field nothing, and nothing for the beam without fluence
    assert not at["behind_lung"][:, :, np.abs(X[0, 0]) > 14].any()
    assert not at["build_up"][:, 35:].any()


def test_the_largest_figure_holds_where_several_do(slab, machine) -> None:
    influence, found = slab
    percent = found.percent(machine, "density_scaling")
    build_up, lung, behind, water, _ = stated(machine, "density_scaling")
    assert set(percent) == {f.percent for f in (build_up, lung, behind, water)}
    assert (percent[found.lung] == lung.percent).all()
    assert (found.percent(machine, "depth_scaling") >= percent).all()
    assert percent.size == influence.voxels.size

"""Beams that enter where the scan ends, on blocks whose rays are known."""

from __future__ import annotations

import numpy as np

from dosecalc.beams import Beam
from dosecalc.grid import Grid
from dosecalc.structures import Occupancy, Structure
from optimize.entries import entry_warnings

GRID = Grid((-149.0, -99.0, -60.0), (2.0, 2.0, 4.0), (31, 100, 150))
X, Y, Z = (GRID.centres_mm()[:, a].reshape(GRID.shape) for a in range(3))
TRUNK = (np.abs(X) < 100) & (np.abs(Y) < 70)
POINTS = np.array([(x, y, z) for x in (-8.0, 8.0) for y in (-8.0, 8.0) for z in (-6.0, 6.0)])
ALL = tuple(Beam(angle) for angle in (0.0, 90.0, 180.0, 270.0))


def warned(body: np.ndarray, beams: tuple[Beam, ...] = ALL) -> list[str]:
    outline = Structure("Body", "EXTERNAL", Occupancy(GRID, body.astype(np.float32)))
    return entry_warnings(beams, GRID, outline, POINTS, 1000.0)


def test_a_body_in_air_is_entered_everywhere() -> None:
    assert warned(TRUNK) == []


def test_a_field_of_view_that_cuts_the_left_side_is_named_for_the_beam_from_there() -> None:
    shifted = (np.abs(X - 60) < 100) & (np.abs(Y) < 70)
    (line,) = warned(shifted)  # the patient's left is at gantry 90
    assert line.startswith("beam 90 degrees: 100% of its rays enter the body where the scan")


def test_a_couch_angle_that_leaves_the_scan_through_its_end() -> None:
    """The scan ends 60 mm from the target; at couch 90 the ray leaves the front, 70 mm away, 40 or 121 mm along it."""
    lines = warned(TRUNK, (Beam(30.0, 0.0), Beam(90.0, 60.0), Beam(30.0, 90.0), Beam(60.0, 90.0)))
    assert [line.split(":")[0] for line in lines] == ["beam 90 degrees, couch 60", "beam 60 degrees, couch 90"]

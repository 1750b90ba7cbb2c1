"""Leakage through closed leaves: openings whose monitor units and least fluence follow by hand."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest

from dosecalc.beams import Beam, Beamlets, open_field
from dosecalc.grid import Grid, Volume
from dosecalc.influence import dose_influence
from dosecalc.leakage import leakage_fluence, sweep_mu
from dosecalc.uncertainty import leakage

FIELD = open_field(Beam(0.0), x_mm=(-20, 20), y_mm=(-15, 15), width_mm=10)
"""Three rows of four beamlets: rows of v ascending, u ascending in a row."""


@pytest.mark.parametrize(
    ("rows", "on"),
    [
        ([[7, 7, 7, 7]] * 3, 7.0),  # open
        ([[0, 5, 2, 0], [0, 0, 0, 0], [3, 3, 3, 3]], 5.0),  # one peak: its height
        ([[4, 0, 4, 0], [6, 0, 0, 0], [0, 0, 0, 0]], 8.0),  # two peaks in a row add up
        ([[4, 0, 0, 0], [0, 4, 0, 0], [0, 0, 0, 4]], 4.0),  # in different rows they do not
        ([[1, 3, 2, 5], [0, 0, 0, 0], [0, 0, 0, 0]], 6.0),  # 1 + 2 + 3
    ],
)
def test_monitor_units_of_a_sweep_are_the_increases_along_a_row(machine, rows, on) -> None:
    fluence = np.ravel(rows).astype(float)
    assert sweep_mu(FIELD, fluence, machine) == pytest.approx([on])
    least = machine.leaf_transmission * on
    np.testing.assert_allclose(fluence + leakage_fluence(FIELD, fluence, machine), np.maximum(fluence, least))


def test_a_gap_between_beamlets_is_closed(machine) -> None:
    """Two parts of a target side by side: 5 and 5 along each row take twice the monitor units of 5."""
    kept = np.arange(12) % 4 != 2
    parts = (getattr(FIELD, name)[kept] for name in ("beam_index", "u_mm", "v_mm", "width_u_mm", "width_v_mm"))
    assert sweep_mu(Beamlets(FIELD.beams, *parts), np.full(9, 5.0), machine) == pytest.approx([10.0])


def test_each_beam_has_its_own_monitor_units(machine) -> None:
    two = FIELD + open_field(Beam(90.0), x_mm=(-20, 20), y_mm=(-15, 15), width_mm=10)
    fluence = np.concatenate([np.full(12, 3.0), np.eye(1, 12, 5)[0] * 40.0])
    assert sweep_mu(two, fluence, machine) == pytest.approx([3.0, 40.0])
    leaks = leakage_fluence(two, fluence, machine)
    assert not leaks[:12].any()
    assert leaks.sum() == pytest.approx(11 * 40 * machine.leaf_transmission)


def test_dose_behind_closed_leaves_is_their_share_of_the_open_field(machine) -> None:
    """All but one row closed: far from it a point gets T of the open field's dose there, less the one row's share."""
    grid = Grid((0.0, 50.0, 0.0), (800.0, 300.0, 800.0), (1, 1, 1))
    water, point = Volume(grid, np.ones((1, 1, 1), np.float32)), Grid((0.0, 0.0, 0.0), (1.0, 1.0, 1.0), (1, 1, 1))
    field = open_field(Beam(0.0), x_mm=(-60, 60), y_mm=(-60, 60), width_mm=10)
    influence = dose_influence(water, point, field, machine, precision="reference")
    one_row = np.where(field.v_mm == field.v_mm.max(), 100.0, 0.0)
    dose, figure = leakage(influence, one_row, target_gy=1.0)
    open_gy, row_gy = (influence.dose(x)[0] for x in (np.full(field.count, 100.0), one_row))
    assert dose[0] == pytest.approx(machine.leaf_transmission * (open_gy - row_gy), rel=1e-9)
    assert figure.percent == pytest.approx(100 * dose[0], abs=0.05)
    assert "1.0 times" in figure.evidence
    tight = dataclasses.replace(machine, leaf_transmission=0.0)
    assert not leakage_fluence(field, one_row, tight).any()
    assert leakage(influence, np.full(field.count, 100.0), target_gy=1.0)[1].percent == 0.0

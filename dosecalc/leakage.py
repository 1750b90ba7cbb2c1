"""What leaks through closed leaves when a fluence plan is delivered: an estimate, and no part of a plan's dose.

A plan's beamlets carry fluence only where it is wanted. Delivered through a multileaf collimator, a beam is on for M
monitor units; a beamlet that is open for y_j of them lies behind a leaf for the rest and gets y_j + T (M - y_j), with T
the leaf transmission of the machine. A sequencer that allows for that opens it for less, so that it gets the x_j of the
plan; but no beamlet can get less than T M. So what no choice of openings avoids is

    max(T M - x_j, 0)

The least M of leaf pairs that move along u, each beamlet row by itself, is the largest sum over a row of the increases
of x from beamlet to beamlet (Ahuja & Hamacher, Networks 45:36 (2005)); a sweep of the leaves needs no more. Interleaf
limits, tongue and groove, delivery in fewer steps, and leaves between the plan's beamlets and the jaws leak more. A
uniform open field leaks nothing.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from .beams import Beamlets
from .machine import BeamModel
from .pencil_beam import lattice_of

Array = npt.NDArray[np.float64]

TOUCHING_MM = 1e-6
"""Beamlets further apart than this have a closed gap between them."""


def sweep_mu(beamlets: Beamlets, fluence: Array, machine: BeamModel) -> Array:
    """Least monitor units of each beam, (beams,), at output factor 1.

    Parameters
    ----------
    beamlets : Beamlets
    fluence : (B,) float64
        MU-equivalents, >= 0.
    machine : BeamModel
    """
    found = np.zeros(len(beamlets.beams))
    for beam in range(len(beamlets.beams)):
        part = beamlets.of_beam(beam)
        if part.start == part.stop:
            continue
        lattice = lattice_of(beamlets, beam, machine)
        apart = np.diff(lattice.u_mm) > 0.5 * (lattice.width_u_mm[1:] + lattice.width_u_mm[:-1]) + TOUCHING_MM
        column = 1 + np.arange(lattice.u_mm.size) + np.concatenate([[0], np.cumsum(apart)])  # between them: closed
        opened = np.zeros((lattice.v_mm.size, column[-1] + 1))
        opened[lattice.row, column[lattice.column]] = fluence[part]
        found[beam] = np.maximum(np.diff(opened, axis=1), 0.0).sum(axis=1).max(initial=0.0)
    return found


def leakage_fluence(beamlets: Beamlets, fluence: Array, machine: BeamModel) -> Array:
    """Fluence beyond the plan's that closed leaves let through, max(T M - x_j, 0): (B,) MU-equivalents.

    Parameters
    ----------
    beamlets : Beamlets
    fluence : (B,) float64
        MU-equivalents, >= 0.
    machine : BeamModel
        Its `leaf_transmission` is T.
    """
    on = sweep_mu(beamlets, fluence, machine)[beamlets.beam_index]
    return np.maximum(machine.leaf_transmission * on - fluence, 0.0)

"""Monitor units that a sliding-window delivery of a fluence takes at least: an estimate of the fluence model.

Leaves of unlimited speed sweep each row of beamlets once, in the direction of leaf travel. The beam-on time is then the
sum of the positive increments along the row, from 0 before its first beamlet (Spirou and Chui, Med Phys 21:1031, 1994;
Svensson et al., Phys Med Biol 39:37, 1994); the number of segments of a step-and-shoot sweep follows the same sum
(Bortfeld et al., Int J Radiat Oncol Biol Phys 28:723, 1994). All rows of a beam are swept at the same time, so the beam
takes as many MU as its slowest row.

The fluence is in MU already: the machine's calibration fixes the dose per MU of its reference field
(`dosecalc.machine.Reference`). The estimate leaves out finite leaf speed, leaf transmission and the smaller output of
small segments; a delivered plan takes more.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from dosecalc.beams import Beamlets

Array = npt.NDArray[np.float64]

SAME = 1e-3
"""Share of a beamlet's width within which two positions are the same."""


def sweep_mu(fluence: Array, u_mm: Array, v_mm: Array, width_u_mm: Array) -> float:
    """Least MU of one beam: the largest sum of positive increments of its rows.

    Parameters
    ----------
    fluence : (n,) float64
        MU of each beamlet.
    u_mm, v_mm : (n,) float64
        Beamlet centres, u along leaf travel; a row has one v.
    width_u_mm : (n,) float64
        A gap in a row counts as fluence 0.
    """
    order = np.lexsort((u_mm, v_mm))
    x, u, v, width = (np.asarray(a, np.float64)[order] for a in (fluence, u_mm, v_mm, width_u_mm))
    follows = (np.abs(np.diff(v)) <= SAME * width[1:]) & (np.abs(np.diff(u) - width[1:]) <= SAME * width[1:])
    before = np.where(np.append(False, follows), np.append(0.0, x[:-1]), 0.0)
    row = np.cumsum(np.append(True, np.abs(np.diff(v)) > SAME * width[1:])) - 1
    return float(np.bincount(row, np.maximum(x - before, 0.0)).max(initial=0.0)) if x.size else 0.0


def beam_mu(fluence: Array, beamlets: Beamlets) -> tuple[float, ...]:
    """Least MU of every beam, course total."""
    parts = (beamlets.of_beam(index) for index in range(len(beamlets.beams)))
    return tuple(sweep_mu(fluence[p], beamlets.u_mm[p], beamlets.v_mm[p], beamlets.width_u_mm[p]) for p in parts)

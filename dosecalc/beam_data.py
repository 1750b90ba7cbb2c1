"""What a physicist asks a machine first: depth doses, beam quality and output factors, computed from its data."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from .field_dose import field_dose
from .head_scatter import collimator_scatter
from .machine import BeamModel

SSD_MM, FIELD_MM, DEPTH_MM = 1000.0, 100.0, 100.0
"""Of the depth dose, and of the field and depth that output factors are relative to."""
SIDES_MM = (20.0, 30.0, 40.0, 60.0, 100.0, 150.0, 200.0)


@dataclass(frozen=True, slots=True)
class OutputFactor:
    """Dose of a square field per MU relative to 10x10, at 10 cm depth and SSD 100 cm.

    Attributes
    ----------
    side_mm : float
        In the isocentre plane.
    total : float
        With the head scatter of the jaw opening.
    phantom : float
        Without it, as beamlets of fluence have it.
    """

    side_mm: float
    total: float
    phantom: float


@dataclass(frozen=True, slots=True)
class BeamData:
    """Water phantom figures.

    Attributes
    ----------
    maximum_mm : float
        Depth of the maximum, 10x10, SSD 100 cm.
    depth_dose_10cm_pct, depth_dose_20cm_pct : float
        Of that maximum.
    tpr20_10 : float
        10x10 at the isocentre, depths of 20 and 10 cm.
    output_factors : tuple of OutputFactor
    """

    maximum_mm: float
    depth_dose_10cm_pct: float
    depth_dose_20cm_pct: float
    tpr20_10: float
    output_factors: tuple[OutputFactor, ...]


def beam_data(machine: BeamModel) -> BeamData:
    """The figures of a machine, fields outside its range of validity left out."""
    depth = np.arange(1.0, 301.0)
    dose = np.array([field_dose(machine, field_mm=FIELD_MM, ssd_mm=SSD_MM, depth_mm=d) for d in depth])
    at_20, at_10 = (field_dose(machine, field_mm=FIELD_MM, ssd_mm=machine.sad_mm - d, depth_mm=d) for d in (200, 100))
    low, high = machine.field_mm
    return BeamData(
        maximum_mm=float(depth[dose.argmax()]),
        depth_dose_10cm_pct=float(100 * dose[99] / dose.max()),
        depth_dose_20cm_pct=float(100 * dose[199] / dose.max()),
        tpr20_10=at_20 / at_10,
        output_factors=tuple(_output_factor(machine, side) for side in SIDES_MM if low <= side <= high),
    )


def _output_factor(machine: BeamModel, side_mm: float) -> OutputFactor:
    own, ten = (field_dose(machine, field_mm=f, ssd_mm=SSD_MM, depth_mm=DEPTH_MM) for f in (side_mm, FIELD_MM))
    head, head_ten = (collimator_scatter(machine, f, f) for f in (side_mm, FIELD_MM))
    return OutputFactor(side_mm, own * head / (ten * head_ten), own / ten)

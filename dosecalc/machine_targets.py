"""A machine's own figures in water beside the published ones that its file names."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from scipy.special import erf

from .field_dose import field_dose, profile_dose
from .head_scatter import collimator_scatter
from .machine import BeamModel, Target
from .machine_check import TPR_TOLERANCE
from .machine_file import Quantity, Use

REFERENCE_FIELD_MM = 100.0
"""Field of the beam quality, and that output factors are relative to."""
_STEP_MM = 0.1


@dataclass(frozen=True, slots=True)
class Compared:
    """One figure of a machine beside its target.

    Attributes
    ----------
    quantity : str
        In words, with its unit.
    field_mm, ssd_mm, depth_mm, off_axis_mm : float or None
        Where it holds, as far as it depends on that.
    found, value, tolerance : float
        The machine's, the published one, and how far they may differ.
    use : "judged", "fitted" or "information"
    source : str
    """

    quantity: str
    field_mm: float
    ssd_mm: float | None
    depth_mm: float | None
    off_axis_mm: float | None
    found: float
    value: float
    tolerance: float
    use: Use
    source: str

    @property
    def verdict(self) -> str:
        """met, fitted (within the tolerance because it was adjusted to), information, or MISSED."""
        if self.use == "information":
            return "information"
        if abs(self.found - self.value) > self.tolerance:
            return "MISSED"
        return "met" if self.use == "judged" else "fitted"


def compare_with_targets(machine: BeamModel) -> tuple[Compared, ...]:
    """Beam quality, then every target of the machine file."""
    at_20, at_10 = (
        field_dose(machine, field_mm=REFERENCE_FIELD_MM, ssd_mm=machine.sad_mm - d, depth_mm=d) for d in (200.0, 100.0)
    )
    source = dict(machine.sources)["kernel"]
    figures = at_20 / at_10, machine.tpr20_10, TPR_TOLERANCE
    quality = Compared("TPR20,10", REFERENCE_FIELD_MM, None, None, None, *figures, "fitted", source)
    return quality, *(_compared(machine, target) for target in machine.targets)


def _compared(machine: BeamModel, target: Target) -> Compared:
    words, figure = _QUANTITIES[target.quantity]
    place = target.field_mm, target.ssd_mm, target.depth_mm, target.off_axis_mm
    return Compared(words, *place, figure(machine, target), target.value, target.tolerance, target.use, target.source)


def _depth_dose(machine: BeamModel, target: Target) -> float:
    depth = np.arange(1.0, 51.0)
    largest = max(field_dose(machine, field_mm=target.field_mm, ssd_mm=_ssd(target), depth_mm=d) for d in depth)
    return 100 * _dose(machine, target, target.field_mm) / largest


def _depth_dose_ratio(machine: BeamModel, target: Target) -> float:
    deep, shallow = (
        field_dose(machine, field_mm=target.field_mm, ssd_mm=_ssd(target), depth_mm=d) for d in (200.0, 100.0)
    )
    return deep / shallow


def _output_factor(machine: BeamModel, target: Target) -> float:
    phantom = _dose(machine, target, target.field_mm) / _dose(machine, target, REFERENCE_FIELD_MM)
    own, ten = (collimator_scatter(machine, side, side) for side in (target.field_mm, REFERENCE_FIELD_MM))
    return phantom * own / ten


def _air_output(machine: BeamModel, target: Target) -> float:
    """On the axis; of an extra-focal source the part that shows in the field."""
    own, ten = (_in_air(machine, side) for side in (target.field_mm, REFERENCE_FIELD_MM))
    return own / ten


def _in_air(machine: BeamModel, side_mm: float) -> float:
    wide = machine.extra_focal
    if wide is None:
        return collimator_scatter(machine, side_mm, side_mm)
    return 1.0 - wide.weight + wide.weight * float(erf(side_mm / (2 * np.sqrt(2.0) * wide.sigma_mm))) ** 2


def _off_axis(machine: BeamModel, target: Target) -> float:
    at = np.array([0.0, target.off_axis_mm or 0.0])
    axis, off = profile_dose(machine, at, field_mm=target.field_mm, ssd_mm=_ssd(target), depth_mm=_depth(target))
    return float(off / axis)


def _penumbra(machine: BeamModel, target: Target) -> float:
    """80 to 20 % of twice the dose at the edge: so the edge is at 50 %, of an unflattened beam too."""
    half = target.field_mm / 2
    at = np.arange(0.5 * half, 1.5 * half, _STEP_MM)
    dose = profile_dose(machine, at, field_mm=target.field_mm, ssd_mm=_ssd(target), depth_mm=_depth(target))
    share = dose / (2 * np.interp(half, at, dose))
    near = slice(int(np.searchsorted(-share, -1.0)), None)  # further in, the profile may rise again
    high, low = (np.interp(-level, -share[near], at[near]) for level in (0.8, 0.2))
    return float(low - high)


def _dose(machine: BeamModel, target: Target, field_mm: float) -> float:
    return field_dose(machine, field_mm=field_mm, ssd_mm=_ssd(target), depth_mm=_depth(target))


def _ssd(target: Target) -> float:
    return float(target.ssd_mm or 0.0)  # `machine_check` has made sure of it


def _depth(target: Target) -> float:
    return float(target.depth_mm or 0.0)


_QUANTITIES: dict[Quantity, tuple[str, Callable[[BeamModel, Target], float]]] = {
    "depth_dose": ("depth dose, %", _depth_dose),
    "depth_dose_ratio": ("dose 20 over 10 cm", _depth_dose_ratio),
    "output_factor": ("output factor", _output_factor),
    "air_output": ("output in air", _air_output),
    "off_axis": ("off-axis ratio", _off_axis),
    "penumbra": ("penumbra 80-20, mm", _penumbra),
}
"""Words with the unit, and the figure of each quantity."""

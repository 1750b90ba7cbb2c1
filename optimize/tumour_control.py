"""What published models of local control say: an ensemble that disagrees, shown as a range."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from protocols import H460, LQ, LQL, Conversion, lq_validity
from protocols.outcome_models import ControlCurve, ControlStrata, ControlThreshold, Scenario, TumourModel

from .outcome_results import BiologicalDose, ControlRange, ModelValue, percent_words, whole_percent
from .regions import Region

CONVERSIONS = (LQ, LQL)
ALPHA_BETA_GY = 10.0
"""Of the tumour, in what is told beside the models; each model states its own."""


@dataclass(frozen=True, slots=True, eq=False)
class TargetDose:
    """A dose that control is computed from: one value, or voxels whose biological dose is averaged.

    Attributes
    ----------
    basis : str
        "edge", "GTV minimum" or "GTV mean".
    dose_gy : (n,) float64
    cc : (n,) float64
    """

    basis: str
    dose_gy: npt.NDArray[np.float64]
    cc: npt.NDArray[np.float64]

    def bed(self, conversion: Conversion, fractions: int, alpha_beta_gy: float) -> float:
        """Mean over the volume of the voxels' BED, Gy."""
        return float(np.average(conversion.bed(self.dose_gy, fractions, alpha_beta_gy), weights=self.cc))


def target_doses(reached_gy: float, gtv: Region | None) -> tuple[TargetDose, ...]:
    """The reached prescription, and minimum and mean of the GTV where there is one that is not cut."""
    edge = TargetDose("edge", np.array([reached_gy]), np.ones(1))
    return (edge, *(gtv_doses(gtv) if gtv else ()))


def gtv_doses(gtv: Region) -> tuple[TargetDose, ...]:
    """Minimum and mean of a GTV; nothing where it is cut."""
    if gtv.cut_by:
        return ()
    minimum = TargetDose("GTV minimum", gtv.dose_gy.min(keepdims=True), np.ones(1))
    return (minimum, TargetDose("GTV mean", gtv.dose_gy, gtv.cc))


def biological(dose: TargetDose, fractions: int) -> BiologicalDose:
    """The dose under three survival curves."""
    physical = float(np.average(dose.dose_gy, weights=dose.cc))
    return BiologicalDose(
        dose.basis,
        physical,
        physical / fractions,
        lq_validity(physical, fractions),
        dose.bed(LQ, fractions, ALPHA_BETA_GY),
        dose.bed(LQL, fractions, ALPHA_BETA_GY),
        float(np.average(H460.bed(dose.dose_gy, fractions), weights=dose.cc)),
    )


def control_probability(model: ControlCurve, bed_gy: float) -> tuple[float, bool]:
    """Local control by a logistic curve, and whether the dose lay outside the model's data and was held at its end.

    Parameters
    ----------
    model : ControlCurve
    bed_gy : float
        At the model's alpha/beta.
    """
    dose = bed_gy / (1.0 + 2.0 / model.alpha_beta_gy) if model.scale == "EQD2" else bed_gy
    held = dose
    if model.data_gy is not None:
        held = min(max(dose, model.data_gy[0]), model.data_gy[1])
    return 1.0 / (1.0 + math.exp(min((model.d50_gy - held) / model.slope_gy, 700.0))), held != dose


def control_values(model: TumourModel, doses: tuple[TargetDose, ...], fractions: int) -> tuple[ModelValue, ...]:
    """What a model of control gives for each basis and conversion; strata and thresholds answer where they can."""
    values = []
    for dose in doses:
        for conversion in CONVERSIONS:
            bed = dose.bed(conversion, fractions, model.alpha_beta_gy)
            answer = _answer(model, bed, dose.basis, fractions)
            if answer is not None:
                percent, says, note = answer
                values.append(
                    ModelValue(dose.basis, conversion.name, model.alpha_beta_gy, bed, "Gy BED", percent, says, note)
                )
    return tuple(values)


def _answer(model: TumourModel, bed: float, basis: str, fractions: int) -> tuple[int | None, str, str] | None:
    if isinstance(model, ControlThreshold):
        if model.basis != basis:
            return None
        return None, f"{'at or above' if bed >= model.bed_gy else 'below'} {model.bed_gy:g} Gy: {model.says}", ""
    if isinstance(model, ControlStrata):
        if model.max_fractions is not None and fractions > model.max_fractions:
            return None
        found = [stratum.pct for stratum in model.strata if stratum.holds(bed)]
        return (round(found[0]), f"{found[0]:.0f} % in this stratum", "") if found else None
    probability, held = control_probability(model, bed)
    note = ""
    if held and model.data_gy is not None:
        low, high = model.data_gy
        note = f"outside the data ({low:g} to {high:g} Gy {model.scale}): held at their end"
    return whole_percent(probability), percent_words(probability), note


def control_ranges(
    found: tuple[tuple[TumourModel, tuple[ModelValue, ...]], ...], scenarios: tuple[Scenario, ...]
) -> tuple[ControlRange, ...]:
    """The lowest and highest control of the counted models for each basis and conversion, then under each scenario."""
    ranges = []
    bases = dict.fromkeys((v.basis, v.conversion) for _, values in found for v in values)
    for scenario in (None, *scenarios):
        for basis, conversion in bases:
            counted = [
                (model, value.percent)
                for model, values in found
                if isinstance(model, ControlCurve | ControlStrata) and model.counted
                for value in values
                if (value.basis, value.conversion) == (basis, conversion) and value.percent is not None
            ]
            if counted:
                ranges.append(_range(basis, conversion, scenario, counted))
    return tuple(ranges)


def _range(
    basis: str,
    conversion: str,
    scenario: Scenario | None,
    counted: list[tuple[ControlCurve | ControlStrata, int]],
) -> ControlRange:
    percents = [pct if scenario is None else _under(scenario, pct) for _, pct in counted]
    years = [model.years for model, _ in counted]
    return ControlRange(
        basis,
        conversion,
        scenario.title if scenario else "",
        min(percents),
        max(percents),
        min(years),
        max(years),
        tuple(model.id for model, _ in counted),
    )


def _under(scenario: Scenario, percent: int) -> int:
    """Control when the hazard of failure is multiplied: the control rate to the power of the hazard ratio."""
    return whole_percent((percent / 100.0) ** scenario.hazard_ratio)

"""What published models of organs say: every voxel is converted to biological dose before it is reduced."""

from __future__ import annotations

import math
from functools import singledispatch

import numpy as np
from scipy.optimize import brentq
from scipy.special import ndtr, ndtri

from protocols import LQ, LQL, Conversion, lq_validity
from protocols.outcome_models import Ladder, Lyman, MeanBed, MeanLimits, MeanProbit, VolumeAtBed

from .geud import geud
from .metrics import mean_dose, volume_at_dose
from .outcome_results import LiverRoom, ModelValue, percent_words, whole_percent
from .regions import Region

CONVERSIONS = (LQ, LQL)
RISK_OF_ROOM = 0.05


def lyman_probability(eud_gy: float, td50_gy: float, m: float) -> float:
    """Phi((EUD - TD50) / (m TD50)): Lyman, Radiat Res Suppl 8:S13 (1985)."""
    return float(ndtr((eud_gy - td50_gy) / (m * td50_gy)))


def lyman_dose(probability: float, td50_gy: float, m: float) -> float:
    """The EUD at which `lyman_probability` has this value."""
    return float(td50_gy * (1.0 + m * ndtri(probability)))


def lyman_eud(model: Lyman, region: Region, fractions: int, conversion: Conversion, alpha_beta_gy: float) -> float:
    """gEUD of the voxels' EQD2 in Gy."""
    return geud(conversion.eqd2(region.dose_gy, fractions, alpha_beta_gy), region.cc, 1.0 / model.n)


def mean_probability(mean_gy: float, model: MeanProbit) -> float:
    """Phi(sqrt(2 pi) gamma50 (D / D50 - 1)), gamma50 the relative slope at D50."""
    return float(ndtr(math.sqrt(2.0 * math.pi) * model.gamma50 * (mean_gy / model.d50_gy - 1.0)))


def effective_volume_pct(region: Region, reference_gy: float, n: float) -> float:
    """The volume in percent that, at the reference dose, is worth the whole: the mean of (d / reference)^(1/n)."""
    return float(100.0 * np.average((region.dose_gy / reference_gy) ** (1.0 / n), weights=region.cc))


@singledispatch
def organ_values(model: object, region: Region, fractions: int, reached_gy: float) -> tuple[ModelValue, ...] | str:
    """What a model of an organ gives, or in words why it does not apply.

    Parameters
    ----------
    model : a model of an organ of ``protocols.outcome_models``
    region : Region
        The organ.
    fractions : int
    reached_gy : float
        Reached dose of the prescription.
    """
    raise TypeError(f"no computation is registered for a model of type {type(model).__name__}.")


@organ_values.register
def _(model: Lyman, region: Region, fractions: int, reached_gy: float) -> tuple[ModelValue, ...] | str:
    if region.cut_by:
        return f"{region.cut_by} cuts the organ"
    others = [(LQ, other) for other in model.also_alpha_beta_gy if other != model.alpha_beta_gy]
    pairs = dict.fromkeys([(c, model.alpha_beta_gy) for c in CONVERSIONS] + others)
    return tuple(_lyman_value(model, region, fractions, conversion, ratio) for conversion, ratio in pairs)


def _lyman_value(model: Lyman, region: Region, fractions: int, conversion: Conversion, ratio: float) -> ModelValue:
    eud = lyman_eud(model, region, fractions, conversion, ratio)
    risk = lyman_probability(eud, model.td50_eqd2_gy(ratio), model.m)
    return ModelValue(
        region.name,
        conversion.name,
        ratio,
        eud,
        "Gy gEUD (EQD2)",
        whole_percent(risk),
        percent_words(risk),
        _hot_voxels(region, fractions, conversion),
    )


@organ_values.register
def _(model: MeanProbit, region: Region, fractions: int, reached_gy: float) -> tuple[ModelValue, ...] | str:
    if fractions not in model.fractions:
        return f"made for {model.fractions[0]} to {model.fractions[-1]} fractions"
    if region.cut_by:
        return f"{region.cut_by} cuts the organ"
    mean = mean_dose(region.dose_gy, region.cc)
    risk = mean_probability(mean, model)
    return (ModelValue(region.name, "none", None, mean, "Gy mean dose", whole_percent(risk), percent_words(risk)),)


@organ_values.register
def _(model: MeanLimits, region: Region, fractions: int, reached_gy: float) -> tuple[ModelValue, ...] | str:
    limit = model.limit_gy.get(str(fractions))
    if limit is None:
        return f"published for {' and '.join(model.limit_gy)} fractions only"
    if region.cut_by:
        return f"{region.cut_by} cuts the organ"
    mean = mean_dose(region.dose_gy, region.cc)
    return (ModelValue(region.name, "none", None, mean, "Gy mean dose", None, _against(mean, limit, "Gy")),)


@organ_values.register
def _(model: Ladder, region: Region, fractions: int, reached_gy: float) -> tuple[ModelValue, ...] | str:
    if fractions != model.fractions:
        return f"made for {model.fractions} fractions"
    if region.cut_by:
        return f"{region.cut_by} cuts the organ"
    if reached_gy <= 0:
        return "no dose was reached"
    share = effective_volume_pct(region, reached_gy, model.n)
    allowed = [rung.dose_gy for rung in model.rungs if share <= rung.max_pct]
    says = f"up to {max(allowed):g} Gy by this ladder" if allowed else "ineligible by this ladder"
    return (ModelValue(region.name, "none", None, share, "% effective volume", None, says),)


@organ_values.register
def _(model: VolumeAtBed, region: Region, fractions: int, reached_gy: float) -> tuple[ModelValue, ...] | str:
    note = f"{region.cut_by} cuts the organ: a lower bound" if region.cut_by else ""
    values = []
    for conversion in CONVERSIONS:
        volume = volume_at_dose(conversion.bed(region.dose_gy, fractions, model.alpha_beta_gy), region.cc, model.bed_gy)
        says = f"{volume:.0f} cc" if model.limit_cc is None else _against(volume, model.limit_cc, "cc")
        values.append(ModelValue(region.name, conversion.name, model.alpha_beta_gy, volume, "cc", None, says, note))
    return tuple(values)


@organ_values.register
def _(model: MeanBed, region: Region, fractions: int, reached_gy: float) -> tuple[ModelValue, ...] | str:
    if region.cut_by:
        return f"{region.cut_by} cuts the organ"
    values = []
    for conversion in CONVERSIONS:
        mean = mean_dose(conversion.bed(region.dose_gy, fractions, model.alpha_beta_gy), region.cc)
        says, note = _against(mean, model.limit_gy, "Gy"), _hot_voxels(region, fractions, conversion)
        values.append(
            ModelValue(region.name, conversion.name, model.alpha_beta_gy, mean, "Gy mean BED", None, says, note)
        )
    return tuple(values)


def _against(value: float, limit: float, unit: str) -> str:
    return f"{'within' if value <= limit else 'beyond'} {limit:g} {unit}"


def _hot_voxels(region: Region, fractions: int, conversion: Conversion) -> str:
    """What to say where the hottest voxels are beyond the linear-quadratic model."""
    hottest = float(region.dose_gy[0])
    if math.isfinite(conversion.transition_gy) or lq_validity(hottest, fractions) != "beyond":
        return ""
    return f"up to {hottest / fractions:.0f} Gy per fraction: beyond the linear-quadratic model"


def liver_room(
    region: Region, fractions: int, lyman: tuple[Lyman, ...], limits: tuple[MeanLimits, ...]
) -> tuple[LiverRoom, ...]:
    """How far the liver is from a risk of 5 % and from each mean-dose limit, as a factor on all doses; tightest first.

    Mean dose and complication probability rank plans differently, as a few hot voxels count in the second: either may
    come first.
    """
    if region.cut_by or not region.dose_gy.any():
        return ()
    found = []
    for model in limits:
        if (limit := model.limit_gy.get(str(fractions))) is not None:
            factor = limit / mean_dose(region.dose_gy, region.cc)
            found.append(LiverRoom(f"{model.title}, {limit:g} Gy", "none", factor))
    for curve in lyman:
        asked = lyman_dose(RISK_OF_ROOM, curve.td50_eqd2_gy(curve.alpha_beta_gy), curve.m)
        for conversion in CONVERSIONS:
            factor = _factor_to(asked, curve, region, fractions, conversion)
            found.append(LiverRoom(f"{curve.title}, {100 * RISK_OF_ROOM:g} %", conversion.name, factor))
    return tuple(sorted(found, key=lambda room: room.factor))


def _factor_to(asked_gy: float, model: Lyman, region: Region, fractions: int, conversion: Conversion) -> float:
    """The factor on all doses at which the gEUD reaches `asked_gy`."""

    def excess(factor: float) -> float:
        eqd2 = conversion.eqd2(factor * region.dose_gy, fractions, model.alpha_beta_gy)
        return geud(eqd2, region.cc, 1.0 / model.n) - asked_gy

    # A gEUD in EQD2 grows at least linearly: this factor is enough for any.
    linear = asked_gy / (
        geud(region.dose_gy, region.cc, 1.0 / model.n) * model.alpha_beta_gy / (2 + model.alpha_beta_gy)
    )
    return float(brentq(excess, 0.0, 1.01 * linear, xtol=1e-6))

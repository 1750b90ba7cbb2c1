"""Clinical dose metrics of one structure, measured in float64 on its voxels.

This is the judging side: it takes doses and partial volumes, and shares nothing with the code that builds the
optimisation problem. Volumes count the whole structure, voxels without dose included.

The definitions are those of cumulative dose-volume histograms in ICRU Report 83 (2010, section 3.4), made
exact for voxels of unequal volume: ``dose_at_volume(..., V) <= L`` holds exactly when the volume above L is
smaller than V.
"""

from __future__ import annotations

from functools import singledispatch

import numpy as np
import numpy.typing as npt

from dosecalc.errors import InputError
from protocols.metrics import (
    Biological,
    CriticalVolume,
    DoseAtVolume,
    GeneralisedEud,
    Homogeneity,
    MaxDose,
    MeanDose,
    MinDose,
    StructureVolume,
    TailMean,
    VolumeAtDose,
)

from .geud import geud
from .voxel_doses import SUM_ROUNDING, Float64Array, checked

NEAR_MAXIMUM = DoseAtVolume(0.035, "cc")
"""What stands for a structure's maximum dose: AAPM TG-101 (Benedict et al., Med Phys 37:4078, 2010)."""


def dose_at_volume(dose_gy: npt.ArrayLike, cc: npt.ArrayLike, volume_cc: float) -> float:
    """D(V): the dose of the voxel at which the volume, counted from the hottest voxel down, reaches V.

    Parameters
    ----------
    dose_gy, cc : (n,) array
        Dose in Gy and volume in cc of each voxel.
    volume_cc : float
        V in cc, >= 0. A structure smaller than V answers with its maximum.

    Returns
    -------
    float
        Gy.
    """
    dose, volume = checked(dose_gy, cc)
    if not (np.isfinite(volume_cc) and volume_cc >= 0):
        raise InputError(f"the volume of D(V) must be finite and >= 0 cc, got {volume_cc!r}.")
    order = np.argsort(-dose, kind="stable")
    cumulative = np.cumsum(volume[order])
    first = int(np.searchsorted(cumulative, volume_cc * (1.0 - SUM_ROUNDING), side="left"))
    return float(dose[order[first]] if first < order.size else dose[order[0]])


def volume_at_dose(dose_gy: npt.ArrayLike, cc: npt.ArrayLike, at_least_gy: float) -> float:
    """V(x): the volume in cc that receives at least `at_least_gy`."""
    dose, volume = checked(dose_gy, cc)
    return float(volume[dose >= at_least_gy].sum())


def volume_below(dose_gy: npt.ArrayLike, cc: npt.ArrayLike, below_gy: float) -> float:
    """The volume in cc that receives less than `below_gy`: what a critical-volume limit counts as spared."""
    dose, volume = checked(dose_gy, cc)
    return float(volume[dose < below_gy].sum())


def mean_dose(dose_gy: npt.ArrayLike, cc: npt.ArrayLike) -> float:
    """The volume-weighted mean dose in Gy."""
    dose, volume = checked(dose_gy, cc)
    return float(np.dot(dose, volume) / volume.sum())


@singledispatch
def measure(metric: object, dose_gy: npt.ArrayLike, cc: npt.ArrayLike) -> float:
    """The value of a dose metric of one structure, in the metric's unit.

    Parameters
    ----------
    metric : a metric of ``protocols.metrics``
    dose_gy : (n,) array
        Course-total dose of each voxel of the structure, Gy.
    cc : (n,) array
        Volume of the structure inside each voxel, cc.

    Returns
    -------
    float
        Gy, cc or percent of the structure's volume, as the metric says.

    Raises
    ------
    InputError
        No voxel, unequal lengths, values that are not finite.
    TypeError
        A metric that this module does not measure: a declared metric without a measurement is a fault in the
        code.
    """
    raise TypeError(f"no measurement is registered for a metric of type {type(metric).__name__}.")


@measure.register
def _(metric: DoseAtVolume, dose_gy: npt.ArrayLike, cc: npt.ArrayLike) -> float:
    whole = _total(cc)
    return dose_at_volume(dose_gy, cc, metric.volume if metric.unit == "cc" else metric.volume / 100.0 * whole)


@measure.register
def _(metric: VolumeAtDose, dose_gy: npt.ArrayLike, cc: npt.ArrayLike) -> float:
    volume = volume_at_dose(dose_gy, cc, metric.dose_gy)
    return volume if metric.unit == "cc" else 100.0 * volume / _total(cc)


@measure.register
def _(metric: CriticalVolume, dose_gy: npt.ArrayLike, cc: npt.ArrayLike) -> float:
    return volume_below(dose_gy, cc, metric.dose_gy)


@measure.register
def _(metric: MeanDose, dose_gy: npt.ArrayLike, cc: npt.ArrayLike) -> float:
    return mean_dose(dose_gy, cc)


@measure.register
def _(metric: MaxDose, dose_gy: npt.ArrayLike, cc: npt.ArrayLike) -> float:
    return float(checked(dose_gy, cc)[0].max())


@measure.register
def _(metric: MinDose, dose_gy: npt.ArrayLike, cc: npt.ArrayLike) -> float:
    return float(checked(dose_gy, cc)[0].min())


@measure.register
def _(metric: StructureVolume, dose_gy: npt.ArrayLike, cc: npt.ArrayLike) -> float:
    return _total(checked(dose_gy, cc)[1])


def _total(cc: npt.ArrayLike) -> float:
    """The volume of the structure in cc."""
    return float(np.sum(np.asarray(cc, dtype=np.float64)))


@measure.register
def _(metric: GeneralisedEud, dose_gy: npt.ArrayLike, cc: npt.ArrayLike) -> float:
    return geud(dose_gy, cc, metric.a)


@measure.register
def _(metric: TailMean, dose_gy: npt.ArrayLike, cc: npt.ArrayLike) -> float:
    dose, volume = checked(dose_gy, cc)
    return float(tail_weights(metric, dose, volume) @ dose)


@measure.register
def _(metric: Homogeneity, dose_gy: npt.ArrayLike, cc: npt.ArrayLike) -> float:
    d2, d50, d98 = (measure(DoseAtVolume(share, "%"), dose_gy, cc) for share in (2.0, 50.0, 98.0))
    # Without dose no homogeneity is defined; as a number it is as bad as can be.
    return (d2 - d98) / d50 if d50 > 0 else np.inf


@measure.register
def _(metric: Biological, dose_gy: npt.ArrayLike, cc: npt.ArrayLike) -> float:
    dose, volume = checked(dose_gy, cc)
    return measure(metric.metric, metric.of(dose), volume)


def tail_weights(metric: TailMean, dose_gy: Float64Array, cc: Float64Array) -> Float64Array:
    """What each voxel counts in a tail mean, (n,), summing to one: whole voxels, and part of the one at the border."""
    order = np.argsort(dose_gy if metric.end == "coldest" else -dose_gy, kind="stable")
    tail_cc = metric.percent / 100.0 * float(cc.sum())
    before = np.cumsum(cc[order]) - cc[order]
    weights = np.zeros(cc.size)
    weights[order] = np.clip(tail_cc - before, 0.0, cc[order]) / tail_cc
    return weights

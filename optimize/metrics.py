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
    CriticalVolume,
    DoseAtVolume,
    MaxDose,
    MeanDose,
    MinDose,
    StructureVolume,
    VolumeAtDose,
)

Float64Array = npt.NDArray[np.float64]

# Cumulative volumes are sums of up to millions of float64 terms in dose order; without this margin rounding
# alone would decide whether 95 of 100 equal voxels are 95 % of the volume.
SUM_ROUNDING = 1e-10

NEAR_MAXIMUM = DoseAtVolume(0.035, "cc")
"""What stands for a structure's maximum dose: AAPM TG-101 (Benedict et al., Med Phys 37:4078, 2010)."""


def checked(dose_gy: npt.ArrayLike, cc: npt.ArrayLike) -> tuple[Float64Array, Float64Array]:
    """The two arrays as float64, or an error that says why they cannot be judged.

    Raises
    ------
    InputError
        No voxel, unequal lengths, a value that is not finite, or a volume that is not positive.
    """
    dose, volume = np.asarray(dose_gy, dtype=np.float64), np.asarray(cc, dtype=np.float64)
    if dose.ndim != 1 or dose.shape != volume.shape:
        raise InputError(f"doses and volumes must be 1-D and equally long, got {dose.shape} and {volume.shape}.")
    if dose.size == 0:
        raise InputError(
            "a dose metric needs at least one voxel, got none.",
            remedy="Check that the structure lies on the dose grid.",
        )
    if not (np.isfinite(dose).all() and np.isfinite(volume).all()):
        raise InputError("doses and volumes must be finite, got NaN or infinity.")
    if volume.min() <= 0:
        raise InputError(f"voxel volumes must be positive in cc, the smallest is {volume.min():.6g}.")
    return dose, volume


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

"""Doses and volumes of the voxels of one structure, checked before anything is measured on them."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from dosecalc.errors import InputError

Float64Array = npt.NDArray[np.float64]

# Cumulative volumes are sums of up to millions of float64 terms in dose order; without this margin rounding
# alone would decide whether 95 of 100 equal voxels are 95 % of the volume.
SUM_ROUNDING = 1e-10


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

"""What is asked of the dose operator and its matrix, checked: voxels, vectors, ways of computing."""

from __future__ import annotations

from typing import Literal

import numpy as np
import numpy.typing as npt

from .beams import Beamlets
from .errors import DoseError, InputError, UsageError
from .grid import Grid
from .heterogeneity import HETEROGENEITIES
from .machine import BeamModel

Precision = Literal["float32", "float64", "reference"]
PRECISIONS: tuple[str, ...] = ("float32", "float64", "reference")


def refuse_unknown_ways(precision: str, heterogeneity: str, beamlets: Beamlets, machine: BeamModel) -> None:
    """Refuse a precision or heterogeneity that there is not, and a source shape that the model cannot hold.

    Raises
    ------
    UsageError
    DoseError
    """
    if precision not in PRECISIONS:
        raise UsageError(f"unknown precision {precision!r}; there are {', '.join(PRECISIONS)}.")
    if heterogeneity not in HETEROGENEITIES:
        raise UsageError(f"unknown heterogeneity {heterogeneity!r}; there are {', '.join(HETEROGENEITIES)}.")
    _refuse_rotated_oblong_source(beamlets, machine)


def vector(name: str, value: npt.ArrayLike, length: int, of: str) -> npt.NDArray[np.float64]:
    """A vector of finite numbers, one for each voxel or beamlet; anything else is an InputError."""
    array = np.asarray(value, dtype=np.float64)
    if array.shape != (length,) or not np.all(np.isfinite(array)):
        raise InputError(f"{name} must be {length} finite numbers (one per {of[:-1]}), got shape {array.shape}.")
    return array


def voxel_indices(voxels: npt.ArrayLike | None, grid: Grid) -> npt.NDArray[np.int64]:
    """C-order flat indices of a grid, all by default; anything else is an InputError."""
    if voxels is None:
        return np.arange(grid.size)
    flat = np.asarray(voxels)
    if flat.ndim != 1 or not np.issubdtype(flat.dtype, np.integer):
        raise InputError(f"voxels must be a 1-D integer array, got shape {flat.shape} and dtype {flat.dtype}.")
    if flat.size and (flat.min() < 0 or flat.max() >= grid.size):
        raise InputError(f"voxels must lie in 0..{grid.size - 1} (C-order indices of the grid).")
    return flat.astype(np.int64)


def _refuse_rotated_oblong_source(beamlets: Beamlets, machine: BeamModel) -> None:
    unequal = machine.source_sigma_mm[0] != machine.source_sigma_mm[1]
    turned = [b.collimator_deg for b in beamlets.beams if b.collimator_deg % 180 != 0]
    if unequal and turned:
        raise DoseError(
            f"machine {machine.name!r} has a source blur of {machine.source_sigma_mm} mm, unequal along u and v and "
            f"fixed to the gantry; at collimator {turned[0]:g} degrees the model is not separable.",
            remedy="Use collimator 0 or 180, or a machine with equal blur.",
        )

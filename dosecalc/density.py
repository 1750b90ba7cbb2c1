"""CT numbers to relative electron density.

The dose model needs the electron density relative to water, not the mass density and not the stopping power.
A calibration table belongs to a scanner and a tube voltage: the table that comes with a machine is a stated
default, which a user replaces by the scanner's own.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from .errors import InputError
from .grid import Volume

WATER_TOLERANCE = 0.05
"""Of the density at 0 HU: scanners drift by 5 HU (0.005); a table in g/cm3 x 1000, or of other columns, is far off."""


@dataclass(frozen=True, slots=True, eq=False)
class HuCalibration:
    """Piecewise linear table from CT number to relative electron density.

    Parameters
    ----------
    hu : (n,) float64
        Increasing CT numbers; the first at most -900 (air).
    relative_electron_density : (n,) float64
        Electron density relative to water: not negative, not decreasing, about 1 at 0 HU.
    source : str
        Where the table comes from.
    sha256 : str
        Of the user's file; empty for the default of a machine, whose own hash covers it.

    Raises
    ------
    InputError
        Fewer than two entries, unequal lengths, wrong order, or a source left out.
    """

    hu: npt.NDArray[np.float64]
    relative_electron_density: npt.NDArray[np.float64]
    source: str
    sha256: str = ""

    def __post_init__(self) -> None:
        for name in ("hu", "relative_electron_density"):
            column = np.array(getattr(self, name), dtype=np.float64)
            column.flags.writeable = False
            object.__setattr__(self, name, column)
        fault = _fault(self.hu, self.relative_electron_density, self.source)
        if fault:
            raise InputError(
                f"the calibration of CT numbers is unusable: {fault}.",
                remedy="Give increasing HU from air upwards with their electron density relative to water.",
            )


def _fault(hu: npt.NDArray[Any], density: npt.NDArray[Any], source: str) -> str | None:
    """What is wrong with a calibration table, or None."""
    if hu.ndim != 1 or hu.shape != density.shape or len(hu) < 2:
        return f"{hu.shape} CT numbers and {density.shape} densities, expected two equal columns of 2 or more"
    if not (np.isfinite(hu).all() and np.isfinite(density).all()):
        return "it holds a value that is not a finite number"
    if not (np.diff(hu) > 0).all():
        return "CT numbers do not increase"
    if density[0] < 0 or not (np.diff(density) >= 0).all():
        return "densities are negative or decrease"
    if hu[0] > -900:
        return f"its lowest CT number is {hu[0]:g}, expected air (at most -900)"
    water = float(np.interp(0.0, hu, density))
    if hu[-1] < 0 or abs(water - 1.0) > WATER_TOLERANCE:
        return f"water (0 HU) has density {water:.4g}, expected 1 within {WATER_TOLERANCE:g}"
    return None if source.strip() else "its source is not stated"


def to_density(ct: Volume, calibration: HuCalibration) -> Volume:
    """Electron density relative to water of every CT voxel.

    CT numbers below the first entry of the table (noise in air, and padding outside the scanner's circle such
    as -1024 or -2000) count as that entry, air. CT numbers above the last entry are refused.

    Parameters
    ----------
    ct : Volume
        CT numbers in HU.
    calibration : HuCalibration

    Returns
    -------
    Volume
        Relative electron density, float32, on the same grid.

    Raises
    ------
    InputError
        A CT number is not finite or lies above the table.
    """
    hu = np.asarray(ct.values)
    if not np.isfinite(hu).all():
        bad = int(hu.size - np.isfinite(hu).sum())
        raise InputError(f"the CT holds {bad} voxels that are not finite numbers, expected HU.")
    top = calibration.hu[-1]
    if hu.max() > top:
        above = int((hu > top).sum())
        raise InputError(
            f"{above} of {hu.size} CT voxels lie above {top:g} HU, the end of the calibration table "
            f"(highest {float(hu.max()):g} HU).",
            remedy="Override metal in the CT, check the rescale slope, or extend the calibration.",
        )
    density = np.interp(hu, calibration.hu, calibration.relative_electron_density)
    return Volume(ct.grid, density.astype(np.float32))

"""The medium that rays cross: the CT as electron density, with the body's outside and stated densities decided.

Outside the Body nothing counts by default. The couch of the scanner is not that of the linac, clothing and an arm may
lie elsewhere on the day, and the machine's calibration has the air in front of the patient in it already. What is left
out that way is measured along every beam and told; `outside_body="as_scanned"` counts it. Voxels of the Body and those
that touch them keep what was scanned, because the skin fills voxels in part.

A density that the user states for a structure takes the place of the CT's in every voxel that lies at least half in
it, inside the Body or not: for contrast in bowel, metal and its artefacts, lung in a target.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
from scipy import ndimage

from .beams import Beam
from .density import HuCalibration, to_density
from .errors import InputError
from .grid import Volume
from .mixture import SCALE_LAST
from .raytrace import trace
from .structures import Structure

Array = npt.NDArray[Any]
OutsideBody = Literal["nothing", "as_scanned"]

MOST_RAYS = 300
"""To the target, per beam, on which what lies outside the Body is measured."""
WORTH_SAYING_MM, WORTH_SAYING_SHARE = 2.0, 0.01
"""Water-equivalent thickness of what lies outside the Body, about 1 % of the dose, and the share of a beam's rays."""


@dataclass(frozen=True, slots=True)
class DensityOverride:
    """A stated electron density relative to water for a structure.

    Raises
    ------
    InputError
        A density below 0, or above 4.5, the end of the kernel table: titanium has 3.8, steel 6.7.
    """

    name: str
    density: float

    def __post_init__(self) -> None:
        if not (math.isfinite(self.density) and 0.0 <= self.density <= SCALE_LAST):
            raise InputError(
                f"a density of {self.density:g} relative to water is stated, expected 0 to {SCALE_LAST:g}.",
                where=f"structure {self.name!r}",
                remedy="Water is 1, lung about 0.26, cortical bone 1.78, titanium 3.8.",
            )


@dataclass(frozen=True, slots=True)
class AppliedOverride:
    """What a stated density replaced.

    Attributes
    ----------
    name : str
    density : float
        Relative to water.
    cc : float
        Volume of the voxels.
    mean_hu, low_hu, high_hu : float
        What the CT had there.
    """

    name: str
    density: float
    cc: float
    mean_hu: float
    low_hu: float
    high_hu: float

    def __str__(self) -> str:
        return (
            f"density of {self.name} set to {self.density:g} relative to water in {self.cc:.1f} cc, where the CT has "
            f"{self.mean_hu:.0f} HU on average ({self.low_hu:.0f} to {self.high_hu:.0f})"
        )


@dataclass(frozen=True, slots=True, eq=False)
class Medium:
    """Densities ready for the dose.

    Attributes
    ----------
    density : Volume
        Electron density relative to water, float32, on the CT's grid.
    outside_body : str
        "nothing" or "as_scanned".
    applied : tuple of AppliedOverride
    as_scanned : (nz, ny, nx) bool
        Voxels of the Body and around it whose density is the CT's.
    """

    density: Volume
    outside_body: OutsideBody
    applied: tuple[AppliedOverride, ...]
    as_scanned: npt.NDArray[np.bool_]


def medium(
    ct: Volume,
    calibration: HuCalibration,
    body: Structure,
    overrides: Sequence[tuple[Structure, DensityOverride]] = (),
    outside_body: OutsideBody = "nothing",
) -> Medium:
    """Density of every CT voxel as the dose model takes it.

    Parameters
    ----------
    ct : Volume
        HU.
    calibration : HuCalibration
    body : Structure
        Its outline.
    overrides : sequence of (Structure, DensityOverride)
    outside_body : str
        "nothing" (density 0) or "as_scanned".

    Raises
    ------
    InputError
        CT numbers that the calibration does not cover where they count; an override without a voxel, or two that
        claim the same ones.
    """
    near = near_body(body, ct)
    stated, applied = _stated(ct, overrides)
    read = (near if outside_body == "nothing" else np.ones_like(near)) & np.isnan(stated)
    # what does not count is not looked up, so that metal of the couch or under an override is no reason to refuse
    found = to_density(Volume(ct.grid, np.where(read, ct.values, calibration.hu[0])), calibration)
    values = np.where(read, found.values, np.float32(0.0))
    np.copyto(values, stated, where=~np.isnan(stated))
    return Medium(Volume(ct.grid, values), outside_body, applied, near & np.isnan(stated))


def near_body(body: Structure, ct: Volume) -> npt.NDArray[np.bool_]:
    """Voxels that hold a share of the body, and those that share a face with one: (nz, ny, nx)."""
    inside = np.zeros(ct.grid.size, bool)
    inside[body.on(ct.grid).indices] = True
    return np.asarray(ndimage.binary_dilation(inside.reshape(ct.grid.shape)))


def outside_warnings(
    made: Medium, ct: Volume, calibration: HuCalibration, body: Structure, beams: Iterable[Beam], points_mm: Array,
    *, sad_mm: float, tpr20_10: float
) -> list[str]:  # fmt: skip
    """One sentence for each beam whose rays to the target cross something outside the Body: a couch, clothing, an arm.

    Parameters
    ----------
    made : Medium
    ct : Volume
        HU.
    calibration : HuCalibration
    body : Structure
    beams : iterable of Beam
    points_mm : (n, 3)
        Of the target; at most `MOST_RAYS` of them, evenly taken, are looked at.
    sad_mm, tpr20_10 : float
        Of the machine; the second gives the effect, ln(1 / TPR) / 100 mm.
    """
    hu = np.asarray(ct.values)
    beside = ~near_body(body, ct) & (hu >= _AIR_BELOW_HU)
    thick = np.zeros(ct.grid.shape, np.float32)
    # above the table's end its last density: what is left out is only estimated
    thick[beside] = np.interp(hu[beside], calibration.hu, calibration.relative_electron_density)
    points = points_mm[:: max(1, len(points_mm) // MOST_RAYS)]
    told = []
    for beam in beams:
        depth = trace(Volume(ct.grid, thick), beam.source_mm(sad_mm), points)[0]
        crossed = depth >= WORTH_SAYING_MM
        if crossed.mean() >= WORTH_SAYING_SHARE:
            mean = float(depth[crossed].mean())
            effect = 100.0 * mean * math.log(1.0 / tpr20_10) / 100.0
            counted = "counts as scanned" if made.outside_body == "as_scanned" else "is left out of the dose"
            told.append(
                f"{beam.name}: {crossed.mean():.0%} of its rays cross something outside the Body (couch, clothing, "
                f"arm), {mean:.0f} mm of water on average, {effect:.0f} % of their dose; it {counted}."
            )
    return told


_AIR_BELOW_HU = -900.0  # air with noise: some tenths of a millimetre of water, inside the machine's calibration


def _stated(
    ct: Volume, overrides: Sequence[tuple[Structure, DensityOverride]]
) -> tuple[npt.NDArray[np.float32], tuple[AppliedOverride, ...]]:
    """Stated density of every voxel, NaN where the CT's holds, and what was replaced."""
    stated, applied, hu = np.full(ct.grid.size, np.nan, np.float32), [], np.asarray(ct.values).reshape(-1)
    for structure, override in overrides:
        voxels = structure.on(ct.grid)
        chosen = voxels.indices[voxels.cc >= 0.5 * ct.grid.voxel_cc]
        if not chosen.size:
            raise InputError(
                "no voxel of the CT lies at least half in it, so no density can be set.",
                where=f"structure {override.name!r}",
            )
        before = stated[chosen]
        if (clash := ~np.isnan(before) & (before != np.float32(override.density))).any():
            raise InputError(
                f"{clash.sum() * ct.grid.voxel_cc:.1f} cc have another density by an override of another structure.",
                where=f"structure {override.name!r}",
                remedy="State one density for each place.",
            )
        stated[chosen] = override.density
        here = hu[chosen].astype(np.float64)
        cc = chosen.size * ct.grid.voxel_cc
        applied.append(
            AppliedOverride(
                override.name, override.density, cc, float(here.mean()), float(here.min()), float(here.max())
            )
        )
    return stated.reshape(ct.grid.shape), tuple(applied)

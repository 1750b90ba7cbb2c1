"""What HU inside the body say about the density that is read from them: metal, saturation, padding, contrast."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import numpy.typing as npt
from scipy import ndimage

from .density import HuCalibration
from .grid import Volume
from .plausibility import AIR_HU, DENSE_HU
from .structures import Voxels

METAL_HU = 3000.0
"""No tissue: dense cortical bone ends near 2000 HU, enamel below 3000."""
SATURATED_HU, SATURATED_VOXELS = 2000.0, 20
"""A highest value above the first that so many voxels share is where the scanner's range ended (3071 in 12 bits)."""
LEAST_CC = 0.1
"""Of padding inside the body, and of the tissue that borders on padding, below which nothing is said."""
CONTRAST_HU, PLAIN_LIVER_HU = 100.0, 55.0
"""Mean of a liver above which it is enhanced, and that of one without contrast (50 to 60 HU in healthy adults)."""
PATH_MM = 100.0
"""Of liver in front of a target, for the size of the effect of contrast."""


def hu_notices(ct: Volume, counted: npt.NDArray[np.bool_]) -> list[str]:
    """What makes the density of these voxels doubtful.

    Parameters
    ----------
    ct : Volume
        HU.
    counted : (nz, ny, nx) bool
        Voxels of the body whose density is the CT's, so without density overrides.
    """
    hu, told = np.asarray(ct.values)[counted], []
    if not hu.size:
        return []
    highest = float(hu.max())
    if metal := int((hu > METAL_HU).sum()):
        told.append(
            f"CT: {metal * ct.grid.voxel_cc:.2f} cc of the Body lie above {METAL_HU:g} HU (highest {highest:.0f}): "
            "metal, whose density the table takes for very dense bone, and artefacts around it. Contour both and state "
            "their density (--density NAME=VALUE)."
        )
    if highest > SATURATED_HU and (same := int((hu == highest).sum())) >= SATURATED_VOXELS:
        told.append(
            f"CT: {same} voxels share the highest value, {highest:.0f} HU: the scanner's range ended there, and their "
            "true density is higher."
        )
    return told + _padding(ct, counted)


def _padding(ct: Volume, counted: npt.NDArray[np.bool_]) -> list[str]:
    """What the scanner did not see: inside the body, or beside its tissue."""
    padding = np.asarray(ct.values) < AIR_HU[0]
    if not padding.any():
        return []
    told, voxel_cc = [], ct.grid.voxel_cc
    if (missing := int((padding & counted).sum()) * voxel_cc) >= LEAST_CC:
        told.append(
            f"CT: {missing:.1f} cc of the Body are padding (below {AIR_HU[0]:g} HU), which counts as air: tissue is "
            "missing to beams from there."
        )
    in_plane: Any = ndimage.generate_binary_structure(2, 1)[None]
    edge = ndimage.binary_dilation(padding, in_plane) & counted & (np.asarray(ct.values) > DENSE_HU)
    if (cut := int(edge.sum()) * voxel_cc) >= LEAST_CC:
        told.append(
            f"CT: {cut:.1f} cc of tissue border on padding: the circle that the scanner sees cuts the body, and tissue "
            "is missing to beams from there."
        )
    return told


def contrast_notice(
    ct: Volume, liver: Voxels, counted: npt.NDArray[np.bool_], calibration: HuCalibration, tpr20_10: float
) -> list[str]:
    """Iodine in the liver, which the table reads as denser tissue, with the size of the effect on the dose.

    Parameters
    ----------
    ct : Volume
        HU.
    liver : Voxels
        On the CT's grid.
    counted : (nz, ny, nx) bool
        Voxels whose density is the CT's.
    calibration : HuCalibration
    tpr20_10 : float
        Of the machine: the dose falls by ln(1 / TPR) per 100 mm of water.
    """
    kept = counted.reshape(-1)[liver.indices]
    if not kept.any():
        return []
    mean = float(np.average(np.asarray(ct.values).reshape(-1)[liver.indices[kept]], weights=liver.cc[kept]))
    if mean <= CONTRAST_HU:
        return []
    read, plain = np.interp([mean, PLAIN_LIVER_HU], calibration.hu, calibration.relative_electron_density)
    effect = PATH_MM * (read - plain) * math.log(1.0 / tpr20_10) / 100.0
    return [
        f"Liver: {mean:.0f} HU on average suggest iodine contrast, which the table reads as density {read:.3f} in "
        f"place of {plain:.3f}: {PATH_MM:g} mm of such liver make the dose behind it {100 * effect:.1f} % too low. "
        "Plan on a scan without contrast, or state its density (--density Liver=1.05); contrast in vessels acts alike."
    ]

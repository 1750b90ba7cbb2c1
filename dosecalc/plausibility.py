"""Whether a CT can be that of a patient in HU and mm, and a dose that of a course in Gy.

HU are 0 in water and -1000 in air (their definition), so whatever the patient: fat (about -100) and noise lie below 0,
soft tissue near 0, and only bone, metal and dense contrast above a few hundred. Values that were never rescaled,
shifted by 1024, windowed or normalised break one of these.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from .errors import InputError
from .grid import Volume

SPACING_MM = (0.2, 20.0)
"""Of voxels: scanners make 0.2 mm at the finest; slices 20 mm apart miss a lesion. Lengths in m or cm lie outside."""
FIELD_MM = (100.0, 1000.0)
"""Across the scan: less holds no trunk, and more is wider than the bore of a scanner (up to 900 mm)."""
DENSE_HU = -300.0
"""Between fat and lung or air: what lies above is body, couch or bolus."""
AIR_HU = (-1100.0, -850.0)
"""Air, with noise and the drift of calibration; padding (-2000, -3024) lies below, inflated lung (-800) above."""
TISSUE_HU = (-200.0, 300.0)
"""For the median of all that is dense in the middle: -100 in fat alone, 50 in organs alone, 200 in enhanced vessels."""
USUAL_TISSUE_HU = (-120.0, 150.0)
"""The same for whole cross-sections of patients; a median beyond it is told, not refused."""
PEAK_HU = 600.0
"""No tissue fills a narrow range of HU above this: bone spreads over hundreds, enhanced blood ends below 500."""
PEAK_SHARE, PEAK_WIDTH_HU = 0.02, 50.0
"""A range of HU with this share of all that is dense is a tissue of its own, not the tail of bone."""
LEAST_DENSE, LEAST_AIR = 0.02, 0.005
"""Shares of the middle, where the patient lies, and of the scan: less air than this is none outside the patient."""
MOST_PADDING = 0.35
"""Share of the scan: outside the circle that a scanner sees lies 1 - pi/4 = 0.21 of the square."""
LEAST_SPAN_HU = 100.0
"""Fat and soft tissue alone lie this far apart."""
CUT_SHARE, CUT_HU = 0.05, -900.0
"""Share of the scan at its very lowest value, and that value: noise spreads tissue, only air and padding are flat."""
COURSE_GY = (0.01, 1000.0)
"""For the hottest voxel of a course: five times the doses of stereotactic radiotherapy, and less than any treatment."""
COARSE_MM = 3.0
"""AAPM TG-101 (Med. Phys. 37, 4078, 2010) asks for dose grids of 2 mm or finer and discourages more than 3 mm."""
_MOST_VOXELS = 2_000_000  # looked at, evenly taken: enough for shares of 0.5 %


@dataclass(frozen=True, slots=True)
class Findings:
    """What the values of a CT look like.

    Attributes
    ----------
    air_hu, tissue_hu : float or None
        Medians of air, and of all that is denser than lung in the middle of the field; None where there is none.
    faults : tuple of str
        What cannot be a patient's CT in HU and mm.
    doubts : tuple of str
        What is unusual, but occurs.
    """

    air_hu: float | None
    tissue_hu: float | None
    faults: tuple[str, ...]
    doubts: tuple[str, ...]


def findings(ct: Volume) -> Findings:
    """Look at the values and the spacing of a CT (HU, mm)."""
    step = max(1, int(np.ceil((ct.grid.size / _MOST_VOXELS) ** (1 / 3))))
    taken = np.asarray(ct.values)[::step, ::step, ::step]
    ny, nx = taken.shape[1:]
    # the half of either axis where the patient lies, whatever the field of view
    middle = taken[:, ny // 4 : ny - ny // 4, nx // 4 : nx - nx // 4].reshape(-1)
    dense, hu = middle[middle > DENSE_HU], taken.reshape(-1)
    air = hu[(hu > AIR_HU[0]) & (hu < AIR_HU[1])]
    air_hu = float(np.median(air)) if air.size >= LEAST_AIR * hu.size else None
    tissue_hu = float(np.median(dense)) if dense.size else None
    faults, doubts = _length_faults(ct), []
    if fault := _scale_fault(hu, air_hu) or _tissue_fault(dense, middle.size):
        faults.append(fault)
    elif tissue_hu is not None and not USUAL_TISSUE_HU[0] <= tissue_hu <= USUAL_TISSUE_HU[1]:
        doubts.append(
            f"CT: the median of all that is denser than lung is {tissue_hu:.0f} HU; in most patients it lies between "
            f"{USUAL_TISSUE_HU[0]:g} and {USUAL_TISSUE_HU[1]:g}. Is the CT in HU?"
        )
    if air_hu is None and not faults:
        doubts.append(
            "CT: nothing in the scan has the HU of air (about -1000): is it cropped to the inside of the patient? "
            "Beams enter where the scan ends, and tissue is missing to them."
        )
    return Findings(air_hu, tissue_hu, tuple(faults), tuple(doubts))


def check_ct(ct: Volume, *, accepted: bool = False) -> tuple[str, ...]:
    """What must be said about a CT before a plan is made on it.

    Parameters
    ----------
    ct : Volume
        HU.
    accepted : bool
        The user wants it all the same: faults are told instead of raised.

    Raises
    ------
    InputError
        The CT cannot be a patient's in HU and mm.
    """
    found = findings(ct)
    if found.faults and not accepted:
        raise InputError(
            "the CT is implausible: " + "; ".join(found.faults) + ".",
            remedy="Check its rescale slope and intercept, its unit of length, or export it again as HU in mm; "
            "--accept-ct plans on it as it is, which is recorded.",
        )
    return (*(f"CT: implausible, accepted by the user: {fault}." for fault in found.faults), *found.doubts)


def dose_doubts(dose: Volume) -> list[str]:
    """What makes a dose (Gy) doubtful as that of a whole course: its size, or too coarse a grid."""
    told, highest = [], float(dose.values.max())
    if not COURSE_GY[0] <= highest <= COURSE_GY[1]:
        told.append(
            f"the highest dose is {highest:.4g} Gy, which no course has: is its unit or its scaling wrong (cGy, "
            "percent, one fraction)?"
        )
    spacing = dose.grid.spacing_mm
    if max(spacing) > COARSE_MM:
        grid = " x ".join(f"{s:.3g}" for s in spacing)
        told.append(
            f"the dose grid is coarse ({grid} mm, more than {COARSE_MM:g} mm): doses to small volumes (below about "
            "1 cc) and at steep gradients cannot be trusted."
        )
    return told


def _length_faults(ct: Volume) -> list[str]:
    spacing = ct.grid.spacing_mm
    if not SPACING_MM[0] <= min(spacing) <= max(spacing) <= SPACING_MM[1]:
        voxel = " x ".join(f"{s:.3g}" for s in spacing)
        return [f"its voxels are {voxel} mm, expected {SPACING_MM[0]:g} to {SPACING_MM[1]:g} mm"]
    across = [n * s for n, s in zip(ct.grid.shape[:0:-1], spacing[:2], strict=True)]
    if not FIELD_MM[0] <= min(across) <= max(across) <= FIELD_MM[1]:
        field = " x ".join(f"{a:.3g}" for a in across)
        return [f"it is {field} mm across, expected {FIELD_MM[0]:g} to {FIELD_MM[1]:g} mm"]
    return []


def _scale_fault(hu: npt.NDArray[Any], air_hu: float | None) -> str:
    """The first reason why the range of these values cannot be that of HU; empty if there is none."""
    low, high = float(hu.min()), float(hu.max())
    if high - low < LEAST_SPAN_HU:
        return f"its values lie between {low:.4g} and {high:.4g}, and fat and soft tissue alone are 100 HU apart"
    if low >= 0:
        return f"no value lies below 0 (they go from {low:.4g} to {high:.4g}), where fat and air have their HU"
    if low > CUT_HU and np.count_nonzero(hu == low) >= CUT_SHARE * hu.size:
        return f"its values are cut off at {low:.4g}, where air should have about -1000 (a display window?)"
    below = hu[hu <= AIR_HU[0]]
    if air_hu is None and below.size >= MOST_PADDING * hu.size:
        return (
            f"{below.size / hu.size:.0%} of it have about {np.median(below):.0f} HU and nothing has that of air, -1000"
        )
    return ""


def _tissue_fault(dense: npt.NDArray[Any], count: int) -> str:
    """The first reason why the dense ones of `count` values in the middle cannot be tissue; empty if there is none."""
    if dense.size < LEAST_DENSE * count:
        return f"in its middle only {dense.size / count:.1%} lie above {DENSE_HU:g} HU, as fat and soft tissue do"
    edges = np.arange(DENSE_HU, float(dense.max()) + 2 * PEAK_WIDTH_HU, PEAK_WIDTH_HU)
    counts = np.where(edges[:-1] >= PEAK_HU, np.histogram(dense, edges)[0], 0)
    if counts.max() >= PEAK_SHARE * dense.size:
        peak = edges[int(np.argmax(counts))] + PEAK_WIDTH_HU / 2
        return f"much of it has about {peak:.0f} HU, and soft tissue has 0 to 100 (an intercept of -1024 left out?)"
    median = float(np.median(dense))
    if not TISSUE_HU[0] <= median <= TISSUE_HU[1]:
        return f"the median of all that is denser than lung is {median:.0f} HU, expected about 0 to 100"
    return ""

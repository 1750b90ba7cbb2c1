"""IEC 61217 machine angles in DICOM patient coordinates (LPS), and nothing else.

Conventions (IEC 61217, for a head-first supine patient at couch angle 0): fixed X = patient left (LPS +x), fixed Y =
superior (+z), fixed Z = anterior (-y). At gantry 0 the source is above the patient, at gantry 90 on the patient's left.
The beam limiting device system (u along Xb, v along Yb) has Zb towards the source. The patient rotates with the couch,
so in patient coordinates the beam counter-rotates.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

FIXED_TO_LPS = np.array([[1.0, 0.0, 0.0], [0.0, 0.0, -1.0], [0.0, 1.0, 0.0]])
"""Columns: IEC fixed X, Y, Z expressed in LPS for a head-first supine patient at couch angle 0."""


def rotation_about_z(angle_deg: float) -> npt.NDArray[np.float64]:
    """Matrix that turns coordinates of a system rotated by `angle_deg` about +Z into its mother system's."""
    c, s = _cos_sin(angle_deg)
    return np.array([[c, -s, 0.0], [s, c, 0.0], [0.0, 0.0, 1.0]])


def rotation_about_y(angle_deg: float) -> npt.NDArray[np.float64]:
    """The same about +Y (gantry rotation: +Z turns towards +X)."""
    c, s = _cos_sin(angle_deg)
    return np.array([[c, 0.0, s], [0.0, 1.0, 0.0], [-s, 0.0, c]])


def beam_to_lps(gantry_deg: float, couch_deg: float = 0.0, collimator_deg: float = 0.0) -> npt.NDArray[np.float64]:
    """Unit vectors of the beam limiting device system in LPS.

    Parameters
    ----------
    gantry_deg, couch_deg, collimator_deg : float
        IEC 61217 angles in degrees.

    Returns
    -------
    (3, 3) float64
        Columns are Xb (u), Yb (v) and Zb (towards the source) in LPS.
    """
    beam_to_fixed = rotation_about_y(gantry_deg) @ rotation_about_z(collimator_deg)
    fixed_to_couch = rotation_about_z(couch_deg).T
    return FIXED_TO_LPS @ fixed_to_couch @ beam_to_fixed


def source_position_mm(
    gantry_deg: float, couch_deg: float, isocentre_mm: npt.ArrayLike, sad_mm: float
) -> npt.NDArray[np.float64]:
    """LPS position of the source, (3,) float64 in mm."""
    return np.asarray(isocentre_mm, dtype=np.float64) + sad_mm * beam_to_lps(gantry_deg, couch_deg)[:, 2]


def _cos_sin(angle_deg: float) -> tuple[float, float]:
    """Cosine and sine, exact at multiples of 90 degrees so that axis-parallel beams stay axis-parallel."""
    turned = angle_deg % 360.0
    exact = {0.0: (1.0, 0.0), 90.0: (0.0, 1.0), 180.0: (-1.0, 0.0), 270.0: (0.0, -1.0)}
    if turned in exact:
        return exact[turned]
    angle = np.deg2rad(turned)
    return float(np.cos(angle)), float(np.sin(angle))

"""IEC 61217 machine angles in DICOM patient coordinates (LPS), and nothing else.

Conventions (IEC 61217): fixed Y points from the isocentre to the gantry, fixed Z up, fixed X to the right of someone
who faces the gantry. How these lie in the patient follows from the patient position (DICOM PS3.3 section
C.7.3.1.1.2): head first supine, at couch angle 0, X = left (LPS +x), Y = superior (+z), Z = anterior (-y). At gantry
0 the source is above the patient, at gantry 90 on the side of +X. The beam limiting device system (u along Xb, v
along Yb) has Zb towards the source. The patient rotates with the couch, so in patient coordinates the beam
counter-rotates.
"""

from __future__ import annotations

from types import MappingProxyType

import numpy as np
import numpy.typing as npt

from .errors import InputError

_LEFT, _POSTERIOR, _SUPERIOR = np.eye(3)
_TOWARDS_GANTRY = {"HF": _SUPERIOR, "FF": -_SUPERIOR}
_UPWARDS = {"S": -_POSTERIOR, "P": _POSTERIOR, "DR": _LEFT, "DL": -_LEFT}  # decubitus right: the right side is below


def _fixed_axes(towards_gantry: npt.NDArray[np.float64], upwards: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    matrix = np.stack([np.cross(towards_gantry, upwards), towards_gantry, upwards], axis=1)
    matrix.flags.writeable = False
    return matrix


FIXED_TO_LPS = MappingProxyType(
    {first + side: _fixed_axes(y, z) for first, y in _TOWARDS_GANTRY.items() for side, z in _UPWARDS.items()}
)
"""By patient position: a matrix whose columns are IEC fixed X, Y and Z in LPS at couch angle 0."""
PATIENT_POSITIONS = tuple(FIXED_TO_LPS)


def check_position(patient_position: str | None) -> None:
    """Refuse a patient position that is stated and unknown.

    Raises
    ------
    InputError
    """
    if patient_position not in (None, *PATIENT_POSITIONS):
        raise InputError(
            f"patient position {patient_position!r} is unknown.", remedy=f"There are {', '.join(PATIENT_POSITIONS)}."
        )


def known_position(patient_position: str | None) -> str | None:
    """A patient position as somebody types it ("hfs"), as DICOM has it ("HFS"); None where none is stated.

    Raises
    ------
    InputError
        It is unknown.
    """
    position = None if patient_position is None else patient_position.strip().upper()
    check_position(position)
    return position


def rotation_about_z(angle_deg: float) -> npt.NDArray[np.float64]:
    """Matrix that turns coordinates of a system rotated by `angle_deg` about +Z into its mother system's."""
    c, s = _cos_sin(angle_deg)
    return np.array([[c, -s, 0.0], [s, c, 0.0], [0.0, 0.0, 1.0]])


def rotation_about_y(angle_deg: float) -> npt.NDArray[np.float64]:
    """The same about +Y (gantry rotation: +Z turns towards +X)."""
    c, s = _cos_sin(angle_deg)
    return np.array([[c, 0.0, s], [0.0, 1.0, 0.0], [-s, 0.0, c]])


def beam_to_lps(
    gantry_deg: float, couch_deg: float = 0.0, collimator_deg: float = 0.0, patient_position: str = "HFS"
) -> npt.NDArray[np.float64]:
    """Unit vectors of the beam limiting device system in LPS.

    Parameters
    ----------
    gantry_deg, couch_deg, collimator_deg : float
        IEC 61217 angles in degrees.
    patient_position : str
        One of `PATIENT_POSITIONS`.

    Returns
    -------
    (3, 3) float64
        Columns are Xb (u), Yb (v) and Zb (towards the source) in LPS.
    """
    beam_to_fixed = rotation_about_y(gantry_deg) @ rotation_about_z(collimator_deg)
    fixed_to_couch = rotation_about_z(couch_deg).T
    return FIXED_TO_LPS[patient_position] @ fixed_to_couch @ beam_to_fixed


def angles_of_direction(towards_source: npt.ArrayLike, patient_position: str) -> tuple[float, float]:
    """Gantry and couch angle of a beam that comes from a direction in the patient.

    Of the two ways to get there the one with the couch between -90 and 90 degrees is taken.

    Parameters
    ----------
    towards_source : (3,)
        LPS direction, not 0.
    patient_position : str

    Returns
    -------
    gantry_deg, couch_deg : float
        Within 0 <= angle < 360.
    """
    x, y, z = np.asarray(towards_source, dtype=np.float64) @ FIXED_TO_LPS[patient_position]
    # the inverse of (sin g cos c, -sin g sin c, cos g), the source seen from a couch turned by c
    across = float(np.hypot(x, y))
    if across < 1e-12:
        return (0.0 if z > 0 else 180.0), 0.0
    side = 1.0 if x >= 0 else -1.0
    gantry, couch = np.degrees(np.arctan2(side * across, z)), np.degrees(np.arctan2(-side * y, side * x))
    return float(np.round(gantry, 9) % 360.0), float(np.round(couch, 9) % 360.0)


def _cos_sin(angle_deg: float) -> tuple[float, float]:
    """Cosine and sine, exact at multiples of 90 degrees so that axis-parallel beams stay axis-parallel."""
    turned = angle_deg % 360.0
    exact = {0.0: (1.0, 0.0), 90.0: (0.0, 1.0), 180.0: (-1.0, 0.0), 270.0: (0.0, -1.0)}
    if turned in exact:
        return exact[turned]
    angle = np.deg2rad(turned)
    return float(np.cos(angle)), float(np.sin(angle))

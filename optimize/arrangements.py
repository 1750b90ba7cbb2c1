"""Beam arrangements as text: a count, a list of angles, or a template by name."""

from __future__ import annotations

import difflib
from typing import TYPE_CHECKING

from dosecalc.beams import Beam
from dosecalc.errors import InputError, UsageError
from dosecalc.geometry import PATIENT_POSITIONS, angles_of_direction, beam_to_lps
from dosecalc.grid import Triple

if TYPE_CHECKING:
    from dosecalc.dicom import CtSeries  # pydicom takes 30 MB, which choosing beams does not need

Angles = tuple[float, float, float]
"""Gantry, couch, collimator in degrees (IEC 61217)."""

MAX_BEAMS = 72


def _coplanar(first: float, step: float, count: int) -> tuple[Angles, ...]:
    return tuple(((first + k * step) % 360.0, 0.0, 0.0) for k in range(count))


TEMPLATES: dict[str, tuple[Angles, ...]] = {
    # Right-sided lesions: from behind over the patient's right to just left of the front.
    "liver_right": _coplanar(190.0, 25.0, 9),
    # Left lobe: from the right front over the front to the left back.
    "liver_left": _coplanar(300.0, 22.5, 9),
    # Central lesions: nine coplanar beams and four anterior ones that leave the transverse plane.
    "liver_central": (
        *_coplanar(190.0, 27.5, 9),
        (330.0, 25.0, 0.0),
        (30.0, 335.0, 0.0),
        (310.0, 20.0, 0.0),
        (20.0, 340.0, 0.0),
    ),
    # A partial arc in ten-degree steps over the liver_right range.
    "arc_10deg": _coplanar(190.0, 10.0, 21),
}


def parse_beams(text: str, patient_position: str = "HFS") -> tuple[Angles, ...]:
    """Gantry, couch and collimator angles of an arrangement.

    Parameters
    ----------
    text : str
        ``N`` (that many equispaced gantry angles from 0), ``g[:couch[:collimator]],...`` in degrees, or a template
        name. A single whole number is a count; one single beam is written with its couch, ``90:0``.
    patient_position : str
        A template names sides of the patient, and its angles are those of a patient head first supine; in another
        position they become the angles of the same directions in the patient. Angles that are written out are the
        machine's, as they are.

    Raises
    ------
    UsageError
        Not one of these.
    """
    text = text.strip()
    if text in TEMPLATES:
        return tuple(_turned(angles, patient_position) for angles in TEMPLATES[text])
    if text.isascii() and text.isdigit() and len(text) < 10:
        count = int(text)
        if not 1 <= count <= MAX_BEAMS:
            raise UsageError(f"--beams {text}: a count must lie in 1..{MAX_BEAMS}.")
        return _coplanar(0.0, 360.0 / count, count)
    if any(c.isalpha() or c == "_" for c in text) or not text:
        near = difflib.get_close_matches(text, TEMPLATES, n=1)
        listed = f"Write 9, or 200,240:10,300:0:15, or a template: {', '.join(TEMPLATES)}."
        hint = f"Did you mean {near[0]!r}?" if near else listed
        raise UsageError(f"--beams {text[:60]!r} is no count, angle list or template.", remedy=hint)
    parts = text.split(",")
    if len(parts) > MAX_BEAMS:
        raise UsageError(f"--beams lists {len(parts)} beams, at most {MAX_BEAMS} are planned.")
    return tuple(_angles(part) for part in parts)


def beams_at(angles: tuple[Angles, ...], isocentre_mm: Triple, patient_position: str = "HFS") -> tuple[Beam, ...]:
    """Beams of an arrangement around one isocentre."""
    return tuple(Beam(g, c, k, isocentre_mm, patient_position) for g, c, k in angles)


def planning_position(ct: CtSeries) -> tuple[str, tuple[str, ...]]:
    """The patient position that gantry angles are meant for, and what must be said about it.

    Raises
    ------
    InputError
        DICOM images that state none, or one without a meaning for a linac.
    """
    if ct.patient_position in PATIENT_POSITIONS:
        return ct.patient_position, ()
    if ct.is_dicom:
        code = ct.patient_position
        stated = f"state the unknown PatientPosition {code!r}" if code else "state no PatientPosition"
        raise InputError(
            f"the CT images {stated}, and gantry angles have no meaning in the patient without a known one.",
            remedy=f"Give --patient-position, one of {', '.join(PATIENT_POSITIONS)}.",
        )
    return "HFS", (
        "beam angles are meant for a patient head first supine: the CT image's format does not state the position "
        "(--patient-position states it).",
    )


def _turned(angles: Angles, patient_position: str) -> Angles:
    """Angles of the same direction in a patient who lies otherwise than head first supine."""
    if patient_position == "HFS":
        return angles
    gantry, couch, collimator = angles
    return (*angles_of_direction(beam_to_lps(gantry, couch)[:, 2], patient_position), collimator)


def _angles(part: str) -> Angles:
    try:
        numbers = [float(p) for p in part.split(":")]
    except ValueError:
        numbers = []
    if not 1 <= len(numbers) <= 3 or not all(abs(a) <= 360.0 for a in numbers):
        raise UsageError(
            f"--beams: {part.strip()[:60]!r} is not gantry[:couch[:collimator]] in degrees, each within -360..360.",
            remedy="For example 200,240:10,300:0:15.",
        )
    padded = [*numbers, 0.0, 0.0][:3]
    return padded[0], padded[1], padded[2]

"""Figures of lateral profiles: penumbra, field width, tails."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from .rows import Role, Row

Array = npt.NDArray[np.float64]

TAIL_MM = 50.0
"""How far outside the field the tail is compared."""


def normalised(t_mm: Array, dose: Array) -> Array:
    """The profile over its mean within 3 mm of the axis."""
    return dose / dose[np.abs(t_mm) <= 3.0].mean()


def crossings(t_mm: Array, profile: Array, level: float) -> tuple[float, float]:
    """Where the profile falls through a fraction of the axis dose, left (negative) and right."""
    found = []
    for side in (-1, 1):
        outwards = np.argsort(side * t_mm)
        outwards = outwards[side * t_mm[outwards] >= 0]
        below = np.flatnonzero(profile[outwards] < level)[0]
        inner, outer = outwards[below - 1], outwards[below]
        share = (profile[inner] - level) / (profile[inner] - profile[outer])
        found.append(float(t_mm[inner] + share * (t_mm[outer] - t_mm[inner])))
    return found[0], found[1]


def penumbra(t_mm: Array, dose: Array) -> float:
    """Mean distance of both sides between 80 % and 20 % of the axis dose, mm."""
    profile = normalised(t_mm, dose)
    high, low = crossings(t_mm, profile, 0.8), crossings(t_mm, profile, 0.2)
    return 0.5 * (high[0] - low[0] + low[1] - high[1])


def width(t_mm: Array, dose: Array) -> float:
    """Distance between the 50 % points, mm."""
    left, right = crossings(t_mm, normalised(t_mm, dose), 0.5)
    return right - left


def tail_difference(
    case: str, quantity: str, t_mm: Array, ours: Array, theirs: Array, edge_mm: float, tolerance: float, source: str,
    role: Role = "judged",
) -> Row:  # fmt: skip
    """Largest difference 10 to 50 mm outside the field edge, in % of the axis dose; one point reads both sides."""
    mine, reference = normalised(t_mm, ours), normalised(t_mm, theirs)
    beyond = np.abs(t_mm) - edge_mm
    tail = np.flatnonzero((beyond >= 10.0) & (beyond <= TAIL_MM))
    worst = tail[np.argmax(np.abs(mine[tail] - reference[tail]))]
    values = 100 * mine[worst], 100 * reference[worst]
    return Row(
        case, f"{quantity}, worst of 10-50 mm (at {beyond[worst]:.0f} mm)", *values, "% of axis",
        values[0] - values[1], "% of max", tolerance, source, role,
    )  # fmt: skip

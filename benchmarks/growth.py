"""How processor time grows: a power law in voxels, beamlets per beam and beams, fitted to a grid of cases."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True, slots=True)
class Point:
    """One case: voxels, beamlets per beam (a mean), beams, and processor seconds of one dose and one adjoint."""

    voxels: int
    beamlets_per_beam: float
    beams: int
    cpu_s: float


@dataclass(frozen=True, slots=True)
class Exponent:
    """Exponent of one quantity, with its standard error from the scatter of the points."""

    quantity: str
    value: float
    error: float


def exponents(points: Sequence[Point]) -> tuple[Exponent, ...]:
    """Ordinary least squares of log time on the logarithms of the three quantities.

    Raises
    ------
    ValueError
        The points do not vary in each quantity independently, or are too few for an error.
    """
    names = ("voxels", "beamlets per beam", "beams")
    values = np.array([(p.voxels, p.beamlets_per_beam, p.beams) for p in points], float)
    design = np.column_stack([np.ones(len(points)), np.log(values)])
    if len(points) <= design.shape[1] or np.linalg.matrix_rank(design) < design.shape[1]:
        raise ValueError(f"{len(points)} points do not determine an exponent for each of {', '.join(names)}.")
    seconds = np.log([p.cpu_s for p in points])
    fitted = np.linalg.lstsq(design, seconds, rcond=None)[0]
    variance = np.sum((seconds - design @ fitted) ** 2) / (len(points) - design.shape[1])
    errors = np.sqrt(variance * np.diag(np.linalg.inv(design.T @ design)))
    return tuple(Exponent(n, float(v), float(e)) for n, v, e in zip(names, fitted[1:], errors[1:], strict=True))

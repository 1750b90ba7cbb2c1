"""The synthetic geometry that the dose engine is measured on: a block of water with a lung-like and a bone-like insert.

A target sphere in the middle of a dose grid, equispaced coplanar beams on it.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from dosecalc import Beam, DoseInfluence, Grid, Volume, aim, dose_influence, load_machine
from dosecalc.regions import sphere

MACHINE = "generic_6mv"
CUTOFF_MM = 50.0
"""Where a stored matrix is cut; pyRadPlan's default."""
DENSITY_GRID = Grid((-148.5, -118.5, -88.5), (3.0, 3.0, 3.0), (60, 80, 100))
# Voxels of the 3 mm dose grid along z, y, x; beams; diameter of the target in mm.
SIZES = {
    "tiny": ((8, 9, 10), 2, 20.0),
    "small": ((40, 39, 39), 3, 40.0),
    "full": ((50, 64, 63), 9, 60.0),
}


@dataclass(frozen=True, slots=True, eq=False)
class Problem:
    """An operator, and a fluence (B,) and voxel weights (V,) to apply it to."""

    operator: DoseInfluence
    fluence: npt.NDArray[np.float64]
    weights: npt.NDArray[np.float64]

    @property
    def pairs(self) -> int:
        """Voxels times beamlets."""
        voxels, beamlets = self.operator.shape
        return voxels * beamlets

    @property
    def text(self) -> str:
        """The problem in words."""
        operator = self.operator
        voxels, beamlets = operator.shape
        beams = len(operator.beamlets.beams)
        return (
            f"{voxels} voxels of {operator.grid.spacing_mm[0]:g} mm, {beams} beam{'s' if beams > 1 else ''}, "
            f"{beamlets} beamlets of {operator.beamlets.width_u_mm[0]:g} mm"
        )


def inhomogeneous_block() -> Volume:
    """Water, 300 x 240 x 180 mm, with a slab of lung density and a rod of bone density."""
    values = np.ones(DENSITY_GRID.shape, np.float32)
    values[40:, :, :35] = 0.26
    values[:, 55:61, 48:54] = 1.6
    return Volume(DENSITY_GRID, values)


def centred_grid(shape: tuple[int, int, int], spacing_mm: float) -> Grid:
    """A grid of (nz, ny, nx) voxels around the isocentre."""
    corner = tuple(-spacing_mm / 2 * (n - 1) for n in reversed(shape))
    return Grid(corner, (spacing_mm,) * 3, shape)


def problem(
    grid: Grid,
    *,
    beams: int,
    diameter_mm: float,
    beamlet_mm: float = 5.0,
    backend: str = "numba",
    voxels: npt.ArrayLike | None = None,
) -> Problem:
    """The operator of `beams` equispaced beams on a sphere, with a random fluence and random weights."""
    target = sphere((0.0, 0.0, 0.0), diameter_mm, grid, name="target")
    beamlets = aim([Beam(k * 360.0 / beams) for k in range(beams)], at=target, width_mm=beamlet_mm)
    operator = dose_influence(
        inhomogeneous_block(), grid, beamlets, load_machine(MACHINE), voxels=voxels, backend=backend
    )
    rng = np.random.default_rng(0)
    return Problem(operator, rng.random(operator.shape[1]), rng.random(operator.shape[0]))


def sized_problem(size: str, *, beams: int | None = None, beamlet_mm: float = 5.0, backend: str = "numba") -> Problem:
    """The problem of one of `SIZES`, with another number of beams on request."""
    shape, usual, diameter_mm = SIZES[size]
    grid = centred_grid(shape, 3.0)
    return problem(grid, beams=beams or usual, diameter_mm=diameter_mm, beamlet_mm=beamlet_mm, backend=backend)

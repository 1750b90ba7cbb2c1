"""Dose of square fields in layered phantoms, through the engine's own operator in reference mode."""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np
import numpy.typing as npt

from dosecalc import Beam, Grid, Volume, dose_influence, open_field
from dosecalc.heterogeneity import Heterogeneity
from dosecalc.machine import BeamModel

Array = npt.NDArray[np.float64]

PHANTOM_DEPTH_MM = 450
"""Depth of every phantom: back-scatter is complete at the depths that are compared."""


@dataclasses.dataclass(frozen=True, slots=True)
class Setup:
    """A square field on a flat phantom, gantry 0, the surface at a distance from the source.

    Parameters
    ----------
    field_mm : float
        Side in the isocentre plane.
    ssd_mm : float
    layers : tuple of (thickness in mm, relative electron density)
        From the surface down; water below the last.
    beamlet_mm : float or None
        Width of the beamlets; None is one beamlet, for machines with a flat profile.
    heterogeneity : str
    """

    field_mm: float
    ssd_mm: float
    layers: tuple[tuple[int, float], ...] = ()
    beamlet_mm: float | None = None
    heterogeneity: Heterogeneity = "density_scaling"


def dose_at(machine: BeamModel, setup: Setup, x_mm: Array, y_mm: Array, depth_mm: Array) -> Array:
    """Dose per MU on a regular lattice of points.

    Parameters
    ----------
    machine : BeamModel
    setup : Setup
    x_mm, y_mm : (nx,), (ny,)
        Evenly spaced distances from the axis along IEC Xb and Yb (crossplane and inplane), at the points' depth.
    depth_mm : (nd,)
        Evenly spaced depths below the surface.

    Returns
    -------
    (nd, ny, nx) float64
        Gy.
    """
    surface = setup.ssd_mm - machine.sad_mm  # in LPS y, which points away from the source
    grid = Grid(
        origin_mm=(float(x_mm[0]), surface + float(depth_mm[0]), float(y_mm[0])),
        spacing_mm=(_step(x_mm), _step(depth_mm), _step(y_mm)),
        shape=(len(y_mm), len(depth_mm), len(x_mm)),
    )
    half = setup.field_mm / 2
    field = open_field(Beam(0.0), x_mm=(-half, half), y_mm=(-half, half), width_mm=setup.beamlet_mm or setup.field_mm)
    influence = dose_influence(
        phantom(setup, surface), grid, field, machine, precision="reference", heterogeneity=setup.heterogeneity
    )
    dose: Array = influence.dose(np.ones(field.count)).reshape(grid.shape)
    return dose.transpose(1, 0, 2)


def phantom(setup: Setup, surface_mm: float) -> Volume:
    """The layers as a column of 1 mm slabs, wide enough for every ray."""
    density = np.ones(PHANTOM_DEPTH_MM, dtype=np.float32)
    top = 0
    for thickness, value in setup.layers:
        density[top : top + thickness] = value
        top += thickness
    grid = Grid(
        origin_mm=(0.0, surface_mm + 0.5, 0.0), spacing_mm=(2000.0, 1.0, 2000.0), shape=(1, PHANTOM_DEPTH_MM, 1)
    )
    return Volume(grid, density.reshape(grid.shape))


def axis_dose(machine: BeamModel, setup: Setup, depth_mm: Any) -> Array:
    """(n,) Gy per MU on the axis, linear between the 1 mm lattice for depths in between."""
    wanted = np.atleast_1d(np.asarray(depth_mm, dtype=np.float64))
    lattice = np.arange(np.floor(wanted.min()), np.ceil(wanted.max()) + 1.5)
    dose = dose_at(machine, setup, np.zeros(1), np.zeros(1), lattice)[:, 0, 0]
    return np.interp(wanted, lattice, dose)


def profile(machine: BeamModel, setup: Setup, depth_mm: float, across: str, t_mm: Array) -> Array:
    """(n,) Gy per MU across the field at a depth; `across` is "crossplane" (Xb) or "inplane" (Yb), t evenly spaced."""
    line = (t_mm, np.zeros(1)) if across == "crossplane" else (np.zeros(1), t_mm)
    return dose_at(machine, setup, *line, np.array([depth_mm])).ravel()


def _step(t_mm: Array) -> float:
    return float(t_mm[1] - t_mm[0]) if len(t_mm) > 1 else 1.0

"""The rays of all beams: where every voxel reads the kernel table, and the extremes that decide tables and validity.

All that there is one of per voxel is made, and stays, where the kernels of a backend run; eleven numbers per beam are
fetched, once for all beams.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from .beams import Beam, projected
from .errors import InputError
from .grid import Grid, Volume
from .heterogeneity import Heterogeneity, KernelArguments, kernel_arguments
from .kernels.numpy_places import SURVEYED
from .machine import BeamModel

Array = Any


@dataclass(frozen=True, slots=True)
class Survey:
    """Extremes over the voxels of one beam.

    Attributes
    ----------
    u_mm, v_mm : (low, high)
        Of the voxels projected onto the isocentre plane.
    smallest_magnification, deepest_mm, largest_scale : float
    densest, thinnest : float
        Density upstream, averaged over the range of primary or scatter.
    dense_share, thin_share : float
        Of the voxels with a density upstream above and below the machine's range.
    """

    u_mm: tuple[float, float]
    v_mm: tuple[float, float]
    smallest_magnification: float
    deepest_mm: float
    largest_scale: float
    densest: float
    thinnest: float
    dense_share: float
    thin_share: float


def surveyed(row: npt.NDArray[np.float64], voxels: int) -> Survey:
    """What the kernel `survey` wrote for one beam of so many voxels."""
    u, minus_u, v, minus_v, minus_m, deepest, scale, densest, minus_thinnest, dense, thin = row.tolist()
    spans = (-minus_u, u), (-minus_v, v)
    return Survey(*spans, -minus_m, deepest, scale, densest, -minus_thinnest, dense / voxels, thin / voxels)


def trace_beams(
    kernels: Any,
    values: Array,
    grid: Grid,
    points_mm: Array,
    beams: Sequence[Beam],
    machine: BeamModel,
    heterogeneity: Heterogeneity,
) -> tuple[tuple[KernelArguments, ...], tuple[Survey, ...]]:
    """Rays from the source of every beam to every point.

    Parameters
    ----------
    kernels : module or object
        Of the backend.
    values : (nz, ny, nx) float32
        The density of `density_there`.
    grid : Grid
        Of the density.
    points_mm : (V, 3) float64
        LPS, where the kernels run.
    beams : sequence of Beam
    machine : BeamModel
    heterogeneity : str

    Returns
    -------
    arguments : tuple of KernelArguments
        Per beam, where the kernels run.
    surveys : tuple of Survey
        Per beam; none without voxels.

    Raises
    ------
    InputError
        A point at or behind a source.
    """
    targets = grid.index_coordinates(points_mm, xp=kernels.array_module())
    rows, traced = kernels.zeros((len(beams), SURVEYED), np.float64), list[KernelArguments]()

    def trace(part: slice) -> None:
        some = beams[part]
        places = projected(some, points_mm, machine.sad_mm, kernels)
        sources, magnifications = [beam.source_mm(machine.sad_mm) for beam in some], [place[2] for place in places]
        made = kernel_arguments(kernels, values, grid, sources, targets, magnifications, heterogeneity)
        if len(points_mm):
            given = (
                (place, each.depth_mm, each.scales, machine.density, rows[part.start + k])
                for k, (place, each) in enumerate(zip(places, made, strict=True))
            )
            kernels.each(kernels.survey, given)
        traced.extend(made)

    kernels.in_parts("the rays of beams", len(beams), kernels.at_once(len(beams)), trace)
    if not len(points_mm):
        return tuple(traced), ()
    surveys = tuple(surveyed(row, len(points_mm)) for row in kernels.to_host(rows))
    for beam, found in zip(beams, surveys, strict=True):
        beam.refuse_behind(found.smallest_magnification, machine.sad_mm)
    return tuple(traced), surveys


def points_of(kernels: Any, grid: Grid, voxels: npt.NDArray[np.int64]) -> Array:
    """Places of voxels, (n, 3) float64 in LPS mm, where the kernels run: their numbers are all that is sent."""
    return grid.centres_mm(kernels.to_device(voxels), xp=kernels.array_module())


def density_there(kernels: Any, density: Volume) -> Array:
    """Relative electron density, (nz, ny, nx) float32, where the kernels run: checked and sent once for all beams.

    Raises
    ------
    InputError
        Densities that are negative or not finite.
    """
    values = kernels.to_device(np.ascontiguousarray(density.values, dtype=np.float32))
    # Of no number the least and the largest are no numbers either.
    if not (float(values.min()) >= 0.0 and float(values.max()) < math.inf):
        raise InputError("relative electron density must be finite and >= 0.", remedy="Convert HU with to_density().")
    return values

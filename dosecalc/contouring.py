"""Occupancy to contours: the outline at half occupancy, slice by slice."""

from __future__ import annotations

import logging

import contourpy
import numpy as np
import numpy.typing as npt

from .errors import InputError
from .grid import IDENTITY
from .structures import Contours, Occupancy, Structure

# a hair under one half, so that voxels that are exactly half full do not put the outline through pixel
# centres, where rings may touch themselves
LEVEL = 0.5 - 1e-4
NOTICE_SHARE = 0.05  # volume change by outlining that is worth a word

_log = logging.getLogger(__name__)


def as_contours(structure: Structure) -> Contours:
    """The structure's contours; an occupancy is outlined at half occupancy in each of its slices.

    Holes are rings of their own inside their outer ring (exclusive or), not keyholes.

    Raises
    ------
    InputError
        The grid is oblique, or no voxel is half full.
    """
    if isinstance(structure.geometry, Contours):
        return structure.geometry
    contours = _outlined(structure.name, structure.geometry)
    after = Structure(structure.name, structure.role, contours).volume_cc
    if abs(after - structure.volume_cc) > NOTICE_SHARE * structure.volume_cc:
        _log.warning("structure %r: %.3g cc become %.3g cc by outlining.", structure.name, structure.volume_cc, after)
    return contours


def _outlined(name: str, occupancy: Occupancy) -> Contours:
    grid = occupancy.grid
    where = f"structure {name!r}"
    if grid.direction != IDENTITY:
        raise InputError(f"outlines need axes along x, y, z, got {grid.direction}.", where=where)
    z, polygons = [], []
    for k in np.flatnonzero(occupancy.fraction.reshape(grid.shape[0], -1).max(axis=1) >= LEVEL):
        for ring in _rings(occupancy.fraction[k]):
            z.append(grid.origin_mm[2] + float(k) * grid.spacing_mm[2])
            polygons.append(ring * grid.spacing_mm[:2] + grid.origin_mm[:2])
    if not polygons:
        raise InputError("no voxel is half full, so there is nothing to outline.", where=where)
    return Contours(tuple(z), tuple(polygons), slab_mm=grid.spacing_mm[2])


def _rings(fraction: npt.NDArray[np.float32]) -> list[npt.NDArray[np.float64]]:
    """Open rings, (n, 2) in pixel indices (x, y), around everything above the level in one slice."""
    padded = np.pad(fraction.astype(np.float64), 1)  # closes outlines at the border of the slice
    lines = contourpy.contour_generator(z=padded).lines(LEVEL)
    return [line[:-1] - 1.0 for line in lines if len(line) > 3]

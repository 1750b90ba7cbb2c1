"""Occupancy to contours: in each slice the outline that encloses the slice's area."""

from __future__ import annotations

import logging

import numpy as np
import numpy.typing as npt
from scipy import ndimage

from .errors import InputError
from .grid import IDENTITY
from .level_lines import level_lines
from .polygons import signed_area
from .structures import Contours, Occupancy, Structure

LOWEST, HIGHEST = 0.02, 0.98  # levels that an outline may lie at
HALVINGS = 10  # of the range of levels: a thousandth
FLAT_SHARE = 0.01  # of a slice's area that the nearest level may miss before its outline is drawn inside the edge
NOTICE_SHARE = 0.05  # volume change by outlining that is worth a word

Ring = npt.NDArray[np.float64]

_log = logging.getLogger(__name__)


def as_contours(structure: Structure) -> Contours:
    """The structure's contours; an occupancy is outlined in each of its slices.

    The outline lies at the level of occupancy, near one half, at which it encloses the area that the slice holds:
    at one half itself small round structures would lose their ends. A flat end that lies between two slices becomes a
    smaller outline for the same reason.

    Holes are rings of their own inside their outer ring (exclusive or), not keyholes.

    Raises
    ------
    InputError
        The grid is oblique, or no voxel holds enough to be outlined.
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
    for k in np.flatnonzero(occupancy.fraction.reshape(grid.shape[0], -1).max(axis=1) > LOWEST):
        for ring in _rings(occupancy.fraction[k]):
            z.append(grid.origin_mm[2] + float(k) * grid.spacing_mm[2])
            polygons.append(ring * grid.spacing_mm[:2] + grid.origin_mm[:2])
    if not polygons:
        raise InputError("no voxel holds enough of it to be outlined.", where=where)
    return Contours(tuple(z), tuple(polygons), slab_mm=grid.spacing_mm[2])


def _rings(fraction: npt.NDArray[np.float32]) -> list[Ring]:
    """Open rings, (n, 2) in pixel indices (x, y), that together enclose the area of one slice."""
    rows, columns = np.flatnonzero(fraction.any(axis=1)), np.flatnonzero(fraction.any(axis=0))
    part = fraction[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1]
    padded = np.pad(part.astype(np.float64), 1)  # closes outlines at the border of the slice
    wanted = float(padded.sum())
    best, off = _at_the_area(padded, wanted, HIGHEST)
    if off > FLAT_SHARE * wanted:
        # A flat end between two slices: one occupancy all over, so no level has its area. Outlines parallel to its
        # edge do.
        field = padded + ndimage.distance_transform_edt(padded > LOWEST)
        inner, inner_off = _at_the_area(field, wanted, float(field.max()))
        best = inner if inner_off < off else best
    corner = np.array([columns[0] - 1.0, rows[0] - 1.0])
    return [line + corner for line in best]


def _at_the_area(field: npt.NDArray[np.float64], wanted: float, highest: float) -> tuple[list[Ring], float]:
    """The level lines of `field` that enclose nearest to `wanted` pixels, and by how many they miss it."""
    found = level_lines(field)
    low, high = LOWEST, highest
    best: list[Ring] = []
    least = np.inf
    for _ in range(HALVINGS):
        level = 0.5 * (low + high)
        # Rings around holes run the other way, so their areas count as negative.
        lines = [line[:-1] for line in found.lines(_off_the_grid(level)) if len(line) > 3]
        area = abs(sum(signed_area(line) for line in lines))
        if lines and abs(area - wanted) < least:
            best, least = lines, abs(area - wanted)
        low, high = (level, high) if area > wanted else (low, level)
    return best, float(least)


def _off_the_grid(level: float) -> float:
    """A hair beside levels that voxels hold exactly, which would put rings through pixel centres."""
    return level - 1e-4

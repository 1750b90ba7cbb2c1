"""Operations on regions: unions, differences, margins, rings, a drawn sphere, the outline of the body.

All work on occupancy (the share of each voxel that belongs to a region) on one grid. Unions take the larger
and intersections the smaller share: exact where one region contains the other, as target and organ do, and
off by at most the shared voxels' partial volumes at a border between neighbours.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt
from scipy import ndimage

from .errors import InputError
from .grid import Grid, Triple, Volume
from .margins import Margin, Points, Shares, Window, grown, least_distance, shrunk
from .structures import Occupancy, Structure

BODY_HU = -300.0  # between fat and air or lung; the outline of the body is not sensitive to it
AIR_HU, FAT_HU = -1000.0, -100.0
OPENING_MM = 6.0  # thinner things that touch the skin, such as a couch top or a tube, are not body
_SUBDIVISIONS = 8  # samples per axis in a voxel cut by a sphere


def shares(structure: Structure, grid: Grid) -> Shares:
    """The share of each voxel that belongs to a structure, (nz, ny, nx) float32 in 0..1."""
    voxels = structure.on(grid)
    flat = np.zeros(grid.size, dtype=np.float32)
    flat[voxels.indices] = np.minimum(voxels.cc / grid.voxel_cc, 1.0)
    return flat.reshape(grid.shape)


def from_shares(name: str, grid: Grid, fraction: Shares, role: str = "ORGAN") -> Structure:
    """A structure from the share of each voxel that belongs to it; only the box around it is held."""
    return Structure(name, role, _boxed(Occupancy(grid, fraction)))


def everything(name: str, grid: Grid) -> Structure:
    """All voxels of a grid, such as the part of space that a scan covers."""
    return from_shares(name, grid, np.ones(grid.shape, dtype=np.float32))


def union(name: str, grid: Grid, *members: Structure, role: str = "ORGAN") -> Structure:
    """All that belongs to any member."""
    return _combined(np.maximum, name, grid, members, role)


def intersection(name: str, grid: Grid, *members: Structure, role: str = "ORGAN") -> Structure:
    """What belongs to every member.

    Raises
    ------
    InputError
        Nothing does.
    """
    return _combined(np.minimum, name, grid, members, role)


def minus(name: str, grid: Grid, whole: Structure, *taken: Structure, role: str = "ORGAN") -> Structure:
    """The part of `whole` that belongs to none of the others.

    Raises
    ------
    InputError
        Nothing is left.
    """
    return from_shares(name, grid, difference(shares(whole, grid), *(shares(s, grid) for s in taken)), role)


def difference(whole: Shares, *taken: Shares) -> Shares:
    """Shares of `whole` less the shared part with the union of the others."""
    if not taken:
        return whole
    return whole - np.minimum(whole, np.maximum.reduce(taken))


def grow(structure: Structure, margin_mm: Margin, grid: Grid, *, name: str, role: str = "ORGAN") -> Structure:
    """A structure and all that lies within a margin of it.

    Parameters
    ----------
    margin_mm : float or six floats
        One margin, or those towards -x, +x, -y, +y, -z, +z (patient right, left, anterior, posterior,
        inferior, superior for the identity direction); six margins span an eighth of an ellipsoid each.

    Raises
    ------
    InputError
        A margin is negative or not finite.
    """
    return from_shares(name, grid, grown(shares(structure, grid), margin_mm, grid), role)


def shrink(structure: Structure, margin_mm: float, grid: Grid, *, name: str, role: str = "ORGAN") -> Structure:
    """The part of a structure deeper than a margin under its surface.

    The grid's border is no surface: a body that the scan cuts is not shrunk from the cut.

    Raises
    ------
    InputError
        The margin is negative, or nothing is left.
    """
    return from_shares(name, grid, shrunk(shares(structure, grid), margin_mm, grid), role)


def ring(structure: Structure, inner_mm: float, outer_mm: float, grid: Grid, *, name: str) -> Structure:
    """All that lies between two distances outside a structure."""
    fraction = shares(structure, grid)
    return from_shares(name, grid, difference(grown(fraction, outer_mm, grid), grown(fraction, inner_mm, grid)))


def rind(structure: Structure, depth_mm: float, grid: Grid, *, name: str) -> Structure:
    """The part of a structure within a depth under its surface; a cut by the grid's border is no surface."""
    fraction = shares(structure, grid)
    return from_shares(name, grid, difference(fraction, shrunk(fraction, depth_mm, grid)))


def sphere(centre_mm: Triple, diameter_mm: float, grid: Grid, *, name: str, role: str = "GTV") -> Structure:
    """A drawn sphere, with partial volumes of the voxels that its surface cuts.

    Raises
    ------
    InputError
        The diameter is not positive, or the sphere misses the grid.
    """
    if not (np.isfinite(diameter_mm) and diameter_mm > 0):
        raise InputError(f"the diameter of a sphere must be a positive number of mm, got {diameter_mm!r}.")
    fraction = np.zeros(grid.shape, dtype=np.float32)
    window = _box(grid, centre_mm, diameter_mm / 2.0)
    k, j, i = np.meshgrid(*(np.arange(w.start, w.stop) for w in window), indexing="ij")
    offsets = np.stack([i, j, k], axis=-1) - grid.index_coordinates(centre_mm)[0]
    fraction[window] = _sphere_shares(offsets * grid.spacing_mm, diameter_mm / 2.0, grid)
    if not fraction.any():
        raise InputError(
            f"a sphere of {diameter_mm:g} mm around {tuple(centre_mm)} mm covers nothing of the image: it lies outside "
            f"or is too small for voxels of {' x '.join(f'{s:g}' for s in grid.spacing_mm)} mm.",
            where=name,
            remedy="Give its centre in DICOM patient coordinates (LPS) and its diameter in mm.",
        )
    return from_shares(name, grid, fraction, role)


def body_outline(ct: Volume, *, threshold_hu: float = BODY_HU, name: str = "Body") -> Structure:
    """The patient's outline from the CT: the largest piece above a threshold, holes of each slice filled.

    Pieces thinner than `OPENING_MM`, such as a couch top, are taken off before the largest piece is chosen.

    Raises
    ------
    InputError
        Nothing is above the threshold.
    """
    dense = np.asarray(ct.values) > threshold_hu
    radius = OPENING_MM / 2.0
    nx, ny = (max(1, round(radius / ct.grid.spacing_mm[axis])) for axis in (0, 1))
    across, down = np.meshgrid(np.arange(-nx, nx + 1) / nx, np.arange(-ny, ny + 1) / ny)
    disc = (across**2 + down**2 <= 1.0 + 1e-6)[None]
    opened = ndimage.binary_opening(dense, disc)
    labels, count = ndimage.label(opened)
    if count == 0:
        raise InputError(
            f"no part of the CT is above {threshold_hu:g} HU, so the body's outline cannot be derived.",
            remedy="Check the CT's HU, or give a structure with the body's outline.",
        )
    largest = labels == 1 + int(np.argmax(np.bincount(labels.ravel())[1:]))
    whole = np.stack([ndimage.binary_fill_holes(plane) for plane in largest])
    return from_shares(name, ct.grid, _with_edge(whole, ct), "EXTERNAL")


def surface_distance(first: Structure, second: Structure, grid: Grid) -> float:
    """The shortest distance in mm between the surfaces of two structures, 0 where they overlap."""
    return least_distance(shares(first, grid), shares(second, grid), grid)


def _with_edge(whole: npt.NDArray[np.bool_], ct: Volume) -> Shares:
    """Shares of the body: along its outline in each slice, by how far HU lie between air and fat."""
    cross = ndimage.generate_binary_structure(2, 1)[None]
    edge = ndimage.binary_dilation(whole, cross) & ~ndimage.binary_erosion(whole, cross, border_value=1)
    fraction = whole.astype(np.float32)
    fraction[edge] = np.clip((ct.values[edge] - AIR_HU) / (FAT_HU - AIR_HU), 0.0, 1.0)
    return fraction


def _box(grid: Grid, centre_mm: Triple, radius_mm: float) -> Window:
    """The voxels of the grid that a sphere may touch."""
    centre = grid.index_coordinates(centre_mm)[0][::-1]
    reach = radius_mm / np.asarray(grid.spacing_mm)[::-1] + 1.0
    limits = [
        (max(0, int(np.floor(c - r))), max(0, min(n, int(np.ceil(c + r)) + 1)))
        for c, r, n in zip(centre, reach, grid.shape, strict=True)
    ]
    low, mid, high = (slice(min(first, last), last) for first, last in limits)
    return low, mid, high


def _sphere_shares(offsets_mm: Points, radius_mm: float, grid: Grid) -> Shares:
    """Shares of voxels, (nz, ny, nx), in a sphere, from the offsets of their centres, (nz, ny, nx, 3)."""
    half = np.asarray(grid.spacing_mm) / 2.0
    distance = np.linalg.norm(offsets_mm, axis=-1)
    inside = (distance < radius_mm).astype(np.float32)
    steps = (np.arange(_SUBDIVISIONS) + 0.5) / _SUBDIVISIONS * 2.0 - 1.0
    samples = np.stack(np.meshgrid(steps, steps, steps), axis=-1).reshape(-1, 3) * half
    for voxel in np.argwhere(np.abs(distance - radius_mm) < np.linalg.norm(half)):
        near = np.linalg.norm(offsets_mm[tuple(voxel)] + samples, axis=1) < radius_mm
        inside[tuple(voxel)] = near.mean()
    return inside


def _boxed(whole: Occupancy) -> Occupancy:
    """The same on the smallest box of whole voxels: a plan holds dozens of small regions of one large grid."""
    filled = [np.flatnonzero(whole.fraction.any(axis=others)) for others in ((1, 2), (0, 2), (0, 1))]
    if not filled[0].size:
        return whole
    box = tuple(slice(int(places[0]), int(places[-1]) + 1) for places in filled)
    grid, fraction = whole.grid, whole.fraction[box].copy()
    first = np.array([part.start for part in box[::-1]]) * np.asarray(grid.spacing_mm)
    x, y, z = (np.asarray(grid.origin_mm) + first @ grid.axes).tolist()
    return Occupancy(Grid((x, y, z), grid.spacing_mm, fraction.shape, grid.direction), fraction)


def _combined(
    combine: Callable[..., Any], name: str, grid: Grid, members: tuple[Structure, ...], role: str
) -> Structure:
    if not members:
        raise InputError("nothing to combine.", where=f"structure {name!r}")
    fraction = shares(members[0], grid)
    for member in members[1:]:
        fraction = combine(fraction, shares(member, grid))
    return from_shares(name, grid, fraction, role)

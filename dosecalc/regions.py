"""Operations on regions: unions, differences, margins, rings, a drawn sphere, the outline of the body.

All work on occupancy (the share of each voxel that belongs to a region) on one grid. Unions take the larger and
intersections the smaller share: exact where one region contains the other, as target and organ do, and off by at
most the shared voxels' partial volumes at a border between neighbours.

Margins are distances in mm to the surface, the level 0.5 of the shares, found by interpolation between voxel centres;
so the spacing may differ by axis and the result does not stick to voxels. Where the surface curves with radius R, it
is found about h^2 / (8 R) too deep (h: spacing), as for any level of an average over voxels.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt
from scipy import ndimage
from scipy.spatial import cKDTree

from .errors import InputError
from .grid import Grid, Triple, Volume
from .structures import Occupancy, Structure

Shares = npt.NDArray[np.float32]
Points = npt.NDArray[np.float64]
Margin = float | tuple[float, float, float, float, float, float]
Window = tuple[slice, slice, slice]

BODY_HU = -300.0  # between fat and air or lung; the outline of the body is not sensitive to it
OPENING_MM = 6.0  # thinner things that touch the skin, such as a couch top or a tube, are not body
_BAND_VOXELS = 1.5  # voxels whose centre is closer to a surface than this may be cut by it
_SUBDIVISIONS = 8  # samples per axis in a voxel cut by a sphere
_FINEST_MM = 0.6  # sample distance for unequal margins


def shares(structure: Structure, grid: Grid) -> Shares:
    """The share of each voxel that belongs to a structure, (nz, ny, nx) float32 in 0..1."""
    voxels = structure.on(grid)
    flat = np.zeros(grid.size, dtype=np.float32)
    flat[voxels.indices] = np.minimum(voxels.cc / grid.voxel_cc, 1.0)
    return flat.reshape(grid.shape)


def from_shares(name: str, grid: Grid, fraction: Shares, role: str = "ORGAN") -> Structure:
    """A structure from the share of each voxel that belongs to it."""
    return Structure(name, role, Occupancy(grid, fraction))


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
        One margin, or those towards -x, +x, -y, +y, -z, +z (patient right, left, anterior, posterior, inferior,
        superior for the identity direction); six margins span an eighth of an ellipsoid each.

    Raises
    ------
    InputError
        A margin is negative or not finite.
    """
    return from_shares(name, grid, grown(shares(structure, grid), margin_mm, grid), role)


def grown(fraction: Shares, margin_mm: Margin, grid: Grid) -> Shares:
    """Shares after `grow`, for shares on `grid`; beyond the grid nothing grows."""
    sides = (margin_mm,) * 6 if isinstance(margin_mm, int | float) else tuple(margin_mm)
    if len(sides) != 6 or not all(np.isfinite(m) and m >= 0 for m in sides):
        raise InputError(
            f"a margin must be one or six numbers of mm, none negative, got {margin_mm!r}.",
            remedy="Use shrink to make a region smaller.",
        )
    if not fraction.any() or max(sides) == 0.0:
        return fraction
    window = _window(fraction, max(sides), grid)
    result = fraction.copy()
    inside = fraction[window]
    if len(set(sides)) == 1:
        wider = _ramp(sides[0] - _distance_mm(inside, grid, sides[0]), grid)
    else:
        wider = _grown_unequally(inside, sides, grid)
    result[window] = np.maximum(inside, wider)
    return result


def shrink(structure: Structure, margin_mm: float, grid: Grid, *, name: str, role: str = "ORGAN") -> Structure:
    """The part of a structure deeper than a margin under its surface.

    The grid's border is no surface: a body that the scan cuts is not shrunk from the cut.

    Raises
    ------
    InputError
        The margin is negative, or nothing is left.
    """
    return from_shares(name, grid, shrunk(shares(structure, grid), margin_mm, grid), role)


def shrunk(fraction: Shares, margin_mm: float, grid: Grid) -> Shares:
    """Shares after `shrink`, for shares on `grid`."""
    if not (np.isfinite(margin_mm) and margin_mm >= 0):
        raise InputError(f"a margin must be a number of mm, not negative, got {margin_mm!r}.")
    if not fraction.any() or margin_mm == 0.0:
        return fraction
    window = _window(fraction, 0.0, grid)
    result = np.zeros_like(fraction)
    outside = 1.0 - fraction[window]
    if (outside < 0.5).all():
        return fraction
    deeper = _ramp(_distance_mm(outside, grid, margin_mm) - margin_mm, grid)
    result[window] = np.minimum(fraction[window], deeper)
    return result


def ring(structure: Structure, inner_mm: float, outer_mm: float, grid: Grid, *, name: str) -> Structure:
    """All that lies between two distances outside a structure."""
    fraction = shares(structure, grid)
    return from_shares(
        name, grid, difference(grown(fraction, outer_mm, grid), grown(fraction, inner_mm, grid))
    )


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
            f"the sphere around {tuple(centre_mm)} mm lies outside the image.",
            where=name,
            remedy="Give its centre in DICOM patient coordinates (LPS).",
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
    return from_shares(name, ct.grid, whole.astype(np.float32), "EXTERNAL")


def surface_distance(first: Structure, second: Structure, grid: Grid) -> float:
    """The shortest distance in mm between the surfaces of two structures, 0 where they overlap."""
    a, b = shares(first, grid), shares(second, grid)
    if np.any(np.minimum(a, b) >= 0.5):
        return 0.0
    surfaces = [_surface_mm(s[w], grid) + _corner_mm(w, grid) for s in (a, b) for w in [_window(s, 0.0, grid)]]
    return float(cKDTree(surfaces[0]).query(surfaces[1])[0].min())


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


def _combined(
    combine: Callable[..., Any], name: str, grid: Grid, members: tuple[Structure, ...], role: str
) -> Structure:
    if not members:
        raise InputError("nothing to combine.", where=f"structure {name!r}")
    fraction = shares(members[0], grid)
    for member in members[1:]:
        fraction = combine(fraction, shares(member, grid))
    return from_shares(name, grid, fraction, role)


def _window(fraction: Shares, margin_mm: float, grid: Grid) -> Window:
    """The box of non-zero shares, widened by a margin and the band's width, within the grid."""
    slices = []
    for axis, step in enumerate(grid.spacing_mm[::-1]):
        other = tuple(a for a in range(3) if a != axis)
        hit = np.flatnonzero(fraction.any(axis=other))
        pad = int(np.ceil(margin_mm / step + _BAND_VOXELS)) + 1
        slices.append(slice(max(0, int(hit[0]) - pad), min(fraction.shape[axis], int(hit[-1]) + 1 + pad)))
    return slices[0], slices[1], slices[2]


def _corner_mm(window: Window, grid: Grid) -> Points:
    """Position of a window's first voxel from the grid's, along the grid's x, y, z."""
    return np.array([w.start for w in window[::-1]]) * np.asarray(grid.spacing_mm)


def _distance_mm(fraction: Shares, grid: Grid, margin_mm: float) -> Shares:
    """Distance in mm of each voxel centre from the surface of a region, negative inside, exact near `margin_mm`.

    Away from the margin the value only tells on which side of it the voxel lies: it comes from the centres of the
    voxels on the other side of the surface, at most a voxel's diagonal from it.
    """
    spacing = np.asarray(grid.spacing_mm)
    solid = fraction >= 0.5
    thin = (fraction > 0) & ~ndimage.binary_dilation(solid, np.ones((3, 3, 3), bool))
    solid |= thin
    coarse = np.where(solid, 0.0, ndimage.distance_transform_edt(~solid, sampling=spacing[::-1]))
    reach = _BAND_VOXELS * float(np.linalg.norm(spacing))
    if margin_mm < reach and not solid.all():
        coarse -= ndimage.distance_transform_edt(solid, sampling=spacing[::-1])
    positions = np.argwhere(np.abs(coarse - margin_mm) < reach)
    if len(positions):
        surface = np.concatenate([_surface_mm(fraction, grid), np.argwhere(thin)[:, ::-1] * spacing])
        exact = cKDTree(surface).query(positions[:, ::-1] * spacing)[0]
        band = tuple(positions.T)
        coarse[band] = np.where(solid[band], -exact, exact)
    return coarse.astype(np.float32)


def _surface_mm(fraction: Shares, grid: Grid) -> Points:
    """Points of the surface, (n, 3), from the first voxel along the grid's x, y, z in mm.

    Where the share crosses 0.5 between neighbours of the grid with halved spacing. A region thinner than a voxel
    that never reaches 0.5 is represented by its voxels' centres.
    """
    spacing = np.asarray(grid.spacing_mm)
    fine = fraction
    for axis in range(3):
        fine = _halved(fine, axis)
    points = [_crossings(fine, axis) * spacing / 2.0 for axis in range(3)]
    found = np.concatenate(points)
    return found if len(found) else np.argwhere(fraction > 0)[:, ::-1] * spacing


def _halved(values: Shares, axis: int) -> Shares:
    """Values with midpoints put between them, by the cubic through four neighbours: weights (-1, 9, 9, -1) / 16."""
    values = np.moveaxis(values, axis, 0)
    padded = np.concatenate([values[:1], values, values[-1:]])
    fine = np.empty((2 * len(values) - 1, *values.shape[1:]), dtype=np.float32)
    fine[::2] = values
    fine[1::2] = (9.0 * (padded[1:-2] + padded[2:-1]) - padded[:-3] - padded[3:]) / 16.0
    return np.moveaxis(fine, 0, axis)


def _crossings(values: Shares, axis: int) -> Points:
    """Fractional (x, y, z) indices, (n, 3), at which values pass 0.5 along one array axis."""
    along = np.moveaxis(values, axis, 0)
    before, after = along[:-1], along[1:]
    hit = np.nonzero((before >= 0.5) != (after >= 0.5))
    low, high = before[hit].astype(np.float64), after[hit].astype(np.float64)
    position = np.stack(hit).astype(np.float64)
    position[0] += (0.5 - low) / (high - low)
    order = [axis, *(a for a in range(3) if a != axis)]
    ordered = np.empty_like(position)
    ordered[order] = position
    return ordered[::-1].T


def _ramp(depth_mm: Shares, grid: Grid) -> Shares:
    """Share of a voxel whose centre lies this deep inside a surface: that of a slab of the voxel's mean width."""
    width = float(np.prod(grid.spacing_mm) ** (1.0 / 3.0))
    return np.clip(depth_mm / width + 0.5, 0.0, 1.0).astype(np.float32)


def _grown_unequally(fraction: Shares, sides: tuple[float, ...], grid: Grid) -> Shares:
    """Shares after growth by six margins: on finer samples, axis by axis, averaged back to voxels.

    A point belongs to the result when for some point inside, the sum over axes of (offset / margin to that side)^2
    is at most 1. The sum is separable, so its minimum is taken along one axis after the other.
    """
    counts = [max(1, int(np.ceil(step / _FINEST_MM))) for step in grid.spacing_mm[::-1]]
    cost = np.where(_subdivided(fraction, counts) >= 0.5, np.float32(0.0), np.float32(np.inf))
    for axis, count in enumerate(counts):
        step = grid.spacing_mm[2 - axis] / count
        back, ahead = sides[2 * (2 - axis)], sides[2 * (2 - axis) + 1]
        cost = _nearest_along(cost, axis, step, back, ahead)
    shape = [n for pair in zip(fraction.shape, counts, strict=True) for n in pair]
    return (cost <= 1.0 + 1e-6).reshape(shape).mean(axis=(1, 3, 5), dtype=np.float32)


def _subdivided(fraction: Shares, counts: list[int]) -> Shares:
    """Shares at the centres of each voxel's parts, linear between voxel centres."""
    for axis, count in enumerate(counts):
        n = fraction.shape[axis]
        position = np.clip((np.arange(n * count) + 0.5) / count - 0.5, 0, n - 1)
        low = np.minimum(position.astype(int), max(n - 2, 0))
        weight = np.expand_dims(position - low, [a for a in range(3) if a != axis]).astype(np.float32)
        high = np.minimum(low + 1, n - 1)
        fraction = np.take(fraction, low, axis) * (1 - weight) + np.take(fraction, high, axis) * weight
    return fraction


def _nearest_along(cost: Shares, axis: int, step_mm: float, back_mm: float, ahead_mm: float) -> Shares:
    """The least of cost(p - k) + (k / margin)^2 over the offsets k in mm from -back to ahead along one axis.

    A quarter of a step is added to each margin: the outermost sample inside lies about that much under the surface.
    """
    cost = np.moveaxis(cost, axis, 0)
    least = cost.copy()
    for margin_mm, order in ((ahead_mm, slice(None)), (back_mm, slice(None, None, -1))):
        source, target = cost[order], least[order]
        reach_mm = margin_mm + step_mm / 4.0
        for k in range(1, min(int(reach_mm / step_mm), len(cost) - 1) + 1 if margin_mm else 1):
            np.minimum(target[k:], source[:-k] + np.float32((k * step_mm / reach_mm) ** 2), out=target[k:])
    return np.moveaxis(least, 0, axis)

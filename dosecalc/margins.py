"""Margins around regions, in mm: shares of voxels in, shares of voxels out.

A share is the part of a voxel that belongs to a region. Margins are distances to the surface, the level 0.5
of the shares, found by interpolation between voxel centres; so the spacing may differ by axis and the result
does not stick to voxels. Where the surface curves with radius R, it is found about h^2 / (8 R) too deep (h:
spacing), as for any level of an average over voxels.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
from scipy import ndimage
from scipy.spatial import ConvexHull, cKDTree
from scipy.spatial.distance import pdist

from .errors import InputError
from .grid import Grid

Shares = npt.NDArray[np.float32]
Points = npt.NDArray[np.float64]
Margin = float | tuple[float, float, float, float, float, float]
Window = tuple[slice, slice, slice]

_BAND_VOXELS = 1.15  # by how many voxel diagonals a distance between voxel centres may miss the surface
_RIDGE = 1.5  # a thin part varies by less than this factor within two voxels, a blurred edge by more
_FAR_VOXELS = 4.0  # from here on, surface points a voxel apart give the distance within h / 100
_FINEST_MM = 0.6  # sample distance for unequal margins


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
        wider = _ramp(sides[0] - _distance_mm(inside, grid, sides[0], keep_thin=True), grid)
    else:
        wider = _grown_unequally(inside, sides, grid)
    result[window] = np.maximum(inside, wider)
    return result


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
    deeper = _ramp(_distance_mm(outside, grid, margin_mm, keep_thin=False) - margin_mm, grid)
    result[window] = np.minimum(fraction[window], deeper)
    return result


def least_distance(first: Shares, second: Shares, grid: Grid) -> float:
    """The shortest distance in mm between the surfaces of two regions, 0 where they overlap."""
    if np.any(np.minimum(first, second) >= 0.5):
        return 0.0
    surfaces = []
    for region in (first, second):
        window = _window(region, 0.0, grid)
        surfaces.append(_surface_mm(region[window], grid) + _corner_mm(window, grid))
    return float(cKDTree(surfaces[0]).query(surfaces[1])[0].min())


def greatest_extent(fraction: Shares, grid: Grid) -> float:
    """The largest distance in mm between two points of a region's surface: its diameter."""
    points = _surface_mm(fraction[_window(fraction, 0.0, grid)], grid)
    if len(points) > 3 and np.all(np.ptp(points, axis=0) > 0):
        points = points[ConvexHull(points).vertices]
    return float(pdist(points).max(initial=0.0))


def box_around(fraction: Shares, margin_mm: float, grid: Grid) -> Grid:
    """The part of a grid that holds all non-zero shares, with at least a margin around them."""
    window = _window(fraction, margin_mm, grid)
    start = _corner_mm(window, grid) @ grid.axes
    x, y, z = np.asarray(grid.origin_mm) + start
    nz, ny, nx = (w.stop - w.start for w in window)
    return Grid((float(x), float(y), float(z)), grid.spacing_mm, (nz, ny, nx), grid.direction)


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


def _distance_mm(fraction: Shares, grid: Grid, margin_mm: float, *, keep_thin: bool) -> Shares:
    """Distance in mm of voxel centres from the surface of a region, negative inside, exact near the margin.

    Away from the margin the value only tells on which side of it the voxel lies: it comes from the centres of
    the voxels on the other side of the surface, at most a voxel's diagonal from it. With `keep_thin`, parts
    that never fill half a voxel, and are no blurred edge of a part that does, count as points.
    """
    spacing = np.asarray(grid.spacing_mm)
    solid = fraction >= 0.5
    thin = np.zeros_like(solid)
    if keep_thin:
        ridge = fraction * _RIDGE >= ndimage.maximum_filter(fraction, 5)
        thin = (fraction > 0) & ridge & ~ndimage.binary_dilation(solid, np.ones((5, 5, 5), bool))
    solid |= thin
    coarse = np.where(solid, 0.0, ndimage.distance_transform_edt(~solid, sampling=spacing[::-1]))
    reach = _BAND_VOXELS * float(np.linalg.norm(spacing))
    if margin_mm < reach and not solid.all():
        coarse -= ndimage.distance_transform_edt(solid, sampling=spacing[::-1])
    positions = np.argwhere(np.abs(coarse - margin_mm) < reach)
    if len(positions):
        sampled = _surface_mm(fraction, grid, halved=margin_mm < _FAR_VOXELS * float(spacing.max()))
        surface = np.concatenate([sampled, np.argwhere(thin)[:, ::-1] * spacing])
        tree = cKDTree(surface, leafsize=32, compact_nodes=False, balanced_tree=False)  # fastest for a filled band
        exact = tree.query(positions[:, ::-1] * spacing)[0]
        band = tuple(positions.T)
        coarse[band] = np.where(solid[band], -exact, exact)
    return coarse.astype(np.float32)


def _surface_mm(fraction: Shares, grid: Grid, *, halved: bool = True) -> Points:
    """Points of the surface, (n, 3), from the first voxel along the grid's x, y, z in mm.

    Where the share crosses 0.5 between neighbours, of the grid with halved spacing if wanted. A region
    thinner than a voxel that never reaches 0.5 is represented by its voxels' centres.
    """
    spacing = np.asarray(grid.spacing_mm)
    fine = fraction
    for axis in range(3) if halved else ():
        fine = _halved(fine, axis)
    points = [_crossings(fine, axis) * spacing / (2.0 if halved else 1.0) for axis in range(3)]
    found = np.concatenate(points)
    return found if len(found) else np.argwhere(fraction > 0)[:, ::-1] * spacing


def _halved(values: Shares, axis: int) -> Shares:
    """Values with midpoints between them, by the cubic through four neighbours (-1, 9, 9, -1) / 16."""
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
    """Share of a voxel whose centre lies this deep inside a surface, for its mean width."""
    width = float(np.prod(grid.spacing_mm) ** (1.0 / 3.0))
    return np.clip(depth_mm / width + 0.5, 0.0, 1.0).astype(np.float32)


def _grown_unequally(fraction: Shares, sides: tuple[float, ...], grid: Grid) -> Shares:
    """Shares after growth by six margins: on finer samples, axis by axis, averaged back to voxels.

    A point belongs to the result when for some point inside, the sum over axes of (offset / margin to that
    side)^2 is at most 1. The sum is separable, so its minimum is taken along one axis after the other.
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

    A quarter of a step is added to each margin: the outermost sample inside lies about that much under the
    surface.
    """
    cost = np.moveaxis(cost, axis, 0)
    least = cost.copy()
    for margin_mm, order in ((ahead_mm, slice(None)), (back_mm, slice(None, None, -1))):
        source, target = cost[order], least[order]
        reach_mm = margin_mm + step_mm / 4.0
        for k in range(1, min(int(reach_mm / step_mm), len(cost) - 1) + 1 if margin_mm else 1):
            np.minimum(target[k:], source[:-k] + np.float32((k * step_mm / reach_mm) ** 2), out=target[k:])
    return np.moveaxis(least, 0, axis)

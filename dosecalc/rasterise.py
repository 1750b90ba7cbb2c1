"""Polygons and occupancies to partial volumes on a grid, exactly.

A contour stands for a slab around its plane. Its share of a voxel is (area of the pixel inside the polygons)
times (length of the slice inside the slab): both factors are exact, so volumes carry no pixel error. Polygons
of one plane combine by exclusive or, which for nested polygons means: even depth adds, odd depth is a hole.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import reduce
from typing import Any

import numpy as np
import numpy.typing as npt
import shapely

from .errors import InputError
from .grid import IDENTITY, Grid

Floats = npt.NDArray[np.float64]
Sparse = tuple[npt.NDArray[np.int64], Floats]

PLANE_TOLERANCE_MM = 0.01  # what rounding leaves (the same figure as for CT slices)
JITTER_MM = 0.1  # half the distance of the thinnest CT slices: contours this close were drawn on one slice
PLANE_SHARE = 0.25  # of the distance of planes: contours closer than this were drawn on one slice
COORDINATE_LIMIT_MM = 5000.0  # no scanner reaches further: a larger number is a wrong unit or a broken file
SPLIT_RATIO = 2.5  # a gap this many times its neighbours' separates two parts; a smaller one is bridged
_NESTED = 1e-3  # share of the smaller polygon's area by which nesting may be inexact
SAME_MM, SAME_SHARE = 0.2, 0.1  # mean distance of two rings, and share of their area, below which they are one ring
_NOISE = 1e-10  # rounding left by the running sums, as a share of a pixel


@dataclass(frozen=True, slots=True, eq=False)
class Slab:
    """The polygons of one plane and the slab they stand for.

    Attributes
    ----------
    z_mm, low_mm, high_mm : float
        Plane and faces of the slab.
    rings_mm : tuple of (n, 2) float64
        Polygons, not closed, oriented so that the sum of their signed areas is the area of the plane's
        region.
    """

    z_mm: float
    low_mm: float
    high_mm: float
    rings_mm: tuple[Floats, ...]

    @property
    def cc(self) -> float:
        """Volume of the slab in cc."""
        return sum(signed_area(ring) for ring in self.rings_mm) * (self.high_mm - self.low_mm) / 1000.0


def contour_slabs(
    name: str,
    z_mm: Sequence[float],
    polygons_mm: Sequence[Floats],
    slab_mm: float | None,
) -> tuple[tuple[Slab, ...], tuple[str, ...]]:
    """Checked slabs, by ascending z, of a structure's contours, and what is said about planes that seem missing.

    Parameters
    ----------
    name : str
        Structure, for messages.
    z_mm : n floats
        Plane of each polygon in mm.
    polygons_mm : n arrays (m, 2)
        x, y vertices in mm.
    slab_mm : float or None
        Thickness that each contour was drawn for, if the input states it.

    Raises
    ------
    InputError
        No contours, fewer than three points, no area, self-intersection, polygons of one plane that overlap
        in part, a single plane of unknown thickness, or planes so close that they may be one.
    """
    if not len(polygons_mm):
        raise InputError("has no contours.", where=f"structure {name!r}", remedy="Draw it or leave it out.")
    planes = planes_of(z_mm)
    z = np.array([plane for plane, _ in planes])
    low, high, told = _slab_faces(name, z, slab_mm)
    slabs = tuple(
        Slab(plane, float(low[i]), float(high[i]), _oriented(name, plane, [polygons_mm[k] for k in members]))
        for i, (plane, members) in enumerate(planes)
    )
    told += _about_crowded(name, slabs)
    spread = max(float(np.ptp([z_mm[k] for k in members])) for _, members in planes)
    if spread > PLANE_TOLERANCE_MM:
        told.insert(0, f"{name}: contours up to {spread:.2g} mm apart in z are taken as one plane.")
    return slabs, tuple(told)


def slabs_on(name: str, slabs: Sequence[Slab], grid: Grid) -> Sparse:
    """C-order flat voxel indices (ascending) and cc per voxel of slabs on a grid with the identity direction.

    Returns
    -------
    (n,) int64, (n,) float64
    """
    if not np.allclose(grid.axes, IDENTITY, atol=1e-6):
        raise InputError(
            f"contours lie on axial planes, but the grid has direction {grid.direction}.",
            where=f"structure {name!r}",
            remedy="Resample the image to axes along x, y, z first.",
        )
    faces_z = _faces(grid, 2)
    areas: dict[int, npt.NDArray[np.float64]] = {}
    indices, volumes = [], []
    for k in range(grid.shape[0]):
        overlaps = {
            i: length
            for i, slab in enumerate(slabs)
            if (length := min(slab.high_mm, faces_z[k + 1]) - max(slab.low_mm, faces_z[k])) > 1e-9
        }
        areas = {i: areas[i] if i in areas else _pixel_areas(slabs[i].rings_mm, grid) for i in overlaps}
        if overlaps:
            mm3 = np.sum([areas[i] * length for i, length in overlaps.items()], axis=0).ravel()
            inside = np.flatnonzero(mm3)
            indices.append(inside + k * grid.shape[1] * grid.shape[2])
            volumes.append(mm3[inside] / 1000.0)
    if not indices:
        return np.empty(0, np.int64), np.empty(0)
    return np.concatenate(indices).astype(np.int64), np.concatenate(volumes)


def occupancy_on(name: str, source: Grid, fraction: npt.NDArray[Any], grid: Grid) -> Sparse:
    """C-order flat voxel indices (ascending) and cc per voxel of an occupancy on another grid of its
    direction.

    Conservative: what lies inside `grid` keeps its volume, because each voxel hands out its volume by
    overlap.

    Returns
    -------
    (n,) int64, (n,) float64
    """
    if source == grid:
        flat = np.flatnonzero(fraction)
        return flat.astype(np.int64), fraction.ravel()[flat].astype(np.float64) * grid.voxel_cc
    if not np.allclose(source.axes, grid.axes, atol=1e-6):
        raise InputError(
            f"the structure's grid has direction {source.direction}, the wanted grid {grid.direction}.",
            where=f"structure {name!r}",
            remedy="Bring image and structure to the same axes first.",
        )
    start = (np.asarray(source.origin_mm) - np.asarray(grid.origin_mm)) @ grid.axes.T
    mm3 = np.asarray(fraction, dtype=np.float64)
    windows: list[int] = []
    for array_axis, axis in enumerate((2, 1, 0)):
        matrix = _overlaps(source, grid, axis, float(start[axis]))
        hit = np.flatnonzero(matrix.any(axis=1))
        if not len(hit):
            return np.empty(0, np.int64), np.empty(0)
        windows.append(int(hit[0]))
        mm3 = np.moveaxis(np.tensordot(matrix[hit[0] : hit[-1] + 1], mm3, axes=(1, array_axis)), 0, array_axis)
    k, j, i = np.nonzero(mm3 > _NOISE * grid.voxel_cc * 1000.0)
    flat = np.ravel_multi_index((k + windows[0], j + windows[1], i + windows[2]), grid.shape)
    return flat.astype(np.int64), mm3[k, j, i] / 1000.0


def planes_of(z_mm: Sequence[float]) -> list[tuple[float, list[int]]]:
    """The planes that contours were drawn on, by ascending z: the middle of their heights, and which ones.

    Heights of one slice scatter where a program has transformed them. One plane is what lies within `JITTER_MM`, or
    within `PLANE_SHARE` of the least distance beyond it; a larger share would join the planes of a finer part.
    """
    order = np.argsort(np.asarray(z_mm, dtype=np.float64), kind="stable").tolist()
    gaps = np.diff([z_mm[k] for k in order])
    apart = gaps[gaps > JITTER_MM]
    tolerance = max(JITTER_MM, PLANE_SHARE * float(apart.min())) if len(apart) else JITTER_MM
    groups: list[list[int]] = []
    for k in order:
        if not groups or z_mm[k] - z_mm[groups[-1][0]] > tolerance:
            groups.append([])
        groups[-1].append(k)
    return [((float(z_mm[group[0]]) + float(z_mm[group[-1]])) / 2.0, group) for group in groups]


def even_odd(z_mm: Sequence[float], polygons_mm: Sequence[Floats]) -> tuple[tuple[float, ...], tuple[Floats, ...]]:
    """Contours that do not cross, around what the given ones enclose an odd number of times, plane by plane.

    A ring that is drawn again, up to a mean distance of `SAME_MM`, counts once.

    Returns
    -------
    tuple of float, tuple of (n, 2) float64
        Planes and polygons, holes among them.
    """
    return _combined(z_mm, polygons_mm, shapely.symmetric_difference)


def enclosed(z_mm: Sequence[float], polygons_mm: Sequence[Floats]) -> tuple[tuple[float, ...], tuple[Floats, ...]]:
    """Contours that do not cross, around all that the given ones enclose, holes filled; as `even_odd`."""
    return _combined(z_mm, polygons_mm, shapely.union)


def _combined(
    z_mm: Sequence[float], polygons_mm: Sequence[Floats], combine: Callable[[Any, Any], Any]
) -> tuple[tuple[float, ...], tuple[Floats, ...]]:
    planes: list[float] = []
    rings: list[Floats] = []
    for z, members in planes_of(z_mm):
        usable = [polygons_mm[k] for k in members if len(polygons_mm[k]) >= 3 and np.isfinite(polygons_mm[k]).all()]
        for part in shapely.get_parts(reduce(combine, _distinct(usable), shapely.Polygon())):
            if part.geom_type == "Polygon" and part.area > 0:
                found = [part.exterior, *part.interiors]
                rings += [shapely.get_coordinates(ring)[:-1] for ring in found]
                planes += [z] * len(found)
    return tuple(planes), tuple(rings)


def _distinct(polygons: Sequence[Floats]) -> list[Any]:
    """Valid shapes of a plane's polygons, those drawn again left out."""
    kept: list[Any] = []
    for ring in polygons:
        shape = shapely.make_valid(shapely.polygons(ring))
        size, length = shapely.area(shape), shapely.length(shape)
        if not any(_same(shapely.area(shapely.symmetric_difference(shape, other)), size, length) for other in kept):
            kept.append(shape)
    return kept


def _same(difference_mm2: Any, area_mm2: Any, length_mm: Any) -> Any:
    """Whether rings between which this area lies are one ring drawn twice."""
    return difference_mm2 <= np.minimum(SAME_SHARE * area_mm2, SAME_MM * length_mm)


def signed_area(ring_mm: Floats) -> float:
    """Shoelace area of an open or closed ring in mm2, positive when x turns towards y."""
    x, y = (ring_mm - ring_mm[0]).T
    return float(np.sum(x * np.roll(y, -1) - np.roll(x, -1) * y)) / 2.0


def _about_crowded(name: str, slabs: Sequence[Slab]) -> list[str]:
    """What is said of planes much closer than those around them; refused where they show different parts.

    Contours of one slice at two heights would each get half of it.
    """
    gaps = np.diff([slab.z_mm for slab in slabs])
    told = []
    for i, gap in enumerate(gaps):
        around = [gaps[k] for k in (i - 1, i + 1) if 0 <= k < len(gaps)]
        if not around or gap >= PLANE_SHARE * min(around):
            continue
        places = f"z = {slabs[i].z_mm:g} and {slabs[i + 1].z_mm:g} mm are {gap:.2g} mm apart"
        one, two = (
            reduce(shapely.symmetric_difference, [shapely.make_valid(shapely.polygons(r)) for r in slab.rings_mm])
            for slab in slabs[i : i + 2]
        )
        if shapely.area(shapely.intersection(one, two)) < 0.5 * shapely.area(shapely.union(one, two)):
            raise InputError(
                f"its contours at {places} and show different parts, those around lie {min(around):.3g} mm apart; "
                "whether they are of one slice or of two is not defined.",
                where=f"structure {name!r}",
                remedy="Draw it again on the slices of one CT.",
            )
        told.append(f"{name}: contours at {places}, those around {min(around):.3g} mm; taken as two planes.")
    return told


def _slab_faces(name: str, z: Floats, slab_mm: float | None) -> tuple[Floats, Floats, list[str]]:
    """Low and high face of each slab: halfway to the neighbouring plane, symmetric at the ends of a part."""
    gaps = np.diff(z)
    if slab_mm is not None and (not len(gaps) or abs(slab_mm - gaps.min()) <= PLANE_TOLERANCE_MM):
        empty = gaps > slab_mm + 2 * PLANE_TOLERANCE_MM
        told = _about_gaps(name, z, empty, "left empty, as its slab thickness says")
        return z - slab_mm / 2, z + slab_mm / 2, told
    if not len(gaps):
        raise InputError(
            f"has contours on one plane only (z = {z[0]:g} mm), so its thickness is unknown.",
            where=f"structure {name!r}",
            remedy="State the slab thickness or draw at least two planes.",
        )
    padded = np.concatenate([[0.0], gaps, [0.0]])
    typical = np.maximum(padded[:-2], padded[2:])
    typical[typical == 0.0] = float(np.median(gaps)) if slab_mm is None else slab_mm
    split = gaps > SPLIT_RATIO * typical
    told = _about_gaps(name, z, split, "left empty: it separates two parts")
    told += _about_gaps(name, z, ~split & (gaps > 1.5 * typical), "bridged from its two neighbours")
    half = np.where(split, np.nan, gaps / 2)
    below, above = np.concatenate([[np.nan], half]), np.concatenate([half, [np.nan]])
    alone = float(np.median(gaps[~split])) / 2 if (~split).any() else float(typical.min()) / 2
    below, above = np.where(np.isnan(below), above, below), np.where(np.isnan(above), below, above)
    return z - np.where(np.isnan(below), alone, below), z + np.where(np.isnan(above), alone, above), told


def _about_gaps(name: str, z: Floats, which: npt.NDArray[np.bool_], what: str) -> list[str]:
    places = [f"{z[i]:g} and {z[i + 1]:g} mm" for i in np.flatnonzero(which)]
    return [f"{name}: no contour between z = {place}; {what}." for place in places]


def _oriented(name: str, z: float, polygons: list[Floats]) -> tuple[Floats, ...]:
    """Rings with signed areas that add up to the exclusive or of the plane's polygons."""
    shapes = [_checked_polygon(name, z, ring) for ring in polygons]
    signs = np.ones(len(shapes)) if len(shapes) == 1 else _nesting_signs(name, z, shapes)
    return tuple(
        ring if signed_area(ring) * sign > 0 else ring[::-1] for ring, sign in zip(polygons, signs, strict=True)
    )


def _checked_polygon(name: str, z: float, ring: Floats) -> Any:
    """The polygon as a shapely geometry; crossings are refused, keyholes (channels drawn both ways) are not.

    A ring that only touches itself has the same area by the shoelace formula as by even-odd filling; where
    edges cross, the two differ by the parts that are wound the other way.
    """
    where = f"structure {name!r}, plane z = {z:g} mm"
    if len(ring) < 3:
        raise InputError(f"a contour has {len(ring)} points, at least 3 are needed.", where=where)
    if not np.isfinite(ring).all() or np.abs(ring).max() > COORDINATE_LIMIT_MM:
        raise InputError(
            f"a contour has coordinates that are not finite or beyond {COORDINATE_LIMIT_MM:g} mm.",
            where=where,
        )
    area = abs(signed_area(ring))
    polygon = shapely.polygons(ring)
    if not shapely.is_valid(polygon):
        reason = shapely.is_valid_reason(polygon)
        polygon = shapely.make_valid(polygon)
        if abs(shapely.area(polygon) - area) > 1e-6 * max(area, 1e-3):
            raise InputError(
                f"a contour crosses itself ({reason}); its inside is not defined.",
                where=where,
                remedy="Correct it in the contouring software.",
            )
    if area < 1e-6:
        raise InputError("a contour encloses no area.", where=where, remedy="Delete or redraw it.")
    return polygon


def _nesting_signs(name: str, z: float, shapes: list[Any]) -> Floats:
    """+1 for polygons at even depth, -1 for holes; duplicates and partial overlaps are refused."""
    areas = np.array([shapely.area(shape) for shape in shapes])
    depth = np.zeros(len(shapes), dtype=int)
    tree = shapely.STRtree(shapes)
    for a, b in tree.query(shapes, predicate="intersects").T:
        if areas[a] > areas[b] or a == b:
            continue
        shared = float(shapely.area(shapely.intersection(shapes[a], shapes[b]))) / areas[a]
        duplicate = shared > 1 - _NESTED and _same(areas[b] - areas[a], areas[a], shapely.length(shapes[a]))
        if duplicate or _NESTED < shared < 1 - _NESTED:
            fault = "are the same" if duplicate else f"overlap in part ({100 * shared:.1f} % of the smaller)"
            raise InputError(
                f"two contours {fault}; whether this adds or removes volume is not defined.",
                where=f"structure {name!r}, plane z = {z:g} mm",
                remedy="Merge or delete one in the contouring software.",
            )
        depth[a] += shared >= 1 - _NESTED
    return np.where(depth % 2 == 0, 1.0, -1.0)


def _faces(grid: Grid, axis: int) -> Floats:
    """Positions in mm of the voxel faces along x (0), y (1) or z (2), for the identity direction."""
    count = grid.shape[2 - axis]
    return np.asarray(grid.origin_mm[axis] + (np.arange(count + 1) - 0.5) * grid.spacing_mm[axis], np.float64)


def _overlaps(source: Grid, grid: Grid, axis: int, start_mm: float) -> Floats:
    """(target count, source count) lengths in mm shared by the voxels along one axis."""
    old = start_mm + (np.arange(source.shape[2 - axis] + 1) - 0.5) * source.spacing_mm[axis]
    new = (np.arange(grid.shape[2 - axis] + 1) - 0.5) * grid.spacing_mm[axis]
    shared = np.minimum(new[1:, None], old[None, 1:]) - np.maximum(new[:-1, None], old[None, :-1])
    return np.where(shared > 1e-9, shared, 0.0)


def _pixel_areas(rings_mm: Sequence[Floats], grid: Grid) -> Floats:
    """(ny, nx) area in mm2 of each pixel inside the rings, exact.

    Each edge is cut at the pixel borders. By Green's theorem a piece that rises by dv inside a pixel covers,
    to its right, dv (1 - f) of that pixel (f: mean position in it) and dv of every further pixel of the row,
    so two entries per piece and a running sum along the row give the covered share.
    """
    ny, nx = grid.shape[1:]
    dx, dy, _ = grid.spacing_mm
    cover = np.zeros((ny, nx + 1))
    low = np.array([_faces(grid, 0)[0], _faces(grid, 1)[0]])
    for ring in rings_mm:
        u, v = ((ring - low) / (dx, dy)).T
        start, end = _edge_pieces(u, v)
        rise, middle = end[1] - start[1], (start + end) / 2
        row = np.floor(middle[1]).astype(np.int64)
        column = np.clip(np.floor(middle[0]), -1, nx).astype(np.int64)
        part = np.where(column < 0, 1.0, middle[0] - column)
        keep = (row >= 0) & (row < ny) & (column < nx) & (rise != 0)
        row, column, part, rise = row[keep], column[keep], part[keep], rise[keep]
        np.add.at(cover, (row, np.maximum(column, 0)), rise * np.where(column < 0, 0.0, 1 - part))
        np.add.at(cover, (row, column + 1), rise * part)
    share = -np.cumsum(cover, axis=1)[:, :nx]
    return np.where(share > _NOISE, np.minimum(share, 1.0), 0.0) * (dx * dy)


def _edge_pieces(u: Floats, v: Floats) -> tuple[Floats, Floats]:
    """Start and end points, (2, n) each, of the edges of a closed ring cut at all integer u and v."""
    first = np.stack([u, v])
    step = np.roll(first, -1, axis=1) - first
    edge = np.arange(len(u))
    owners, positions = [edge, edge], [np.zeros(len(u)), np.ones(len(u))]
    for axis in (0, 1):
        a, b = np.sort(np.stack([first[axis], first[axis] + step[axis]]), axis=0)
        lowest = np.floor(a) + 1
        count = np.maximum(np.ceil(b) - lowest, 0).astype(np.int64)
        owner = np.repeat(edge, count)
        line = lowest[owner] + np.arange(len(owner)) - np.repeat(np.cumsum(count) - count, count)
        owners.append(owner)
        positions.append((line - first[axis][owner]) / step[axis][owner])
    owner, position = np.concatenate(owners), np.clip(np.concatenate(positions), 0.0, 1.0)
    order = np.lexsort((position, owner))
    owner, position = owner[order], position[order]
    points = first[:, owner] + position * step[:, owner]
    same = owner[:-1] == owner[1:]
    return points[:, :-1][:, same], points[:, 1:][:, same]

"""Slabs and occupancies to partial volumes on a grid, exactly.

A slab's share of a voxel is (area of the pixel inside the polygons) times (length of the slice inside the slab): both
factors are exact, so volumes carry no pixel error.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import reduce
from typing import Any

import numpy as np
import numpy.typing as npt

from .errors import InputError
from .grid import IDENTITY, Grid
from .slabs import Slab

Floats = npt.NDArray[np.float64]
Sparse = tuple[npt.NDArray[np.int64], Floats]

_NOISE = 1e-10  # rounding left by the running sums, as a share of a pixel
_SAME_STEP = 1e-9  # rounding left in an origin that was computed from another grid's, as a share of a voxel


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
    window, first = _window(slabs, grid)
    lows, highs = (np.array([getattr(slab, end) for slab in slabs]) for end in ("low_mm", "high_mm"))
    areas: dict[int, npt.NDArray[np.float64]] = {}
    indices, volumes = [], []
    for k in range(grid.shape[0]):
        shared = np.minimum(highs, faces_z[k + 1]) - np.maximum(lows, faces_z[k])
        overlaps = {i: shared[i] for i in np.flatnonzero(shared > 1e-9).tolist()}
        areas = {i: areas[i] if i in areas else _pixel_areas(slabs[i].rings_mm, window) for i in overlaps}
        if overlaps:
            mm3 = reduce(np.add, [areas[i] * length for i, length in overlaps.items()])
            rows, columns = np.nonzero(mm3)
            indices.append(((k * grid.shape[1] + rows + first[1]) * grid.shape[2]) + columns + first[0])
            volumes.append(mm3[rows, columns] / 1000.0)
    if not indices:
        return np.empty(0, np.int64), np.empty(0)
    return np.concatenate(indices).astype(np.int64), np.concatenate(volumes)


def _window(slabs: Sequence[Slab], grid: Grid) -> tuple[Grid, tuple[int, int]]:
    """The pixels of one slice that the polygons reach, at least one, and the x, y index of the first."""
    points = np.concatenate([ring for slab in slabs for ring in slab.rings_mm])
    counts = np.array(grid.shape[:0:-1])
    low, high = np.floor(
        (np.stack([points.min(axis=0), points.max(axis=0)]) - grid.origin_mm[:2]) / grid.spacing_mm[:2] + 0.5
    )
    start, stop = np.clip(low, 0, counts - 1).astype(int), np.clip(high, 0, counts - 1).astype(int) + 1
    x, y = (start * grid.spacing_mm[:2] + grid.origin_mm[:2]).tolist()
    columns, rows = (stop - start).tolist()
    return Grid((x, y, grid.origin_mm[2]), grid.spacing_mm, (1, rows, columns)), (int(start[0]), int(start[1]))


def occupancy_on(name: str, source: Grid, fraction: npt.NDArray[Any], grid: Grid) -> Sparse:
    """C-order flat voxel indices (ascending) and cc per voxel of an occupancy on another grid of its
    direction.

    Conservative: what lies inside `grid` keeps its volume, because each voxel hands out its volume by
    overlap.

    Returns
    -------
    (n,) int64, (n,) float64
    """
    first = _first_shared(source, grid)
    if first is not None:
        index = np.nonzero(fraction)
        flat = np.ravel_multi_index(tuple(i + f for i, f in zip(index, first, strict=True)), grid.shape)
        return flat.astype(np.int64), fraction[index].astype(np.float64) * grid.voxel_cc
    if not np.allclose(source.axes, grid.axes, atol=1e-6):
        raise InputError(
            f"the structure's grid has direction {source.direction}, the wanted grid {grid.direction}.",
            where=f"structure {name!r}",
            remedy="Bring image and structure to the same axes first.",
        )
    start = (np.asarray(source.origin_mm) - np.asarray(grid.origin_mm)) @ grid.axes.T
    matrices = [_overlaps(source, grid, axis, float(start[axis])) for axis in (2, 1, 0)]
    if not all(matrix.any() for matrix in matrices):
        return np.empty(0, np.int64), np.empty(0)
    wanted, given = (
        tuple(slice(hit[0], hit[-1] + 1) for hit in (np.flatnonzero(matrix.any(axis=1 - of)) for matrix in matrices))
        for of in (0, 1)
    )
    mm3 = np.asarray(fraction[given], dtype=np.float64)
    for array_axis, matrix in enumerate(matrices):
        shared = matrix[wanted[array_axis], given[array_axis]]
        mm3 = np.moveaxis(np.tensordot(shared, mm3, axes=(1, array_axis)), 0, array_axis)
    k, j, i = np.nonzero(mm3 > _NOISE * grid.voxel_cc * 1000.0)
    flat = np.ravel_multi_index((k + wanted[0].start, j + wanted[1].start, i + wanted[2].start), grid.shape)
    return flat.astype(np.int64), mm3[k, j, i] / 1000.0


def _first_shared(source: Grid, grid: Grid) -> tuple[int, int, int] | None:
    """Index (k, j, i) in `grid` of the first voxel of a grid that is a box of its voxels; None where it is not."""
    if source.spacing_mm != grid.spacing_mm or source.direction != grid.direction:
        return None
    steps = grid.index_coordinates(source.origin_mm)[0]
    i, j, k = np.rint(steps).astype(int).tolist()
    ends = zip((k, j, i), source.shape, grid.shape, strict=True)
    inside = all(first >= 0 and first + count <= held for first, count, held in ends)
    return (k, j, i) if inside and np.abs(steps - np.rint(steps)).max() < _SAME_STEP else None


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

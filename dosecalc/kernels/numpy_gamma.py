"""Gamma by search: the readable statement that the compiled and CUDA twins agree with.

Between voxel centres the dose is interpolated linearly along x, y and z. Around each place of a lattice it is taken as
linear within one lattice step and within the voxel centres around it; the least gamma of that neighbourhood then has a
closed form, so that a coarse lattice suffices (the idea of Ju et al., Med Phys 35:879, 2008, who do so by simplices).
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[Any]


def gamma_search(
    dose: Array,
    points: Array,
    expected: Array,
    criterion: Array,
    offsets: Array,
    scale: Array,
    step: float,
    most: float,
) -> Array:
    """The least gamma of each point over the neighbourhoods of the offsets from it; none counts that leaves the grid.

    Parameters
    ----------
    dose : (nz, ny, nx) float64
        Evaluated dose at voxel centres.
    points : (n, 3) float64
        Where the reference points lie, index coordinates (x, y, z) of `dose`.
    expected, criterion : (n,) float64
        Reference dose, and the dose difference that counts as one.
    offsets : (m, 3) float64
        A lattice of steps from a point along x, y and z, in units of the distance criterion, nearest first.
    scale : (3,) float64
        The distance criterion in index steps along x, y and z.
    step : float
        Of the lattice.
    most : float
        Where nothing less is found.

    Returns
    -------
    (n,) float64
    """
    last = np.array(dose.shape[::-1]) - 1
    best = np.full(len(points), most * most)
    for offset in offsets:
        # All later offsets are at least as far: a point that nothing there can improve is done.
        wanted = np.flatnonzero(nearest(offset, step) ** 2 < best)
        if not wanted.size:
            break
        places = points[wanted] + offset * scale
        inside = np.all((places >= 0) & (places <= last), axis=1)
        wanted, places = wanted[inside], places[inside]
        found = _least_around(dose, places, expected[wanted], criterion[wanted], offset, scale, step)
        best[wanted] = np.minimum(best[wanted], found)
    return np.sqrt(best)


def nearest(offset: Array, step: float) -> float:
    """The least distance in the neighbourhood of an offset: it reaches a step along each axis."""
    return max(0.0, float(np.sqrt(offset @ offset)) - np.sqrt(3.0) * step)


def _least_around(
    dose: Array, places: Array, expected: Array, criterion: Array, offset: Array, scale: Array, step: float
) -> Array:
    """Least gamma squared (n,) in the neighbourhoods of places.

    With r the offset, e the excess and g its gradient, |r + d|^2 + (e + g d)^2 is least at
    d = -r - g (e - g r) / (1 + g^2), which is then cut to one step and to the voxel centres around the place.
    """
    cell = np.minimum(places.astype(np.int64), np.maximum(np.array(dose.shape[::-1]) - 2, 0))
    value, gradient = _linear(dose, cell, places - cell)
    excess = (value - expected) / criterion
    slope = gradient * scale / criterion[:, None]
    along = np.sum(slope * offset, axis=1)
    wished = -offset - slope * ((excess - along) / (1.0 + np.sum(slope * slope, axis=1)))[:, None]
    lowest, highest = np.maximum(-step, (cell - places) / scale), np.minimum(step, (cell + 1 - places) / scale)
    moved = np.minimum(np.maximum(wished, lowest), highest)
    least: Array = np.sum((offset + moved) ** 2, axis=1) + (excess + np.sum(slope * moved, axis=1)) ** 2
    return least


def _linear(dose: Array, cell: Array, part: Array) -> tuple[Array, Array]:
    """Trilinear dose (n,) and its gradient (n, 3) per index step, at a part of 0..1 of the way through a cell."""
    (x, y, z), (x0, y0, z0) = part.T, cell.T
    x1, y1, z1 = np.minimum(cell + 1, np.array(dose.shape[::-1]) - 1).T
    starts = [dose[k, j, x0] for k in (z0, z1) for j in (y0, y1)]
    ends = [dose[k, j, x1] for k in (z0, z1) for j in (y0, y1)]
    steps = [end - start for start, end in zip(starts, ends, strict=True)]
    lines = [start + across * x for start, across in zip(starts, steps, strict=True)]
    below, above = lines[0] + (lines[1] - lines[0]) * y, lines[2] + (lines[3] - lines[2]) * y
    along_x = (steps[0] + (steps[1] - steps[0]) * y) * (1.0 - z) + (steps[2] + (steps[3] - steps[2]) * y) * z
    along_y = (lines[1] - lines[0]) * (1.0 - z) + (lines[3] - lines[2]) * z
    return below + (above - below) * z, np.stack([along_x, along_y, above - below], axis=1)

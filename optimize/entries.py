"""Where beams enter: through the end of the scan."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from dosecalc.beams import Beam
from dosecalc.grid import Grid
from dosecalc.structures import Structure

Array = npt.NDArray[Any]

STEP_MM = 2.0
"""Between samples along a ray."""
MOST_RAYS = 300
WORTH_SAYING = 0.01
"""Share of a beam's rays below which nothing is said."""


def entry_warnings(beams: tuple[Beam, ...], grid: Grid, body: Structure, ptv_mm: Array, sad_mm: float) -> list[str]:
    """One sentence for each beam of which some rays enter where the scan ends.

    Parameters
    ----------
    beams : tuple of Beam
    grid : Grid
        The CT's.
    body : Structure
        The body's outline.
    ptv_mm : (n, 3)
        Points of the target in LPS mm; at most `MOST_RAYS` of them, evenly taken, are looked at.
    sad_mm : float
    """
    points = ptv_mm[:: max(1, len(ptv_mm) // MOST_RAYS)]
    inside = np.zeros(grid.size, bool)
    voxels = body.on(grid)
    inside[voxels.indices[voxels.cc >= 0.5 * grid.voxel_cc]] = True
    told = []
    for beam in beams:
        flat, scanned = _samples(grid, points, np.asarray(beam.source_mm(sad_mm)))
        within = inside[flat] & scanned
        last = scanned.sum(axis=1) - 1
        truncated = within[np.arange(len(points)), np.maximum(last, 0)].mean()
        if truncated >= WORTH_SAYING:
            told.append(
                f"{beam.name}: {truncated:.0%} of its rays enter the body where the scan or its field of view ends; "
                "tissue is missing to them, and their dose is too high."
            )
    return told


def _samples(grid: Grid, points: Array, source: Array) -> tuple[Array, Array]:
    """Flat voxel indices (rays, samples) on the way from each point to the source, and which lie in the scan.

    A grid is convex: the samples in the scan are the first ones of each ray.
    """
    reach = float(np.linalg.norm(np.asarray(grid.spacing_mm) * grid.shape[::-1]))
    way = source - points
    length = np.linalg.norm(way, axis=1)
    steps = np.arange(0.0, reach, STEP_MM)
    places = points[:, None, :] + way[:, None, :] * (steps[None, :, None] / length[:, None, None])
    index = np.floor(grid.index_coordinates(places.reshape(-1, 3)) + 0.5).astype(np.int64)
    index = index.reshape(*places.shape)
    counts = np.array(grid.shape[::-1])
    scanned = np.all((index >= 0) & (index < counts), axis=-1) & (steps[None, :] <= length[:, None])
    clipped = np.clip(index, 0, counts - 1)
    flat = (clipped[..., 2] * counts[1] + clipped[..., 1]) * counts[0] + clipped[..., 0]
    return flat, scanned

"""Planes through volumes and structures in patient coordinates.

A view is axial, coronal or sagittal; images are drawn in LPS mm, so that a CT and a dose on grids of
different spacing lie on each other without resampling inside the plane.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from dosecalc.errors import InputError
from dosecalc.grid import IDENTITY, Grid, Triple, Volume
from dosecalc.structures import Voxels

View = Literal["axial", "coronal", "sagittal"]
Array = npt.NDArray[Any]

# Components of (x, y, z): across the image, up or down the image, through the plane.
_COMPONENTS: dict[View, tuple[int, int, int]] = {
    "axial": (0, 1, 2),
    "coronal": (0, 2, 1),
    "sagittal": (1, 2, 0),
}
# Left, right, bottom and top of the image. Axial as seen from the feet: patient left on the image's right.
LETTERS: dict[View, tuple[str, str, str, str]] = {
    "axial": ("R", "L", "P", "A"),
    "coronal": ("R", "L", "I", "S"),
    "sagittal": ("A", "P", "I", "S"),
}


@dataclass(frozen=True, slots=True)
class Plane:
    """One plane of the voxel centres of a grid.

    Attributes
    ----------
    view : "axial", "coronal" or "sagittal"
    index : int
        Of the plane on the grid.
    position_mm : float
        LPS coordinate of the plane: z, y or x.
    """

    view: View
    index: int
    position_mm: float

    @property
    def normal(self) -> str:
        """Name of the coordinate that is constant."""
        return "xyz"[_COMPONENTS[self.view][2]]


@dataclass(frozen=True, slots=True)
class Frame:
    """A rectangle of a plane in LPS mm; `low` and `high` are (across, along) with low < high."""

    low: tuple[float, float]
    high: tuple[float, float]

    @property
    def size(self) -> tuple[float, float]:
        """Width and height in mm."""
        return self.high[0] - self.low[0], self.high[1] - self.low[1]


def plane_through(grid: Grid, view: View, point_mm: Triple) -> Plane:
    """The plane of voxel centres nearest to a point; clamped to the grid.

    Raises
    ------
    InputError
        The axes of the grid are not x, y and z.
    """
    if grid.direction != IDENTITY:
        raise InputError(
            f"a report needs grids along x, y and z, got direction {grid.direction}.",
            remedy="Resample image and dose first.",
        )
    through = _COMPONENTS[view][2]
    step, first, count = grid.spacing_mm[through], grid.origin_mm[through], grid.shape[2 - through]
    index = min(max(round((point_mm[through] - first) / step), 0), count - 1)
    return Plane(view, index, first + index * step)


def section(volume: Volume, plane: Plane) -> Array:
    """Values on a plane, (rows, columns), linear between the volume's planes and constant beyond its ends."""
    through = _COMPONENTS[plane.view][2]
    axis, grid = 2 - through, volume.grid
    place = (plane.position_mm - grid.origin_mm[through]) / grid.spacing_mm[through]
    place = min(max(place, 0.0), grid.shape[axis] - 1.0)
    low = min(int(place), max(grid.shape[axis] - 2, 0))
    high = min(low + 1, grid.shape[axis] - 1)
    part = place - low
    return (1.0 - part) * np.take(volume.values, low, axis) + part * np.take(volume.values, high, axis)


def frame_of(grid: Grid, view: View) -> Frame:
    """The faces of a grid's outermost voxels."""
    across, along, _ = _COMPONENTS[view]
    ends = [
        (grid.origin_mm[c] - grid.spacing_mm[c] / 2, grid.spacing_mm[c] * grid.shape[2 - c]) for c in (across, along)
    ]
    return Frame((ends[0][0], ends[1][0]), (ends[0][0] + ends[0][1], ends[1][0] + ends[1][1]))


def centres_of(grid: Grid, view: View) -> tuple[Array, Array]:
    """Coordinates of the columns and of the rows of a section, mm."""
    across, along, _ = _COMPONENTS[view]
    columns, rows = (grid.origin_mm[c] + grid.spacing_mm[c] * np.arange(grid.shape[2 - c]) for c in (across, along))
    return columns, rows


def in_plane(view: View, point_mm: Sequence[float] | npt.NDArray[np.float64]) -> tuple[float, float]:
    """The components of a point or direction across and along an image."""
    across, along, _ = _COMPONENTS[view]
    return float(point_mm[across]), float(point_mm[along])


def frame_around(voxels: Voxels, view: View, margin_mm: float) -> Frame:
    """The box of a structure with a margin, beyond the grid if need be; the whole grid if it has no voxel."""
    grid = voxels.grid
    if voxels.indices.size == 0:
        return frame_of(grid, view)
    lowest, highest = _span(voxels)
    ends = []
    for component in _COMPONENTS[view][:2]:
        first, step = grid.origin_mm[component], grid.spacing_mm[component]
        low, high = lowest[2 - component], highest[2 - component]
        ends.append((first + step * low - margin_mm, first + step * high + margin_mm))
    return Frame((float(ends[0][0]), float(ends[1][0])), (float(ends[0][1]), float(ends[1][1])))


def _span(voxels: Voxels) -> tuple[Array, Array]:
    """The lowest and the highest (z, y, x) index of the voxels of a structure that has some."""
    _, rows, columns = voxels.grid.shape
    hit = np.zeros(rows * columns, dtype=bool)
    hit[voxels.indices % hit.size] = True
    area = hit.reshape(rows, columns)
    k, j, i = voxels.indices[[0, -1]] // hit.size, *(np.flatnonzero(area.any(axis=axis))[[0, -1]] for axis in (1, 0))
    return np.array([k[0], j[0], i[0]]), np.array([k[1], j[1], i[1]])


@dataclass(frozen=True, slots=True, eq=False)
class Shares:
    """The share of each voxel in a structure.

    Attributes
    ----------
    grid : Grid
    first : (3,) int64
        The (z, y, x) index of the first voxel of `values` on the grid.
    values : (nz, ny, nx) float32
        In the box around the structure, wider by one voxel where the grid goes on.
    """

    grid: Grid
    first: npt.NDArray[np.int64]
    values: npt.NDArray[np.float32]

    def on(self, plane: Plane) -> tuple[Array, Array, Array] | None:
        """Shares (rows, columns) on a plane, and the coordinates of its columns and rows in mm.

        None without an outline there: that takes a share above one half, and two rows and columns.
        """
        axis = 2 - _COMPONENTS[plane.view][2]
        index = plane.index - int(self.first[axis])
        if not 0 <= index < self.values.shape[axis]:
            return None
        cut = np.take(self.values, index, axis)
        if cut.max() <= 0.5 or min(cut.shape) < 2:
            return None
        columns, rows = centres_of(self.grid, plane.view)
        i, j = (int(self.first[2 - component]) for component in _COMPONENTS[plane.view][:2])
        return cut, columns[i : i + cut.shape[1]], rows[j : j + cut.shape[0]]


def shares_of(voxels: Voxels) -> Shares:
    """The shares of a structure that has a voxel on its grid."""
    grid = voxels.grid
    lowest, highest = _span(voxels)
    first, last = np.maximum(lowest - 1, 0), np.minimum(highest + 1, np.array(grid.shape) - 1)
    values = np.zeros(last - first + 1, dtype=np.float32)
    places = np.unravel_index(voxels.indices, grid.shape)
    values[tuple(place - start for place, start in zip(places, first, strict=True))] = voxels.cc / grid.voxel_cc
    return Shares(grid, first, values)

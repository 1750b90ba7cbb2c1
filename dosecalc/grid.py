"""Voxel grids and volumes: geometry is a value.

Coordinates are DICOM patient coordinates (LPS: x to the patient's left, y to posterior, z to superior) in mm and
name voxel centres. Arrays are indexed (z, y, x).
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt

from .errors import InputError

FloatArray = npt.NDArray[np.floating[Any]]
Triple = tuple[float, float, float]
IDENTITY: tuple[Triple, Triple, Triple] = ((1.0, 0.0, 0.0), (0.0, 1.0, 0.0), (0.0, 0.0, 1.0))


@dataclass(frozen=True, slots=True)
class Grid:
    """A regular voxel grid; compares and hashes by value.

    Parameters
    ----------
    origin_mm : (x, y, z)
        Centre of voxel (0, 0, 0).
    spacing_mm : (x, y, z)
        Distance between voxel centres, > 0.
    shape : (nz, ny, nx)
        Number of voxels.
    direction : 3 x 3, optional
        Rows are the LPS unit vectors of increasing x, y and z index (orthonormal, right-handed).

    Raises
    ------
    InputError
        Spacing or shape not positive, or direction not a rotation.
    """

    origin_mm: Triple
    spacing_mm: Triple
    shape: tuple[int, int, int]
    direction: tuple[Triple, Triple, Triple] = IDENTITY

    def __post_init__(self) -> None:
        object.__setattr__(self, "origin_mm", _triple("origin_mm", self.origin_mm))
        object.__setattr__(self, "spacing_mm", _triple("spacing_mm", self.spacing_mm))
        object.__setattr__(self, "shape", tuple(int(n) for n in self.shape))
        object.__setattr__(self, "direction", tuple(_triple("direction", row) for row in self.direction))
        if len(self.shape) != 3 or min(self.shape) < 1:
            raise InputError(f"grid shape must be three positive counts (nz, ny, nx), got {self.shape}.")
        if min(self.spacing_mm) <= 0:
            raise InputError(f"grid spacing must be positive in mm (x, y, z), got {self.spacing_mm}.")
        axes = self.axes
        if axes.shape != (3, 3) or not np.allclose(axes @ axes.T, np.eye(3), atol=1e-5):
            raise InputError(f"grid direction rows must be orthonormal, got {self.direction}.")
        if np.linalg.det(axes) < 0:
            raise InputError("grid direction must be right-handed (x cross y = z).")

    @property
    def axes(self) -> npt.NDArray[np.float64]:
        """(3, 3) float64; row k is the LPS unit vector along index axis k of (x, y, z)."""
        return np.asarray(self.direction, dtype=np.float64)

    @property
    def size(self) -> int:
        """Number of voxels."""
        nz, ny, nx = self.shape
        return nz * ny * nx

    @property
    def voxel_cc(self) -> float:
        """Volume of one voxel in cc."""
        dx, dy, dz = self.spacing_mm
        return dx * dy * dz / 1000.0

    @property
    def bounds_mm(self) -> npt.NDArray[np.float64]:
        """The box around all voxels, (2, 3) in LPS mm, the lower corner first."""
        corners = np.array([[i, j, k] for i in (0, 1) for j in (0, 1) for k in (0, 1)], dtype=np.float64)
        offsets = (corners * np.asarray(self.shape[::-1]) - 0.5) * np.asarray(self.spacing_mm)
        points = np.asarray(self.origin_mm) + offsets @ self.axes
        return np.stack([points.min(axis=0), points.max(axis=0)])

    def centres_mm(
        self, voxels: npt.NDArray[np.integer[Any]] | None = None, *, xp: Any = np
    ) -> npt.NDArray[np.float64]:
        """LPS coordinates, (n, 3) float64 in mm, of the given C-order flat voxel indices (default: all).

        With `xp` another array module that holds the indices, CuPy for one, the coordinates are its array too.
        """
        flat = xp.arange(self.size) if voxels is None else xp.asarray(voxels)
        # As unravel_index, with which CuPy asks the host whether they lie inside.
        line, i = flat // self.shape[2], flat % self.shape[2]
        steps = xp.stack([i, line % self.shape[1], line // self.shape[1]], axis=1) * xp.asarray(self.spacing_mm)
        centres: npt.NDArray[np.float64] = xp.asarray(self.origin_mm) + steps @ xp.asarray(self.axes)
        return centres

    def index_coordinates(self, points_mm: npt.ArrayLike, *, xp: Any = np) -> npt.NDArray[np.float64]:
        """Fractional (x, y, z) index coordinates, (n, 3), of LPS points; integers are voxel centres.

        `xp` is the array module of the points.
        """
        offset = xp.atleast_2d(xp.asarray(points_mm, dtype=np.float64)) - xp.asarray(self.origin_mm)
        found: npt.NDArray[np.float64] = (offset @ xp.asarray(self.axes.T)) / xp.asarray(self.spacing_mm)
        return found

    def resampled(self, spacing_mm: float | Triple) -> Grid:
        """A grid of the given spacing that covers the same box of voxel volumes, faces aligned at the low end."""
        new = (spacing_mm,) * 3 if isinstance(spacing_mm, int | float) else spacing_mm
        old = np.asarray(self.spacing_mm)
        extent = old * np.asarray(self.shape[::-1])
        counts = np.maximum(1, np.ceil(extent / np.asarray(new) - 1e-6)).astype(int)
        shift = (np.asarray(new) - old) / 2.0
        origin = np.asarray(self.origin_mm) + shift @ self.axes
        return Grid(_triple("origin", origin), _triple("spacing", new), tuple(counts[::-1].tolist()), self.direction)


@dataclass(frozen=True, slots=True, eq=False)
class Volume:
    """Values on a grid: HU, relative electron density or Gy; read-only.

    Parameters
    ----------
    grid : Grid
    values : (nz, ny, nx) array
        Finite numbers; kept as a read-only view.
    """

    grid: Grid
    values: npt.NDArray[Any] = field(repr=False)

    def __post_init__(self) -> None:
        values = np.asarray(self.values)
        if values.shape != self.grid.shape:
            raise InputError(f"volume values have shape {values.shape}, the grid (nz, ny, nx) = {self.grid.shape}.")
        view = values.view()
        view.flags.writeable = False
        object.__setattr__(self, "values", view)


def _triple(name: str, value: Any) -> Triple:
    """Three finite floats, or an InputError that names the argument."""
    numbers = tuple(float(v) for v in value)
    if len(numbers) != 3 or not all(np.isfinite(numbers)):
        raise InputError(f"{name} must be three finite numbers (x, y, z), got {value!r}.")
    return numbers

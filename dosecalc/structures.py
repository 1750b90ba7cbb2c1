"""Structures as geometry: contours or occupancy, turned into voxels with partial volumes."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from .grid import Grid


@dataclass(frozen=True, slots=True, eq=False)
class Voxels:
    """The voxels of a structure on one grid.

    Attributes
    ----------
    grid : Grid
    indices : (n,) int64
        C-order flat indices, ascending.
    cc : (n,) float64
        Volume of the structure inside each voxel (partial volumes), > 0.
    """

    grid: Grid
    indices: npt.NDArray[np.int64]
    cc: npt.NDArray[np.float64]


@dataclass(frozen=True, slots=True, eq=False)
class Contours:
    """Closed planar polygons in LPS mm, each on an axial plane.

    Attributes
    ----------
    z_mm : tuple of float
        Plane of each polygon.
    polygons_mm : tuple of (n, 2) float64 arrays
        x, y vertices of each polygon, same order; several polygons of one plane combine by exclusive or.
    """

    z_mm: tuple[float, ...]
    polygons_mm: tuple[npt.NDArray[np.float64], ...]


@dataclass(frozen=True, slots=True, eq=False)
class Occupancy:
    """The fraction of each voxel that belongs to the structure, (nz, ny, nx) float32 in 0..1."""

    grid: Grid
    fraction: npt.NDArray[np.float32]


@dataclass(frozen=True, slots=True, eq=False)
class Structure:
    """A named region with a role.

    Attributes
    ----------
    name : str
        As the input carried it, or a TG-263 name.
    role : str
        "GTV", "ITV", "CTV", "PTV", "ORGAN" or "EXTERNAL".
    geometry : Contours or Occupancy
    """

    name: str
    role: str
    geometry: Contours | Occupancy

    def on(self, grid: Grid) -> Voxels:
        """Voxel indices and cc per voxel of this structure on `grid`."""
        raise NotImplementedError


@dataclass(frozen=True, slots=True, eq=False)
class StructureSet:
    """Structures of one patient in one frame of reference; names are unique."""

    structures: tuple[Structure, ...]
    frame_of_reference_uid: str | None = None

    @property
    def names(self) -> tuple[str, ...]:
        return tuple(s.name for s in self.structures)

    def __getitem__(self, name: str) -> Structure:
        raise NotImplementedError

    def __contains__(self, name: Any) -> bool:
        return name in self.names

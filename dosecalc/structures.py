"""Structures as geometry: contours or occupancy, turned into voxels with partial volumes."""

from __future__ import annotations

import difflib
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import numpy.typing as npt

from .errors import InputError
from .grid import Grid
from .rasterise import occupancy_on, slabs_on
from .slabs import EndCaps, Slab, check_end_caps, contour_slabs

ROLES = ("GTV", "ITV", "CTV", "PTV", "ORGAN", "EXTERNAL")
NAME_LENGTH = 64
KEPT_GRIDS = 3
"""Grids whose voxels a structure keeps, the one longest unused out first: CT, dose, and one finer."""
_TARGET_ROLES = ("GTV", "ITV", "CTV", "PTV")
FACES = ("inferior", "superior", "anterior", "posterior", "right", "left")


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

    def __post_init__(self) -> None:
        object.__setattr__(self, "indices", _read_only(self.indices, np.int64))
        object.__setattr__(self, "cc", _read_only(self.cc, np.float64))

    @property
    def volume_cc(self) -> float:
        """Volume inside the grid in cc."""
        return float(self.cc.sum())

    @property
    def faces_touched(self) -> tuple[str, ...]:
        """Faces of the grid, for the identity direction, whose outermost voxels hold part of the structure.

        On the grid of the scan this tells that the scan may cut the organ: "inferior" is the first slice.
        """
        position = np.unravel_index(self.indices, self.grid.shape)
        ends = zip(position, self.grid.shape, strict=True)
        touched = [hit for p, n in ends for hit in (bool((p == 0).any()), bool((p == n - 1).any()))]
        return tuple(face for face, hit in zip(FACES, touched, strict=True) if hit)


@dataclass(frozen=True, slots=True, eq=False)
class Contours:
    """Closed planar polygons in LPS mm, each on an axial plane.

    Attributes
    ----------
    z_mm : tuple of float
        Plane of each polygon.
    polygons_mm : tuple of (n, 2) float64 arrays
        x, y vertices of each polygon, same order; several polygons of one plane combine by exclusive or.
    slab_mm : float, optional
        Thickness that each contour was drawn for, where the input states it. Without it, slabs reach halfway
        to the neighbouring planes.
    end_caps : str
        "half_slice": the first and the last contour of each part stand for half a slice beyond them. "at_contour":
        the part ends there. See docs/volumes.md.
    """

    z_mm: tuple[float, ...]
    polygons_mm: tuple[npt.NDArray[np.float64], ...]
    slab_mm: float | None = None
    end_caps: EndCaps = "half_slice"

    def __post_init__(self) -> None:
        object.__setattr__(self, "z_mm", tuple(float(z) for z in self.z_mm))
        object.__setattr__(self, "polygons_mm", tuple(_read_only(p, np.float64) for p in self.polygons_mm))
        if len(self.z_mm) != len(self.polygons_mm):
            raise InputError(f"got {len(self.z_mm)} planes for {len(self.polygons_mm)} polygons, one each is needed.")
        if any(p.ndim != 2 or p.shape[1] != 2 for p in self.polygons_mm):
            raise InputError("each polygon must be an (n, 2) array of x, y in mm.")
        if not np.isfinite(self.z_mm).all() or not (self.slab_mm is None or self.slab_mm > 0):
            raise InputError("contour planes must be finite and the slab thickness positive, in mm.")
        check_end_caps(self.end_caps)

    def __repr__(self) -> str:
        points = sum(len(polygon) for polygon in self.polygons_mm)
        where = f", z {min(self.z_mm):g} to {max(self.z_mm):g} mm" if self.z_mm else ""
        return (
            f"Contours({len(self.z_mm)} polygons of {points} points{where}, slab_mm={self.slab_mm}, "
            f"end_caps={self.end_caps!r})"
        )


@dataclass(frozen=True, slots=True, eq=False)
class Occupancy:
    """The fraction of each voxel that belongs to the structure, (nz, ny, nx) float32 in 0..1."""

    grid: Grid
    fraction: npt.NDArray[np.float32] = field(repr=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "fraction", _read_only(self.fraction, np.float32))
        if self.fraction.shape != self.grid.shape:
            raise InputError(f"occupancy has shape {self.fraction.shape}, its grid {self.grid.shape} (nz, ny, nx).")
        if not ((self.fraction >= 0) & (self.fraction <= 1)).all():
            raise InputError("occupancy must lie between 0 and 1 in every voxel.")


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
    notices : tuple of str
        What was made of planes that seem to be missing.

    Raises
    ------
    InputError
        Unknown role, no volume, or contours whose inside is not defined (see `slabs.contour_slabs`).
    """

    name: str
    role: str
    geometry: Contours | Occupancy
    notices: tuple[str, ...] = field(init=False, repr=False)
    _slabs: tuple[Slab, ...] = field(init=False, repr=False)
    _on: dict[Grid, Voxels] = field(init=False, repr=False, default_factory=dict)

    def __post_init__(self) -> None:
        check_name(self.name)
        if self.role not in ROLES:
            raise InputError(f"role is {self.role!r}, expected one of {', '.join(ROLES)}.", where=self._where)
        slabs: tuple[Slab, ...] = ()
        notices: tuple[str, ...] = ()
        if isinstance(self.geometry, Contours):
            shape = self.geometry
            slabs, notices = contour_slabs(self.name, shape.z_mm, shape.polygons_mm, shape.slab_mm, shape.end_caps)
        elif not self.geometry.fraction.any():
            raise InputError("has no voxels.", where=self._where, remedy="Draw it or leave it out.")
        object.__setattr__(self, "_slabs", slabs)
        object.__setattr__(self, "notices", notices)

    @property
    def volume_cc(self) -> float:
        """Volume of the whole structure in cc, whatever grid it is put on later."""
        if isinstance(self.geometry, Contours):
            return sum(slab.cc for slab in self._slabs)
        return float(self.geometry.fraction.sum(dtype=np.float64)) * self.geometry.grid.voxel_cc

    @property
    def bounds_mm(self) -> npt.NDArray[np.float64]:
        """The box around the whole structure in LPS mm, (2, 3), the lower corner first."""
        if not isinstance(self.geometry, Contours):
            return self.geometry.grid.bounds_mm
        points = np.concatenate(self.geometry.polygons_mm)
        low, high = points.min(axis=0), points.max(axis=0)
        ends = min(slab.low_mm for slab in self._slabs), max(slab.high_mm for slab in self._slabs)
        return np.array([[*low, ends[0]], [*high, ends[1]]])

    def on(self, grid: Grid) -> Voxels:
        """Voxel indices and cc per voxel of this structure on `grid`.

        Partial volumes are exact: polygon area inside the pixel times slab length inside the slice for
        contours, overlap of the voxels for occupancies. Parts outside `grid` are left out; compare
        `volume_cc` to see how much. The voxels on the last few grids are kept: a plan asks for them a dozen times.

        Raises
        ------
        InputError
            The grid's axes differ from those of the structure.
        """
        found = self._on.pop(grid, None) or self._voxels_on(grid)
        self._on[grid] = found
        if len(self._on) > KEPT_GRIDS:
            del self._on[next(iter(self._on))]
        return found

    def faces_touched(self, grid: Grid) -> tuple[str, ...]:
        """`Voxels.faces_touched` of this structure on a grid, of which only the outermost voxels are filled."""
        low, high = self.bounds_mm
        touched = []
        for face, layer in zip(FACES, _outermost(grid), strict=True):
            first, last = layer.bounds_mm
            if (low < last).all() and (high > first).all() and self._voxels_on(layer).indices.size:
                touched.append(face)
        return tuple(touched)

    def _voxels_on(self, grid: Grid) -> Voxels:
        if isinstance(self.geometry, Contours):
            return Voxels(grid, *slabs_on(self.name, self._slabs, grid))
        return Voxels(grid, *occupancy_on(self.name, self.geometry.grid, self.geometry.fraction, grid))

    @property
    def _where(self) -> str:
        return f"structure {self.name!r}"


@dataclass(frozen=True, slots=True, eq=False)
class StructureSet:
    """Structures of one patient in one frame of reference; names are unique.

    Attributes
    ----------
    structures : tuple of Structure
    frame_of_reference_uid : str, optional
    absent : tuple of str
        Names that the input lists without any geometry.
    notices : tuple of str
        What reading did that a user must know.
    """

    structures: tuple[Structure, ...]
    frame_of_reference_uid: str | None = None
    absent: tuple[str, ...] = ()
    notices: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        object.__setattr__(self, "structures", tuple(self.structures))
        counts = Counter(self.names)
        twice = [
            f"{s.name!r} (no. {i + 1}, role {s.role})" for i, s in enumerate(self.structures) if counts[s.name] > 1
        ]
        if twice:
            raise InputError(
                f"structure names must be unique, got {', '.join(twice)}.",
                remedy="Rename or delete the duplicates.",
            )

    @property
    def names(self) -> tuple[str, ...]:
        """Names in order."""
        return tuple(s.name for s in self.structures)

    def __getitem__(self, name: str) -> Structure:
        for structure in self.structures:
            if structure.name == name:
                return structure
        raise InputError(f"there is no structure {name!r}{self._hint(name)}.", remedy="Check the name.")

    def __contains__(self, name: Any) -> bool:
        return name in self.names

    def __iter__(self) -> Iterator[Structure]:
        return iter(self.structures)

    def __len__(self) -> int:
        return len(self.structures)

    def adding(self, *structures: Structure) -> StructureSet:
        """A new set with further structures; a name that is already there is refused."""
        present = {s.name for s in structures}
        return replace(
            self,
            structures=self.structures + structures,
            absent=tuple(name for name in self.absent if name not in present),
        )

    def without(self, names: Iterable[str]) -> StructureSet:
        """A new set that leaves out the named structures."""
        left_out = set(names)
        return replace(self, structures=tuple(s for s in self.structures if s.name not in left_out))

    def _hint(self, name: str) -> str:
        if name in self.absent:
            return " with any volume: the input lists the name without geometry, or it was left out"
        by_lower = {n.lower(): n for n in self.names}
        near = [by_lower[n] for n in difflib.get_close_matches(name.lower(), by_lower, n=3, cutoff=0.5)]
        listed = near or self.names
        return f"; {'nearest' if near else 'there are'}: {', '.join(map(repr, listed))}" if listed else ""


def _outermost(grid: Grid) -> Iterator[Grid]:
    """The six layers of voxels at the faces of a grid with the identity direction, in the order of `FACES`."""
    for axis in (2, 1, 0):
        for index in (0, grid.shape[2 - axis] - 1):
            origin, shape = list(grid.origin_mm), list(grid.shape)
            origin[axis] += index * grid.spacing_mm[axis]
            shape[2 - axis] = 1
            yield Grid(
                (origin[0], origin[1], origin[2]), grid.spacing_mm, (shape[0], shape[1], shape[2]), grid.direction
            )


def check_name(name: str) -> None:
    """Refuse a name that cannot be written again: DICOM value type LO, PS3.5 section 6.2.

    Raises
    ------
    InputError
        Empty, longer than 64 characters, with control characters or a backslash.
    """
    if not name.strip() or len(name) > NAME_LENGTH or not name.isprintable() or "\\" in name:
        raise InputError(
            f"structure name {name[:NAME_LENGTH]!r} is not 1 to {NAME_LENGTH} printable characters without backslash.",
            remedy="Rename it in the contouring software.",
        )


def role_from_name(name: str) -> str:
    """Role that a name starts with ("GTVp1" -> "GTV"), after TG-263 target names; "ORGAN" otherwise.

    Source: Mayo et al. 2018, AAPM TG-263, Int J Radiat Oncol Biol Phys 100:1057, target naming.
    """
    start = name.strip()[:3].upper()
    return start if start in _TARGET_ROLES else "ORGAN"


def _read_only(values: npt.ArrayLike, dtype: npt.DTypeLike) -> npt.NDArray[Any]:
    """A view that cannot be written, of the caller's array where the type already fits."""
    view = np.asarray(values, dtype=dtype).view()
    view.flags.writeable = False
    return view

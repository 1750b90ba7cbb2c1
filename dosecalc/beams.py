"""Beams and beamlets: which squares of fluence in the isocentre plane may shine."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
from scipy.spatial import cKDTree

from .errors import InputError
from .geometry import beam_to_lps, check_position
from .grid import Grid, Triple
from .kernels import numpy_places
from .structures import Contours, Structure, Voxels

MAX_BEAMLETS_PER_FIELD = 250_000


@dataclass(frozen=True, slots=True)
class Beam:
    """One beam direction: IEC 61217 angles in degrees, isocentre in LPS mm, and how the patient lies under it."""

    gantry_deg: float
    couch_deg: float = 0.0
    collimator_deg: float = 0.0
    isocentre_mm: Triple = (0.0, 0.0, 0.0)
    patient_position: str = "HFS"

    def __post_init__(self) -> None:
        for name in ("gantry_deg", "couch_deg", "collimator_deg"):
            angle = float(getattr(self, name))
            if not math.isfinite(angle):
                raise InputError(f"{name} must be a finite angle in degrees, got {angle}.")
            object.__setattr__(self, name, angle)
        centre = tuple(float(c) for c in self.isocentre_mm)
        if len(centre) != 3 or not all(map(math.isfinite, centre)):
            raise InputError(f"isocentre_mm must be three finite LPS coordinates, got {self.isocentre_mm!r}.")
        object.__setattr__(self, "isocentre_mm", centre)
        check_position(self.patient_position)

    @property
    def name(self) -> str:
        """For messages: "beam 190 degrees, couch 20"."""
        return f"beam {self.gantry_deg:g} degrees" + (f", couch {self.couch_deg:g}" if self.couch_deg else "")

    @property
    def axes(self) -> npt.NDArray[np.float64]:
        """(3, 3) float64; columns are Xb, Yb and Zb (towards the source) in LPS."""
        return beam_to_lps(self.gantry_deg, self.couch_deg, self.collimator_deg, self.patient_position)

    def source_mm(self, sad_mm: float) -> npt.NDArray[np.float64]:
        """LPS position of the source, (3,) in mm."""
        return np.asarray(self.isocentre_mm) + sad_mm * self.axes[:, 2]

    def project(
        self, points_mm: npt.NDArray[np.float64], sad_mm: float
    ) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64], npt.NDArray[np.float64]]:
        """Project LPS points from the source onto the isocentre plane.

        Parameters
        ----------
        points_mm : (n, 3) float64
        sad_mm : float

        Returns
        -------
        u_mm, v_mm : (n,) float64
            Position in the isocentre plane along Xb and Yb.
        scale : (n,) float64
            (SAD + z) / SAD with z the distance downstream of the isocentre plane; > 0.

        Raises
        ------
        InputError
            A point lies at or behind the source.
        """
        u_mm, v_mm, scale = numpy_places.project(*self._projection(np.atleast_2d(points_mm), sad_mm))
        self.refuse_behind(float(scale.min(initial=1.0)), sad_mm)
        return u_mm, v_mm, scale

    def _projection(self, points_mm: Any, sad_mm: float) -> tuple[Any, ...]:
        """Arguments of the kernel `project`."""
        return points_mm, np.asarray(self.isocentre_mm), self.axes, sad_mm

    def refuse_behind(self, smallest_scale: float, sad_mm: float) -> None:
        """Of all projected points, the one nearest to the source must lie in front of it; else an InputError."""
        if not smallest_scale > 0:
            raise InputError(
                f"a point lies at or behind the source of the beam at gantry {self.gantry_deg:g}; "
                f"the isocentre {self.isocentre_mm} is {sad_mm:g} mm from the source.",
                remedy="Check isocentre and voxel coordinates (LPS, mm).",
            )


def projected(beams: Iterable[Beam], points_mm: Any, sad_mm: float, kernels: Any) -> list[tuple[Any, Any, Any]]:
    """`Beam.project` for several beams where the kernels hold the points, and without a look at where they lie."""
    rays = (beam._projection(points_mm, sad_mm) for beam in beams)
    placed: list[tuple[Any, Any, Any]] = kernels.each(kernels.project, rays)
    return placed


@dataclass(frozen=True, slots=True, eq=False)
class Beamlets:
    """Rectangles of fluence in the isocentre planes of some beams, struct of arrays.

    Order: beam by beam, inside a beam rows of v ascending, inside a row u ascending.

    Attributes
    ----------
    beams : tuple of Beam
    beam_index : (B,) int64
        Beam of each beamlet, ascending.
    u_mm, v_mm : (B,) float64
        Centre in the isocentre plane along Xb and Yb.
    width_u_mm, width_v_mm : (B,) float64
        Full widths, > 0.
    """

    beams: tuple[Beam, ...]
    beam_index: npt.NDArray[np.int64]
    u_mm: npt.NDArray[np.float64]
    v_mm: npt.NDArray[np.float64]
    width_u_mm: npt.NDArray[np.float64]
    width_v_mm: npt.NDArray[np.float64]

    def __post_init__(self) -> None:
        for name in ("beam_index", "u_mm", "v_mm", "width_u_mm", "width_v_mm"):
            dtype = np.int64 if name == "beam_index" else np.float64
            array = np.array(getattr(self, name), dtype=dtype).reshape(-1)
            if array.shape != np.asarray(self.beam_index).reshape(-1).shape or not np.all(np.isfinite(array)):
                raise InputError(f"beamlet array {name} must be finite and as long as beam_index.")
            array.flags.writeable = False
            object.__setattr__(self, name, array)
        if self.count and (self.beam_index.min() < 0 or self.beam_index.max() >= len(self.beams)):
            raise InputError(f"beam_index must lie in 0..{len(self.beams) - 1}.")
        if np.any(np.diff(self.beam_index) < 0):
            raise InputError("beamlets must be ordered beam by beam.")
        if self.count and min(self.width_u_mm.min(), self.width_v_mm.min()) <= 0:
            raise InputError("beamlet widths must be positive in mm.")

    @property
    def count(self) -> int:
        """Number of beamlets B."""
        return int(self.u_mm.size)

    def of_beam(self, index: int) -> slice:
        """The slice of this beam's beamlets."""
        first, last = np.searchsorted(self.beam_index, [index, index + 1])
        return slice(int(first), int(last))

    @property
    def neighbours(self) -> npt.NDArray[np.int64]:
        """Pairs of beamlets of one beam that share an edge, (n, 2)."""
        width = np.maximum(self.width_u_mm, self.width_v_mm)
        return neighbouring_beamlets(self.beam_index, self.u_mm, self.v_mm, width)

    def __add__(self, other: Beamlets) -> Beamlets:
        """Beamlets of both, the other's beams after these."""
        return Beamlets(
            self.beams + other.beams,
            np.concatenate([self.beam_index, other.beam_index + len(self.beams)]),
            np.concatenate([self.u_mm, other.u_mm]),
            np.concatenate([self.v_mm, other.v_mm]),
            np.concatenate([self.width_u_mm, other.width_u_mm]),
            np.concatenate([self.width_v_mm, other.width_v_mm]),
        )


def neighbouring_beamlets(
    beam_index: npt.ArrayLike, u_mm: npt.ArrayLike, v_mm: npt.ArrayLike, width_mm: npt.ArrayLike
) -> npt.NDArray[np.int64]:
    """Pairs of beamlets of one beam that share an edge.

    Parameters
    ----------
    beam_index : (B,) int
        Beam of each beamlet, in any order.
    u_mm, v_mm : (B,)
        Centres in the isocentre plane.
    width_mm : (B,) or float
        Distance between the centres of beamlets that share an edge; the widest of a beam counts for all of it.

    Returns
    -------
    (n, 2) int64
        Each pair once.

    Raises
    ------
    InputError
        Arrays of unequal length, or coordinates that are not finite.
    """
    beam, u, v = np.asarray(beam_index), np.asarray(u_mm, np.float64), np.asarray(v_mm, np.float64)
    if not (beam.ndim == 1 and beam.shape == u.shape == v.shape and np.isfinite(u).all() and np.isfinite(v).all()):
        raise InputError(
            "the positions of beamlets must be finite, one beam index, u and v for each; "
            f"got shapes {beam.shape}, {u.shape} and {v.shape}."
        )
    width, centres = np.broadcast_to(np.asarray(width_mm, np.float64), u.shape), np.stack([u, v], axis=1)
    pairs = [np.zeros((0, 2), np.int64)]
    for index in np.unique(beam):
        own = np.flatnonzero(beam == index)
        # Edge neighbours lie one width apart, diagonal ones 1.41 widths.
        near = cKDTree(centres[own]).query_pairs(1.1 * width[own].max(), output_type="ndarray")
        pairs.append(own[near])
    return np.concatenate(pairs)


def open_field(beam: Beam, *, x_mm: tuple[float, float], y_mm: tuple[float, float], width_mm: float) -> Beamlets:
    """A rectangular open field as beamlets.

    Parameters
    ----------
    beam : Beam
    x_mm, y_mm : (low, high)
        Field edges in the isocentre plane along Xb and Yb.
    width_mm : float
        Beamlet width; must divide both field widths.

    Raises
    ------
    InputError
        Edges out of order, or a width that does not divide the field.
    """
    u_mm, width_u = _divide("x_mm", x_mm, width_mm)
    v_mm, width_v = _divide("y_mm", y_mm, width_mm)
    if u_mm.size * v_mm.size > MAX_BEAMLETS_PER_FIELD:
        raise InputError(
            f"the field has {u_mm.size * v_mm.size} beamlets, more than {MAX_BEAMLETS_PER_FIELD}.",
            remedy="Use a larger width_mm.",
        )
    vv, uu = np.meshgrid(v_mm, u_mm, indexing="ij")
    full = np.ones(uu.size)
    return Beamlets((beam,), np.zeros(uu.size, int), uu.ravel(), vv.ravel(), full * width_u, full * width_v)


def aim(beams: Sequence[Beam], *, at: Structure | Voxels, width_mm: float, margin_mm: float = 5.0) -> Beamlets:
    """Beamlets of a regular lattice that see the target.

    Parameters
    ----------
    beams : sequence of Beam
    at : Structure or Voxels
        The target; every voxel of it, projected from each source, gets beamlets.
    width_mm : float
        Beamlet width at the isocentre; lattice edges pass through the isocentre.
    margin_mm : float
        Beamlets whose square lies within this distance (larger of |du|, |dv|) of the projection are kept.

    Raises
    ------
    InputError
        No beams, width not positive, or an empty target.
    """
    if not beams:
        raise InputError("aim() needs at least one beam, got none.")
    if not (math.isfinite(width_mm) and width_mm > 0):
        raise InputError(f"beamlet width must be positive in mm, got {width_mm}.")
    voxels = at if isinstance(at, Voxels) else at.on(_own_grid(at))
    if voxels.indices.size == 0:
        raise InputError("the target has no voxels, so no beamlet can be aimed at it.")
    points = voxels.grid.centres_mm(voxels.indices)
    parts = [_lattice_over(beam, points, width_mm, margin_mm, SAD_MM) for beam in beams]
    total = parts[0]
    for part in parts[1:]:
        total = total + part
    return total


SAD_MM = 1000.0
"""Source-axis distance assumed when a target is projected to choose beamlets; margins cover other distances."""


def _lattice_over(
    beam: Beam, points_mm: npt.NDArray[np.float64], width_mm: float, margin_mm: float, sad_mm: float
) -> Beamlets:
    u, v, _ = beam.project(points_mm, sad_mm)
    reach = margin_mm + width_mm / 2
    centres = [
        (np.arange(math.floor((c.min() - reach) / width_mm), math.ceil((c.max() + reach) / width_mm)) + 0.5) * width_mm
        for c in (u, v)
    ]
    vv, uu = np.meshgrid(centres[1], centres[0], indexing="ij")
    lattice = np.stack([uu.ravel(), vv.ravel()], axis=1)
    distance, _ = cKDTree(np.stack([u, v], axis=1)).query(lattice, p=np.inf, distance_upper_bound=reach)
    kept = lattice[np.isfinite(distance)]
    full = np.full(len(kept), width_mm)
    return Beamlets((beam,), np.zeros(len(kept), int), kept[:, 0], kept[:, 1], full, full)


def _divide(name: str, edges_mm: tuple[float, float], width_mm: float) -> tuple[npt.NDArray[np.float64], float]:
    low, high = (float(e) for e in edges_mm)
    if not (math.isfinite(low) and math.isfinite(high) and high > low):
        raise InputError(f"{name} must be (low, high) field edges in mm with low < high, got {edges_mm}.")
    if not (math.isfinite(width_mm) and width_mm > 0):
        raise InputError(f"width_mm must be positive, got {width_mm}.")
    count = round((high - low) / width_mm)
    if count < 1 or abs(count * width_mm - (high - low)) > 1e-6 * (high - low):
        raise InputError(
            f"width_mm = {width_mm:g} does not divide the field {name} = ({low:g}, {high:g}) mm.",
            remedy="Choose a width that divides the field width, so that no field edge moves.",
        )
    width = (high - low) / count
    return np.asarray(low + (np.arange(count) + 0.5) * width, dtype=np.float64), width


def _own_grid(structure: Structure) -> Grid:
    """The grid of an occupancy, or a 2 mm grid around contours."""
    geometry = structure.geometry
    if not isinstance(geometry, Contours):
        return geometry.grid
    if not geometry.polygons_mm:
        raise InputError(f"structure {structure.name!r} has no contours.")
    xy = np.concatenate(geometry.polygons_mm)
    z = np.asarray(geometry.z_mm)
    low = np.array([*xy.min(axis=0), z.min()]) - 6.0
    high = np.array([*xy.max(axis=0), z.max()]) + 6.0
    counts = np.ceil((high - low) / 2.0).astype(int) + 1
    return Grid((low[0], low[1], low[2]), (2.0, 2.0, 2.0), (int(counts[2]), int(counts[1]), int(counts[0])))

"""Random abdomens with liver metastases: the organs of the synthetic patient, each moved and sized by a seed.

Shapes, priorities and HU are those of `dosecalc.phantom_anatomy`; body, abdominal wall and ribs are ellipsoids here.
Every organ is shifted and scaled by a draw of its own, the liver is scaled about its hilum until it has the volume that
was drawn, and the metastases are ellipsoids inside it, the first at a drawn distance from the gut. Sizes are of the
order of an adult's (ICRP Publication 89, 2002: liver 1400 to 1800 g), made up and not measured on anybody.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cache
from typing import Any

import numpy as np
import numpy.typing as npt
from scipy.optimize import brentq

from dosecalc import Grid, StructureSet, Volume
from dosecalc.grid import Triple
from dosecalc.implicit import FAR_MM, Shape, Signed, ellipsoid, grown
from dosecalc.phantom import AIR_HU
from dosecalc.phantom_anatomy import FAT_HU, MESENTERY_HU, MUSCLE_HU, Organ, organs
from dosecalc.regions import from_shares

Array = npt.NDArray[np.floating[Any]]

LIVER_CC = (1050.0, 2150.0)
HILUM_MM = (-40.0, -10.0, -20.0)
"""About which the liver is scaled, so that it stays beside duodenum and bile duct."""
SCALE, SHIFT_MM = (0.9, 1.12), 6.0
GUT = ("Duodenum", "Stomach", "Bowel_Small", "Colon")
RIM_MM, BETWEEN_MM = 1.0, 15.0
"""Liver around a metastasis, and between two of them."""
BONY = ("SpinalCord", "VBs", "canal", "arch")
"""Outside the abdominal cavity, and neither moved nor scaled: they belong together."""
OWN_WALLS = ("Body", "muscle", "mesentery", "Rib", "wall", "gas", "GTV")
COARSE_MM, SPACE_MM = 6.0, ((-170.0, 171.0), (-125.0, 126.0), (-150.0, 141.0))
"""Spacing and extent (x, y, z) of the points on which the liver is sized and metastases are placed."""
REACH_MM = 30.0
"""How far from an organ its distance is asked for: that of a tube is not known further out."""
SMALLER, LEAST_MM, LARGEST_MM = 0.9, 6.0, 40.0
"""A metastasis that does not fit shrinks by this factor, down to this radius; none is larger."""
BOTTOM_MM, ABOVE_LIVER_MM = -145.0, 14.0


@dataclass(frozen=True, slots=True)
class Anatomy:
    """What a seed draws, before it is sampled on any grid; the frame is LPS, in mm.

    Attributes
    ----------
    organs : tuple of Organ
        In the order of painting; among those that carve, earlier ones keep the shared space.
    cavity, body : Shape
        Inner organs end at the cavity's wall.
    gtvs : tuple of Shape
        Inside the liver, apart from each other.
    bottom_mm, top_mm : float
        Ends of the scan along z.
    """

    organs: tuple[Organ, ...]
    cavity: Shape
    body: Shape
    gtvs: tuple[Shape, ...]
    bottom_mm: float
    top_mm: float

    @property
    def body_mm3(self) -> float:
        """Volume of the body between the ends of the scan: integral of pi a b (1 - z^2 / c^2)."""
        a, b, c = (float(v) for v in self.body.high_mm)
        low, high = self.bottom_mm, self.top_mm
        return float(np.pi * a * b * (high - low - (high**3 - low**3) / (3.0 * c * c)))

    @property
    def gtv_names(self) -> tuple[str, ...]:
        """GTV, or GTV1, GTV2, ... for several."""
        return ("GTV",) if len(self.gtvs) == 1 else tuple(f"GTV{n}" for n in range(1, 1 + len(self.gtvs)))


@dataclass(frozen=True, slots=True, eq=False)
class Room:
    """Points inside a liver (n, 3), their depth in it (n,) and their distance to organs beside it (n,), in mm."""

    points_mm: Array
    depth_mm: Array
    beside_mm: Array


@dataclass(frozen=True, slots=True, eq=False)
class Patient:
    """An anatomy on a grid: HU, structures under TG-263 names, and which of them are the GTVs."""

    ct: Volume
    structures: StructureSet
    gtv_names: tuple[str, ...]


def random_anatomy(
    seed: int,
    *,
    lesions: tuple[int, int],
    radius_mm: tuple[float, float],
    gap_mm: tuple[float, float] = (1.0, 8.0),
    beside: tuple[str, ...] = GUT,
    remnant_cc: float | None = None,
) -> Anatomy:
    """Draw an anatomy.

    Parameters
    ----------
    seed : int
        The same seed gives the same anatomy.
    lesions : (fewest, most)
    radius_mm : (least, largest)
        Of a single metastasis. Of n the radii are divided by the root of n, so that the fields see as much of them;
        one that does not fit is made smaller.
    gap_mm : (least, largest)
        Asked for between the first metastasis and the nearest of the organs `beside` it.
    remnant_cc : float, optional
        Volume of the liver without its metastases, instead of a drawn one.
    """
    rng = np.random.default_rng(seed)
    a, b = rng.uniform(158.0, 185.0), rng.uniform(108.0, 125.0)
    body = ellipsoid((0.0, 0.0, 0.0), (a, b, 420.0))
    cavity = ellipsoid((-1.0, -6.0, 0.0), (a - rng.uniform(24.0, 32.0), b - rng.uniform(22.0, 28.0), 400.0))
    inner = tuple(_varied(organ, rng) for organ in _organs() if organ.name not in OWN_WALLS)
    count = int(rng.integers(lesions[0], lesions[1] + 1))
    radii = rng.uniform(*radius_mm, size=count) / np.sqrt(count)
    drawn_cc = rng.uniform(*LIVER_CC)
    asked_cc = drawn_cc if remnant_cc is None else remnant_cc + float((4e-3 / 3.0 * np.pi * radii**3).sum())
    inner, room = _with_liver_of(inner, cavity, asked_cc, beside)
    gtvs = _metastases(rng, radii, room, gap_mm)
    top_mm = next(organ for organ in inner if organ.name == "Liver").shape.high_mm[2] + ABOVE_LIVER_MM
    return Anatomy((*_walls(body, cavity), *inner), cavity, body, gtvs, BOTTOM_MM, top_mm)


def patient_on(anatomy: Anatomy, grid: Grid) -> Patient:
    """Sample an anatomy: the share of a voxel in an organ runs linearly with the distance of its centre to the surface.

    Organs that carve are disjoint: what earlier ones took of a voxel is not there for later ones.
    """
    hu, taken = np.full(grid.shape, AIR_HU, np.float32), np.zeros(grid.shape, np.float32)
    room = _shares(anatomy.cavity, grid)
    structures = []
    gtvs = [
        Organ(n, shape, _constant(35.0), "GTV", carves=False)
        for n, shape in zip(anatomy.gtv_names, anatomy.gtvs, strict=True)
    ]
    planes = grid.origin_mm[2] + grid.spacing_mm[2] * np.arange(grid.shape[0])
    for organ in (*anatomy.organs, *gtvs):
        share = _shares(organ.shape, grid)
        if organ.carves:
            if organ.name not in BONY:
                share = np.minimum(share, room)
            share = np.minimum(share, 1.0 - taken)
            taken += share
        if organ.hu is not None:
            levels = np.array([organ.hu(float(z)) for z in planes], np.float32)
            hu += share * (levels[:, None, None] - hu)
        if organ.contoured and share.any():
            structures.append(from_shares(organ.name, grid, share, organ.role))
    return Patient(Volume(grid, hu), StructureSet(tuple(structures)), anatomy.gtv_names)


def grid_of(anatomy: Anatomy, voxels: int) -> Grid:
    """A grid of cubes around the body on which about so many voxels lie in it."""
    step = float(np.cbrt(anatomy.body_mm3 / voxels))
    half = [int(np.ceil(anatomy.body.high_mm[axis] / step)) + 1 for axis in (0, 1)]
    planes = round((anatomy.top_mm - anatomy.bottom_mm) / step)
    origin = (-half[0] * step, -half[1] * step, anatomy.bottom_mm + step / 2)
    return Grid(origin, (step,) * 3, (planes, 2 * half[1] + 1, 2 * half[0] + 1))


@cache
def _organs() -> tuple[Organ, ...]:
    """Those of the synthetic patient, made once: placing its own tumour takes longer than all else here."""
    return tuple(organs())


def _varied(organ: Organ, rng: np.random.Generator) -> Organ:
    """An organ moved and scaled; the draws are made for every organ, so that a seed means the same for all others."""
    scale, shift = rng.uniform(*SCALE), rng.uniform(-SHIFT_MM, SHIFT_MM, 3)
    if organ.name in BONY or organ.name == "Liver":
        return organ
    about = (np.asarray(organ.shape.low_mm) + np.asarray(organ.shape.high_mm)) / 2.0
    return replace(organ, shape=_scaled(organ.shape, about, scale, shift))


def _scaled(shape: Shape, about_mm: npt.ArrayLike, scale: float, shift_mm: npt.ArrayLike = (0.0, 0.0, 0.0)) -> Shape:
    """A shape scaled about a point, then shifted; distances to its surface scale with it."""
    fixed = [float(v) for v in np.asarray(about_mm)]
    moved = [float(v) for v in np.asarray(about_mm) + np.asarray(shift_mm)]

    def signed(x: Array, y: Array, z: Array | float) -> Array:
        back = ((v - m) / scale + f for v, m, f in zip((x, y, z), moved, fixed, strict=True))
        return scale * shape.signed_mm(*back)

    low, high = ((np.asarray(corner) - fixed) * scale + moved for corner in (shape.low_mm, shape.high_mm))
    return Shape(signed, _triple(low), _triple(high))


def _walls(body: Shape, cavity: Shape) -> tuple[Organ, ...]:
    """Skin outline with its fat, muscle, the fat between the organs, and the ribs."""
    muscle = replace(body, signed_mm=grown(cavity.signed_mm, 16.0))
    ribs = replace(body, signed_mm=_ribs(cavity.signed_mm))
    return (
        Organ("Body", body, _constant(FAT_HU), "EXTERNAL", carves=False),
        Organ("muscle", muscle, _constant(MUSCLE_HU), carves=False, contoured=False),
        Organ("mesentery", cavity, _constant(MESENTERY_HU), carves=False, contoured=False),
        Organ("Rib", ribs, _constant(550.0), carves=False),
    )


def _ribs(cavity: Signed) -> Signed:
    """Bands of 10 mm in the wall that fall towards the front, 26 mm apart, none behind the breast bone."""

    def signed(x: Array, y: Array, z: Array | float) -> Array:
        height = z - 0.42 * y
        nearest = np.clip(np.round(height / 26.0), -1, 8) * 26.0
        wall = np.abs(cavity(x, y, z) - 6.5) - 3.5
        return np.maximum.reduce(np.broadcast_arrays(np.abs(height - nearest) - 5.0, wall, -60.0 - y, 26.0 - np.abs(x)))

    return signed


def _with_liver_of(
    inner: tuple[Organ, ...], cavity: Shape, asked_cc: float, beside: tuple[str, ...]
) -> tuple[tuple[Organ, ...], Room]:
    """The organs with a liver scaled to a volume, and the room in it."""
    at = next(index for index, organ in enumerate(inner) if organ.name == "Liver")
    axes = tuple(np.arange(low, high, COARSE_MM, dtype=np.float32) for low, high in SPACE_MM)
    space = np.meshgrid(*axes, indexing="ij")
    limit, near = _around(inner[:at], cavity, beside, axes)

    def carved(scale: float) -> Array:
        shape = _scaled(inner[at].shape, HILUM_MM, scale)
        window = _window(shape, axes, COARSE_MM)
        signed = np.full(limit.shape, FAR_MM, np.float32)
        signed[window] = np.maximum(shape.signed_mm(*(v[window] for v in space)), limit[window])
        return signed

    def excess_cc(scale: float) -> float:
        return float(np.clip(0.5 - carved(scale) / COARSE_MM, 0.0, 1.0).sum()) * COARSE_MM**3 / 1e3 - asked_cc

    scale = float(brentq(excess_cc, 0.6, 1.6, xtol=2e-3))
    depth = -carved(scale)
    inside = depth > 0
    liver = replace(inner[at], shape=_scaled(inner[at].shape, HILUM_MM, scale))
    points = np.stack([v[inside] for v in space], axis=1)
    return (*inner[:at], liver, *inner[at + 1 :]), Room(points, depth[inside], near[inside])


def _around(
    before: tuple[Organ, ...], cavity: Shape, beside: tuple[str, ...], axes: tuple[Array, ...]
) -> tuple[Array, Array]:
    """What keeps the liver in (cavity, organs that come before it) as a signed function, and distances to `beside`."""
    space = np.meshgrid(*axes, indexing="ij")
    limit = cavity.signed_mm(*space)
    near = np.full(limit.shape, FAR_MM, np.float32)
    for organ in before:
        if organ.carves:
            window = _window(organ.shape, axes, REACH_MM if organ.name in beside else LARGEST_MM)
            signed = organ.shape.signed_mm(*(v[window] for v in space))
            limit[window] = np.maximum(limit[window], -signed)
            if organ.name in beside:
                near[window] = np.minimum(near[window], signed)
    return limit, near


def _metastases(
    rng: np.random.Generator, radii_mm: Array, room: Room, gap_mm: tuple[float, float]
) -> tuple[Shape, ...]:
    """Ellipsoids inside the liver: the first at a drawn distance from the organs beside, the others anywhere apart."""
    gtvs: list[tuple[Array, float]] = []
    for drawn in radii_mm:
        radius = float(drawn)
        fits = _fitting(room, radius, gtvs)
        while not fits.any() and radius > LEAST_MM:
            radius *= SMALLER
            fits = _fitting(room, radius, gtvs)
        if not fits.any():
            break
        gap = room.beside_mm - radius
        wanted = rng.random(gap.size) if gtvs else np.abs(gap - rng.uniform(*gap_mm))
        gtvs.append((room.points_mm[np.argmin(np.where(fits, wanted, np.inf))], radius))
    # The radius is the largest half axis.
    axes = [np.roll([1.0, *rng.uniform(0.85, 1.0, 2)], rng.integers(3)) * radius for _, radius in gtvs]
    return tuple(ellipsoid(_triple(c), _triple(r)) for (c, _), r in zip(gtvs, axes, strict=True))


def _fitting(room: Room, radius_mm: float, gtvs: Sequence[tuple[Array, float]]) -> npt.NDArray[np.bool_]:
    """Points (n,) around which a metastasis keeps its rim of liver and its distance from the others."""
    fits = room.depth_mm >= radius_mm + RIM_MM
    for centre, other in gtvs:
        fits &= np.linalg.norm(room.points_mm - centre, axis=1) >= radius_mm + other + BETWEEN_MM
    return fits


def _window(shape: Shape, axes: Sequence[Array], margin_mm: float) -> tuple[slice, ...]:
    """The part of the points along each axis (x, y, z) that lies in a shape's box and so far around it."""
    pairs = zip(axes, shape.low_mm, shape.high_mm, strict=True)
    return tuple(slice(*np.searchsorted(axis, (low - margin_mm, high + margin_mm))) for axis, low, high in pairs)


def _shares(shape: Shape, grid: Grid) -> Array:
    """Share of each voxel, (nz, ny, nx) float32, that a shape takes."""
    step = grid.spacing_mm[0]
    axes = [o + step * np.arange(n) for o, n in zip(grid.origin_mm, reversed(grid.shape), strict=True)]
    window = _window(shape, axes, step)
    space = np.meshgrid(
        *(axis[part].astype(np.float32) for axis, part in zip(axes, window, strict=True)), indexing="ij"
    )
    result = np.zeros(grid.shape, np.float32)
    if space[0].size:
        share = np.clip(0.5 - shape.signed_mm(*space) / step, 0.0, 1.0)
        result[window[::-1]] = share.transpose()
    return result


def _triple(values: Array) -> Triple:
    return float(values[0]), float(values[1]), float(values[2])


def _constant(hu: float) -> Any:
    return lambda z: hu

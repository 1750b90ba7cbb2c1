"""Contours to slabs: which were drawn on one plane, and how far along the patient each plane reaches.

A contour stands for a slab around its plane that ends halfway to its neighbours. Where there is no neighbour, the slab
is symmetric ("half_slice") or ends at the contour ("at_contour"), see docs/volumes.md.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Literal, get_args

import numpy as np
import numpy.typing as npt
import shapely

from .errors import InputError
from .polygons import combined, joined, oriented, signed_area

Floats = npt.NDArray[np.float64]
EndCaps = Literal["half_slice", "at_contour"]
END_CAPS: tuple[EndCaps, ...] = get_args(EndCaps)

PLANE_TOLERANCE_MM = 0.01  # what rounding leaves (the same figure as for CT slices)
JITTER_MM = 0.1  # half the distance of the thinnest CT slices: contours this close were drawn on one slice
PLANE_SHARE = 0.25  # of the distance of planes: contours closer than this were drawn on one slice
SPLIT_RATIO = 2.5  # a gap this many times its neighbours' separates two parts; a smaller one is bridged


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
    end_caps: EndCaps = "half_slice",
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
        Thickness that each contour was drawn for, if the input states it. Where it is the distance of the planes, it
        goes before `end_caps`.
    end_caps : str
        One of `END_CAPS`: how far a part reaches beyond its first and last contour.

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
    low, high, told = _slab_faces(name, z, slab_mm, end_caps)
    slabs = tuple(
        Slab(plane, float(low[i]), float(high[i]), oriented(name, plane, [polygons_mm[k] for k in members]))
        for i, (plane, members) in enumerate(planes)
    )
    told += _about_crowded(name, slabs)
    if end_caps == "at_contour":
        if slab_mm is not None and _is_stated(np.diff(z), slab_mm):
            told.append(f"{name}: its contours are stated to be {slab_mm:g} mm thick; it does not end at them.")
        else:
            slabs, alone = _ended_at_contours(name, slabs)
            told += alone
    spread = max(float(np.ptp([z_mm[k] for k in members])) for _, members in planes)
    if spread > PLANE_TOLERANCE_MM:
        told.insert(0, f"{name}: contours up to {spread:.2g} mm apart in z are taken as one plane.")
    return slabs, tuple(told)


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

    Raises
    ------
    UnsafeInputError
        More crossings than a pen makes.
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
        found = combined([polygons_mm[k] for k in members], combine, f"plane z = {z:g} mm")
        rings += found
        planes += [z] * len(found)
    return tuple(planes), tuple(rings)


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
        one, two = _region(slabs[i]), _region(slabs[i + 1])
        if shapely.area(shapely.intersection(one, two)) < 0.5 * shapely.area(shapely.union(one, two)):
            raise InputError(
                f"its contours at {places} and show different parts, those around lie {min(around):.3g} mm apart; "
                "whether they are of one slice or of two is not defined.",
                where=f"structure {name!r}",
                remedy="Draw it again on the slices of one CT.",
            )
        told.append(f"{name}: contours at {places}, those around {min(around):.3g} mm; taken as two planes.")
    return told


def check_end_caps(end_caps: str) -> None:
    """Refuse a policy that is not one of `END_CAPS`.

    Raises
    ------
    InputError
    """
    if end_caps not in END_CAPS:
        raise InputError(f"end caps {end_caps!r} are unknown.", remedy=f"There are {', '.join(END_CAPS)}.")


def _ended_at_contours(name: str, slabs: Sequence[Slab]) -> tuple[tuple[Slab, ...], list[str]]:
    """Slabs that end at their plane where a part is not drawn on the next one, and what is said of lone parts.

    A part goes on where it meets a part of the next plane; so each branch and each island has ends of its own.
    """
    parts = [_parts(slab) for slab in slabs]
    up, down = ([np.zeros(len(shapes), dtype=bool) for shapes in parts] for _ in range(2))
    for i in range(len(slabs) - 1):
        if slabs[i + 1].low_mm - slabs[i].high_mm <= PLANE_TOLERANCE_MM:  # no gap between two parts
            lower, upper = shapely.STRtree(parts[i + 1]).query(parts[i], predicate="intersects")
            up[i][lower] = down[i + 1][upper] = True
    ended: list[Slab] = []
    lone_cc: list[float] = []
    for slab, shapes, above, below in zip(slabs, parts, up, down, strict=True):
        lone = ~(above | below)
        low, high = np.where(below | lone, slab.low_mm, slab.z_mm), np.where(above | lone, slab.high_mm, slab.z_mm)
        for faces in sorted(set(zip(low.tolist(), high.tolist(), strict=True))):
            same = (low == faces[0]) & (high == faces[1])
            ended.append(Slab(slab.z_mm, *faces, slab.rings_mm if same.all() else _rings(shapes[same])))
        lone_cc += (shapely.area(shapes[lone]) * (slab.high_mm - slab.low_mm) / 1000.0).tolist()
    if not lone_cc:
        return tuple(ended), []
    return tuple(ended), [
        f"{name}: {len(lone_cc)} part(s), together {sum(lone_cc):.3g} cc, are drawn on one plane only and cannot end "
        "there; they keep half a slice to each side."
    ]


def _parts(slab: Slab) -> npt.NDArray[Any]:
    """The connected parts of a plane's region, as shapely polygons with their holes."""
    shapes = shapely.get_parts(_region(slab))
    return np.asarray(shapes[shapely.area(shapes) > 0.0])


def _region(slab: Slab) -> Any:
    return joined([shapely.make_valid(shapely.polygons(ring)) for ring in slab.rings_mm], shapely.symmetric_difference)


def _rings(shapes: npt.NDArray[Any]) -> tuple[Floats, ...]:
    """Their rings, not closed, holes with negative signed area."""
    lines = [(sign, ring) for p in shapes for sign, ring in ((1, p.exterior), *((-1, hole) for hole in p.interiors))]
    rings = [(sign, shapely.get_coordinates(line)[:-1]) for sign, line in lines]
    return tuple(ring if sign * signed_area(ring) > 0 else ring[::-1] for sign, ring in rings)


def _is_stated(gaps: Floats, slab_mm: float | None) -> bool:
    """Whether the thickness that the input states is the distance of its planes, and counts."""
    return slab_mm is not None and (not len(gaps) or abs(slab_mm - float(gaps.min())) <= PLANE_TOLERANCE_MM)


def _slab_faces(name: str, z: Floats, slab_mm: float | None, end_caps: EndCaps) -> tuple[Floats, Floats, list[str]]:
    """Low and high face of each slab: halfway to the neighbouring plane, symmetric at the ends of a part."""
    gaps = np.diff(z)
    if slab_mm is not None and _is_stated(gaps, slab_mm):
        empty = gaps > slab_mm + 2 * PLANE_TOLERANCE_MM
        told = _about_gaps(name, z, empty, "left empty, as its slab thickness says")
        return z - slab_mm / 2, z + slab_mm / 2, told
    if not len(gaps):
        raise InputError(
            f"has contours on one plane only (z = {z[0]:g} mm), so its thickness is unknown"
            f"{'' if end_caps == 'half_slice' else ', and none if it ends at its contours'}.",
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

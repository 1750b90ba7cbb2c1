"""The polygons of one plane: what is refused, what is a hole, and what an override makes of crossings.

Polygons of one plane combine by exclusive or, which for nested polygons means: even depth adds, odd depth is a hole.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import shapely

from .errors import InputError, UnsafeInputError

Floats = npt.NDArray[np.float64]

COORDINATE_LIMIT_MM = 5000.0  # no scanner reaches further: a larger number is a wrong unit or a broken file
CROSSINGS_LIMIT = 500  # of a contour with itself: what they enclose takes minutes to tell for a few thousand
NESTED_LIMIT = 10  # contours around one contour, on average over a plane
_NESTED = 1e-3  # share of the smaller polygon's area by which nesting may be inexact
SAME_MM, SAME_SHARE = 0.2, 0.1  # mean distance of two rings, and share of their area, below which they are one ring


def signed_area(ring_mm: Floats) -> float:
    """Shoelace area of an open or closed ring in mm2, positive when x turns towards y."""
    x, y = (ring_mm - ring_mm[0]).T  # so that the edge back to the first point adds nothing
    return float(x[:-1] @ y[1:] - x[1:] @ y[:-1]) / 2.0


def oriented(name: str, z: float, polygons: list[Floats]) -> tuple[Floats, ...]:
    """Rings with signed areas that add up to the exclusive or of the plane's polygons."""
    shapes = [_checked_polygon(name, z, ring) for ring in polygons]
    signs = np.ones(len(shapes)) if len(shapes) == 1 else _nesting_signs(name, z, shapes)
    return tuple(
        ring if signed_area(ring) * sign > 0 else ring[::-1] for ring, sign in zip(polygons, signs, strict=True)
    )


def combined(polygons: Sequence[Floats], combine: Callable[[Any, Any], Any], where: str) -> list[Floats]:
    """Rings that do not cross, around what one plane's polygons enclose when combined; those drawn again count once.

    Raises
    ------
    UnsafeInputError
        More crossings than a pen makes.
    """
    usable = [ring for ring in polygons if len(ring) >= 3 and np.isfinite(ring).all()]
    rings: list[Floats] = []
    for part in shapely.get_parts(joined(_distinct(usable, where), combine)):
        if part.geom_type == "Polygon" and part.area > 0:
            rings += [shapely.get_coordinates(ring)[:-1] for ring in (part.exterior, *part.interiors)]
    return rings


def joined(shapes: Sequence[Any], combine: Callable[[Any, Any], Any]) -> Any:
    """All shapes combined, by pairs, so that most steps are of small shapes."""
    left = np.array([shapely.Polygon(), *shapes])
    while len(left) > 1:
        left = np.append(combine(left[:-1:2], left[1::2]), left[len(left) // 2 * 2 :])
    return left[0]


def _distinct(polygons: Sequence[Floats], where: str) -> list[Any]:
    """Valid shapes of a plane's polygons, those drawn again left out."""
    for ring in polygons:
        _refuse_crossings(ring, where)
    shapes = np.array([shapely.make_valid(shapely.polygons(ring)) for ring in polygons], dtype=object)
    earlier, later = np.sort(_meeting(shapes, where), axis=0)
    differences = shapely.area(shapely.symmetric_difference(shapes[earlier], shapes[later]))
    same = _same(differences, shapely.area(shapes[later]), shapely.length(shapes[later]))
    kept = np.ones(len(shapes), dtype=bool)
    for one, other in sorted(zip(later[same].tolist(), earlier[same].tolist(), strict=True)):
        kept[one] &= not kept[other]
    return list(shapes[kept])


def _same(difference_mm2: Any, area_mm2: Any, length_mm: Any) -> Any:
    """Whether rings between which this area lies are one ring drawn twice."""
    return difference_mm2 <= np.minimum(SAME_SHARE * area_mm2, SAME_MM * length_mm)


def _checked_polygon(name: str, z: float, ring: Floats) -> Any:
    """The polygon as a shapely geometry; crossings are refused, keyholes (channels drawn both ways) are not.

    A ring that only touches itself has the same area by the shoelace formula as by even-odd filling; where
    edges cross, the two differ by the parts that are wound the other way.
    """
    where = f"structure {name!r}, plane z = {z:g} mm"
    if len(ring) < 3:
        raise InputError(f"a contour has {len(ring)} points, at least 3 are needed.", where=where)
    if not np.isfinite(ring).all() or np.abs(ring).max() > COORDINATE_LIMIT_MM:
        raise InputError(
            f"a contour has coordinates that are not finite or beyond {COORDINATE_LIMIT_MM:g} mm.",
            where=where,
        )
    area = abs(signed_area(ring))
    polygon = shapely.polygons(ring)
    if not shapely.is_valid(polygon):
        reason = shapely.is_valid_reason(polygon)
        _refuse_crossings(ring, where)
        polygon = shapely.make_valid(polygon)
        if abs(shapely.area(polygon) - area) > 1e-6 * max(area, 1e-3):
            raise InputError(
                f"a contour crosses itself ({reason}); its inside is not defined.",
                where=where,
                remedy="Correct it in the contouring software.",
            )
    if area < 1e-6:
        raise InputError("a contour encloses no area.", where=where, remedy="Delete or redraw it.")
    return polygon


def _refuse_crossings(ring: Floats, where: str) -> None:
    """Refuse more than `CROSSINGS_LIMIT` pairs of edges that cross, found in portions that bound the memory."""
    edges = shapely.linestrings(np.stack([ring, np.roll(ring, -1, axis=0)], axis=1))
    tree, portion, crossings = shapely.STRtree(edges), max(1, 10**6 // len(edges)), 0
    for start in range(0, len(edges), portion):
        crossings += len(tree.query(edges[start : start + portion], predicate="crosses").T)
        if crossings > 2 * CROSSINGS_LIMIT:  # each pair is found twice
            raise UnsafeInputError(
                f"a contour crosses itself more than {CROSSINGS_LIMIT} times.",
                where=where,
                remedy="Correct it in the contouring software.",
            )


def _meeting(shapes: npt.NDArray[Any], where: str) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]:
    """Pairs of shapes that meet, the smaller first; refused where each meets many."""
    areas = shapely.area(shapes)
    inner, outer = shapely.STRtree(shapes).query(shapes, predicate="intersects")
    pairs = (inner != outer) & (areas[inner] <= areas[outer])
    if pairs.sum() > NESTED_LIMIT * len(shapes):
        raise UnsafeInputError(
            f"{len(shapes)} contours lie inside or across each other {pairs.sum()} times, no organ needs this.",
            where=where,
            remedy="Correct them in the contouring software.",
        )
    return inner[pairs], outer[pairs]


def _nesting_signs(name: str, z: float, shapes: list[Any]) -> Floats:
    """+1 for polygons at even depth, -1 for holes; duplicates and partial overlaps are refused."""
    where = f"structure {name!r}, plane z = {z:g} mm"
    rings = np.array(shapes)
    areas = shapely.area(rings)
    inner, outer = _meeting(rings, where)
    shared = shapely.area(shapely.intersection(rings[inner], rings[outer])) / areas[inner]
    duplicate = (shared > 1 - _NESTED) & _same(areas[outer] - areas[inner], areas[inner], shapely.length(rings[inner]))
    faulty = np.flatnonzero(duplicate | ((shared > _NESTED) & (shared < 1 - _NESTED)))
    if len(faulty):
        first = faulty[0]
        fault = "are the same" if duplicate[first] else f"overlap in part ({100 * shared[first]:.1f} % of the smaller)"
        raise InputError(
            f"two contours {fault}; whether this adds or removes volume is not defined.",
            where=where,
            remedy="Merge or delete one in the contouring software.",
        )
    depth = np.bincount(inner[shared >= 1 - _NESTED], minlength=len(shapes))
    return np.where(depth % 2 == 0, 1.0, -1.0)

"""Smooth shapes as signed functions in mm, negative inside: what the synthetic patient is made of.

Every function is the distance to the surface, exact for tubes and to first order for the others
(value over gradient of the implicit equation), so that adding a number grows or shrinks a shape by about that
many mm. Unions are minima and intersections maxima of signed functions.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
from scipy.interpolate import CubicSpline

from .grid import Triple

Array = npt.NDArray[np.floating[Any]]
Signed = Callable[[Array, Array, Array | float], Array]
FAR_MM = 1e3
# A tube segment further than this from all points is not evaluated: a plane only needs the sign near its
# surface.
_PLANE_REACH_MM, _REACH_MM = 5.0, 30.0


@dataclass(frozen=True, slots=True)
class Shape:
    """A signed function and the box that contains the shape.

    Attributes
    ----------
    signed_mm : callable
        (x, y, z) in mm to the signed distance in mm, negative inside; x and y are arrays of one shape, z is
        an array of that shape or one number.
    low_mm, high_mm : (x, y, z)
        Corners of the box.
    """

    signed_mm: Signed
    low_mm: Triple
    high_mm: Triple


def ellipsoid(centre_mm: Triple, radii_mm: Triple) -> Shape:
    """An ellipsoid along the axes; the distance is first order: (g - 1) g / |grad g^2 / 2|."""
    (cx, cy, cz), (rx, ry, rz) = centre_mm, radii_mm

    def signed(x: Array, y: Array, z: Array | float) -> Array:
        u, v, w = (x - cx) / rx, (y - cy) / ry, (z - cz) / rz
        g = np.sqrt(u * u + v * v + w * w)
        slope = np.sqrt((u / rx) ** 2 + (v / ry) ** 2 + (w / rz) ** 2)
        return g * (g - 1.0) / np.maximum(slope, 1e-6)

    centre, radii = np.asarray(centre_mm), np.asarray(radii_mm)
    return Shape(signed, _triple(centre - radii), _triple(centre + radii))


def superellipse(centre_mm: tuple[float, float], radii_mm: Callable[[float], tuple[float, float]]) -> Signed:
    """A column along z of cross-section |x/a|^2.5 + |y/b|^2.5 = 1 whose half axes (a, b) depend on z.

    The exponent, between ellipse and rectangle, is near the outline of a supine trunk and needs square roots
    only.
    """

    def signed(x: Array, y: Array, z: Array | float) -> Array:
        a, b = (float(radius) for radius in radii_mm(float(np.mean(z))))  # floats keep float32 arrays float32
        u, v = np.abs(x - centre_mm[0]) / a, np.abs(y - centre_mm[1]) / b
        u15, v15 = u * np.sqrt(u), v * np.sqrt(v)
        g = np.maximum((u * u15 + v * v15) ** 0.4, 1e-6)
        return (g - 1.0) * g * np.sqrt(g) / np.sqrt((u15 / a) ** 2 + (v15 / b) ** 2)

    return signed


def tube(points_mm: list[Triple], radii_mm: list[float], *, steps: int = 4) -> Shape:
    """A tube with round ends along a cubic spline through the points, radii interpolated the same way."""
    knots = np.column_stack([np.asarray(points_mm, dtype=float), np.asarray(radii_mm, dtype=float)])
    if len(knots) > 2:
        t = np.linspace(0, len(knots) - 1, (len(knots) - 1) * steps + 1)
        knots = CubicSpline(np.arange(len(knots)), knots)(t)

    first, last = knots[:-1], knots[1:]
    reach_mm = np.maximum(first[:, 3:], last[:, 3:])
    low_mm, high_mm = np.minimum(first, last)[:, :3] - reach_mm, np.maximum(first, last)[:, :3] + reach_mm

    def signed(x: Array, y: Array, z: Array | float) -> Array:
        nearest = np.full(x.shape, FAR_MM, dtype=x.dtype)
        beyond = _REACH_MM if np.ndim(z) else _PLANE_REACH_MM
        met = np.flatnonzero((low_mm[:, 2] - beyond <= np.max(z)) & (high_mm[:, 2] + beyond >= np.min(z)))
        parts = [...] * len(met) if np.ndim(z) else _boxes(x, y, low_mm[met] - beyond, high_mm[met] + beyond)
        for k, part in zip(met, parts, strict=True):
            there = z[part] if isinstance(z, np.ndarray) else z
            nearest[part] = np.minimum(nearest[part], _capsule(x[part], y[part], there, first[k], last[k]))
        return nearest

    low = (knots[:, :3] - knots[:, 3:]).min(axis=0)
    high = (knots[:, :3] + knots[:, 3:]).max(axis=0)
    return Shape(signed, _triple(low), _triple(high))


def _boxes(x: Array, y: Array, low_mm: Array, high_mm: Array) -> list[Any]:
    """Rows and columns of a plane, whose rows run nearly along x, that hold boxes with corners (n, 2 or more) in mm."""
    columns, rows = (
        _ranges((low_mm[:, k, None] <= highest) & (high_mm[:, k, None] >= lowest))
        for k, (lowest, highest) in enumerate(((x.min(axis=0), x.max(axis=0)), (y.min(axis=1), y.max(axis=1))))
    )
    return list(zip(rows, columns, strict=True))


def _ranges(hit: npt.NDArray[np.bool_]) -> list[slice]:
    """From the first to the last hit of each row, empty without one."""
    starts, stops = hit.argmax(axis=1), hit.shape[1] - hit[:, ::-1].argmax(axis=1)
    stops[~hit.any(axis=1)] = 0
    return [slice(start, stop) for start, stop in zip(starts.tolist(), stops.tolist(), strict=True)]


def _capsule(x: Array, y: Array, z: Array | float, start: Array, end: Array) -> Array:
    """Distance to a segment minus the radius, which runs linearly from start[3] to end[3]."""
    dx, dy, dz = (float(v) for v in end[:3] - start[:3])
    px, py, pz = x - float(start[0]), y - float(start[1]), z - float(start[2])
    along = np.clip((px * dx + py * dy + pz * dz) / (dx * dx + dy * dy + dz * dz), 0.0, 1.0)
    radius = float(start[3]) + along * float(end[3] - start[3])
    return np.sqrt((px - along * dx) ** 2 + (py - along * dy) ** 2 + (pz - along * dz) ** 2) - radius


def union(*shapes: Shape) -> Shape:
    """All points of any of the shapes."""
    low = np.min([s.low_mm for s in shapes], axis=0)
    high = np.max([s.high_mm for s in shapes], axis=0)
    return Shape(_fold(np.minimum, [s.signed_mm for s in shapes]), _triple(low), _triple(high))


def clipped(shape: Shape, *limits: Signed) -> Shape:
    """The part of a shape where every limit is negative."""
    return Shape(_fold(np.maximum, [shape.signed_mm, *limits]), shape.low_mm, shape.high_mm)


def outside(shape: Shape, margin_mm: float = 0.0) -> Signed:
    """The region further than a margin from a shape, as a limit for `clipped`."""
    return lambda x, y, z: margin_mm - shape.signed_mm(x, y, z)


def grown(signed: Signed, margin_mm: float) -> Signed:
    """A signed function grown by a margin (shrunk by a negative one)."""
    return lambda x, y, z: signed(x, y, z) - margin_mm


def remembered(signed: Signed) -> Signed:
    """A signed function that keeps its last values: several shapes of one plane are made of the same one."""
    last: list[tuple[Array, Array, Array | float, Array]] = []

    def again(x: Array, y: Array, z: Array | float) -> Array:
        if not (last and last[0][0] is x and last[0][1] is y and last[0][2] is z):
            last[:] = [(x, y, z, signed(x, y, z))]
        return last[0][3]

    return again


def _fold(combine: Callable[[Array, Array], Array], functions: list[Signed]) -> Signed:
    def signed(x: Array, y: Array, z: Array | float) -> Array:
        values = functions[0](x, y, z)
        for function in functions[1:]:
            values = combine(values, function(x, y, z))
        return values

    return signed


def _triple(values: Array) -> Triple:
    return float(values[0]), float(values[1]), float(values[2])

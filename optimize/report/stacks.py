"""Slices to leaf through: every plane around the target as a small image, drawn with array operations.

matplotlib takes a tenth of a second for a section; a hundred of them are drawn here in two seconds or less.
"""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageDraw

from dosecalc.level_lines import level_lines
from dosecalc.structures import Voxels

from .planes import Frame, Plane, View, plane_through
from .scene import ISODOSE_PCT, Pixels, Scene, composed, isodose_field, pixels_on, webp_uri

Array = npt.NDArray[Any]

PX_PER_MM = 1.6
QUALITY = 72
"""Of WebP, 0 to 100: coarser than this, isodose lines fray."""
REACH_MM = 25.0
"""Planes up to this far beyond the PTV are shown."""


@dataclass(frozen=True, slots=True)
class Slice:
    """One image of a stack: its source as a data URI, and where it lies."""

    src: str
    title: str


@dataclass(frozen=True, slots=True)
class Stack:
    """The slices of one view in the order of their position, and the one that is shown first."""

    view: str
    width: int
    height: int
    slices: tuple[Slice, ...]
    first: int


def stack(scene: Scene, view: View, frame: Frame, ptv: Voxels) -> Stack:
    """All planes of the dose grid through the PTV and `REACH_MM` beyond it."""
    planes = _planes(scene, view, ptv)
    pixels = pixels_on(frame, view, *(max(2, round(size * PX_PER_MM)) for size in frame.size))
    with ThreadPoolExecutor() as pool:  # most of the time is spent in libraries that let other threads run
        slices = tuple(pool.map(partial(_slice, scene, pixels), planes))
    here = plane_through(scene.dose.grid, view, scene.isocentre_mm).index
    first = int(np.argmin([abs(plane.index - here) for plane in planes]))
    return Stack(view, pixels.width, pixels.height, slices, first)


def _planes(scene: Scene, view: View, ptv: Voxels) -> list[Plane]:
    grid = scene.dose.grid
    points = grid.centres_mm(ptv.indices)
    middle = points.mean(axis=0)
    through = {"axial": 2, "coronal": 1, "sagittal": 0}[view]
    ends = []
    for end in (points[:, through].min() - REACH_MM, points[:, through].max() + REACH_MM):
        place = middle.copy()
        place[through] = end
        ends.append(plane_through(grid, view, (float(place[0]), float(place[1]), float(place[2]))).index)
    first, step = grid.origin_mm[through], grid.spacing_mm[through]
    return [Plane(view, k, first + k * step) for k in range(ends[0], ends[1] + 1)]


def _slice(scene: Scene, pixels: Pixels, plane: Plane) -> Slice:
    return Slice(webp_uri(_drawn(scene, plane, pixels), quality=QUALITY, method=2), _title(plane))


def _drawn(scene: Scene, plane: Plane, pixels: Pixels) -> Image.Image:
    image = Image.fromarray(composed(scene, plane, pixels))
    pen = ImageDraw.Draw(image)
    for outline in scene.outlines:
        cut = outline.shares.on(plane)
        if cut is not None:
            _trace(pen, cut, (0.5,), pixels, outline.colour, [2 if outline.width > 1.2 else 1])
    dose = isodose_field(scene, plane)
    if dose is not None:
        _trace(pen, dose, scene.isodoses_gy, pixels, "white", [2 if pct == 100 else 1 for pct in ISODOSE_PCT])
    return image


def _trace(
    pen: ImageDraw.ImageDraw,
    field: tuple[Array, Array, Array],
    levels: Sequence[float],
    pixels: Pixels,
    colour: str,
    widths: Sequence[int],
) -> None:
    """Draw lines of equal value of a field, given as columns, rows and values."""
    found = level_lines(*field)
    for level, width in zip(levels, widths, strict=True):
        for line in found.lines(level):
            pen.line(pixels.places(np.asarray(line)), fill=colour, width=width)


def _title(plane: Plane) -> str:
    where = f"{plane.normal} = {plane.position_mm:.1f} mm".replace("-", "\N{MINUS SIGN}")
    return f"{plane.view.capitalize()}, {where}"

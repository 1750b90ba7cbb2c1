"""Slices to leaf through: every plane around the target as a small image, drawn with array operations.

matplotlib takes a third of a second for a section; a hundred of them are drawn here in a few seconds.
"""

from __future__ import annotations

import base64
import io
from dataclasses import dataclass
from typing import Any

import contourpy
import numpy as np
import numpy.typing as npt
from PIL import Image, ImageDraw
from scipy.ndimage import map_coordinates

from dosecalc.grid import Volume
from dosecalc.structures import Voxels

from .figures import ISODOSE_PCT, LEVEL_HU, WASH_ALPHA, WASH_COLOURS, WASH_FROM_PCT, WINDOW_HU, Scene
from .planes import Frame, Plane, View, centres_of, frame_of, plane_through, section, shares_on

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
    shapes = [shares_on(outline.voxels, planes) for outline in scene.outlines]
    pixels = _pixels(frame, view)
    slices = tuple(
        Slice(_webp(_drawn(scene, plane, pixels, [s[k] for s in shapes])), _title(plane))
        for k, plane in enumerate(planes)
    )
    here = plane_through(scene.dose.grid, view, scene.isocentre_mm).index
    first = int(np.argmin([abs(plane.index - here) for plane in planes]))
    return Stack(view, pixels.width, pixels.height, slices, first)


@dataclass(frozen=True, slots=True, eq=False)
class _Pixels:
    """The pixels of an image: coordinates of its columns and rows in mm, rows from the top."""

    across_mm: Array
    along_mm: Array

    @property
    def width(self) -> int:
        return int(self.across_mm.size)

    @property
    def height(self) -> int:
        return int(self.along_mm.size)

    def places(self, line_mm: Array) -> list[tuple[float, float]]:
        """Pixel positions of points (n, 2) in mm."""
        scale = np.array([self.across_mm[1] - self.across_mm[0], self.along_mm[1] - self.along_mm[0]])
        at = (line_mm - (self.across_mm[0], self.along_mm[0])) / scale
        return [(float(x), float(y)) for x, y in at]


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


def _pixels(frame: Frame, view: View) -> _Pixels:
    counts = [max(2, round(size * PX_PER_MM)) for size in frame.size]
    across, along = (
        low + (np.arange(n) + 0.5) * size / n for low, n, size in zip(frame.low, counts, frame.size, strict=True)
    )
    # LPS y grows towards posterior: anterior stays on top of an axial image.
    return _Pixels(across, along if view == "axial" else along[::-1])


def _drawn(scene: Scene, plane: Plane, pixels: _Pixels, shapes: list[Array | None]) -> Image.Image:
    grey = np.clip((_sampled(scene.ct, plane, pixels) - LEVEL_HU) / WINDOW_HU + 0.5, 0.0, 1.0)
    dose = _sampled(scene.dose, plane, pixels)
    wash = WASH_COLOURS(np.clip(dose / scene.top_gy, 0.0, 1.0))[..., :3]
    alpha = WASH_ALPHA * (dose >= WASH_FROM_PCT / 100.0 * scene.reference_gy)[..., None]
    shown = (1.0 - alpha) * grey[..., None] + alpha * wash
    image = Image.fromarray(np.round(255.0 * shown).astype(np.uint8))
    pen = ImageDraw.Draw(image)
    axes = centres_of(scene.dose.grid, plane.view)
    for outline, shape in zip(scene.outlines, shapes, strict=True):
        if shape is not None and min(shape.shape) > 1:
            _trace(pen, axes, shape, 0.5, pixels, outline.colour, 2 if outline.width > 1.2 else 1)
    values = section(scene.dose, plane)
    for pct in ISODOSE_PCT:
        _trace(pen, axes, values, pct / 100.0 * scene.reference_gy, pixels, "white", 2 if pct == 100 else 1)
    return image


def _sampled(volume: Volume, plane: Plane, pixels: _Pixels) -> Array:
    """Values at the pixels, linear between voxel centres; the border's beyond the grid."""
    frame = frame_of(volume.grid, plane.view)
    values = section(volume, plane)
    rows = (pixels.along_mm - frame.low[1]) / frame.size[1] * values.shape[0] - 0.5
    columns = (pixels.across_mm - frame.low[0]) / frame.size[0] * values.shape[1] - 0.5
    places = np.meshgrid(rows, columns, indexing="ij")
    result: Array = map_coordinates(values.astype(np.float32), places, order=1, mode="nearest")
    return result


def _trace(
    pen: ImageDraw.ImageDraw,
    axes: tuple[Array, Array],
    values: Array,
    level: float,
    pixels: _Pixels,
    colour: str,
    width: int,
) -> None:
    lines = contourpy.contour_generator(*axes, values).lines(level)
    for line in lines:
        pen.line(pixels.places(np.asarray(line)), fill=colour, width=width)


def _title(plane: Plane) -> str:
    where = f"{plane.normal} = {plane.position_mm:.1f} mm".replace("-", "\N{MINUS SIGN}")
    return f"{plane.view.capitalize()}, {where}"


def _webp(image: Image.Image) -> str:
    stream = io.BytesIO()
    image.save(stream, format="webp", quality=QUALITY, method=2)
    return "data:image/webp;base64," + base64.b64encode(stream.getvalue()).decode("ascii")

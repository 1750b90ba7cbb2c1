"""What every section shows, and its picture before lines and letters: the CT in grey under the dose in colour."""

from __future__ import annotations

import base64
import io
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt
from matplotlib import colormaps
from PIL import Image, WebPImagePlugin  # noqa: F401  # named, or Pillow loads every format that it knows

from dosecalc.grid import Triple, Volume

from .planes import Frame, Plane, Shares, View, centres_of, frame_of, section

Array = npt.NDArray[Any]

WINDOW_HU, LEVEL_HU = 400.0, 40.0
"""Abdominal soft tissue."""
_BLACK_HU = LEVEL_HU - WINDOW_HU
ISODOSE_PCT = (150, 125, 100, 80, 50, 30)
WASH_FROM_PCT = 10.0
"""Below this share of the prescribed dose no colour is laid over the CT."""
WASH_COLOURS = colormaps["turbo"]
WASH_ALPHA = 0.42
_GREY = np.repeat(np.arange(256.0)[None, :, None], 3, axis=2)
_WASH = 255.0 * WASH_COLOURS(np.arange(255))[:, None, :3]
# The colour of each shade of the wash, 0 for none, over each grey.
_SHOWN = np.rint(np.vstack([_GREY, (1.0 - WASH_ALPHA) * _GREY + WASH_ALPHA * _WASH])).astype(np.uint8).reshape(-1, 3)


@dataclass(frozen=True, slots=True, eq=False)
class Outline:
    """A structure on the dose grid and its line: CSS colours of line and edge, and width in points."""

    shares: Shares
    colour: str
    edge: str
    width: float


@dataclass(frozen=True, slots=True, eq=False)
class Scene:
    """What every section shows.

    Attributes
    ----------
    ct, dose : Volume
        HU, and course-total Gy.
    reference_gy : float
        The dose that isodose lines are percentages of.
    outlines : tuple of Outline
        Drawn in this order.
    isocentre_mm : (x, y, z)
    top_gy : float
        Upper end of the colour scale.
    """

    ct: Volume
    dose: Volume
    reference_gy: float
    outlines: tuple[Outline, ...]
    isocentre_mm: Triple
    top_gy: float = field(init=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "top_gy", max(float(self.dose.values.max()), self.reference_gy))

    @property
    def isodoses_gy(self) -> tuple[float, ...]:
        """Doses of the isodose lines in the order of `ISODOSE_PCT`."""
        return tuple(pct / 100.0 * self.reference_gy for pct in ISODOSE_PCT)


@dataclass(frozen=True, slots=True, eq=False)
class Pixels:
    """The pixels of an image: coordinates of its columns and rows in mm, rows from the top."""

    across_mm: Array
    along_mm: Array

    @property
    def width(self) -> int:
        """Number of columns."""
        return int(self.across_mm.size)

    @property
    def height(self) -> int:
        """Number of rows."""
        return int(self.along_mm.size)

    def places(self, line_mm: Array) -> list[float]:
        """Pixel positions x, y, x, y, ... of points (n, 2) in mm."""
        first = np.array([self.across_mm[0], self.along_mm[0]])
        step = np.array([self.across_mm[1], self.along_mm[1]]) - first
        places: list[float] = ((line_mm - first) / step).ravel().tolist()
        return places


def pixels_on(frame: Frame, view: View, width: float, height: float) -> Pixels:
    """The pixels of an image of a frame; a width that is not whole leaves a part of a pixel out."""
    across, along = (
        low + (np.arange(max(2, round(n))) + 0.5) * size / n
        for low, n, size in zip(frame.low, (width, height), frame.size, strict=True)
    )
    # LPS y grows towards posterior: anterior stays on top of an axial image.
    return Pixels(across, along if view == "axial" else along[::-1])


def composed(scene: Scene, plane: Plane, pixels: Pixels) -> Array:
    """The CT in grey under the dose in colour, (height, width, 3) uint8."""
    grey = (_sampled(scene.ct, plane, pixels, _BLACK_HU) - (LEVEL_HU - WINDOW_HU / 2)) * (255.0 / WINDOW_HU)
    dose = _sampled(scene.dose, plane, pixels, 0.0)
    shade = np.where(dose >= WASH_FROM_PCT / 100.0 * scene.reference_gy, 1.0 + dose * (254.0 / scene.top_gy), 0.0)
    shown: Array = _SHOWN.take(256 * shade.astype(np.int32) + np.clip(np.rint(grey), 0, 255).astype(np.int32), axis=0)
    return shown


def _sampled(volume: Volume, plane: Plane, pixels: Pixels, beyond: float) -> Array:
    """Values at the pixels, linear between voxel centres, and `beyond` outside the grid; (height, width) float32."""
    frame = frame_of(volume.grid, plane.view)
    values = section(volume, plane).astype(np.float32)
    low, high, part, off_rows = _between(pixels.along_mm, frame.low[1], frame.high[1], values.shape[0])
    values = values[low] + part[:, None] * (values[high] - values[low])
    low, high, part, off_columns = _between(pixels.across_mm, frame.low[0], frame.high[0], values.shape[1])
    lower = values[:, low]
    sampled: Array = lower + part * (values[:, high] - lower)
    sampled[off_rows] = sampled[:, off_columns] = beyond
    return sampled


def _between(places_mm: Array, low_mm: float, high_mm: float, count: int) -> tuple[Array, Array, Array, Array]:
    """The voxels on both sides of each place along one axis, how far it is from the one to the other, and if beyond."""
    position = np.clip((places_mm - low_mm) / (high_mm - low_mm) * count - 0.5, 0.0, count - 1.0)
    low = np.minimum(position.astype(np.int64), max(count - 2, 0))
    beyond = (places_mm < low_mm) | (places_mm > high_mm)
    return low, np.minimum(low + 1, count - 1), (position - low).astype(np.float32), beyond


def isodose_field(scene: Scene, plane: Plane) -> tuple[Array, Array, Array] | None:
    """Dose, columns and rows in mm of the part of a plane that isodose lines can run in; None where there is none."""
    dose = section(scene.dose, plane)
    inside = dose >= min(scene.isodoses_gy)
    if not inside.any() or min(dose.shape) < 2:
        return None
    # One voxel wider, as a line runs between voxels on both sides of it.
    rows, columns = (_widened(np.flatnonzero(inside.any(axis=axis)), dose.shape[1 - axis]) for axis in (1, 0))
    across, along = centres_of(scene.dose.grid, plane.view)
    return dose[rows, columns], across[columns], along[rows]


def _widened(hit: Array, count: int) -> slice:
    return slice(max(int(hit[0]) - 1, 0), min(int(hit[-1]) + 2, count))


def webp_uri(image: Image.Image | Array, **options: int) -> str:
    """An image, also as an (height, width, 3) uint8 array, as the data URI of a WebP with these options of Pillow."""
    stream = io.BytesIO()
    drawn = image if isinstance(image, Image.Image) else Image.fromarray(image)
    drawn.save(stream, format="webp", **options)
    return "data:image/webp;base64," + base64.b64encode(stream.getvalue()).decode("ascii")

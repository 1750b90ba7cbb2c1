"""Dose on the CT: sections with colour wash, isodose lines and outlines, as PNG images.

Text that comes from a file (names of structures) stays out of the images: it is set in the page, where it is
escaped, can be searched and is read aloud.
"""

from __future__ import annotations

import base64
import io
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
from matplotlib import colormaps
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.colors import Normalize
from matplotlib.figure import Figure
from matplotlib.patheffects import withStroke
from PIL import Image
from scipy.ndimage import zoom

from dosecalc.beams import Beam
from dosecalc.grid import Triple, Volume
from dosecalc.structures import Voxels

from .planes import (
    LETTERS,
    Frame,
    Plane,
    centres_of,
    frame_of,
    in_plane,
    section,
    shares_on,
)

WINDOW_HU, LEVEL_HU = 400.0, 40.0
"""Abdominal soft tissue."""
ISODOSE_PCT = (150, 125, 100, 80, 50, 30)
WASH_FROM_PCT = 10.0
"""Below this share of the prescribed dose no colour is laid over the CT."""
WASH_COLOURS = colormaps["turbo"]
WASH_ALPHA = 0.42
_GROUND = "black"
_WASH_FINER = 4
"""Samples per voxel side in the colour wash, so that its border follows the dose and not the voxels."""
_PX_PER_INCH = 100.0
_BAR_PX = 74


@dataclass(frozen=True, slots=True)
class Picture:
    """An image for the page: its source as a data URI, its size in CSS pixels, and what it shows."""

    src: str
    width: int
    height: int
    title: str
    alt: str


@dataclass(frozen=True, slots=True, eq=False)
class Outline:
    """A structure on the dose grid and its line: CSS colours of line and edge, and width in points."""

    voxels: Voxels
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
    """

    ct: Volume
    dose: Volume
    reference_gy: float
    outlines: tuple[Outline, ...]
    isocentre_mm: Triple

    @property
    def top_gy(self) -> float:
        """Upper end of the colour scale."""
        return max(float(self.dose.values.max()), self.reference_gy)


@dataclass(frozen=True, slots=True)
class Shot:
    """One image to be made: a plane of the dose grid, the part that is shown, and its width in CSS pixels.

    `beams` are marked at the border; `bar` adds the colour scale on the right, beyond `width_px`.
    """

    plane: Plane
    frame: Frame
    width_px: int
    beams: tuple[Beam, ...] = ()
    bar: bool = False


def sections(scene: Scene, shots: Sequence[Shot], image_scale: float) -> list[Picture]:
    """One image for each shot, `image_scale` image pixels per CSS pixel."""
    planes = [shot.plane for shot in shots]
    # Structure by structure: only one of them is held as a whole volume at a time.
    shapes = [shares_on(outline.voxels, planes) for outline in scene.outlines]
    return [_picture(scene, shot, image_scale, [s[k] for s in shapes]) for k, shot in enumerate(shots)]


def _picture(scene: Scene, shot: Shot, image_scale: float, shapes: Sequence[npt.NDArray[Any] | None]) -> Picture:
    plane, frame = shot.plane, shot.frame
    height_px = round(shot.width_px * frame.size[1] / frame.size[0])
    total_px = shot.width_px + (_BAR_PX if shot.bar else 0)
    figure = Figure((total_px / _PX_PER_INCH, height_px / _PX_PER_INCH), _PX_PER_INCH * image_scale, facecolor=_GROUND)
    ax = figure.add_axes((0.0, 0.0, shot.width_px / total_px, 1.0))
    _draw_images(ax, scene, plane)
    _draw_outlines(ax, scene, plane, shapes)
    _draw_isodoses(ax, scene, plane)
    _set_view(ax, plane, frame)
    _draw_marks(ax, scene, plane, frame)
    for beam in shot.beams:
        _draw_beam(ax, beam, plane, frame)
    if shot.bar:
        _draw_bar(figure, scene, shot.width_px / total_px)
    where = f"{plane.normal} = {plane.position_mm:.1f} mm".replace("-", "\N{MINUS SIGN}")
    title = f"{plane.view.capitalize()}, {where}"
    return Picture(png_uri(figure), total_px, height_px, title, f"Dose on the CT, {title}")


def _draw_images(ax: Axes, scene: Scene, plane: Plane) -> None:
    """The CT in grey under the dose in colour, each in its own extent."""
    grey = Normalize(LEVEL_HU - WINDOW_HU / 2, LEVEL_HU + WINDOW_HU / 2)
    ax.imshow(
        section(scene.ct, plane), cmap="gray", norm=grey, extent=_extent(scene.ct, plane),
        origin="lower", interpolation="bilinear",
    )  # fmt: skip
    fine = zoom(section(scene.dose, plane), _WASH_FINER, order=1, mode="nearest", grid_mode=True)
    wash = np.ma.masked_less(fine, WASH_FROM_PCT / 100.0 * scene.reference_gy)
    ax.imshow(
        wash, cmap=WASH_COLOURS, norm=Normalize(0.0, scene.top_gy), extent=_extent(scene.dose, plane),
        origin="lower", interpolation="bilinear", alpha=WASH_ALPHA,
    )  # fmt: skip


def _draw_outlines(ax: Axes, scene: Scene, plane: Plane, shapes: Sequence[npt.NDArray[Any] | None]) -> None:
    """Level 0.5 of the share of each voxel: where a partial-volume structure has its surface."""
    columns, rows = centres_of(scene.dose.grid, plane.view)
    for outline, shape in zip(scene.outlines, shapes, strict=True):
        if shape is not None and min(shape.shape) > 1:
            lines = ax.contour(columns, rows, shape, levels=[0.5], colors=[outline.colour], linewidths=[outline.width])
            lines.set_path_effects([withStroke(linewidth=outline.width + 0.9, foreground=outline.edge)])


def _draw_isodoses(ax: Axes, scene: Scene, plane: Plane) -> None:
    """White dashed lines, the prescribed dose whole and bolder, labelled in Gy."""
    dose = section(scene.dose, plane)
    levels = sorted(pct / 100.0 * scene.reference_gy for pct in ISODOSE_PCT)
    levels = [gy for gy in levels if dose.min() < gy < dose.max()]
    if not levels or min(dose.shape) < 2:
        return
    main = [abs(gy - scene.reference_gy) < 1e-9 for gy in levels]
    lines = ax.contour(
        *centres_of(scene.dose.grid, plane.view), dose, levels=levels, colors="white",
        linewidths=[1.5 if m else 0.8 for m in main],
        linestyles=["solid" if m else (0, (4, 2)) for m in main],
    )  # fmt: skip
    labels = ax.clabel(lines, fmt=lambda gy: f"{gy:.0f}", fontsize=7.5, inline=True, inline_spacing=2)
    for label in labels:
        label.set_path_effects([withStroke(linewidth=2.0, foreground="black")])


def _set_view(ax: Axes, plane: Plane, frame: Frame) -> None:
    ax.set_axis_off()
    ax.set_aspect("auto")  # the image has the frame's proportions already
    ax.set_xlim(frame.low[0], frame.high[0])
    # LPS y grows towards posterior: anterior stays on top of an axial image.
    low, high = frame.low[1], frame.high[1]
    ax.set_ylim(*((high, low) if plane.view == "axial" else (low, high)))


def _draw_marks(ax: Axes, scene: Scene, plane: Plane, frame: Frame) -> None:
    """Orientation letters, a 50 mm scale (10 mm in a close view) and the isocentre."""
    places = ((0.012, 0.5, "left", "center"), (0.988, 0.5, "right", "center"),
              (0.5, 0.015, "center", "bottom"), (0.5, 0.985, "center", "top"))  # fmt: skip
    for letter, (x, y, across, along) in zip(LETTERS[plane.view], places, strict=True):
        ax.text(x, y, letter, transform=ax.transAxes, ha=across, va=along, color="#ffe680",
                fontsize=11, fontweight="bold")  # fmt: skip
    length = 50.0 if frame.size[0] > 200.0 else 20.0
    share = length / frame.size[0]
    ax.plot([0.97 - share, 0.97], [0.03, 0.03], transform=ax.transAxes, color="white", linewidth=2.0)
    ax.text(0.97 - share / 2, 0.04, f"{length:.0f} mm", transform=ax.transAxes, ha="center", va="bottom",
            color="white", fontsize=8)  # fmt: skip
    centre = in_plane(plane.view, scene.isocentre_mm)
    ax.plot(*centre, marker="+", markersize=9, markeredgewidth=1.1, color="white")


def _draw_beam(ax: Axes, beam: Beam, plane: Plane, frame: Frame) -> None:
    """A mark at the border of the image, pointing along the beam, with its gantry angle."""
    towards = np.array(in_plane(plane.view, beam.axes[:, 2]), dtype=np.float64)
    length = float(np.hypot(*towards))
    if length < 0.2:  # a beam that leaves the plane steeply has no direction in it
        return
    towards = towards / length
    centre = np.array(in_plane(plane.view, beam.isocentre_mm), dtype=np.float64)
    low, high = np.asarray(frame.low), np.asarray(frame.high)
    with np.errstate(divide="ignore"):
        reach = np.where(towards > 0, high - centre, low - centre) / towards
    border = float(np.min(np.where(np.abs(towards) > 1e-9, reach, np.inf)))
    tail, tip = centre + (border - 28.0) * towards, centre + (border - 39.0) * towards
    ax.annotate(
        "", xy=tuple(tip), xytext=tuple(tail),
        arrowprops={"arrowstyle": "-|>", "color": "#ffe680", "linewidth": 1.4, "shrinkA": 0, "shrinkB": 0},
    )  # fmt: skip
    text = f"{beam.gantry_deg:g}°" + (f"/c{beam.couch_deg:g}°" if beam.couch_deg else "")
    x, y = centre + (border - 20.0) * towards
    ax.text(x, y, text, ha="center", va="center", color="#ffe680", fontsize=7.5)


def _draw_bar(figure: Figure, scene: Scene, left: float) -> None:
    """The colour scale, with a mark at the prescribed dose."""
    room = 1.0 - left
    ax = figure.add_axes((left + 0.14 * room, 0.06, 0.20 * room, 0.86))
    low = WASH_FROM_PCT / 100.0 * scene.reference_gy
    scale = np.linspace(low, scene.top_gy, 256)[:, None]
    ax.imshow(
        scale, cmap=WASH_COLOURS, norm=Normalize(0.0, scene.top_gy), aspect="auto", origin="lower",
        extent=(0.0, 1.0, low, scene.top_gy),
    )  # fmt: skip
    ax.axhline(scene.reference_gy, color="white", linewidth=2.0)
    ax.set_xticks([])
    ax.yaxis.tick_right()
    ax.yaxis.set_label_position("right")
    ax.tick_params(colors="white", labelsize=8.5)
    ax.set_ylabel("Gy, course total", color="white", fontsize=9)
    for spine in ax.spines.values():
        spine.set_color("white")


def _extent(volume: Volume, plane: Plane) -> tuple[float, float, float, float]:
    frame = frame_of(volume.grid, plane.view)
    return frame.low[0], frame.high[0], frame.low[1], frame.high[1]


def png_uri(figure: Figure) -> str:
    """A figure as a PNG data URI.

    Each colour keeps its 6 upper bits: steps of 4 in 256 do not show over the noise of a CT, and the file
    is 40 % smaller.
    """
    canvas = FigureCanvasAgg(figure)
    canvas.draw()
    pixels = np.asarray(canvas.buffer_rgba())[..., :3]
    stream = io.BytesIO()
    Image.fromarray((pixels & 0xFC) | 0x02).save(stream, format="png")
    return "data:image/png;base64," + base64.b64encode(stream.getvalue()).decode("ascii")

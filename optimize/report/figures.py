"""Dose on the CT: sections with colour wash, isodose lines and outlines, as lossless images.

Text that comes from a file (names of structures) stays out of the images: it is set in the page, where it is
escaped, can be searched and is read aloud.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.collections import LineCollection
from matplotlib.colors import Normalize
from matplotlib.figure import Figure
from matplotlib.patheffects import withStroke

from dosecalc.beams import Beam
from dosecalc.level_lines import level_lines

from .planes import LETTERS, Frame, Plane, in_plane
from .scene import WASH_COLOURS, WASH_FROM_PCT, Scene, composed, isodose_field, pixels_on, webp_uri

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
    return [_picture(scene, shot, image_scale) for shot in shots]


def _picture(scene: Scene, shot: Shot, image_scale: float) -> Picture:
    plane, frame = shot.plane, shot.frame
    height_px = round(shot.width_px * frame.size[1] / frame.size[0])
    total_px = shot.width_px + (_BAR_PX if shot.bar else 0)
    figure = Figure((total_px / _PX_PER_INCH, height_px / _PX_PER_INCH), _PX_PER_INCH * image_scale, facecolor="none")
    width, height = FigureCanvasAgg(figure).get_width_height()
    ax = figure.add_axes((0.0, 0.0, shot.width_px / total_px, 1.0))
    _set_view(ax, plane, frame)
    pixels = pixels_on(frame, plane.view, width * shot.width_px / total_px, height)
    image = np.zeros((height, width, 3), dtype=np.uint8)
    image[:, : pixels.width] = composed(scene, plane, pixels)
    _draw_outlines(ax, scene, plane)
    _draw_isodoses(ax, scene, plane)
    _draw_marks(ax, scene, plane, frame)
    for beam in shot.beams:
        _draw_beam(ax, beam, plane, frame)
    if shot.bar:
        _draw_bar(figure, scene, shot.width_px / total_px)
    where = f"{plane.normal} = {plane.position_mm:.1f} mm".replace("-", "\N{MINUS SIGN}")
    title = f"{plane.view.capitalize()}, {where}"
    return Picture(_uri(figure, image), total_px, height_px, title, f"Dose on the CT, {title}")


def _draw_outlines(ax: Axes, scene: Scene, plane: Plane) -> None:
    """Level 0.5 of the share of each voxel: where a partial-volume structure has its surface."""
    for outline in scene.outlines:
        cut = outline.shares.on(plane)
        if cut is not None:
            lines = level_lines(*cut).lines(0.5)
            for colour, width in ((outline.edge, outline.width + 0.9), (outline.colour, outline.width)):
                ax.add_collection(LineCollection(lines, colors=colour, linewidths=width), autolim=False)


def _draw_isodoses(ax: Axes, scene: Scene, plane: Plane) -> None:
    """White dashed lines, the prescribed dose whole and bolder, labelled in Gy."""
    field = isodose_field(scene, plane)
    if field is None:
        return
    dose, columns, rows = field
    levels = [gy for gy in sorted(scene.isodoses_gy) if dose.min() < gy < dose.max()]
    if not levels:
        return
    main = [abs(gy - scene.reference_gy) < 1e-9 for gy in levels]
    lines = ax.contour(
        columns, rows, dose, levels=levels, colors="white",
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


def _uri(figure: Figure, image: npt.NDArray[np.uint8]) -> str:
    """A figure drawn over an image (height, width, 3), as the data URI of a lossless WebP.

    Each colour keeps its 6 upper bits: steps of 4 in 256 do not show over the noise of a CT, and the file
    is 40 % smaller.
    """
    canvas = FigureCanvasAgg(figure)
    renderer = canvas.get_renderer()
    opaque = np.full((*image.shape[:2], 4), 255, dtype=np.uint8)
    opaque[..., :3] = image
    renderer.draw_image(renderer.new_gc(), 0, 0, opaque[::-1])  # rows from the bottom
    figure.draw(renderer)
    pixels = np.asarray(canvas.buffer_rgba())[..., :3]
    return webp_uri((pixels & 0xFC) | 0x02, lossless=True, quality=20, method=0)

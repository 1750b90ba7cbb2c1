"""Dose-volume histograms as a drawing that stays sharp at any size."""

from __future__ import annotations

import base64
import io
from collections.abc import Mapping, Sequence

from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from protocols import Goal
from protocols.metrics import DoseAtVolume

from ..dvh import Dvh
from .figures import Picture

BIN_GY = 0.2
_WIDTH_PX, _HEIGHT_PX = 1160, 560
_PX_PER_INCH = 100.0


def dvh_picture(
    curves: Mapping[str, Dvh], colour: Mapping[str, str], targets: Sequence[str], goals: Sequence[Goal],
    prescribed_gy: float,
) -> Picture:  # fmt: skip
    """Cumulative histograms, targets bold and organs thin, with mandatory D(V) limits as triangles.

    Parameters
    ----------
    curves : mapping of str to Dvh
        What is drawn.
    colour : mapping of str to CSS colour
    targets : sequence of str
        Names of targets among the curves.
    goals : sequence of Goal
        Limits of the protocol; those on a structure that is drawn are marked.
    prescribed_gy : float
        Reached dose of the prescription, course total.
    """
    figure = Figure((_WIDTH_PX / _PX_PER_INCH, _HEIGHT_PX / _PX_PER_INCH), facecolor="white")
    FigureCanvasAgg(figure)
    ax = figure.add_axes((0.055, 0.1, 0.935, 0.875))
    for name, curve in reversed(tuple(curves.items())):
        # Targets often coincide: each is drawn thinner than the one under it, so that all of them show.
        width = 1.3 if name not in targets else min(1.6 + 0.8 * targets.index(name), 5.0)
        ax.plot(curve.dose_gy, curve.volume_pct, color=colour[name], linewidth=width)
    ax.axvline(prescribed_gy, color="#333333", linewidth=0.9, linestyle=(0, (6, 3)))
    for goal in goals:
        if goal.structure in curves:
            _mark_limit(figure, goal, curves[goal.structure], colour[goal.structure])
    top = max([prescribed_gy, *(float(curve.dose_gy[-1]) for curve in curves.values())])
    ax.set_xlim(0.0, 1.02 * top)
    ax.set_ylim(0.0, 101.0)
    ax.set_xlabel("Dose (Gy, course total)", fontsize=11)
    ax.set_ylabel("Volume with at least this dose (%)", fontsize=11)
    ax.set_yticks(range(0, 101, 10))
    ax.grid(color="#d9dde2", linewidth=0.6)
    ax.tick_params(labelsize=10)
    for side in ("top", "right"):
        ax.spines[side].set_visible(False)
    return Picture(
        _svg_uri(figure), _WIDTH_PX, _HEIGHT_PX, "Cumulative dose-volume histogram",
        "Cumulative dose-volume histogram: volume in percent over course-total dose in Gy",
    )  # fmt: skip


def _mark_limit(figure: Figure, goal: Goal, curve: Dvh, colour: str) -> None:
    """A triangle at a mandatory upper limit of D(V): the curve must pass on its left."""
    metric = goal.metric
    upper = goal.level == "mandatory" and goal.comparator in ("<", "<=")
    if not (upper and isinstance(metric, DoseAtVolume)):
        return
    share = metric.volume if metric.unit == "%" else 100.0 * metric.volume / float(curve.volume_cc[0])
    figure.axes[0].plot(
        goal.limit, min(share, 100.0), marker="<", markersize=7, markerfacecolor=colour,
        markeredgecolor="white", markeredgewidth=0.7, linestyle="none", clip_on=False, zorder=5,
    )  # fmt: skip


def _svg_uri(figure: Figure) -> str:
    stream = io.BytesIO()
    figure.savefig(stream, format="svg", metadata={"Date": None})
    return "data:image/svg+xml;base64," + base64.b64encode(stream.getvalue()).decode("ascii")

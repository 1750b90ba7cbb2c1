"""Where the voxels of a beam lie, and what the tables that they read must cover."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
from scipy.ndimage import spline_filter1d

Array = npt.NDArray[Any]

SURVEYED = 11
"""Numbers that `survey` finds."""


def project(points_mm: Array, isocentre_mm: Array, axes: Array, sad_mm: float) -> tuple[Array, Array, Array]:
    """Points projected from the source onto the isocentre plane.

    Parameters
    ----------
    points_mm : (n, 3) float64
        LPS.
    isocentre_mm : (3,) float64
    axes : (3, 3) float64
        Columns are Xb, Yb and Zb (towards the source) in LPS.
    sad_mm : float

    Returns
    -------
    u_mm, v_mm : (n,) float64
        Along Xb and Yb in the isocentre plane. For a point at or behind the source they mean nothing.
    magnification : (n,) float64
        (SAD + z) / SAD with z the distance downstream of the isocentre plane; not positive at or behind the source.
    """
    local = (points_mm - isocentre_mm) @ axes
    magnification = (sad_mm - local[:, 2]) / sad_mm
    with np.errstate(divide="ignore", invalid="ignore"):
        return local[:, 0] / magnification, local[:, 1] / magnification, magnification


def survey(
    place: tuple[Array, Array, Array],
    depth_mm: Array,
    scales: Array,
    density: tuple[float, float],
    result: Array,
) -> None:
    """Extremes over one beam's voxels, at least one: what tables must cover, and what leaves the range of validity.

    Parameters
    ----------
    place : (n,) float64 each
        u, v and magnification, as from `project`.
    depth_mm : (n,) float64
        Radiological depth.
    scales : (2, n) float64
        Lateral scale of primary and scatter: magnification times the density upstream.
    density : (low, high)
        Range of validity of the density upstream.
    result : (11,) float64
        Largest u, -u, v, -v and -magnification; deepest; largest scale; largest density upstream and minus the
        smallest; how many voxels have a density above and below the range. NaN where a number is none.
    """
    u, v, magnification = place
    with np.errstate(divide="ignore", invalid="ignore"):
        upstream = scales / magnification
    result[0:4] = u.max(), -u.min(), v.max(), -v.min()
    result[4:9] = -magnification.min(), depth_mm.max(), scales.max(), upstream.max(), -upstream.min()
    result[9:11] = (upstream.max(axis=0) > density[1]).sum(), (upstream.min(axis=0) < density[0]).sum()


def spline_coefficients(values: Array, negligible: float, real: npt.DTypeLike) -> Array:
    """Coefficients of the quadratic B-splines through values at the nodes, mirrored at the ends.

    Unser, IEEE Signal Process Mag 16(6):22 (1999), box 2: the recursive filter with the pole sqrt(8) - 3.

    Parameters
    ----------
    values : (N, C, J) float64
        Along the first axis.
    negligible : float
        Smaller coefficients become zero.
    real : float32 or float64

    Returns
    -------
    (N, C, J) of that type
    """
    coefficients = spline_filter1d(values, order=2, axis=0, mode="mirror")
    coefficients[np.abs(coefficients) < negligible] = 0.0
    return np.ascontiguousarray(coefficients, dtype=real)


def locate(t_mm: Array, start_mm: float, step_mm: float, real: npt.DTypeLike) -> tuple[Array, Array]:
    """Nearest node of each position and the offset from it.

    Parameters
    ----------
    t_mm : (n,) float64
    start_mm, step_mm : float
        Node i lies at start + i * step.
    real : float32 or float64

    Returns
    -------
    node : (n,) int32
    offset : (n,) of that type
        -0.5..0.5 steps.
    """
    position = (t_mm - start_mm) / step_mm
    node = np.rint(position)
    return node.astype(np.int32), (position - node).astype(real)

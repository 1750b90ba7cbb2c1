"""Images whose axes run along the patient's, in whatever order and sense: brought to LPS without interpolation."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from .errors import InputError
from .grid import Grid, Triple

OBLIQUE_LIMIT = 1e-3  # as direction cosine: 0.2 mm at 200 mm from the middle
Array = npt.NDArray[Any]


def to_lps(
    origin_mm: npt.ArrayLike, axes: npt.ArrayLike, spacing_mm: npt.ArrayLike, values: Array
) -> tuple[Grid, Array]:
    """A volume on axes along x, y and z.

    Parameters
    ----------
    origin_mm : (3,)
        LPS position of the voxel at index 0 of every axis.
    axes : (3, 3)
        Rows are the LPS unit vectors of increasing index along the last, the middle and the first axis of `values`; of
        either handedness.
    spacing_mm : (3,)
        In the order of the rows of `axes`.
    values : (n0, n1, n2)
        Any array; the result is a view of it.

    Returns
    -------
    Grid, (nz, ny, nx) array
        With the identity direction.

    Raises
    ------
    InputError
        Axes that do not run along x, y and z.
    """
    matrix = np.asarray(axes, dtype=np.float64)
    along, senses = _permutation(matrix)
    spacing = np.asarray(spacing_mm, dtype=np.float64)
    counts = np.array(values.shape[::-1])
    origin, step, order = np.zeros(3), np.zeros(3), [0, 0, 0]
    for lps in range(3):
        k = along[lps]
        first = np.asarray(origin_mm, dtype=np.float64)[lps]
        step[lps] = spacing[k]
        origin[lps] = first if senses[lps] > 0 else first - spacing[k] * (counts[k] - 1)
        order[2 - lps] = 2 - k
    flips = tuple(slice(None, None, int(senses[2 - axis])) for axis in range(3))
    turned = values.transpose(order)[flips]
    return Grid(_triple(origin), _triple(step), turned.shape), turned


def along_axes(grid: Grid, values: Array, axes: npt.ArrayLike) -> tuple[Array, Array, Array]:
    """The inverse of `to_lps`: a volume on the identity direction along other axes.

    Returns
    -------
    origin_mm : (3,) float64
        LPS position of the first voxel.
    spacing_mm : (3,) float64
        In the order of the rows of `axes`.
    values : (n0, n1, n2) array
        A view.
    """
    matrix = np.asarray(axes, dtype=np.float64)
    along, senses = _permutation(matrix)
    counts = np.array(grid.shape[::-1])
    ends = np.asarray(grid.origin_mm) + np.asarray(grid.spacing_mm) * (counts - 1)
    origin = np.where(senses > 0, grid.origin_mm, ends)
    flips = tuple(slice(None, None, int(senses[2 - axis])) for axis in range(3))
    lps_of = {k: lps for lps, k in enumerate(along)}
    order = [2 - lps_of[2 - axis] for axis in range(3)]
    spacing = np.array([grid.spacing_mm[lps_of[k]] for k in range(3)])
    return origin, spacing, values[flips].transpose(order)


def is_oblique(axes: npt.ArrayLike) -> bool:
    """Whether some axis runs along none of x, y and z."""
    matrix = np.abs(np.asarray(axes, dtype=np.float64))
    return bool(np.abs(matrix - np.round(matrix)).max() > OBLIQUE_LIMIT)


def _permutation(matrix: Array) -> tuple[list[int], Array]:
    """For x, y and z: the row of the axis along it, and the sense in which it runs."""
    nearest = np.round(matrix)
    if is_oblique(matrix) or not np.array_equal(np.abs(nearest) @ np.abs(nearest.T), np.eye(3)):
        raise InputError(
            f"its axes are oblique (direction cosines {np.round(matrix, 4).tolist()}).",
            remedy="Resample it to axes along x, y, z.",
        )
    along = [int(np.argmax(np.abs(nearest[:, lps]))) for lps in range(3)]
    return along, np.array([nearest[k, lps] for lps, k in enumerate(along)])


def _triple(values: Array) -> Triple:
    x, y, z = (float(v) for v in values)
    return x, y, z

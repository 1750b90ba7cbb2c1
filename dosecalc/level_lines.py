"""Lines of equal value of an image."""

from __future__ import annotations

import contourpy
import numpy as np
import numpy.typing as npt


def level_lines(
    values: npt.ArrayLike, columns: npt.ArrayLike | None = None, rows: npt.ArrayLike | None = None
) -> contourpy.SerialContourGenerator:
    """What finds the lines of an image, at any number of levels: its ``lines(level)`` are (n, 2) arrays of x, y.

    Made here and not by `contourpy.contour_generator`, which looks for masked and infinite values first: that takes
    five times as long as the lines of a small image.

    Parameters
    ----------
    values : (ny, nx) array
        Finite; at least two rows and columns.
    columns, rows : (nx,) and (ny,) arrays, optional
        Coordinates x and y; indices by default.
    """
    z = np.ascontiguousarray(values, dtype=np.float64)
    x = np.arange(z.shape[1]) if columns is None else columns
    y = np.arange(z.shape[0]) if rows is None else rows
    return contourpy.SerialContourGenerator(
        np.ascontiguousarray(np.broadcast_to(np.asarray(x, dtype=np.float64), z.shape)),
        np.ascontiguousarray(np.broadcast_to(np.asarray(y, dtype=np.float64)[:, None], z.shape)),
        z,
        None,
        corner_mask=True,
        line_type=contourpy.LineType.Separate,
        fill_type=contourpy.FillType.OuterOffset,
        quad_as_tri=False,
        z_interp=contourpy.ZInterp.Linear,
    )

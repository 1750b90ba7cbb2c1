"""Radiological depth: water-equivalent path from the source to each voxel centre, by exact ray tracing."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from .backend import Backend, select_backend
from .grid import Volume


def radiological_depth(
    density: Volume,
    source_mm: npt.ArrayLike,
    points_mm: npt.NDArray[np.floating[Any]],
    *,
    backend: Backend | None = None,
) -> npt.NDArray[np.float64]:
    """Integral of relative electron density along the rays from the source.

    The density is piecewise constant in the voxels of its grid and zero outside (air and couch that the scan does
    not show do not attenuate).

    Parameters
    ----------
    density : Volume
        Relative electron density, >= 0.
    source_mm : (x, y, z)
        LPS.
    points_mm : (n, 3) float64
        LPS points, usually voxel centres.
    backend : Backend, optional
        Default: `select_backend("auto")`.

    Returns
    -------
    (n,) float64
        Radiological depth in mm.

    Notes
    -----
    Exact for the voxel model: Siddon, Med Phys 12:252 (1985), with the traversal of Amanatides & Woo (1987).
    """
    kernels = (backend or select_backend()).kernels
    grid = density.grid
    depth: npt.NDArray[np.float64] = kernels.radiological_depth(
        np.ascontiguousarray(density.values, dtype=np.float32),
        grid.index_coordinates(source_mm)[0],
        grid.index_coordinates(points_mm),
        np.asarray(grid.spacing_mm),
    )
    return depth

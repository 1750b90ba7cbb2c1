"""Radiological depth and upstream average density: exact ray tracing from the source to each voxel centre."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from .backend import Backend, select_backend
from .grid import Grid, Volume

AIR_DENSITY = 0.1
"""Relative electron density below which a cell is air and no medium. Inflated lung has 0.26 (ICRU Report 44); 30 HU of
noise in air are 0.03. Without the bound, 30 cm of scanned air in front of the skin (0.3 mm of water) would make it
lung."""


def trace(
    density: Volume,
    source_mm: npt.ArrayLike,
    points_mm: npt.NDArray[np.floating[Any]],
    range_mm: npt.ArrayLike = (),
    *,
    backend: Backend | None = None,
) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]:
    """Radiological depth and upstream average density along the rays from the source.

    The density is piecewise constant in the voxels of its grid and zero outside (air and couch that the scan does
    not show do not attenuate). With d' the radiological depth of a point of the ray, counted from where it first
    meets a medium, and d that of the voxel, the average with range lambda is

        rho_q = int_0^d rho exp(-(d - d') / lambda_q) dd' / int_0^d exp(-(d - d') / lambda_q) dd',    dd' = rho dl

    Weighted by radiological depth and not by length, it survives an air gap: air (below `AIR_DENSITY`) adds its depth
    and leaves the average alone.

    Parameters
    ----------
    density : Volume
        Relative electron density, >= 0.
    source_mm : (x, y, z)
        LPS.
    points_mm : (n, 3) float64
        LPS points, usually voxel centres.
    range_mm : (q,)
        The lambdas, mm of water-equivalent, > 0; none by default.
    backend : Backend, optional
        Default: `select_backend("auto")`.

    Returns
    -------
    depth_mm : (n,) float64
        Radiological depth.
    average : (n, q) float64
        Relative electron density. Where a ray has met no medium it is undefined and given as 1, water.

    Notes
    -----
    Exact for the voxel model: Siddon, Med Phys 12:252 (1985), with the traversal of Amanatides & Woo (1987); the
    averages by a recursion over the cells.
    """
    kernels, grid = (backend or select_backend()).kernels, density.grid
    values = np.ascontiguousarray(density.values, dtype=np.float32)
    targets = grid.index_coordinates(points_mm)
    ((depth_mm, average),) = trace_where_kernels_run(kernels, values, grid, [source_mm], targets, range_mm)
    return kernels.to_host(depth_mm), kernels.to_host(average).T


def trace_where_kernels_run(
    kernels: Any, values: Any, grid: Grid, sources_mm: Sequence[npt.ArrayLike], targets: Any, range_mm: npt.ArrayLike
) -> list[tuple[Any, Any]]:
    """The same for several sources, of arrays that the kernels of a backend hold, and left with them.

    Parameters
    ----------
    kernels : module or object
    values : (nz, ny, nx) float32
        The density, sent once for all beams.
    grid : Grid
        Of the density.
    sources_mm : sequence of (x, y, z)
    targets : (n, 3) float64
        Index coordinates of the points on that grid.
    range_mm : (q,)

    Returns
    -------
    list of (depth_mm, average)
        (n,) and (q, n) float64 for each source.
    """
    spacing, ranges = np.asarray(grid.spacing_mm), np.asarray(range_mm, dtype=np.float64)
    sources = (grid.index_coordinates(source)[0] for source in sources_mm)
    made: list[tuple[Any, Any]] = kernels.each(
        kernels.trace, ((values, source, targets, spacing, ranges, AIR_DENSITY) for source in sources)
    )
    return made


def radiological_depth(
    density: Volume,
    source_mm: npt.ArrayLike,
    points_mm: npt.NDArray[np.floating[Any]],
    *,
    backend: Backend | None = None,
) -> npt.NDArray[np.float64]:
    """Integral of relative electron density along the rays from the source, (n,) float64 in mm; see `trace`."""
    return trace(density, source_mm, points_mm, backend=backend)[0]

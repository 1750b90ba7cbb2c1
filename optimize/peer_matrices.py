"""Dose-influence matrices that matRad and pyRadPlan made, as operators on this software's grid.

Sources: matRad's documentation, "The dij Data Structure", "The stf Data Structure" and "The matRad Coordinate System"
(https://matrad.readthedocs.io); the docstrings of pyRadPlan 0.5 (classes Dij and Grid). Both give dose in Gy per unit
weight of a beamlet, so a fluence here has the unit of their weights; the dose of a fluence is the course's, and the
weights of one fraction are the fluence over the number of fractions.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from scipy import sparse

from dosecalc.beams import neighbouring_beamlets
from dosecalc.errors import InputError
from dosecalc.grid import Grid

from .matlab_file import elements, read_matlab
from .matrix import UNKNOWN_NEIGHBOURS, MatrixInfluence, checked_matrix

Array = npt.NDArray[Any]
UNEVEN = 1e-3
"""Share of the spacing by which a coordinate may miss its place."""


def load_matrad_dij(path: str | Path, *, scenario: int | None = None) -> tuple[MatrixInfluence, Grid]:
    """The matrix ``dij`` of a file that matRad's user saved, with ``stf`` where the file has it.

    Parameters
    ----------
    path : path
        ``save(path, 'dij', 'stf')``; with ``-v7.3``, h5py is needed (the extra ``matlab``). ``stf`` tells which
        beamlets are neighbours; without it the fluence is not kept smooth.
    scenario : int, optional
        Which of several scenarios, from 0, in MATLAB's order, cells that are empty not counted.

    Returns
    -------
    MatrixInfluence
        Its voxels are those of the grid in C order (z, y, x); matRad's are y fastest, then x, then z.
    Grid
        ``dij.doseGrid``, in LPS mm. A file without the coordinates ``x``, ``y`` and ``z`` is taken to be in matRad's
        cube coordinates, in which the centre of the first voxel lies one voxel from zero along each axis.

    Raises
    ------
    InputError
        A file without ``dij``, or whose parts contradict each other.
    ResourceError
        A file of version 7.3 without h5py.
    """
    content = read_matlab(path, ("dij", "stf"))
    try:
        dij = content["dij"]
        grid = _matrad_grid(dij["doseGrid"])
        matrix = _only_scenario(elements(dij["physicalDose"]), scenario, grid.size)
        neighbours = _matrad_neighbours(content["stf"], matrix.shape[1]) if "stf" in content else UNKNOWN_NEIGHBOURS
        return MatrixInfluence(matrix[_matrad_order(grid)], neighbours), grid
    except (KeyError, IndexError, TypeError) as error:
        raise InputError(
            f"lacks what matRad's dij holds: {error}.",
            where=str(path),
            remedy="Save dij (and stf) of matRad 3.0 or later; dij needs doseGrid and physicalDose.",
        ) from error
    except InputError as error:
        raise InputError(error.message, where=str(path), remedy=error.remedy) from error


def matrad_positions(indices: npt.ArrayLike, grid: Grid) -> npt.NDArray[np.int64]:
    """Positions of voxels that matRad lists, for a `Region`.

    Parameters
    ----------
    indices : (n,) int
        As in ``cst{i,4}{1}``: from 1, y fastest, then x, then z; of the dose grid, not of a CT grid of other voxels.
    grid : Grid
        From `load_matrad_dij`.

    Returns
    -------
    (n,) int64
        From 0, in C order (z, y, x), ascending.

    Raises
    ------
    InputError
        Indices that are no whole numbers, repeated, or not of this grid.
    """
    listed = np.asarray(indices).ravel()
    if not np.isin(listed, np.arange(1, grid.size + 1)).all() or np.unique(listed).size != listed.size:
        raise InputError(
            f"voxel indices of matRad are whole numbers from 1 to {grid.size}, the dose grid's count, each once.",
            remedy="Indices of another grid, such as the CT's, must be resampled first.",
        )
    return np.flatnonzero(np.isin(_matrad_order(grid), listed - 1))


def load_pyradplan_dij(dij: Any, stf: Any = None, *, scenario: int | None = None) -> tuple[MatrixInfluence, Grid]:
    """The matrix of pyRadPlan's ``calc_dose_influence``.

    Parameters
    ----------
    dij : pyRadPlan.dij.Dij
        In memory; pyRadPlan's own files are pickles, which are not opened here because they can run code.
    stf : pyRadPlan.stf.SteeringInformation, optional
        From ``generate_stf``; tells which beamlets are neighbours. Without it the fluence is not kept smooth.
    scenario : int, optional
        Which of several scenarios, from 0.

    Returns
    -------
    MatrixInfluence
        Voxels in C order (z, y, x), as in pyRadPlan.
    Grid
        ``dij.dose_grid``, in LPS mm.

    Raises
    ------
    InputError
        Not such an object, or one whose parts contradict each other.
    """
    try:
        grid = _pyradplan_grid(dij.dose_grid)
        matrix = _only_scenario(elements(dij.physical_dose), scenario, grid.size)
        rays = [
            (b, r.ray_pos_bev, beam.bixel_width) for b, beam in enumerate(stf.beams if stf else ()) for r in beam.rays
        ]
    except (AttributeError, KeyError, TypeError) as error:
        raise InputError(
            f"{type(dij).__name__} is not what pyRadPlan's calc_dose_influence returns: {error}.",
            remedy="Give the Dij, and the steering information of generate_stf.",
        ) from error
    return MatrixInfluence(matrix, _neighbours(rays, matrix.shape[1]) if stf else UNKNOWN_NEIGHBOURS), grid


def _matrad_order(grid: Grid) -> npt.NDArray[np.int64]:
    """Row in matRad of each voxel in C order (z, y, x): its cube is stored (y, x, z), the first index fastest."""
    nz, ny, nx = grid.shape
    return np.arange(grid.size).reshape((ny, nx, nz), order="F").transpose(2, 0, 1).ravel()


def _only_scenario(cells: list[Any], scenario: int | None, voxels: int) -> sparse.csr_array:
    filled = [cell for cell in cells if len(np.shape(cell)) == 2 and 0 not in np.shape(cell)]
    if scenario is None and len(filled) != 1:
        raise InputError(
            f"the physical dose holds {len(filled)} scenarios, one is needed.",
            remedy="Choose one with scenario=0, 1, ..." if filled else "Save the matrix after its calculation.",
        )
    if scenario is not None and not 0 <= scenario < len(filled):
        raise InputError(f"there is no scenario {scenario}; the physical dose holds {len(filled)}, counted from 0.")
    matrix = checked_matrix(filled[scenario or 0])
    if matrix.shape[0] != voxels:
        raise InputError(f"the matrix has shape {matrix.shape}, but the dose grid has {voxels} voxels (rows).")
    return matrix


def _matrad_grid(dose_grid: Mapping[str, Any]) -> Grid:
    spacing = [float(dose_grid["resolution"][axis]) for axis in "xyz"]
    ny, nx, nz = (int(n) for n in np.asarray(dose_grid["dimensions"]).ravel())
    counts, origin = (nx, ny, nz), list(spacing)
    for k, axis in enumerate("xyz"):
        if np.size(dose_grid.get(axis, ())):
            origin[k] = _first(axis, np.atleast_1d(dose_grid[axis]), counts[k], spacing[k])
    return Grid((origin[0], origin[1], origin[2]), (spacing[0], spacing[1], spacing[2]), (nz, ny, nx))


def _first(axis: str, centres_mm: Array, count: int, spacing_mm: float) -> float:
    if centres_mm.size != count:
        raise InputError(
            f"doseGrid.{axis} has {centres_mm.size} coordinates where the dimensions (y, x, z) say {count}.",
            remedy="matRad gives dimensions as (y, x, z). A file that pyRadPlan exported is not in matRad's order: "
            "use load_pyradplan_dij on the object.",
        )
    if np.abs(np.diff(centres_mm) - spacing_mm).max(initial=0.0) > UNEVEN * spacing_mm:
        raise InputError(f"doseGrid.{axis} is not evenly spaced by {spacing_mm:g} mm, ascending.")
    return float(centres_mm[0])


def _pyradplan_grid(dose_grid: Any) -> Grid:
    nx, ny, nz = (int(n) for n in dose_grid.dimensions)
    x, y, z = (float(c) for c in dose_grid.origin)
    dx, dy, dz = (float(dose_grid.resolution[axis]) for axis in "xyz")
    # Its columns, as in ITK, are the directions of the index axes; this software's rows are.
    rows = np.asarray(dose_grid.direction, np.float64).reshape(3, 3).T
    first, second, third = ((float(row[0]), float(row[1]), float(row[2])) for row in rows)
    return Grid((x, y, z), (dx, dy, dz), (nz, ny, nx), (first, second, third))


def _matrad_neighbours(stf: Any, beamlets: int) -> Array:
    beams = stf if isinstance(stf, list) else [stf]
    rays = [
        (index, ray["rayPos_bev"], float(beam["bixelWidth"]))
        for index, beam in enumerate(beams)
        for ray in (beam["ray"] if isinstance(beam["ray"], list) else [beam["ray"]])
    ]
    return _neighbours(rays, beamlets)


def _neighbours(rays: list[tuple[int, Any, float]], beamlets: int) -> Array:
    """Neighbours of beamlets that are the rays of the beams, one after the other.

    A ray is (beam, position in the beam's eye view as (x, y along the beam, z), width in mm).
    """
    if len(rays) != beamlets:
        raise InputError(
            f"the steering information stf has {len(rays)} rays, the matrix {beamlets} columns; photons have one "
            "beamlet for each ray.",
            remedy="Give the stf that the matrix was made with, or none: the fluence is then not kept smooth.",
        )
    place = np.array([np.asarray(position, np.float64).ravel()[[0, 2]] for _, position, _ in rays])
    widths = np.array([width for _, _, width in rays])
    return neighbouring_beamlets(np.array([beam for beam, _, _ in rays]), place[:, 0], place[:, 1], widths)

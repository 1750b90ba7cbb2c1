"""A dose-influence matrix as matRad saves it, with known entries, written without this project's code."""

from __future__ import annotations

import copy
from pathlib import Path
from typing import Any

import numpy as np
from scipy import io, sparse

# Unequal counts and spacings, so that a swapped axis shows.
COUNTS, SPACING_MM, ORIGIN_MM = (
    {"x": 5, "y": 3, "z": 4},
    {"x": 2.0, "y": 3.0, "z": 5.0},
    {"x": -4.0, "y": 10.0, "z": 7.0},
)
ENTRIES = {(0, 0, 0): 0.5, (4, 0, 0): 1.25, (0, 2, 0): 2.0, (0, 0, 3): 3.5, (3, 1, 2): 0.75}
"""Gy per unit weight of beamlet 1, by (x, y, z) index; beamlet 2 gives twice that, the others 1 in the last voxel."""
BEAMLETS = 4


def matrad_dij() -> dict[str, Any]:
    """The struct: rows count y fastest, then x, then z."""
    nx, ny, nz = COUNTS["x"], COUNTS["y"], COUNTS["z"]
    matrix = np.zeros((nx * ny * nz, BEAMLETS))
    for (x, y, z), value in ENTRIES.items():
        matrix[y + ny * (x + nx * z), :2] = value, 2 * value
    matrix[-1, 2:] = 1.0
    cell = np.empty((1, 1), object)
    cell[0, 0] = sparse.csc_matrix(matrix)
    axes = {a: ORIGIN_MM[a] + SPACING_MM[a] * np.arange(COUNTS[a])[None, :] for a in "xyz"}
    grid = {"resolution": SPACING_MM, "dimensions": np.array([[ny, nx, nz]], float), "numOfVoxels": 60.0} | axes
    return {"doseGrid": grid, "physicalDose": cell, "beamNum": np.array([[1.0], [1.0], [2.0], [2.0]])}


def matrad_stf() -> np.ndarray:
    """Two beams of two rays, 5 mm apart along u in the first and along v in the second."""
    places = [[[-2.5, 0, 0], [2.5, 0, 0]], [[0, 0, -2.5], [0, 0, 2.5]]]
    stf = np.zeros((1, 2), [("gantryAngle", object), ("bixelWidth", object), ("ray", object)])
    for k, beam in enumerate(places):
        rays = np.zeros((1, 2), [("rayPos_bev", object), ("energy", object)])
        for r, place in enumerate(beam):
            rays[0, r] = (np.array([place], float), np.nan)
        stf[0, k] = (90.0 * k, 5.0, rays)
    return stf


def save_matrad(folder: Path, dij: dict[str, Any] | None = None, stf: Any = None, **options: Any) -> None:
    """Write dij.mat; without `stf` the file has none."""
    variables = {"dij": copy.deepcopy(matrad_dij() if dij is None else dij), "pln": {"numOfFractions": 5.0}}
    io.savemat(folder / "dij.mat", variables if stf is None else variables | {"stf": stf}, **options)

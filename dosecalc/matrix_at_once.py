"""The dose-influence matrix in one call, for those who need nothing else of the operator."""

from __future__ import annotations

import logging
from typing import Any

import numpy as np
import numpy.typing as npt
from scipy import sparse

from .backend import Backend, select_backend
from .beams import Beamlets, projected
from .dose_inputs import Precision, refuse_unknown_ways, voxel_indices
from .grid import Grid, Volume
from .heterogeneity import Heterogeneity
from .influence import dose_influence
from .machine import BeamModel
from .pencil_beam import lattice_of
from .prepared import prepare_beams
from .stored_matrix import stored_matrix
from .surveyed import density_there, points_of, trace_beams
from .validity import field_warnings, ray_warnings

log = logging.getLogger(__name__)
Array = npt.NDArray[Any]


def influence_matrix(
    density: Volume,
    grid: Grid,
    beamlets: Beamlets,
    machine: BeamModel,
    *,
    cutoff_mm: float,
    voxels: npt.ArrayLike | None = None,
    backend: str | Backend = "auto",
    precision: Precision = "float32",
    heterogeneity: Heterogeneity = "density_scaling",
) -> sparse.csr_array:
    """The matrix of ``dose_influence(...).tocsr(cutoff_mm)``, with rays to the voxels within reach of a beam alone.

    A voxel further than the cut-off from all beamlets of a beam has no entry of that beam, so that none of its rays,
    weights and tables are made. What the cut-off costs in dose is then not known either: `DoseInfluence.tocsr` says it.

    Parameters
    ----------
    density : Volume
        Relative electron density, on any grid; rays are traced through it.
    grid : Grid
        Dose grid.
    beamlets : Beamlets
    machine : BeamModel
    cutoff_mm : float
        Pairs whose distance from the beamlet's centre in the isocentre plane exceeds this are dropped.
    voxels, backend, precision, heterogeneity
        As in `dose_influence`.

    Returns
    -------
    (V, B) scipy.sparse.csr_array, float32
        Gy per MU-equivalent; see `dosecalc.stored_matrix`.

    Raises
    ------
    InputError
        Densities that are negative or not finite, voxel indices outside the grid.
    DoseError
        A field, depth or density beyond the kernel table, or a source shape the tables cannot hold.
    UsageError
        A cut-off that is not positive.
    """
    chosen = backend if isinstance(backend, Backend) else select_backend(backend)
    if chosen.on_device or precision == "reference":
        operator = dose_influence(
            density, grid, beamlets, machine,
            voxels=voxels, backend=chosen, precision=precision, heterogeneity=heterogeneity,
        )  # fmt: skip
        return operator.tocsr(cutoff_mm)
    refuse_unknown_ways(precision, heterogeneity, beamlets, machine)
    flat, kernels = voxel_indices(voxels, grid), chosen.kernels
    points_mm, values = points_of(kernels, grid, flat), density_there(kernels, density)
    for warning in field_warnings(beamlets, machine):
        log.warning("%s", warning)

    def tables(b: int, near: Array) -> tuple[Array, ...]:
        beam, there = beamlets.beams[b], points_mm[near]
        traced, surveys = trace_beams(kernels, values, density.grid, there, (beam,), machine, heterogeneity)
        for warning in (warning for found in surveys for warning in ray_warnings(beam, found, machine)):
            log.warning("%s", warning)
        lattice = lattice_of(beamlets, b, machine)
        (made,) = prepare_beams(there, [beam], [lattice], machine, traced, surveys, chosen, np.dtype(precision))
        return made.of_rows

    def place(b: int) -> tuple[Array, Array]:
        ((u, v, _),) = projected([beamlets.beams[b]], points_mm, machine.sad_mm, kernels)
        return u, v

    return stored_matrix(place, flat.size, beamlets, chosen, np.dtype(precision), tables=tables, cutoff_mm=cutoff_mm)

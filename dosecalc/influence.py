"""`DoseInfluence`: beamlet dose as an operator that is never stored."""

from __future__ import annotations

import dataclasses
import logging
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
from scipy import sparse

from .backend import Backend, select_backend
from .beams import Beamlets, projected
from .device_matrix import DeviceMatrix
from .dose_inputs import Precision, refuse_unknown_ways, vector, voxel_indices
from .errors import InputError, UsageError
from .grid import Grid, Volume
from .heterogeneity import Heterogeneity, KernelArguments
from .machine import BeamModel
from .pencil_beam import Lattice, component_sigmas_mm, lattice_of, weights_looked_up
from .prepared import PreparedBeam, add_dose, collect, prepare_beams
from .stored_matrix import log_truncation, stored_matrix
from .surveyed import density_there, points_of, trace_beams
from .validity import ValidityWarning, field_warnings, ray_warnings

log = logging.getLogger(__name__)
Array = npt.NDArray[Any]

CHUNK_PAIRS = 4_000_000
"""Voxel x beamlet pairs that are in memory at once when rows are made."""
CHUNK_VOXELS = 100_000
"""Voxels whose component weights are looked up at once."""


@dataclass(frozen=True, slots=True, eq=False)
class DoseInfluence:
    """Dose of V voxels from B beamlets: a linear operator with one code path for all its verbs.

    Made by `dose_influence`. Voxels are the C-order flat indices in `voxels`; beamlets are in the order of `beamlets`;
    fluence is course-total in MU-equivalents, dose is course-total in Gy to water.

    Attributes
    ----------
    grid : Grid
    voxels : (V,) int64
    beamlets : Beamlets
    machine : BeamModel
    precision : "float32", "float64" or "reference"
        The first two read B-spline tables; the reference sums float64 error functions.
    backend : Backend
    heterogeneity : "density_scaling" or "depth_scaling"
        Whether density scales the kernel across the ray too, or along it only.
    arguments : tuple of KernelArguments
        Radiological depth and lateral scales of every voxel, per beam; where the kernels run.
    outside_validity : tuple of ValidityWarning
        Where fields, depths or densities leave the machine's range.
    lattices : tuple of Lattice
        Rows and columns of the beamlets, per beam.
    """

    grid: Grid
    voxels: npt.NDArray[np.int64]
    beamlets: Beamlets
    machine: BeamModel
    precision: Precision
    backend: Backend
    heterogeneity: Heterogeneity
    arguments: tuple[KernelArguments, ...]
    outside_validity: tuple[ValidityWarning, ...]
    lattices: tuple[Lattice, ...] = dataclasses.field(repr=False)
    _prepared: tuple[PreparedBeam, ...] = dataclasses.field(repr=False, default=())

    def __repr__(self) -> str:
        voxels, beamlets = self.shape
        beams = len(self.beamlets.beams)
        return (
            f"DoseInfluence({voxels} voxels x {beamlets} beamlets of {beams} beams, {self.precision}, "
            f"backend={self.backend.name!r}, heterogeneity={self.heterogeneity!r}, grid={self.grid})"
        )

    @property
    def shape(self) -> tuple[int, int]:
        """(V, B)."""
        return int(self.voxels.size), self.beamlets.count

    @property
    def neighbours(self) -> npt.NDArray[np.int64]:
        """Pairs of beamlets of one beam that share an edge, (n, 2)."""
        return self.beamlets.neighbours

    @property
    def array_module(self) -> Any:
        """NumPy, or CuPy where the operator is on a GPU: the module of the arrays that `dose_there` gives."""
        return self.backend.kernels.array_module()

    @property
    def depth_mm(self) -> tuple[npt.NDArray[np.float64], ...]:
        """Radiological depth of every voxel, per beam: (V,) float64 each."""
        return tuple(self.backend.kernels.to_host(each.depth_mm) for each in self.arguments)

    def dose(self, fluence: npt.ArrayLike) -> npt.NDArray[np.float64]:
        """Dose of a fluence.

        Parameters
        ----------
        fluence : (B,)
            MU-equivalents, course total.

        Returns
        -------
        (V,) float64
            Gy, course total.
        """
        return self.backend.kernels.to_host(self.dose_there(fluence))

    def dose_there(self, fluence: npt.ArrayLike) -> Any:
        """The same dose as an array of `array_module`: on a GPU it stays there."""
        x, kernels = vector("fluence", fluence, self.beamlets.count, "beamlets"), self.backend.kernels
        if self.precision == "reference":
            return self._reference_dose(x)
        dose, real = kernels.zeros(self.voxels.size, np.float64), np.dtype(self.precision)
        parts = (x[self.beamlets.of_beam(b)].astype(real) for b in range(len(self.lattices)))
        fields = [lattice.spread(part) for lattice, part in zip(self.lattices, parts, strict=True)]
        add_dose(self._prepared, fields, dose, kernels)
        return dose

    def adjoint(self, weights: npt.ArrayLike) -> npt.NDArray[np.float64]:
        """Transpose of `dose`: sum over voxels of weight times dose per unit fluence.

        Parameters
        ----------
        weights : (V,)

        Returns
        -------
        (B,) float64
            <dose(x), w> = <x, adjoint(w)> to rounding.
        """
        w = vector("weights", weights, self.voxels.size, "voxels")
        if self.precision == "reference":
            return sum((w[part] @ self._rows(part) for part in self._chunks()), start=np.zeros(self.beamlets.count))
        kernels, result = self.backend.kernels, np.empty(self.beamlets.count)
        fields = collect(self._prepared, kernels.to_device(w.astype(self.precision)), kernels)
        for b, (lattice, field) in enumerate(zip(self.lattices, kernels.all_to_host(fields), strict=True)):
            result[self.beamlets.of_beam(b)] = lattice.collect(field)
        return result

    def rows(self, voxels: npt.ArrayLike) -> npt.NDArray[np.float64]:
        """Dose of some voxels per unit fluence of every beamlet, without a lateral cut-off.

        Parameters
        ----------
        voxels : (n,) int
            Positions in `self.voxels`, 0 <= i < V.

        Returns
        -------
        (n, B) float64
            Gy per MU-equivalent; ``rows(i) @ x`` is ``dose(x)[i]`` to rounding.
        """
        return self._rows(self._positions(voxels))

    def rows_there(self, voxels: npt.ArrayLike) -> Any:
        """The same rows as an array of `array_module`: on a GPU they stay there."""
        index, kernels = self._positions(voxels), self.backend.kernels
        result = kernels.zeros((index.size, self.beamlets.count), np.float64)
        kernels.in_parts("rows", len(index), self._chunk_rows, lambda part: self._fill_rows(index[part], result[part]))
        return result

    def tocsr(self, cutoff_mm: float = np.inf, threshold: float = 0.0) -> sparse.csr_array:
        """The dose-influence matrix, truncated on request, with the cost of truncation logged.

        Parameters
        ----------
        cutoff_mm : float
            Pairs whose distance from the beamlet's centre in the isocentre plane exceeds this are dropped.
        threshold : float
            Entries at or below this fraction of their beamlet's largest kept entry are dropped.

        Returns
        -------
        (V, B) scipy.sparse.csr_array, float32
            See `dosecalc.stored_matrix`.
        """
        if self.backend.on_device:
            matrix = self._device_matrix(cutoff_mm, threshold).on_host()
        else:
            points_mm = self._points(slice(None))
            matrix = stored_matrix(
                lambda b: self._project([b], points_mm)[0][:2],
                self.voxels.size, self.beamlets, self.backend, self._real,
                rows=self._fill_beam_rows, tables=None if self.precision == "reference" else self._tables,
                cutoff_mm=cutoff_mm, threshold=threshold,
            )  # fmt: skip
        log_truncation(matrix, lambda: float(self.dose(np.ones(self.beamlets.count)).sum()), cutoff_mm, threshold)
        return matrix

    def device_csr(self, cutoff_mm: float = np.inf, threshold: float = 0.0) -> Any:
        """The same matrix as `tocsr`, made and left on the GPU: of its entries nothing crosses the bus.

        Returns
        -------
        (V, B) cupyx.scipy.sparse.csr_matrix, float32

        Raises
        ------
        UsageError
            The operator is not on a GPU.
        ResourceError
            The matrix does not fit into the GPU's memory.
        """
        if not self.backend.on_device:
            raise UsageError(
                f"device_csr() needs an operator on a GPU; this one runs on {self.backend.name}.",
                remedy='Make it with backend="cupy", or take tocsr().',
            )
        parts = self._device_matrix(cutoff_mm, threshold).on_device()
        return self.backend.kernels.device.csr_matrix(parts, self.shape)

    def _device_matrix(self, cutoff_mm: float, threshold: float) -> DeviceMatrix:
        points_mm = self._points(slice(None))
        tables = None if self.precision == "reference" else self._tables
        return DeviceMatrix(
            self._fill_beam_rows, tables, points_mm, self.beamlets, self.machine.sad_mm, self.backend, self._real,
            cutoff_mm, threshold,
        )  # fmt: skip

    @property
    def _real(self) -> npt.DTypeLike:
        """Type of computed rows."""
        return np.float32 if self.precision == "float32" else np.float64

    def at_reference(self) -> DoseInfluence:
        """The same operator as the direct float64 error-function sum: the oracle, slower."""
        return dataclasses.replace(self, precision="reference", _prepared=())

    def restricted_to(self, voxels: npt.ArrayLike) -> DoseInfluence:
        """The same operator for some of its voxels (positions in `self.voxels`); nothing is traced again."""
        index = self._positions(voxels)
        there = self.backend.kernels.to_device(index)
        return dataclasses.replace(
            self,
            voxels=self.voxels[index],
            arguments=tuple(each.at(there) for each in self.arguments),
            _prepared=tuple(beam.at(there) for beam in self._prepared),
        )

    def _positions(self, voxels: npt.ArrayLike) -> npt.NDArray[np.int64]:
        index = np.atleast_1d(np.asarray(voxels))
        if index.dtype == bool or not np.issubdtype(index.dtype, np.integer):
            raise InputError(f"voxel positions must be integers, got dtype {index.dtype}.")
        if index.size and (index.min() < 0 or index.max() >= self.voxels.size):
            raise InputError(f"voxel positions must lie in 0..{self.voxels.size - 1}.")
        return index.astype(np.int64)

    def _looked_up(self, b: int, there: Array | slice, magnification: Array) -> tuple[Array, ...]:
        """Arguments of the kernel `component_weights` for some voxels, by an index that is where the kernels run."""
        return weights_looked_up(self.machine, self.arguments[b].at(there), magnification)

    def _rows(self, index: Array | slice) -> npt.NDArray[np.float64]:
        result, kernels = np.empty((self.voxels[index].size, self.beamlets.count)), self.backend.kernels
        positions = np.arange(self.voxels.size)[index] if isinstance(index, slice) else index

        def make(part: slice) -> None:
            made = kernels.room_for(room := result[part])
            self._fill_rows(positions[part], made)
            if made is not room:
                room[:] = kernels.to_host(made)

        kernels.in_parts("rows", len(result), self._chunk_rows, make)
        return result

    def _fill_rows(self, index: Array, result: Array) -> None:
        beams = range(len(self.beamlets.beams))
        self._fill_rows_of(beams, index, [result[:, self.beamlets.of_beam(b)] for b in beams])

    def _fill_beam_rows(self, b: int, index: Array | slice, result: Array) -> None:
        self._fill_rows_of([b], index, [result])

    def _fill_rows_of(self, beams: Sequence[int], index: Array | slice, results: list[Array]) -> None:
        """Rows of some voxels for the beamlets of some beams, an array for each."""
        kernels, given = self.backend.kernels, list(zip(beams, results, strict=True))
        there = index if isinstance(index, slice) else kernels.to_device(index)
        if self.precision != "reference":
            kernels.each(kernels.spline_rows, ((*self._tables(b, there), result) for b, result in given))
            return
        places = self._project(beams, self._points(index))
        weights = kernels.each(
            kernels.component_weights,
            (self._looked_up(b, there, place[2]) for b, place in zip(beams, places, strict=True)),
        )
        calls = (
            (*place[:2], of_voxels, *self._direct_axes(b), *self.lattices[b].of_beamlets, result)
            for (b, result), place, of_voxels in zip(given, places, weights, strict=True)
        )
        kernels.each(kernels.direct_rows, calls)

    def _tables(self, b: int, there: Array | slice) -> tuple[Array, ...]:
        """What the kernel `spline_rows` needs for some voxels and one beam, but for its result."""
        return self._prepared[b].at(there).of_rows

    def _direct_axes(self, b: int) -> tuple[tuple[Array, Array, Array], tuple[Array, Array, Array]]:
        """Columns and rows of one beam's lattice with the blur along each."""
        lattice, (sigma_u, sigma_v) = self.lattices[b], component_sigmas_mm(self.machine)
        return (lattice.u_mm, lattice.width_u_mm, sigma_u), (lattice.v_mm, lattice.width_v_mm, sigma_v)

    def _points(self, index: Array | slice) -> Array:
        """Places of some voxels, (n, 3) in LPS mm, where the kernels run."""
        return points_of(self.backend.kernels, self.grid, self.voxels[index])

    def _project(self, beams: Sequence[int], points_mm: Array) -> list[tuple[Array, Array, Array]]:
        """u, v and magnification of some points for each of some beams."""
        some = (self.beamlets.beams[b] for b in beams)
        return projected(some, points_mm, self.machine.sad_mm, self.backend.kernels)

    def _reference_dose(self, x: Array) -> Any:
        kernels = self.backend.kernels
        dose = kernels.zeros(self.voxels.size, np.float64)
        fields = [each.spread(x[self.beamlets.of_beam(b)]) for b, each in enumerate(self.lattices)]

        def sum_beams(part: slice) -> None:
            total, points_mm = kernels.zeros(part.stop - part.start, np.float64), self._points(part)
            for b, field in enumerate(fields):
                ((u, v, magnification),) = self._project([b], points_mm)
                weights = kernels.component_weights(*self._looked_up(b, part, magnification))
                total += kernels.direct_dose(u, v, weights, field, *self._direct_axes(b))
            dose[part] = total

        kernels.in_parts("the reference dose", self.voxels.size, CHUNK_VOXELS, sum_beams)
        return dose

    def _chunks(self) -> Iterator[slice]:
        return _blocks(self.voxels.size, self._chunk_rows)

    @property
    def _chunk_rows(self) -> int:
        return max(1, CHUNK_PAIRS // max(1, self.beamlets.count))


def dose_influence(
    density: Volume,
    grid: Grid,
    beamlets: Beamlets,
    machine: BeamModel,
    *,
    voxels: npt.ArrayLike | None = None,
    backend: str | Backend = "auto",
    precision: Precision = "float32",
    heterogeneity: Heterogeneity = "density_scaling",
) -> DoseInfluence:
    """Prepare the dose operator.

    Parameters
    ----------
    density : Volume
        Relative electron density, on any grid; rays are traced through it.
    grid : Grid
        Dose grid.
    beamlets : Beamlets
    machine : BeamModel
    voxels : (V,) int, optional
        C-order flat indices of `grid` to compute, in this order; default all.
    backend : str or Backend
        "auto", "numpy", "numba" or "cupy".
    precision : str
        "float32", "float64" (B-spline tables) or "reference" (direct float64 sum).
    heterogeneity : str
        "density_scaling" (lateral too) or "depth_scaling" (along the ray only: for comparison).

    Returns
    -------
    DoseInfluence

    Raises
    ------
    InputError
        Densities that are negative or not finite, voxel indices outside the grid.
    DoseError
        A field, depth or density beyond the kernel table, or a source shape the tables cannot hold.
    """
    refuse_unknown_ways(precision, heterogeneity, beamlets, machine)
    chosen = backend if isinstance(backend, Backend) else select_backend(backend)
    flat = voxel_indices(voxels, grid)
    told, points_mm = list(field_warnings(beamlets, machine)), points_of(chosen.kernels, grid, flat)
    values = density_there(chosen.kernels, density)
    arguments, surveys = trace_beams(
        chosen.kernels, values, density.grid, points_mm, beamlets.beams, machine, heterogeneity
    )
    for beam, found in zip(beamlets.beams, surveys, strict=bool(flat.size)):
        told.extend(ray_warnings(beam, found, machine))
    for warning in told:
        log.warning("%s", warning)
    lattices = tuple(lattice_of(beamlets, b, machine) for b in range(len(beamlets.beams)))
    prepared = list[PreparedBeam]()
    if precision != "reference":
        real = np.dtype(precision)
        prepared = prepare_beams(points_mm, beamlets.beams, lattices, machine, arguments, surveys, chosen, real)
    return DoseInfluence(
        grid, flat, beamlets, machine, precision, chosen, heterogeneity, arguments, tuple(told), lattices,
        tuple(prepared),
    )  # fmt: skip


def _blocks(count: int, size: int) -> Iterator[slice]:
    return (slice(start, min(start + size, count)) for start in range(0, count, size))

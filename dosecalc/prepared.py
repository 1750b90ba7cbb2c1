"""The tables that a beam's dose is read from: what makes the operator fast, made once per plan."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt

from .backend import Backend
from .beams import Beamlets
from .heterogeneity import KernelArguments
from .machine import BeamModel
from .pencil_beam import Lattice, SplineTable, component_sigmas_mm, component_weights, lattice_of, spline_table
from .surveyed import Survey

Array = Any


@dataclass(frozen=True, slots=True, eq=False)
class PreparedBeam:
    """What one beam's voxels need to read the spline tables; but for the lattice, where the kernels run.

    Attributes
    ----------
    lattice : Lattice
        Beamlets on their rows and columns.
    table_u, table_v : SplineTable
        Blurred beamlet columns and rows.
    iu, iv : (V,) int32
        Nearest table node of each voxel.
    fu, fv : (V,)
        Offset from it in node steps.
    weights : (V, C)
        Of the Gaussians, inverse square and calibration included, Gy.
    """

    lattice: Lattice
    table_u: SplineTable
    table_v: SplineTable
    iu: Array
    iv: Array
    fu: Array
    fv: Array
    weights: Array

    @property
    def taps(self) -> tuple[Array, Array, Array, Array, Array]:
        """Arguments of the `gather` and `scatter` kernels."""
        return self.iv, self.iu, self.fv, self.fu, self.weights

    @property
    def of_rows(self) -> tuple[Array, ...]:
        """Arguments of the kernels `spline_rows` and `fill_near`: tables, taps, and the beamlets on their lattice."""
        lattice = self.lattice
        tables = self.table_v.coefficients, self.table_u.coefficients
        return *tables, *self.taps, lattice.row, lattice.column, lattice.output.astype(self.weights.dtype)

    def at(self, index: Array | slice) -> PreparedBeam:
        """The same tables for some of the voxels."""
        return PreparedBeam(
            self.lattice, self.table_u, self.table_v,
            self.iu[index], self.iv[index], self.fu[index], self.fv[index], self.weights[index],
        )  # fmt: skip

    def add_dose(self, field: Array, dose: Array, kernels: Any) -> None:
        """Add the dose of a fluence (Jv, Ju) to that of all voxels (V,), of some of the map's lines after the others
        where a GPU's memory holds no more."""

        def add(part: slice) -> None:
            index, band = self._band(part, kernels)
            maps = kernels.field_maps(band.table_v.coefficients, field, band.table_u.coefficients)
            more = kernels.gather(maps, *band.taps)
            dose[index] += more

        lines = len(self.table_v.coefficients)
        kernels.in_parts("the lines of a beam's dose map", lines, lines, add)

    def collect(self, values: Array, kernels: Any) -> Array:
        """The transpose: a field (Jv, Ju) from the weights (V,) of the voxels, where the kernels run."""
        fields: list[Array] = []

        def collect(part: slice) -> None:
            index, band = self._band(part, kernels)
            shape = len(band.table_v.coefficients), len(band.table_u.coefficients)
            planes = kernels.scatter(values[index], shape, *band.taps)
            fields.append(kernels.collect_field(band.table_v.coefficients, planes, band.table_u.coefficients))

        lines = len(self.table_v.coefficients)
        kernels.in_parts("the lines of a beam's adjoint map", lines, lines, collect)
        return sum(fields[1:], start=fields[0])

    def _band(self, part: slice, kernels: Any) -> tuple[Array | slice, PreparedBeam]:
        """Voxels nearest to some lines of the map, and the beam as they see it, with a line more on either side."""
        lines = len(self.table_v.coefficients)
        if part.stop - part.start == lines:
            return slice(None), self
        low, high = max(part.start - 1, 0), min(part.stop + 1, lines)
        index = kernels.array_module().flatnonzero((self.iv >= part.start) & (self.iv < part.stop))
        near, table = self.at(index), replace(self.table_v, coefficients=self.table_v.coefficients[low:high])
        return index, replace(near, table_v=table, iv=near.iv - np.int32(low))


def prepare_beam(
    points_mm: Array,
    beamlets: Beamlets,
    beam: int,
    machine: BeamModel,
    arguments: KernelArguments,
    found: Survey | None,
    backend: Backend,
    dtype: npt.DTypeLike,
) -> PreparedBeam:
    """Tables of one beam and where each voxel reads them.

    Parameters
    ----------
    points_mm : (V, 3) float64
        LPS, where the kernels run.
    beamlets : Beamlets
    beam : int
        Which of its beams.
    machine : BeamModel
    arguments : KernelArguments
        Of the same voxels.
    found : Survey or None
        What the tables must cover; None without voxels.
    backend : Backend
    dtype : float32 or float64
        Of tables and weights.
    """
    kernels, (span_u, span_v) = backend.kernels, (found.u_mm, found.v_mm) if found else ((0.0, 0.0), (0.0, 0.0))
    u, v, magnification = beamlets.beams[beam].place(points_mm, machine.sad_mm, kernels)
    lattice = lattice_of(beamlets, beam, machine)
    sigma_u, sigma_v = component_sigmas_mm(machine)
    table_u = spline_table(span_u, lattice.u_mm, lattice.width_u_mm, sigma_u, dtype, kernels)
    table_v = spline_table(span_v, lattice.v_mm, lattice.width_v_mm, sigma_v, dtype, kernels)
    iu, fu = kernels.locate(u, table_u.start_mm, table_u.step_mm, dtype)
    iv, fv = kernels.locate(v, table_v.start_mm, table_v.step_mm, dtype)
    weights = component_weights(machine, arguments, magnification, backend, dtype)
    return PreparedBeam(lattice, table_u, table_v, iu, iv, fu, fv, weights)

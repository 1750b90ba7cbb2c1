"""The tables that a beam's dose is read from: what makes the operator fast, made once per plan."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy.typing as npt

from .backend import Backend
from .beams import Beam, projected
from .heterogeneity import KernelArguments
from .machine import BeamModel
from .pencil_beam import Lattice, SplineTable, component_sigmas_mm, spline_tables, weights_looked_up
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
    def map_shape(self) -> tuple[int, int]:
        """Nodes of the map along v and u."""
        return len(self.table_v.coefficients), len(self.table_u.coefficients)

    @property
    def of_rows(self) -> tuple[Array, ...]:
        """Arguments of the kernels `spline_rows` and `fill_near`: tables, taps, and the beamlets on their lattice."""
        row, column, output = self.lattice.of_beamlets
        tables = self.table_v.coefficients, self.table_u.coefficients
        return *tables, *self.taps, row, column, output.astype(self.weights.dtype)

    def at(self, index: Array | slice) -> PreparedBeam:
        """The same tables for some of the voxels."""
        return PreparedBeam(
            self.lattice, self.table_u, self.table_v,
            self.iu[index], self.iv[index], self.fu[index], self.fv[index], self.weights[index],
        )  # fmt: skip


def add_dose(beams: Sequence[PreparedBeam], fields: Sequence[Array], dose: Array, kernels: Any) -> None:
    """Add the dose of a fluence, a field (Jv, Ju) per beam, to that of all voxels (V,) where the kernels run."""

    def add(part: slice, total: Array = dose) -> None:
        some = beams[part]
        tables = ((b.table_v.coefficients, f, b.table_u.coefficients) for b, f in zip(some, fields[part], strict=True))
        maps = kernels.each(kernels.field_maps, tables)
        for more in kernels.each(kernels.gather, ((m, *b.taps) for m, b in zip(maps, some, strict=True))):
            total += more

    kernels.in_parts("the dose of beams", len(beams), kernels.at_once(len(beams)), add)


def collect(beams: Sequence[PreparedBeam], values: Array, kernels: Any) -> list[Array]:
    """The transpose: a field (Jv, Ju) per beam from the weights (V,) of the voxels, where the kernels run."""
    fields: list[Array] = []

    def gather(part: slice) -> None:
        some = beams[part]
        planes = kernels.each(kernels.scatter, ((values, beam.map_shape, *beam.taps) for beam in some))
        tables = zip(some, planes, strict=True)
        made = ((beam.table_v.coefficients, plane, beam.table_u.coefficients) for beam, plane in tables)
        fields.extend(kernels.each(kernels.collect_field, made))

    kernels.in_parts("the adjoint of beams", len(beams), kernels.at_once(len(beams)), gather)
    return fields


def prepare_beams(
    points_mm: Array,
    beams: Sequence[Beam],
    lattices: Sequence[Lattice],
    machine: BeamModel,
    arguments: Sequence[KernelArguments],
    found: Sequence[Survey],
    backend: Backend,
    dtype: npt.DTypeLike,
) -> list[PreparedBeam]:
    """Tables of some beams and where each voxel reads them.

    Parameters
    ----------
    points_mm : (V, 3) float64
        LPS, where the kernels run.
    beams : sequence of Beam
    lattices : sequence of Lattice
        Of their beamlets.
    machine : BeamModel
    arguments : sequence of KernelArguments
        Of the same voxels, per beam.
    found : sequence of Survey
        What the tables must cover, per beam; none without voxels.
    backend : Backend
    dtype : float32 or float64
        Of tables and weights.
    """
    kernels, prepared = backend.kernels, list[PreparedBeam]()
    sigma_u, sigma_v = component_sigmas_mm(machine)
    spans = [(each.u_mm, each.v_mm) for each in found] or [((0.0, 0.0), (0.0, 0.0))] * len(beams)

    def prepare(part: slice) -> None:
        asked = []
        for lattice, (span_u, span_v) in zip(lattices[part], spans[part], strict=True):
            asked.append((span_u, lattice.u_mm, lattice.width_u_mm, sigma_u))
            asked.append((span_v, lattice.v_mm, lattice.width_v_mm, sigma_v))
        tables = spline_tables(asked, dtype, kernels)
        places = projected(beams[part], points_mm, machine.sad_mm, kernels)
        along = zip((t for place in places for t in place[:2]), tables, strict=True)
        nodes = kernels.each(kernels.locate, ((t, table.start_mm, table.step_mm, dtype) for t, table in along))
        given = zip(arguments[part], places, strict=True)
        looked_up = (weights_looked_up(machine, each, place[2], dtype) for each, place in given)
        weights = kernels.each(kernels.component_weights, looked_up)
        for k, lattice in enumerate(lattices[part]):
            (iu, fu), (iv, fv) = nodes[2 * k : 2 * k + 2]
            table_u, table_v = tables[2 * k : 2 * k + 2]
            prepared.append(PreparedBeam(lattice, table_u, table_v, iu, iv, fu, fv, weights[k]))

    kernels.in_parts("the tables of beams", len(beams), kernels.at_once(len(beams)), prepare)
    return prepared

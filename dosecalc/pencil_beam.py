"""The dose model: a Gaussian-mixture pencil beam, exactly factorisable.

Every pencil kernel is a non-negative mixture of C fixed Gaussians in the isocentre plane whose weights vary with the
voxel. With x_j the fluence of beamlet j (MU-equivalents), f_j the off-axis ratio at its centre, (u, v) the voxel
projected from the source onto the isocentre plane, z its distance downstream of it, m = (SAD + z) / SAD, d its
radiological depth and s_q = rho_q m the lateral scales of primary and scatter (rho_q: `dosecalc.heterogeneity`)::

    D = g / m^2 * sum_c a_c(d, s_p, s_s) * sum_j x_j f_j E_c,u(u - u_j) E_c,v(v - v_j)          [Gy]
    E_c(t) = 1/2 [erf((t + w/2) / (sqrt(2) sigma_c)) - erf((t - w/2) / (sqrt(2) sigma_c))]
    sigma_c^2 = k_c^2 + sigma_source^2

1 / m^2 is the inverse square; the kernel of the tables is per unit area at the voxel, K(r; d, s) = s^2 K(s r; d), so s
carries the magnification (a wide beam far from the source looks narrower in the isocentre plane) and the density. g
calibrates the machine: 1 unit of fluence in every beamlet of a 10 x 10 cm2 field gives the stated dose per MU at the
reference point.

The E_c are kept as 1-D quadratic B-spline tables per axis (`spline_tables`), so that plan dose, adjoint, rows and
matrix are one operator; the direct error functions are the reference.

References: O'Connor, Phys Med Biol 1:352 (1957) (density scaling); Ahnesjo & Aspradakis, Phys Med Biol 44:R99 (1999)
(pencil kernels); Unser, IEEE Signal Process Mag 16(6):22 (1999) (B-spline interpolation).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from .beams import Beamlets
from .errors import DoseError
from .heterogeneity import KernelArguments
from .kernels import numpy_kernels
from .machine import BeamModel

Array = npt.NDArray[Any]

SPLINE_STEP_PER_SIGMA = 1 / 2.5
"""Table step over the narrowest blur: keeps the nine-beam dose within 1e-4 of the maximum of the reference. The error
grows with the third power of the step, the time for dose and adjoint falls with its square."""

NEGLIGIBLE = 1e-12
"""Spline coefficients below this count as zero. The largest are about one, and the tails of a narrow Gaussian end in
numbers so small (below 1e-38 in float32) that processors take a hundred times as long for them: dose and adjoint
together were four times slower."""
PREFILTER_PADDING = 14
"""Nodes beyond the voxels: the quadratic prefilter's pole, 0.172, forgets the boundary to 2e-11 in 14 nodes."""


@dataclass(frozen=True, slots=True, eq=False)
class Lattice:
    """The distinct beamlet columns (u) and rows (v) of one beam.

    Attributes
    ----------
    u_mm, width_u_mm : (Ju,) float64
    v_mm, width_v_mm : (Jv,) float64
    column, row : (b,) int64
        Column and row of each beamlet of the beam.
    output : (b,) float64
        Off-axis ratio at each beamlet's centre.
    """

    u_mm: Array
    width_u_mm: Array
    v_mm: Array
    width_v_mm: Array
    column: Array
    row: Array
    output: Array

    @property
    def of_beamlets(self) -> tuple[Array, Array, Array]:
        """Where each beamlet stands, and its output."""
        return self.row, self.column, self.output

    def spread(self, fluence: Array) -> Array:
        """Fluence of the beam's beamlets as a (Jv, Ju) array, off-axis ratio applied."""
        field = np.zeros((self.v_mm.size, self.u_mm.size), fluence.dtype)
        np.add.at(field, (self.row, self.column), fluence * self.output.astype(fluence.dtype))
        return field

    def collect(self, field: Array) -> Array:
        """Transpose of `spread`; leading axes of `field` (..., Jv, Ju) are kept."""
        return field[..., self.row, self.column] * self.output.astype(field.dtype)


def lattice_of(beamlets: Beamlets, beam: int, machine: BeamModel) -> Lattice:
    """The lattice of one beam's beamlets."""
    part = beamlets.of_beam(beam)
    u, v = beamlets.u_mm[part], beamlets.v_mm[part]
    (u_mm, width_u), column = _distinct(u, beamlets.width_u_mm[part])
    (v_mm, width_v), row = _distinct(v, beamlets.width_v_mm[part])
    return Lattice(u_mm, width_u, v_mm, width_v, column, row, off_axis_ratio(machine, np.hypot(u, v)))


def off_axis_ratio(machine: BeamModel, radius_mm: Array) -> Array:
    """Relative energy fluence at a distance from the axis in the isocentre plane, (n,), linear between table entries.

    Raises
    ------
    DoseError
        Further out than the machine's profile.
    """
    if radius_mm.size and radius_mm.max() > machine.off_axis_radius_mm[-1]:
        raise DoseError(
            f"a beamlet lies {radius_mm.max():.0f} mm off axis; the profile of machine {machine.name!r} ends at "
            f"{machine.off_axis_radius_mm[-1]:g} mm.",
            remedy="Move the isocentre towards the target.",
        )
    return np.interp(radius_mm, machine.off_axis_radius_mm, machine.off_axis_ratio)


def component_sigmas_mm(machine: BeamModel) -> tuple[Array, Array]:
    """Width of each Gaussian in the isocentre plane with the source blur in quadrature, (C,) along u and v, mm."""
    widths = machine.mixture.width_mm
    return np.hypot(widths, machine.source_sigma_mm[0]), np.hypot(widths, machine.source_sigma_mm[1])


@dataclass(frozen=True, slots=True, eq=False)
class SplineTable:
    """Quadratic B-spline coefficients of `blurred_squares` on a regular axis.

    Attributes
    ----------
    start_mm, step_mm : float
        Node i lies at start + i * step.
    coefficients : (N, C, J)
        Where the kernels run.
    """

    start_mm: float
    step_mm: float
    coefficients: Array


def spline_tables(
    asked: Sequence[tuple[tuple[float, float], Array, Array, Array]],
    dtype: npt.DTypeLike,
    kernels: Any = numpy_kernels,
) -> list[SplineTable]:
    """Tables of `blurred_squares`, made where the kernels run.

    Nodes are multiples of the step: a voxel reads the same ones whichever others are asked for.

    Parameters
    ----------
    asked : sequence of (span_mm, centre_mm, width_mm, sigma_mm)
        For each table the lowest and highest position that it must cover, centres (J,) and widths (J,) of the beamlets'
        columns or rows, and blurs (C,).
    dtype : float32 or float64
    kernels : module or object
        Of the backend.

    Raises
    ------
    DoseError
        A component has no blur (a point source), which no spline table can hold.
    """
    axes, squares = [], []
    for (low_mm, high_mm), centre_mm, width_mm, sigma_mm in asked:
        if sigma_mm.min() <= 0:
            raise DoseError(
                "a point source (sigma 0) has sharp beamlet edges, which the spline tables cannot hold.",
                remedy='Use precision="reference" for this machine.',
            )
        step = float(sigma_mm.min()) * SPLINE_STEP_PER_SIGMA
        first, last = math.floor(low_mm / step) - PREFILTER_PADDING, math.ceil(high_mm / step) + PREFILTER_PADDING
        axes.append((step * first, step))
        squares.append((step * np.arange(first, last + 1), centre_mm, width_mm, sigma_mm))
    values = kernels.each(kernels.blurred_squares, squares)
    made = kernels.each(kernels.spline_coefficients, ((each, NEGLIGIBLE, np.dtype(dtype)) for each in values))
    return [SplineTable(*axis, coefficients) for axis, coefficients in zip(axes, made, strict=True)]


def weights_looked_up(
    machine: BeamModel, arguments: KernelArguments, magnification: Array, dtype: npt.DTypeLike = np.float64
) -> tuple[Any, ...]:
    """Arguments of the kernel `component_weights`: weight of each Gaussian at each voxel (n, C) in Gy, with inverse
    square and calibration.

    A scale below the table, in a medium thinner than lung, is held at its first node: `dosecalc.validity` names it, and
    has refused depths and scales beyond the table. All arrays are where the kernels of the backend run.
    """
    of_voxels = arguments.depth_mm, arguments.scales, magnification
    return *machine.mixture.tables, *of_voxels, machine.gy_per_fluence, np.dtype(dtype)


def _distinct(centre: Array, width: Array) -> tuple[tuple[Array, Array], Array]:
    """Distinct (centre, width) pairs, ordered, and the pair of each beamlet."""
    # As np.unique of pairs, which sorts them as records and takes six times as long.
    order = np.lexsort((width, centre))
    centre, width = centre[order], width[order]
    new = np.concatenate([[True], (np.diff(centre) != 0) | (np.diff(width) != 0)])[: len(order)]
    index = np.empty(len(order), np.int64)
    index[order] = np.cumsum(new) - 1
    return (centre[new], width[new]), index

"""The pencil kernel as a non-negative mixture of fixed Gaussians.

With d the radiological depth and s the lateral scale (magnification times density), the scaled pencil kernel
in the isocentre plane is written as

    s^2 K_q(s r; d)  ~=  sum_c a_q,c(d, s) G(r; sigma_c),    a >= 0,   sigma_c^2 = k_c^2 + sigma_source^2

for q in {primary, scatter}. The widths k_c are the same everywhere and only the weights vary, so that a
square beamlet is a product of error functions and the dose operator is separable. k_0 = 0 is a delta, seen
only through the source: without it the core of the kernel is wrong by up to several per cent. The tables
hold dose to water in water; s carries the density of other media.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
from scipy.interpolate import PchipInterpolator
from scipy.optimize import nnls
from scipy.special import chndtr

from .errors import DoseError, InputError
from .kernels import numpy_kernels

Array = npt.NDArray[np.float64]

COMPONENTS = 12
WIDTH_FIRST_MM, WIDTH_LAST_MM = 0.7, 320.0
SCALE_FIRST, SCALE_LAST, SCALE_NODES = 0.15, 4.5, 29
FIT_FIELDS_MM = (0.6, 300.0, 56)
"""First and last radius and number of the circular fields that are fitted."""
FIT_ITERATIONS = 500
"""Bound on the active-set steps of one fit; a few dozen are taken."""
FIT_EDGES_MM = np.concatenate([[0.0], np.geomspace(0.03, 600.0, 140)])
"""Rings in the isocentre plane into which the scaled kernel is divided before it is blurred."""
FIT_SOURCE_MM = 1.0
"""Source blur inside the fit; the machine's own source is added in quadrature afterwards."""


@dataclass(frozen=True, slots=True, eq=False)
class PencilKernel:
    """Ring integrals of the pencil kernel in water.

    Parameters
    ----------
    depth_mm : (Nd,) float64
        Increasing depths, from 0.
    radius_edges_mm : (Nr + 1,) float64
        Increasing ring edges, from 0.
    primary, scatter : (Nd, Nr) float64
        Dose times ring area per unit energy of the pencil, cm2/g; not negative.

    Raises
    ------
    InputError
        Shapes disagree, an axis does not increase from 0, or a value is negative or not finite.
    """

    depth_mm: Array
    radius_edges_mm: Array
    primary: Array
    scatter: Array

    def __post_init__(self) -> None:
        for name in ("depth_mm", "radius_edges_mm", "primary", "scatter"):
            object.__setattr__(self, name, _frozen(getattr(self, name)))
        for name in ("depth_mm", "radius_edges_mm"):
            axis = getattr(self, name)
            if axis.ndim != 1 or len(axis) < 2 or axis[0] != 0 or not (np.diff(axis) > 0).all():
                raise InputError(f"pencil kernel axis {name} must increase from 0, got {axis[:3]}...")
        expected = (len(self.depth_mm), len(self.radius_edges_mm) - 1)
        for name in ("primary", "scatter"):
            table = getattr(self, name)
            if table.shape != expected:
                raise InputError(f"pencil kernel table {name} has shape {table.shape}, expected {expected}.")
            if not (np.isfinite(table).all() and (table >= 0).all()):
                raise InputError(f"pencil kernel table {name} holds a negative or non-finite value.")


@dataclass(frozen=True, slots=True, eq=False)
class GaussianMixture:
    """Weights of the Gaussian mixture, tabulated over depth and lateral scale.

    Parameters
    ----------
    width_mm : (C,) float64
        Widths k_c in the isocentre plane, without the source.
    depth_mm : (Nd,) float64
        Radiological depth nodes in mm of water, from 0.
    scale : (Ns,) float64
        Lateral scale nodes, equidistant in log s.
    primary, scatter : (Nd, Ns, C) float64
        Weights, >= 0, cm2/g.
    """

    width_mm: Array
    depth_mm: Array
    scale: Array
    primary: Array
    scatter: Array

    def __post_init__(self) -> None:
        for name in ("width_mm", "depth_mm", "scale", "primary", "scatter"):
            object.__setattr__(self, name, _frozen(getattr(self, name)))
        expected = (len(self.depth_mm), len(self.scale), len(self.width_mm))
        for name in ("primary", "scatter"):
            if getattr(self, name).shape != expected:
                raise InputError(f"mixture {name} has shape {getattr(self, name).shape}, expected {expected}.")

    def sigma_mm(self, source_mm: float) -> Array:
        """(C,) widths in mm with a source of the given sigma added in quadrature."""
        return np.hypot(self.width_mm, source_mm)

    def weights(
        self,
        depth_mm: npt.ArrayLike,
        scale_primary: npt.ArrayLike,
        scale_scatter: npt.ArrayLike,
        *,
        factor: npt.ArrayLike = 1.0,
    ) -> npt.NDArray[Any]:
        """Weights a_p(d, s_p) + a_s(d, s_s), linear in d and in log s.

        Parameters
        ----------
        depth_mm : (n,)
            Radiological depth in mm of water.
        scale_primary, scale_scatter : (n,)
            Lateral scale of each part; broadcast against the depth.
        factor : (n,)
            Multiplies the weights of each voxel; the result has its dtype.

        Returns
        -------
        (n, C) of the dtype of `factor`

        Raises
        ------
        DoseError
            A depth or a scale lies outside the table: nothing is clamped.
        """
        depth, s_p, s_s = np.broadcast_arrays(
            *(np.atleast_1d(np.asarray(a, dtype=np.float64)) for a in (depth_mm, scale_primary, scale_scatter))
        )
        cause = "the patient is too thick for this machine's table"
        _inside("radiological depth (mm)", depth, self.depth_mm, cause)
        for name, scale in (("primary", s_p), ("scatter", s_s)):
            _inside(f"lateral scale of the {name}", scale, self.scale, "density or distance is out of range")
        factors, scales = np.broadcast_to(factor, depth.shape), np.stack([s_p, s_s])
        weights = numpy_kernels.component_weights(
            *self.tables, np.ascontiguousarray(depth), scales, np.ones(depth.shape), 1.0, np.float64
        )
        weights *= factors[:, None]
        return weights.astype(factors.dtype)

    @property
    def tables(self) -> tuple[Array, Array, Array, Array]:
        """First arguments of the kernel `component_weights`."""
        return self.depth_mm, self.scale, self.primary, self.scatter


def component_widths_mm() -> Array:
    """(12,) mixture widths: 0, then geometric from 0.7 to 320 mm."""
    return np.concatenate([[0.0], np.geomspace(WIDTH_FIRST_MM, WIDTH_LAST_MM, COMPONENTS - 1)])


def fit_mixture(kernel: PencilKernel) -> GaussianMixture:
    """Fit the mixture to a kernel by non-negative least squares at every depth and scale node.

    The data are the doses on the axis of circular fields (radius 0.6 to 300 mm in the isocentre plane) with a
    1 mm source, errors relative to the whole dose: what square fields are averages of.

    Parameters
    ----------
    kernel : PencilKernel

    Returns
    -------
    GaussianMixture
    """
    scale = np.geomspace(SCALE_FIRST, SCALE_LAST, SCALE_NODES)
    width = component_widths_mm()
    fields = np.geomspace(*FIT_FIELDS_MM)
    model = 1.0 - np.exp(-0.5 * (fields[:, None] / np.hypot(width, FIT_SOURCE_MM)) ** 2)
    blur = _blurred_rings(fields)
    inside = [_cumulative(kernel, rings) for rings in (kernel.primary, kernel.scatter)]
    primary, scatter = (np.empty((len(kernel.depth_mm), SCALE_NODES, COMPONENTS)) for _ in range(2))
    for j, s in enumerate(scale):
        doses = [np.diff(within(s * FIT_EDGES_MM), axis=1) @ blur.T for within in inside]
        together = doses[0] + doses[1]
        primary[:, j] = _fit_depths(doses[0], together, model)
        scatter[:, j] = _fit_depths(doses[1], together, model)
    return GaussianMixture(width, kernel.depth_mm, scale, primary, scatter)


def _fit_depths(doses: Array, together: Array, model: Array) -> Array:
    """(Nd, C) weights from (Nd, fields) axis doses of one part, relative to both parts together."""
    weight = 1.0 / together
    return np.stack(
        [nnls(model * w[:, None], d * w, maxiter=FIT_ITERATIONS)[0] for d, w in zip(doses, weight, strict=True)]
    )


def _blurred_rings(fields_mm: Array) -> Array:
    """(fields, rings) share of each ring, seen through the fit source, that falls in each circular field.

    The squared distance of a point at rho, blurred by a unit Gaussian, follows the non-central chi-squared
    law with two degrees of freedom and non-centrality rho^2.
    """
    middle = np.sqrt(0.5 * (FIT_EDGES_MM[1:] ** 2 + FIT_EDGES_MM[:-1] ** 2))
    shares: Array = chndtr((fields_mm[:, None] / FIT_SOURCE_MM) ** 2, 2.0, (middle / FIT_SOURCE_MM) ** 2)
    return shares


def _cumulative(kernel: PencilKernel, rings: Array) -> PchipInterpolator:
    """Radius (mm) -> (Nd, n) dose within it: monotone cubic, complete at the last edge."""
    inside = np.concatenate([np.zeros((len(rings), 1)), np.cumsum(rings, axis=1)], axis=1)
    edges = np.append(kernel.radius_edges_mm, 1e9)
    return PchipInterpolator(edges, np.append(inside, inside[:, -1:], axis=1), axis=1)


def _inside(name: str, values: Array, nodes: Array, cause: str) -> None:
    """Refuse values outside the nodes (also NaN)."""
    good = (values >= nodes[0]) & (values <= nodes[-1])
    if not good.all():
        bad = values[~good]
        raise DoseError(
            f"{name} {bad.min():.4g} to {bad.max():.4g} at {bad.size} of {values.size} points lies outside "
            f"the kernel table, which covers {nodes[0]:.4g} to {nodes[-1]:.4g}: {cause}.",
            remedy="Check the body outline, the densities and the isocentre.",
        )


def _frozen(values: npt.ArrayLike) -> Array:
    """A read-only float64 view."""
    array = np.asarray(values, dtype=np.float64).view()
    array.flags.writeable = False
    return array

"""How the medium upstream changes the pencil kernel at each voxel: depth scaling, or lateral density scaling too.

By O'Connor's theorem a kernel in a medium of relative electron density rho is the kernel in water with all lengths
divided by rho. Depth scaling does so along the ray, through the radiological depth. Lateral density scaling does so
across it as well: the kernel becomes K(r; d, s) = s^2 K(s r; d) with s_q = rho_q (SAD + z) / SAD for primary and
scatter apart, rho_q the density upstream averaged over their ranges and (SAD + z) / SAD the magnification that carries
the kernel to the isocentre plane. Dose is dose to water in any medium.

What remains is stated where it matters: the model has no re-build-up behind an interface of lung and tissue.

References: O'Connor, Phys Med Biol 1:352 (1957) (the theorem); Ahnesjo & Aspradakis, Phys Med Biol 44:R99 (1999).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy.typing as npt

from .grid import Grid
from .raytrace import trace_where_kernels_run

Array = Any
Heterogeneity = Literal["density_scaling", "depth_scaling"]
HETEROGENEITIES: tuple[str, ...] = ("density_scaling", "depth_scaling")

RANGE_MM = (2.5, 20.0)
"""lambda of primary and scatter, mm of water (0.25 and 2 g/cm2): the reach of the secondary electrons of a megavoltage
beam and of its first scatter. Values found on two slabs of lung in water, 3x3 and 5x5 cm2, against EGSnrc: 0.15 and
1.5 g/cm2 would do as well there; not adjusted since."""


@dataclass(frozen=True, slots=True, eq=False)
class KernelArguments:
    """Where each voxel of one beam reads the kernel table; arrays are where the kernels run.

    Attributes
    ----------
    depth_mm : (n,) float64
        Radiological depth d.
    scales : (2, n) float64
        Lateral scale s of primary and scatter.
    """

    depth_mm: Array
    scales: Array

    def at(self, index: Array | slice) -> KernelArguments:
        """Those of some of the voxels."""
        return KernelArguments(self.depth_mm[index], self.scales[:, index])


def kernel_arguments(
    kernels: Any,
    values: Any,
    grid: Grid,
    sources_mm: Sequence[npt.ArrayLike],
    targets: Any,
    magnifications: Sequence[Any],
    heterogeneity: Heterogeneity,
) -> list[KernelArguments]:
    """Trace the rays of some beams; arrays are where the kernels run.

    Parameters
    ----------
    kernels : module or object
        Of the backend.
    values : (nz, ny, nx) float32
        Relative electron density.
    grid : Grid
        Of the density.
    sources_mm : sequence of (x, y, z)
        Per beam.
    targets : (n, 3) float64
        Index coordinates of the points on that grid.
    magnifications : sequence of (n,) float64
        (SAD + z) / SAD of each point, per beam.
    heterogeneity : str
        "density_scaling" or "depth_scaling".
    """
    if heterogeneity == "depth_scaling":
        traced = trace_where_kernels_run(kernels, values, grid, sources_mm, targets, ())
        alike = (kernels.array_module().broadcast_to(m, (2, len(m))) for m in magnifications)
        return [KernelArguments(depth_mm, scales) for (depth_mm, _), scales in zip(traced, alike, strict=True)]
    traced = trace_where_kernels_run(kernels, values, grid, sources_mm, targets, RANGE_MM)
    return [KernelArguments(depth, average * m) for (depth, average), m in zip(traced, magnifications, strict=True)]

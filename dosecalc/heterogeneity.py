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
    scale_primary, scale_scatter : (n,) float64
        Lateral scale s of each part.
    """

    depth_mm: Array
    scale_primary: Array
    scale_scatter: Array

    def at(self, index: Array | slice) -> KernelArguments:
        """Those of some of the voxels."""
        return KernelArguments(self.depth_mm[index], self.scale_primary[index], self.scale_scatter[index])


def kernel_arguments(
    kernels: Any,
    values: Any,
    grid: Grid,
    source_mm: npt.ArrayLike,
    targets: Any,
    magnification: Any,
    heterogeneity: Heterogeneity,
) -> KernelArguments:
    """Trace the rays of one beam; arrays are where the kernels run.

    Parameters
    ----------
    kernels : module or object
        Of the backend.
    values : (nz, ny, nx) float32
        Relative electron density.
    grid : Grid
        Of the density.
    source_mm : (x, y, z)
    targets : (n, 3) float64
        Index coordinates of the points on that grid.
    magnification : (n,) float64
        (SAD + z) / SAD of each point.
    heterogeneity : str
        "density_scaling" or "depth_scaling".
    """
    if heterogeneity == "depth_scaling":
        depth_mm = trace_where_kernels_run(kernels, values, grid, source_mm, targets, ())[0]
        return KernelArguments(depth_mm, magnification, magnification)
    depth_mm, average = trace_where_kernels_run(kernels, values, grid, source_mm, targets, RANGE_MM)
    return KernelArguments(depth_mm, average[:, 0] * magnification, average[:, 1] * magnification)

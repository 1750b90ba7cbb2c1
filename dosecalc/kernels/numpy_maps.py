"""Dose and its adjoint through spline maps of the field: nothing is stored per voxel and beamlet.

Shapes: V voxels, C Gaussian components, maps of Nv x Nu spline nodes. A voxel reads the 3 x 3 spline coefficients
around its nearest node (iv, iu) with quadratic B-spline weights at the offsets (fv, fu) in -0.5..0.5 node steps.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
from scipy import sparse

Array = npt.NDArray[Any]


def spline_taps(offset: Array) -> Array:
    """Quadratic B-spline weights of the three nodes around a point, (3, n), for offsets in -0.5..0.5 node steps."""
    return np.stack([0.5 * (0.5 - offset) ** 2, 0.75 - offset**2, 0.5 * (0.5 + offset) ** 2])


def tap_matrix(shape: tuple[int, int], iv: Array, iu: Array, fv: Array, fu: Array) -> sparse.csr_array:
    """The (V, Nv * Nu) sparse matrix whose rows hold the nine spline weights of each voxel."""
    weights = np.einsum("avn,bvn->nab", spline_taps(fv)[:, None], spline_taps(fu)[:, None])
    rows = iv[:, None, None] + np.array([-1, 0, 1])[None, :, None]
    columns = rows * shape[1] + iu[:, None, None] + np.array([-1, 0, 1])[None, None, :]
    starts = np.arange(0, 9 * len(iv) + 1, 9)
    return sparse.csr_array((weights.ravel(), columns.ravel(), starts), shape=(len(iv), shape[0] * shape[1]))


def field_maps(table_v: Array, field: Array, table_u: Array) -> Array:
    """Fluence convolved with every Gaussian, as spline coefficients.

    Parameters
    ----------
    table_v, table_u : (Nv, C, Jv), (Nu, C, Ju)
        Spline coefficients of each beamlet row and column.
    field : (Jv, Ju)
        Fluence.

    Returns
    -------
    (Nv, Nu, C)
    """
    planes = (table_v.transpose(1, 0, 2) @ field) @ table_u.transpose(1, 2, 0)
    return np.ascontiguousarray(planes.transpose(1, 2, 0))


def collect_field(table_v: Array, planes: Array, table_u: Array) -> Array:
    """Transpose of `field_maps`, from planes (C, Nv, Nu) to (Jv, Ju)."""
    field: Array = (table_v.transpose(1, 2, 0) @ (planes @ table_u.transpose(1, 0, 2))).sum(axis=0)
    return field


def gather(maps: Array, iv: Array, iu: Array, fv: Array, fu: Array, weights: Array) -> Array:
    """Dose of each voxel: the maps at its position, weighted by its components.

    Parameters
    ----------
    maps : (Nv, Nu, C)
        Spline coefficients of fluence convolved with each Gaussian.
    iv, iu : (V,) int32
        Nearest node.
    fv, fu : (V,)
        Offset from it in node steps.
    weights : (V, C)
        Component weights, including inverse square and calibration.

    Returns
    -------
    (V,) of the dtype of `weights`
    """
    taps = tap_matrix(maps.shape[:2], iv, iu, fv, fu)
    return np.einsum("vc,vc->v", taps @ maps.reshape(-1, maps.shape[2]), weights)


def scatter(values: Array, shape: tuple[int, int], iv: Array, iu: Array, fv: Array, fu: Array, weights: Array) -> Array:
    """Transpose of `gather`: voxel values spread onto (Nv, Nu) maps, one plane per component: (C, Nv, Nu)."""
    taps = tap_matrix(shape, iv, iu, fv, fu)
    return np.ascontiguousarray((taps.T @ (values[:, None] * weights)).T).reshape(-1, *shape)

"""The hot path in NumPy: the readable statement that every faster backend must agree with.

Shapes: V voxels, C Gaussian components, maps of Nv x Nu spline nodes. A voxel reads the 3 x 3 spline coefficients
around its nearest node (iv, iu) with quadratic B-spline weights at the offsets (fv, fu) in -0.5..0.5 node steps.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
from scipy import sparse
from scipy.special import erf

Array = npt.NDArray[Any]


def trace(
    density: Array, source: Array, targets: Array, spacing: Array, range_mm: Array, air: float
) -> tuple[Array, Array]:
    """Radiological depth and upstream average density at each target, by exact voxel traversal.

    Amanatides & Woo (Eurographics 1987) traversal of the piecewise constant density, all rays stepped together;
    the lengths are those of Siddon (Med Phys 12:252, 1985). Outside the grid the density is zero. A cell that adds
    dd of radiological depth takes the share 1 - exp(-dd / range) of the average and fades what lies before it.

    Parameters
    ----------
    density : (nz, ny, nx) float32
    source : (3,) float64
        x, y, z index coordinates (integers are voxel centres).
    targets : (n, 3) float64
        The same, per voxel.
    spacing : (3,) float64
        x, y, z in mm.
    range_mm : (q,) float64
        Ranges, in radiological depth, of the averages; may be empty.
    air : float
        Cells of a lower density are no medium: they add depth and leave the averages alone.

    Returns
    -------
    depth : (n,) float64
        mm of water-equivalent.
    average : (n, q) float64
        Relative electron density; 1 where no medium lies upstream.
    """
    ray = targets - source
    length_mm = np.linalg.norm(ray * spacing, axis=1)
    counts = np.array(density.shape[::-1])
    inverse, t_in, t_out = _inside_grid(source, ray, counts)
    depth = np.zeros(len(targets))
    faded = np.ones((len(targets), len(range_mm)))
    average = np.zeros_like(faded)
    live = np.flatnonzero(t_in < t_out)
    t = t_in[live]
    cell = np.clip(np.floor(source + t[:, None] * ray[live] + 0.5).astype(np.int64), 0, counts - 1)
    step = np.sign(ray[live]).astype(np.int64)
    while live.size:
        with np.errstate(invalid="ignore"):
            crossing = np.where(step != 0, (cell + 0.5 * step - source) * inverse[live], np.inf)
        axis = crossing.argmin(axis=1)
        t_next = np.minimum(crossing[np.arange(live.size), axis], t_out[live])
        here = density[cell[:, 2], cell[:, 1], cell[:, 0]].astype(np.float64)
        added = np.maximum(t_next - t, 0.0) * length_mm[live] * here
        depth[live] += added
        fade = np.exp(-np.where(here >= air, added, 0.0)[:, None] / range_mm)
        faded[live] *= fade
        average[live] = here[:, None] + (average[live] - here[:, None]) * fade
        cell[np.arange(live.size), axis] += step[np.arange(live.size), axis]
        going = (t_next < t_out[live]) & np.all((cell >= 0) & (cell < counts), axis=1)
        live, t, cell, step = live[going], np.maximum(t_next, t)[going], cell[going], step[going]
    return depth, np.divide(average, 1.0 - faded, out=np.ones_like(average), where=faded < 1.0)


def _inside_grid(source: Array, ray: Array, counts: Array) -> tuple[Array, Array, Array]:
    """1 / ray, and where each ray enters and leaves the grid as fractions of it; in >= out where it misses."""
    between = (source >= -0.5) & (source < counts - 0.5)
    with np.errstate(divide="ignore", invalid="ignore"):
        inverse = np.where(ray != 0, 1.0 / ray, np.inf)
        low = np.where(ray != 0, (-0.5 - source) * inverse, np.where(between, -np.inf, np.inf))
        high = np.where(ray != 0, (counts - 0.5 - source) * inverse, np.inf)
    t_in = np.maximum(np.minimum(low, high).max(axis=1), 0.0)
    return inverse, t_in, np.minimum(np.maximum(low, high).min(axis=1), 1.0)


def component_weights(
    depth_nodes_mm: Array,
    log_scale_nodes: Array,
    primary: Array,
    scatter: Array,
    depth_mm: Array,
    log_scale: tuple[Array, Array],
    factor: Array,
) -> Array:
    """Weights of the Gaussians from the tables: linear in depth and in log s, primary and scatter added.

    Parameters
    ----------
    depth_nodes_mm, log_scale_nodes : (Nd,), (Ns,) float64
    primary, scatter : (Nd, Ns, C) float64
    depth_mm : (n,) float64
        Inside the nodes.
    log_scale : (n,) float64, primary and scatter
        Inside the nodes.
    factor : (n,)
        Multiplies the weights of each voxel.

    Returns
    -------
    (n, C) of the dtype of `factor`
    """
    result = np.empty((depth_mm.size, primary.shape[2]), factor.dtype)
    for start in range(0, depth_mm.size, LOOKUP_BLOCK):
        part = slice(start, start + LOOKUP_BLOCK)
        k, t = _bracket(depth_nodes_mm, depth_mm[part])
        total = np.zeros((k.size, primary.shape[2]))
        for table, log_s in zip((primary, scatter), log_scale, strict=True):
            j, w = _bracket(log_scale_nodes, log_s[part])
            rows = table.reshape(-1, table.shape[2])
            corner = k * log_scale_nodes.size + j
            for at, share in ((corner, (1 - t) * (1 - w)), (corner + 1, (1 - t) * w)):
                total += rows.take(at, axis=0) * share[:, None]
            corner = corner + log_scale_nodes.size
            for at, share in ((corner, t * (1 - w)), (corner + 1, t * w)):
                total += rows.take(at, axis=0) * share[:, None]
        result[part] = total * factor[part, None]
    return result


LOOKUP_BLOCK = 8192
"""Voxels per block of the table look-up: the gathered rows stay in cache."""


def _bracket(nodes: Array, values: Array) -> tuple[Array, Array]:
    """Index of the node below each value and the fraction of the way to the next."""
    k = np.clip(np.searchsorted(nodes, values, side="right") - 1, 0, len(nodes) - 2)
    return k, (values - nodes[k]) / (nodes[k + 1] - nodes[k])


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
    table_v, table_u : (Nv, Jv, C), (Nu, Ju, C)
        Spline coefficients of each beamlet row and column.
    field : (Jv, Ju)
        Fluence.

    Returns
    -------
    (Nv, Nu, C)
    """
    maps = table_v.transpose(2, 0, 1) @ (field @ table_u.transpose(2, 1, 0))
    return np.ascontiguousarray(maps.transpose(1, 2, 0))


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
    """Transpose of `gather`: voxel values spread onto maps (Nv, Nu, C)."""
    taps = tap_matrix(shape, iv, iu, fv, fu)
    return (taps.T @ (values[:, None] * weights)).reshape(*shape, weights.shape[1])


def blurred_squares(t_mm: Array, centre_mm: Array, width_mm: Array, sigma_mm: Array) -> Array:
    """Fraction of each beamlet's Gaussian-blurred unit square seen at t, along one axis.

    Parameters
    ----------
    t_mm : (n,)
    centre_mm, width_mm : (J,)
    sigma_mm : (C,)
        0 is a point source: a sharp edge.

    Returns
    -------
    (n, J, C) float64
        1/2 [erf((t - low) / (sqrt(2) sigma)) - erf((t - high) / (sqrt(2) sigma))], in 0..1.
    """
    from_low = t_mm[:, None] - (centre_mm - width_mm / 2)
    from_high = t_mm[:, None] - (centre_mm + width_mm / 2)
    result = np.empty((*from_low.shape, sigma_mm.size))
    for c, sigma in enumerate(sigma_mm):
        if sigma > 0:
            scale = 1.0 / (np.sqrt(2.0) * sigma)
            result[..., c] = 0.5 * (erf(from_low * scale) - erf(from_high * scale))
        else:
            result[..., c] = 0.5 * (np.sign(from_low) - np.sign(from_high))
    return result


def direct_dose(
    u_mm: Array,
    v_mm: Array,
    weights: Array,
    field: Array,
    columns: tuple[Array, Array, Array],
    rows: tuple[Array, Array, Array],
) -> Array:
    """Dose of one beam by the direct float64 error-function sum.

    Parameters
    ----------
    u_mm, v_mm : (V,) float64
        Voxels projected onto the isocentre plane.
    weights : (V, C) float64
        Component weights, including inverse square and calibration.
    field : (Jv, Ju) float64
        Fluence.
    columns, rows : (centre_mm (J,), width_mm (J,), sigma_mm (C,))
        Beamlets and blur along u and v.

    Returns
    -------
    (V,) float64
    """
    dose = np.empty(len(u_mm))
    for start in range(0, len(u_mm), DIRECT_BLOCK):
        part = slice(start, start + DIRECT_BLOCK)
        across = blurred_squares(u_mm[part], *columns)
        along = blurred_squares(v_mm[part], *rows)
        # sum_c a_c (E_v F E_u): contract the rows first, they are the shorter product.
        partly = np.einsum("njc,jk->nkc", along, field, optimize=True)
        dose[part] = np.einsum("nkc,nkc,nc->n", partly, across, weights[part])
    return dose


DIRECT_BLOCK = 4000
"""Voxels whose error functions are in memory at once."""

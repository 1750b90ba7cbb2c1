"""What a ray meets on its way to a voxel, and what that makes of the kernel there."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

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
    average : (q, n) float64
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
    average = np.divide(average, 1.0 - faded, out=np.ones_like(average), where=faded < 1.0)
    return depth, np.ascontiguousarray(average.T)


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
    scale_nodes: Array,
    primary: Array,
    scatter: Array,
    depth_mm: Array,
    scales: Array,
    magnification: Array,
    gy: float,
    real: npt.DTypeLike,
) -> Array:
    """Weights of the Gaussians from the tables: linear in depth and in log s, primary and scatter added.

    Parameters
    ----------
    depth_nodes_mm, scale_nodes : (Nd,), (Ns,) float64
    primary, scatter : (Nd, Ns, C) float64
    depth_mm : (n,) float64
        Inside the nodes.
    scales : (2, n) float64
        Of primary and scatter; one below the first node is held there, none lies above the last.
    magnification : (n,) float64
    gy : float
        Multiplies the weights, over the magnification squared.
    real : float32 or float64

    Returns
    -------
    (n, C) of that type
    """
    # Logarithms can round past the last node by a bit; the look-up then extrapolates by as much.
    log_nodes, log_scale, factor = looked_up(scale_nodes, scales, magnification, gy, real)
    result = np.empty((depth_mm.size, primary.shape[2]), real)
    for start in range(0, depth_mm.size, LOOKUP_BLOCK):
        part = slice(start, start + LOOKUP_BLOCK)
        k, t = _bracket(depth_nodes_mm, depth_mm[part])
        total = np.zeros((k.size, primary.shape[2]))
        for table, log_s in zip((primary, scatter), log_scale, strict=True):
            j, w = _bracket(log_nodes, log_s[part])
            rows = table.reshape(-1, table.shape[2])
            corner = k * log_nodes.size + j
            for at, share in ((corner, (1 - t) * (1 - w)), (corner + 1, (1 - t) * w)):
                total += rows.take(at, axis=0) * share[:, None]
            corner = corner + log_nodes.size
            for at, share in ((corner, t * (1 - w)), (corner + 1, t * w)):
                total += rows.take(at, axis=0) * share[:, None]
        result[part] = total * factor[part, None]
    return result


def looked_up(
    scale_nodes: Array, scales: Array, magnification: Array, gy: float, real: npt.DTypeLike
) -> tuple[Array, Array, Array]:
    """Logarithms of nodes and scales, and what multiplies the weights of each voxel."""
    log_scale = np.log(np.maximum(scales, scale_nodes[0]))
    return np.log(scale_nodes), log_scale, (gy / magnification**2).astype(real)


LOOKUP_BLOCK = 8192
"""Voxels per block of the table look-up: the gathered rows stay in cache."""


def _bracket(nodes: Array, values: Array) -> tuple[Array, Array]:
    """Index of the node below each value and the fraction of the way to the next."""
    k = np.clip(np.searchsorted(nodes, values, side="right") - 1, 0, len(nodes) - 2)
    return k, (values - nodes[k]) / (nodes[k + 1] - nodes[k])

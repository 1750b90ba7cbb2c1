"""Dose of every pair of voxel and beamlet: rows, the stored matrix, and the direct sum that all else is judged by."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt
from scipy.special import erf

from .numpy_maps import spline_taps

Array = npt.NDArray[Any]


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
    (n, C, J) float64
        1/2 [erf((t - low) / (sqrt(2) sigma)) - erf((t - high) / (sqrt(2) sigma))], in 0..1.
    """
    # Beamlets that touch share an edge, whose error function is taken once.
    edges_mm, place = np.unique([centre_mm - width_mm / 2, centre_mm + width_mm / 2], return_inverse=True)
    low, high = place.reshape(2, -1)
    from_edge = t_mm[:, None] - edges_mm
    result = np.empty((len(t_mm), sigma_mm.size, len(centre_mm)))
    for c, sigma in enumerate(sigma_mm):
        step = erf(from_edge * (1.0 / (np.sqrt(2.0) * sigma))) if sigma > 0 else np.sign(from_edge)
        np.subtract(step[:, low], step[:, high], out=result[:, c])
    result *= 0.5
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
        partly = along @ field
        dose[part] = np.einsum("nck,nck,nc->n", partly, across, weights[part])
    return dose


DIRECT_BLOCK = 4000
"""Voxels whose error functions are in memory at once."""


def spline_rows(
    table_v: Array,
    table_u: Array,
    iv: Array,
    iu: Array,
    fv: Array,
    fu: Array,
    weights: Array,
    row: Array,
    column: Array,
    output: Array,
    result: Array,
) -> None:
    """Dose of some voxels from every beamlet of one beam, read from the spline tables.

    Parameters
    ----------
    table_v, table_u : (Nv, C, Jv), (Nu, C, Ju)
        Spline coefficients of each beamlet row and column.
    iv, iu : (n,) int32
        Nearest node.
    fv, fu : (n,)
        Offset from it in node steps.
    weights : (n, C)
        Component weights, including inverse square and calibration.
    row, column : (b,) int
        Place of each beamlet on the lattice.
    output : (b,)
        Off-axis ratio of each.
    result : (n, b)
        Written.
    """
    for start in range(0, len(iv), ROWS_BLOCK):
        part = slice(start, start + ROWS_BLOCK)
        along, across = _read(table_v, iv[part], fv[part]), _read(table_u, iu[part], fu[part])
        result[part] = _products(along, across, weights[part], row, column, output)


def direct_rows(
    u_mm: Array,
    v_mm: Array,
    weights: Array,
    columns: tuple[Array, Array, Array],
    rows: tuple[Array, Array, Array],
    row: Array,
    column: Array,
    output: Array,
    result: Array,
) -> None:
    """The same by the direct float64 error-function sum; arguments as those of `direct_dose` and `spline_rows`."""
    for start in range(0, len(u_mm), ROWS_BLOCK):
        part = slice(start, start + ROWS_BLOCK)
        along, across = blurred_squares(v_mm[part], *rows), blurred_squares(u_mm[part], *columns)
        result[part] = _products(along, across, weights[part], row, column, output)


ROWS_BLOCK = 1000
"""Voxels whose profiles are in memory at once when rows are made."""


def _read(table: Array, node: Array, offset: Array) -> Array:
    """Table values (n, C, J) at the given nodes and offsets."""
    taps = spline_taps(offset)
    return sum(taps[k][:, None, None] * table[node + k - 1] for k in range(3))


def _products(along: Array, across: Array, weights: Array, row: Array, column: Array, output: Array) -> Array:
    """sum_c a_c E_v E_u on the lattice, for the beamlets that lie on it."""
    lattice = (along * weights[:, :, None]).transpose(0, 2, 1) @ across
    result: Array = lattice[:, row, column] * output
    return result


def count_kept(
    values: Array,
    position: tuple[Array, Array],
    centre: tuple[Array, Array],
    first: Array,
    cutoff_mm: float,
    least: Array,
) -> Array:
    """How many entries of each row the stored matrix keeps: those within the cut-off and above the least.

    Parameters
    ----------
    values : (n, B)
        Rows of all beams.
    position : (n, beams), (n, beams)
        u and v of each voxel in the isocentre plane of each beam, mm.
    centre : (B,), (B,)
        u and v of each beamlet, mm.
    first : (beams + 1,) int
        Where the beamlets of each beam begin, and where those of the last end; others are not looked at.
    cutoff_mm : float
        Largest distance between them in the isocentre plane.
    least : (B,)
        Entries of a beamlet must exceed this.

    Returns
    -------
    (n,) int64
    """
    return _kept(values, position, centre, first, cutoff_mm, least).sum(axis=1)


def fill_kept(
    values: Array,
    position: tuple[Array, Array],
    centre: tuple[Array, Array],
    first: Array,
    cutoff_mm: float,
    least: Array,
    start: Array,
    data: Array,
    indices: Array,
) -> None:
    """Write the entries that `count_kept` counted, and their columns, from `start` (n,) of each row on."""
    kept = _kept(values, position, centre, first, cutoff_mm, least)
    for n in range(len(values)):
        found = first[0] + np.flatnonzero(kept[n])
        data[start[n] : start[n] + found.size] = values[n, found]
        indices[start[n] : start[n] + found.size] = found


def fill_near(
    rows: tuple[Array, ...],
    values: Array,
    position: tuple[Array, Array],
    centre: tuple[Array, Array],
    first: Array,
    cutoff_mm: float,
    count: Array,
    start: Array,
    data: Array,
    indices: Array,
) -> None:
    """Write the entries of one beam within the cut-off: `spline_rows`, and of them those that `fill_kept` keeps.

    Parameters
    ----------
    rows : tuple of ten arrays
        What `spline_rows` is given, but for its result.
    values : (n, B)
        Room for the rows of some voxels, if rows are made first.
    count : (n,)
        What `count_kept` counted for these rows: room for no more.
    position, centre, first, cutoff_mm, start, data, indices
        As those of `fill_kept`, of one beam.
    """
    least = np.full(values.shape[1], -np.inf)
    rows_then_kept(
        spline_rows, fill_kept, least, rows, values, position, centre, first, cutoff_mm, start, data, indices
    )


def rows_then_kept(
    make: Callable[..., None],
    keep: Callable[..., None],
    least: Array,
    rows: tuple[Array, ...],
    values: Array,
    position: tuple[Array, Array],
    centre: tuple[Array, Array],
    first: Array,
    cutoff_mm: float,
    start: Array,
    data: Array,
    indices: Array,
) -> None:
    """`fill_near` by two kernels, `make` and `keep`, a block of voxels after the other."""
    tables, of_voxels, of_beamlets = rows[:2], rows[2:7], rows[7:]
    for begin in range(0, len(start), len(values)):
        part = slice(begin, begin + len(values))
        made = values[: len(start[part])]
        make(*tables, *(a[part] for a in of_voxels), *of_beamlets, made[:, first[0] : first[1]])
        keep(made, tuple(p[part] for p in position), centre, first, cutoff_mm, least, start[part], data, indices)


def largest_near(
    values: Array,
    position: tuple[Array, Array],
    centre: tuple[Array, Array],
    first: Array,
    cutoff_mm: float,
    largest: Array,
) -> None:
    """Raise `largest` (B,) to the largest entry of each beamlet within the cut-off."""
    kept = _kept(values, position, centre, first, cutoff_mm, largest)
    own = slice(first[0], first[-1])
    largest[own] = np.maximum(largest[own], np.where(kept, values[:, own], 0.0).max(axis=0, initial=0.0))


def _kept(
    values: Array,
    position: tuple[Array, Array],
    centre: tuple[Array, Array],
    first: Array,
    cutoff_mm: float,
    least: Array,
) -> Array:
    beam, own = np.repeat(np.arange(len(first) - 1), np.diff(first)), slice(first[0], first[-1])
    across, along = (p[:, beam] - c[own] for p, c in zip(position, centre, strict=True))
    kept: Array = (across * across + along * along <= cutoff_mm * cutoff_mm) & (values[:, own] > least[own])
    return kept

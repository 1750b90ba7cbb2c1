"""Compiled twins of `numpy_pairs`, which documents them: rows from the spline tables."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
from numba import njit, prange

from .numba_profiles import BLOCK, buffers, cells, flat, products, read, read_weighted, with_spare_node

Array = npt.NDArray[Any]


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
    tables = with_spare_node(table_v, iv), with_spare_node(table_u, iu)
    size = np.uint64(table_v.shape[2]), np.uint64(table_u.shape[2])
    whole = (*(flat(each) for each in (*tables, weights)), size)
    _spline_rows(*whole, np.uint64(weights.shape[1]), iv, iu, fv, fu, row, column, output, result)


# Flat arrays: to make a view of one for a voxel counts one more user of its memory, by an atomic instruction.
@njit(parallel=True, cache=True)
def _spline_rows(
    table_v: Array,
    table_u: Array,
    weights: Array,
    size: tuple[int, int],
    components: int,
    iv: Array,
    iu: Array,
    fv: Array,
    fu: Array,
    row: Array,
    column: Array,
    output: Array,
    result: Array,
) -> None:
    plane_v, plane_u = components * size[0], components * size[1]
    for block in prange((len(iv) + BLOCK - 1) // BLOCK):
        across, along, lattice, wide = buffers(components, size[0], size[1], weights)
        cell = cells(row, column, wide)
        for n in range(block * BLOCK, min((block + 1) * BLOCK, len(iv))):
            read(table_u, plane_u, iu[n], fu[n], across)
            read_weighted(table_v, plane_v, iv[n], fv[n], weights, n, components, along)
            products(along, across, size, components, wide, lattice)
            for b in range(len(cell)):
                result[n, b] = lattice[cell[b]] * output[b]

"""Compiled twins of `numpy_pairs`, which documents them: rows from the spline tables."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
from numba import njit, prange

from .numba_profiles import BLOCK, buffers, cells, products, read, with_spare_node

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
    _spline_rows(*tables, iv, iu, fv, fu, weights, row, column, output, result)


@njit(parallel=True, cache=True)
def _spline_rows(
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
    lines, columns = table_v.shape[2], table_u.shape[2]
    size = np.uint64(lines), np.uint64(columns)
    for block in prange((len(iv) + BLOCK - 1) // BLOCK):
        across, along, lattice = buffers(weights.shape[1], lines, columns, weights)
        flat, cell = lattice.reshape(lattice.size), cells(row, column, lattice)
        for n in range(block * BLOCK, min((block + 1) * BLOCK, len(iv))):
            read(table_u, iu[n], fu[n], across)
            read(table_v, iv[n], fv[n], along)
            products(weights[n], along, across, size, lattice)
            for b in range(len(cell)):
                result[n, b] = flat[cell[b]] * output[b]

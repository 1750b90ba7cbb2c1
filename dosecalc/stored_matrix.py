"""The dose-influence matrix for those who need it stored: counted, allocated once, filled."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import numpy.typing as npt
from scipy import sparse

from .backend import Backend
from .beams import Beamlets
from .errors import UsageError

log = logging.getLogger(__name__)
Array = npt.NDArray[Any]
Rows = Callable[[slice, Array], None]
Place = Callable[[slice], tuple[Array, Array]]

def stored_matrix(
    rows: Rows,
    place: Place,
    voxels: int,
    beamlets: Beamlets,
    backend: Backend,
    dtype: npt.DTypeLike,
    *,
    cutoff_mm: float = np.inf,
    threshold: float = 0.0,
) -> sparse.csr_array:
    """Store the rows of an operator, truncated on request.

    Without a threshold every pair within the cut-off is stored, so that without either the matrix is the operator.

    Parameters
    ----------
    rows : callable
        Writes the rows of a slice of voxels into an array (n, B).
    place : callable
        u and v of a slice of voxels in the isocentre plane of every beam, (n, beams) each, mm.
    voxels : int
        How many rows there are.
    beamlets : Beamlets
    backend : Backend
    dtype : float32 or float64
        In which rows are computed.
    cutoff_mm : float
        Pairs whose distance from the beamlet's centre in the isocentre plane exceeds this are dropped.
    threshold : float
        Entries at or below this fraction of their beamlet's largest kept entry are dropped.

    Returns
    -------
    (V, B) scipy.sparse.csr_array, float32
        int32 columns. Row pointers are counted in int64; SciPy keeps columns and pointers in one type, int32 up to
        2^31 entries and int64 beyond.

    Raises
    ------
    UsageError
        A cut-off that is not positive, a threshold outside 0..1.
    """
    if not cutoff_mm > 0 or not 0 <= threshold < 1:
        raise UsageError(f"cutoff_mm must be > 0 and threshold in 0..1, got {cutoff_mm} and {threshold}.")
    kernels = backend.kernels
    first = np.array([beamlets.of_beam(b).start for b in range(len(beamlets.beams))] + [beamlets.count])
    kept = (kernels.to_device(beamlets.u_mm), kernels.to_device(beamlets.v_mm)), first, float(cutoff_mm)
    at_once = max(1, min(voxels, backend.block_pairs // max(1, beamlets.count)))
    buffer = kernels.zeros((at_once, beamlets.count), dtype)
    least = kernels.to_device(np.full(beamlets.count, -np.inf))
    if threshold > 0:
        largest = kernels.zeros(beamlets.count, np.float64)
        for part in _blocks(voxels, at_once):
            kernels.largest_near(_filled(rows, part, buffer), place(part), *kept, largest)
        least = threshold * largest
    starts = np.zeros(voxels + 1, np.int64)
    for part in _blocks(voxels, at_once):
        # What lies within the cut-off can be counted without its dose: zeros do.
        values = _filled(rows, part, buffer) if threshold > 0 else buffer[: part.stop - part.start]
        counts = kernels.count_kept(values, place(part), *kept, least)
        starts[1 + part.start : 1 + part.stop] = kernels.to_host(counts)
    np.cumsum(starts, out=starts)
    data, indices = np.empty(starts[-1], np.float32), np.empty(starts[-1], np.int32)
    for part in _blocks(voxels, at_once):
        values = _filled(rows, part, buffer)
        stored = slice(starts[part.start], starts[part.stop])
        made = kernels.room_for(data[stored]), kernels.room_for(indices[stored])
        kernels.fill_kept(values, place(part), *kept, least, starts[part] - stored.start, *made)
        data[stored], indices[stored] = (kernels.to_host(each) for each in made)
    pointers = starts if starts[-1] > np.iinfo(np.int32).max else starts.astype(np.int32)
    return sparse.csr_array((data, indices, pointers), shape=(voxels, beamlets.count))


def log_truncation(matrix: sparse.csr_array, whole_gy: float, cutoff_mm: float, threshold: float) -> None:
    """Say what the cut-off and the threshold cost: the share of the dose of uniform fluence, `whole_gy` summed."""
    stored = float(matrix.data.sum(dtype=np.float64))
    log.info(
        "stored matrix: %d entries; cut-off %g mm and threshold %g drop %.3f %% of the dose of uniform fluence",
        matrix.nnz, cutoff_mm, threshold, 100 * (1 - stored / whole_gy) if whole_gy else 0.0,
    )  # fmt: skip


def _filled(rows: Rows, part: slice, buffer: Array) -> Array:
    values = buffer[: part.stop - part.start]
    rows(part, values)
    return values


def _blocks(count: int, size: int) -> Iterator[slice]:
    return (slice(start, min(start + size, count)) for start in range(0, count, size))

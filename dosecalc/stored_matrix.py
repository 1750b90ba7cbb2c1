"""The dose-influence matrix for those who need it stored: counted, allocated once, filled."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
from scipy import sparse

from .backend import Backend
from .beams import Beamlets
from .errors import UsageError

log = logging.getLogger(__name__)
Array = npt.NDArray[Any]
Rows = Callable[[int, Any, Array], None]
Place = Callable[[int], tuple[Array, Array]]
Tables = Callable[[int, Any], tuple[Array, ...]]


def stored_matrix(
    place: Place,
    voxels: int,
    beamlets: Beamlets,
    backend: Backend,
    dtype: npt.DTypeLike,
    *,
    rows: Rows | None = None,
    tables: Tables | None = None,
    cutoff_mm: float = np.inf,
    threshold: float = 0.0,
) -> sparse.csr_array:
    """Store the rows of an operator, truncated on request.

    Without a threshold every pair within the cut-off is stored, so that without either the matrix is the operator.

    Parameters
    ----------
    place : callable
        u and v of every voxel in the isocentre plane of one beam, (V,) each, mm.
    voxels : int
        How many rows there are.
    beamlets : Beamlets
    backend : Backend
    dtype : float32 or float64
        In which rows are computed.
    rows : callable, optional
        Writes the rows of some voxels (positions) for the beamlets of one beam into an array; needed with a threshold
        or without tables.
    tables : callable, optional
        What the kernel `spline_rows` needs for some voxels and one beam, but for its result, asked for once per beam;
        without a threshold, entries are then written straight into the matrix.
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
    check_truncation(cutoff_mm, threshold)
    kernels, at_once = backend.kernels, max(1, min(voxels, backend.block_pairs // max(1, beamlets.count)))
    work = _Work(place, rows, beamlets, kernels, kernels.zeros((at_once, beamlets.count), dtype), cutoff_mm)
    least = threshold * work.largest() if threshold > 0 else kernels.to_device(np.full(beamlets.count, -np.inf))
    near = [work.counted(b, least, by_value=threshold > 0) for b in range(len(beamlets.beams))]
    starts = np.zeros(voxels + 1, np.int64)
    for each in near:
        starts[1 + each.voxels] += each.count
    np.cumsum(starts, out=starts)
    data, indices = (kernels.room_for(np.empty(starts[-1], kind)) for kind in (np.float32, np.int32))
    at = starts[:-1].copy()
    for b, each in enumerate(near):
        work.fill(b, each, tables if threshold == 0 else None, least, at[each.voxels], data, indices)
        at[each.voxels] += each.count
    pointers = starts if starts[-1] > np.iinfo(np.int32).max else starts.astype(np.int32)
    filled = kernels.to_host(data), kernels.to_host(indices), pointers
    return sparse.csr_array(filled, shape=(voxels, beamlets.count))


def check_truncation(cutoff_mm: float, threshold: float) -> None:
    """Refuse a cut-off that is not positive and a threshold outside 0..1."""
    if not cutoff_mm > 0 or not 0 <= threshold < 1:
        raise UsageError(f"cutoff_mm must be > 0 and threshold in 0..1, got {cutoff_mm} and {threshold}.")


@dataclass(frozen=True, slots=True, eq=False)
class _Near:
    """Voxels with entries of a beam's beamlets: which, where (n, 1) in its isocentre plane, entries kept of each."""

    voxels: Array
    position: tuple[Array, Array]
    count: Array


@dataclass(frozen=True, slots=True, eq=False)
class _Work:
    """What the passes over the operator's rows share; one beam at a time, voxels far from all its beamlets left out."""

    place: Place
    rows: Rows | None
    beamlets: Beamlets
    kernels: Any
    buffer: Array
    cutoff_mm: float

    def kept(self, b: int) -> tuple[tuple[Array, Array], Array, float]:
        """Arguments of the kernels for one beam: centres, range of beamlets, cut-off."""
        own = self.beamlets.of_beam(b)
        return (self.beamlets.u_mm, self.beamlets.v_mm), np.array([own.start, own.stop]), float(self.cutoff_mm)

    def near(self, b: int) -> tuple[Array, tuple[Array, Array]]:
        """Voxels within the cut-off of the box around a beam's beamlets, and the place (n, 1) of each."""
        own, inside, placed = self.beamlets.of_beam(b), True, self.place(b)
        for t, centre in zip(placed, (self.beamlets.u_mm[own], self.beamlets.v_mm[own]), strict=True):
            inside = inside & (t >= centre.min() - self.cutoff_mm) & (t <= centre.max() + self.cutoff_mm)
        found = np.flatnonzero(inside)
        return found, (placed[0][found, None], placed[1][found, None])

    def blocks(self, b: int, found: Array) -> Iterator[tuple[slice, Array]]:
        """Blocks of the voxels near a beam with their rows: all beams wide, this one's filled."""
        own = self.beamlets.of_beam(b)
        if self.rows is None:
            raise UsageError("a stored matrix is made of rows here, and none are given.")
        for part in _blocks(found.size, len(self.buffer)):
            values = self.buffer[: part.stop - part.start]
            self.rows(b, found[part], values[:, own])
            yield part, values

    def largest(self) -> Array:
        """(B,) largest entry of each beamlet within the cut-off."""
        largest = self.kernels.zeros(self.beamlets.count, np.float64)
        for b in range(len(self.beamlets.beams)):
            found, (u, v) = self.near(b)
            for part, values in self.blocks(b, found):
                self.kernels.largest_near(values, (u[part], v[part]), *self.kept(b), largest)
        return largest

    def counted(self, b: int, least: Array, *, by_value: bool) -> _Near:
        """Voxels that keep entries of a beam, and how many; what the cut-off alone decides needs no dose."""
        (found, (u, v)), kernels, counts = self.near(b), self.kernels, np.zeros(0, np.int64)
        if not by_value:
            anything = kernels.repeated_zero((found.size, self.beamlets.count), self.buffer.dtype)
            counts = kernels.to_host(kernels.count_kept(anything, (u, v), *self.kept(b), least))
        for part, values in self.blocks(b, found) if by_value else ():
            more = kernels.to_host(kernels.count_kept(values, (u[part], v[part]), *self.kept(b), least))
            counts = np.concatenate([counts, more])
        kept = np.flatnonzero(counts)
        return _Near(found[kept], (u[kept], v[kept]), counts[kept])

    def fill(
        self, b: int, near: _Near, tables: Tables | None, least: Array, start: Array, data: Array, indices: Array
    ) -> None:
        """Write one beam's entries, from `start` of each voxel near it on: straight from its tables, or by rows."""
        (u, v), kept = near.position, self.kept(b)
        if tables:
            given = tables(b, near.voxels), self.buffer, (u, v), *kept, near.count
            self.kernels.fill_near(*given, start, data, indices)
            return
        for part, values in self.blocks(b, near.voxels):
            self.kernels.fill_kept(values, (u[part], v[part]), *kept, least, start[part], data, indices)


def log_truncation(matrix: sparse.csr_array, total_gy: Callable[[], float], cutoff_mm: float, threshold: float) -> None:
    """Say what the cut-off and the threshold cost: the share of the summed dose of uniform fluence, `total_gy()`.

    Nothing is computed where nobody listens.
    """
    if not log.isEnabledFor(logging.INFO):
        return
    # In float32, but in pairs: rounding stays below the digits that are said.
    stored, whole_gy = float(matrix.data.sum()), total_gy()
    log.info(
        "stored matrix: %d entries; cut-off %g mm and threshold %g drop %.3f %% of the dose of uniform fluence",
        matrix.nnz, cutoff_mm, threshold, 100 * (1 - stored / whole_gy) if whole_gy else 0.0,
    )  # fmt: skip


def _blocks(count: int, size: int) -> Iterator[slice]:
    return (slice(start, min(start + size, count)) for start in range(0, count, size))

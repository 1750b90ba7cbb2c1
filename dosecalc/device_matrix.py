"""The dose-influence matrix on a GPU: counted, allocated once and filled there; voxels are not chosen on the host."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
from scipy import sparse

from .backend import Backend
from .beams import Beamlets, projected
from .errors import ResourceError
from .kernels.cuda_device import FullGpuError
from .stored_matrix import Rows, Tables, check_truncation

Array = Any
ENTRY_BYTES = 8
"""float32 and an int32 column."""
MOST_ENTRIES = np.iinfo(np.int32).max
"""cuSPARSE numbers the entries of the matrices that CuPy gives it in int32."""


@dataclass(frozen=True, slots=True, eq=False)
class DeviceMatrix:
    """How the matrix of an operator is made where its kernels run, for all voxels or part after part.

    Attributes
    ----------
    rows : callable
        Writes the rows of a slice of the voxels for the beamlets of one beam into an array.
    tables : callable or None
        What the kernel `spline_rows` needs for a slice of the voxels and one beam, but for its result.
    points_mm : (V, 3) float64
        Places of the voxels, on the device.
    beamlets : Beamlets
    sad_mm : float
    backend : Backend
    dtype : float32 or float64
        In which rows are computed.
    cutoff_mm, threshold : float
        As in `dosecalc.stored_matrix.stored_matrix`.
    """

    rows: Rows
    tables: Tables | None
    points_mm: Array
    beamlets: Beamlets
    sad_mm: float
    backend: Backend
    dtype: npt.DTypeLike
    cutoff_mm: float
    threshold: float

    def __post_init__(self) -> None:
        check_truncation(self.cutoff_mm, self.threshold)

    @property
    def shape(self) -> tuple[int, int]:
        """(V, B)."""
        return len(self.points_mm), self.beamlets.count

    def on_device(self) -> tuple[Array, Array, Array]:
        """Data (float32), columns and row pointers (int32), all on the device; one number came to the host.

        Raises
        ------
        ResourceError
            The matrix is larger than the memory, or has more entries than CuPy's matrices may have.
        """
        kernels, least = self.backend.kernels, self._least()
        counts = self._counts(least)
        pointers = self._pointers(counts)
        total = int(kernels.to_host(pointers[-1:])[0])
        if total > MOST_ENTRIES:
            raise ResourceError(
                f"the stored matrix has {total} entries; on a GPU it may have {MOST_ENTRIES}.",
                remedy="A smaller cutoff_mm or a larger threshold stores fewer; tocsr() on the host stores more.",
            )
        try:
            data, indices = self._fill(slice(0, self.shape[0]), counts, pointers, least, total)
        except FullGpuError as error:
            raise ResourceError(
                f"the GPU has no room for a stored matrix of {ENTRY_BYTES * total / 2**30:.3g} GiB ({error.message})",
                remedy="A smaller cutoff_mm or a larger threshold stores less; tocsr() brings it to the host in parts.",
            ) from error
        return data, indices, pointers.astype(np.int32)

    def on_host(self) -> sparse.csr_array:
        """The same as a SciPy matrix: parts that fit the device come to the host one after the other."""
        kernels, least, (voxels, beamlets) = self.backend.kernels, self._least(), self.shape
        counts = self._counts(least)
        pointers = self._pointers(counts)
        starts = kernels.to_host(pointers)
        data, indices = (np.empty(starts[-1], kind) for kind in (np.float32, np.int32))

        def fetch(part: slice) -> None:
            begin, end = int(starts[part.start]), int(starts[part.stop])
            made = self._fill(part, counts, pointers, least, end - begin)
            for whole, each in zip((data, indices), made, strict=True):
                whole[begin:end] = kernels.to_host(each)

        kernels.in_parts("the stored matrix", voxels, max(1, voxels), fetch, bytes_each=ENTRY_BYTES * beamlets)
        if starts[-1] <= np.iinfo(np.int32).max:
            starts = starts.astype(np.int32)
        return sparse.csr_array((data, indices, starts), shape=self.shape)

    def _places(self, part: slice, beams: Sequence[int]) -> list[tuple[Array, Array]]:
        """u and v (n, 1) of some voxels in the isocentre planes of some beams, on the device."""
        some = (self.beamlets.beams[b] for b in beams)
        placed = projected(some, self.points_mm[part], self.sad_mm, self.backend.kernels)
        return [(u[:, None], v[:, None]) for u, v, _ in placed]

    def _kept(self, b: int) -> tuple[tuple[Array, Array], Array, float]:
        """Arguments of the kernels for one beam: centres, range of beamlets, cut-off."""
        own = self.beamlets.of_beam(b)
        return (self.beamlets.u_mm, self.beamlets.v_mm), np.array([own.start, own.stop]), float(self.cutoff_mm)

    def _least(self) -> Array:
        """(B,) what entries must exceed."""
        kernels, beamlets = self.backend.kernels, self.beamlets.count
        if not self.threshold:
            return kernels.to_device(np.full(beamlets, -np.inf))
        largest = kernels.zeros(beamlets, np.float64)

        def look(b: int, part: slice, values: Array) -> None:
            (place,) = self._places(part, [b])
            kernels.largest_near(values, place, *self._kept(b), largest)

        self._rows_in_parts(slice(0, self.shape[0]), look)
        return self.threshold * largest

    def _counts(self, least: Array) -> list[Array]:
        """Entries kept of each voxel, (V,) int64 per beam; what the cut-off alone decides needs no dose."""
        kernels, whole, beams = self.backend.kernels, slice(0, self.shape[0]), range(len(self.beamlets.beams))
        if not self.threshold:
            zero, places = kernels.repeated_zero(self.shape, self.dtype), self._places(whole, beams)
            calls = ((zero, place, *self._kept(b), least) for b, place in zip(beams, places, strict=True))
            made: list[Array] = kernels.each(kernels.count_kept, calls)
            return made
        counts = [kernels.zeros(self.shape[0], np.int64) for _ in beams]

        def count(b: int, part: slice, values: Array) -> None:
            (place,) = self._places(part, [b])
            counts[b][part] = kernels.count_kept(values, place, *self._kept(b), least)

        self._rows_in_parts(whole, count)
        return counts

    def _pointers(self, counts: list[Array]) -> Array:
        """(V + 1,) int64 where the entries of each voxel begin."""
        pointers, total = self.backend.kernels.zeros(self.shape[0] + 1, np.int64), 0
        for each in counts:
            total = total + each
        pointers[1:] = self.backend.kernels.device.xp.cumsum(total)
        return pointers

    def _fill(self, part: slice, counts: list[Array], pointers: Array, least: Array, total: int) -> tuple[Array, Array]:
        """Data and columns of a part of the voxels."""
        kernels = self.backend.kernels
        data, indices = kernels.empty(total, np.float32), kernels.empty(total, np.int32)
        starts = self._starts(part, counts, pointers)

        def write(b: int, inner: slice, values: Array) -> None:
            start = starts[b][inner.start - part.start : inner.stop - part.start]
            (place,) = self._places(inner, [b])
            kernels.fill_kept(values, place, *self._kept(b), least, start, data, indices)

        if self.threshold or self.tables is None:
            self._rows_in_parts(part, write)
            return data, indices
        wrong, tables = kernels.zeros(1, np.int32), self.tables
        rows = zip(self._places(part, range(len(starts))), counts, starts, strict=True)
        calls = (
            (tables(b, part), None, place, *self._kept(b), count[part], start, data, indices, wrong)
            for b, (place, count, start) in enumerate(rows)
        )
        kernels.each(kernels.begin_near, calls)
        kernels.refuse_miscounted(wrong, self.cutoff_mm)
        return data, indices

    def _starts(self, part: slice, counts: list[Array], pointers: Array) -> list[Array]:
        """Where the entries of each voxel of a part begin, one array per beam."""
        at, starts = pointers[part] - pointers[part.start], []
        for each in counts:
            starts.append(at)
            at = at + each[part]
        return starts

    def _rows_in_parts(self, part: slice, use: Any) -> None:
        """Call ``use(beam, voxels, rows)`` for blocks of a part; rows are all beams wide, that beam's filled."""
        kernels, beamlets = self.backend.kernels, self.beamlets.count

        def run(b: int, inner: slice) -> None:
            block = slice(part.start + inner.start, part.start + inner.stop)
            values = kernels.empty((block.stop - block.start, beamlets), self.dtype)
            self.rows(b, block, values[:, self.beamlets.of_beam(b)])
            use(b, block, values)

        most = max(1, self.backend.block_pairs // max(1, beamlets))
        width = np.dtype(self.dtype).itemsize * beamlets
        for b in range(len(self.beamlets.beams)):
            whole = part.stop - part.start
            kernels.in_parts("rows of the stored matrix", whole, most, lambda p, b=b: run(b, p), bytes_each=width)

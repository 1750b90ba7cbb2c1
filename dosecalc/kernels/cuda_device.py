"""What the CUDA kernels ask of a device, and the sizes of their launches."""

from __future__ import annotations

import logging
import weakref
from collections.abc import Callable
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

from ..errors import ResourceError

log = logging.getLogger(__name__)
Array = Any

LANES = 4
"""As LINES_PER_THREAD in common.cuh: profiles are padded to whole multiples."""


class Device(Protocol):
    """Where the kernels run: CuPy on a GPU, or what the tests put in its place.

    Attributes
    ----------
    xp : module
        NumPy's functions for arrays on the device.
    most_shared : int
        Bytes of shared memory that a block may ask for.
    """

    xp: Any
    most_shared: int

    def launch(
        self,
        kernel: str,
        real: npt.DTypeLike,
        components: int,
        blocks: tuple[int, int, int],
        threads: tuple[int, ...],
        calls: npt.NDArray[np.void],
        shared: int,
    ) -> None:
        """Run a kernel of the module that was compiled for a real type and a number of components.

        `calls` has one entry: `Calls` of common.cuh, given by value.
        """

    def address(self, array: Array) -> int:
        """Where an array begins."""

    def to_host(self, array: Array) -> npt.NDArray[Any]:
        """A NumPy array of the same numbers."""

    def free_bytes(self) -> int:
        """Memory that can still be asked for."""

    def release(self) -> None:
        """Give back memory that was asked for and is not used now."""


class Derived:
    """What follows from arrays that nobody changes: made once, and kept as long as the first of them lives."""

    def __init__(self) -> None:
        self._made: dict[tuple[int, ...], tuple[tuple[weakref.ref[Any], ...], Any]] = {}

    def __len__(self) -> int:
        return len(self._made)

    def clear(self) -> None:
        """Forget all; it is made again when asked for."""
        self._made.clear()

    def get(self, arrays: tuple[Array, ...], sizes: tuple[int, ...], make: Callable[[], Any]) -> Any:
        """What `make` gave for these very arrays and sizes, now or before."""
        key = (*map(id, arrays), *sizes)
        held = self._made.get(key)
        if held is None or any(ref() is not array for ref, array in zip(held[0], arrays, strict=True)):
            drop = weakref.ref(arrays[0], lambda _: self._made.pop(key, None))
            held = self._made[key] = (drop, *map(weakref.ref, arrays[1:])), make()
        return held[1]


class FullGpuError(ResourceError):
    """The GPU has no room for an array."""


class Memory:
    """Memory of a device: asked for once more when what can be made again is given up, and used in parts that fit.

    Attributes
    ----------
    notices : list of str
        What was done in smaller parts than planned, for the run record.
    """

    def __init__(self, device: Device, derived: Derived) -> None:
        self._device, self._derived = device, derived
        self.notices: list[str] = []

    def ask(self, make: Callable[[], Array]) -> Array:
        """What `make` gives.

        Raises
        ------
        FullGpuError
            There is no room for it. CuPy says how many bytes it was asked for.
        """
        try:
            return make()
        except MemoryError:
            self._give_up()
        try:
            return make()
        except MemoryError as error:
            raise FullGpuError(
                f"the GPU's memory is full: {error}",
                remedy="Use a coarser dose grid, fewer voxels or beamlets, another GPU, or --backend numba.",
            ) from error

    def in_parts(self, what: str, count: int, most: int, run: Callable[[slice], None], *, bytes_each: int = 0) -> None:
        """Call ``run(part)`` for 0..count in parts of at most `most`, of half as many whenever memory runs out.

        Parameters
        ----------
        what : str
            Is done, in words.
        run : callable
            May be called again for the beginning of a part that did not fit.
        bytes_each : int
            If known, that one of the count takes; parts then begin with what half of the free memory holds.

        Raises
        ------
        FullGpuError
            There is no room for a single one.
        """
        size = max(1, min(most, count, self._device.free_bytes() // 2 // bytes_each if bytes_each else count))
        begin = 0
        while begin < count:
            part = slice(begin, min(begin + size, count))
            try:
                run(part)
                begin = part.stop
                continue
            except (MemoryError, FullGpuError) as error:
                if part.stop - begin == 1:
                    raise _too_small(what, error, self._device.free_bytes()) from error
            self._give_up()
            size = (part.stop - begin) // 2
            self._tell(f"The GPU's memory was full: {what} went on in parts of {size}.")

    def _give_up(self) -> None:
        self._derived.clear()
        self._device.release()

    def _tell(self, notice: str) -> None:
        log.warning("%s", notice)
        self.notices.append(notice)


def _too_small(what: str, error: Exception, free: int) -> FullGpuError:
    return FullGpuError(
        f"the GPU has no room for {what}, not even in parts of one: {free / 2**20:.0f} MiB are free ({error}).",
        remedy="Free the GPU from other programs, use another one, or --backend numba.",
    )


def blocks_of(count: int, size: int) -> int:
    """Blocks of a size that hold so many."""
    return -(-count // size)


def stride_of(rows: Array) -> int:
    """Numbers from one row to the next; rows may be part of longer ones, but their entries lie side by side."""
    if rows.size and rows.strides[1] != rows.itemsize:
        raise ValueError(f"entries of a row must lie side by side, got strides of {rows.strides} bytes.")
    return int(rows.strides[0]) // int(rows.itemsize)


def profile_bytes(components: int, lines: int, columns: int, real: npt.DTypeLike) -> int:
    """Shared memory for the profiles of one voxel across a beam's beamlets, as `padded` in common.cuh."""
    padded = sum(blocks_of(length, LANES) * LANES for length in (lines, columns))
    return components * padded * np.dtype(real).itemsize

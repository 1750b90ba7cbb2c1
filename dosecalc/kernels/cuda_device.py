"""What the CUDA kernels ask of a device, and the sizes of their launches."""

from __future__ import annotations

import weakref
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

from ..errors import ResourceError

Array = Any
Size = int | tuple[int, ...]

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
        blocks: Size,
        threads: Size,
        arguments: Any,
        shared: int,
    ) -> None:
        """Run a kernel of the module that was compiled for a real type and a number of components."""

    def to_host(self, array: Array) -> npt.NDArray[Any]:
        """A NumPy array of the same numbers."""


class Derived:
    """What follows from arrays that nobody changes: made once, and kept as long as the first of them lives."""

    def __init__(self) -> None:
        self._made: dict[tuple[int, ...], tuple[tuple[weakref.ref[Any], ...], Any]] = {}

    def __len__(self) -> int:
        return len(self._made)

    def get(self, arrays: tuple[Array, ...], sizes: tuple[int, ...], make: Callable[[], Any]) -> Any:
        """What `make` gave for these very arrays and sizes, now or before."""
        key = (*map(id, arrays), *sizes)
        held = self._made.get(key)
        if held is None or any(ref() is not array for ref, array in zip(held[0], arrays, strict=True)):
            drop = weakref.ref(arrays[0], lambda _: self._made.pop(key, None))
            held = self._made[key] = (drop, *map(weakref.ref, arrays[1:])), make()
        return held[1]


@contextmanager
def memory_of_the_gpu() -> Iterator[None]:
    """CuPy says how many bytes it was asked for; what to do about it is said here."""
    try:
        yield
    except MemoryError as error:
        raise ResourceError(
            f"the GPU's memory is full: {error}",
            remedy="Use a coarser dose grid, fewer voxels or beamlets, another GPU, or --backend numba.",
        ) from error


def blocks_of(count: int, size: int) -> int:
    """Blocks of a size that hold so many."""
    return -(-count // size)


def stride_of(rows: Array) -> np.int64:
    """Numbers from one row to the next; rows may be part of longer ones, but their entries lie side by side."""
    if rows.size and rows.strides[1] != rows.itemsize:
        raise ValueError(f"entries of a row must lie side by side, got strides of {rows.strides} bytes.")
    return np.int64(rows.strides[0] // rows.itemsize)


def profile_bytes(components: int, lines: int, columns: int, real: npt.DTypeLike) -> int:
    """Shared memory for the profiles of one voxel across a beam's beamlets, as `padded` in common.cuh."""
    padded = sum(blocks_of(length, LANES) * LANES for length in (lines, columns))
    return components * padded * np.dtype(real).itemsize

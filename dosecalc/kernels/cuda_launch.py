"""Arrays on a device and launches of kernels there: what all functions of `cuda_kernels` are made of."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt

from ..errors import ResourceError
from .cuda_device import Derived, Device, Memory, Size, blocks_of

Array = Any

THREADS = 128
"""Of a block, where each thread works on its own."""


@dataclass(frozen=True, slots=True, eq=False)
class Launcher:
    """Arrays of one device, and launches on it."""

    device: Device
    _derived: Derived = field(default_factory=Derived, repr=False)
    _memory: Memory = field(init=False, repr=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "_memory", Memory(self.device, self._derived))

    def array_module(self) -> Any:
        """CuPy, or what stands in its place."""
        return self.device.xp

    def to_device(self, array: Array) -> Array:
        """A copy on the device, of what is not there yet."""
        return self._memory.ask(lambda: self.device.xp.asarray(array))

    def to_host(self, array: Array) -> npt.NDArray[Any]:
        """A copy on the host."""
        return self.device.to_host(array)

    def zeros(self, shape: int | tuple[int, ...], dtype: npt.DTypeLike) -> Array:
        """Zeros on the device."""
        return self._memory.ask(lambda: self.device.xp.zeros(shape, dtype))

    def empty(self, shape: int | tuple[int, ...], dtype: npt.DTypeLike = np.float64) -> Array:
        """Memory on the device that kernels write before anybody reads it."""
        return self._memory.ask(lambda: self.device.xp.empty(shape, dtype))

    def repeated_zero(self, shape: tuple[int, ...], dtype: npt.DTypeLike) -> Array:
        """One zero seen as a whole array."""
        return self.device.xp.broadcast_to(self.zeros(1, dtype), shape)

    def room_for(self, array: npt.NDArray[Any]) -> Array:
        """Memory on the device for what is to stand in a NumPy array."""
        return self.empty(array.shape, array.dtype)

    def in_parts(self, what: str, count: int, most: int, run: Callable[[slice], None], *, bytes_each: int = 0) -> None:
        """See `Memory.in_parts`."""
        self._memory.in_parts(what, count, most, run, bytes_each=bytes_each)

    def take_notices(self) -> tuple[str, ...]:
        """What the run record should say of the GPU's memory; then it is forgotten."""
        told = tuple(self._memory.notices)
        self._memory.notices.clear()
        return told

    def _in(self, array: Array, dtype: npt.DTypeLike = np.float64) -> Array:
        """The array on the device, contiguous: itself if it is so already."""
        xp = self.device.xp
        return self._memory.ask(lambda: xp.ascontiguousarray(xp.asarray(array, dtype)))

    def _kept(self, array: Array, dtype: npt.DTypeLike = np.float64) -> Array:
        """The same, sent once for as long as it lives if it is a table on the host that nobody can change."""
        if type(array) is not np.ndarray or array.flags.writeable:
            return self._in(array, dtype)
        return self._derived.get((array,), (np.dtype(dtype).num,), lambda: self._in(array, dtype))

    def _each(
        self, name: str, count: int, arguments: tuple[Any, ...], real: npt.DTypeLike = np.float64, components: int = 12
    ) -> None:
        """Launch one thread per result."""
        self._launch(name, blocks_of(count, THREADS), THREADS, arguments, real, components)

    def _launch(
        self,
        name: str,
        blocks: Size,
        threads: Size,
        arguments: tuple[Any, ...],
        real: npt.DTypeLike = np.float64,
        components: int = 12,
        shared: int = 0,
    ) -> None:
        """Launch a kernel; nothing to do is no launch."""
        if shared > self.device.most_shared:
            raise ResourceError(
                f"kernel {name} needs {shared / 1024:.0f} KiB of a GPU's shared memory for the rows and columns of a "
                f"beam's beamlets; this one has {self.device.most_shared / 1024:.0f} KiB per block.",
                remedy="Use larger beamlets, or --backend numba.",
            )
        blocks = blocks if isinstance(blocks, tuple) else (blocks,)
        if min(blocks) > 0:
            typed = tuple(
                np.int32(a) if type(a) is int else np.float64(a) if type(a) is float else a for a in arguments
            )
            self.device.launch(name, np.dtype(real), components, blocks, threads, typed, shared)

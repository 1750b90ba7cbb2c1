"""Arrays on a device and launches of kernels there: what all functions of `cuda_kernels` are made of."""

from __future__ import annotations

import struct
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import numpy.typing as npt

from ..errors import ResourceError
from .cuda_device import Derived, Device, Memory, blocks_of

Array = Any

THREADS = 128
"""Of a block, where each thread works on its own."""
CALL_WORDS = 512
"""As in common.cuh: arguments of all calls that one launch takes, 8 bytes each."""
MOST_INT = 2**31 - 1
ALIGNED_BYTES = 16
"""Where arrays that are sent together begin."""


@dataclass(frozen=True, slots=True)
class Waiting:
    """An array on the host that is sent when the launch that needs it begins."""

    array: npt.NDArray[Any]


@dataclass(frozen=True, slots=True)
class Call:
    """One call of a kernel: what it is given, and how many blocks of how many threads it needs.

    Attributes
    ----------
    kernel : str
    real : dtype
    components : int
        What its module is compiled for.
    blocks : (x, y)
    threads : tuple of int
    arguments : tuple
        Arrays on the device or waiting, int and float.
    shared : int
        Bytes of shared memory per block.
    """

    kernel: str
    real: np.dtype[Any]
    components: int
    blocks: tuple[int, int]
    threads: tuple[int, ...]
    arguments: tuple[Any, ...]
    shared: int


@dataclass(frozen=True, slots=True, eq=False)
class Launcher:
    """Arrays of one device, and launches on it."""

    device: Device
    _derived: Derived = field(default_factory=Derived, repr=False)
    _memory: Memory = field(default=None, repr=False)  # type: ignore[assignment]
    _kept_calls: list[Call] | None = field(default=None, repr=False)

    def __post_init__(self) -> None:
        if self._memory is None:
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

    def all_to_host(self, arrays: list[Array]) -> list[npt.NDArray[Any]]:
        """Copies on the host of arrays of one type, which cross together."""
        xp = self.device.xp
        together = self._memory.ask(lambda: xp.concatenate([each.reshape(-1) for each in arrays]))
        ends = np.cumsum([each.size for each in arrays])[:-1]
        parts = zip(np.split(self.to_host(together), ends), arrays, strict=True)
        return [part.reshape(each.shape) for part, each in parts]

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

    def at_once(self, count: int) -> int:
        """How many of `count` beams are worked on together: all, so that a launch serves them all."""
        return count

    def each(self, kernel: Callable[..., Any], calls: Iterable[tuple[Any, ...]]) -> list[Any]:
        """What a kernel gives for each of several arguments, in one launch, or one per step where it has several.

        A call may not need the result of another.
        """
        kept: list[Call] = []
        keeping = replace(self, _kept_calls=kept)
        made = [kernel.__func__(keeping, *call) for call in calls]  # type: ignore[attr-defined]
        self._launch_together(kept)
        return made

    def take_notices(self) -> tuple[str, ...]:
        """What the run record should say of the GPU's memory; then it is forgotten."""
        told = tuple(self._memory.notices)
        self._memory.notices.clear()
        return told

    def _in(self, array: Array, dtype: npt.DTypeLike = np.float64) -> Array | Waiting:
        """The array as an argument: contiguous, itself if it is so already on the device, sent later from the host."""
        if isinstance(array, np.ndarray):
            return Waiting(np.ascontiguousarray(array, dtype))
        # Most are so already, and there are hundreds: looked at first, without a call into CuPy.
        return array if array.dtype == dtype and array.flags.c_contiguous else self._there(array, dtype)

    def _there(self, array: Array, dtype: npt.DTypeLike = np.float64) -> Array:
        """The array on the device, contiguous: itself if it is so already."""
        xp = self.device.xp
        return self._memory.ask(lambda: xp.ascontiguousarray(xp.asarray(array, dtype)))

    def _kept(self, array: Array, dtype: npt.DTypeLike = np.float64) -> Array | Waiting:
        """The same, sent once for as long as it lives if it is a table on the host that nobody can change."""
        if type(array) is not np.ndarray or array.flags.writeable:
            return self._in(array, dtype)
        return self._derived.get((array,), (np.dtype(dtype).num,), lambda: self._there(array, dtype))

    def _per_result(
        self, name: str, count: int, arguments: tuple[Any, ...], real: npt.DTypeLike = np.float64, components: int = 12
    ) -> None:
        """Launch one thread per result."""
        self._launch(name, blocks_of(count, THREADS), THREADS, arguments, real, components)

    def _launch(
        self,
        name: str,
        blocks: int | tuple[int, int],
        threads: int | tuple[int, int],
        arguments: tuple[Any, ...],
        real: npt.DTypeLike = np.float64,
        components: int = 12,
        shared: int = 0,
    ) -> None:
        """Launch a kernel, or keep its call for a launch with others; nothing to do is no launch."""
        if shared > self.device.most_shared:
            raise ResourceError(
                f"kernel {name} needs {shared / 1024:.0f} KiB of a GPU's shared memory for the rows and columns of a "
                f"beam's beamlets; this one has {self.device.most_shared / 1024:.0f} KiB per block.",
                remedy="Use larger beamlets, or --backend numba.",
            )
        blocks = blocks if isinstance(blocks, tuple) else (blocks, 1)
        shape = threads if isinstance(threads, tuple) else (threads,)
        if min(blocks) > 0:
            call = Call(name, np.dtype(real), components, blocks, shape, arguments, shared)
            if self._kept_calls is None:
                self._launch_together([call])
            else:
                self._kept_calls.append(call)

    def _launch_together(self, calls: list[Call]) -> None:
        """One launch for all calls of a kernel, in the order in which the kernels were first called."""
        alike: dict[tuple[Any, ...], list[Call]] = {}
        for call in calls:
            alike.setdefault((call.kernel, call.real, call.components, call.threads), []).append(call)
        place = self._placed(argument for call in calls for argument in call.arguments if type(argument) is Waiting)
        for (kernel, real, components, threads), same in alike.items():
            most = CALL_WORDS // len(same[0].arguments)
            for begin in range(0, len(same), most):
                part = same[begin : begin + most]
                words = packed([argument for call in part for argument in call.arguments], place)
                columns, rows = (max(call.blocks[axis] for call in part) for axis in (0, 1))
                shared = max(call.shared for call in part)
                self.device.launch(kernel, real, components, (columns, rows, len(part)), threads, words, shared)

    def _placed(self, waiting: Iterable[Waiting]) -> Callable[[Any], int]:
        """Where an array is on the device: all that waited has been sent there together."""
        arrays = {id(each.array): each.array for each in waiting}
        # One unit more than they take: what a kernel reads beyond an array is NaN or -1, and shows.
        sizes = [(blocks_of(array.nbytes, ALIGNED_BYTES) + 1) * ALIGNED_BYTES for array in arrays.values()]
        begins = dict(zip(arrays, np.cumsum([0, *sizes]).tolist(), strict=False))
        text = np.full(sum(sizes) // 8, -1, np.int64)
        for key, array in arrays.items():
            text.view(np.uint8)[begins[key] :][: array.nbytes] = array.reshape(-1).view(np.uint8)
        there = self.to_device(text) if arrays else None

        def place(argument: Any) -> int:
            if type(argument) is Waiting:
                return self.device.address(there) + begins[id(argument.array)]
            return self.device.address(argument)

        return place


def packed(arguments: list[Any], place: Callable[[Any], int]) -> npt.NDArray[np.void]:
    """`Calls` of common.cuh: 8 bytes for each int or float, or for the place of each array.

    Raises
    ------
    ResourceError
        A number that kernels have no room for.
    """
    kinds = "".join("d" if type(argument) is float else "q" for argument in arguments)
    words = [a if type(a) is int or type(a) is float else place(a) for a in arguments]
    if (most := max((a for a in arguments if type(a) is int), default=0)) > MOST_INT:
        raise ResourceError(
            f"a kernel was given {most} of something, more than {MOST_INT}.",
            remedy="Use fewer voxels or beamlets, or --backend numba.",
        )
    text = struct.pack(kinds, *words).ljust(8 * CALL_WORDS, b"\0")
    return np.frombuffer(text, np.dtype((np.void, 8 * CALL_WORDS)))

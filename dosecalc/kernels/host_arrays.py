"""Where the arrays of the kernels on a CPU live: in the caller's memory. The CUDA kernels have the same functions."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[Any]


def array_module() -> Any:
    """NumPy, or the module of that kind that makes arrays where the kernels run."""
    return np


def to_device(array: Array) -> Array:
    """The array where kernels can use it again and again: a copy on a GPU, itself on a CPU."""
    return array


def to_host(array: Array) -> Array:
    """What a kernel returned as a NumPy array: a copy from a GPU, itself on a CPU."""
    return array


def all_to_host(arrays: list[Array]) -> list[Array]:
    """The same of several arrays of one type, which cross a bus together."""
    return arrays


def zeros(shape: int | tuple[int, ...], dtype: npt.DTypeLike) -> Array:
    """Zeros where kernels can use them."""
    return np.zeros(shape, dtype)


def repeated_zero(shape: tuple[int, ...], dtype: npt.DTypeLike) -> Array:
    """One zero seen as a whole array, which takes no memory and may not be written."""
    return np.broadcast_to(np.zeros(1, dtype), shape)


def room_for(array: Array) -> Array:
    """Memory in which kernels may write what is to stand in a NumPy array: the array itself on a CPU."""
    return array


def in_parts(what: str, count: int, most: int, run: Callable[[slice], None], *, bytes_each: int = 0) -> None:
    """Call ``run(part)`` for 0..count in parts of at most `most`; a GPU takes smaller ones where memory runs out."""
    for start in range(0, count, most):
        run(slice(start, min(start + most, count)))


def at_once(count: int) -> int:
    """How many of `count` beams to work on together: one on a CPU, whose caches and memory hold what that takes."""
    return 1


def each(kernel: Callable[..., Any], calls: Iterable[tuple[Any, ...]]) -> list[Any]:
    """What a kernel gives for each of several arguments, none of which is another's result: a GPU takes one launch."""
    return [kernel(*call) for call in calls]


def take_notices() -> tuple[str, ...]:
    """What the run record should say of the memory of a GPU; then it is forgotten."""
    return ()

"""Where the arrays of the kernels on a CPU live: in the caller's memory. The CUDA kernels have the same functions."""

from __future__ import annotations

from collections.abc import Callable
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


def take_notices() -> tuple[str, ...]:
    """What the run record should say of the memory of a GPU; then it is forgotten."""
    return ()

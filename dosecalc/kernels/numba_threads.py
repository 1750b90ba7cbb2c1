"""How many threads a compiled kernel runs on: as many as have enough to do.

To wake a thread takes longer than the rows of a few voxels do, and much longer on a machine that is busy with something
else: the optimiser, which asks for a few hundred rows again and again, took up to twice as long on two threads.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

import numba


def shared(kernel: Callable[..., Any], counted: int, least: int) -> Callable[..., Any]:
    """The kernel on as many threads as numba's setting allows and have at least so many items each.

    Parameters
    ----------
    kernel : callable
    counted : int
        Which of its arguments has the items: as many as it is long.
    least : int
        Items that keep a thread busy for some 0.2 ms.
    """

    def run(*arguments: Any) -> Any:
        most = numba.get_num_threads()
        some = max(1, min(most, len(arguments[counted]) // least))
        if some == most:
            return kernel(*arguments)
        numba.set_num_threads(some)
        try:
            return kernel(*arguments)
        finally:
            numba.set_num_threads(most)

    named = functools.update_wrapper(run, getattr(kernel, "py_func", kernel))
    # What numba knows of its cache is the kernel's, not the function's.
    named.__wrapped__ = kernel
    return named

"""Decaying exponentials in float64 for compiled loops: unlike the C library's, they run in vector lanes."""

from __future__ import annotations

import numpy as np
from numba import njit

PER_UNIT = 128
"""Nodes per unit of the argument."""
END = 40.0
"""From here on exp(-x) is that of the end, 4e-18: nothing beside 1."""
_VALUE = np.exp(-np.arange(int(END) * PER_UNIT + 1) / PER_UNIT)


@njit(cache=True, inline="always")
def decay(x: float) -> float:
    """exp(-x) for x >= 0: the Taylor series to the fifth order about the nearest node.

    With steps of at most 1/256 the first term left out is below 1e-17.
    """
    x = x if x < END else END
    node = np.uint32(x * PER_UNIT + 0.5)
    h = node / PER_UNIT - x
    value: float = _VALUE[node]
    return value * (1.0 + h * (1.0 + h * (1.0 / 2.0 + h * (1.0 / 6.0 + h * (1.0 / 24.0 + h / 120.0)))))

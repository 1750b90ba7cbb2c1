"""Decaying exponentials in float64 for compiled loops: unlike the C library's, they run in vector lanes."""

from __future__ import annotations

from numba import njit

END = 40.0
"""From here on exp(-x) is that of the end, 4e-18: nothing beside 1."""
SQUARINGS = 256.0
"""exp(-x) is the 256th power, eight squarings, of exp(-x / 256)."""


@njit(cache=True, inline="always")
def decay(x: float) -> float:
    """exp(-x) for x >= 0: the Taylor series of exp(-x / 256) to the ninth order, squared eight times.

    With arguments of at most 0.16 the first term left out is below 3e-15; neither tables nor branches, which would keep
    the loop from vector lanes.
    """
    h = (x if x < END else END) * (-1.0 / SQUARINGS)
    low = 1.0 + h * (1.0 + h * (1.0 / 2.0 + h * (1.0 / 6.0 + h * (1.0 / 24.0))))
    high = 1.0 / 120.0 + h * (1.0 / 720.0 + h * (1.0 / 5040.0 + h * (1.0 / 40320.0 + h * (1.0 / 362880.0))))
    value = low + h * h * h * h * h * high
    value *= value
    value *= value
    value *= value
    value *= value
    value *= value
    value *= value
    value *= value
    return value * value

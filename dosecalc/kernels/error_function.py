"""The error function in float64 for compiled loops, several times faster than the C library's."""

from __future__ import annotations

import numpy as np
from numba import njit
from scipy import special

PER_UNIT = 128
"""Nodes per unit of the argument."""
END = 6.0
"""From here on erf is 1 to the last bit."""
# Value and first derivative at each node; one more node takes what rounds up to `END`.
_NODES = np.arange(int(END) * PER_UNIT + 1) / PER_UNIT
_VALUE = special.erf(_NODES)
_SLOPE = 2.0 / np.sqrt(np.pi) * np.exp(-(_NODES**2))


@njit(cache=True)
def erf(x: float) -> float:
    """Error function: the Taylor series to the fifth order about the nearest node.

    The derivatives of erf are its first one times Hermite polynomials (NIST Digital Library of Mathematical
    Functions, 7.10.1). With steps of at most 1/256 the first term left out is below 1e-16.
    """
    size = abs(x)
    if not size < END:
        return float(np.sign(x))
    node = int(size * PER_UNIT + 0.5)
    at = node / PER_UNIT
    h = size - at
    # exp(-2 at h - h^2) = sum of a_n h^n, with n a_n = -2 at a_(n-1) - 2 a_(n-2).
    a1 = -2.0 * at
    a2 = 0.5 * a1 * a1 - 1.0
    a3 = (a1 * a2 - 2.0 * a1) / 3.0
    a4 = 0.25 * (a1 * a3 - 2.0 * a2)
    series = 1.0 + h * (a1 / 2.0 + h * (a2 / 3.0 + h * (a3 / 4.0 + h * (a4 / 5.0))))
    result: float = _VALUE[node] + _SLOPE[node] * h * series
    return result if x > 0 else -result

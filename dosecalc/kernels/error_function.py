"""The error function of eight float64 side by side, for compiled loops."""

from __future__ import annotations

from typing import Any

from numba import njit

from .numba_lanes import lanes, minus, plus, size_to, times, times_plus, with_sign

END = 6.0
"""From here on erf is 1 to the last bit."""
CENTRE = 1.0
"""The polynomial is one of |x| - CENTRE: with terms of that size rounding costs least."""
# Polynomial of degree 21 for erfc^(1/8) on 0..END, made for this module: the weighted minimax approximation, by
# Lawson's iteration (C. L. Lawson, thesis, University of California, 1961) in 40 digits, with the weight 8 erfc^(7/8)
# that an error of the root has on erfc. It is within 3.3e-16 of erfc before rounding. A: even orders, B: odd ones.
_A0, _A2, _A4, _A6 = 0.7935801874438462, -0.0404575026117193, 0.0026035470919101413, -2.5314835515679993e-05
_A8, _A10, _A12 = -4.514230959348838e-06, -1.1827731568601557e-07, 2.078268737697081e-08
_A14, _A16, _A18, _A20 = 1.9905834662156755e-09, -1.1780629832820461e-10, -1.5946803238149305e-11, -2.33001060817322e-13
_B1, _B3, _B5, _B7 = -0.261779041825586, 0.018718144275768952, -0.001293595303534458, 5.085719150734949e-05
_B9, _B11, _B13 = -5.4128143828227277e-08, 6.053658330246864e-09, -8.988386145678324e-09
_B15, _B17, _B19, _B21 = -1.1863799571923445e-10, 6.03221959337673e-11, 2.5532487977058125e-12, 9.307511237898506e-15


@njit(cache=True, inline="always")
def erf(x: Any) -> Any:
    """Error function, within 2e-15: 1 - p(|x|)^8 with the sign of x, p the polynomial of this module.

    The eighth root of erfc falls so slowly that one polynomial serves every argument: neither tables nor branches.

    Parameters
    ----------
    x : eight float64, as of `numba_lanes`

    Returns
    -------
    eight float64
    """
    h = minus(size_to(x, END), lanes(CENTRE))
    g = times(h, h)
    even = times_plus(g, lanes(_A20), _A18)
    odd = times_plus(g, lanes(_B21), _B19)
    even, odd = times_plus(g, even, _A16), times_plus(g, odd, _B17)
    even, odd = times_plus(g, even, _A14), times_plus(g, odd, _B15)
    even, odd = times_plus(g, even, _A12), times_plus(g, odd, _B13)
    even, odd = times_plus(g, even, _A10), times_plus(g, odd, _B11)
    even, odd = times_plus(g, even, _A8), times_plus(g, odd, _B9)
    even, odd = times_plus(g, even, _A6), times_plus(g, odd, _B7)
    even, odd = times_plus(g, even, _A4), times_plus(g, odd, _B5)
    even, odd = times_plus(g, even, _A2), times_plus(g, odd, _B3)
    even, odd = times_plus(g, even, _A0), times_plus(g, odd, _B1)
    root = plus(even, times(h, odd))
    root = times(root, root)
    root = times(root, root)
    return with_sign(minus(lanes(1.0), times(root, root)), x)

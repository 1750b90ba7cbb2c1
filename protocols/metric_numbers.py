"""Numbers and units inside a metric's text."""

from __future__ import annotations

import math
from decimal import Decimal
from typing import Literal, TypeAlias

from .errors import ProtocolError

Unit: TypeAlias = Literal["Gy", "cc", "%", "ratio"]

# Beyond these a number in a metric is a slip of the unit or the decimal point, and its text would not stay
# short.
SMALLEST, LARGEST = 1e-6, 1e6


def checked(value: float, what: str, largest: float = LARGEST) -> float:
    """`value` as a float, refused unless it is a number from `SMALLEST` to `largest`."""
    if not (math.isfinite(value) and SMALLEST <= value <= largest):
        raise ProtocolError(f"{what} must be between {SMALLEST:g} and {largest:g}, got {value!r}.")
    return float(value)


def number(value: float) -> str:
    """The shortest decimal text that reads back as `value`, without an exponent."""
    text = format(Decimal(repr(value)), "f")
    return text.removesuffix(".0")

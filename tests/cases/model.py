"""What a named case is: an odd input, the answer it must get, and a valid twin that must read to known numbers."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

Change = Callable[[Path], object]


@dataclass(frozen=True, slots=True)
class Case:
    """Two neighbours of one input file.

    Attributes
    ----------
    name : str
    kind : str
        "CT", "CT values", "RTSTRUCT", "RTDOSE", "NIfTI", ...: which input is changed and how it is read.
    broken, valid : str
        What is changed in each, in words.
    breaks, keeps : callable
        Make the change in the folder that holds the untouched input.
    words : str
        Regular expression that the refusal of the broken one must match.
    code : str
        Of the error.
    options, valid_options : dict
        For the reader.
    numbers : callable, optional
        Judges what was read from the valid one, where it is not what the untouched input gives.
    """

    name: str
    kind: str
    broken: str
    breaks: Change
    words: str
    valid: str
    keeps: Change
    code: str = "input_invalid"
    options: dict[str, Any] = field(default_factory=dict)
    valid_options: dict[str, Any] = field(default_factory=dict)
    numbers: Callable[[Any], None] | None = None


def unchanged(folder: Path) -> None:
    """The untouched input."""

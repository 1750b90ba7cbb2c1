"""What a seed is, and what the seeds have in common."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from dosecalc.grid import Grid, Volume
from dosecalc.structures import Contours, Structure, StructureSet

GRID = Grid((-21.5, -13.25, 100.0), (1.5, 2.5, 3.0), (2, 4, 5))


@dataclass(frozen=True, slots=True)
class Result:
    """What a reader returned, comparable, and what it told the user."""

    content: tuple[Any, ...]
    notices: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Format:
    """A kind of input.

    Attributes
    ----------
    make : function of a folder
        Writes the valid files.
    read : function of a folder
        Reads them.
    """

    make: Callable[[Path], None]
    read: Callable[[Path], Result]


def phantom() -> Volume:
    values = np.arange(GRID.size).reshape(GRID.shape) * 7.0 - 1000.0
    return Volume(GRID, values.astype(np.float32))


def structures() -> StructureSet:
    box = np.array([[-20.0, -10.0], [-17.0, -10.0], [-17.0, -6.0], [-20.0, -6.0]])
    return StructureSet(
        tuple(
            Structure(name, role, Contours((100.0, 103.0), (box + k, box + k)))
            for k, (name, role) in enumerate((("Liver", "ORGAN"), ("GTV", "GTV")))
        )
    )


def volume(found: Volume) -> tuple[Any, ...]:
    """What can be compared of a volume; whatever is read must be finite numbers on their grid."""
    values = np.ascontiguousarray(found.values)
    assert values.shape == found.grid.shape
    assert np.isfinite(values).all()
    return found.grid, str(values.dtype), values.tobytes()


def structure_set(found: StructureSet) -> Result:
    """What can be compared of structures; each must have a finite volume, and an occupancy lie within 0 and 1."""
    assert all(0 < s.volume_cc < 1e9 for s in found)
    rows = [(s.name, s.role, s.volume_cc, *_geometry(s.geometry)) for s in found]
    return Result((*rows, found.frame_of_reference_uid, found.absent), found.notices)


def _geometry(shape: Any) -> tuple[Any, ...]:
    if isinstance(shape, Contours):
        return shape.z_mm, shape.slab_mm, tuple(p.tobytes() for p in shape.polygons_mm)
    assert shape.fraction.shape == shape.grid.shape
    assert 0 <= shape.fraction.min() <= shape.fraction.max() <= 1
    return shape.grid, shape.fraction.tobytes()

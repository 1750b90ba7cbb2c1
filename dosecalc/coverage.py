"""Whether structures lie in the scan that they are said to belong to."""

from __future__ import annotations

import numpy as np

from .errors import InputError
from .grid import Grid
from .structures import Structure, StructureSet

TOLD_SHARE = 1e-3  # of a structure's volume outside the scan; less is what the rounding of positions leaves


def outside_scan(structures: StructureSet, scan: Grid, where: str) -> tuple[str, ...]:
    """What is said of structures that lie outside a scan, in whole or in part.

    Parameters
    ----------
    structures : StructureSet
    scan : Grid
        The CT's, with axes along x, y, z.
    where : str
        The file, for the error.

    Raises
    ------
    InputError
        There are structures, and none has any volume in the scan.
    """
    volumes = {s.name: (s.volume_cc, s.on(scan).volume_cc) for s in structures if _reaches_out(s, scan)}
    outside = {name: whole - held for name, (whole, held) in volumes.items() if whole - held > TOLD_SHARE * whole}
    wholly = [name for name in outside if not volumes[name][1]]
    if wholly and len(wholly) == len(structures):
        raise InputError(
            f"none of its {len(structures)} structures lies in the CT: {offset(structures, scan)}.",
            where=where,
            remedy="Is it another patient's, or are x and y given in another sense (RAS for LPS)?",
        )
    return tuple(
        f"{name}: lies wholly outside the CT ({cc:.3g} cc)."
        if name in wholly
        else f"{name}: {cc:.3g} of {volumes[name][0]:.4g} cc lie outside the CT."
        for name, cc in outside.items()
    )


def offset(part: Grid | Structure | StructureSet, scan: Grid) -> str:
    """How far the box around something lies from a scan, in words: from centre to centre, in LPS mm."""
    boxes = [s.bounds_mm for s in part] if isinstance(part, StructureSet) else [part.bounds_mm]
    middle = (np.min(boxes, axis=0)[0] + np.max(boxes, axis=0)[1]) / 2.0
    x, y, z = middle - scan.bounds_mm.mean(axis=0)
    return f"its centre lies ({x:.1f}, {y:.1f}, {z:.1f}) mm (x, y, z in LPS) from that of the CT"


def _reaches_out(structure: Structure, scan: Grid) -> bool:
    (low, high), (first, last) = scan.bounds_mm, structure.bounds_mm
    return bool((first < low - 1e-6).any() or (last > high + 1e-6).any())

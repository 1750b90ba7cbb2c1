"""Valid files that the tests of limits damage."""

from __future__ import annotations

import highdicom
import numpy as np
import pydicom

from dosecalc.grid import Grid, Volume

GRID = Grid((-21.5, -13.25, 100.0), (1.5, 2.5, 3.0), (4, 5, 7))


def phantom():
    values = np.arange(GRID.size, dtype=np.float32).reshape(GRID.shape) - 1000
    return Volume(GRID, values)


def nrrd_bytes(data, **fields):
    """An NRRD file of 2 x 2 x 3 int16 voxels, or of what the fields say, with these data."""
    header = {
        "type": "int16",
        "dimension": "3",
        "sizes": "2 2 3",
        "encoding": "raw",
        "endian": "little",
        "space": "left-posterior-superior",
        "space directions": "(2,0,0) (0,3,0) (0,0,4)",
        "space origin": "(1,2,3)",
    } | fields
    lines = ["NRRD0005", *(f"{key}: {value}" for key, value in header.items())]
    return "\n".join(lines).encode("ascii") + b"\n\n" + data


def seg_of(ct, path):
    """A Segmentation of a series: a box named Liver, on three planes."""
    images = [pydicom.dcmread(file) for file in sorted(ct.iterdir())]
    code, manual = (
        highdicom.sr.CodedConcept("85756007", "SCT", "Tissue"),
        highdicom.seg.SegmentAlgorithmTypeValues.MANUAL,
    )
    part = highdicom.seg.SegmentDescription(1, "Liver", code, code, manual)
    mask = np.zeros(GRID.shape, np.uint8)
    mask[:3, 1:4, 2:5] = 1
    uids = pydicom.uid.generate_uid(), pydicom.uid.generate_uid()
    highdicom.seg.Segmentation(
        images, mask, "BINARY", [part], uids[0], 1, uids[1], 1, "none", "none", "1", "0"
    ).save_as(path)
    return path

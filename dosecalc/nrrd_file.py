"""NRRD images (.nrrd), brought to LPS axes in (z, y, x) order.

Source: https://teem.sourceforge.net/nrrd/format.html, basic field specifications and "space and orientation".
"""

from __future__ import annotations

import io
import math
import zlib
from pathlib import Path
from typing import Any

import nrrd
import numpy as np
import numpy.typing as npt

from .errors import InputError, UnsafeInputError
from .grid import Grid
from .nifti import check_claim, opened, parsing
from .orientation import to_lps

HEADER_LIMIT = 2**20  # bytes; segmentations list their segments there
_ELSEWHERE = ("data file", "datafile", "byte skip", "byteskip", "line skip", "lineskip")
_TO_LPS = {
    "left-posterior-superior": np.diag([1.0, 1.0, 1.0]),
    "lps": np.diag([1.0, 1.0, 1.0]),
    "right-anterior-superior": np.diag([-1.0, -1.0, 1.0]),
    "ras": np.diag([-1.0, -1.0, 1.0]),
    "left-anterior-superior": np.diag([1.0, -1.0, 1.0]),
    "las": np.diag([1.0, -1.0, 1.0]),
}
_TYPES = {
    "signed char": "i1", "int8": "i1", "int8_t": "i1", "uchar": "u1", "unsigned char": "u1", "uint8": "u1",
    "uint8_t": "u1", "short": "i2", "short int": "i2", "signed short": "i2", "int16": "i2", "int16_t": "i2",
    "ushort": "u2", "unsigned short": "u2", "uint16": "u2", "uint16_t": "u2", "int": "i4", "signed int": "i4",
    "int32": "i4", "int32_t": "i4", "uint": "u4", "unsigned int": "u4", "uint32": "u4", "uint32_t": "u4",
    "float": "f4", "double": "f8",
}  # fmt: skip


def read_nrrd(path: str | Path) -> tuple[Grid, npt.NDArray[Any]]:
    """Grid along x, y and z, and (nz, ny, nx) values, of an NRRD file with its data attached.

    Raises
    ------
    InputError
        Not NRRD, cut short, not three-dimensional, no orientation in the patient, oblique axes, lengths other than mm,
        data in another file (which is never opened) or in an encoding other than raw and gzip.
    UnsafeInputError
        More voxels than a scan can have or than its compressed file can honestly hold, or a header without end.
    """
    with parsing(Path(path), "NRRD"):
        return _read(Path(path))


def _read(path: Path) -> tuple[Grid, npt.NDArray[Any]]:
    header, start = _header(path)
    sizes = tuple(int(n) for n in header["sizes"])
    if len(sizes) != 3 or min(sizes) < 1 or header["dimension"] != 3:
        raise InputError(f"has sizes {list(sizes)[:9]}, expected three dimensions.", where=str(path))
    space, directions, origin = (header.get(key) for key in ("space", "space directions", "space origin"))
    if str(space).lower() not in _TO_LPS or directions is None or origin is None:
        raise InputError(
            f"states no place in the patient (space {space!r}, with directions and origin), which is never assumed.",
            where=str(path),
            remedy="Convert it again from its source.",
        )
    if any(unit not in ("mm", "millimeter") for unit in header.get("space units", ())):
        raise InputError(f"its lengths are in {header['space units']}, expected mm.", where=str(path))
    values = _values(header, start, sizes, path)
    to_patient = _TO_LPS[str(space).lower()]
    steps = np.asarray(directions, dtype=np.float64) @ to_patient
    spacing = np.linalg.norm(steps, axis=1)
    if not np.isfinite(steps).all() or spacing.min() <= 0:
        raise InputError("its space directions are not finite or singular.", where=str(path))
    try:
        return to_lps(to_patient @ origin, steps / spacing[:, None], spacing, values.reshape(sizes[::-1]))
    except InputError as error:
        raise InputError(error.message, where=str(path), remedy=error.remedy) from error


def segment_names(path: str | Path) -> dict[str, str]:
    """Names by label that a segmentation keeps in its header (Segment0_Name, Segment0_LabelValue); empty without.

    Raises
    ------
    InputError
        Not NRRD.
    """
    with parsing(Path(path), "NRRD"):
        header, _ = _header(Path(path))
    keys = [key.removesuffix("_Name") for key in header if key.startswith("Segment") and key.endswith("_Name")]
    return {
        str(header[f"{key}_LabelValue"]): str(header[f"{key}_Name"]) for key in keys if f"{key}_LabelValue" in header
    }


def _header(path: Path) -> tuple[dict[str, Any], int]:
    """Header fields, and where the data begin: behind the empty line that ends them."""
    with opened(path) as file:
        content = file.read(HEADER_LIMIT)
    if not content.startswith(b"NRRD"):
        raise InputError("is not an NRRD file.", where=str(path), remedy="Check the path.")
    ends = [(at, len(mark)) for mark in (b"\n\n", b"\r\n\r\n") if (at := content.find(mark)) >= 0]
    if not ends:
        raise UnsafeInputError("its header does not end within a megabyte.", where=str(path))
    start = sum(min(ends))
    header = nrrd.read_header(io.BytesIO(content[:start]))
    if any(key in header for key in _ELSEWHERE):
        raise InputError(
            "keeps its data in another file or behind an offset.", where=str(path), remedy="Save it as one .nrrd file."
        )
    return header, start


def _values(header: dict[str, Any], start: int, sizes: tuple[int, ...], path: Path) -> npt.NDArray[Any]:
    """The numbers behind the header in its own order, once it claims nothing that the file cannot hold."""
    kind = _TYPES[str(header["type"])]
    dtype = np.dtype(kind if kind.endswith("1") else {"little": "<", "big": ">"}[str(header["endian"])] + kind)
    encoding = str(header.get("encoding"))
    if encoding not in ("raw", "gzip", "gz"):
        raise InputError(
            f"is encoded as {encoding!r}, expected raw or gzip.", where=str(path), remedy="Save it as raw or gzip."
        )
    needed = dtype.itemsize * math.prod(sizes)
    check_claim(path, sizes, start + needed, packed=encoding != "raw")
    with opened(path) as file:
        file.seek(start)
        data = file.read()
    return np.frombuffer(data if encoding == "raw" else _inflated(data, needed, path), dtype)


def _inflated(data: bytes, needed: int, path: Path) -> bytes:
    """As many bytes as the header says, neither fewer nor more, with the sum that gzip keeps of them checked."""
    inflater = zlib.decompressobj(zlib.MAX_WBITS | 16)
    found = inflater.decompress(data, needed + 1)
    if len(found) != needed or not inflater.eof or inflater.unused_data:
        amount = "more than " if len(found) >= needed else ""
        raise InputError(
            f"holds {amount}{min(len(found), needed)} bytes of data, or a damaged end; {needed} are needed.",
            where=str(path),
            remedy="Copy it again.",
        )
    return found

"""Safe reading of DICOM files: complete, of limited size, and with one kind of error.

pydicom accepts files that end early and hands out what it has found so far; a contour or a slice would go
missing without a word. So the element structure is walked to the end of the file first.
"""

from __future__ import annotations

import io
import struct
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NoReturn

import numpy as np
import numpy.typing as npt
import pydicom
from pydicom.uid import ExplicitVRLittleEndian

from ..errors import DosecalcError, InputError, ResourceError, UnsafeInputError

DICM_OFFSET = 128  # preamble, DICOM PS3.10 section 7.1
INFLATION_ALLOWANCE, INFLATION_RATIO = 16 * 2**20, 30  # bytes, and per byte: contours deflate to a tenth
MAX_DEPTH = 32  # sequences nest 6 deep in RT objects; hostile files nest thousands
_UNDEFINED = 0xFFFFFFFF
_LONG_VR = (b"OB", b"OD", b"OF", b"OL", b"OV", b"OW", b"SQ", b"SV", b"UC", b"UN", b"UR", b"UT", b"UV")
_ITEM, _ITEM_END, _SEQUENCE_END = (0xFFFE, 0xE000), (0xFFFE, 0xE00D), (0xFFFE, 0xE0DD)


def is_dicom(path: Path) -> bool:
    """Whether the file starts as DICOM PS3.10 says (preamble, then "DICM")."""
    with path.open("rb") as file:
        return file.read(DICM_OFFSET + 4)[DICM_OFFSET:] == b"DICM"


def list_files(folder: Path) -> list[Path]:
    """DICOM files directly in a folder, by name; others are left out.

    Raises
    ------
    InputError
        A file is named as DICOM but does not start as DICOM does: a slice would go missing.
    """
    # macOS leaves ._NAME beside NAME on other file systems: its own notes on the file
    files = [p for p in sorted(folder.iterdir()) if p.is_file() and not p.name.startswith("._")]
    found = [p for p in files if is_dicom(p)]
    for path in files:
        if path.suffix.lower() in (".dcm", ".dicom", ".ima") and path not in found:
            raise InputError(
                "is named as a DICOM file but does not start as one (preamble and DICM).",
                where=str(path),
                remedy="Export or convert it again, or move it out of the folder.",
            )
    return found


def existing(path: str | Path) -> Path:
    """The path, or an InputError when nothing is there."""
    found = Path(path)
    if not found.exists():
        raise InputError("there is no such file or folder.", where=str(path), remedy="Check the path.")
    return found


@contextmanager
def parsing(path: Path) -> Iterator[None]:
    """Turn whatever a parser raises on a broken file into an InputError that names the file."""
    try:
        yield
    except DosecalcError:
        raise
    except MemoryError as error:
        raise ResourceError("does not fit into memory.", where=str(path)) from error
    except RecursionError as error:
        raise UnsafeInputError(
            "nests its sequences too deeply.", where=str(path), remedy="Export it from its source again."
        ) from error
    except Exception as error:
        raise InputError(
            f"is damaged or holds a value that DICOM does not allow ({type(error).__name__}).",
            where=str(path),
            remedy="Export or copy the file again.",
        ) from error


def read_dataset(path: Path, *, pixels: bool = True) -> pydicom.Dataset:
    """The dataset of one complete little-endian file; compressed pixels stay compressed.

    Parameters
    ----------
    path : Path
    pixels : bool
        False stops before the pixel data, without the check for completeness.

    Raises
    ------
    InputError
        Not DICOM, cut short, or big endian.
    UnsafeInputError
        Nested too deeply, or deflated to a size that no scan has.
    """
    existing(path)
    with parsing(path):
        if path.is_dir() or not is_dicom(path):
            raise InputError("is not a DICOM file.", where=str(path), remedy="Check the path.")
        meta = pydicom.filereader.read_file_meta_info(path)
        syntax = pydicom.uid.UID(str(meta.get("TransferSyntaxUID", "")))
        if not syntax.is_transfer_syntax or not syntax.is_little_endian:
            raise InputError(
                f"has transfer syntax {syntax.name or 'none'}, expected little endian.",
                where=str(path),
                remedy="Export or convert it as explicit or implicit little endian.",
            )
        if syntax.is_deflated:
            data = _inflated(path)
            _check_complete(data, path, explicit=True)
            return pydicom.dcmread(io.BytesIO(data), stop_before_pixels=not pixels)
        if pixels:
            _check_complete(path.read_bytes(), path, explicit=not syntax.is_implicit_VR)
        return pydicom.dcmread(path, stop_before_pixels=not pixels)


def _inflated(path: Path) -> bytes:
    """The file as if it had been written without deflation (PS3.5 section A.5), within a limit for its size."""
    data = path.read_bytes()
    start = DICM_OFFSET + 4 + 12 + struct.unpack_from("<I", data, DICM_OFFSET + 12)[0]
    limit = INFLATION_ALLOWANCE + INFLATION_RATIO * len(data)
    inflater = zlib.decompressobj(-zlib.MAX_WBITS)
    body = inflater.decompress(data[start:], limit)
    if inflater.unconsumed_tail:
        raise UnsafeInputError(
            f"inflates to more than {limit // 2**20} MiB, from {len(data) / 2**20:.3g} MiB.",
            where=str(path),
            remedy="Export it without compression.",
        )
    if not inflater.eof:
        _refuse_cut(path)
    meta = pydicom.filereader.read_file_meta_info(path)
    meta.TransferSyntaxUID = ExplicitVRLittleEndian
    header = io.BytesIO()
    header.write(data[: DICM_OFFSET + 4])
    pydicom.filewriter.write_file_meta_info(header, meta)
    return header.getvalue() + body


def required(dataset: pydicom.Dataset, keyword: str, path: Path) -> Any:
    """The value of an element that must be there and not empty."""
    value = dataset.get(keyword)
    if value is None or value == "" or (isinstance(value, list) and not value):
        raise InputError(
            f"has no {keyword}, which is needed.", where=str(path), remedy="Export it from its source again."
        )
    return value


def number(dataset: pydicom.Dataset, keyword: str, path: Path) -> float:
    """One finite number that must be there."""
    return float(numbers(dataset, keyword, path, 1)[0])


def numbers(dataset: pydicom.Dataset, keyword: str, path: Path, count: int | None = None) -> npt.NDArray[np.float64]:
    """Finite numbers that must be there, `count` of them if given."""
    with parsing(path):
        values = np.atleast_1d(np.asarray(required(dataset, keyword, path), dtype=np.float64))
    if (count is not None and len(values) != count) or not np.isfinite(values).all():
        raise InputError(f"{keyword} is {values.tolist()}, expected {count or 'finite'} numbers.", where=str(path))
    return values


def decimals(dataset: pydicom.Dataset, keyword: str, path: Path) -> npt.NDArray[np.float64]:
    """Finite numbers of a long decimal-string element, parsed from its bytes.

    pydicom makes one object per number, which takes seconds for a structure set with many points.
    """
    with parsing(path):
        element: Any = dataset.get_item(keyword) if keyword in dataset else None
        raw = getattr(element, "value", None)
        if not isinstance(raw, bytes):
            return numbers(dataset, keyword, path)
        values = np.array(raw.rstrip(b"\0 ").split(b"\\"), dtype=np.float64)
    if not len(values) or not np.isfinite(values).all():
        raise InputError(f"{keyword} is empty or not finite.", where=str(path))
    return values


def _check_complete(data: bytes, path: Path, *, explicit: bool) -> None:
    """Refuse a file whose element structure does not end exactly where the file ends."""
    offset = DICM_OFFSET + 4
    try:
        # the meta group is explicit little endian and starts with its own length, PS3.10 section 7.1
        offset += 12 + struct.unpack_from("<I", data, offset + 8)[0]
        offset = _walk(data, offset, explicit=explicit, depth=0)
    except UnsafeInputError as error:
        raise UnsafeInputError(error.message, where=str(path), remedy="Export it from its source again.") from error
    except (struct.error, EOFError):
        offset = -1
    if offset != len(data):
        _refuse_cut(path)


def _refuse_cut(path: Path) -> NoReturn:
    raise InputError(
        "is cut short or damaged: its elements do not end where the file ends.",
        where=str(path),
        remedy="Copy or export the file again.",
    )


def _walk(data: bytes, offset: int, *, explicit: bool, depth: int) -> int:
    """Offset behind the elements from `offset` on: the end of the data, or of the enclosing item."""
    while offset < len(data):
        tag = struct.unpack_from("<HH", data, offset)
        if tag == _ITEM_END and depth:
            return offset + 8
        vr, length, offset = _header(data, offset, explicit=explicit)
        if length == _UNDEFINED:
            # undefined length with VR UN is implicit inside, PS3.5 section 6.2.2
            inner = explicit and vr != b"UN"
            offset = _walk_items(data, offset, explicit=inner, depth=depth + 1)
        else:
            offset += length
    if offset > len(data) or depth:
        raise EOFError
    return offset


def _walk_items(data: bytes, offset: int, *, explicit: bool, depth: int) -> int:
    """Offset behind a sequence of undefined length."""
    if depth > MAX_DEPTH:
        raise UnsafeInputError(f"a DICOM file nests its sequences more than {MAX_DEPTH} deep.")
    while True:
        group, element, length = struct.unpack_from("<HHI", data, offset)
        offset += 8
        if (group, element) == _SEQUENCE_END:
            return offset
        if (group, element) != _ITEM:
            raise EOFError
        if length == _UNDEFINED:
            offset = _walk(data, offset, explicit=explicit, depth=depth)
        else:
            offset += length


def _header(data: bytes, offset: int, *, explicit: bool) -> tuple[bytes, int, int]:
    """VR, value length and value offset of the element at `offset` (PS3.5 section 7.1)."""
    if not explicit:
        return b"", struct.unpack_from("<I", data, offset + 4)[0], offset + 8
    vr = data[offset + 4 : offset + 6]
    if vr in _LONG_VR:
        return vr, struct.unpack_from("<I", data, offset + 8)[0], offset + 12
    return vr, struct.unpack_from("<H", data, offset + 6)[0], offset + 8

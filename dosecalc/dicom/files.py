"""Safe reading of DICOM files: complete, of limited size, and with one kind of error.

pydicom accepts files that end early and hands out what it has found so far, and of an element given twice the last;
a contour or a slice would go missing without a word. So the element structure is walked to its end first.
"""

from __future__ import annotations

import io
import mmap
import re
import struct
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from functools import lru_cache
from pathlib import Path
from typing import Any, NoReturn

import numpy as np
import numpy.typing as npt
import pydicom
from pydicom.datadict import dictionary_VR
from pydicom.uid import ExplicitVRLittleEndian

from ..errors import DosecalcError, InputError, ResourceError, UnsafeInputError

DICM_OFFSET = 128  # preamble, DICOM PS3.10 section 7.1
INFLATION_ALLOWANCE, INFLATION_RATIO = 16 * 2**20, 30  # bytes, and per byte: contours deflate to a tenth
FILE_LIMIT = 4 * 2**30  # bytes: the lengths of elements end there
FOLDER_LIMIT = 10_000  # files: a scan has some thousand slices at most
DICOM_SUFFIXES = (".dcm", ".dicom", ".ima")
MAX_DEPTH = 32  # sequences nest 6 deep in RT objects; hostile files nest thousands
_UNDEFINED = 0xFFFFFFFF
_LONG_VR = (b"OB", b"OD", b"OF", b"OL", b"OV", b"OW", b"SQ", b"SV", b"UC", b"UN", b"UR", b"UT", b"UV")
_SHORT_VR = tuple(b"AE AS AT CS DA DS DT FL FD IS LO LT PN SH SL SS ST TM UI UL US".split())
_ITEM, _ITEM_END, _SEQUENCE_END = (0xFFFE, 0xE000), (0xFFFE, 0xE00D), (0xFFFE, 0xE0DD)
_PIXEL_DATA = (0x7FE0, 0x0010)
_CONTROL = re.compile(rb"[\0-\x08\x0e-\x1f]")  # a value that has run over the next element
_IMPOSSIBLE = {
    **dict.fromkeys((b"CS", b"UI"), _CONTROL),
    b"DS": re.compile(rb"[\0-\x08\x0e-\x1f_]"),  # Python reads 1_0 as ten
    b"IS": re.compile(rb"[\0-\x08\x0e-\x1f_eE]"),  # pydicom would write out every digit of 1e999999999
}
Buffer = bytes | mmap.mmap


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
    UnsafeInputError
        More files than a scan can have.
    """
    # macOS leaves ._NAME beside NAME on other file systems: its own notes on the file
    files = [p for p in sorted(folder.iterdir()) if p.is_file() and not p.name.startswith("._")]
    if len(files) > FOLDER_LIMIT:
        raise UnsafeInputError(
            f"holds {len(files)} files, at most {FOLDER_LIMIT} are read.",
            where=str(folder),
            remedy="Put the scan into a folder of its own.",
        )
    found = [p for p in files if is_dicom(p)]
    for path in files:
        if path.suffix.lower() in DICOM_SUFFIXES and path not in found:
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
        False leaves the pixel data out; the file must be complete all the same.

    Raises
    ------
    InputError
        Not DICOM, cut short, with elements repeated or out of order, or big endian.
    UnsafeInputError
        Too large, nested too deeply, or deflated to a size that no scan has.
    """
    existing(path)
    with parsing(path):
        if not path.is_file() or not is_dicom(path):
            raise InputError("is not a DICOM file.", where=str(path), remedy="Check the path.")
        if path.stat().st_size > FILE_LIMIT:
            raise UnsafeInputError(
                f"has {path.stat().st_size / 2**30:.3g} GiB, at most {FILE_LIMIT / 2**30:g} are read.", where=str(path)
            )
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
        # mapped: of large pixel data only the length is looked at
        with path.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as mapped:
            _check_complete(mapped, path, explicit=not syntax.is_implicit_VR)
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
    behind = inflater.unused_data
    # a byte pads to even length; some writers leave the sum and the length that gzip keeps (RFC 1952)
    if not inflater.eof or (len(behind) > 1 and behind != struct.pack("<II", zlib.crc32(body), len(body))):
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


def text(dataset: pydicom.Dataset, keyword: str, path: Path) -> str:
    """One text that must be there: pydicom makes a list of a text with a backslash."""
    value = required(dataset, keyword, path)
    if not isinstance(value, str):
        raise InputError(f"{keyword} is not one text.", where=str(path), remedy="Export it from its source again.")
    return str(value)


def number(dataset: pydicom.Dataset, keyword: str, path: Path) -> float:
    """One finite number that must be there."""
    return float(numbers(dataset, keyword, path, 1)[0])


def numbers(dataset: pydicom.Dataset, keyword: str, path: Path, count: int | None = None) -> npt.NDArray[np.float64]:
    """Finite numbers that must be there, `count` of them if given."""
    with parsing(path):
        values = np.atleast_1d(np.asarray(required(dataset, keyword, path), dtype=np.float64))
        vr = str(dataset[keyword].VR)
    if vr not in ("DS", "IS", *dictionary_VR(keyword).split(" or ")):
        raise InputError(f"{keyword} has value representation {vr}.", where=str(path), remedy="Export it again.")
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


def _check_complete(data: Buffer, path: Path, *, explicit: bool) -> None:
    """Refuse a file whose element structure does not end exactly where the file ends, or that says things twice."""
    try:
        # the meta group is explicit little endian and starts with its own length, PS3.10 section 7.1
        start = DICM_OFFSET + 4
        end = start + 12 + struct.unpack_from("<I", data, start + 8)[0]
        _walk(data, start, end, explicit=True, depth=MAX_DEPTH)
        if explicit != data[end + 4 : end + 6].isupper():  # pydicom believes these letters, not the transfer syntax
            raise EOFError
        _walk(data, end, len(data), explicit=explicit, depth=0)
    except (struct.error, EOFError):
        _refuse_cut(path)
    except InputError as error:
        raise type(error)(error.message, where=str(path), remedy=error.remedy) from error


def _refuse_cut(path: Path) -> NoReturn:
    raise InputError(
        "is cut short or damaged: its elements do not end where the file ends.",
        where=str(path),
        remedy="Copy or export the file again.",
    )


def _walk(data: Buffer, offset: int, end: int | None, *, explicit: bool, depth: int) -> int:
    """Offset behind the elements from `offset` on: `end`, or without it behind the delimiter of an open item."""
    last = (-1, -1)
    while end is None or offset < end:
        tag = struct.unpack_from("<HH", data, offset)
        if end is None and tag == _ITEM_END:
            return offset + 8
        if tag <= last:
            raise InputError(
                f"is damaged: element ({tag[0]:04X},{tag[1]:04X}) is repeated or out of order.",
                remedy="Export the file again, or write it anew with a DICOM tool.",
            )
        last = tag
        vr, length, offset = _header(data, offset, tag, explicit=explicit)
        if length == _UNDEFINED or vr == b"SQ":
            stop = None if length == _UNDEFINED else offset + length
            offset = _walk_items(data, offset, stop, explicit=explicit, depth=depth + 1, pixels=tag == _PIXEL_DATA)
        elif vr in _IMPOSSIBLE and _IMPOSSIBLE[vr].search(data[offset : offset + length].rstrip(b"\0 ")):
            raise InputError(
                f"is damaged: element ({tag[0]:04X},{tag[1]:04X}) holds characters that {vr.decode()} does not allow.",
                remedy="Export or copy the file again.",
            )
        else:
            offset += length
    if offset != end:
        raise EOFError
    return offset


def _walk_items(data: Buffer, offset: int, end: int | None, *, explicit: bool, depth: int, pixels: bool) -> int:
    """Offset behind a sequence, or behind the fragments of compressed pixels."""
    if depth > MAX_DEPTH:
        raise UnsafeInputError(
            f"nests its sequences more than {MAX_DEPTH} deep.", remedy="Export it again; no scan or plan needs this."
        )
    while end is None or offset < end:
        group, element, length = struct.unpack_from("<HHI", data, offset)
        offset += 8
        if end is None and (group, element) == _SEQUENCE_END:
            return offset
        if (group, element) != _ITEM:
            raise EOFError
        if pixels:
            offset += length
            continue
        stop = None if length == _UNDEFINED else offset + length
        # some files switch to implicit VR in an item: pydicom follows, by the same two letters
        inner = explicit and data[offset + 4 : offset + 6].isupper()
        offset = _walk(data, offset, stop, explicit=inner, depth=depth)
    if offset != end:
        raise EOFError
    return offset


def _header(data: Buffer, offset: int, tag: tuple[int, int], *, explicit: bool) -> tuple[bytes, int, int]:
    """VR, value length and value offset of the element at `offset` (PS3.5 section 7.1)."""
    if not explicit:
        return _known_vr(tag), struct.unpack_from("<I", data, offset + 4)[0], offset + 8
    vr = data[offset + 4 : offset + 6]
    if vr in _LONG_VR:
        # pydicom takes an unknown VR for the one that the dictionary has
        known = _known_vr(tag) if vr == b"UN" else vr
        return known, struct.unpack_from("<I", data, offset + 8)[0], offset + 12
    if vr not in _SHORT_VR:
        raise EOFError
    return vr, struct.unpack_from("<H", data, offset + 6)[0], offset + 8


@lru_cache(maxsize=8192)
def _known_vr(tag: tuple[int, int]) -> bytes:
    try:
        return dictionary_VR(tag).encode("ascii")
    except KeyError:
        return b"UN"

"""Stored pixel values of CT images, plain or compressed, and the HU they stand for."""

from __future__ import annotations

import struct
from collections.abc import Iterator
from typing import Any

import numpy as np
import numpy.typing as npt
import pydicom
from pydicom.encaps import get_frame
from pydicom.pixels import get_decoder

from ..errors import InputError
from .files import number, required
from .frames import Frame

AIR_HU = -1000.0
HU_LIMIT = 1e6  # the extended scale of metal ends at some ten thousand
PADDING_LIMIT_HU = -900.0  # padding stands for "not scanned"; above this it would erase tissue
Stored = npt.NDArray[np.int32]


def hounsfield_units(dataset: pydicom.Dataset, frames: list[Frame]) -> Iterator[tuple[npt.NDArray[np.float32], int]]:
    """HU of each of a file's frames, (rows, columns) float32, and how many padded pixels became air.

    Raises
    ------
    InputError
        Pixels of another kind, of the wrong length, or that cannot be decoded; padding that is a HU of tissue.
    """
    for frame in frames:
        stored = _stored_values(dataset, frame)
        with np.errstate(over="ignore"):
            hu = (stored * np.float64(frame.slope) + frame.intercept).astype(np.float32)
        highest = float(np.abs(hu).max())
        if not highest <= HU_LIMIT:
            raise InputError(f"has pixels of {highest:g} HU, which no scan has.", where=str(frame.file))
        padded = _padded(dataset, frame, stored)
        hu[padded] = AIR_HU
        yield hu, int(np.count_nonzero(padded))


def is_lossy(header: pydicom.Dataset) -> bool:
    """Whether the image says that compression has changed its values."""
    return str(header.get("LossyImageCompression") or "00") != "00"


def _padded(dataset: pydicom.Dataset, frame: Frame, stored: Stored) -> npt.NDArray[np.bool_]:
    padding = dataset.get("PixelPaddingValue")
    if padding is None:
        return np.zeros(stored.shape, dtype=bool)
    low, high = sorted(
        _as_stored(int(value), dataset) for value in (padding, dataset.get("PixelPaddingRangeLimit", padding))
    )
    padded = (stored >= low) & (stored <= high)
    if padded.any() and max(low * frame.slope, high * frame.slope) + frame.intercept > PADDING_LIMIT_HU:
        raise InputError("the padding value is a HU of tissue.", where=str(frame.file), remedy="Correct the header.")
    return padded


def _as_stored(value: int, dataset: pydicom.Dataset) -> int:
    """A padding value as the pixels hold it: some files state it unsigned for signed pixels."""
    return value - 65536 if int(dataset.PixelRepresentation) and value > 32767 else value


def _stored_values(dataset: pydicom.Dataset, frame: Frame) -> Stored:
    """(rows, columns) stored values with unused high bits removed (PS3.5 section 8.1.1)."""
    file = frame.file
    allocated, stored_bits, signed, samples = (
        int(number(dataset, keyword, file))
        for keyword in ("BitsAllocated", "BitsStored", "PixelRepresentation", "SamplesPerPixel")
    )
    high_bit = int(dataset.get("HighBit", stored_bits - 1))
    if allocated != 16 or not 1 <= stored_bits <= 16 or high_bit != stored_bits - 1 or samples != 1:
        raise InputError(
            f"has {allocated} bits per pixel ({stored_bits} stored, high bit {high_bit}, {samples} samples), "
            "expected 16 bits of one sample.",
            where=str(file),
        )
    compressed = dataset.file_meta.TransferSyntaxUID.is_encapsulated
    raw = _decoded(dataset, frame) if compressed else _plain(dataset, frame, signed=bool(signed))
    unused = 16 - stored_bits
    return ((raw << unused) >> unused).astype(np.int32)


def _plain(dataset: pydicom.Dataset, frame: Frame, *, signed: bool) -> npt.NDArray[Any]:
    data, shape = required(dataset, "PixelData", frame.file), frame.shape
    each = shape[0] * shape[1]
    needed = 2 * each * int(dataset.get("NumberOfFrames") or 1)
    if not needed <= len(data) <= needed + 1:
        raise InputError(f"has {len(data)} bytes of pixel data, {needed} are needed.", where=str(frame.file))
    dtype = "<i2" if signed else "<u2"
    return np.frombuffer(data, dtype=dtype, count=each, offset=2 * each * frame.index).reshape(shape)


def _decoded(dataset: pydicom.Dataset, frame: Frame) -> npt.NDArray[Any]:
    """One compressed frame by whichever of pydicom's plug-ins is installed."""
    syntax = dataset.file_meta.TransferSyntaxUID
    where = str(frame.file)
    try:
        decoder = get_decoder(syntax)
    except NotImplementedError as error:
        raise InputError(
            f"has transfer syntax {syntax.name}, which is not supported.",
            where=where,
            remedy="Export or convert it without compression.",
        ) from error
    if not decoder.is_available:
        raise InputError(
            f"is compressed ({syntax.name}) and no decoder for it is installed.",
            where=where,
            remedy='Install one with pip install "dosecalc[compressed]", or export without compression.',
        )
    count = int(dataset.get("NumberOfFrames") or 1)
    stated = _stated_shape(get_frame(required(dataset, "PixelData", frame.file), frame.index, number_of_frames=count))
    if stated not in (None, frame.shape):
        raise InputError(
            f"holds a compressed image of {stated} pixels, or a damaged one; expected {frame.shape}.", where=where
        )
    values, _ = decoder.as_array(dataset, index=frame.index, raw=True, decoding_plugin=_plugin(decoder))
    if values.shape != frame.shape:
        raise InputError(f"decodes to {values.shape} pixels, expected {frame.shape}.", where=where)
    return values


def _stated_shape(stream: bytes) -> tuple[int, int] | None:
    """Rows and columns that a JPEG, JPEG-LS or JPEG 2000 stream states; None for other streams.

    (0, 0) where its segments do not lead from the start to the pixels, or it states no single sample of up to 16 bits:
    decoders trust all this, and end the whole process where it is wrong.
    Sources: ISO/IEC 10918-1 table B.2, 14495-1 annex C, 15444-1 annex A.5.1.
    """
    if stream[:4] == b"\xff\x4f\xff\x51":
        width, height, left, top = struct.unpack_from(">4I", stream, 8)
        return height - top, width - left
    if stream[:2] != b"\xff\xd8":
        return None
    place, shape = 2, (0, 0)
    while stream[place : place + 1] == b"\xff":
        marker, length = stream[place + 1], struct.unpack_from(">H", stream, place + 2)[0]
        if marker == 0xDA:  # the pixels follow
            return shape
        if marker == 0xF7 or (0xC0 <= marker <= 0xCF and marker not in (0xC4, 0xC8, 0xCC)):
            bits, rows, columns, samples = struct.unpack_from(">BHHB", stream, place + 4)
            if samples != 1 or bits > 16:
                return 0, 0
            shape = rows, columns
        place += 2 + length
    return 0, 0


def _plugin(decoder: Any) -> str:
    """gdcm reads every syntax that CT comes in; pydicom's own run-length decoder needs nothing else."""
    return "gdcm" if "gdcm" in decoder.available_plugins else str(decoder.available_plugins[0])

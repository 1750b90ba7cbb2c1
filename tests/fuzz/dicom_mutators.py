"""Damage to DICOM files: at their bytes, and at the elements that an independent walk finds in valid ones."""

from __future__ import annotations

import random
import struct
import zlib
from collections.abc import Callable
from dataclasses import dataclass

from pydicom.datadict import dictionary_VR

LONG = (b"OB", b"OD", b"OF", b"OL", b"OV", b"OW", b"SQ", b"SV", b"UC", b"UN", b"UR", b"UT", b"UV")
UNDEFINED = 0xFFFFFFFF
EXPLICIT = b"1.2.840.10008.1.2.1\0"
DEFLATED = b"1.2.840.10008.1.2.1.99"
RUN_LENGTH = b"1.2.840.10008.1.2.5\0"
TEXTS = (b"AE", b"AS", b"CS", b"DA", b"DS", b"DT", b"IS", b"LO", b"PN", b"SH", b"ST", b"TM", b"UI", b"LT", b"UT")
NUMBERS = (b"US", b"SS", b"UL", b"SL", b"AT", b"FL", b"FD")
EXTREMES = (
    b"", b"0", b"-0", b"-1", b"1", b"2", b"65536", b"1e3", b"nan", b"inf", b"-inf", b"1e308", b"-1e308", b"1e-320",
    b"1e999", b"1e999999999", b"9" * 300, b"9" * 5000, b"1_0", b"0x10", b"1,5", b"\xff\xfe", b"../../x", b"1\\2\\3",
    b"\\", b"\0", b"<img onerror=x>", b"{{7*7}}", b"A" * 70,
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Element:
    """Where an element and its fields lie; `outer` lists (place, value) of the lengths that enclose it."""

    tag: tuple[int, int]
    vr: bytes
    start: int
    length_at: int
    length_size: int
    value_at: int
    end: int
    explicit: bool
    outer: tuple[tuple[int, int], ...]


def elements(data: bytes) -> list[Element]:
    """Every element of a valid little-endian file, depth first."""
    end = _meta_end(data)
    found: list[Element] = []
    _scan(data, 132, end, True, (), found)
    explicit = any(syntax in data[:end] for syntax in (EXPLICIT, RUN_LENGTH, DEFLATED))
    _scan(data, end, len(data), explicit, (), found)
    return found


def _meta_end(data: bytes) -> int:
    return 144 + int(struct.unpack_from("<I", data, 140)[0])


def _scan(
    data: bytes, at: int, end: int | None, explicit: bool, outer: tuple[tuple[int, int], ...], found: list[Element]
) -> int:
    while end is None or at < end:
        tag = struct.unpack_from("<HH", data, at)
        if tag == (0xFFFE, 0xE00D):
            return at + 8
        vr = data[at + 4 : at + 6] if explicit else _known(tag)
        place, size = (at + 8, 4) if explicit and vr in LONG else (at + 6, 2) if explicit else (at + 4, 4)
        length = int.from_bytes(data[place : place + size], "little")
        value = place + size
        index = len(found)
        found.append(Element(tag, vr, at, place, size, value, value, explicit, outer))
        if length == UNDEFINED and size == 4:
            at = _items(data, value, None, explicit, outer, found, fragments=tag == (0x7FE0, 0x0010))
        elif vr == b"SQ":
            at = _items(data, value, value + length, explicit, (*outer, (place, 4)), found, fragments=False)
        else:
            at = value + length
        found[index] = Element(tag, vr, found[index].start, place, size, value, at, explicit, outer)
    return at


def _items(
    data: bytes,
    at: int,
    end: int | None,
    explicit: bool,
    outer: tuple[tuple[int, int], ...],
    found: list[Element],
    *,
    fragments: bool,
) -> int:
    while end is None or at < end:
        group, element, length = struct.unpack_from("<HHI", data, at)
        at += 8
        if (group, element) == (0xFFFE, 0xE0DD):
            return at
        if fragments:
            at += length
        elif length == UNDEFINED:
            at = _scan(data, at, None, explicit, outer, found)
        else:
            at = _scan(data, at, at + length, explicit, (*outer, (at - 4, 4)), found)
    return at


def _known(tag: tuple[int, int]) -> bytes:
    try:
        return dictionary_VR(tag).encode()
    except KeyError:
        return b"UN"


def replaced(data: bytes, element: Element, start: int, end: int, new: bytes) -> bytes:
    """Bytes exchanged inside an element or beside it, with the enclosing lengths and the meta length kept right."""
    out = bytearray(data[:start] + new + data[end:])
    change = len(new) - (end - start)
    outer = [*element.outer, *([(140, 4)] if element.tag[0] == 2 else [])]
    for place, size in outer:
        length = int.from_bytes(data[place : place + size], "little")
        out[place : place + size] = ((length + change) % 2**32).to_bytes(size, "little")
    return bytes(out)


def with_value(data: bytes, element: Element, value: bytes) -> bytes:
    """Another value, padded to even length, with all lengths right."""
    pad = b"\0" if element.vr in (b"UI", *NUMBERS, b"OB", b"OW", b"UN") else b" "
    value = value[: 2 ** (8 * element.length_size) - 2]
    value += pad * (len(value) % 2)
    head = data[element.start : element.length_at] + len(value).to_bytes(element.length_size, "little")
    return replaced(data, element, element.start, element.end, head + value)


def nested(depth: int, *, explicit: bool, defined: bool) -> bytes:
    """One private-free sequence, `depth` deep: Referenced Image Sequence inside itself."""
    tag, body = b"\x08\x00\x40\x11", b""
    head = tag + (b"SQ\0\0" if explicit else b"")
    if not defined:
        opening = head + b"\xff" * 4 + b"\xfe\xff\x00\xe0" + b"\xff" * 4
        return opening * depth + (b"\xfe\xff\x0d\xe0\0\0\0\0" + b"\xfe\xff\xdd\xe0\0\0\0\0") * depth
    parts = []
    size = 0
    for _ in range(depth):
        parts.append(head + struct.pack("<I", size + 8) + b"\xfe\xff\x00\xe0" + struct.pack("<I", size))
        size += len(head) + 12
    return b"".join(reversed(parts)) + body


Mutation = tuple[bytes, bool]
Mutator = Callable[[random.Random, bytes, list[Element]], Mutation]
"""The bytes, and whether the element structure is damaged: then a different result must not come silently."""


def change_length(rng: random.Random, data: bytes, found: list[Element]) -> Mutation:
    """A wrong length field."""
    e = rng.choice(found)
    size = e.length_size
    old = int.from_bytes(data[e.length_at : e.length_at + size], "little")
    choices = (0, 1, old + 1, old - 1, old + 2, old - 2, old * 2, old ^ (1 << rng.randrange(8 * size)), 2**31, -1, -2)
    new = rng.choice([*choices, rng.getrandbits(8 * size)]) % 2 ** (8 * size)
    return data[: e.length_at] + new.to_bytes(size, "little") + data[e.length_at + size :], True


def duplicate(rng: random.Random, data: bytes, found: list[Element]) -> Mutation:
    """An element given twice; the second may say something else."""
    e = rng.choice(found)
    copy = bytearray(data[e.start : e.end])
    if e.end > e.value_at and rng.random() < 0.5:
        copy[e.value_at - e.start] ^= 1
    return replaced(data, e, e.end, e.end, bytes(copy)), True


def exchange(rng: random.Random, data: bytes, found: list[Element]) -> Mutation:
    """Two neighbours in the wrong order."""
    pairs = [(a, b) for a in found for b in found if a.end == b.start and a.outer == b.outer]
    a, b = rng.choice(pairs)
    return data[: a.start] + data[b.start : b.end] + data[a.start : a.end] + data[b.end :], True


def delete(rng: random.Random, data: bytes, found: list[Element]) -> Mutation:
    """An element missing; the file is well formed."""
    e = rng.choice(found)
    return replaced(data, e, e.start, e.end, b""), False


def empty(rng: random.Random, data: bytes, found: list[Element]) -> Mutation:
    """An element without a value; the file is well formed."""
    return with_value(data, rng.choice(found), b""), False


def extreme(rng: random.Random, data: bytes, found: list[Element]) -> Mutation:
    """A value that is out of range, not finite, of the wrong kind or hostile."""
    e = rng.choice([e for e in found if e.vr in (*TEXTS, *NUMBERS)])
    if e.vr in NUMBERS:
        size = rng.choice((1, 2, 4, 8))
        return with_value(data, e, rng.choice((b"\0", b"\xff", b"\x80", b"\x7f")) * size), False
    old = data[e.value_at : e.end]
    values = old.rstrip(b" \0").split(b"\\")
    values[rng.randrange(len(values))] = rng.choice(EXTREMES)
    return with_value(data, e, b"\\".join(values)), False


def multiplicity(rng: random.Random, data: bytes, found: list[Element]) -> Mutation:
    """More or fewer values than there should be."""
    e = rng.choice([e for e in found if e.vr in (*TEXTS, *NUMBERS)])
    old = data[e.value_at : e.end].rstrip(b" ")
    if e.vr in NUMBERS:
        return with_value(data, e, old * rng.choice((2, 3))), False
    values = old.split(b"\\")
    new = rng.choice((values * 2, values[:-1], [*values, b""], [b"", *values], values * 1000))
    return with_value(data, e, b"\\".join(new)), False


def change_vr(rng: random.Random, data: bytes, found: list[Element]) -> Mutation:
    """Another value representation, right lengths."""
    e = rng.choice(found)
    if not e.explicit:
        return multiplicity(rng, data, found)
    vr = rng.choice((*TEXTS, *NUMBERS, *LONG, b"ZZ", b"\0\0"))
    value = data[e.value_at : e.end]
    head = data[e.start : e.start + 4] + vr
    head += b"\0\0" + struct.pack("<I", len(value)) if vr in LONG else struct.pack("<H", len(value) % 2**16)
    return replaced(data, e, e.start, e.end, head + value), False


def change_tag(rng: random.Random, data: bytes, found: list[Element]) -> Mutation:
    """An element under another's name, or under an unknown one."""
    e, other = rng.choice(found), rng.choice(found)
    tag = other.tag if rng.random() < 0.5 else (e.tag[0], rng.getrandbits(16))
    return data[: e.start] + struct.pack("<HH", *tag) + data[e.start + 4 :], False


def exchange_values(rng: random.Random, data: bytes, found: list[Element]) -> Mutation:
    """The value of another element of the same kind: UIDs, numbers and names swapped."""
    e = rng.choice([e for e in found if e.vr in (*TEXTS, *NUMBERS)])
    other = rng.choice([o for o in found if o.vr == e.vr])
    return with_value(data, e, data[other.value_at : other.end]), False


def nest(rng: random.Random, data: bytes, found: list[Element]) -> Mutation:
    """Sequences in sequences, in a place that keeps the order of tags."""
    after = [e for e in found if not e.outer and e.tag[0] > 2]
    if not after:
        return extreme(rng, data, found)
    place = next((e for e in after if e.tag > (0x0008, 0x1140)), after[-1])
    deep = nested(rng.choice((1, 5, 31, 40, 300, 1000)), explicit=place.explicit, defined=rng.random() < 0.5)
    return data[: place.start] + deep + data[place.start :], False


def apply(mutator: Mutator, rng: random.Random, data: bytes) -> Mutation:
    """A valid file mutated; a deflated one inside, behind its meta group."""
    end = _meta_end(data)
    if DEFLATED not in data[:end]:
        return mutator(rng, data, elements(data))
    plain = data[:end] + zlib.decompress(data[end:], -zlib.MAX_WBITS)
    new, structural = mutator(rng, plain, [e for e in elements(plain) if e.tag[0] != 2])
    packer = zlib.compressobj(wbits=-zlib.MAX_WBITS)
    body = packer.compress(new[end:]) + packer.flush()
    return new[:end] + body + b"\0" * (len(body) % 2), structural


MUTATORS: tuple[Mutator, ...] = (
    change_length,
    duplicate,
    exchange,
    delete,
    empty,
    extreme,
    extreme,
    multiplicity,
    change_vr,
    change_tag,
    exchange_values,
    nest,
)

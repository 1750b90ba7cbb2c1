"""Seeded damage to the files of a seed."""

from __future__ import annotations

import bz2
import gzip
import random
import re
import struct
from dataclasses import dataclass

from . import dicom_mutators as dicom

NIFTI_FIELDS = {
    0: "i", 40: "h", 42: "h", 44: "h", 46: "h", 48: "h", 68: "h", 70: "h", 72: "h", 76: "f", 80: "f", 84: "f",
    88: "f", 108: "f", 112: "f", 116: "f", 123: "b", 252: "h", 254: "h", 256: "f", 268: "f", 280: "f", 284: "f",
    292: "f", 300: "f", 344: "i", 348: "i",
}  # fmt: skip
"""Offset and type of the header fields that decide how the data are read (NIfTI-1)."""
WHOLE = {"b": (-128, -1, 0, 1, 3, 127), "h": (-32768, -1, 0, 1, 2, 3, 128, 1792, 2048, 32767), "i": (-1, 0, 1, 2**30)}
REAL = (0.0, -1.0, 1.0, 352.5, 351.0, 368.0, 1e9, 1e30, -1e30, float("nan"), float("inf"), 1e-40)
TEXT_VALUES = (
    "", "0", "-1", "1e999", "nan", "inf", "-inf", "9" * 400, "9" * 5000, "1_0", "0x7fffffffffffffffff", "true", "null",
    '""', "[]", "{}", "[[[[]]]]", '"\\u0000"', '"' + "A" * 5000 + '"', '"<img onerror=x>"', '"../../x"', "1979-05-27",
    '"\\ud800"', "'''", "[" * 3000, "{a=" * 3000, "a." * 3000,
)  # fmt: skip
NRRD_LINES = (
    "data file: /etc/passwd", "data file: ../ct.nrrd", "datafile: LIST", "byte skip: -1", "line skip: 1000000000",
    "encoding: bzip2", "encoding: ascii", "encoding: hex", "encoding: raw", "encoding: gzip", "type: block",
    "type: double", "type: unsigned long long", "endian: big", "endian: middle", "dimension: 4", "dimension: -1",
    "sizes: 3 4 5", "sizes: 0 4 3", "sizes: -5 -4 3", "sizes: 100000 100000 100000", "sizes: 9999999999999999999 1 1",
    "sizes: 1 1 1", "space: scanner-xyz", "space: RAS", "space dimension: 2", "space origin: (nan,inf,0)",
    "space origin: (1)", "space directions: none (0,3,0) (0,0,4)", "space directions: (0,0,0) (0,3,0) (0,0,4)",
    "space directions: (1e300,0,0) (0,1e-300,0) (0,0,1)", 'space units: "m" "m" "m"', "kinds: vector domain domain",
    "Segment0_Name:=../../x", "Segment1_LabelValue:=1", "Segment1_LabelValue:=" + "9" * 5000, "nothing",
)  # fmt: skip
"""Header fields that claim another file, encoding, size or place."""


@dataclass(frozen=True, slots=True)
class Mutant:
    """The files of a damaged seed.

    Attributes
    ----------
    files : dict of str to bytes
    name : str
        What was done.
    structural : bool
        The structure of the file is damaged: a result other than the seed's must not come without a notice.
    """

    files: dict[str, bytes]
    name: str
    structural: bool


def mutate(rng: random.Random, files: dict[str, bytes]) -> Mutant:
    """One file of the seed damaged in one way, by its name for any bytes or for its format."""
    name = rng.choice(sorted(files))
    data = files[name]
    is_text = name.endswith((".toml", ".json", ".txt", ".csv"))
    if rng.random() < 0.4:
        how, (new, structural) = _bytes(rng, data, name)
    elif is_text:
        how, (new, structural) = "text", _text(rng, data)
    elif name.endswith(".dcm"):
        mutator = rng.choice(dicom.MUTATORS)
        how, (new, structural) = mutator.__name__, dicom.apply(mutator, rng, data)
    elif name.endswith(".nrrd"):
        how, (new, structural) = "nrrd_header", _nrrd(rng, data)
    elif name.endswith((".nii", ".nii.gz")):
        how, (new, structural) = "nifti_field", _nifti(rng, data)
    else:
        how, (new, structural) = _bytes(rng, data, name)
    return Mutant({**files, name: new}, f"{name}: {how}", structural)


def _bytes(rng: random.Random, data: bytes, name: str) -> tuple[str, dicom.Mutation]:
    """Damage that knows nothing of the format.

    A shorter TOML file may be a complete one. A deflated dataset keeps no sum of its content: it may inflate to a
    complete one all the same. Neither does the header of an NRRD file.
    """
    packed = name.endswith(".gz")
    binary = not name.endswith((".toml", ".txt", ".csv"))
    summed = binary and not name.endswith((".json", ".npz")) and dicom.DEFLATED not in data
    how = rng.choice(("flip", "flip", "cut", "insert", "remove", "splice"))
    at = rng.randrange(len(data))
    length = rng.randint(1, 16)
    summed = summed and not (data.startswith(b"NRRD") and at < data.index(b"\n\n") + 2)
    if how == "flip":
        out = bytearray(data)
        for _ in range(rng.choice((1, 1, 2, 8))):
            out[rng.randrange(len(out))] ^= 1 << rng.randrange(8)
        return how, (bytes(out), packed)
    if how == "cut":
        return how, (data[:at], binary)
    if how == "insert":
        return how, (data[:at] + rng.randbytes(length) + data[at:], summed)
    if how == "remove":
        return how, (data[:at] + data[at + length :], summed)
    source = rng.randrange(len(data))
    chunk = data[source : source + 4 * length]
    return how, (data[:at] + chunk + data[at + len(chunk) :], packed)


def _text(rng: random.Random, data: bytes) -> dicom.Mutation:
    text = data.decode("utf-8")
    how = rng.randrange(5)
    if how == 0:  # a value
        spots = list(re.finditer(r"(?<=[=:\[,] )[^,\n\]}]+", text)) or list(re.finditer(r"\w+", text))
        spot = rng.choice(spots)
        text = text[: spot.start()] + rng.choice(TEXT_VALUES) + text[spot.end() :]
    elif how == 1:  # a number
        spots = list(re.finditer(r"-?\d+(\.\d+)?", text)) or list(re.finditer(r"\w+", text))
        spot = rng.choice(spots)
        text = text[: spot.start()] + rng.choice(TEXT_VALUES[:11]) + text[spot.end() :]
    elif how == 2:  # a word
        spot = rng.choice(list(re.finditer(r"\w+", text)))
        text = text[: spot.start()] + rng.choice(("", "x", "role", "é" * 40, "A" * 70, "\u202e")) + text[spot.end() :]
    else:  # a line gone, repeated or moved
        lines = text.splitlines(keepends=True)
        line = rng.randrange(len(lines))
        kept = lines[:line] + lines[line + 1 :]
        target = rng.randrange(len(lines) + 1)
        lines = kept if how == 3 else lines[:target] + [lines[line]] * rng.choice((1, 1, 1200)) + lines[target:]
        text = "".join(lines)
    return text.encode("utf-8"), False


def _nifti(rng: random.Random, data: bytes) -> dicom.Mutation:
    """One header field replaced; the length of the data then differs, or the file says something else."""
    packed = data[:2] == b"\x1f\x8b"
    out = bytearray(gzip.decompress(data) if packed else data)
    offset, kind = rng.choice(list(NIFTI_FIELDS.items()))
    value = rng.choice(REAL) if kind == "f" else rng.choice(WHOLE[kind])
    struct.pack_into("<" + kind, out, offset, value)
    return (gzip.compress(bytes(out), mtime=0) if packed else bytes(out)), offset == 108


def _nrrd(rng: random.Random, data: bytes) -> dicom.Mutation:
    """One header line replaced, added, gone or damaged, or the voxels in another encoding than the header says."""
    head, body = data.split(b"\n\n", 1)
    lines = head.decode("ascii").split("\n")
    how = rng.randrange(5)
    if how == 0:
        body = rng.choice((bz2.compress(body), gzip.compress(body, mtime=0), gzip.compress(bytes(2**22), mtime=0)))
        return head + b"\n\n" + body, False
    if how == 1:
        text, _ = _text(rng, head)
        return text + b"\n\n" + body, False
    line = rng.choice(NRRD_LINES)
    key = line.split(":")[0]
    kept = [old for old in lines if old.split(":")[0] != key] if how < 4 else lines
    return "\n".join([*kept, line]).encode("ascii") + b"\n\n" + body, False

"""Reading the TOML files of this package: shipped ones by name, the user's by path."""

from __future__ import annotations

import os
import tomllib
from collections.abc import Sequence
from dataclasses import dataclass
from importlib.resources import files
from importlib.resources.abc import Traversable
from pathlib import Path
from typing import Any

from .errors import ProtocolError
from .faults import nearest

# A protocol of a hundred goals is about 50 kB; more than this is another kind of file.
LARGEST_FILE_BYTES = 1_000_000

# Every entry of a list is checked by itself: a megabyte of empty tables would take minutes to refuse.
LONGEST_LIST = 1000


@dataclass(frozen=True, slots=True)
class Kind:
    """One kind of file: what it is called, and the folder of the shipped ones."""

    name: str
    folder: str

    @property
    def shipped(self) -> tuple[str, ...]:
        """Names of the shipped files, sorted."""
        names = (entry.name for entry in self._folder().iterdir())
        return tuple(sorted(name.removesuffix(".toml") for name in names if name.endswith(".toml")))

    def read(self, name_or_path: str | os.PathLike[str], *, beside: Path | None = None) -> tuple[str, bytes]:
        """Where the file was found, and its bytes; a relative path is looked for in the folder `beside`.

        Raises
        ------
        ProtocolError
            There is no such name or file, or it is none of this kind.
        """
        text = os.fspath(name_or_path)
        if text in self.shipped:
            return f"protocols/{self.folder}/{text}.toml", self._folder().joinpath(f"{text}.toml").read_bytes()
        looks_like_path = isinstance(name_or_path, os.PathLike) or text.endswith(".toml") or os.sep in text
        path = Path(text) if beside is None else beside / text
        try:
            if path.is_file():
                return str(path), self._bounded(path)
            is_there = path.exists()
        except (OSError, ValueError) as error:
            raise ProtocolError(f"the {self.name} file cannot be read ({error}).", where=text[:200]) from error
        if is_there:
            raise ProtocolError(f"a {self.name} is a TOML file, this is none.", where=text)
        if looks_like_path:
            raise ProtocolError(f"there is no such {self.name} file.", where=text, remedy=self._known_names(text))
        raise ProtocolError(f"unknown {self.name} {text[:200]!r}.", remedy=self._known_names(text))

    def _folder(self) -> Traversable:
        return files(__package__).joinpath(self.folder)

    def _known_names(self, text: str) -> str:
        stem = Path(text).name.removesuffix(".toml")
        return f"Shipped {self.name}s: {', '.join(self.shipped)}.{nearest(stem, self.shipped)}"

    def _bounded(self, path: Path) -> bytes:
        with path.open("rb") as stream:
            data = stream.read(LARGEST_FILE_BYTES + 1)
        if len(data) > LARGEST_FILE_BYTES:
            raise ProtocolError(
                f"a {self.name} file has at most {LARGEST_FILE_BYTES} bytes, this one has more.", where=str(path)
            )
        return data


PROTOCOL = Kind("protocol", "library")
CONSTRAINT_SET = Kind("constraint set", "constraints")
PRESCRIPTION = Kind("prescription", "prescriptions")
PLANNING = Kind("planning part", "planning")


def parsed(data: bytes, origin: str) -> dict[str, Any]:
    """The bytes of a TOML file as nested dictionaries.

    Raises
    ------
    ProtocolError
        No UTF-8, no TOML, or a list of more than `LONGEST_LIST` entries.
    """
    try:
        # Some editors put a byte order mark in front, which TOML's grammar does not know.
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        message = f"the file is not UTF-8 text (byte {error.start})."
        raise ProtocolError(message, where=origin, remedy="Save it as UTF-8.") from error
    try:
        raw = tomllib.loads(text)
    except RecursionError as error:
        raise ProtocolError("the file is nested too deeply to be a protocol.", where=origin) from error
    except ValueError as error:
        raise ProtocolError(f"the file is not valid TOML: {error}.", where=origin) from error
    _refuse_long_lists(raw, origin)
    return raw


def invalid(kind: Kind, origin: str, faults: Sequence[str]) -> ProtocolError:
    """The error that lists the faults of a file."""
    count = "1 fault" if len(faults) == 1 else f"{len(faults)} faults"
    return ProtocolError(f"the {kind.name} has {count}.", where=origin, faults=tuple(faults))


def _refuse_long_lists(raw: dict[str, Any], origin: str) -> None:
    """Refuse a file with a list of more than `LONGEST_LIST` entries, however deep."""
    todo: list[Any] = [raw]
    while todo:
        node = todo.pop()
        if isinstance(node, list) and len(node) > LONGEST_LIST:
            message = f"a list in a protocol has at most {LONGEST_LIST} entries, one here has {len(node)}."
            raise ProtocolError(message, where=origin)
        if isinstance(node, dict | list):
            todo.extend(node.values() if isinstance(node, dict) else node)

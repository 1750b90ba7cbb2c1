"""Reading protocol files: shipped ones by name, the user's by path."""

from __future__ import annotations

import hashlib
import os
import tomllib
from collections.abc import Collection
from importlib.resources import files
from importlib.resources.abc import Traversable
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from .errors import ProtocolError
from .faults import faults_of, nearest
from .schema import Protocol, Provenance

# A protocol of a hundred goals is about 50 kB; more than this is another kind of file.
LARGEST_FILE_BYTES = 1_000_000

# Every entry of a list is checked by itself: a megabyte of empty tables would take minutes to refuse.
LONGEST_LIST = 1000


def available() -> tuple[str, ...]:
    """Names of the shipped protocols, sorted."""
    names = (entry.name for entry in _library().iterdir())
    return tuple(sorted(name.removesuffix(".toml") for name in names if name.endswith(".toml")))


def json_schema() -> dict[str, Any]:
    """The JSON Schema (draft 2020-12) of a protocol file, for editors."""
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        **Protocol.model_json_schema(mode="validation"),
    }


def load(name_or_path: str | os.PathLike[str], *, accept_limits: Collection[str] = ()) -> Protocol:
    """Read and check a protocol.

    Parameters
    ----------
    name_or_path : str or path
        A name that `available` lists, or the path of a TOML file.
    accept_limits : collection of str
        Ids of mandatory limits of status COMPUTED or REMEMBERED that the user accepts by name; for numbers of
        the prescription ``prescription.floor``, ``prescription.cap`` or ``prescription.hot_spot``. Those that
        were needed are listed in `Protocol.accepted_limits`.

    Returns
    -------
    Protocol

    Raises
    ------
    ProtocolError
        The name is unknown, the file cannot be read, or the protocol has faults: all of them are listed in
        `faults`.
    """
    origin, data = _read(name_or_path)
    raw = _parsed(data, origin)
    _refuse_long_lists(raw, origin)
    provenance = Provenance(origin=origin, sha256=hashlib.sha256(data).hexdigest())
    accepted = frozenset([accept_limits] if isinstance(accept_limits, str) else accept_limits)
    try:
        protocol = Protocol.model_validate(raw, context={"accept_limits": accepted, "provenance": provenance})
    except ValidationError as error:
        raise _invalid(origin, faults_of(error, raw)) from error
    if unknown := _unknown_acceptances(protocol, accepted):
        raise _invalid(origin, unknown)
    return protocol


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


def _invalid(origin: str, faults: tuple[str, ...]) -> ProtocolError:
    count = "1 fault" if len(faults) == 1 else f"{len(faults)} faults"
    return ProtocolError(f"the protocol has {count}.", where=origin, faults=faults)


def _unknown_acceptances(protocol: Protocol, accepted: frozenset[str]) -> tuple[str, ...]:
    """A typing error in an acceptance must not pass as an acceptance of something else."""
    goals = (*protocol.goals, *protocol.prescription.target_goals)
    known = [*(goal.id for goal in goals), *(f"prescription.{key}" for key in ("floor", "cap", "hot_spot"))]
    return tuple(
        f"accept_limits: the protocol has no limit {name!r}.{nearest(name, known)}"
        for name in sorted(accepted - set(known))
    )


def _library() -> Traversable:
    return files(__package__).joinpath("library")


def _read(name_or_path: str | os.PathLike[str]) -> tuple[str, bytes]:
    """Where the protocol was found, and its bytes."""
    text = os.fspath(name_or_path)
    if text in available():
        return f"protocols/library/{text}.toml", _library().joinpath(f"{text}.toml").read_bytes()
    looks_like_path = isinstance(name_or_path, os.PathLike) or text.endswith(".toml") or os.sep in text
    try:
        is_file = Path(text).is_file()
        if is_file:
            return text, _bounded(Path(text))
        is_there = Path(text).exists()
    except (OSError, ValueError) as error:
        raise ProtocolError(f"the protocol file cannot be read ({error}).", where=text[:200]) from error
    if is_there:
        raise ProtocolError("a protocol is a TOML file, this is none.", where=text)
    if looks_like_path:
        raise ProtocolError("there is no such protocol file.", where=text, remedy=_known_names(text))
    raise ProtocolError(f"unknown protocol {text[:200]!r}.", remedy=_known_names(text))


def _known_names(text: str) -> str:
    stem = Path(text).name.removesuffix(".toml")
    return f"Shipped protocols: {', '.join(available())}.{nearest(stem, available())}"


def _bounded(path: Path) -> bytes:
    with path.open("rb") as stream:
        data = stream.read(LARGEST_FILE_BYTES + 1)
    if len(data) > LARGEST_FILE_BYTES:
        raise ProtocolError(
            f"a protocol file has at most {LARGEST_FILE_BYTES} bytes, this one has more.", where=str(path)
        )
    return data


def _parsed(data: bytes, origin: str) -> dict[str, Any]:
    """The TOML file as nested dictionaries."""
    try:
        # Some editors put a byte order mark in front, which TOML's grammar does not know.
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        message = f"the file is not UTF-8 text (byte {error.start})."
        raise ProtocolError(message, where=origin, remedy="Save it as UTF-8.") from error
    try:
        return tomllib.loads(text)
    except RecursionError as error:
        raise ProtocolError("the file is nested too deeply to be a protocol.", where=origin) from error
    except ValueError as error:
        raise ProtocolError(f"the file is not valid TOML: {error}.", where=origin) from error

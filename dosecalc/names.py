"""Names of organs: from what a file calls them to TG-263 names.

The table is `aliases.toml` beside this file. Targets are never renamed, nothing is dropped, and a name that
two structures claim is refused rather than guessed.
"""

from __future__ import annotations

import tomllib
from collections.abc import Iterable
from dataclasses import dataclass, replace
from functools import cache
from importlib.resources import files
from pathlib import Path
from typing import TypeAlias

import numpy as np

from .errors import InputError, UnsafeInputError
from .grid import Grid
from .spelling import key as _key
from .spelling import near
from .structures import Occupancy, Structure, StructureSet

EXTERNAL_NAME = "Body"
TABLE_LIMIT = 2**18  # bytes: the shipped table is a fiftieth of it
_TARGET_ROLES = ("GTV", "ITV", "CTV", "PTV")


@dataclass(frozen=True, slots=True)
class Organ:
    """One entry of the table.

    Attributes
    ----------
    name : str
        TG-263 name.
    aliases : tuple of str
        Other names of the same organ.
    parts : tuple of str
        Names that together make the organ.
    surrogates : tuple of str
        Names of something near the organ that is not the organ.
    """

    name: str
    aliases: tuple[str, ...] = ()
    parts: tuple[str, ...] = ()
    surrogates: tuple[str, ...] = ()


Table: TypeAlias = dict[str, Organ]


@dataclass(frozen=True, slots=True, eq=False)
class Match:
    """Structures under TG-263 names, and what was done to get there.

    Attributes
    ----------
    structures : StructureSet
        In the given order, joined organs last.
    renamed : tuple of (given, TG-263) names
    joined : tuple of (TG-263 name, given names of the parts found)
    missing : tuple of str
        Wanted names that nothing answers to.
    unmatched : tuple of str
        Structures, targets excepted, that keep a name the table does not know and nobody wanted.
    """

    structures: StructureSet
    renamed: tuple[tuple[str, str], ...]
    joined: tuple[tuple[str, tuple[str, ...]], ...]
    missing: tuple[str, ...]
    unmatched: tuple[str, ...]


def canonical_name(name: str, table: Table | None = None) -> str | None:
    """The TG-263 name of the organ that a name stands for, or None; case and separators do not count."""
    return (_shipped_keys() if table is None else _names_by_key(table)).get(_key(name))


def surrogates(name: str) -> tuple[str, ...]:
    """Names of structures that may stand in for an organ for information, never for judging it."""
    organ = shipped_table().get(name)
    return organ.surrogates if organ else ()


@cache
def shipped_table() -> Table:
    """The table beside this file."""
    text = (files(__package__) / "aliases.toml").read_text("utf-8")
    return {
        name: Organ(name, **{key: tuple(values) for key, values in entry.items()})
        for name, entry in tomllib.loads(text).items()
    }


def read_table(path: str | Path) -> Table:
    """The shipped table with a user's own names laid over it.

    The file has the form of the shipped one: tables such as ``[Liver]`` with ``aliases = [...]`` or ``parts = [...]``.
    A name that it gives to an organ is taken from any other.

    Raises
    ------
    InputError
        The file cannot be read; all its faults together.
    """
    try:
        if Path(path).stat().st_size > TABLE_LIMIT:
            raise UnsafeInputError(f"has more than {TABLE_LIMIT // 2**10} KiB of names.", where=str(path))
        given = tomllib.loads(Path(path).read_text("utf-8"))
    except (OSError, ValueError, RecursionError) as error:
        raise InputError(
            f"cannot be read as TOML: {error}.", where=str(path), remedy="Check path and syntax."
        ) from error
    faults = [fault for name, entry in given.items() for fault in _entry_faults(name, entry)]
    claimed = [(_key(alias), name) for name, entry in given.items() if not faults for alias in entry.get("aliases", ())]
    for key in dict.fromkeys(key for key, _ in claimed):
        owners = dict.fromkeys(name for other, name in claimed if other == key)
        if len(owners) > 1:
            faults.append(f"one name is given to {' and '.join(owners)}")
    if faults:
        raise InputError(f"{'; '.join(faults)}.", where=str(path), remedy='Write [Liver] and aliases = ["My liver"].')
    return _laid_over(given, {key for key, _ in claimed})


def _entry_faults(name: str, entry: object) -> list[str]:
    if not isinstance(entry, dict):
        return [f"{name}: expected a table"]
    known = ("aliases", "parts")
    return [
        f"{name}.{key}: {'expected a list of names' if key in known else 'is unknown, there are ' + ', '.join(known)}"
        for key, value in entry.items()
        if key not in known or not isinstance(value, list) or not all(isinstance(v, str) and v.strip() for v in value)
    ]


def _laid_over(given: dict[str, dict[str, list[str]]], claimed: set[str]) -> Table:
    table = {
        name: replace(organ, aliases=tuple(a for a in organ.aliases if _key(a) not in claimed))
        for name, organ in shipped_table().items()
    }
    for name, entry in given.items():
        organ = table.get(name, Organ(name))
        aliases, parts = (*organ.aliases, *entry.get("aliases", ())), (*organ.parts, *entry.get("parts", ()))
        table[name] = replace(organ, aliases=aliases, parts=parts)
    return table


def known_as(name: str) -> str:
    """What the shipped table makes of a name, in words: an organ, a part of one, or nothing."""
    organ = canonical_name(name)
    wholes = [o.name for o in shipped_table().values() if _key(name) in map(_key, o.parts)]
    return organ or (f"part of {wholes[0]}" if wholes else "")


def suggestions(name: str, table: Table | None = None) -> tuple[str, ...]:
    """The TG-263 name of the organ that a name which stands for none looks like; empty where two are as likely."""
    table = shipped_table() if table is None else table
    parts = {_key(part) for organ in table.values() for part in organ.parts}
    if canonical_name(name, table) is not None or _key(name) in parts:
        return ()
    owner = {alias: organ.name for organ in table.values() for alias in (*organ.aliases, organ.name)}
    organs = tuple(dict.fromkeys(owner[alias] for alias in near(name, owner)))
    return organs if len(organs) == 1 else ()


def match(structures: StructureSet, wanted: Iterable[str], grid: Grid, *, table: Table | None = None) -> Match:
    """Bring structures to TG-263 names and join the parts of wanted organs.

    Parameters
    ----------
    structures : StructureSet
    wanted : iterable of str
        Names that the protocol asks for, organs or targets.
    grid : Grid
        The CT's: parts are joined on its voxels.
    table : dict of str to Organ, optional
        From `read_table`; the shipped one by default.

    Raises
    ------
    InputError
        Two structures stand for the same wanted organ.
    """
    wanted = tuple(dict.fromkeys(wanted))
    organs = [s for s in structures if s.role not in _TARGET_ROLES]
    table = shipped_table() if table is None else table
    owners = _owners(organs, wanted, table)
    joined = {
        name: parts for name in wanted if name not in owners and (parts := _parts_of(name, organs, owners, table))
    }
    used = {part.name for parts in joined.values() for part in parts if part.name not in _final(owners)}
    titles = {owner.name: name for name, owner in owners.items()}
    kept = [_titled(s, titles.get(s.name, s.name)) for s in structures if s.name not in used]
    whole = [_joined(name, parts, grid) for name, parts in joined.items()]
    result = replace(structures, structures=(*kept, *whole))
    return Match(
        structures=result,
        renamed=tuple((given, name) for given, name in titles.items() if given != name),
        joined=tuple((name, tuple(part.name for part in parts)) for name, parts in joined.items()),
        missing=tuple(name for name in wanted if name not in result),
        unmatched=tuple(s.name for s in organs if s.name not in titles and s.name not in used),
    )


@cache
def _shipped_keys() -> dict[str, str]:
    return _names_by_key(shipped_table())


def _names_by_key(table: Table) -> dict[str, str]:
    """TG-263 name by the key of each name and alias; no alias may stand for two organs."""
    by_key: dict[str, str] = {}
    for organ in table.values():
        for alias in (organ.name, *organ.aliases):
            if by_key.setdefault(_key(alias), organ.name) != organ.name:
                raise InputError(
                    f"{alias!r} stands for both {by_key[_key(alias)]} and {organ.name}.",
                    where="aliases",
                    remedy="Give a name to one organ only.",
                )
    return by_key


def _owners(organs: list[Structure], wanted: tuple[str, ...], table: Table) -> dict[str, Structure]:
    """The one structure behind each name: TG-263 names, and wanted names that the table does not know.

    Whatever it is called, the only outline of the body is that.
    """
    titles = _names_by_key(table)
    own = {_key(name): name for name in wanted if _key(name) not in titles}
    claims: dict[str, list[Structure]] = {}
    for structure in organs:
        name = titles.get(_key(structure.name)) or own.get(_key(structure.name))
        if name is not None:
            claims.setdefault(name, []).append(structure)
    outlines = [structure for structure in organs if structure.role == "EXTERNAL"]
    if len(outlines) == 1 and not any(outlines[0] is structure for some in claims.values() for structure in some):
        claims.setdefault(EXTERNAL_NAME, outlines)
    for name, claimants in claims.items():
        if len(claimants) > 1 and name in wanted:
            given = " and ".join(repr(s.name) for s in claimants)
            raise InputError(
                f"{given} all stand for {name}.",
                where="structures",
                remedy="Rename or delete all but one.",
            )
    return {name: claimants[0] for name, claimants in claims.items() if len(claimants) == 1}


def _parts_of(name: str, organs: list[Structure], owners: dict[str, Structure], table: Table) -> tuple[Structure, ...]:
    """The structures that together make an organ, down to the parts of its parts, each once."""
    by_key = {_key(s.name): s for s in organs}
    found: dict[str, Structure] = {}
    seen = {name}
    todo = list(reversed(table[name].parts)) if name in table else []
    while todo:
        part = todo.pop()
        if part in seen:  # a user's table may lead back to where it came from
            continue
        seen.add(part)
        structure = owners.get(part) or by_key.get(_key(part))
        if structure is not None:
            found.setdefault(structure.name, structure)
        elif part in table:
            todo += reversed(table[part].parts)
    return tuple(found.values())


def _final(owners: dict[str, Structure]) -> set[str]:
    """Given names of structures that are organs of their own and so stay beside an organ joined from them."""
    return {owner.name for owner in owners.values()}


def _titled(structure: Structure, name: str) -> Structure:
    role = "EXTERNAL" if name == EXTERNAL_NAME else structure.role
    if (name, role) == (structure.name, structure.role):
        return structure
    return Structure(name, role, structure.geometry)


def _joined(name: str, parts: tuple[Structure, ...], grid: Grid) -> Structure:
    """The parts' shares added up to the whole voxel: parts of an organ share borders, not volume."""
    cc = np.zeros(grid.size)
    for part in parts:
        voxels = part.on(grid)
        cc[voxels.indices] += voxels.cc
    fraction = np.minimum(cc / grid.voxel_cc, 1.0).astype(np.float32)
    return Structure(name, "ORGAN", Occupancy(grid, fraction.reshape(grid.shape)))

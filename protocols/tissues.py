"""Alpha/beta of organs: what a user or a protocol states, before the shipped ``models/tissues.toml``."""

from __future__ import annotations

import tomllib
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from typing import Annotated, Literal

from pydantic import Field

from .fields import Name, Positive, Status, Strict, Text

ON_THE_COMMAND_LINE = "--alpha-beta"
"""Origin of a value that stands in no file."""


@dataclass(frozen=True, slots=True)
class AlphaBeta:
    """Alpha/beta of some structures; without structures, of all others.

    Attributes
    ----------
    structures : tuple of str
        TG-263 names. An organ stands for its planning risk volumes (NAME_PRV02) and for what is left of it beside a
        target (NAME-GTV) too, unless these are named themselves.
    alpha_beta_gy : float
    source, status : str
    origin : str
        The file that states it, or `ON_THE_COMMAND_LINE`.
    """

    structures: tuple[str, ...]
    alpha_beta_gy: float
    source: str
    status: str
    origin: str


class Tissue(Strict):
    """Alpha/beta of some structures, as a file states it."""

    structures: Annotated[tuple[Name, ...], Field(min_length=1)]
    alpha_beta_gy: Positive
    source: Text
    status: Status

    def stated_in(self, origin: str) -> AlphaBeta:
        """The value with the file it comes from."""
        return AlphaBeta(self.structures, self.alpha_beta_gy, self.source, self.status, origin)


class _Others(Strict):
    """What holds for every structure that no tissue names."""

    alpha_beta_gy: Positive
    source: Text
    status: Status


class _Tissues(Strict):
    schema_version: Literal[1]
    tissues: tuple[Tissue, ...]
    others: _Others


def alpha_beta_of(name: str, stated: Iterable[AlphaBeta] = ()) -> AlphaBeta:
    """Alpha/beta of a structure: as stated, or the shipped value.

    Parameters
    ----------
    name : str
        TG-263 name.
    stated : iterable of AlphaBeta
        By the user and by the protocol; the first that names the structure, or else its organ, holds.
    """
    known = (*stated, *shipped_tissues())
    for spelled in dict.fromkeys((name, organ_of(name))):
        for tissue in known:
            if spelled in tissue.structures:
                return tissue
    return known[-1]


def organ_of(name: str) -> str:
    """The organ that a structure is part of: Liver of Liver-GTV, SpinalCord of SpinalCord_PRV05."""
    return name.partition("_PRV")[0].partition("-")[0]


@cache
def shipped_tissues() -> tuple[AlphaBeta, ...]:
    """The shipped table; the last entry stands for what the others do not name."""
    origin = "protocols/models/tissues.toml"
    text = files(__package__).joinpath("models", "tissues.toml").read_text(encoding="utf-8")
    table = _Tissues.model_validate(tomllib.loads(text))
    rest = table.others
    last = AlphaBeta((), rest.alpha_beta_gy, rest.source, rest.status, origin)
    return (*(tissue.stated_in(origin) for tissue in table.tissues), last)

"""Alpha/beta of organs for adding doses of different fractionations: ``models/tissues.toml``."""

from __future__ import annotations

import tomllib
from functools import cache
from importlib.resources import files
from typing import Literal

from .fields import Name, Positive, Status, Strict, Text


class Tissue(Strict):
    """Alpha/beta of some structures; without structures, of all others."""

    structures: tuple[Name, ...] = ()
    alpha_beta_gy: Positive
    source: Text
    status: Status

    def covers(self, name: str) -> bool:
        """Whether a structure, or a planning risk volume of it (NAME_PRV02), is meant."""
        return name.partition("_PRV")[0] in self.structures


class Tissues(Strict):
    """All tissues; the last one stands for what the others do not name."""

    schema_version: Literal[1]
    tissues: tuple[Tissue, ...]

    def of(self, name: str) -> Tissue:
        """The tissue of a structure."""
        return next((tissue for tissue in self.tissues if tissue.covers(name)), self.tissues[-1])


@cache
def tissues() -> Tissues:
    """The shipped table."""
    text = files(__package__).joinpath("models", "tissues.toml").read_text(encoding="utf-8")
    return Tissues.model_validate(tomllib.loads(text))

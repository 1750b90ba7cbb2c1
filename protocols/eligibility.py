"""Rules of the reviews on who is treated this way, as data: ``models/eligibility.toml``."""

from __future__ import annotations

import tomllib
from functools import cache
from importlib.resources import files
from typing import Annotated, Literal, TypeAlias

from pydantic import Field, StrictBool, model_validator

from .fields import Comparator, Identifier, Note, Positive, Status, Strict, Text

Measure: TypeAlias = Literal[
    "lesions", "diameter_mm", "liver_cc", "liver_spared_cc", "liver_mean_gy", "gut_mm", "central_tract_mm"
]
Fact: TypeAlias = Literal["chemotherapy", "liver_function"]
UNITS: dict[str, str] = {
    "lesions": "",
    "diameter_mm": "mm",
    "liver_cc": "cc",
    "liver_spared_cc": "cc",
    "liver_mean_gy": "Gy",
    "gut_mm": "mm",
    "central_tract_mm": "mm",
}


class EligibilityRule(Strict):
    """One rule.

    Attributes
    ----------
    id : str
    rule : str
        The rule in our words.
    quote, quoted_from : str
        The same in the words of a publication, and which; empty where none was at hand.
    measure : str, optional
        What is measured and compared; else `fact` is asked of the user.
    comparator, limit : str and float, optional
        The rule is kept where ``measure comparator limit``.
    dose_gy, dose_fractions : float and int, optional
        For "liver_spared_cc": volume below this dose in so many fractions; in other fractions below the dose of equal
        BED (alpha/beta 2.5 Gy).
    fact : "chemotherapy" or "liver_function", optional
        What the images do not show.
    broken : "caution" or "excluded"
        Verdict where the rule is not kept.
    fractions : tuple of int
        Numbers of fractions that it holds for; empty for any.
    after_chemotherapy : bool
        True for the stricter limits of a liver that had chemotherapy.
    source, status, note : str
        As for limits.
    """

    id: Identifier
    rule: Text
    quote: Note = ""
    quoted_from: Note = ""
    measure: Measure | None = None
    comparator: Comparator | None = None
    limit: Annotated[float, Field(strict=True, ge=0, allow_inf_nan=False)] | None = None
    dose_gy: Positive | None = None
    dose_fractions: int | None = None
    fact: Fact | None = None
    broken: Literal["caution", "excluded"]
    fractions: tuple[int, ...] = ()
    after_chemotherapy: StrictBool = False
    source: Text
    status: Status
    note: Note = ""

    @model_validator(mode="after")
    def _is_whole(self) -> EligibilityRule:
        if bool(self.quote) != bool(self.quoted_from):
            raise ValueError("a quote states where it was read, and nothing else does.")
        stated = [value is not None for value in (self.measure, self.comparator, self.limit)]
        if (self.fact is None) != all(stated) or (self.fact is not None) == any(stated):
            raise ValueError("a rule states either a fact, or a measure with comparator and limit.")
        if (self.measure == "liver_spared_cc") != (self.dose_gy is not None and self.dose_fractions is not None):
            raise ValueError("liver_spared_cc states dose_gy and dose_fractions, and no other measure does.")
        return self

    def holds_for(self, fractions: int) -> bool:
        """Whether the rule speaks of this number of fractions."""
        return not self.fractions or fractions in self.fractions


class EligibilityRules(Strict):
    """All rules, in the order in which they are told."""

    schema_version: Literal[1]
    rules: tuple[EligibilityRule, ...]


@cache
def eligibility_rules() -> EligibilityRules:
    """The shipped rules."""
    text = files(__package__).joinpath("models", "eligibility.toml").read_text(encoding="utf-8")
    return EligibilityRules.model_validate(tomllib.loads(text))

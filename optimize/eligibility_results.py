"""What the reviews' rules say of a patient's anatomy and dose: frozen records."""

from __future__ import annotations

from dataclasses import dataclass

ELIGIBILITY_STATEMENT = (
    "Rules of published reviews on who is treated this way, held against contours, dose and what was stated: in our "
    "words, with those of a publication where they were at hand. They are no substitute for the decision of a tumour "
    "board."
)


@dataclass(frozen=True, slots=True)
class RuleResult:
    """One rule, applied.

    Attributes
    ----------
    id, rule : str
        The rule in our words.
    value : float or None
        What was measured, in `unit`.
    comparator : str
    limit : float or None
    verdict : str
        "eligible", "caution", "excluded" or "not assessed".
    note : str
        What limits the answer; empty otherwise.
    source, status : str
    quote, quoted_from : str
        The rule in the words of a publication, and which; empty where none was at hand.
    """

    id: str
    rule: str
    value: float | None
    unit: str
    comparator: str
    limit: float | None
    verdict: str
    note: str
    source: str
    status: str
    quote: str = ""
    quoted_from: str = ""

    @property
    def cited(self) -> str:
        """The rule as a publication has it, or that it is in our words."""
        return f"“{self.quote}” ({self.quoted_from})" if self.quote else "in our words"


@dataclass(frozen=True, slots=True)
class Eligibility:
    """All rules that speak of this number of fractions.

    Attributes
    ----------
    verdict : str
        The worst of the rules that could be assessed.
    not_assessed : int
        Rules that could not: the verdict says nothing about them.
    rules : tuple of RuleResult
    statement : str
    """

    verdict: str
    not_assessed: int
    rules: tuple[RuleResult, ...]
    statement: str = ELIGIBILITY_STATEMENT

"""What the reviews' rules say of a patient's anatomy and dose: frozen records."""

from __future__ import annotations

from dataclasses import dataclass

ELIGIBILITY_STATEMENT = (
    "Rules of published reviews on who is treated this way, in our words, held against contours, dose and what was "
    "stated. They are no substitute for the decision of a tumour board."
)


@dataclass(frozen=True, slots=True)
class RuleResult:
    """One rule, applied.

    Attributes
    ----------
    id, rule : str
    value : float or None
        What was measured, in `unit`.
    comparator : str
    limit : float or None
    verdict : str
        "eligible", "caution", "excluded" or "not assessed".
    note : str
        What limits the answer; empty otherwise.
    source, status : str
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

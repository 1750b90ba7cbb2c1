"""Rows of the accuracy table, and how they are printed and written."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Literal

Role = Literal["judged", "fitted", "information"]
ABSENT = "data absent"


@dataclass(frozen=True, slots=True)
class Row:
    """One comparison.

    Parameters
    ----------
    case, quantity : str
    ours, reference : float or None
        In `unit`; None where the data are absent.
    unit : str
    difference : float or None
        In `difference_unit`; signed, ours minus reference.
    difference_unit : str
        "% local", "% of max", "mm", "%" (a pass rate), ...
    tolerance : float or None
        Bound on the absolute difference, or the least pass rate; None where there is none.
    source : str
        Of the reference.
    role : "judged", "fitted" or "information"
        Fitted: the model was adjusted to this reference, so agreement shows nothing. Information: normalisations,
        raw figures, and figures for which no tolerance was set.
    """

    case: str
    quantity: str
    ours: float | None
    reference: float | None
    unit: str
    difference: float | None
    difference_unit: str
    tolerance: float | None
    source: str
    role: Role = "judged"

    @property
    def verdict(self) -> str:
        """met, MISSED, fitted, information, or data absent."""
        if self.difference is None:
            return ABSENT
        if self.role != "judged" or self.tolerance is None:
            return "information" if self.role == "judged" else self.role
        if self.difference_unit == PASS_RATE:
            return "met" if self.difference >= self.tolerance else "MISSED"
        return "met" if abs(self.difference) <= self.tolerance else "MISSED"


PASS_RATE = "% passing"


def relative(
    case: str, quantity: str, ours: float, reference: float, unit: str, tolerance: float | None, source: str,
    role: Role = "judged",
) -> Row:  # fmt: skip
    """A row whose difference is relative to the reference, in % local."""
    difference = 100 * (ours / reference - 1)
    return Row(case, quantity, ours, reference, unit, difference, "% local", tolerance, source, role)


def absolute(
    case: str, quantity: str, ours: float, reference: float, unit: str, tolerance: float | None, source: str,
    role: Role = "judged",
) -> Row:  # fmt: skip
    """A row whose difference has the unit of the values."""
    return Row(case, quantity, ours, reference, unit, ours - reference, unit, tolerance, source, role)


def passing(case: str, quantity: str, rate: float, tolerance: float | None, source: str, role: Role = "judged") -> Row:
    """A gamma pass rate in %."""
    return Row(case, quantity, rate, 100.0, "%", rate, PASS_RATE, tolerance, source, role)


def absent(case: str, quantity: str, source: str) -> Row:
    """A comparison whose reference data are not there: it stays in the table."""
    return Row(case, quantity, None, None, "", None, "", None, source)


def cells(row: Row) -> tuple[str, ...]:
    """The row as text."""
    if row.difference is None:
        return row.case, row.quantity, "", "", "", "", row.verdict, row.source
    bound = "" if row.tolerance is None else f"{row.tolerance:g} {row.difference_unit}".strip()
    sign = "" if row.difference_unit == PASS_RATE else "+"
    places = 2 if row.difference_unit else 3  # of a ratio
    return (
        row.case,
        row.quantity,
        f"{row.ours:.4g} {row.unit}".strip(),
        f"{row.reference:.4g} {row.unit}".strip(),
        f"{row.difference:{sign}.{places}f} {row.difference_unit}".strip(),
        bound,
        row.verdict,
        row.source,
    )


HEADER = ("case", "quantity", "ours", "reference", "difference", "tolerance", "met", "source")


def summary(rows: Sequence[Row]) -> str:
    """One line of counts."""
    verdicts = [row.verdict for row in rows]
    kinds = ("met", "MISSED", "fitted", "information", ABSENT)
    return f"{len(rows)} rows: " + ", ".join(f"{verdicts.count(kind)} {kind}" for kind in kinds)


def as_text(rows: Sequence[Row]) -> str:
    """Columns padded with spaces, for the terminal."""
    table = [HEADER, *(cells(row) for row in rows)]
    widths = [max(len(line[i]) for line in table) for i in range(len(HEADER))]
    return "\n".join("  ".join(c.ljust(w) for c, w in zip(line, widths, strict=True)).rstrip() for line in table)


def as_markdown(rows: Sequence[Row]) -> str:
    """A Markdown table with the counts under it."""
    lines = [HEADER, ("---",) * len(HEADER), *(cells(row) for row in rows)]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines) + f"\n\n{summary(rows)}.\n"


PREFACE = """# Accuracy of the dose

Written by `python -m benchmarks.accuracy --data FOLDER --peers PYTHON --out docs/accuracy.md`. FOLDER holds the
reference data, which are not part of the project; what is not there is printed as "data absent". Tolerances: 1 % on the
axis (20-200 mm), 1 mm penumbra, 1 % of the axis dose in tails, 2 % inside the field and for output factors (3 % at
2x2), 3 % beyond lung, gamma 2 %/1 mm 99 % in water and 3 %/2 mm 95 % in slabs (after AAPM MPPG 5.b, Venselaar 2001,
Lechner 2018, most of them tighter). Fitted: the model was adjusted to this very reference. Information: raw or
normalised figures that stand beside a judged one, and figures without a tolerance. Nothing is normalised unless the
row says so.

"""


def write(rows: Sequence[Row], path: Path) -> None:
    """Write the table: JSON where the name ends in .json, else Markdown."""
    if path.suffix == ".json":
        records = [{**asdict(row), "verdict": row.verdict} for row in rows]
        path.write_text(json.dumps(records, indent=1, allow_nan=False) + "\n", encoding="utf-8")
    else:
        path.write_text(PREFACE + as_markdown(rows), encoding="utf-8")

"""The cases as a table for the documentation."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from .model import Case

TABLE = Path(__file__).resolve().parents[2] / "docs" / "input_cases.md"
_HEAD = """# Inputs that are refused, and their neighbours that are read

Made by `python -m tests.cases` from `tests/cases`; every row is two tests (`pytest tests/cases`). The words are those
that the error must match.

| input | case | refused | error | read to known numbers |
|---|---|---|---|---|
"""


def table(cases: Sequence[Case]) -> str:
    """Markdown, one row for each case."""
    rows = (
        f"| {case.kind} | {case.name} | {case.broken} | `{case.code}`: {_words(case)} | {case.valid} |"
        for case in cases
    )
    return _HEAD + "\n".join(rows) + "\n"


def _words(case: Case) -> str:
    return case.words.replace("\\", "").replace("|", " or ")

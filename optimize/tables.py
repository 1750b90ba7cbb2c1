"""Plain tables for the terminal."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from rich.console import Console
from rich.markup import escape
from rich.table import Table


def print_table(console: Console, title: str, rows: Sequence[Mapping[str, Any]]) -> None:
    """A table with one column per key of the first row."""
    table = Table(title=title, title_justify="left")
    for key in rows[0] if rows else ():
        # An id inside a heading keeps its underscores: "MEN21_12 Gy" is no dose of 12 Gy.
        heading = key.replace("_", " ") if key.isidentifier() else key
        # Names are typed again, so they are never broken.
        table.add_column(heading, overflow="fold", no_wrap=key in ("name", "id"))
    for row in rows:
        table.add_row(*(escape(_text(value)) for value in row.values()))
    console.print(table)


def print_record(console: Console, record: Mapping[str, Any]) -> None:
    """Key and value, one line each."""
    table = Table(show_header=False, box=None)
    for key, value in record.items():
        table.add_row(key, escape(_text(value)))
    console.print(table)


def _text(value: Any) -> str:
    if isinstance(value, float):
        return f"{value:g}"
    if isinstance(value, Mapping):
        return "\n".join(f"{key}: {_text(item)}" for key, item in value.items())
    if isinstance(value, list | tuple):
        scalars = all(isinstance(item, int | float) for item in value)
        return (", " if scalars else "\n").join(_text(item) for item in value)
    if value is None:
        return "none"
    return str(value)

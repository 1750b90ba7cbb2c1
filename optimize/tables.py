"""Plain tables for the terminal."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from rich.console import Console
from rich.markup import escape
from rich.table import Table

BORDERS = 4
"""Characters that the first column of a table needs beside its text; every other needs one less."""


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


def print_beside(console: Console, title: str, records: Sequence[Mapping[str, Any]], name: str) -> None:
    """Records beside each other: a column for each under what it has for `name`, a row for every other key.

    A terminal is sooner too narrow for the keys than for the records; those that it has no room for follow below.
    """
    keys = [key for key in (records[0] if records else ()) if key != name]
    for beside in _fitting(records, keys, console.width):
        table = Table(title=title, title_justify="left")
        table.add_column(name, overflow="fold")
        for record in beside:
            table.add_column(escape(str(record[name])), overflow="fold")
        for key in keys:
            table.add_row(key, *(escape(_text(record[key])) for record in beside))
        console.print(table)


def _fitting(
    records: Sequence[Mapping[str, Any]], keys: Sequence[str], width: int
) -> Iterator[Sequence[Mapping[str, Any]]]:
    """The records in runs whose columns fit beside that of the keys; a record that never fits is alone."""
    room = width - max(map(len, keys), default=0) - BORDERS
    start, used = 0, 0
    for k, record in enumerate(records):
        lines = [line for value in record.values() for line in _text(value).splitlines()]
        wide = max(map(len, lines), default=0) + BORDERS - 1
        if k > start and used + wide > room:
            yield records[start:k]
            start, used = k, 0
        used += wide
    yield records[start:]


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

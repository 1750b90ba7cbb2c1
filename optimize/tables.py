"""Plain tables for the terminal."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from rich.console import Console
from rich.markup import escape
from rich.table import Table

if TYPE_CHECKING:
    from dosecalc.machine import BeamModel


def print_table(console: Console, title: str, rows: Sequence[Mapping[str, Any]]) -> None:
    """A table with one column per key of the first row."""
    table = Table(title=title, title_justify="left")
    for key in rows[0] if rows else ():
        table.add_column(key.replace("_", " "), overflow="fold")
    for row in rows:
        table.add_row(*(escape(_text(value)) for value in row.values()))
    console.print(table)


def print_record(console: Console, record: Mapping[str, Any]) -> None:
    """Key and value, one line each."""
    table = Table(show_header=False, box=None)
    for key, value in record.items():
        table.add_row(key, escape(_text(value)))
    console.print(table)


def machine_record(machine: BeamModel) -> dict[str, Any]:
    """A machine's data with sources, as plain values; the kernel table is named by its hash."""
    return {
        "name": machine.name,
        "description": machine.description,
        "nominal_energy": machine.nominal_energy,
        "provisional": machine.provisional,
        "sad_mm": machine.sad_mm,
        "source_sigma_mm": list(machine.source_sigma_mm),
        "tpr20_10": machine.tpr20_10,
        "reference": dataclasses.asdict(machine.reference),
        "gy_g_per_cm2_per_mu": machine.gy_per_fluence,
        "off_axis_radius_mm": machine.off_axis_radius_mm.tolist(),
        "off_axis_ratio": machine.off_axis_ratio.tolist(),
        "head_scatter": None if machine.head_scatter is None else dataclasses.asdict(machine.head_scatter),
        "extra_focal": None if machine.extra_focal is None else dataclasses.asdict(machine.extra_focal),
        "valid_field_mm": list(machine.field_mm),
        "valid_depth_mm": list(machine.depth_mm),
        "valid_density": list(machine.density),
        "note": machine.validity_note,
        "sources": dict(machine.sources),
        "provenance": [dataclasses.asdict(p) for p in machine.provenance],
        "sha256": machine.sha256,
    }


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

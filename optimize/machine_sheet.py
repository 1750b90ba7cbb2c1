"""A machine on one screen, and everything about it as plain values."""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from dosecalc.beam_data import BeamData, beam_data
from dosecalc.machine import BeamModel
from dosecalc.machine_targets import Compared, compare_with_targets

_RADII_MM = (50.0, 100.0, 200.0)  # of the off-axis profile


def machine_record(machine: BeamModel) -> dict[str, Any]:
    """A machine's data with sources, as plain values; the kernel table is named by its hash."""
    table = machine.calibration
    return {
        "name": machine.name,
        "description": machine.description,
        "nominal_energy": machine.nominal_energy,
        "provisional": machine.provisional,
        "sad_mm": machine.sad_mm,
        "source_sigma_mm": list(machine.source_sigma_mm),
        "tpr20_10": machine.tpr20_10,
        "water_phantom": dataclasses.asdict(beam_data(machine)),
        "reference": dataclasses.asdict(machine.reference),
        "gy_g_per_cm2_per_mu": machine.gy_per_fluence,
        "off_axis_radius_mm": machine.off_axis_radius_mm.tolist(),
        "off_axis_ratio": machine.off_axis_ratio.tolist(),
        "head_scatter": None if machine.head_scatter is None else dataclasses.asdict(machine.head_scatter),
        "extra_focal": None if machine.extra_focal is None else dataclasses.asdict(machine.extra_focal),
        "leaf_transmission": machine.leaf_transmission,
        "targets": target_records(machine),
        "hu": table.hu.tolist(),
        "relative_electron_density": table.relative_electron_density.tolist(),
        "valid_field_mm": list(machine.field_mm),
        "valid_depth_mm": list(machine.depth_mm),
        "valid_density": list(machine.density),
        "note": machine.validity_note,
        "sources": dict(machine.sources),
        "provenance": [dataclasses.asdict(p) for p in machine.provenance],
        "sha256": machine.sha256,
    }


def print_machine(console: Console, machine: BeamModel) -> None:
    """What a physicist wants to see first; `--json` gives the rest."""
    table = Table(show_header=False, box=None, padding=(0, 2, 0, 0))
    table.add_column(no_wrap=True, style="bold")
    table.add_column(overflow="fold")
    for name, text in _lines(machine, beam_data(machine)):
        table.add_row(name, escape(text))
    console.print(table)


def _lines(machine: BeamModel, data: BeamData) -> list[tuple[str, str]]:
    at, factors, hu = machine.reference, data.output_factors, machine.calibration
    u, v = machine.source_sigma_mm
    ratios = np.interp(_RADII_MM, machine.off_axis_radius_mm, machine.off_axis_ratio)
    return [
        (f"{machine.name}{', PROVISIONAL' if machine.provisional else ''}", machine.description),
        ("dose per MU", f"{100 * at.dose_gy_per_mu:g} cGy: field {at.field_mm:g}, SSD {at.ssd_mm:g}, depth "
         f"{at.depth_mm:g} mm; SAD {machine.sad_mm:g} mm"),
        ("TPR20,10", f"{data.tpr20_10:.3f} ({machine.tpr20_10:g} stated)"),
        ("depth dose", f"{data.depth_dose_10cm_pct:.1f} % at 10 cm, {data.depth_dose_20cm_pct:.1f} % at 20 cm, maximum "
         f"at {data.maximum_mm:.0f} mm (10x10, SSD 100 cm)"),
        ("field, cm", "  ".join(f"{f.side_mm / 10:>5g}" for f in factors)),
        ("output factor", "  ".join(f"{f.total:5.3f}" for f in factors) + "  (10 cm, SSD 100 cm)"),
        ("of beamlets", "  ".join(f"{f.phantom:5.3f}" for f in factors) + "  (no head scatter)"),
        ("off axis", ", ".join(f"{r:.3f} at {x:g} mm" for x, r in zip(_RADII_MM, ratios, strict=True))),
        ("focal spot", f"sigma {u:g} x {v:g} mm in the isocentre plane"),
        ("head", _head(machine)),
        ("leaves", f"{100 * machine.leaf_transmission:.2g} % through closed ones: in no dose, in a plan's uncertainty"),
        ("targets", _count(compare_with_targets(machine)) + "; `dosecalc machines check` lists them"),
        ("HU", "  ".join(f"{value:>5g}" for value in hu.hu)),
        ("density", "  ".join(f"{value:5.3f}" for value in hu.relative_electron_density) + "  (electrons, water 1)"),
        ("valid for", f"fields {_span(machine.field_mm)} mm, depths {_span(machine.depth_mm)} mm, upstream densities "
         f"{_span(machine.density)}"),
        ("note", machine.validity_note),
        ("sha256", f"{machine.sha256[:16]}…; sources and all numbers: --json"),
    ]  # fmt: skip


def target_records(machine: BeamModel) -> list[dict[str, Any]]:
    """The machine's figures beside their targets, as plain values."""
    return [{**dataclasses.asdict(row), "verdict": row.verdict} for row in compare_with_targets(machine)]


def print_targets(console: Console, machine: BeamModel) -> None:
    """One line per target, the count of verdicts, and each source once under a number."""
    rows = compare_with_targets(machine)
    sources = list(dict.fromkeys(row.source for row in rows))
    table = Table(
        box=None, padding=(0, 1, 0, 0), title="Lengths in mm, fields in the isocentre plane", title_justify="left"
    )
    for name in ("quantity", "field", "SSD", "depth", "off axis", "model", "target", "within", "verdict", "ref"):
        words = name in ("quantity", "verdict")
        table.add_column(name, justify="left" if words else "right", no_wrap=words)
    for row in rows:
        places = ("" if p is None else f"{p:g}" for p in (row.field_mm, row.ssd_mm, row.depth_mm, row.off_axis_mm))
        figures = (f"{value:.4g}" for value in (row.found, row.value, row.tolerance))
        table.add_row(row.quantity, *places, *figures, row.verdict, f"({sources.index(row.source) + 1})")
    console.print(table)
    console.print(_count(rows), highlight=False)
    for number, source in enumerate(sources, start=1):
        console.print(f"({number}) {escape(source)}", highlight=False)


def _count(rows: tuple[Compared, ...]) -> str:
    verdicts = [row.verdict for row in rows]
    kinds = ("met", "fitted", "information", "MISSED")
    return ", ".join(f"{verdicts.count(kind)} {kind}" for kind in kinds if kind in verdicts)


def _head(machine: BeamModel) -> str:
    if (wide := machine.extra_focal) is not None:
        return (
            f"extra-focal source of {wide.weight:.1%}, sigma {wide.sigma_mm:g} mm, in the dose of fields and beamlets"
        )
    if (head := machine.head_scatter) is None:
        return "none"
    return (
        f"open fields: scatter of {head.weight:.1%}, sigma {head.sigma_mm:g} mm, by `collimator_scatter`; beamlets and "
        "plans: none, output factor 1, tails too low"
    )


def _span(bounds: tuple[float, float]) -> str:
    return f"{bounds[0]:g} to {bounds[1]:g}"

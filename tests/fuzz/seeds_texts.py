"""Small valid texts: protocols, tables of names and of CT numbers, machines and beams."""

from __future__ import annotations

import re
from importlib.resources import files
from pathlib import Path

from dosecalc.hu_table import read_hu_table
from dosecalc.machine_file import MACHINE_FILE, parse_kernel, parse_machine, read_bytes
from dosecalc.names import match, read_table
from optimize.arrangements import parse_beams
from protocols import load

from .seed_model import GRID, Format, Result, structures

ALIASES = '[Liver]\naliases = ["My liver", "Foie"]\n\n[Own_Organ]\naliases = ["Spot"]\nparts = ["Left", "Right"]\n'
GOALS = 6
HU_CSV = "# source: a scanner, 120 kV\nhu,relative_electron_density\n-1000,0.0\n0,1.0\n60,1.05\n1200,1.69\n"
HU_TOML = (
    'quantity = "electron density relative to water"\nhu = [-1000, 0, 60, 1200]\n'
    'relative_electron_density = [0.0, 1.0, 1.05, 1.69]\nsource = "a scanner, 120 kV"\n'
)
BEAMS = "200, 240:10, 300:0:15.5, 45"


def _protocol(folder: Path) -> None:
    text = files("protocols").joinpath("library/crlm_3fx.toml").read_text(encoding="utf-8")
    parts = re.split(r"(?m)^(?=\[\[goals\]\])", text)
    (folder / "protocol.toml").write_text("".join(parts[: 1 + GOALS]), encoding="utf-8")


def _read_protocol(folder: Path) -> Result:
    return Result((load(folder / "protocol.toml").model_dump_json(exclude={"provenance"}),))


def _aliases(folder: Path) -> None:
    (folder / "aliases.toml").write_text(ALIASES, encoding="utf-8")


def _read_aliases(folder: Path) -> Result:
    """The table, and what it makes of structures: its faults may lie there."""
    table = read_table(folder / "aliases.toml")
    matched = match(structures(), ("Liver", "Own_Organ", "Duodenum"), GRID, table=table)
    return Result((tuple(table.items()), matched.structures.names, matched.renamed, matched.missing))


def _machine(folder: Path) -> None:
    shipped = files("dosecalc").joinpath("machines/generic_6mv")
    for name in (MACHINE_FILE, "pencil_kernel.npz"):
        (folder / name).write_bytes(shipped.joinpath(name).read_bytes())


def _read_machine(folder: Path) -> Result:
    file = parse_machine(read_bytes(folder / MACHINE_FILE), MACHINE_FILE)
    kernel = parse_kernel(read_bytes(folder / "pencil_kernel.npz"), "pencil_kernel.npz")
    return Result((file.model_dump_json(), kernel.primary.tobytes(), kernel.scatter.tobytes()))


def _hu_table(folder: Path) -> None:
    (folder / "hu.csv").write_text(HU_CSV, encoding="utf-8")
    (folder / "hu.toml").write_text(HU_TOML, encoding="utf-8")


def _read_hu_table(folder: Path) -> Result:
    tables = [read_hu_table(folder / name) for name in ("hu.csv", "hu.toml")]
    return Result(tuple((t.hu.tobytes(), t.relative_electron_density.tobytes(), t.source) for t in tables))


def _beams(folder: Path) -> None:
    (folder / "beams.txt").write_text(BEAMS, encoding="utf-8")


def _read_beams(folder: Path) -> Result:
    text = (folder / "beams.txt").read_bytes().decode("utf-8", "surrogateescape")  # as a command line gives it
    return Result(parse_beams(text))


TEXTS = {
    "protocol": Format(_protocol, _read_protocol),
    "aliases": Format(_aliases, _read_aliases),
    "machine": Format(_machine, _read_machine),
    "HU table": Format(_hu_table, _read_hu_table),
    "beams": Format(_beams, _read_beams),
}

"""Tables of CT numbers: what is no table of electron densities, and what odd but usable ones look like."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from dosecalc.density import HuCalibration

from .inputs import HU_TABLE
from .model import Case, unchanged

KIND = "HU table"


def _with(old: str, new: str) -> Callable[[Path], None]:
    def changed(folder: Path) -> None:
        assert old in HU_TABLE
        (folder / "hu.csv").write_text(HU_TABLE.replace(old, new), encoding="utf-8")

    return changed


def _reaches(top: float) -> Callable[[HuCalibration], None]:
    def judge(table: HuCalibration) -> None:
        assert table.hu[-1] == top

    return judge


CASES = [
    Case(
        "mass density",
        KIND,
        "a column of mass density",
        _with("relative_electron_density", "mass_density"),
        "mass density or stopping power is another quantity",
        "relative electron density",
        unchanged,
    ),
    Case(
        "no source",
        KIND,
        "no line that says whose table it is",
        _with("# source: a scanner, 120 kV\n", ""),
        "source: string should have at least 1 character",
        "further comments beside the source",
        _with("hu,", "# measured in June\nhu,"),
    ),
    Case(
        "water is not 1",
        KIND,
        "1.06 at 0 HU",
        _with("0,1.0\n", "0,1.06\n"),
        r"water \(0 HU\) has density 1\.06, expected 1 within 0\.05",
        "the same table",
        unchanged,
    ),
    Case(
        "rows out of order",
        KIND,
        "two rows for the same CT number",
        _with("1200,1.69", "0,1.69"),
        "CT numbers do not increase",
        "rows up to metal",
        _with("1200,1.69", "1200,1.69\n8000,3.8"),
        numbers=_reaches(8000.0),
    ),
    Case(
        "no air",
        KIND,
        "a table that begins with fat",
        _with("-1000,0.0\n", "-100,0.9\n"),
        "its lowest CT number is -100, expected air",
        "a table that begins at -990",
        _with("-1000,0.0\n", "-990,0.0\n"),
    ),
]

"""A user's table of CT numbers: what is read, and what is refused with the reason."""

from __future__ import annotations

import hashlib
from pathlib import Path

import numpy as np
import pytest

from dosecalc.errors import InputError
from dosecalc.hu_table import TABLE_LIMIT, read_hu_table

CSV = "# source: our scanner, 120 kV, 2026\nhu,relative_electron_density\n-1000,0.0\n0,1.0\n\n1200,1.69\n"
TOML = """
quantity = "electron density relative to water"
hu = [-1000, 0, 1200]
relative_electron_density = [0.0, 1.0, 1.69]
source = "our scanner, 120 kV, 2026"
"""


@pytest.mark.parametrize(("name", "text"), [("t.csv", CSV), ("t.toml", TOML), ("T.CSV", "\ufeff" + CSV)])
def test_both_forms_read_to_the_same_table(tmp_path: Path, name: str, text: str) -> None:
    (tmp_path / name).write_text(text, encoding="utf-8")
    table = read_hu_table(tmp_path / name)
    np.testing.assert_array_equal(table.hu, [-1000, 0, 1200])
    np.testing.assert_array_equal(table.relative_electron_density, [0.0, 1.0, 1.69])
    assert table.source == "our scanner, 120 kV, 2026"
    assert table.sha256 == hashlib.sha256(text.encode()).hexdigest()


@pytest.mark.parametrize(
    ("name", "text", "words"),
    [
        ("t.csv", CSV.replace("# source: our scanner, 120 kV, 2026\n", ""), "source: string should have at least 1"),
        ("t.csv", CSV.replace("relative_electron_density", "mass_density"), "mass density or stopping power"),
        ("t.csv", CSV.replace("hu,relative_electron_density\n", ""), "its header is '-1000,0.0'"),
        ("t.csv", CSV.replace("0,1.0", "0,1.0,1.0"), "row 2 has 3 columns"),
        ("t.csv", CSV.replace("0,1.0", "0;1.0"), "row 2 has 1 columns"),
        ("t.csv", CSV.replace("1.69", "dense"), "valid number"),
        ("t.csv", CSV.replace("1200,1.69", "1200,nan"), "finite number"),
        ("t.csv", CSV.replace("1.69", "0.9"), "decrease"),
        ("t.csv", CSV.replace("0,1.0", "0,1.06"), r"water \(0 HU\) has density 1\.06"),
        ("t.csv", CSV.replace("-1000,0.0", "24,0.0"), "do not increase|lowest CT number"),
        ("t.csv", CSV.replace("120 kV", "120\x07kV"), "cannot be printed"),
        ("t.csv", "", "its header is ''"),
        ("t.toml", TOML.replace("electron density relative to water", "mass density"), "quantity: input should be"),
        ("t.toml", TOML.replace("source", "sauce"), "sauce: unknown key, nearest known is 'source'"),
        ("t.toml", TOML + "hu = [", "not a TOML file"),
        ("t.txt", CSV, "neither .toml nor .csv"),
        ("t.csv", "#" * (TABLE_LIMIT + 1), "more than 256 KiB"),
    ],
)
def test_a_table_that_cannot_be_meant_is_refused(tmp_path: Path, name: str, text: str, words: str) -> None:
    (tmp_path / name).write_text(text, encoding="utf-8")
    with pytest.raises(InputError, match=words) as caught:
        read_hu_table(tmp_path / name)
    assert name in str(caught.value)


def test_a_table_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="cannot be read"):
        read_hu_table(tmp_path / "none.csv")

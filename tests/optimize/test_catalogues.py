"""The verbs that show what is shipped: protocols, sets, limits, machines and regimens."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from .conftest import Run
from .small_case import write_protocol
from .test_cli import error_line


def test_protocols_and_machines_are_listed_shown_and_checked(dosecalc: Run, tmp_path: Path) -> None:
    assert {"crlm_3fx", "crlm_5fx"} < {row["name"] for row in json.loads(dosecalc("protocols", "list", "--json").out)}
    assert "generic_6mv" in {row["name"] for row in json.loads(dosecalc("machines", "list", "--json").out)}
    shown = json.loads(dosecalc("protocols", "show", "crlm_5fx", "--json").out)
    assert {goal["id"] for goal in shown["goals"]} >= {"C210", "C069"}
    assert json.loads(dosecalc("machines", "show", "generic_6mv", "--json").out)["sad_mm"] == 1000.0
    sheet = dosecalc("machines", "show", "generic_6mv").out
    assert len(sheet.splitlines()) <= 40
    assert "66.5 % at 10 cm" in sheet
    assert "upstream densities 0.2 to 1.8" in " ".join(sheet.split())
    assert "$schema" in json.loads(dosecalc("protocols", "schema").out)
    for table in (("protocols", "show", "crlm_3fx"), ("machines", "list")):
        assert dosecalc(*table).code == 0
    listed = dosecalc("protocols", "list")
    assert listed.code == 0 and "│ crlm_50_60_5fx_ladder │ 50 / 60 / 60 " in listed.out
    small = write_protocol(tmp_path / "small.toml")
    right = dosecalc("protocols", "check", small).out
    assert "no fault" in right and "TG-263" not in right
    small.write_text(small.read_text().replace('structure = "Stomach"', 'structure = "Stomcah"'))
    assert (
        "'Stomcah' is no TG-263 name known here. Did you mean 'Stomach'?" in dosecalc("protocols", "check", small).out
    )
    checked = dosecalc("machines", "check", "generic_10fff").out
    assert "no fault" in checked
    assert "8 met, 6 fitted, 2 information, 2 MISSED" in checked
    assert "PMC5690903" in checked
    rows = json.loads(dosecalc("machines", "check", "generic_10fff", "--json").out)["targets"]
    assert sum(row["verdict"] == "MISSED" for row in rows) == 2


def test_a_composed_protocol_is_shown_with_the_origin_of_every_number(dosecalc: Run) -> None:
    record = json.loads(dosecalc("protocols", "show", "crlm_60_3fx", "--resolved", "--json").out)
    assert {part["origin"] for part in record["parts"]} >= {
        "protocols/prescriptions/60gy_3fx.toml",
        "protocols/planning/liver_sbrt.toml",
        "protocols/constraints/TG101.toml",
    }
    cord = next(row for row in record["numbers"] if row["key"] == "goals[C005]")
    assert (cord["value"], cord["level"], cord["status"]) == ("SpinalCord D0.35cc < 18 Gy", "mandatory", "VERIFIED")
    assert cord["origin"] == "protocols/constraints/TG101.toml"
    text = dosecalc("protocols", "show", "crlm_60_3fx", "--resolved").out
    assert "goals[C005]: SpinalCord D0.35cc < 18 Gy  [mandatory, by source, VERIFIED]" in text
    assert "warning: SpinalCord is limited by several published sets together: HyTEC_spine, TG101." in text
    assert "left out: TG101 C068_2010: superseded by C068" in text
    assert "is not judged" in dosecalc("protocols", "check", "crlm_60_6fx").out


def test_sets_limits_and_parts_are_listed(dosecalc: Run) -> None:
    sets = {row["name"]: row for row in json.loads(dosecalc("protocols", "sets", "--json").out)}
    assert (sets["TG101"]["fractions"], sets["TG101"]["limits"]) == ([1, 3, 5], 86)
    asked = ("protocols", "limits", "--structure", "Duodenum", "--fractions", "6")
    assert [row["id"] for row in json.loads(dosecalc(*asked, "--json").out)] == ["C262", "C264", "C266", "C113"]
    assert "34.4" in dosecalc(*asked).out
    assert dosecalc("protocols", "limits", "--markdown").out.startswith("# Published limits")
    assert "limits" in json.loads(dosecalc("protocols", "schema", "--of", "constraints").out)["properties"]
    assert dosecalc("protocols", "limits", "--set", "TG11").code == 12


def test_regimens_are_listed_shown_and_compared(dosecalc: Run) -> None:
    assert len(json.loads(dosecalc("regimens", "list", "--json").out)) == 51
    record = json.loads(dosecalc("regimens", "compare", "SCO13", "TAK16", "--json").out)
    takeda = record["regimens"][1]
    assert takeda["doses"]["maximum"]["dose_gy"] == pytest.approx({"low": 250 / 3, "high": 100.0})
    assert record["regimens"][0]["doses"]["edge"]["dose_gy"] == {"low": None, "high": 75.0}
    text = dosecalc("regimens", "compare", "SCO13", "TAK16").out
    assert "the sources disagree: SCO13: 75/3 only" in text
    assert "SCO13: no isodose is stated" in text
    assert "67 % isodose surrounds" in dosecalc("regimens", "compare", "SCO13", "TAK16", "--assume-isodose", "67").out
    assert "72.0" in dosecalc("regimens", "show", "KAT07").out
    assert dosecalc("regimens", "list").code == 0
    assert "Did you mean 'TAK16'" in error_line(dosecalc("regimens", "show", "TAK61"))

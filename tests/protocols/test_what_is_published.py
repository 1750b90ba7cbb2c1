"""What nobody published is named wherever somebody may ask for it, and what a protocol states of its own."""

from __future__ import annotations

from pathlib import Path

import pytest

from protocols import ProtocolError, load
from protocols.fraction_numbers import no_organ_limits, organ_limits
from protocols.loading import unplannable
from protocols.regimens import find_regimen
from protocols.tissues import alpha_beta_of

TWELVE = """
schema_version = 1
name = "own"
title = "own"
description = "own"
fractions = 12
prescription = "60gy_12fx"
planning = "liver_sbrt"
"""
VOLUME_ONLY = TWELVE + '\n[[constraints]]\nset = "SEED_eligibility"\n'
OWN_LIMIT = """
[[goals]]
id = "own"
structure = "Duodenum"
metric = "D0.5cc"
comparator = "<"
limit = 40.0
unit = "Gy"
level = "mandatory"
level_by = "editorial"
status = "VERIFIED"
source = "a test"
"""


def test_numbers_of_fractions_with_limits_are_those_of_the_tables() -> None:
    """TG-101, the UK consensus and Timmerman cover 1, 3, 5 and 8; 12 has none, 15 the one of NRG-GI001."""
    known = organ_limits()
    assert {1, 3, 5, 6, 8} <= set(known) and 12 not in known and known[15] == 1
    assert no_organ_limits(5) == ""
    said = no_organ_limits(12)
    assert f"8 ({known[8]} limits) and 15 (1 limit)" in said and "not converted by EQD2" in said
    assert "any: 15 (1 limit)." in no_organ_limits(20)


def refused(text: str, folder: Path) -> str:
    (folder / "own.toml").write_text(text, encoding="utf-8")
    with pytest.raises(ProtocolError) as caught:
        load(folder / "own.toml")
    return str(caught.value)


@pytest.mark.parametrize("text", [TWELVE, VOLUME_ONLY, TWELVE + '\n[[constraints]]\nset = "TG101"\n'])
def test_a_protocol_without_organ_limits_is_refused_with_the_reason(text: str, tmp_path: Path) -> None:
    said = refused(text, tmp_path)
    assert "for 12 fractions" in said and "8 (" in said and "EQD2" in said


def test_own_limits_may_be_planned_and_are_told_to_be_unpublished(tmp_path: Path) -> None:
    (tmp_path / "own.toml").write_text(TWELVE + OWN_LIMIT, encoding="utf-8")
    (line,) = (line for line in load(tmp_path / "own.toml").warnings if "own:" in line)
    assert line.endswith(no_organ_limits(12))


def test_the_name_of_a_part_is_no_protocol() -> None:
    assert list(unplannable()) == ["60gy_12fx"]
    for name in ("60gy_12fx", "crlm_60_12fx"):
        with pytest.raises(ProtocolError, match=r"60gy_12fx is a prescription.* cannot be planned: .* 12 fractions"):
            load(name)
    with pytest.raises(ProtocolError, match=r"60gy_5fx is a prescription, no protocol\."):
        load("60gy_5fx")
    with pytest.raises(ProtocolError, match=r"TG101: this is a constraint set, no protocol"):
        load("TG101")


def test_a_regimen_by_dose_and_fractions() -> None:
    assert find_regimen("60/12").id == "MEN21_12"
    with pytest.raises(ProtocolError, match="2 published regimens give 60 Gy in 8 fractions: MEN21_8, CAC20"):
        find_regimen("60/8")
    with pytest.raises(ProtocolError, match="no published regimen gives 99 Gy in 3 fractions"):
        find_regimen("99/3")


def test_a_dose_without_its_source_and_a_failed_set_are_one_fault_each(tmp_path: Path) -> None:
    """A set that cannot be read leaves its overrides unknown: they are no faults of their own."""
    text = TWELVE.replace("12fx", "5fx").replace("= 12", "= 5") + '\n[[constraints]]\nset = "TG-101"\n'
    text += '\n[[overrides]]\nids = ["C012"]\nleave_out = true\nreason = "a test"\n'
    assert "has 1 fault." in refused(text, tmp_path)
    inline = TWELVE.replace('prescription = "60gy_12fx"\n', "") + '\n[prescription]\nfloor = "60 Gy"\n' + OWN_LIMIT
    assert "prescription.floor: expected a table with dose_gy, source, status, got '60 Gy'" in refused(inline, tmp_path)


TISSUE = """
[[alpha_beta]]
structures = ["{name}"]
alpha_beta_gy = {ratio}
source = "a test"
status = "VERIFIED"
"""


@pytest.mark.parametrize(
    ("name", "ratio", "said"),
    [
        ("Livver", 3.0, "alpha_beta[0].structures: no goal and no model has an organ 'Livver'. Did you mean 'Liver'?"),
        ("PTV", 3.0, "alpha_beta[0].structures: alpha/beta can be stated for organs, got PTV"),
        ("Liver", 0.0, "alpha_beta[0].alpha_beta_gy: "),
        ("Liver", -2.5, "greater than 0, got -2.5"),
    ],
)
def test_alpha_beta_of_nothing_or_without_sense_is_a_fault(tmp_path: Path, name: str, ratio: float, said: str) -> None:
    assert said in refused(TWELVE + OWN_LIMIT + TISSUE.format(name=name, ratio=ratio), tmp_path)


def test_alpha_beta_of_an_organ_holds_for_its_parts_unless_they_are_named(tmp_path: Path) -> None:
    text = TWELVE + OWN_LIMIT + TISSUE.format(name="Liver", ratio=3.5) + TISSUE.format(name="Liver-GTV", ratio=4.0)
    (tmp_path / "own.toml").write_text(text, encoding="utf-8")
    stated = load(tmp_path / "own.toml", alpha_beta={"SpinalCord": 1.5}).stated_alpha_beta
    asked = ("Liver", "Liver-PTV", "Liver-GTV", "SpinalCord_PRV05", "SpinalCord", "Stomach", "cHBT_15mm")
    assert [alpha_beta_of(name, stated).alpha_beta_gy for name in asked] == [3.5, 3.5, 4.0, 1.5, 1.5, 3.0, 10.0]
    assert [alpha_beta_of(name).alpha_beta_gy for name in asked] == [2.5, 2.5, 2.5, 2.0, 2.0, 3.0, 10.0]
    twice = TWELVE + OWN_LIMIT + 2 * TISSUE.format(name="Liver", ratio=3.5)
    assert "alpha_beta[1].structures: Liver has an alpha/beta already." in refused(twice, tmp_path)

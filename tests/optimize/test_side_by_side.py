"""One dose under several published sets: limits and verdicts against the printed tables."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path

import numpy as np
import pytest

from dosecalc.dicom import write_rtdose, write_rtstruct
from dosecalc.errors import UsageError
from dosecalc.grid import Grid, Volume
from dosecalc.reading import read_ct_series
from optimize.side_by_side import limits_of
from protocols import Protocol, load

from .conftest import Run
from .small_case import DUODENUM_GY as ALLOWED_GY
from .small_case import GTV_CENTRE, Patient, _ball, small_structures, write_protocol

DUODENUM_GY = 34.0


@pytest.fixture(scope="module")
def five(tmp_path_factory: pytest.TempPathFactory) -> Protocol:
    return load(write_protocol(tmp_path_factory.mktemp("protocol") / "small.toml"))


@pytest.fixture(scope="module")
def files(patient: Patient, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """A given dose: 55 Gy in the PTV, 34 Gy in the duodenum, 4 Gy elsewhere; and a set of a user's own."""
    folder, ct = tmp_path_factory.mktemp("side_by_side"), read_ct_series(patient.ct)
    targets = tuple(_ball(name, "PTV", GTV_CENTRE, 22.0) for name in ("PTV", "PTV_opt"))
    liver = dataclasses.replace(small_structures()["Liver"], name="Liver-GTV")
    drawn = small_structures().adding(*targets, liver)
    write_rtstruct(folder / "rtstruct.dcm", drawn, ct)
    grid = Grid((-90.0, -70.0, -65.0), (4.0, 4.0, 4.0), (33, 36, 46))
    values = np.full(grid.size, 4.0)
    values[targets[0].on(grid).indices] = 55.0
    values[drawn["Duodenum"].on(grid).indices] = DUODENUM_GY
    write_rtdose(folder / "dose.dcm", Volume(grid, values.reshape(grid.shape)), ct)
    write_protocol(folder / "small.toml")
    (folder / "ours.toml").write_text(OURS)
    return {path.stem: path for path in folder.iterdir()}


OURS = """
schema_version = 1
name = "ours"
title = "ours"
population = "any"

[[limits]]
id = "A1"
fractions = [5]
structure = "Duodenum"
metric = "D0.035cc"
comparator = "<"
limit = 35
unit = "Gy"
level = "mandatory"
level_by = "source"
status = "REMEMBERED"
source = "ours"
"""


def judge(dosecalc: Run, files: dict[str, Path], *more: object) -> tuple[str, dict]:
    words = ["evaluate", "--dose", files["dose"], "--structures", files["rtstruct"], "--protocol", files["small"],
             "--accept-missing", "Stomach", *more]  # fmt: skip
    shown, as_json = dosecalc(*words), dosecalc(*words, "--json")
    assert shown.code == as_json.code == 0, shown.err
    return shown.out, json.loads(as_json.out)


def test_two_sets_and_a_file_beside_the_protocol(dosecalc: Run, files: dict[str, Path]) -> None:
    """34 Gy to the duodenum: TG-101 (Table III) allows 32 Gy at the maximum, Timmerman (2022) 35 Gy, and so do we."""
    told, record = judge(dosecalc, files, "--also", "TG101", "--also", "Timmerman_2022", "--also", files["ours"])
    found = record["side_by_side"]
    assert [column["name"] for column in found["columns"]] == ["small", "TG101", "Timmerman_2022", "ours"]
    rows = {(row["structure"], row["metric"]): row for row in found["rows"]}
    duodenum = rows["Duodenum", "D0.035cc"]
    assert duodenum["value"] == pytest.approx(DUODENUM_GY, rel=1e-3)
    small, tg101, timmerman, ours = duodenum["verdicts"]
    assert [(g["limit"], g["met"]) for goals in (small, tg101, ours) for g in goals] == [
        (ALLOWED_GY, False),
        (32.0, False),
        (35.0, True),
    ]
    assert (tg101[0]["status"], tg101[0]["level"]) == ("VERIFIED", "mandatory")
    assert "TG-101" in tg101[0]["source"] and ours[0]["status"] == "REMEMBERED"
    assert [(g["limit"], g["met"], g["level"]) for g in timmerman] == [(35.0, True, "report")]
    # A set without a limit says nothing; a superseded or unassessable one is no verdict.
    assert rows["SpinalCord", "D1.2cc"]["verdicts"][3] == []
    assert all(g["met"] is None for goals in rows["Stomach", "D0.035cc"]["verdicts"] for g in goals)
    for column, goals in zip(found["columns"], zip(*(r["verdicts"] for r in found["rows"]), strict=True), strict=True):
        flat = [g["met"] for cell in goals for g in cell]
        counted = column["met"], column["not_met"], column["not_assessed"]
        assert counted == tuple(flat.count(verdict) for verdict in (True, False, None))
        broken = [g["level"] for cell in goals for g in cell if g["met"] is False]
        assert column["not_met_mandatory"] == broken.count("mandatory")
    tg101 = found["columns"][1]
    counted = f"{tg101['not_met']} NOT MET ({tg101['not_met_mandatory']} mandatory)"
    assert tg101["not_met_mandatory"] > 0 and counted in " ".join(told.split())
    assert "verdicts differ on: Duodenum D0.035cc" in " ".join(told.split())
    # The verdict on the plan is the protocol's alone.
    alone = judge(dosecalc, files)[1]
    assert alone["side_by_side"] is None
    assert (record["status"], record["goals"]) == (alone["status"], alone["goals"])


def test_a_set_of_another_population_says_so(five: Protocol) -> None:
    metastases = five.model_copy(update={"population": "liver_metastases"})
    limits = limits_of("Toesca2017", metastases)
    assert limits.notes[0].startswith("holds for primary liver cancer only, small is for liver metastases")
    assert not any("holds for" in note for note in limits_of("Osmundson2015", metastases).notes)


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("TG-101", "there is no protocol or constraint set 'TG-101'. Did you mean 'TG101'"),
        ("crlm_3fx", "crlm_3fx is for 3 fractions, small for 5"),
        ("UTSW_1fx", "UTSW_1fx has no limit for 5 fractions, it has limits for 1"),
        ("nowhere.toml", "there is no protocol or constraint set 'nowhere.toml'"),
    ],
)
def test_what_cannot_stand_beside(five: Protocol, name: str, said: str) -> None:
    with pytest.raises(UsageError, match=said):
        limits_of(name, five)


def test_a_protocol_beside_a_protocol_has_its_organ_goals_only(five: Protocol) -> None:
    other = load("crlm_5fx")
    assert [goal for goal, _ in limits_of("crlm_5fx", five).goals] == list(other.goals)

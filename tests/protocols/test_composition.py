"""Protocols made of parts: what they resolve to, where every number comes from, and what is refused by its key."""

import hashlib
import random
import re
import tomllib
from pathlib import Path

import pytest

from protocols import Prescription, Protocol, ProtocolError, available, json_schema, load
from protocols.files import PLANNING, PRESCRIPTION
from protocols.metrics import MinDose, StructureVolume
from protocols.resolved import resolved

from .own_set import OWN_SET

COMPOSED = tuple(name for name in available() if name not in ("crlm_3fx", "crlm_5fx"))
DOCS = Path(__file__).resolve().parents[2] / "docs"

BASE = """
schema_version = 1
name = "mine"
title = "Mine"
description = "A test."
fractions = 5
population = "liver_metastases"
prescription = "60gy_5fx"
planning = "liver_sbrt"

[[constraints]]
set = "eviQ_mets"
"""


def written(folder: Path, text: str) -> Path:
    path = folder / "mine.toml"
    path.write_text(text, encoding="utf-8")
    return path


def faults_of(folder: Path, text: str, **options: object) -> tuple[str, ...]:
    with pytest.raises(ProtocolError) as caught:
        load(written(folder, text), **options)  # type: ignore[arg-type]
    return caught.value.faults or (str(caught.value),)


def test_the_two_older_protocols_resolve_to_the_goals_they_always_had() -> None:
    """SHA-256 over every goal with all its keys, taken before protocols could be composed."""
    expected = {
        "crlm_3fx": "2e29d513c18384389394a1ff74cf6f990638ae400f91a552a264a3ee045e993f",
        "crlm_5fx": "b906a184d4751179cf9a1e3e1077951e351445c14ac4dc3207df20d27946d34b",
    }
    for name, digest in expected.items():
        goals = "\n".join(goal.model_dump_json() for goal in load(name).goals)
        assert hashlib.sha256(goals.encode()).hexdigest() == digest
        assert (load(name).parts, load(name).warnings, load(name).left_out) == ((), (), ())


def test_the_regimens_of_the_reviews_are_ready_to_plan() -> None:
    """Name, fractions, floor, target and cap; 12 fractions have no published organ limits, so there is no protocol."""
    doses = {
        name: (p.fractions, *(getattr(p.prescription, key).dose_gy for key in ("floor", "target", "cap")))
        for name in COMPOSED
        for p in [load(name)]
    }
    assert doses == {
        "crlm_40_1fx": (1, 35, 40, 40),
        "crlm_45_3fx": (3, 45, 45, 45),
        "crlm_50_5fx": (5, 50, 50, 50),
        "crlm_50_60_5fx_ladder": (5, 50, 60, 60),
        "crlm_60_3fx": (3, 60, 60, 60),
        "crlm_60_5fx": (5, 60, 60, 60),
        "crlm_60_5fx_60pct": (5, 50, 60, 60),
        "crlm_60_6fx": (6, 27.7, 60, 60),
        "crlm_60_8fx": (8, 60, 60, 60),
        "crlm_75_3fx_mean": (3, 45, 60, 75),
    }
    mean = load("crlm_75_3fx_mean").prescription.ptv_mean_max
    assert mean is not None
    assert (mean.limit, mean.level) == (75, "mandatory")
    assert set(PRESCRIPTION.shipped) >= {"60gy_12fx"}


@pytest.mark.parametrize("name", COMPOSED)
def test_a_shipped_composed_protocol_can_be_planned_and_accepts_nothing_unread(name: str) -> None:
    protocol = load(name)
    assert (protocol.name, protocol.population, protocol.accepted_limits) == (name, "liver_metastases", ())
    mandatory = {goal.structure for goal in protocol.goals if goal.level == "mandatory" and not goal.only_if_contoured}
    assert mandatory >= {"Stomach", "Duodenum", "Bowel_Small", "Colon", "Esophagus", "SpinalCord", "Heart", "Liver-GTV"}
    assert all(goal.only_if_contoured for goal in protocol.goals if goal.structure == "BileDuct_Common")
    for goal in protocol.goals:
        # What `optimize.goals` can turn into a limit: upper bounds, critical volumes and conditions on the anatomy.
        upper = goal.comparator in ("<", "<=") and not isinstance(goal.metric, MinDose)
        assert upper or str(goal.metric).startswith("CV") or isinstance(goal.metric, StructureVolume), goal.id
    rows = resolved(protocol)
    assert all(row.origin and row.source for row in rows)
    assert {row.key for row in rows} >= {f"goals[{goal.id}]" for goal in protocol.goals}


def test_the_planning_part_is_that_of_the_older_protocols() -> None:
    composed, spelled = load("crlm_60_5fx"), load("crlm_5fx")
    assert composed.planning == spelled.planning
    assert composed.structures == spelled.structures
    assert composed.origin_of("planning") == "protocols/planning/liver_sbrt.toml"
    assert PLANNING.shipped == ("liver_sbrt",)


def test_the_hash_changes_with_the_parts(tmp_path: Path) -> None:
    (tmp_path / "ours.toml").write_text(OWN_SET, encoding="utf-8")
    path = written(tmp_path, BASE.replace("eviQ_mets", "ours.toml"))
    before = load(path)
    assert before.origin_of("A1") == str(tmp_path / "ours.toml")
    (tmp_path / "ours.toml").write_text(OWN_SET.replace("28", "29"), encoding="utf-8")
    after = load(path)
    assert (before.goals[0].limit, after.goals[0].limit) == (28, 29)
    assert before.sha256 != after.sha256
    assert before.sha256 != hashlib.sha256(path.read_bytes()).hexdigest()


def goal_of(protocol: Protocol, goal_id: str) -> tuple[object, ...]:
    goal = next(goal for goal in protocol.goals if goal.id == goal_id)
    return goal.limit, goal.level, goal.level_by, goal.status


def override(keys: str) -> str:
    return BASE + f'\n[[overrides]]\nreason = "because of a reason"\n{keys}\n'


def test_overrides_change_a_limit_and_leave_a_trace(tmp_path: Path) -> None:
    own = 'ids = ["C105"]\nlimit = 28\nsource = "our protocol"\nstatus = "VERIFIED"'
    protocol = load(written(tmp_path, override(own)))
    assert goal_of(protocol, "C105") == (28, "mandatory", "editorial", "VERIFIED")
    goal = next(goal for goal in protocol.goals if goal.id == "C105")
    assert goal.source.startswith("our protocol; published: D0.5cc <= 30 Gy (eviQ")
    assert goal.note.endswith("Changed by this protocol: because of a reason")
    stricter = load(
        written(
            tmp_path,
            override('ids = ["C104"]\nmetric = "CV700cc<14Gy"\nsource = "our protocol"\nstatus = "VERIFIED"'),
        )
    ).goals[0]
    assert (str(stricter.metric), stricter.limit, stricter.level) == ("CV700cc<14Gy", 700, "optimal")
    assert "published: CV700cc<15Gy (eviQ" in stricter.source
    softer = load(written(tmp_path, override('ids = ["C105"]\nlevel = "optimal"')))
    assert goal_of(softer, "C105") == (30, "optimal", "editorial", "VERIFIED_2ND")
    without = load(written(tmp_path, override('ids = ["C105"]\nleave_out = true')))
    assert [goal.id for goal in without.goals] == ["C104", "C106"]
    assert without.left_out == ("eviQ_mets C105: left out by this protocol: because of a reason",)


def test_beams_of_the_protocol_replace_those_of_the_part(tmp_path: Path) -> None:
    protocol = load(written(tmp_path, BASE.replace('planning = "', 'beams = "liver_left"\nplanning = "')))
    assert protocol.planning.beams == "liver_left"
    assert (protocol.origin_of("beams"), protocol.planning.choice_of("beams").source) == (
        protocol.origin,
        "this protocol",
    )
    assert "liver_sbrt" in protocol.origin_of("planning")


def test_reported_limits_become_goals_for_a_reason_only(tmp_path: Path) -> None:
    timmerman = BASE.replace("eviQ_mets", "Timmerman_2022")
    (fault,) = faults_of(tmp_path, timmerman)
    assert "constraints[0].set: Timmerman_2022 gives no goal: its limits for 5 fractions are" in fault
    (fault,) = faults_of(tmp_path, timmerman + 'report_as = "optimal"\n')
    assert "constraints[0].report_as" in fault
    assert "give the key reason" in fault
    promoted = load(written(tmp_path, timmerman + 'report_as = "optimal"\nreason = "we use it"\n'))
    assert {(goal.level, goal.level_by) for goal in promoted.goals} == {("optimal", "editorial")}
    assert len(promoted.goals) == 23


def test_a_set_outside_its_population_is_refused_or_a_named_warning(tmp_path: Path) -> None:
    biliary = BASE + '\n[[constraints]]\nset = "Toesca2017"\nreport_as = "mandatory"\nreason = "a test"\n'
    (fault,) = faults_of(tmp_path, biliary)
    assert fault.startswith("constraints[1].set: Toesca2017 holds for primary liver cancer only")
    assert "this protocol is for liver metastases" in fault
    faults = faults_of(tmp_path, biliary.replace('population = "liver_metastases"\n', ""))
    assert len(faults) == 2
    assert all("state the population of this protocol: 'liver_metastases' or" in fault for fault in faults)
    protocol = load(written(tmp_path, biliary + 'outside_population = "we watch the ducts"\n'))
    assert {goal.level for goal in protocol.goals if goal.structure == "cHBT_15mm"} == {"optimal"}
    assert any("used outside that population: we watch the ducts" in line for line in protocol.warnings)
    primary = biliary.replace('"liver_metastases"', '"primary_liver"').replace("eviQ_mets", "RTOG1112")
    # Its physical doses were computed here: mandatory for nobody without acceptance by name.
    faults = faults_of(tmp_path, primary)
    assert any(re.match(r"constraints\[1\]\.status \('C130'\): .*accept it by name \(C130\)", f) for f in faults), (
        faults
    )


def test_a_mandatory_limit_that_nobody_read_needs_acceptance_or_an_override(tmp_path: Path) -> None:
    text = BASE.replace("60gy_5fx", "60gy_3fx").replace("fractions = 5", "fractions = 3").replace("eviQ_mets", "TG101")
    faults = faults_of(tmp_path, text)
    assert [re.sub(r":.*", "", fault) for fault in faults] == [
        f"constraints[0].status ('{name}')" for name in ("C068", "C071", "C077", "C080")
    ]
    accepted = load(written(tmp_path, text), accept_limits=["C068", "C071", "C077", "C080"])
    assert accepted.accepted_limits == ("C068", "C071", "C077", "C080")
    assert [line.split(":")[0] for line in accepted.left_out] == [
        f"TG101 {name}_2010" for name in ("C068", "C071", "C077", "C080")
    ]


OWN_GOAL = """
[[goals]]
id = "{id}"
structure = "{structure}"
metric = "{metric}"
{limit}
level = "{level}"
level_by = "editorial"
status = "VERIFIED"
source = "a test"
"""


def own_goal(metric: str, limit: str = "", **given: str) -> str:
    keys = {"id": "own", "structure": "Duodenum", "level": "mandatory"} | given
    text = f'comparator = "<"\nlimit = {limit}\nunit = "Gy"' if limit else ""
    return BASE + OWN_GOAL.format(metric=metric, limit=text, **keys)


ONE_FAULT = [
    (BASE.replace("eviQ_mets", "eviQ_met"), "constraints[0].set: unknown constraint set 'eviQ_met'.", "'eviQ_mets'?"),
    (
        BASE.replace("eviQ_mets", "UTSW_1fx"),
        "constraints[0].set: UTSW_1fx has no limit for 5 fractions",
        "limits for 1.",
    ),
    (BASE + 'only = ["C107"]\n', "constraints[0].only: eviQ_mets has no limit 'C107'.", "'C10"),
    (BASE.replace("eviQ_mets", "TG101") + 'only = ["C002"]\n', "constraints[0].only: C002 was not published for 5", ""),
    (BASE.replace('"60gy_5fx"', '"60gy_3fx"'), "prescription: 60gy_3fx is for 3 fractions, this protocol has 5.", ""),
    (BASE.replace('"60gy_5fx"', '"60gy_5f"'), "unknown prescription '60gy_5f'.", "Did you mean '60gy_5fx'?"),
    (BASE.replace('"liver_sbrt"', '"liver_sbr"'), "unknown planning part 'liver_sbr'.", "'liver_sbrt'?"),
    (BASE.replace("set =", "sett ="), "constraints[0].sett: unknown key. Did you mean 'set'?", ""),
    (BASE.replace("[[constraints]]", "[[constraint]]"), "constraint: unknown key. Did you mean 'constraints'?", ""),
    (BASE.replace("fractions = 5", 'fractions = "5"'), "fractions: the constraint sets need a number", ""),
    (override('ids = ["C99"]\nleave_out = true'), "overrides[0].ids: no constraint set of this protocol", "'C99'"),
    (override('ids = ["C105"]'), "overrides[0]: an override either leaves limits out, or changes", ""),
    (override('ids = ["C105"]\nlimit = 28'), "overrides[0]: a number of your own needs its own source", ""),
    (override('ids = ["C105"]\nlevel = "must"'), "overrides[0].level: expected one of 'mandatory' or", ""),
    (override('ids = ["C105", "C105"]\nleave_out = true'), "overrides[0].ids: C105 is overridden more than once", ""),
    (own_goal("D120%", "30"), "goals[0].metric ('own'): the volume of D(V) in %", "100, got 120"),
    (own_goal("D0.5cc", "31"), "goals: own (< 31 Gy) and C106 (<= 30 Gy) are two mandatory limits on Duodenum", ""),
    (
        own_goal("CV700cc<16Gy", structure="Liver-GTV", level="optimal"),
        "goals: own (CV700cc<16Gy) and C104",
        "CV700cc;",
    ),
    (own_goal("D0.035cc", "30", id="C106"), "goals: ids are used more than once: C106.", ""),
    (
        BASE + '[[constraints]]\nset = "eviQ_mets"\n',
        "constraints[1].set: eviQ_mets is listed twice, here and in constraints[0]; list it once",
        "(only).",
    ),
]


@pytest.mark.parametrize(("text", "start", "end"), ONE_FAULT)
def test_one_fault_of_a_composed_protocol(tmp_path: Path, text: str, start: str, end: str) -> None:
    faults = [fault for fault in faults_of(tmp_path, text) if start in fault]
    assert len(faults) == 1, faults_of(tmp_path, text)
    assert end in faults[0], faults[0]


def test_a_set_that_is_listed_twice_is_the_only_fault_unless_each_use_takes_other_limits(tmp_path: Path) -> None:
    twice = BASE + '[[constraints]]\nset = "eviQ_mets"\n'
    assert len(faults_of(tmp_path, twice)) == 1
    apart = BASE + 'only = ["C105"]\n[[constraints]]\nset = "eviQ_mets"\nonly = ["C106"]\n'
    assert {goal.id for goal in load(written(tmp_path, apart)).goals} == {"C105", "C106"}


def test_a_misprinted_limit_is_refused_under_any_name(tmp_path: Path) -> None:
    text = BASE.replace("60gy_5fx", "60gy_3fx").replace("fractions = 5", "fractions = 3")
    used = text.replace('"eviQ_mets"', '"TG101"\nonly = ["C068_2010"]')
    assert any("constraints[0].only: C068_2010 was superseded by C068" in fault for fault in faults_of(tmp_path, used))
    copied = text.replace('"eviQ_mets"', '"QUANTEC_seed"') + OWN_GOAL.format(
        id="kidneys", structure="Kidney_Cortex", metric="CV200cc<16Gy", limit="", level="mandatory"
    )
    for name, known in (("Kidney_Cortex", "C071_2010"), ("Kidneys", "C213"), ("Kidney_L", "C071_2010")):
        other = copied.replace("Kidney_Cortex", name)
        (fault,) = faults_of(tmp_path, other)
        assert fault.startswith(f"goals: kidneys (CV200cc<16Gy) is {known}, superseded by C071")
    uk = text.replace('"eviQ_mets"', '"UK_SABR"\nonly = ["C213"]')
    assert any("C213 was superseded by C071 (TG101" in fault for fault in faults_of(tmp_path, uk))


def test_sets_on_the_same_organ_are_never_mixed_silently(tmp_path: Path) -> None:
    mixed = BASE + '\n[[constraints]]\nset = "NRG-BR001_style"\nonly = ["N163", "N165"]\nreport_as = "optimal"\n'
    protocol = load(written(tmp_path, mixed + 'reason = "a test"\n'))
    assert "Stomach is limited by several published sets together: NRG-BR001_style, eviQ_mets." in protocol.warnings


def test_limits_that_no_goal_can_state_are_named(tmp_path: Path) -> None:
    text = BASE.replace("60gy_5fx", "28_60gy_6fx").replace("fractions = 5", "fractions = 6")
    protocol = load(written(tmp_path, text.replace("eviQ_mets", "PMH_6fx")))
    told = [line for line in protocol.warnings if "is not judged" in line]
    assert [re.findall(r"\(PMH_6fx (\w+)\)", line) for line in told] == [["C109"], ["C118"], ["C119"]]


def test_random_damage_to_a_composed_file_is_a_protocol_or_a_protocol_error(tmp_path: Path) -> None:
    rng = random.Random(8)
    shipped = override('ids = ["C105"]\nlevel = "optimal"').encode()
    refused = 0
    for _ in range(300):
        data = bytearray(shipped)
        for _ in range(rng.randint(1, 4)):
            at = rng.randrange(len(data))
            data[at : at + rng.choice((0, 1, 1, 40))] = bytes(rng.choices(range(256), k=rng.randint(0, 3)))
        (tmp_path / "mine.toml").write_bytes(data)
        try:
            load(tmp_path / "mine.toml")
        except ProtocolError as error:
            refused += 1
            assert str(error)
    assert refused > 100


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("fractions", "nan"),
        ("fractions", "true"),
        ("population", '["liver"]'),
        ("population", '"liver"'),
        ("prescription", '"a\\u0000b"'),
        ("prescription", '"../rx"'),
        ("prescription", "5"),
        ("planning", '"/"'),
        ("constraints", "5"),
        ("constraints", "[5]"),
        ("constraints", '[{set = ""}]'),
        ("constraints", '[{set = "a\\u0000b.toml"}]'),
        ("constraints", "[" + '{set = "eviQ_mets"},' * 101 + "]"),
        ("goals", "5"),
        ("goals", "[5]"),
        ("goals", "[{id = []}]"),
        ("structures", "5"),
        ("beams", "5"),
        ("overrides", '[{ids = [], reason = "a"}]'),
    ],
)
def test_any_value_of_any_key_is_refused_in_words(tmp_path: Path, key: str, value: str) -> None:
    lines = [line for line in BASE.splitlines() if not line.startswith(f"{key} =")]
    if key == "constraints":
        lines = lines[: lines.index("[[constraints]]")]
    faults = faults_of(tmp_path, "\n".join([f"{key} = {value}", *lines]))
    assert any(key in fault or "file" in fault or "unknown" in fault for fault in faults), faults


def prescribed(folder: Path, **doses: object) -> str:
    """The base protocol on a prescription of our own with other doses."""
    text = PRESCRIPTION.read("60gy_5fx")[1].decode()
    for key, dose in doses.items():
        text = re.sub(rf"(\[prescription\.{key}\]\ndose_gy = )60\.0", rf"\g<1>{dose}", text)
    (folder / "rx.toml").write_text(text, encoding="utf-8")
    return BASE.replace('"60gy_5fx"', '"rx.toml"')


@pytest.mark.parametrize(
    ("dose", "words"),
    [
        ("12.0", "12 Gy in 5 fractions is BED10 14.9 Gy, below every published regimen"),
        ("300.0", "300 Gy in 5 fractions is BED10 2100.0 Gy, above every published regimen"),
        ('"60 Gy"', "prescription.target.dose_gy: Input should be a valid number without quotes and unit, got '60 Gy'"),
        ('"60"', "prescription.target.dose_gy: Input should be a valid number without quotes and unit, got '60'"),
    ],
)
def test_a_dose_that_cannot_be_a_total_is_refused(tmp_path: Path, dose: str, words: str) -> None:
    faults = faults_of(tmp_path, prescribed(tmp_path, floor=dose, target=dose, cap=dose))
    assert any(words in fault for fault in faults), faults
    if dose == "12.0":
        assert "prescription.target.dose_gy" in faults[1]
        assert "12 Gy per fraction would be a total of 60 Gy" in faults[1]


def test_a_total_that_may_be_meant_per_fraction_is_a_warning(tmp_path: Path) -> None:
    text = prescribed(tmp_path, floor="18.0").replace("fractions = 5", "fractions = 3")
    (tmp_path / "rx.toml").write_text(
        (tmp_path / "rx.toml").read_text(encoding="utf-8").replace("fractions = 5", "fractions = 3"), encoding="utf-8"
    )
    protocol = load(written(tmp_path, text.replace("eviQ_mets", "QUANTEC_seed")))
    (line,) = (line for line in protocol.warnings if "per fraction" in line)
    assert line == (
        "prescription.floor.dose_gy: 18 Gy is the total of 3 fractions (BED10 29 Gy); if it was meant per fraction, "
        "the total is 54 Gy (BED10 151 Gy)."
    )


@pytest.mark.parametrize(("limit", "meant"), [("6.4", "per fraction (32 Gy"), ("160", "number of fractions (32 Gy")])
def test_a_limit_far_from_every_published_one_is_a_warning(tmp_path: Path, limit: str, meant: str) -> None:
    protocol = load(written(tmp_path, own_goal("D0.035cc", limit)))
    (line,) = (line for line in protocol.warnings if "own" in line and "never binds" not in line)
    assert "published 32-35 Gy" in line
    assert meant in line
    assert not [line for line in load(written(tmp_path, own_goal("D0.035cc", "32"))).warnings if "own" in line]


@pytest.mark.parametrize(
    ("metric", "limit", "stated", "meant"),
    [
        ("D0.5cc", "3000", "D0.5cc < 3000 Gy", "was it meant in cGy (3000 cGy = 30 Gy)?"),
        ("Dmean", "90", "Dmean < 90 Gy", "check dose and unit."),
        ("gEUD(a=8)", "2500", "gEUD(a=8) < 2500 Gy", "(2500 cGy = 25 Gy)?"),
        ("CV100cc<1650Gy", "", "CV100cc<1650Gy", "(1650 cGy = 16.5 Gy)?"),
        ("V3000Gy", "10", "V3000Gy < 10 cc", "(3000 cGy = 30 Gy)?"),
        ("BED_3(Dmax)", "3000", "BED_3(Dmax) < 3000 Gy", "(3000 cGy = 30 Gy)?"),
    ],
)
def test_an_upper_limit_above_every_dose_is_a_warning(
    tmp_path: Path, metric: str, limit: str, stated: str, meant: str
) -> None:
    """The hot spot of 60 Gy to the 70 % isodose is 85.7 Gy; nobody published limits on the pancreas."""
    text = own_goal(metric, limit, structure="Pancreas")
    if stated.endswith("cc"):
        text = text.replace('unit = "Gy"', 'unit = "cc"')
    (line,) = (line for line in load(written(tmp_path, text)).warnings if "own" in line)
    assert line.startswith(
        f"goals: own: Pancreas {stated} never binds: the hot spot of the prescription is at most 85.7"
    )
    assert line.endswith(meant)


@pytest.mark.parametrize(("metric", "limit"), [("D0.5cc", "85.7"), ("BED_3(Dmax)", "570"), ("CV100cc<16.5Gy", "")])
def test_a_limit_that_a_dose_can_reach_is_none(tmp_path: Path, metric: str, limit: str) -> None:
    """85.7 Gy in five fractions are 575 Gy BED3."""
    protocol = load(written(tmp_path, own_goal(metric, limit, structure="Pancreas")))
    assert not [line for line in protocol.warnings if "never binds" in line]


@pytest.mark.parametrize("name", available())
def test_every_shipped_limit_can_bind(name: str) -> None:
    assert not [line for line in load(name).warnings if "never binds" in line]


def test_the_page_for_physicists_holds_a_protocol_that_works(tmp_path: Path) -> None:
    page = (DOCS / "writing_a_protocol.md").read_text(encoding="utf-8")
    first, own, ladder, risk, ratio = re.findall(r"```toml\n(.*?)```", page, re.DOTALL)
    protocol = load(written(tmp_path, first + own + ratio))
    assert [(a.structures, a.alpha_beta_gy) for a in protocol.stated_alpha_beta] == [(("Liver",), 3.0)]
    assert (protocol.name, protocol.fractions, protocol.planning.beams) == ("my_clinic", 5, "liver_central")
    assert goal_of(protocol, "C012") == (30, "mandatory", "editorial", "VERIFIED")
    assert goal_of(protocol, "C057")[1:3] == ("optimal", "editorial")
    assert goal_of(protocol, "pancreas_mean")[:2] == (25, "optimal")
    assert not {goal.structure for goal in protocol.goals} & {"Lungs", "Kidney_Hilum"}
    for table, shown in (("prescription.rungs", ladder), ("prescription.iso_ntcp", risk)):
        assert f"[{table}]" in shown
        assert set(tomllib.loads(shown)["prescription"]) <= set(Prescription.model_fields)
    for promised in ("12 Gy in\n  5 fractions", "19.2 Gy", "--accept-limit C068", "outside_population"):
        assert promised in page


def test_the_json_schemas_know_the_keys_of_composed_files() -> None:
    schema = json_schema()
    assert {"constraints", "overrides", "beams", "population"} <= set(schema["properties"])
    named = schema["properties"]["prescription"]["anyOf"][1]
    assert named["type"] == "string"
    assert "60gy_5fx" in named["examples"]
    assert "TG101" in schema["$defs"]["SetUse"]["properties"]["set"]["examples"]
    assert schema["anyOf"] == [{"required": ["goals"]}, {"required": ["constraints"]}]
    goal = schema["$defs"]["Goal"]
    assert goal["properties"]["limit"]["description"] == "In `unit`." and "Attributes" not in goal["description"]
    assert "Duodenum" in goal["properties"]["structure"]["examples"]
    assert "BED_10(V40Gy)" in goal["properties"]["metric"]["examples"]
    assert "merely reports" in schema["$defs"]["SetUse"]["properties"]["report_as"]["description"]
    for kind, key in (("constraints", "limits"), ("prescription", "prescription"), ("planning", "planning")):
        assert key in json_schema(kind)["required"]
    with pytest.raises(ProtocolError, match=r"no kind of file 'constraint'.*Did you mean 'constraints'"):
        json_schema("constraint")

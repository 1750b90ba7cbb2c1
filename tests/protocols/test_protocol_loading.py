"""Loading: every fault at once, each with its key and the nearest known name; never a plain exception."""

import hashlib
import random
import re
import subprocess
import sys
import tomllib
from importlib.resources import files
from pathlib import Path

import pytest

import protocols
from protocols import ProtocolError, SidedMargin, load

SHIPPED = files("protocols").joinpath("library/crlm_5fx.toml").read_text(encoding="utf-8")


def edited(tmp_path: Path, *changes: tuple[str, str]) -> Path:
    """A copy of the shipped five-fraction protocol with some texts replaced, each exactly once."""
    text = SHIPPED
    for old, new in changes:
        assert old in text, old
        text = text.replace(old, new, 1)
    path = tmp_path / "mine.toml"
    path.write_text(text, encoding="utf-8")
    return path


def goal(goal_id: str, old: str, new: str) -> tuple[str, str]:
    """A change inside the table of one goal."""
    table = re.search(rf'\[\[goals\]\]\nid = "{goal_id}"\n(?:.+\n)+', SHIPPED)
    assert table is not None
    assert old in table[0], old
    return table[0], table[0].replace(old, new, 1)


def fault_of(path: Path, **options: object) -> str:
    """The only fault of a protocol file."""
    with pytest.raises(ProtocolError) as caught:
        load(path, **options)  # type: ignore[arg-type]
    assert len(caught.value.faults) == 1, str(caught.value)
    return caught.value.faults[0]


def test_a_path_and_a_name_give_the_same_protocol(tmp_path: Path) -> None:
    path = edited(tmp_path)
    mine, shipped = load(path), load("crlm_5fx")
    assert mine.goals == shipped.goals
    assert load(str(path)).sha256 == shipped.sha256 == hashlib.sha256(SHIPPED.encode()).hexdigest()
    assert (mine.origin, shipped.origin) == (str(path), "protocols/library/crlm_5fx.toml")


def test_all_faults_are_reported_together(tmp_path: Path) -> None:
    path = edited(
        tmp_path,
        goal("C018", "limit = 32", "limt = 32"),
        goal("C106", 'unit = "Gy"', 'unit = "cGy"'),
        goal("C012", 'metric = "D0.035cc"', 'metric = "D0.035ml"'),
        goal("C027", "limit = 35", "limit = nan"),
        goal("C033", 'status = "VERIFIED"', 'status = "VERIFED"'),
        ('basis = "D95"', 'basis = "D95%"'),
        ("dose_gy = 50.0", "dose_gy = 61.0"),
        goal("C036", 'id = "C036"', 'id = "C033"'),
    )
    with pytest.raises(ProtocolError) as caught:
        load(path)
    text = "\n".join(caught.value.faults)
    for key, word in [
        ("goals[6].limit ('C018')", "missing"),
        ("goals[6].limt ('C018')", "Did you mean 'limit'?"),
        ("goals[7].unit ('C106')", "100 cGy = 1 Gy"),
        ("goals[11].metric ('C012')", "unknown metric 'D0.035ml'"),
        ("goals[14].limit ('C027')", "finite"),
        ("goals[17].status ('C033')", "Did you mean 'VERIFIED'?"),
        ("prescription.basis", "Did you mean 'D95'?"),
        ("prescription.target", "below the floor 61 Gy"),
        ("prescription.cap", "below the floor 61 Gy"),
        ("goals", "ids are used more than once: C033"),
    ]:
        assert re.search(rf"^{re.escape(key)}: .*{re.escape(word)}", text, re.MULTILINE), (key, text)
    assert len(caught.value.faults) == 10
    shown = str(caught.value)
    assert shown.count("\n") == 10
    assert "mine.toml" in shown
    assert (caught.value.exit_code, caught.value.code) == (12, "protocol_invalid")


C018 = "goals[6].{} ('C018'): {}"
NUMBER = C018.format("limit", "Input should be a valid number")
POSITIVE = C018.format("limit", "Input should be greater than 0")
REPEATED = "goals: ids are used more than once: {}."

ONE_FAULT = [
    (
        goal("C018", 'unit = "Gy"', 'unit = "cc"'),
        C018.format("unit", "the metric D0.035cc is measured in Gy"),
    ),
    (
        goal("C229", 'unit = "cc"', 'unit = "Gy"'),
        "goals[30].unit ('C229'): the metric V30Gy is measured in cc",
    ),
    (goal("C018", "limit = 32", 'limit = "32"'), NUMBER),
    (goal("C018", "limit = 32", "limit = true"), NUMBER),
    (goal("C018", "limit = 32", "limit = -32"), POSITIVE),
    (goal("C018", "limit = 32", "limit = 0"), POSITIVE),
    (goal("C018", "limit = 32", "limit = inf"), C018.format("limit", "Input should be a finite number")),
    (goal("C018", "D0.035cc", "NTCP(LKB)"), "known but not implemented in this version"),
    (goal("C018", "limit = 32", 'limit = 32\nsuperseded_by = "C999"'), "superseded by 'C999'"),
    (goal("C018", 'level = "mandatory"', 'level = "must"'), "expected one of 'mandatory' or 'optimal'"),
    (goal("C018", 'comparator = "<"', 'comparator = "=<"'), C018.format("comparator", "expected one of '<'")),
    (goal("C018", "Duodenum", "Duo\\u001bdenum"), C018.format("structure", "")),
    (goal("C229", 'metric = "V30Gy"', 'metric = "V1500cGy"'), "Doses are in Gy (100 cGy = 1 Gy)"),
    (goal("C069", "metric", 'comparator = "<"\nmetric'), "asks for at least that volume (>=)"),
    (goal("C069", "metric", "limit = 21\nmetric"), "CV700cc<21Gy asks for 700 cc, got 21"),
    (goal("C069", "metric", 'unit = "Gy"\nmetric'), "CV700cc<21Gy is measured in cc"),
    (goal("C069", "CV700cc<21Gy", "CV700cc<2100cGy"), "100 cGy = 1 Gy"),
    (goal("C036", 'id = "C036"', 'id = "C033"'), REPEATED.format("C033")),
    (goal("C036", 'id = "C036"', 'id = "GTV_D98"'), REPEATED.format("GTV_D98")),
    (("dose_gy = 60.0", "dose_gy = 60.5"), "prescription.cap: cap 60 Gy lies below the target 60.5 Gy."),
    (("max_gy = 100.0", "max_gy = 49.0"), "prescription.hot_spot: max_gy 49 Gy lies below the floor 50 Gy"),
    (
        ("isodose = 0.60", "isodose = 60"),
        "prescription.hot_spot.isodose: Input should be less than or equal to 1",
    ),
    (("fractions = 5", "fractions = 5.5"), "fractions: Input should be a valid integer"),
    (("schema_version = 1", "schema_version = 2"), "schema_version: expected one of 1, got 2."),
    (
        ('basis = "D95"', 'basis = "periphery_isodose"'),
        "prescription.isodose_pct: isodose_pct goes with the basis",
    ),
    (('basis = "D95"', 'basis = "D95"\nisodose_pct = 80'), "prescription.isodose_pct: isodose_pct goes with"),
    (('keys = ["beams"]', 'keys = ["beam"]'), "beams has none, beam is no planning value"),
]

RENAMED = [
    (("beamlet_mm = 5.0", "beamlet = 5.0"), "planning.beamlet: unknown key. Did you mean 'beamlet_mm'?"),
    (("outside_ptv]", "outside]"), "prescription.outside: unknown key. Did you mean 'outside_ptv'?"),
    (("dose_gy = 50.0", "dose = 50.0"), "prescription.floor.dose: unknown key. Did you mean 'dose_gy'?"),
]


@pytest.mark.parametrize(("change", "expected"), ONE_FAULT)
def test_one_change_gives_its_fault(tmp_path: Path, change: tuple[str, str], expected: str) -> None:
    assert expected in fault_of(edited(tmp_path, change))


@pytest.mark.parametrize(("change", "expected"), RENAMED)
def test_a_renamed_key_is_unknown_and_missing(tmp_path: Path, change: tuple[str, str], expected: str) -> None:
    with pytest.raises(ProtocolError) as caught:
        load(edited(tmp_path, change))
    assert expected in caught.value.faults
    assert len([fault for fault in caught.value.faults if fault.endswith("this key is missing.")]) == 1


def test_a_protocol_has_goals(tmp_path: Path) -> None:
    without = SHIPPED[: SHIPPED.index("# Liver\n")].replace("fractions = 5\n", "fractions = 5\ngoals = []\n")
    path = tmp_path / "goalless.toml"
    path.write_text(without, encoding="utf-8")
    assert fault_of(path) == "goals: a protocol needs at least one goal."
    path.write_text(without.replace("goals = []", 'goals = [{ id = "A" }]'), encoding="utf-8")
    with pytest.raises(ProtocolError) as caught:
        load(path)
    assert all(fault.startswith("goals[0].") for fault in caught.value.faults)


def test_an_isodose_prescription_names_its_isodose(tmp_path: Path) -> None:
    path = edited(tmp_path, ('basis = "D95"', 'basis = "periphery_isodose"\nisodose_pct = 60'))
    assert load(path).prescription.isodose_pct == 60
    # The maximum would be held to another isodose than the one that is prescribed to.
    path = edited(tmp_path, ('basis = "D95"', 'basis = "periphery_isodose"\nisodose_pct = 80'))
    assert "prescription.hot_spot: isodose 0.6 is not the 80 % isodose" in fault_of(path)


RUNG = """
[[prescription.rungs]]
dose_gy = {dose}
basis = "{basis}"
status = "VERIFIED"
source = "a test"
"""
MODE = ('basis = "D95"', 'basis = "D95"\nescalation = "{mode}"')


def with_mode(tmp_path: Path, mode: str, tables: str) -> Path:
    """The shipped protocol with an escalation mode and its tables."""
    path = edited(tmp_path, (MODE[0], MODE[1].format(mode=mode)))
    path.write_text(path.read_text(encoding="utf-8") + tables, encoding="utf-8")
    return path


def rungs(*given: tuple[float, str]) -> str:
    return "".join(RUNG.format(dose=dose, basis=basis) for dose, basis in given)


@pytest.mark.parametrize(
    ("tables", "key", "words"),
    [
        (rungs((50, "D95"), (60, "mean_PTV")), "prescription.rungs", "different treatments"),
        (rungs((60, "D95"), (50, "D95")), "prescription.rungs", "go upwards"),
        (rungs((50, "D95"), (75, "D95")), "prescription.rungs", "above the cap of 60 Gy"),
        (rungs((50, "mean_PTV")), "prescription.rungs", "need ptv_mean_max"),
        (rungs((50, "periphery_isodose")), "prescription.rungs[0].isodose_pct", "goes with the basis"),
        (rungs((50, "periphery_isodose")) + "isodose_pct = 80", "prescription.rungs", "hot_spot.isodose is 0.6"),
        (rungs((50, "D95")).replace("VERIFIED", "REMEMBERED"), "prescription.rungs[0].status", "accept it by name"),
        ("", "prescription.rungs", "needs at least one"),
    ],
)
def test_rungs_that_are_no_ladder_are_refused(tmp_path: Path, tables: str, key: str, words: str) -> None:
    said = fault_of(with_mode(tmp_path, "ladder", tables))
    assert said.startswith(f"{key}:")
    assert words in said


def test_an_escalation_mode_and_its_tables_go_together(tmp_path: Path) -> None:
    risk = '[prescription.iso_ntcp]\nmodel = "{}"\nmax_pct = 5.0\nstatus = "VERIFIED"\nsource = "a test"\n'
    ladder = rungs((50, "D95")) + rungs((60, "periphery_isodose")) + "isodose_pct = 60"
    assert len(load(with_mode(tmp_path, "ladder", ladder)).prescription.rungs) == 2
    known = risk.format("liver_lkb_metastases")
    loaded = load(with_mode(tmp_path, "iso_ntcp", known)).prescription.iso_ntcp
    assert loaded is not None
    assert (loaded.curve.n, loaded.curve.td50_gy) == (0.97, 45.8)
    assert "liver_lkb_primary" in fault_of(with_mode(tmp_path, "iso_ntcp", risk.format("liver")))
    assert "needs it" in fault_of(with_mode(tmp_path, "iso_ntcp", ""))
    assert "goes with" in fault_of(with_mode(tmp_path, "continuous", known))
    assert "go with" in fault_of(with_mode(tmp_path, "continuous", ladder))
    assert "Did you mean 'ladder'?" in fault_of(with_mode(tmp_path, "lader", ""))


def test_a_critical_volume_may_repeat_what_it_says(tmp_path: Path) -> None:
    path = edited(tmp_path, goal("C069", "metric", 'comparator = ">="\nlimit = 700\nunit = "cc"\nmetric'))
    assert load(path).goals == load("crlm_5fx").goals


@pytest.mark.parametrize("status", ["REMEMBERED", "COMPUTED"])
def test_a_mandatory_number_without_a_text_needs_acceptance_by_name(tmp_path: Path, status: str) -> None:
    path = edited(tmp_path, goal("C018", 'status = "VERIFIED"', f'status = "{status}"'))
    assert "goals[6].status ('C018')" in fault_of(path)
    assert "accept it by name (C018)" in fault_of(path, accept_limits={"C012"})
    assert load(path, accept_limits={"C018", "C012"}).accepted_limits == ("C018",)


def test_an_optimal_number_without_a_text_needs_none(tmp_path: Path) -> None:
    path = edited(tmp_path, goal("C209", 'status = "VERIFIED_2ND"', 'status = "REMEMBERED"'))
    assert load(path).accepted_limits == ()


@pytest.mark.parametrize("key", ["floor", "cap", "hot_spot"])
def test_bounds_of_the_prescription_need_acceptance_too(tmp_path: Path, key: str) -> None:
    table = re.search(rf"\[prescription\.{key}\]\n(?:.+\n)+", SHIPPED)
    assert table is not None
    path = edited(tmp_path, (table[0], table[0].replace('status = "SEED"', 'status = "REMEMBERED"')))
    assert f"prescription.{key}" in fault_of(path)
    assert load(path, accept_limits=[f"prescription.{key}"]).accepted_limits == (f"prescription.{key}",)


def test_an_acceptance_of_nothing_is_a_fault() -> None:
    with pytest.raises(ProtocolError, match=r"no limit 'C0118'\. Did you mean 'C018'"):
        load("crlm_5fx", accept_limits={"C0118"})


def test_unknown_names_bring_the_nearest_one() -> None:
    with pytest.raises(ProtocolError, match=r"unknown protocol 'crlm_5f'.*crlm_3fx, .*Did you mean 'crlm_5fx'"):
        load("crlm_5f")


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(ProtocolError, match="no such protocol file"):
        load(tmp_path / "absent.toml")
    with pytest.raises(ProtocolError, match="this is none"):
        load(tmp_path)
    with pytest.raises(ProtocolError, match=r"unknown protocol"):
        load("crlm\0_5fx")


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (b"", "faults"),
        (b"a = 1\nb = \n", "not valid TOML: Invalid value (at line 2"),
        (b"a = 1\na = 2\n", "not valid TOML: Cannot overwrite a value (at line 2"),
        (b"name = '\xff\xfe'", "not UTF-8 text (byte 8)"),
        (b"# " + b"x" * 1_000_000, "at most 1000000 bytes"),
        (b"a = " + b"[" * 100_000, "nested too deeply"),
        (b"fractions = 0x" + b"f" * 10_000, "faults"),
        (b"goals = [" + b"{}," * 100_000 + b"]", "at most 1000 entries, one here has 100000"),
        ("\n".join(f"k{i} = 1" for i in range(3000)).encode(), "has 3008 faults"),
        (b"goals = 5\nprescription = []\nplanning = 1979-05-27", "faults"),
        (b'"\x1b[31m" = 1' , "not valid TOML"),
    ],
)  # fmt: skip
def test_a_file_that_is_no_protocol(tmp_path: Path, data: bytes, words: str) -> None:
    path = tmp_path / "broken.toml"
    path.write_bytes(data)
    with pytest.raises(ProtocolError) as caught:
        load(path)
    assert words in str(caught.value)
    assert "broken.toml" in str(caught.value)


def test_a_hostile_key_is_shown_harmlessly(tmp_path: Path) -> None:
    with pytest.raises(ProtocolError) as caught:
        load(edited(tmp_path, ("schema_version", '"\\u001b[31m' + "k" * 5000 + '" = 1\nschema_version')))
    assert "\x1b" not in str(caught.value)
    assert len(str(caught.value)) < 1000


def test_a_byte_order_mark_does_no_harm(tmp_path: Path) -> None:
    path = tmp_path / "bom.toml"
    path.write_bytes(b"\xef\xbb\xbf" + SHIPPED.encode())
    assert load(path).goals == load("crlm_5fx").goals


def test_random_damage_is_a_protocol_or_a_protocol_error(tmp_path: Path) -> None:
    rng = random.Random(20)
    path = tmp_path / "damaged.toml"
    refused = 0
    for _ in range(300):
        data = bytearray(SHIPPED.encode())
        for _ in range(rng.randint(1, 4)):
            at = rng.randrange(len(data))
            data[at : at + rng.choice((0, 1, 1, 40))] = bytes(rng.choices(range(256), k=rng.randint(0, 3)))
        path.write_bytes(data)
        try:
            load(path)
        except ProtocolError as error:
            refused += 1
            assert str(error)
    assert refused > 100


def test_a_protocol_survives_its_own_dump() -> None:
    protocol = load("crlm_3fx")
    again = protocols.Protocol.model_validate(protocol.model_dump(mode="json"))
    assert again.goals == protocol.goals
    assert again.prescription == protocol.prescription
    assert again.planning == protocol.planning


def test_protocols_are_frozen() -> None:
    protocol = load("crlm_5fx")
    with pytest.raises(ValueError, match="frozen"):
        protocol.goals[0].limit = 99.0  # type: ignore[misc]


def test_the_json_schema_describes_the_shipped_files() -> None:
    schema = protocols.json_schema()
    tables = {"Protocol": schema, **schema["$defs"]}
    assert all(table["additionalProperties"] is False for table in tables.values() if table["type"] == "object")
    data = tomllib.loads(SHIPPED)
    assert set(schema["required"]) <= set(data) <= set(schema["properties"])
    goal_schema = schema["$defs"]["Goal"]
    for entry in data["goals"]:
        required = {*goal_schema["required"]}
        if not entry["metric"].startswith("CV"):
            required |= set(goal_schema["else"]["required"])
        assert required <= set(entry) <= set(goal_schema["properties"]), entry["id"]
    assert goal_schema["properties"]["metric"]["type"] == "string"


def test_the_package_stands_below_the_dose_engine() -> None:
    code = (
        "import sys, protocols; protocols.load('crlm_3fx'); "
        "print(sorted({name.split('.')[0] for name in sys.modules} & {'dosecalc', 'optimize', 'numpy'}))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def with_structure(tmp_path: Path, *entries: tuple[str, str]) -> Path:
    """The shipped protocol with structures defined at its end."""
    path = edited(tmp_path)
    tables = [f'\n[[structures]]\nname = "{n}"\nexpression = "{e}"\nsource = "a test"\n' for n, e in entries]
    path.write_text(path.read_text(encoding="utf-8") + "".join(tables), encoding="utf-8")
    return path


def test_a_structure_defined_by_an_expression(tmp_path: Path) -> None:
    entry = load(with_structure(tmp_path, ("Ring", "ring(PTV, 5, 20)"))).structures[-1]
    assert (entry.name, str(entry.expression)) == ("Ring", "ring(PTV, 5, 20)")


@pytest.mark.parametrize(
    ("entries", "words"),
    [
        ([("Ring", "rng(PTV, 5, 20)")], ["structures[3].expression", "rng(PTV, 5, 20)", "ring(A, inner_mm, outer_mm)"]),
        ([("PTV", "grow(GTV, 5)")], ["structures", "PTV cannot be defined here"]),
        ([("A", "grow(GTV, 5)"), ("A", "grow(GTV, 6)")], ["structures", "more than once: A"]),
    ],
)
def test_a_faulty_definition_is_told_by_its_key(
    tmp_path: Path, entries: list[tuple[str, str]], words: list[str]
) -> None:
    told = fault_of(with_structure(tmp_path, *entries))
    assert all(word in told for word in words), told


OWN = """
[[prescription.lesions]]
lesion = "GTV_2"
floor = {{ dose_gy = {floor}, status = "SEED", source = "our own" }}
target = {{ dose_gy = {target}, status = "SEED", source = "our own" }}
"""


def test_a_lesion_with_its_own_prescription(tmp_path: Path) -> None:
    path = edited(tmp_path, ("\n[planning]\n", OWN.format(floor=35.0, target=40.0) + "\n[planning]\n"))
    wanted = load(path).prescription
    own = wanted.of_lesion("PTV_opt_GTV_2")
    assert own is not None
    assert (own.floor.dose_gy, own.target.dose_gy) == (35.0, 40.0)
    assert wanted.of_lesion("PTV_opt_GTV_1") is None


@pytest.mark.parametrize(
    ("text", "words"),
    [
        (OWN.format(floor=35.0, target=70.0), "GTV_2: 70 Gy is more than the 60 Gy of the rest"),
        (OWN.format(floor=45.0, target=40.0), "target 40 Gy lies below the floor 45 Gy"),
        (2 * OWN.format(floor=35.0, target=40.0), "several are given for GTV_2"),
    ],
)
def test_a_faulty_prescription_of_a_lesion(tmp_path: Path, text: str, words: str) -> None:
    assert words in fault_of(edited(tmp_path, ("\n[planning]\n", text + "\n[planning]\n")))


def test_a_margin_may_differ_by_side_of_the_patient(tmp_path: Path) -> None:
    sided = "{ right = 5.0, left = 5.0, anterior = 5.0, posterior = 5.0, inferior = 8.0, superior = 10.0 }"
    planning = load(edited(tmp_path, ("ctv_to_ptv_mm = 4.0", f"ctv_to_ptv_mm = {sided}"))).planning
    assert isinstance(planning.ctv_to_ptv_mm, SidedMargin)
    assert planning.ctv_to_ptv_mm.sides == (5.0, 5.0, 5.0, 5.0, 8.0, 10.0)
    wrong = {
        "-1.0": "planning.ctv_to_ptv_mm: Input should be greater",
        sided.replace("8", "-8"): "ctv_to_ptv_mm.inferior:",
    }
    for value, words in wrong.items():
        assert words in fault_of(edited(tmp_path, ("ctv_to_ptv_mm = 4.0", f"ctv_to_ptv_mm = {value}")))

"""The command line: every verb, and one readable line with the right exit code for every mistake."""

from __future__ import annotations

import json
import re
import shutil
import signal
from dataclasses import replace
from pathlib import Path

import numpy as np
import pydicom
import pytest

import optimize.job
from dosecalc.dicom import write_rtdose
from dosecalc.grid import Volume
from dosecalc.reading import read_ct_series
from optimize.arrangements import parse_beams
from optimize.escalate import Escalation
from optimize.fluence_file import read_earlier_plan, write_fluence
from optimize.interruption import INTERRUPTED
from optimize.job import Job
from optimize.planning import Plan, _judge
from optimize.prices import Stop
from optimize.rounds import Round
from optimize.run_record import _exit_code

from .conftest import Finished, Run
from .small_case import ACCEPTED, RUN_KEYS, Patient, write_protocol

VERBS = [
    (),
    ("demo",),
    ("plan",),
    ("evaluate",),
    ("inspect",),
    ("protocols",),
    ("protocols", "list"),
    ("protocols", "show"),
    ("protocols", "check"),
    ("protocols", "schema"),
    ("protocols", "sets"),
    ("protocols", "limits"),
    ("gamma",),
    ("study",),
    ("doctor",),
    ("regimens",),
    ("regimens", "list"),
    ("regimens", "show"),
    ("regimens", "compare"),
    ("machines",),
    ("machines", "list"),
    ("machines", "show"),
    ("machines", "check"),
]
BEAMS = "0:0,90,180,270"


@pytest.fixture
def plan(dosecalc: Run, patient: Patient, tmp_path: Path):
    """`dosecalc plan` on the small case into tmp_path/out; options given replace the usual ones, None leaves out."""

    def run(**given: object) -> Finished:
        options = {
            "ct": patient.ct,
            "structures": patient.structures,
            "target": "GTV",
            "target-role": "GTV",
            "protocol": write_protocol(tmp_path / "small.toml"),
            "beams": BEAMS,
            "backend": "numba",
            "accept-missing": ACCEPTED[0],
            "out": tmp_path / "out",
        } | {key.replace("_", "-"): value for key, value in given.items()}
        words = [
            (f"--{key}", *([] if value is True else [value])) for key, value in options.items() if value is not None
        ]
        return dosecalc("plan", *(word for pair in words for word in pair))

    return run


def error_line(ended: Finished, *, answer: str = "") -> str:
    """The one error line on stderr, after progress; nothing on stdout but an answer that begins so, no traceback."""
    assert ended.out.startswith(answer) if answer else ended.out == ""
    assert "Traceback" not in ended.err
    lines = [line for line in ended.err.splitlines() if not re.match(r"\d\d:\d\d:\d\d ", line)]
    assert len(lines) == 1, ended.err
    assert lines[0].startswith("error (")
    return lines[0]


def test_a_patient_is_planned_from_files_to_files(plan, patient: Patient, dosecalc: Run, tmp_path: Path) -> None:
    ct = read_ct_series(patient.ct)
    write_rtdose(tmp_path / "prior.dcm", Volume(ct.volume.grid, np.zeros(ct.volume.grid.shape)), ct)
    ended = plan(prior_dose=tmp_path / "prior.dcm", prior_fractions=3, alpha_beta="Liver=4")
    assert ended.code == 0, ended.err
    out = tmp_path / "out"
    assert "Scorecard" in ended.out
    assert re.search(r"at the limit, to 0.5 % of it or 0.05: .*Duodenum D0.035cc", ended.out)
    assert re.search(r"binding: Duodenum D0.035cc <= \d+.0 Gy, slack .* Gy, \d.* Gy of D95 per Gy", ended.out)
    assert "written: " in ended.out
    assert "reference dose" in ended.err
    assert sorted(p.name for p in tmp_path.iterdir()) == ["out", "prior.dcm", "small.toml"]
    record = json.loads((out / "run.json").read_text())
    assert set(record["input_sha256"]) == {"ct", "structures", "prior_dose"}
    assert record["prior_treatment"] == {"fractions": 3, "recovery": 0.0, "largest_gy": 0.0}
    assert "alpha/beta of Liver set to 4 Gy" in record["overrides"]
    assert all(re.fullmatch("[0-9a-f]{64}", v) for v in record["input_sha256"].values())
    assert re.fullmatch("[0-9a-f]{64}", record["protocol_sha256"])
    evaluate = (
        "evaluate", "--dose", out / "rtdose.dcm", "--structures", out / "rtstruct.dcm",
        "--protocol", tmp_path / "small.toml", "--accept-missing", ACCEPTED[0], "--json",
    )  # fmt: skip
    judged, shorter = dosecalc(*evaluate), dosecalc(*evaluate, "--end-caps", "at_contour")
    assert judged.code == 0, judged.err
    again, saved = json.loads(judged.out), json.loads((out / "evaluation.json").read_text())
    cc = [{k: v["volume_cc"] for k, v in e["structures"].items()} for e in (again, json.loads(shorter.out))]
    assert cc[1]["Liver"] < cc[0]["Liver"]  # drawn; the PTV is an outline of voxels, which fill their slices
    assert cc[1]["PTV"] == cc[0]["PTV"]
    assert saved["with_prior"]["status"] == "ok" and again["with_prior"] is None
    lyman = next(m for m in saved["outcome"]["models"] if m["values"] and "gEUD" in m["values"][0]["unit"])
    assert 4.0 in {value["alpha_beta_gy"] for value in lyman["values"]}
    assert [g["id"] for g in again["goals"]] == [g["id"] for g in saved["goals"]]
    # Derived structures are written as outlines, so a D95 in a steep gradient moves a little.
    assert again["prescription"]["dose_gy"] == pytest.approx(saved["prescription"]["dose_gy"], rel=0.02)


def test_a_ct_that_is_not_in_hu_is_refused_unless_accepted(plan, patient: Patient, tmp_path: Path) -> None:
    shutil.copytree(patient.ct, tmp_path / "ct")
    for file in (tmp_path / "ct").iterdir():
        image = pydicom.dcmread(file)
        image.RescaleIntercept = 0
        image.save_as(file)
    ended = plan(ct=tmp_path / "ct")
    assert ended.code == 10
    assert "no value lies below 0" in error_line(ended) and "--accept-ct" in error_line(ended)
    assert "'Stomatch'" in error_line(plan(ct=tmp_path / "ct", accept_ct=True, target="Stomatch"))


def test_what_the_readers_were_asked_is_recorded() -> None:
    job = Job(Path("ct"), Path("rs.dcm"), (), "crlm_5fx", "generic_6mv", Path("out"), end_caps="at_contour")
    assert job.reading_overrides == ("structures end at their first and last contours",)
    assert replace(job, end_caps="half_slice", repair=("Liver",)).reading_overrides == (
        "contours repaired by name: Liver",
    )


def test_an_infeasible_problem_is_an_answer(plan, tmp_path: Path) -> None:
    table = tmp_path / "hu.csv"
    table.write_text("# source: a test\nhu,relative_electron_density\n-1000,0\n0,1\n3000,2.5\n")
    tight = write_protocol(tmp_path / "tight.toml", duodenum_gy=4.0)
    asked = {"hu_table": table, "density": "Duodenum=1.02", "outside_body": "as_scanned", "patient_position": "hfs"}
    asked |= {"accept_relaxation": "duodenum_max=5"}
    ended = plan(protocol=tight, accept_ct=True, **asked)
    assert ended.code == 20
    line = error_line(ended, answer="What stands in the way of the floor\n  Duodenum D0.035cc (duodenum_max; ")
    assert "error (infeasible): " in line
    assert "Duodenum (duodenum_max) needs " in line
    assert "floor of 40 Gy" in line
    out = tmp_path / "out"
    assert {p.name for p in out.iterdir()} == {"evaluation.json", "run.json"}
    record = json.loads((out / "evaluation.json").read_text())
    assert record["status"] == "infeasible"
    assert record["schema_version"] == 1
    conflict = next(c for c in record["conflicts"] if c["id"] == "duodenum_max")
    assert conflict["structure"] == "Duodenum"
    assert conflict["needed_gy"] > conflict["limit_gy"] == 5.0
    assert conflict["needed_alone"] == pytest.approx(5.0 + conflict["relaxation_alone"])
    assert conflict["where"] == f"{tight}: goals[duodenum_max].limit"
    near = conflict["closeness"]
    assert 0 < near["near_cc"] < near["target_cc"]
    assert near["fall_off_gy_per_mm"] == pytest.approx((40 - 5) / near["distance_mm"])
    assert conflict["says"] in ended.out
    run = json.loads((out / "run.json").read_text())
    assert run["exit_code"] == 20
    assert set(run) >= set(RUN_KEYS)
    assert {
        "ACCEPTED RELAXATION of duodenum_max: Duodenum D0.035cc is planned at <= 5 Gy instead of the protocol's 4 Gy",
        "patient position HFS stated by the user",
        "a CT that looks implausible is accepted",
        "CT numbers read with the user's table: a test",
        "what lies outside the Body counts as scanned",
        "density of Duodenum set to 1.02 relative to water",
    } < set(run["overrides"])
    assert run["input_sha256"]["hu_table"] == run["density"]["table_sha256"]
    assert run["density"]["hu"] == [-1000, 0, 3000]


@pytest.mark.parametrize(
    ("given", "code", "said"),
    [
        ({"ct": "no/such/folder"}, 10, ["no/such/folder", "no such file"]),
        ({"structures": "nothing.dcm"}, 10, ["nothing.dcm", "no such file"]),
        ({"target": "GVT"}, 10, ["'GVT'", "nearest: 'GTV'"]),
        ({"density": "Duodenum"}, 2, ["'Duodenum'", "NAME=VALUE"]),
        ({"density": "Duodenum=7"}, 10, ["'Duodenum'", "expected 0 to 4.5"]),
        ({"density": "Duodenun=1.0"}, 10, ["'Duodenun'", "nearest: 'Duodenum'"]),
        ({"outside_body": "air"}, 2, ["'air'", "as_scanned"]),
        ({"end_caps": "rounded"}, 2, ["'rounded'", "half_slice, at_contour"]),
        ({"patient_position": "hfx"}, 10, ["'HFX'", "HFS, "]),
        ({"hu_table": "none.csv"}, 10, ["none.csv", "cannot be read"]),
        ({"accept_missing": None}, 10, ["Stomach", "--accept-missing Stomach"]),
        ({"protocol": "crlm_5xf"}, 12, ["'crlm_5xf'", "'crlm_5fx'"]),
        ({"protocol": "absent.toml"}, 12, ["absent.toml", "crlm_5fx"]),
        ({"accept_limit": "duodenum_mx"}, 12, []),
        ({"accept_relaxation": "duodenum_max"}, 2, ["'duodenum_max'", "GOAL_ID=VALUE"]),
        ({"accept_relaxation": "duodenum_mx=30"}, 12, ["'duodenum_mx'", "'duodenum_max'"]),
        ({"accept_relaxation": "duodenum_max=10"}, 12, ["goals[duodenum_max].limit", "relaxes nothing"]),
        ({"accept_relaxation": "hot_spot=120"}, 12, ["'hot_spot'", "protocol file itself"]),
        ({"machine": "generic_6vm"}, 10, ["'generic_6vm'", "generic_6mv"]),
        ({"beams": "liver_rihgt"}, 2, ["liver_rihgt", "'liver_right'"]),
        ({"beams": "90:x"}, 2, ["90:x"]),
        ({"beams": "0"}, 2, ["1..72"]),
        ({"backend": "cupy"}, 31, ["cupy", "numba or numpy"]),
        ({"backend": "tpu"}, 2, ["'tpu'", "auto, numpy, numba, cupy"]),
        ({"precision": "half"}, 2, ["'half'", "float32, float64, reference"]),
        ({"dose_grid_mm": "0.1"}, 2, ["--dose-grid-mm is 0.1", "0.5 to 10"]),
        ({"heterogeneity": "convolution"}, 2, ["'convolution'", "density_scaling, depth_scaling"]),
        ({"target_role": None}, 2, ["--target-role"]),
        ({"target_role": "TUMOUR"}, 2, ["'TUMOUR'", "GTV, ITV, CTV, PTV"]),
        ({"target": None, "target_role": None}, 2, ["--target NAME", "--target-sphere"]),
        ({"target_sphere": "1,2,3"}, 2, ["'1,2,3'", "x,y,z,diameter"]),
        ({"target_sphere": "1,2,3,-4"}, 2, ["positive diameter"]),
        ({"target_sphere": "1,2,nan,4"}, 2, ["x,y,z,diameter"]),
        ({"target_sphere": "900,0,0,20"}, 10, ["900", "covers nothing of the image", "LPS"]),
        ({"target_sphere": "-90,-60,0,20"}, 10, ["outside the body", "LPS"]),
        ({"target_sphere": "0,0,-58,20"}, 10, ["outside the body"]),
        ({"structure_names": "labels.json"}, 10, ["label maps only"]),
        ({"out": "absent/plan"}, 40, ["absent/plan", "Create it first"]),
    ],
    ids=lambda value: ",".join(f"{k}={v}" for k, v in value.items()) if isinstance(value, dict) else "",
)
def test_a_mistake_gives_one_line_and_writes_nothing(plan, tmp_path: Path, given: dict, code: int, said: list) -> None:
    ended = plan(**given)
    line = error_line(ended) if code != 12 or "accept_limit" not in given else ended.err
    assert ended.code == code
    assert all(words in line for words in said), line
    assert sorted(p.name for p in tmp_path.iterdir()) == ["small.toml"]


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        ('unit = "Gy"\nlevel = "mandatory"\nlevle_by = "x"', "level_by"),
        ('unit = "cGy"', "unit"),
        ('unit = "Gy"\nmetrik = "D2cc"', "metric"),
    ],
)
def test_a_protocol_with_a_fault_names_the_key(plan, dosecalc: Run, tmp_path: Path, wrong: str, said: str) -> None:
    path = write_protocol(tmp_path / "small.toml")
    text = path.read_text()
    at = text.index('unit = "Gy"', text.index('id = "duodenum_max"'))
    bad = tmp_path / "bad.toml"
    bad.write_text(text[:at] + wrong.split("\nlevel =")[0] + text[at + len('unit = "Gy"') :])
    if "levle_by" in wrong:
        bad.write_text(text.replace('level_by = "editorial"', 'levle_by = "editorial"', 1))
    for ended in (plan(protocol=bad), dosecalc("protocols", "check", bad)):
        assert ended.code == 12
        assert "Traceback" not in ended.err
        assert said in ended.err
        assert "bad.toml" in ended.err
    assert not (tmp_path / "out").exists()


def test_an_existing_folder_is_refused_before_any_work(plan, tmp_path: Path) -> None:
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "mine.txt").write_text("mine")
    ended = plan(ct="no/such/folder")
    assert ended.code == 40
    assert "--overwrite" in error_line(ended)
    assert [p.name for p in (tmp_path / "out").iterdir()] == ["mine.txt"]


def test_memory_that_runs_out_is_one_line(plan, monkeypatch, tmp_path: Path) -> None:
    """As NumPy and CuPy say it."""

    def full(*given: object, **options: object) -> None:
        raise MemoryError("Unable to allocate 5.12 GiB for an array with shape (400, 512, 512)")

    monkeypatch.setattr(optimize.job, "plan", full)
    ended = plan()
    assert ended.code == 30
    said = error_line(ended)
    assert "memory ran out: Unable to allocate 5.12 GiB" in said and "coarser dose grid" in said
    assert not (tmp_path / "out").exists()


def test_a_target_without_volume_is_refused(plan, tmp_path: Path) -> None:
    ended = plan(target_sphere="-12,-6,-3,0.001", target=None, target_role=None)
    assert ended.code == 10
    error_line(ended)
    assert not (tmp_path / "out").exists()


@pytest.fixture
def heard():
    """SIGINT as on a terminal: a shell that runs the tests in the background has it ignored."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


@pytest.mark.usefixtures("heard")
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_an_interruption_says_so(plan, monkeypatch, tmp_path: Path, number: signal.Signals) -> None:
    monkeypatch.setattr(optimize.job, "plan", lambda *_, **__: signal.raise_signal(number))
    ended = plan()
    assert ended.code == 130
    assert "interrupted; nothing was written" in ended.err
    assert "Traceback" not in ended.err
    assert not (tmp_path / "out").exists()
    assert signal.getsignal(signal.SIGTERM) == signal.SIG_DFL


def test_an_interrupted_plan_is_marked_wherever_it_is_read(plan, planned: Plan, monkeypatch, tmp_path: Path) -> None:
    write_fluence(tmp_path, planned.fluence, planned.beamlets, interrupted=True)
    stop = Stop("Interrupted: D95 had reached 43.0 Gy.", "", {}, ())
    result = Escalation(planned.fluence, 43.0, (), 1, None, None, None, None, stop, interrupted=True)
    judged = _judge(planned.dose, planned.anatomy, planned.protocol, ACCEPTED, result)
    record = replace(planned.provenance, interrupted=True, exit_code=_exit_code(judged))
    asked: list[dict[str, object]] = []

    def stopped(*_: object, **options: object) -> Plan:
        asked.append(options)
        options["on_round"](Round("D95", 2, 40, 43.0, 0.5, 7.0, 12.0))
        return replace(planned, evaluation=judged, provenance=record)

    monkeypatch.setattr(optimize.job, "plan", stopped)
    monkeypatch.setattr("optimize.report.html._stacks", lambda *_: [])  # images that say nothing here
    ended = plan(warm_start=tmp_path)
    assert ended.code == 23
    assert "error (interrupted_plan): the optimisation was interrupted; out holds the best plan" in ended.err
    told = "the worst of the others is 0.50 Gy beyond its limit, D95 43.00 Gy; 7 s so far, at least 12 s left"
    assert told in ended.err
    assert "plan ok, INTERRUPTED" in " ".join(ended.out.split())
    np.testing.assert_array_equal(asked[0]["warm_start"].start_for(planned.beamlets).fluence, planned.fluence)
    out = tmp_path / "out"
    saved, run = (json.loads((out / name).read_text()) for name in ("evaluation.json", "run.json"))
    assert (saved["status"], saved["interrupted"], saved["warnings"][0]) == ("ok", True, INTERRUPTED)
    assert saved["certificate"]["gap_fixed"] is None
    assert (run["interrupted"], run["exit_code"]) == (True, 23)
    assert "Plan status: OK, INTERRUPTED" in (out / "report.html").read_text()
    assert not read_earlier_plan(out).start_for(planned.beamlets).finished


@pytest.mark.parametrize("arguments", [("plan", "--bemas", "9"), ("plan",), ("frobnicate",), ("protocols", "show")])
def test_wrong_words_are_a_usage_error(dosecalc: Run, arguments: tuple[str, ...]) -> None:
    ended = dosecalc(*arguments)
    assert ended.code == 2
    assert "Traceback" not in ended.err
    assert "dosecalc" in ended.err


@pytest.mark.parametrize("verb", VERBS, ids=" ".join)
def test_every_verb_explains_itself(dosecalc: Run, verb: tuple[str, ...]) -> None:
    ended = dosecalc(*verb, "--help")
    assert ended.code == 0
    assert "Usage" in ended.out
    assert ended.err == ""


def test_what_was_read_is_shown(dosecalc: Run, patient: Patient) -> None:
    arguments = ("inspect", "--ct", patient.ct, "--structures", patient.structures)
    found = json.loads(dosecalc(*arguments, "--json").out)
    assert found["ct"]["shape_zyx"] == [27, 34, 50]
    assert found["ct"]["spacing_mm_xyz"] == [4.0, 4.5, 5.0]
    assert (found["ct"]["hu_lowest"], found["ct"]["hu_highest"]) == (-1000.0, 0.0)
    by_name = {s["name"]: s for s in found["structures"]}
    assert by_name["GTV"]["role"] == "GTV"
    assert by_name["Duodenum"]["tg263"] == "Duodenum"
    assert by_name["Body"]["volume_cc"] == pytest.approx(160 * 120 * 115 / 1000, rel=0.01)
    table = dosecalc(*arguments)
    assert table.code == 0
    assert all(name in table.out for name in by_name)


UNPLANNED = """
[[goals]]
id = "gtv_d99"
structure = "GTV"
metric = "D99%"
comparator = ">="
limit = 30.0
unit = "Gy"
level = "mandatory"
level_by = "editorial"
status = "VERIFIED"
source = "a test"
"""


def test_check_lists_what_plan_refuses(plan, dosecalc: Run, tmp_path: Path) -> None:
    """A goal that a dose can be judged on and no plan made for, in the words of `plan`, beside the other faults."""
    path = write_protocol(tmp_path / "own.toml")
    stated = path.read_text()
    path.write_text(stated + UNPLANNED)
    checked, planned = dosecalc("protocols", "check", path), plan(protocol=path)
    assert (checked.code, planned.code, checked.out) == (12, 12, "")
    said = "gtv_d99: D99% >= 30 Gy (mandatory) can be judged but not optimised: use a lower limit on Dmean, MOC"
    assert said in checked.err and said in error_line(planned)
    assert "own.toml: the protocol has 1 fault." in checked.err and "goals[gtv_d99].metric: " in checked.err
    assert dosecalc("protocols", "show", path).code == 0
    path.write_text(stated + UNPLANNED + UNPLANNED.replace("gtv_d99", "again"))
    assert "the protocol has 3 faults" in dosecalc("protocols", "check", path).err
    path.write_text(stated + UNPLANNED.replace("mandatory", "optimal"))
    assert "no fault found" in dosecalc("protocols", "check", path).out


def test_brackets_in_a_name_are_text_and_not_markup(plan) -> None:
    assert "'[red]GTV[/red]'" in error_line(plan(target="[red]GTV[/red]"))


def test_a_rejected_plan_of_before_is_refused_before_any_work(plan, tmp_path: Path) -> None:
    (tmp_path / "out.rejected").mkdir()
    ended = plan(ct="no/such/folder")
    assert ended.code == 40
    assert "out.rejected" in error_line(ended)


def test_an_unusable_backend_is_refused_before_any_work(plan) -> None:
    assert plan(ct="no/such/folder", backend="cupy").code == 31
    assert plan(ct="no/such/folder", backend="tpu").code == 2


def test_the_protocol_names_the_beams_when_the_user_does_not(plan, tmp_path: Path) -> None:
    # Below what the beams scatter there, so that nothing is optimised.
    path = write_protocol(tmp_path / "tight.toml", duodenum_gy=0.05)
    path.write_text(path.read_text().replace('beams = "liver_right"', 'beams = "liver_left"'))
    ended = plan(protocol=path, beams=None)
    record = json.loads((tmp_path / "out" / "run.json").read_text())
    assert ended.code == 20
    assert [b["gantry_deg"] for b in record["beams"]] == [g for g, _, _ in parse_beams("liver_left")]
    assert record["overrides"] == ["missing structure accepted by name: Stomach"]


def test_a_volume_that_is_not_there_is_infeasible_at_once(plan, tmp_path: Path) -> None:
    path = write_protocol(tmp_path / "large.toml")
    row = 'metric = "Dmean"\ncomparator = "<="\nlimit = 15.2\nunit = "Gy"'
    path.write_text(path.read_text().replace(row, 'metric = "CV700cc<21Gy"'))
    ended = plan(protocol=path)
    assert ended.code == 20
    assert "Liver-GTV CV700cc<21Gy (liver_mean) is " in error_line(ended)
    assert "dose operator" not in ended.err
    record = json.loads((tmp_path / "out" / "evaluation.json").read_text())
    assert [c["id"] for c in record["conflicts"]] == ["liver_mean"]

"""A cohort under several arms: what is kept, what is not computed again, and what the table says."""

from __future__ import annotations

import csv
import dataclasses
import io
import json
import re
import shutil
from pathlib import Path

import numpy as np
import pytest
from rich.console import Console

from dosecalc.errors import InfeasibleError, InputError, InterruptedPlanError, OutputError
from optimize import study as study_module
from optimize import study_verb
from optimize.effort import TRIES
from optimize.saving import save_infeasible, save_plan
from optimize.study import StudyRow, run_study
from optimize.study_file import read_study
from optimize.study_table import arm_table, differences, write_rows

FILE = """
title = "Three fractions or five"

[[patients]]
name = "p01"
ct = "ct"
structures = "rtstruct.dcm"
targets = [{ name = "GTV", role = "GTV" }]
beams = "liver_right"

[[patients]]
name = "p02"
ct = "ct"
structures = "rtstruct.dcm"
target_spheres = ["-90,-155,350,30"]
accept_missing = ["SpinalCord"]

[[arms]]
name = "five"
protocol = "crlm_5fx"

[[arms]]
name = "three"
protocol = "crlm_3fx"
beams = "9"
dose_grid_mm = 3.0
"""


@pytest.fixture
def file(tmp_path):
    (tmp_path / "ct").mkdir()
    for name in ("ct/1.dcm", "rtstruct.dcm"):
        (tmp_path / name).write_bytes(b"not read by the runner of these tests")
    (tmp_path / "study.toml").write_text(FILE)
    return tmp_path / "study.toml"


@pytest.fixture(scope="module")
def saved(planned, tmp_path_factory):
    """The small case's plan, as `dosecalc plan` writes it."""
    return save_plan(planned, tmp_path_factory.mktemp("saved") / "plan")


class Runner:
    """Leaves the small case's plan, but for the second patient in three fractions, who has none."""

    def __init__(self, plan, saved):
        self.plan, self.saved, self.jobs = plan, saved, []

    def __call__(self, job, progress):
        self.jobs.append(job)
        if job.out.parent.name == "p02" and job.protocol == "crlm_3fx":
            evaluation = {"status": "infeasible", "fractions": 3, "message": "no", "conflicts": [{"id": "C018"}]}
            save_infeasible(job.out, evaluation, {"timings_s": {"total": 2.0}}, overwrite=job.overwrite)
            raise InfeasibleError("no", conflicts=(), reached_gy=10.0)
        return self.plan, shutil.copytree(self.saved, job.out, dirs_exist_ok=job.overwrite)


@pytest.fixture
def runner(planned, saved):
    return Runner(planned, saved)


def run(file, runner):
    return run_study(read_study(file), file.parent, file.parent / "out", progress=lambda text: None, run=runner)


def test_every_patient_under_every_arm(file, runner, planned):
    rows = run(file, runner)
    assert [(r.patient, r.arm, r.status) for r in rows] == [
        ("p01", "five", "ok"), ("p01", "three", "ok"), ("p02", "five", "ok"), ("p02", "three", "infeasible"),
    ]  # fmt: skip
    assert rows[0].d95_gy == planned.evaluation.prescription.dose_gy
    assert rows[0].bed10_gy == planned.evaluation.prescription.bed10_gy
    assert rows[0].mandatory_met == rows[0].mandatory_assessed > 0
    assert 0 < rows[0].control_low_pct <= rows[0].control_high_pct <= 100
    assert rows[0].gtv_mean_gy > rows[0].liver_mean_gy > 0
    assert (rows[3].d95_gy, rows[3].limited_by, rows[3].seconds) == (None, "C018", 2.0)
    first, second, third, _ = runner.jobs
    assert (first.beams, second.beams, third.beams) == ("liver_right", "liver_right", None)
    assert first.ct == file.parent / "ct"
    assert third.targets[0].diameter_mm == 30 and third.accept_missing == ("SpinalCord",)
    assert second.dose_grid_mm == 3.0


def test_every_plan_is_made_with_as_many_tries(file, runner):
    """As many as the study says, else as many as usual."""
    run(file, runner)
    assert {job.tries for job in runner.jobs} == {TRIES}
    file.write_text("tries = 2\n" + FILE)
    again = Runner(runner.plan, runner.saved)
    run_study(read_study(file), file.parent, file.parent / "again", progress=lambda text: None, run=again)
    assert {job.tries for job in again.jobs} == {2}


def test_what_is_finished_is_not_planned_again(file, runner):
    rows = run(file, runner)
    again = run(file, runner)
    assert again == rows and len(runner.jobs) == 4


def test_an_interrupted_study_goes_on(file, runner, planned):
    """The third plan is interrupted, and once more with a plan: two are kept, and only the rest is planned later."""
    best = dataclasses.replace(planned, evaluation=dataclasses.replace(planned.evaluation, interrupted=True))

    def interrupted(job, progress):
        if len(runner.jobs) == 2:
            raise KeyboardInterrupt
        return runner(job, progress)

    def with_a_plan(job, progress):
        return best, save_plan(best, job.out, overwrite=job.overwrite)

    with pytest.raises(KeyboardInterrupt):
        run(file, interrupted)
    with pytest.raises(InterruptedPlanError, match="finished ones are kept"):
        run(file, with_a_plan)
    assert len(run(file, runner)) == 4
    assert len(runner.jobs) == 4


@pytest.mark.parametrize(
    ("before", "after"),
    [('"crlm_3fx"', '"crlm_45_3fx"'), ('beams = "9"', 'beams = "7"'), ("title =", "tries = 3\ntitle =")],
    ids=["protocol", "beams", "tries"],
)
def test_a_plan_from_other_inputs_is_not_taken_for_this_one(file, runner, before, after):
    run(file, runner)
    file.write_text(FILE.replace(before, after))
    with pytest.raises(OutputError, match="other inputs"):
        run(file, runner)


def test_changed_files_are_noticed(file, runner):
    run(file, runner)
    (file.parent / "rtstruct.dcm").write_bytes(b"drawn again")
    with pytest.raises(OutputError, match="other inputs"):
        run(file, runner)


def test_a_refused_patient_does_not_stop_the_others(file, runner):
    """What cannot be read stands in the table with its error; it is tried again the next time."""

    def refusing(job, progress):
        if job.out.parent.name == "p01":
            raise InputError("has no slices.", where=str(job.ct))
        return runner(job, progress)

    rows = run(file, refusing)
    assert [r.status for r in rows] == ["refused", "refused", "ok", "infeasible"]
    assert "has no slices" in rows[0].message
    assert [r.status for r in run(file, runner)] == ["ok", "ok", "ok", "infeasible"]


@pytest.mark.parametrize(
    ("before", "after", "told"),
    [
        ('name = "p02"', 'name = "P01"', "'p01' stands 2 times"),
        ('name = "p02"', 'name = "../p02"', "patients[1].name"),
        ("target_spheres", "target_sphere", "patients[1].target_sphere: unknown key. Did you mean 'target_spheres'?"),
        ('protocol = "crlm_5fx"', "", "arms[0].protocol: this key is missing"),
        ('role = "GTV"', 'role = "CTVN"', "patients[0].targets[0].role"),
        ("[[arms]]", "[[arm", "study cannot be read"),
        ("title =", "tries = -1\ntitle =", "tries"),
        ("title =", "tries = true\ntitle =", "tries"),
    ],
)
def test_faults_of_the_file_are_named(file, before, after, told):
    file.write_text(FILE.replace(before, after))
    with pytest.raises(InputError, match=re.escape(told)):
        read_study(file)


def row(patient, arm, d95):
    return StudyRow(patient, arm, "infeasible" if d95 is None else "ok", 5, d95_gy=d95, limited_by="C018")


def test_arms_are_compared_in_the_same_patients():
    """Six pairs that differ by 5 +- 1; a seventh patient without a plan in one arm is left out of the pairs."""
    shifts = (4.0, 6.0, 5.0, 4.5, 5.5, 5.0)
    rows = [row(f"p{k}", "a", 40.0 + 3 * k) for k in range(7)]
    rows += [row(f"p{k}", "b", 40.0 + 3 * k + s) for k, s in enumerate(shifts)] + [row("p6", "b", None)]
    (found,) = [each for each in differences(rows) if each.figure == "D95 (Gy)"]
    assert (found.arm, found.pairs, found.mean) == ("b", 6, pytest.approx(5.0))
    # Student's interval of the same six, which a bootstrap of few is a little narrower than
    half = 2.571 * np.std(shifts, ddof=1) / np.sqrt(6)
    assert 5 - half < found.low < 5 < found.high < 5 + half
    assert found.high - found.low > half
    table = arm_table(rows)
    assert table[0]["D95 (Gy)"] == 49.0 and table[1]["infeasible"] == 1 and table[0]["limited by"] == ["C018 (7)"]


def test_few_pairs_have_no_interval():
    rows = [row(f"p{k}", arm, 40.0 + k * (arm == "b")) for k in range(4) for arm in "ab"]
    assert [(d.pairs, d.mean, d.low) for d in differences(rows)] == [(4, 1.5, None)]


def test_the_rows_as_csv():
    """Every field of every row, and nothing where there is no number."""
    rows = [row("p1", "a", 40.0), row("p1", "b", None)]
    first, second = csv.DictReader(io.StringIO(write_rows(rows)))
    assert list(first) == [field.name for field in dataclasses.fields(StudyRow)]
    assert (first["d95_gy"], second["d95_gy"], second["status"]) == ("40.0", "", "infeasible")


def test_on_the_command_line(file, runner, monkeypatch, dosecalc):
    monkeypatch.setattr(study_module, "run_job", runner)
    monkeypatch.setitem(run_study.__kwdefaults__, "run", runner)
    out = file.parent / "out"
    ended = dosecalc("study", file, "--out", out, "--json")
    assert ended.code == 0
    record = json.loads(ended.out)
    assert [r["status"] for r in record["rows"]] == ["ok", "ok", "ok", "infeasible"]
    assert record["differences"][0]["pairs"] == 1
    assert len((out / "study.csv").read_text().splitlines()) == 5
    shown = dosecalc("study", file, "--out", out)
    assert "in the same patients" in shown.out and "planned before" in shown.err


@pytest.mark.parametrize(("width", "arms", "tables"), [(80, 2, 1), (80, 7, 3), (200, 7, 1)])
def test_the_arms_can_be_read_on_a_terminal(monkeypatch, dosecalc, file, width, arms, tables):
    """Every arm, measure and figure stands whole on one line, in as many tables as the width needs."""
    names = [f"{k}_fractions" for k in range(arms)]
    rows = tuple(row("p", name, 40.25 + k) for k, name in enumerate(names))
    monkeypatch.setattr(study_module, "run_study", lambda *_, **__: rows)
    monkeypatch.setattr(study_verb, "out_console", Console(width=width))
    shown = dosecalc("study", file, "--out", file.parent / "out").out.partition("Differences")[0]
    assert max(map(len, shown.splitlines())) <= width
    assert re.findall(r"\d_fractions", shown) == names
    assert re.findall(r"│ (4\d\.\d) ", shown) == [f"{40.2 + k:.1f}" for k in range(arms)]
    for words in ("infeasible", "local control, highest model (%)", "limited by"):
        assert shown.count(f"│ {words} ") == tables


def test_the_help_names_the_tables_of_the_file(dosecalc):
    """Their brackets are no markup of the terminal."""
    shown = " ".join(re.sub("[│╭╰─]", " ", dosecalc("study", "--help").out).split())
    assert "TOML file with [[patients]] and [[arms]]; docs/studies.md." in shown


def test_the_folder_is_told_as_it_is_named(file, runner, monkeypatch, dosecalc):
    monkeypatch.setitem(run_study.__kwdefaults__, "run", runner)
    out = file.parent / "cohort [all]"
    assert f"written: {out / 'study.csv'}." in dosecalc("study", file, "--out", out).out


def test_the_documented_example_is_valid(tmp_path):
    """The file that docs/studies.md prints."""
    text = (Path(__file__).parents[2] / "docs" / "studies.md").read_text(encoding="utf-8")
    (block,) = re.findall(r"```toml\n(.*?)```", text, re.DOTALL)
    (tmp_path / "study.toml").write_text(block)
    assert len(read_study(tmp_path / "study.toml").arms) >= 2

"""An output folder is complete or absent, and what is in it is the plan."""

from __future__ import annotations

import csv
import dataclasses
import itertools
import json
import re
from pathlib import Path

import numpy as np
import pytest

import optimize.saving
from dosecalc.dicom import read_rtdose, read_rtstruct
from dosecalc.errors import OutputError
from optimize.evaluate import evaluate
from optimize.fluence_file import fluence_arrays
from optimize.planning import Plan
from optimize.saving import refuse_existing, save_infeasible, save_plan

from .small_case import ACCEPTED
from .test_planning import RUN_KEYS

FILES = {"report.html", "rtdose.dcm", "rtstruct.dcm", "evaluation.json", "dvh.csv", "run.json", "fluence.npz"}
EVALUATION_KEYS = (
    "schema_version", "status", "fractions", "dose_kind", "prescription", "goals", "structures", "certificate",
    "warnings",
)  # fmt: skip
GOAL_KEYS = (
    "id", "structure", "metric", "comparator", "limit", "unit", "value", "slack", "level", "level_by", "met",
    "assessed", "binding", "source", "status",
)  # fmt: skip


@pytest.fixture(scope="module")
def folder(planned: Plan, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_plan(planned, tmp_path_factory.mktemp("saved") / "plan")


def snapshot(folder: Path) -> dict[str, bytes]:
    return {p.name: p.read_bytes() for p in sorted(folder.iterdir())}


def test_every_output_is_there_and_nothing_else(folder: Path) -> None:
    assert {p.name for p in folder.iterdir()} == FILES
    assert [p.name for p in folder.parent.iterdir()] == ["plan"]


def test_the_evaluation_keeps_the_contract(folder: Path, planned: Plan) -> None:
    record = json.loads((folder / "evaluation.json").read_text())
    assert record["outcome"]["control"] and record["outcome"]["models"]
    # The liver of the phantom has less than 700 cc.
    assert record["eligibility"]["verdict"] == "excluded" and record["eligibility"]["not_assessed"] == 2
    assert set(EVALUATION_KEYS) <= set(record)
    assert (record["status"], record["dose_kind"], record["fractions"]) == ("ok", "total", 5)
    assert {"dose_gy", "basis", "isodose_pct"} <= set(record["prescription"])
    assert all(set(GOAL_KEYS) <= set(goal) for goal in record["goals"])
    assert {g.id for g in planned.protocol.goals} <= {goal["id"] for goal in record["goals"]}
    assert {"volume_cc", "mean_gy", "d95_gy", "d0_035cc_gy"} == set(record["structures"]["Duodenum"])
    assert {"gap_fixed", "gap_bound", "kkt", "max_violation_gy"} == set(record["certificate"])
    assert record["prescription"]["dose_gy"] == pytest.approx(record["structures"]["PTV_opt"]["d95_gy"])


def test_the_run_record_keeps_the_contract(folder: Path) -> None:
    record = json.loads((folder / "run.json").read_text())
    assert set(RUN_KEYS) <= set(record)
    assert record["exit_code"] == 0
    assert {"gantry_deg", "couch_deg", "collimator_deg"} <= set(record["beams"][0])


def test_the_dose_file_gives_the_same_verdicts(folder: Path, planned: Plan) -> None:
    read = read_rtdose(folder / "rtdose.dcm")
    assert read.grid == planned.dose.grid
    # 32-bit integers times a scaling: a step of at most Dmax / 2**31.
    np.testing.assert_allclose(read.values, planned.dose.values, atol=1e-6)
    judged = evaluate(read, planned.anatomy.structures, planned.protocol, accepted_missing=ACCEPTED)
    for ours, theirs in zip(planned.evaluation.goals, judged.goals, strict=True):
        assert (theirs.id, theirs.met) == (ours.id, ours.met)
        assert theirs.value == (None if ours.value is None else pytest.approx(ours.value, abs=1e-4))


def test_the_structure_file_holds_given_and_derived_structures(folder: Path, planned: Plan) -> None:
    read = read_rtstruct(folder / "rtstruct.dcm")
    assert {"Body", "GTV", "PTV", "PTV_opt", "Liver-GTV", "Duodenum"} <= set(read.names)
    for name in ("Body", "Duodenum", "SpinalCord"):  # contours, written as they were read
        assert read[name].volume_cc == pytest.approx(planned.anatomy.structures[name].volume_cc, rel=1e-6)
    for name in ("GTV", "PTV", "Liver-GTV"):  # occupancies, outlined
        assert read[name].volume_cc == pytest.approx(planned.anatomy.structures[name].volume_cc, rel=0.1)


def test_histograms_start_with_the_whole_volume_and_never_rise(folder: Path, planned: Plan) -> None:
    with (folder / "dvh.csv").open(newline="") as handle:
        header, *rows = csv.reader(handle)
    assert header == ["structure", "dose_gy", "volume_cc", "volume_pct"]
    names = {row[0] for row in rows}
    assert {"PTV_opt", "Duodenum", "Liver-GTV"} <= names
    for name in names:
        dose, cc, pct = np.array([row[1:] for row in rows if row[0] == name], dtype=float).T
        assert dose[0] == 0.0
        assert pct[0] == 100.0
        assert (np.diff(dose) > 0).all()
        assert (np.diff(cc) <= 0).all()
        assert (np.diff(pct) <= 0).all()
    duodenum = next(g for g in planned.evaluation.goals if g.id == "duodenum_max")
    hot = [float(row[2]) for row in rows if row[0] == "Duodenum" and float(row[1]) > duodenum.limit + 0.02]
    assert max(hot, default=0.0) < 0.035


def test_the_fluence_file_repeats_the_dose(folder: Path, planned: Plan) -> None:
    with np.load(folder / "fluence.npz", allow_pickle=False) as saved:
        assert set(saved) == set(fluence_arrays(planned.fluence, planned.beamlets, interrupted=False))
        assert not saved["interrupted"]
        np.testing.assert_array_equal(saved["fluence"], planned.fluence)
        of_beamlets = ("beam_index", "u_mm", "v_mm", "width_u_mm", "width_v_mm")
        assert all(saved[key].shape == planned.fluence.shape for key in of_beamlets)
        np.testing.assert_array_equal(saved["u_mm"], planned.beamlets.u_mm)


def test_the_report_needs_no_network(folder: Path) -> None:
    page = (folder / "report.html").read_text(encoding="utf-8")
    assert "duodenum" in page.lower()
    assert "research" in page.lower()
    assert not re.findall(r"""(?:src|href)\s*=\s*["']?\s*(?:https?:)?//""", page)
    assert not re.findall(r"""url\(\s*["']?(?!#|data:)|@import""", page)


def test_an_existing_folder_is_left_as_it_is(folder: Path, planned: Plan) -> None:
    before = snapshot(folder)
    with pytest.raises(OutputError, match="--overwrite") as refusal:
        save_plan(planned, folder)
    assert refusal.value.exit_code == 40
    assert snapshot(folder) == before


def test_overwrite_replaces_the_whole_folder(planned: Plan, tmp_path: Path) -> None:
    out = save_plan(planned, tmp_path / "plan")
    record = (out / "run.json").read_bytes()
    (out / "run.json").write_text("{}")
    save_plan(planned, out, overwrite=True)
    assert (out / "run.json").read_bytes() == record
    assert {p.name for p in out.iterdir()} == FILES
    assert [p.name for p in tmp_path.iterdir()] == ["plan"]


@pytest.mark.parametrize("error", [OSError(28, "No space left on device"), KeyboardInterrupt()])
@pytest.mark.parametrize("existing", [False, True])
def test_a_failure_in_the_middle_changes_nothing(
    planned: Plan, folder: Path, tmp_path: Path, monkeypatch, error: BaseException, existing: bool
) -> None:
    out = tmp_path / "plan"
    if existing:
        save_infeasible(out, {"status": "infeasible"}, {"exit_code": 20})
    before = snapshot(out) if existing else {}

    def fail(*given: object, **options: object) -> None:
        raise error

    monkeypatch.setattr(optimize.saving, "write_rtdose", fail)
    with pytest.raises(OutputError if isinstance(error, OSError) else type(error)) as raised:
        save_plan(planned, out, overwrite=existing)
    if isinstance(error, OSError):
        assert "No space left on device" in str(raised.value)
    assert out.exists() == existing
    assert (snapshot(out) if existing else {}) == before
    assert [p.name for p in tmp_path.iterdir()] == (["plan"] if existing else [])


def test_a_plan_that_breaks_a_limit_is_saved_as_rejected_only(planned: Plan, tmp_path: Path) -> None:
    rejected = dataclasses.replace(planned, evaluation=dataclasses.replace(planned.evaluation, status="rejected"))
    out = save_plan(rejected, tmp_path / "plan")
    assert out == tmp_path / "plan.rejected"
    assert [p.name for p in tmp_path.iterdir()] == ["plan.rejected"]
    assert json.loads((out / "evaluation.json").read_text())["status"] == "rejected"


def test_numbers_that_json_does_not_know_are_refused(planned: Plan, tmp_path: Path) -> None:
    """A NaN in a record leaves no folder behind."""
    with pytest.raises(ValueError, match="Out of range float"):
        save_infeasible(tmp_path / "plan", {"reached_gy": float("nan")}, {})
    assert list(tmp_path.iterdir()) == []


def test_what_cannot_be_an_output_folder_is_refused_before_the_work(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("mine")
    for path, overwrite in itertools.product([tmp_path / "file", tmp_path / "absent" / "plan"], [False, True]):
        with pytest.raises(OutputError) as refusal:
            refuse_existing(path, overwrite=overwrite)
        assert refusal.value.remedy
        assert str(path) in str(refusal.value)
    assert (tmp_path / "file").read_text() == "mine"
    assert refuse_existing(tmp_path / "plan", overwrite=False) == tmp_path / "plan"


def test_overwrite_spares_a_folder_with_other_things_in_it(planned: Plan, tmp_path: Path) -> None:
    (tmp_path / "home").mkdir()
    (tmp_path / "home" / "thesis.tex").write_text("mine")
    (tmp_path / "home" / "run.json").write_text("{}")
    with pytest.raises(OutputError, match=re.escape("'thesis.tex'")):
        save_plan(planned, tmp_path / "home", overwrite=True)
    assert (tmp_path / "home" / "thesis.tex").read_text() == "mine"


def test_a_swap_that_fails_puts_the_old_result_back(planned: Plan, tmp_path: Path, monkeypatch) -> None:
    out = save_infeasible(tmp_path / "plan", {"status": "infeasible"}, {"exit_code": 20})
    before, rename = snapshot(out), Path.rename

    def fail(self: Path, target: Path) -> Path:
        if self.name.startswith(".plan.") and target == out:
            raise OSError(5, "Input/output error")
        return rename(self, target)

    monkeypatch.setattr(Path, "rename", fail)
    with pytest.raises(OutputError, match="Input/output error"):
        save_plan(planned, out, overwrite=True)
    assert snapshot(out) == before


def test_a_report_that_cannot_be_drawn_does_not_lose_the_plan(planned: Plan, tmp_path: Path, monkeypatch) -> None:
    def fail(plan: Plan) -> str:
        raise ZeroDivisionError("broken")

    monkeypatch.setattr(optimize.saving, "render_report", fail)
    with pytest.raises(OutputError, match=r"ZeroDivisionError: broken.*plan\.incomplete"):
        save_plan(planned, tmp_path / "plan")
    assert [p.name for p in tmp_path.iterdir()] == ["plan.incomplete"]
    assert {p.name for p in (tmp_path / "plan.incomplete").iterdir()} == FILES - {"report.html"}

"""A study: every patient planned under every arm, one after the other, each plan kept as soon as it is made.

What was finished is not computed again: a cell is done when its folder holds an evaluation and the record beside it
names the same inputs. Plans that are refused or infeasible are results too, and stand in the table with their reason.
"""

from __future__ import annotations

import dataclasses
import json
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import protocols
from dosecalc.dicom.writing import replacing
from dosecalc.errors import (
    DosecalcError,
    InfeasibleError,
    InputError,
    InterruptedPlanError,
    InterruptionError,
    OutputError,
)
from protocols.errors import ProtocolError

from .job import Job, input_hashes, run_job
from .planning import Plan
from .provenance import software_version
from .saving import REJECTED_SUFFIX, write_json
from .study_file import Study, job_of

LEVELS = "mandatory", "optimal"
Runner = Callable[[Job, Callable[[str], None]], tuple[Plan, Path]]


@dataclass(frozen=True, slots=True)
class StudyRow:
    """One patient under one arm, course totals in Gy; doses are None where there is no plan.

    Attributes
    ----------
    status : str
        "ok", "rejected", "infeasible", or "refused" where the inputs cannot be planned.
    d95_gy, bed10_gy, eqd2_gy : float or None
        Of the prescribed structure; alpha/beta 10 Gy.
    gtv_mean_gy, gtv_d98_gy, liver_mean_gy : float or None
    control_low_pct, control_high_pct : int or None
        Range of published models of local control by the edge dose and LQ (`outcome`); of groups, not of this patient.
    limited_by, binds_next : str
        Ids of the limits that held the dose, and of the next one.
    mandatory_met, mandatory_assessed, optimal_met, optimal_assessed : int
    seconds : float
    message : str
        Why there is no plan.
    """

    patient: str
    arm: str
    status: str
    fractions: int | None = None
    d95_gy: float | None = None
    bed10_gy: float | None = None
    eqd2_gy: float | None = None
    gtv_mean_gy: float | None = None
    gtv_d98_gy: float | None = None
    liver_mean_gy: float | None = None
    control_low_pct: int | None = None
    control_high_pct: int | None = None
    limited_by: str = ""
    binds_next: str = ""
    mandatory_met: int = 0
    mandatory_assessed: int = 0
    optimal_met: int = 0
    optimal_assessed: int = 0
    seconds: float = 0.0
    message: str = ""


def run_study(
    study: Study, folder: Path, out: Path, *, progress: Callable[[str], None], run: Runner = run_job
) -> tuple[StudyRow, ...]:
    """Plan what is not planned yet.

    Parameters
    ----------
    study : Study
    folder : Path
        What relative paths of the study are relative to.
    out : Path
        Holds a folder per patient, with a folder per arm; made if it is not there.
    progress : callable
    run : callable
        Makes and saves one plan.

    Returns
    -------
    tuple of StudyRow
        Patient by patient, arms in their order.

    Raises
    ------
    OutputError
        A folder cannot be made, or a cell was planned from other inputs.
    InterruptionError
        A cell was interrupted: the study ends there.
    """
    rows = []
    cells = [(patient, arm) for patient in study.patients for arm in study.arms]
    for k, (patient, arm) in enumerate(cells, 1):
        place = out / patient.name / arm.name
        progress(f"{k} of {len(cells)}: {patient.name}, {arm.name}")
        begin = time.perf_counter()
        try:
            job = job_of(patient, arm, folder, place, study.tries)
            _plan_once(job, place, progress, run)
            rows.append(row_of(patient.name, arm.name, place))
        except (OutputError, InterruptionError):
            raise
        except (DosecalcError, ProtocolError) as error:
            message, seconds = f"({error.code}) {error}", time.perf_counter() - begin
            rows.append(StudyRow(patient.name, arm.name, "refused", seconds=seconds, message=message))
    return tuple(rows)


def _plan_once(job: Job, place: Path, progress: Callable[[str], None], run: Runner) -> None:
    """Plan a cell that is not planned yet; an infeasible one leaves its evaluation as well."""
    record, inputs = place.with_name(f"{place.name}.json"), _inputs(job)
    before = _recorded(record) if _finished(place) else None
    if before is not None:
        if before != inputs:
            raise OutputError(
                "was planned from other inputs than the study now names.",
                where=str(place),
                remedy="Name another --out, or delete this folder to plan it again.",
            )
        progress("planned before")
        return
    _make(place.parent)
    with suppress(InfeasibleError):
        made, folder = run(job, progress)
        if made.evaluation.interrupted:
            raise InterruptedPlanError(
                f"the study was interrupted; {folder} holds the best plan until then.",
                remedy="Run the study again: this cell is planned anew, finished ones are kept.",
            )
    if _finished(place):
        _record(record, inputs)


def row_of(patient: str, arm: str, place: Path) -> StudyRow:
    """What the files of a finished cell say."""
    folder = _finished(place)
    if folder is None:
        raise InputError("holds no evaluation.", where=str(place))
    judged = json.loads((folder / "evaluation.json").read_text(encoding="utf-8"))
    seconds = sum(json.loads((folder / "run.json").read_text(encoding="utf-8"))["timings_s"].values())
    if judged["status"] == "infeasible":
        reason = ", ".join(dict.fromkeys(conflict["id"] for conflict in judged["conflicts"]))
        return StudyRow(
            patient, arm, "infeasible", judged["fractions"],
            limited_by=reason, seconds=seconds, message=judged["message"],
        )  # fmt: skip
    doses, gtv = judged["prescription"], judged["prescription"]["bases"].get("GTV", {})
    ended = judged["escalation"] or {"binding_limits": (), "binds_next": None}
    control = _control(judged)
    levels = {level: [g["met"] for g in judged["goals"] if g["level"] == level and g["assessed"]] for level in LEVELS}
    return StudyRow(
        patient, arm, judged["status"], judged["fractions"],
        d95_gy=doses["dose_gy"], bed10_gy=doses["bed10_gy"], eqd2_gy=doses["eqd2_gy"],
        gtv_mean_gy=gtv.get("mean_gy"), gtv_d98_gy=gtv.get("d98_gy"),
        liver_mean_gy=judged["structures"].get("Liver-GTV", {}).get("mean_gy"),
        control_low_pct=control.get("low_pct"), control_high_pct=control.get("high_pct"),
        limited_by=", ".join(ended["binding_limits"]), binds_next=ended["binds_next"] or "",
        mandatory_met=sum(levels["mandatory"]), mandatory_assessed=len(levels["mandatory"]),
        optimal_met=sum(levels["optimal"]), optimal_assessed=len(levels["optimal"]),
        seconds=seconds,
    )  # fmt: skip


def _recorded(path: Path) -> Any:
    """What a cell was planned from; None where nothing says so."""
    return json.loads(path.read_text(encoding="utf-8")) if path.is_file() else None


def _record(path: Path, inputs: dict[str, Any]) -> None:
    """Say what a finished cell was planned from: all of it or nothing."""
    with replacing(path) as temporary:
        write_json(temporary, inputs)


def _inputs(job: Job) -> dict[str, Any]:
    """Everything that decides a plan, as JSON holds it."""
    stated = {
        field.name: getattr(job, field.name)
        for field in dataclasses.fields(job)
        if field.name not in ("out", "overwrite", "ct", "structures", "structure_names")
    }
    protocol = protocols.load(job.protocol, accept_limits=job.accept_limit)
    facts = {"version": software_version(), "protocol_sha256": protocol.sha256, "files": input_hashes(job)}
    found: dict[str, Any] = json.loads(json.dumps({**stated, **facts}, default=str))
    return found


def _finished(place: Path) -> Path | None:
    """The folder that holds the evaluation of a cell."""
    for folder in (place, place.with_name(place.name + REJECTED_SUFFIX)):
        if (folder / "evaluation.json").is_file():
            return folder
    return None


def _make(folder: Path) -> None:
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise OutputError(f"cannot be made: {error}.", where=str(folder)) from error


def _control(judged: dict[str, Any]) -> dict[str, Any]:
    """Range of local control by edge dose and LQ, without scenarios."""
    ranges = (judged["outcome"] or {"control": []})["control"]
    wanted = ("edge", "LQ", "")
    return next((r for r in ranges if (r["basis"], r["conversion"], r["scenario"]) == wanted), {})

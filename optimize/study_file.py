"""study.toml: which patients are planned under which arms."""

from __future__ import annotations

import tomllib
from collections import Counter
from pathlib import Path
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from dosecalc.errors import InputError
from protocols.faults import faults_of

from .effort import TRIES
from .job import Job, parse_targets

LARGEST_FILE_BYTES = 1_000_000
Name = Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9_.-]{0,63}$")]
"""Of a patient or an arm. It becomes the name of a folder, so it holds nothing that a path could be made of."""


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)


class TargetEntry(_Strict):
    """A contoured target; see `--target` and `--target-role`."""

    name: str
    role: Literal["GTV", "ITV", "CTV", "PTV"]


class PatientEntry(_Strict):
    """Files and targets of one patient; paths are relative to the study's file."""

    name: Name
    ct: Path
    structures: Path
    structure_names: Path | None = None
    targets: tuple[TargetEntry, ...] = ()
    target_spheres: tuple[str, ...] = ()
    beams: str | None = None
    accept_missing: tuple[str, ...] = ()


class ArmEntry(_Strict):
    """How every patient is planned: protocol, machine and, unless the patient states beams, beams."""

    name: Name
    protocol: str
    machine: str = "generic_6mv"
    beams: str | None = None
    dose_grid_mm: Annotated[float, Field(ge=0.5, le=10)] | None = None
    accept_limit: tuple[str, ...] = ()


class Study(_Strict):
    """What is compared, all with as much work; the first arm is what the others are compared with."""

    title: str = ""
    tries: Annotated[int, Field(ge=0, strict=True)] = TRIES
    patients: Annotated[tuple[PatientEntry, ...], Field(min_length=1, max_length=1000)]
    arms: Annotated[tuple[ArmEntry, ...], Field(min_length=1, max_length=50)]


def read_study(path: str | Path) -> Study:
    """The study in a TOML file.

    Raises
    ------
    InputError
        No such file, no TOML, unknown or missing keys, or a name that stands twice; every fault is named.
    """
    file = Path(path)
    try:
        with file.open("rb") as stream:
            data = stream.read(LARGEST_FILE_BYTES + 1)
        raw = tomllib.loads(data[:LARGEST_FILE_BYTES].decode("utf-8-sig"))
    except (OSError, ValueError, RecursionError) as error:
        raise InputError(f"the study cannot be read: {error}.", where=str(file), remedy="It is a TOML file.") from error
    if len(data) > LARGEST_FILE_BYTES:
        raise InputError(f"a study has at most {LARGEST_FILE_BYTES} bytes, this one has more.", where=str(file))
    try:
        study = Study.model_validate(raw)
    except ValidationError as error:
        raise InputError(
            "; ".join(faults_of(error, raw, Study)), where=str(file), remedy="See docs/studies.md."
        ) from error
    for kind, entries in (("patient", study.patients), ("arm", study.arms)):
        counts = Counter(entry.name.casefold() for entry in entries)
        if twice := [name for name, count in counts.items() if count > 1]:
            raise InputError(f"the {kind} {twice[0]!r} stands {counts[twice[0]]} times.", where=str(file))
    return study


def job_of(patient: PatientEntry, arm: ArmEntry, folder: Path, out: Path, tries: int) -> Job:
    """The planning job of one patient under one arm; relative paths are those of `folder`."""
    names, roles = [t.name for t in patient.targets], [t.role for t in patient.targets]
    protocol = folder / arm.protocol if arm.protocol.endswith(".toml") else arm.protocol
    machine = folder / arm.machine if (folder / arm.machine).is_dir() else arm.machine
    return Job(
        ct=folder / patient.ct,
        structures=folder / patient.structures,
        structure_names=None if patient.structure_names is None else folder / patient.structure_names,
        targets=parse_targets(names, list(roles), list(patient.target_spheres)),
        protocol=str(protocol),
        machine=str(machine),
        beams=patient.beams or arm.beams,
        dose_grid_mm=arm.dose_grid_mm,
        accept_missing=patient.accept_missing,
        accept_limit=arm.accept_limit,
        tries=tries,
        out=out,
        overwrite=True,
    )

"""One planning job from files to an output folder: what `dosecalc plan` and `dosecalc demo` run."""

from __future__ import annotations

import dataclasses
import math
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import cast

import protocols
from dosecalc.backend import select_backend
from dosecalc.dicom import CtSeries
from dosecalc.dose_inputs import Precision
from dosecalc.errors import InfeasibleError, UsageError
from dosecalc.heterogeneity import Heterogeneity
from dosecalc.hu_table import read_hu_table
from dosecalc.machine import BeamModel, load_machine
from dosecalc.medium import DensityOverride, OutsideBody
from dosecalc.names import read_table
from dosecalc.reading import read_ct_series, read_structures
from dosecalc.slabs import EndCaps
from dosecalc.structures import StructureSet

from .accepted import parse_relaxations
from .anatomy import Target
from .arrangements import Angles, parse_beams, planning_position
from .densities import Densities
from .effort import TRIES
from .fluence_file import FLUENCE_FILE, read_earlier_plan
from .planning import Plan, plan
from .prior_treatment import PriorTreatment, read_prior
from .problem import BLAS_THREADS
from .provenance import device, file_sha256, overrides, peak_rss_mb, software_version, source_commit
from .rescue import full_memory_told, rescued
from .results import SCHEMA_VERSION
from .rounds import OnRound
from .saving import save_infeasible, save_plan
from .solvers import DEFAULT_ORDER


@dataclass(frozen=True, slots=True)
class Job:
    """Paths and choices of one plan; see `dosecalc plan --help`. Without beams, the protocol's template is used."""

    ct: Path
    structures: Path
    targets: tuple[Target, ...]
    protocol: str
    machine: str
    out: Path
    structure_names: Path | None = None
    beams: str | None = None
    backend: str = "auto"
    precision: str = "float32"
    heterogeneity: str = "density_scaling"
    hu_table: Path | None = None
    outside_body: str = "nothing"
    density: tuple[DensityOverride, ...] = ()
    accept_missing: tuple[str, ...] = ()
    accept_limit: tuple[str, ...] = ()
    accept_relaxation: tuple[str, ...] = ()
    accept_ct: bool = False
    overwrite: bool = False
    dose_grid_mm: float | None = None
    aliases: Path | None = None
    patient_position: str | None = None
    resample_slices: bool = False
    resample_labels: bool = False
    leave_out: tuple[str, ...] = ()
    repair: tuple[str, ...] = ()
    end_caps: str = "half_slice"
    prior_dose: Path | None = None
    prior_fractions: int | None = None
    recovery: float = 0.0
    alpha_beta: Mapping[str, float] = field(default_factory=dict)
    warm_start: Path | None = None
    tries: int = TRIES

    @property
    def reading_overrides(self) -> tuple[str, ...]:
        """What the readers were asked to accept, in words."""
        position = self.patient_position
        told = (
            (position is not None, f"patient position {position} stated by the user"),
            (self.resample_slices, "unequally spaced slices may be interpolated"),
            (self.resample_labels, "a label map on other voxels than the CT's is accepted"),
            (self.end_caps != "half_slice", "structures end at their first and last contours"),
        )
        return (
            *(text for asked, text in told if asked),
            *(f"structure left out by name: {name}" for name in self.leave_out),
            *(f"contours repaired by name: {name}" for name in self.repair),
        )


def run_job(job: Job, progress: Callable[[str], None], on_round: OnRound = lambda done: None) -> tuple[Plan, Path]:
    """Read, plan and save; see `plan` for what `progress` and `on_round` are given.

    Returns
    -------
    Plan, Path
        The plan and the folder that holds it.

    Raises
    ------
    DosecalcError, ProtocolError
        Whatever the steps refuse; an infeasible problem leaves evaluation.json and run.json behind.
    """
    begin = time.perf_counter()
    earlier = None if job.warm_start is None else read_earlier_plan(job.warm_start)
    accepted = parse_relaxations(job.accept_relaxation)
    stated = protocols.load(job.protocol, accept_limits=job.accept_limit, alpha_beta=job.alpha_beta)
    protocol = protocols.relaxed(stated, accepted)
    beams = job.beams or protocol.planning.beams
    parse_beams(beams)
    machine = load_machine(job.machine)
    table = None if job.hu_table is None else read_hu_table(job.hu_table)
    densities = Densities(table, cast(OutsideBody, job.outside_body), job.density)
    ct = read_ct_series(job.ct, resample_slices=job.resample_slices, patient_position=job.patient_position)
    position, _ = planning_position(ct)
    progress(f"CT: {ct.volume.grid.shape[0]} slices, spacing {_triple(ct.volume.grid.spacing_mm)} mm, {position}")
    angles = parse_beams(beams, position)
    found = _read_structures(job, ct)
    prior = read_prior(job.prior_dose, job.prior_fractions, job.recovery, found.frame_of_reference_uid)
    hashes = input_hashes(job)
    try:
        with full_memory_told(job.out), rescued(job.out, progress) as on_fluence:
            made = plan(
                ct,
                found,
                protocol,
                machine,
                angles,
                targets=job.targets,
                backend=job.backend,
                precision=cast(Precision, job.precision),
                heterogeneity=cast(Heterogeneity, job.heterogeneity),
                densities=densities,
                accept_missing=job.accept_missing,
                accept_ct=job.accept_ct,
                dose_grid_mm=job.dose_grid_mm,
                aliases=None if job.aliases is None else read_table(job.aliases),
                input_sha256=hashes,
                reading_overrides=job.reading_overrides,
                prior=prior,
                warm_start=earlier,
                tries=job.tries,
                progress=progress,
                on_round=on_round,
                on_fluence=on_fluence,
            )
    except InfeasibleError as error:
        seconds = time.perf_counter() - begin
        _save_infeasible(job, protocol, machine, densities, (position, angles), hashes, prior, error, seconds)
        raise
    return made, save_plan(made, job.out, overwrite=job.overwrite)


def _read_structures(job: Job, ct: CtSeries) -> StructureSet:
    return read_structures(
        job.structures,
        job.structure_names,
        ct=ct,
        resample_labels=job.resample_labels,
        leave_out=job.leave_out,
        repair=job.repair,
        end_caps=cast(EndCaps, job.end_caps),
    )


def parse_targets(names_given: list[str], roles: list[str], spheres: list[str]) -> tuple[Target, ...]:
    """Targets from the command line: structures with their roles, and drawn spheres (GTVs).

    Raises
    ------
    UsageError
        No target, a target without a role, or a sphere that is not four numbers.
    """
    if not names_given and not spheres:
        raise UsageError(
            "a plan needs a target.",
            remedy="Give --target NAME --target-role GTV (or ITV, CTV, PTV), or --target-sphere x,y,z,diameter_mm.",
        )
    if len(names_given) != len(roles):
        raise UsageError(
            f"{len(names_given)} --target but {len(roles)} --target-role; margins depend on the role.",
            remedy="Give one --target-role GTV, ITV, CTV or PTV for each --target, in the same order.",
        )
    for role in roles:
        if role not in ("GTV", "ITV", "CTV", "PTV"):
            raise UsageError(f"--target-role {role!r} is unknown; there are GTV, ITV, CTV, PTV.")
    drawn = [_sphere(text, k + 1) for k, text in enumerate(spheres)]
    return (*(Target(n, r) for n, r in zip(names_given, roles, strict=True)), *drawn)


def _sphere(text: str, number: int) -> Target:
    try:
        values = [float(part) for part in text.split(",")]
    except ValueError:
        values = []
    if len(values) != 4 or not all(map(math.isfinite, values)) or values[3] <= 0:
        raise UsageError(f"--target-sphere {text!r} is not x,y,z,diameter in mm (LPS) with a positive diameter.")
    x, y, z, diameter = values
    return Target(f"GTV_sphere{number}", "GTV", (x, y, z), diameter)


def _save_infeasible(
    job: Job,
    protocol: protocols.Protocol,
    machine: BeamModel,
    densities: Densities,
    arrangement: tuple[str, tuple[Angles, ...]],
    hashes: dict[str, str],
    prior: PriorTreatment | None,
    error: InfeasibleError,
    seconds: float,
) -> None:
    position, angles = arrangement
    grid_mm = job.dose_grid_mm or protocol.planning.dose_grid_mm
    evaluation = {
        "schema_version": SCHEMA_VERSION,
        "status": "infeasible",
        "fractions": protocol.fractions,
        "dose_kind": "total",
        "reached_gy": error.reached_gy,
        "floor_gy": protocol.prescription.floor.dose_gy,
        "message": str(error),
        "conflicts": [dataclasses.asdict(conflict) for conflict in error.conflicts],
    }
    record = {
        "version": software_version(),
        "commit": source_commit(),
        "input_sha256": hashes,
        "protocol": protocol.name,
        "protocol_sha256": protocol.sha256,
        "machine": job.machine,
        "backend": select_backend(job.backend).name,
        "device": device(),
        "precision": job.precision,
        "heterogeneity": job.heterogeneity,
        "density": densities.record(machine),
        "grid_mm": [grid_mm] * 3,
        "beamlet_mm": protocol.planning.beamlet_mm,
        "patient_position": position,
        "beams": [dict(zip(("gantry_deg", "couch_deg", "collimator_deg"), a, strict=True)) for a in angles],
        "threads": BLAS_THREADS,
        "solver": ", ".join(DEFAULT_ORDER),
        "seed": 0,
        "timings_s": {"total": seconds},
        "peak_rss_mb": peak_rss_mb(),
        "overrides": [
            *job.reading_overrides,
            *densities.departures,
            *(f"density of {each.name} set to {each.density:g} relative to water" for each in densities.overrides),
            *overrides(protocol, job.accept_missing, grid_mm, accept_ct=job.accept_ct),
        ],
        "warnings": [],
        "exit_code": error.exit_code,
        "prior_treatment": prior.record if prior else None,
    }
    save_infeasible(job.out, evaluation, record, overwrite=job.overwrite)


def input_hashes(job: Job) -> dict[str, str]:
    """SHA-256 of every input file of a job, by what it is."""
    named = {"ct": job.ct, "structures": job.structures, "structure_names": job.structure_names, "aliases": job.aliases}
    named |= {"hu_table": job.hu_table, "prior_dose": job.prior_dose}
    named |= {"warm_start": None if job.warm_start is None else job.warm_start / FLUENCE_FILE}
    return {name: file_sha256(path) for name, path in named.items() if path is not None}


def _triple(values: tuple[float, float, float]) -> str:
    return " x ".join(f"{v:g}" for v in values)

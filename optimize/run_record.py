"""What run.json says of a plan: filled in from what was planned."""

from __future__ import annotations

import dataclasses
from typing import Any

from dosecalc.beams import Beamlets
from dosecalc.errors import InterruptedPlanError, VerificationError
from dosecalc.influence import DoseInfluence
from dosecalc.machine import BeamModel
from protocols.schema import OPTIONAL_KEYS, Protocol

from .anatomy import Anatomy
from .escalate import Escalation
from .prior_treatment import PriorTreatment
from .provenance import Provenance, Stopwatch, device, peak_rss_mb, software_version, source_commit
from .raising import SEED
from .results import PlanEvaluation


def plan_record(
    watch: Stopwatch,
    protocol: Protocol,
    machine: BeamModel,
    influence: DoseInfluence,
    result: Escalation,
    anatomy: Anatomy,
    evaluation: PlanEvaluation,
    accepted: tuple[str, ...],
    input_sha256: dict[str, str] | None,
    density: dict[str, Any],
    prior: PriorTreatment | None,
) -> Provenance:
    """The record of a finished plan: `accepted` is what departs from the protocol by the user's word."""
    beamlets = influence.beamlets
    return Provenance(
        version=software_version(),
        commit=source_commit(),
        input_sha256=dict(input_sha256 or {}),
        protocol=protocol.name,
        protocol_sha256=protocol.sha256,
        machine=machine.name,
        machine_sha256=machine.sha256,
        backend=influence.backend.name,
        backend_reason=influence.backend.reason,
        device=device(),
        precision=influence.precision,
        heterogeneity=influence.heterogeneity,
        density=density,
        grid_mm=influence.grid.spacing_mm,
        beamlet_mm=float(beamlets.width_u_mm[0]),
        patient_position=beamlets.beams[0].patient_position,
        beams=tuple(_beam_record(beamlets, b) for b in range(len(beamlets.beams))),
        threads=result.threads,
        solver=", ".join(dict.fromkeys(level.solver for level in result.levels)),
        seed=SEED,
        levels=tuple(dataclasses.asdict(level) for level in result.levels),
        timings_s=dict(watch.seconds),
        peak_rss_mb=peak_rss_mb(),
        overrides=accepted,
        derived=anatomy.derived,
        warnings=(*evaluation.warnings, *influence.backend.kernels.take_notices()),
        exit_code=_exit_code(evaluation),
        interrupted=result.interrupted,
        prior_treatment=prior.record if prior else None,
        planning_limits=protocol.planning.model_dump(include=set(OPTIONAL_KEYS), exclude_none=True),
    )


def _exit_code(evaluation: PlanEvaluation) -> int:
    if not evaluation.accepted:
        return VerificationError.exit_code
    return InterruptedPlanError.exit_code if evaluation.interrupted else 0


def _beam_record(beamlets: Beamlets, index: int) -> dict[str, Any]:
    beam, part = beamlets.beams[index], beamlets.of_beam(index)
    return {
        "gantry_deg": beam.gantry_deg,
        "couch_deg": beam.couch_deg,
        "collimator_deg": beam.collimator_deg,
        "isocentre_mm": list(beam.isocentre_mm),
        "beamlets": part.stop - part.start,
    }

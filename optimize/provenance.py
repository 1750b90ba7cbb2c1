"""The run record: what went in, what ran, how long it took, what was overridden."""

from __future__ import annotations

import hashlib
import os
import platform
import resource
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from importlib.metadata import version
from pathlib import Path

from protocols import Protocol, relaxations
from protocols.tissues import ON_THE_COMMAND_LINE


def file_sha256(path: str | Path) -> str:
    """SHA-256 of a file, or of a folder's files in the order of their names (names included)."""
    path = Path(path)
    if path.is_file():
        with path.open("rb") as handle:
            return hashlib.file_digest(handle, "sha256").hexdigest()
    total = hashlib.sha256()
    for item in sorted(p for p in path.rglob("*") if p.is_file()):
        total.update(item.relative_to(path).as_posix().encode() + b"\0" + bytes.fromhex(file_sha256(item)))
    return total.hexdigest()


def source_commit() -> str | None:
    """Commit of the source tree that runs, None for an installed package."""
    root = Path(__file__).resolve().parents[1]
    if not (root / ".git").exists():
        return None
    done = subprocess.run(
        ["git", "-C", str(root), "rev-parse", "HEAD"], capture_output=True, text=True, check=False
    )  # fmt: skip
    return done.stdout.strip() or None


def software_version() -> str:
    """Version of the installed distribution."""
    return version("dosecalc")


def device() -> str:
    """What computes, in words."""
    return f"CPU, {platform.machine()}, {os.cpu_count()} cores"


def peak_rss_mb() -> float:
    """Largest resident memory of this process so far, in MB."""
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak / 1e6 if sys.platform == "darwin" else peak / 1e3


def overrides(
    protocol: Protocol, accept_missing: tuple[str, ...], dose_grid_mm: float, *, accept_ct: bool = False
) -> tuple[str, ...]:
    """What departs from the protocol by the user's word, one sentence each."""
    asked = protocol.planning.dose_grid_mm
    grid = (
        () if dose_grid_mm == asked else (f"dose grid of {dose_grid_mm:g} mm instead of the protocol's {asked:g} mm",)
    )
    missing = (f"missing structure accepted by name: {name}" for name in accept_missing)
    limits = (f"limit accepted by name: {limit}" for limit in sorted(protocol.accepted_limits))
    ratios = (
        f"alpha/beta of {', '.join(stated.structures)} set to {stated.alpha_beta_gy:g} Gy"
        for stated in protocol.stated_alpha_beta
        if stated.origin == ON_THE_COMMAND_LINE
    )
    ct = ("a CT that looks implausible is accepted",) if accept_ct else ()
    return (*ct, *relaxations(protocol), *grid, *missing, *limits, *ratios)


@dataclass(slots=True)
class Stopwatch:
    """Wall seconds per named step; steps that run twice add up."""

    seconds: dict[str, float] = field(default_factory=dict)

    @contextmanager
    def step(self, name: str) -> Iterator[None]:
        """Time the body under `name`."""
        begin = time.perf_counter()
        try:
            yield
        finally:
            self.seconds[name] = self.seconds.get(name, 0.0) + time.perf_counter() - begin


@dataclass(frozen=True, slots=True)
class Provenance:
    """What run.json holds.

    Attributes
    ----------
    version : str
    commit : str or None
    input_sha256 : dict
        Input name to hash.
    protocol, protocol_sha256, machine, machine_sha256 : str
    backend, backend_reason, device, precision, heterogeneity : str
    density : dict
        Table of CT numbers, what lies outside the Body, density overrides.
    grid_mm : (x, y, z)
    beamlet_mm : float
    patient_position : str
    beams : tuple of dict
        Gantry, couch, collimator, isocentre and number of beamlets.
    threads : int
        Of BLAS in the solver; those of the compiled kernels stand in `backend_reason`.
    solver : str
    seed : int
        Of the perturbations that voxels are chosen once more from; the same in every run of a version.
    levels : tuple of dict
        What each level of the optimisation reached.
    timings_s : dict
    peak_rss_mb : float
    overrides, derived, warnings : tuple of str
    exit_code : int
    prior_treatment : dict or None
        Fractions, recovery and largest dose of an earlier treatment whose sum was judged.
    planning_limits : dict
        The reserve on limits and the limits on the fluence that the protocol sets, by their keys.
    interrupted : bool
        The optimisation was stopped before its end.
    """

    version: str
    commit: str | None
    input_sha256: dict[str, str]
    protocol: str
    protocol_sha256: str
    machine: str
    machine_sha256: str
    backend: str
    backend_reason: str
    device: str
    precision: str
    heterogeneity: str
    density: dict[str, object]
    grid_mm: tuple[float, float, float]
    beamlet_mm: float
    patient_position: str
    beams: tuple[dict[str, object], ...]
    threads: int
    solver: str
    seed: int
    levels: tuple[dict[str, object], ...]
    timings_s: dict[str, float]
    peak_rss_mb: float
    overrides: tuple[str, ...]
    derived: tuple[str, ...]
    warnings: tuple[str, ...]
    exit_code: int
    prior_treatment: dict[str, float] | None = None
    planning_limits: dict[str, float] = field(default_factory=dict)
    interrupted: bool = False

"""A water phantom with a liver metastasis that plans in seconds: as DICOM, with a protocol file of its own."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from dosecalc.dicom import write_ct_series, write_rtstruct
from dosecalc.grid import Grid, Triple, Volume
from dosecalc.reading import read_ct_series, read_structures
from dosecalc.structures import Contours, Structure, StructureSet
from optimize.arrangements import Angles, parse_beams
from optimize.planning import Plan, plan
from optimize.targets import Target
from protocols import Protocol, load

# Unequal counts and spacings, so that a swapped axis shows.
CT_GRID = Grid((-98.0, -74.0, -70.0), (4.0, 4.5, 5.0), (27, 34, 50))
BODY_LOW, BODY_HIGH = (-80.0, -60.0, -60.0), (80.0, 60.0, 60.0)
GTV_CENTRE, GTV_DIAMETER = (-12.0, -6.0, -3.0), 20.0
DUODENUM_CENTRE, DUODENUM_DIAMETER = (6.0, -6.0, 1.0), 18.0
BEAMS: tuple[Angles, ...] = parse_beams("4")
ACCEPTED = ("Stomach",)
"""A mandatory structure that the phantom does not have."""
DUODENUM_GY, FLOOR_GY = 18.0, 40.0

_GOAL = """
[[goals]]
id = "{id}"
structure = "{structure}"
metric = "{metric}"
comparator = "<="
limit = {limit}
unit = "Gy"
level = "{level}"
level_by = "editorial"
status = "VERIFIED"
source = "a test"
"""

_HEAD = """
schema_version = 1
name = "small"
title = "A small case"
description = "Fewer goals and a coarser grid than a clinical protocol."
fractions = 5

[prescription]
structure = "PTV_opt"
basis = "D95"
floor = {{ dose_gy = {floor_gy}, status = "VERIFIED", source = "a test" }}
target = {{ dose_gy = 60.0, status = "VERIFIED", source = "a test" }}
cap = {{ dose_gy = 60.0, status = "VERIFIED", source = "a test" }}
outside_ptv = {{ max_pct_of_d95 = 105.0, level = "optimal", level_by = "editorial", source = "a test" }}

[prescription.gtv_d98]
id = "GTV_D98"
structure = "GTV"
metric = "D98%"
comparator = ">="
limit = 56.4
unit = "Gy"
level = "optimal"
level_by = "editorial"
status = "VERIFIED"
source = "a test"

[prescription.hot_spot]
structure = "PTV"
metric = "D0.035cc"
isodose = 0.60
max_gy = 100.0
level = "mandatory"
level_by = "editorial"
status = "VERIFIED"
source = "a test"

[planning]
gtv_to_ctv_mm = 1.0
ctv_to_ptv_mm = 3.0
prv_margin_mm = 2.0
serial_organs = ["Duodenum", "SpinalCord"]
dose_grid_mm = 5.0
verify_grid_mm = 2.0
beamlet_mm = 6.0
small_ptv_cc = 1.0
small_ptv_beamlet_mm = 2.5
skin_rind_mm = 5.0
chestwall_rind_mm = 25.0
chbt_margin_mm = 15.0
beams = "liver_right"
rules = ["none"]

[[planning.choices]]
keys = [
  "gtv_to_ctv_mm", "ctv_to_ptv_mm", "prv_margin_mm", "serial_organs", "dose_grid_mm", "verify_grid_mm", "beamlet_mm",
  "small_ptv_cc", "small_ptv_beamlet_mm", "skin_rind_mm", "chestwall_rind_mm", "chbt_margin_mm", "beams",
]
level_by = "editorial"
source = "a test"
"""
# Of run.json on every ending, by the contract.
RUN_KEYS = (
    "version", "commit", "input_sha256", "protocol_sha256", "machine", "backend", "device", "precision",
    "heterogeneity", "density", "grid_mm", "beamlet_mm", "patient_position", "beams", "threads", "solver", "seed",
    "timings_s", "peak_rss_mb", "overrides", "warnings", "exit_code",
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Patient:
    """Where the phantom lies as DICOM."""

    ct: Path
    structures: Path


def protocol_text(*, duodenum_gy: float = DUODENUM_GY, floor_gy: float = FLOOR_GY) -> str:
    """A protocol file whose duodenum limit holds the target below 60 Gy."""
    goals = (
        ("duodenum_max", "Duodenum", "D0.035cc", duodenum_gy, "mandatory"),
        ("duodenum_2cc", "Duodenum", "D2cc", 0.4 * duodenum_gy, "optimal"),
        ("cord_max", "SpinalCord", "D0.035cc", 25.0, "mandatory"),
        ("stomach_max", "Stomach", "D0.035cc", 32.0, "mandatory"),
        ("liver_mean", "Liver-GTV", "Dmean", 15.2, "mandatory"),
    )
    keys = ("id", "structure", "metric", "limit", "level")
    return _HEAD.format(floor_gy=floor_gy) + "".join(_GOAL.format(**dict(zip(keys, g, strict=True))) for g in goals)


def write_protocol(path: Path, **limits: float) -> Path:
    """The same as a file."""
    path.write_text(protocol_text(**limits), encoding="utf-8")
    return path


def small_structures() -> StructureSet:
    """Body, liver, GTV, and two organs; no stomach."""
    return StructureSet(
        (
            _box("Body", "EXTERNAL", BODY_LOW, BODY_HIGH),
            _ball("GTV", "GTV", GTV_CENTRE, GTV_DIAMETER),
            _box("Liver", "ORGAN", (-60.0, -45.0, -40.0), (4.5, 30.0, 40.0)),
            _ball("Duodenum", "ORGAN", DUODENUM_CENTRE, DUODENUM_DIAMETER),
            _box("SpinalCord", "ORGAN", (20.0, 40.0, -55.0), (30.0, 50.0, 55.0)),
        )
    )


def write_patient(folder: Path) -> Patient:
    """The phantom as DICOM: water in air."""
    hu = np.full(CT_GRID.shape, -1000.0, dtype=np.float32)
    centres = CT_GRID.centres_mm(np.arange(CT_GRID.size)).reshape(*CT_GRID.shape, 3)
    hu[((centres > BODY_LOW) & (centres < BODY_HIGH)).all(axis=-1)] = 0.0
    series = write_ct_series(folder / "ct", Volume(CT_GRID, hu))
    write_rtstruct(folder / "rtstruct.dcm", small_structures(), series)
    return Patient(folder / "ct", folder / "rtstruct.dcm")


def make_plan(
    patient: Patient,
    protocol: Protocol,
    machine: object,
    targets: tuple[Target, ...] = (Target("GTV"),),
    backend: str = "numba",
) -> Plan:
    """Read the phantom and plan it."""
    return plan(
        read_ct_series(patient.ct),
        read_structures(patient.structures),
        protocol,
        machine,
        BEAMS,
        targets=targets,
        accept_missing=ACCEPTED,
        backend=backend,
    )


def load_protocol(folder: Path, **limits: float) -> Protocol:
    """The protocol through its file, as a user's would be."""
    return load(write_protocol(folder / "small.toml", **limits))


def _planes(low: float, high: float) -> list[float]:
    z = CT_GRID.origin_mm[2] + CT_GRID.spacing_mm[2] * np.arange(CT_GRID.shape[0])
    return [float(v) for v in z if low < v < high]


def _ball(name: str, role: str, centre: Triple, diameter: float) -> Structure:
    angle = np.linspace(0.0, 2 * np.pi, 40, endpoint=False)
    planes, rings = _planes(centre[2] - diameter / 2, centre[2] + diameter / 2), []
    for z in planes:
        radius = np.sqrt((diameter / 2) ** 2 - (z - centre[2]) ** 2)
        rings.append(np.stack([centre[0] + radius * np.cos(angle), centre[1] + radius * np.sin(angle)], axis=1))
    return Structure(name, role, Contours(tuple(planes), tuple(rings)))


def _box(name: str, role: str, low: Triple, high: Triple) -> Structure:
    corners = np.array([(low[0], low[1]), (high[0], low[1]), (high[0], high[1]), (low[0], high[1])])
    planes = _planes(low[2], high[2])
    return Structure(name, role, Contours(tuple(planes), (corners,) * len(planes)))

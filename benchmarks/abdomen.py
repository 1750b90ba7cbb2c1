"""Abdomen cases for the optimiser, by size and seed: a random patient, beams through our dose operator, 19 organ goals.

`abdomen_case("small", 7)` is the same case wherever it is made. Voxels are cubes as small as the number of voxels in
the body asks for; beams are spread evenly over 200 degrees on the patient's right, as many as bring the number of
beamlets nearest to that of the size. The goals are those of the shipped `crlm_3fx` with another floor, below.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

import protocols
from benchmarks.abdomen_patient import GUT, Patient, grid_of, patient_on, random_anatomy
from dosecalc import Beamlets, DoseInfluence, Grid, Structure, aim, dose_influence, load_machine, to_density
from optimize import Anatomy, PlanGoals, Target, prepare_anatomy, resolve_goals
from optimize.arrangements import beams_at
from protocols import Protocol
from protocols.metrics import VolumeAtDose

MACHINE, PROTOCOL = "generic_6mv", "crlm_3fx"
GOALS = (
    "C097", "C103",  # liver: mean, critical volume
    "C017", "C020", "C023",  # duodenum
    "C011", "C014",  # stomach
    "C026", "C029",  # small bowel
    "C032", "C035",  # colon
    "N182", "C008",  # spinal cord
    "C143",  # bile duct
    "N045",  # kidneys
    "C229", "N118",  # chest wall
    "C056",  # ribs
    "C062",  # skin
)  # fmt: skip
FLOOR_GY = 15.0
"""D95 below which a case has no plan: low, because every seed shall have one to measure."""
FIRST_DEG, RANGE_DEG = 190.0, 200.0  # of the shipped template liver_right, counted through 270 degrees
FEWEST_BEAMS, MOST_BEAMS = 5, 25


@dataclass(frozen=True, slots=True)
class Size:
    """What a case of one size is drawn from; see `random_anatomy`."""

    voxels: int
    beamlets: int
    beamlet_mm: float
    lesions: tuple[int, int]
    radius_mm: tuple[float, float]
    gap_mm: tuple[float, float] = (1.0, 8.0)
    beside: tuple[str, ...] = GUT
    remnant_cc: float | None = None


SIZES = {
    "tiny": Size(12_000, 75, 15.0, (1, 1), (10.0, 14.0)),
    "small": Size(230_000, 620, 5.0, (1, 1), (9.0, 13.0)),
    "medium": Size(365_000, 1200, 5.0, (1, 2), (12.0, 18.0)),
    "large": Size(550_000, 2300, 5.0, (1, 4), (16.0, 22.0)),
    "tight": Size(230_000, 620, 7.5, (1, 1), (22.0, 26.0), (1.0, 3.0), ("Duodenum",), 900.0),
}
"""Beamlets have the width of the protocol's planning rules (5 mm); those of tiny and tight are wider, to be fewer."""


@dataclass(frozen=True, slots=True, eq=False)
class AbdomenCase:
    """A case: what is optimised (`influence`, `goals`) and what it is judged by (`protocol`, `anatomy`)."""

    size: str
    seed: int
    patient: Patient
    protocol: Protocol
    anatomy: Anatomy
    influence: DoseInfluence
    goals: PlanGoals

    @property
    def criteria(self) -> int:
        """Goals on organs."""
        return len(self.goals.limits) + len(self.goals.means)

    @property
    def text(self) -> str:
        """The case in words."""
        voxels, beamlets = self.influence.shape
        gtv_cc = sum(self.patient.structures[name].volume_cc for name in self.patient.gtv_names)
        return (
            f"{self.size}, seed {self.seed}: {voxels} voxels of {self.influence.grid.spacing_mm[0]:.2f} mm, "
            f"{len(self.influence.beamlets.beams)} beams, {beamlets} beamlets, {self.criteria} organ goals, "
            f"{len(self.patient.gtv_names)} GTV of {gtv_cc:.0f} cc, "
            f"liver {self.patient.structures['Liver'].volume_cc:.0f} cc"
        )


def random_seed() -> int:
    """A seed that nobody chose; five digits, so that it can be passed on by hand."""
    return int(np.random.default_rng().integers(100_000))


def random_patient(size: str, seed: int) -> Patient:
    """The patient of a case, on its dose grid."""
    drawn = SIZES[size]
    anatomy = random_anatomy(
        seed, lesions=drawn.lesions, radius_mm=drawn.radius_mm, gap_mm=drawn.gap_mm, beside=drawn.beside,
        remnant_cc=drawn.remnant_cc,
    )  # fmt: skip
    return patient_on(anatomy, grid_of(anatomy, drawn.voxels))


def abdomen_case(size: str, seed: int, *, cap_gy: float | None = None, backend: str = "auto") -> AbdomenCase:
    """One of `SIZES`, ready to be optimised; `cap_gy` as for `abdomen_protocol`."""
    patient, protocol = random_patient(size, seed), abdomen_protocol(tight=size == "tight", cap_gy=cap_gy)
    grid = patient.ct.grid
    targets = tuple(Target(name, "GTV") for name in patient.gtv_names)
    anatomy = prepare_anatomy(patient.structures, patient.ct, grid, protocol, targets)
    voxels = _dose_voxels(anatomy, protocol, grid)
    machine = load_machine(MACHINE)
    density = to_density(patient.ct, machine.calibration)
    influence = dose_influence(
        density, grid, _beamlets(anatomy.structures["PTV"], grid, SIZES[size]), machine, voxels=voxels, backend=backend
    )
    goals = resolve_goals(
        protocol, anatomy.structures, grid, voxels, skip=frozenset(anatomy.report_only), lesions=anatomy.lesions
    )
    return AbdomenCase(size, seed, patient, protocol, anatomy, influence, goals)


def abdomen_protocol(*, tight: bool = False, cap_gy: float | None = None) -> Protocol:
    """`crlm_3fx` with `GOALS` and `FLOOR_GY`; the tight one has V11.4Gy < 5 cc of duodenum for D10cc < 11.4 Gy.

    With `cap_gy` the target's dose is that high, and no hot spot has a dose of its own: for what limits alone allow.
    """
    shipped = protocols.load(PROTOCOL)
    goals = tuple(goal for goal in shipped.goals if goal.id in GOALS)
    if tight:
        half = {"metric": VolumeAtDose(11.4, "cc"), "limit": 5.0, "unit": "cc"}
        goals = tuple(goal.model_copy(update=half) if goal.id == "C023" else goal for goal in goals)
    floor = shipped.prescription.floor.model_copy(update={"dose_gy": FLOOR_GY})
    prescription = shipped.prescription.model_copy(update={"floor": floor})
    if cap_gy is not None:
        asked = {name: getattr(prescription, name).model_copy(update={"dose_gy": cap_gy}) for name in ("target", "cap")}
        hot_spot = prescription.hot_spot.model_copy(update={"max_gy": None})
        prescription = prescription.model_copy(update={**asked, "hot_spot": hot_spot})
    return shipped.model_copy(update={"goals": goals, "prescription": prescription})


def _dose_voxels(anatomy: Anatomy, protocol: Protocol, grid: Grid) -> npt.NDArray[np.int64]:
    """Every voxel of the body and of any structure that a goal names, ascending."""
    covered = np.zeros(grid.size, bool)
    named = {"Body", "PTV", "GTV", protocol.prescription.structure, *anatomy.lesions}
    for name in named | {goal.structure for goal in protocol.goals}:
        covered[anatomy.structures[name].on(grid).indices] = True
    return np.flatnonzero(covered)


def _beamlets(ptv: Structure, grid: Grid, size: Size) -> Beamlets:
    """As many beams as bring the beamlets nearest to the size's, around the target's centroid."""
    voxels = ptv.on(grid)
    x, y, z = np.average(grid.centres_mm(voxels.indices), axis=0, weights=voxels.cc)

    def spread(count: int) -> Beamlets:
        step = RANGE_DEG / (count - 1)
        angles = tuple(((FIRST_DEG + k * step) % 360.0, 0.0, 0.0) for k in range(count))
        return aim(beams_at(angles, (float(x), float(y), float(z))), at=voxels, width_mm=size.beamlet_mm)

    each = spread(FEWEST_BEAMS).count / FEWEST_BEAMS
    return spread(int(np.clip(round(size.beamlets / each), FEWEST_BEAMS, MOST_BEAMS)))

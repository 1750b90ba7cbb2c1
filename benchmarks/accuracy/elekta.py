"""Measured Elekta 6 MV beam (reference data of pymedphys): fitted to three scans, judged on all the others.

Fitted, and marked so: the filtration C2 of the spectrum to the 10x10 depth dose, and the source blur of each axis to
the 10x10 profile along it at 100 mm depth (the source is fixed to the gantry and differs by axis). The calibration is
the one stated dose per MU. Nothing else is adjusted: the profile is flat, head scatter is that of the generic machine.
Tails are judged once more with that head scatter as an extra-focal source inside the dose.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import numpy as np
import numpy.typing as npt
from scipy.optimize import brentq, minimize_scalar

from dosecalc.head_scatter import ExtraFocal, collimator_scatter, with_extra_focal
from dosecalc.machine import BeamModel, calibrated
from tools import derive_pencil_kernel as derivation

from . import gamma
from .machines import deposition_kernels, from_kernel
from .phantom import Setup, axis_dose, profile
from .profiles import crossings, normalised, penumbra, tail_difference, width
from .rows import Role, Row, absent, absolute, passing, relative

Array = npt.NDArray[np.float64]

SOURCE = "measured Elekta 6 MV, pymedphys (Apache-2.0)"
CHAMBER = f"{SOURCE}; chamber PTW 31002 of 2.75 mm radius, which reads too much in the first mm"
ENDPOINT_MEV = 5.76
FITTED_FIELD_MM, FITTED_DEPTH_MM = 100.0, 100.0
SSD_MM = 900.0
BUILD_UP_DEPTHS_MM = np.array([1.0, 2.0, 3.0, 5.0, 10.0, 15.0, 100.0])
"""And the depth that both curves are 100 % at."""
FILES = {100.0: "06MV_10x10.mcc", 50.0: "06MV_05x05.mcc"}


@dataclass(frozen=True, slots=True)
class Scan:
    """One measured curve: positions in mm against relative dose."""

    kind: str
    field_mm: float
    depth_mm: float
    t_mm: Array
    dose: Array

    @property
    def role(self) -> Role:
        """Whether the machine was fitted to this scan."""
        fitted = self.field_mm == FITTED_FIELD_MM and self.depth_mm in (FITTED_DEPTH_MM, 0.0)
        return "fitted" if fitted else "judged"


def read_mcc(path: Path) -> list[Scan]:
    """The scans of a PTW mcc text file; depth 0 stands for a depth dose."""
    scans, keys, points = [], {}, []
    for line in path.read_text(encoding="latin-1").splitlines():
        text = line.strip()
        if text.startswith("BEGIN_SCAN "):
            keys, points = {}, []
        elif text == "END_DATA":
            t, dose = np.array(points).T
            kind = keys["SCAN_CURVETYPE"].removesuffix("_PROFILE").lower()
            scans.append(Scan(kind, float(keys["FIELD_INPLANE"]), float(keys.get("SCAN_DEPTH", 0)), t, dose))
        elif "=" in text:
            keys.__setitem__(*text.split("=", 1))
        elif text[:1] in "-0123456789" and text:
            points.append([float(number) for number in text.split()[:2]])
    return scans


def fitted_machine(data: Path, scans: list[Scan]) -> BeamModel:
    """The machine of the module text."""
    mono = _monoenergetic(data)
    depth_dose = _only(scans, "pdd", 100.0, 0.0)
    c2 = _fitted_filtration(mono, depth_dose)
    share = derivation.spectrum(ENDPOINT_MEV, c2)[1]
    machine = from_kernel(f"elekta_6mv_c2_{c2:.2f}", derivation.kernel_table(mono, share), (1.0, 1.0))
    spot = tuple(_fitted_source(machine, _only(scans, kind, 100.0, 100.0)) for kind in ("crossplane", "inplane"))
    return calibrated(dataclasses.replace(machine, source_sigma_mm=spot))


def with_head_in_the_dose(machine: BeamModel) -> BeamModel:
    """The machine with its head scatter as an extra-focal source of the same weight and width."""
    head = machine.head_scatter
    if head is None:
        return machine
    source = ExtraFocal(head.weight, head.sigma_mm / head.seen_per_mm(machine.sad_mm))
    mixture = with_extra_focal(machine.mixture, source)
    return calibrated(dataclasses.replace(machine, mixture=mixture, head_scatter=None, extra_focal=source))


@lru_cache(maxsize=1)
def _monoenergetic(data: Path) -> dict[str, Array]:
    energy, _ = derivation.spectrum(ENDPOINT_MEV, 6.0)  # bin means hardly move with the filtration
    return derivation.monoenergetic(deposition_kernels(data), energy)


def _only(scans: list[Scan], kind: str, field_mm: float, depth_mm: float) -> Scan:
    return next(s for s in scans if (s.kind, s.field_mm, s.depth_mm) == (kind, field_mm, depth_mm))


def _fitted_filtration(mono: dict[str, Array], scan: Scan) -> float:
    """C2 of the least squares of the local difference over 20-200 mm, both curves 1 at 100 mm."""
    depth = np.arange(20.0, 201.0, 5.0)
    distance = 1 + (SSD_MM - 1000.0 + depth) / 1000.0
    doses = derivation.axis_dose(mono, depth, scan.field_mm * distance) / distance**2
    measured = np.interp(depth, scan.t_mm, scan.dose)
    at = int(np.flatnonzero(depth == 100.0)[0])

    def misfit(c2: float) -> float:
        ours = derivation.spectrum(ENDPOINT_MEV, c2)[1] @ doses
        return float(np.sum((ours / ours[at] / (measured / measured[at]) - 1) ** 2))

    return float(minimize_scalar(misfit, bounds=derivation.C2_RANGE, method="bounded").x)


def _fitted_source(machine: BeamModel, scan: Scan) -> float:
    """Source blur with which the model's 80-20 penumbra is that of the scan, mm."""
    target = penumbra(scan.t_mm, scan.dose)

    def excess(sigma: float) -> float:
        blurred = dataclasses.replace(machine, source_sigma_mm=(sigma, sigma))
        return penumbra(*_model_profile(blurred, scan)) - target

    return float(brentq(excess, 0.3, 5.0, xtol=0.01))


def _model_profile(machine: BeamModel, scan: Scan) -> tuple[Array, Array]:
    t = np.arange(-150.0, 150.1, 0.5)
    return t, profile(machine, Setup(scan.field_mm, SSD_MM), scan.depth_mm, scan.kind, t)


def rows(data: Path) -> Iterator[Row]:
    """All rows of the measured beam."""
    folder = data / "physics" / "pymedphys_6MV_elekta"
    needed = [*(folder / name for name in FILES.values()), data / "physics" / "edk_water.npz"]
    if not all(path.is_file() for path in needed):
        yield absent("Elekta 6 MV", "depth dose, profiles, output, dose per MU", SOURCE)
        return
    scans = [scan for name in FILES.values() for scan in read_mcc(folder / name)]
    machine = fitted_machine(data, scans)
    yield from _fit_rows(machine)
    for scan in sorted(scans, key=lambda s: (-s.field_mm, s.depth_mm, s.kind)):
        yield from _depth_rows(machine, scan) if scan.kind == "pdd" else _profile_rows(machine, scan)
    yield from _output_rows(machine)
    yield from _extra_focal_rows(with_head_in_the_dose(machine), scans)


def _fit_rows(machine: BeamModel) -> Iterator[Row]:
    c2, (u, v) = float(machine.name.rsplit("_", 1)[1]), machine.source_sigma_mm
    for quantity, value, unit in (("C2", c2, ""), ("source crossplane", u, "mm"), ("source inplane", v, "mm")):
        yield absolute("Elekta 6 MV fit", quantity, value, value, unit, None, SOURCE, "fitted")


def _depth_rows(machine: BeamModel, scan: Scan) -> Iterator[Row]:
    case = f"Elekta 6 MV {_size(scan)} depth dose"
    depth = np.arange(20.0, 201.0, 10.0)
    ours = axis_dose(machine, Setup(scan.field_mm, SSD_MM), depth)
    theirs = np.interp(depth, scan.t_mm, scan.dose)
    ours, theirs = (100 * d / d[depth == 100.0] for d in (ours, theirs))
    for wanted in (20.0, 50.0, 150.0, 200.0):
        k = int(np.flatnonzero(depth == wanted)[0])
        yield relative(case, f"axis at {wanted:g} mm, 100 % at 100 mm", ours[k], theirs[k], "%", 1.0, SOURCE, scan.role)
    k = int(np.argmax(np.abs(ours / theirs - 1)))
    yield from _build_up_rows(machine, scan, case)
    yield relative(
        case, f"axis, worst of 20-200 mm (at {depth[k]:g} mm)", ours[k], theirs[k], "%", 1.0, SOURCE, scan.role
    )


def _build_up_rows(machine: BeamModel, scan: Scan, case: str) -> Iterator[Row]:
    """The first mm, without a tolerance: the model has no electron contamination, and the chamber averages there."""
    ours, theirs = (
        100 * dose / dose[-1]
        for dose in (
            axis_dose(machine, Setup(scan.field_mm, SSD_MM), BUILD_UP_DEPTHS_MM),
            np.interp(BUILD_UP_DEPTHS_MM, scan.t_mm, scan.dose),
        )
    )
    for depth, mine, measured in zip(BUILD_UP_DEPTHS_MM[:-1], ours, theirs, strict=False):
        yield relative(case, f"build-up at {depth:g} mm, 100 % at 100 mm", mine, measured, "%", None, CHAMBER)


def _profile_rows(machine: BeamModel, scan: Scan) -> Iterator[Row]:
    case = f"Elekta 6 MV {_size(scan)} {scan.kind} {scan.depth_mm:g} mm"
    t, dose = _model_profile(machine, scan)
    ours, theirs = np.interp(scan.t_mm, t, dose), scan.dose
    edge = crossings(scan.t_mm, normalised(scan.t_mm, theirs), 0.5)[1]
    yield absolute(case, "penumbra 80-20", penumbra(t, dose), penumbra(scan.t_mm, theirs), "mm", 1.0, SOURCE, scan.role)
    yield absolute(
        case,
        "field width (the measured jaws are what they are)",
        width(t, dose),
        width(scan.t_mm, theirs),
        "mm",
        None,
        SOURCE,
    )
    yield tail_difference(case, "tail", scan.t_mm, ours, theirs, edge, 1.0, SOURCE, scan.role)
    mine, reference = normalised(scan.t_mm, ours), normalised(scan.t_mm, theirs)
    inside = np.flatnonzero(np.abs(scan.t_mm) <= 0.8 * edge)
    k = inside[np.argmax(np.abs(mine[inside] - reference[inside]))]
    yield relative(
        case, f"inside 80 % of the width, worst (at {scan.t_mm[k]:g} mm)", 100 * mine[k], 100 * reference[k], "%",
        2.0, SOURCE, scan.role,
    )  # fmt: skip
    rate = gamma.pass_rate(
        (scan.t_mm,), reference, (t,), normalised(t, dose), percent=2.0, distance_mm=1.0
    )  # fmt: skip
    source = f"{SOURCE}; {gamma.SOURCE}"
    quantity = "gamma 2 %/1 mm, both 1 on the axis"
    yield absent(case, quantity, source) if rate is None else passing(case, quantity, rate, None, source)


def _extra_focal_rows(machine: BeamModel, scans: list[Scan]) -> Iterator[Row]:
    for scan in (s for s in scans if s.kind != "pdd"):
        case = f"with extra-focal source, {_size(scan)} {scan.kind} {scan.depth_mm:g} mm"
        t, dose = _model_profile(machine, scan)
        edge = crossings(scan.t_mm, normalised(scan.t_mm, scan.dose), 0.5)[1]
        ours = np.interp(scan.t_mm, t, dose)
        yield tail_difference(case, "tail", scan.t_mm, ours, scan.dose, edge, 1.0, SOURCE)
    at_90 = [axis_dose(machine, Setup(f, 900.0), 100.0)[0] for f in (50.0, 100.0)]
    case = "Elekta 6 MV output"
    yield relative(
        case, "5x5 over 10x10 at 100 mm, SSD 900 mm, extra-focal source", at_90[0] / at_90[1], 0.906, "", 2.0, SOURCE
    )


def _output_rows(machine: BeamModel) -> Iterator[Row]:
    """Output factor and dose per MU; the reference values are OutputFactors.csv and AbsoluteDose.csv of the data."""
    case = "Elekta 6 MV output"
    at_90 = {f: axis_dose(machine, Setup(f, 900.0), 100.0)[0] for f in (50.0, 100.0)}
    phantom = at_90[50.0] / at_90[100.0]
    yield relative(case, "5x5 over 10x10 at 100 mm, SSD 900 mm, without head scatter", phantom, 0.906, "", None, SOURCE)
    total = phantom * collimator_scatter(machine, 50.0, 50.0)
    yield relative(case, "5x5 over 10x10 at 100 mm, SSD 900 mm", total, 0.906, "", 2.0, SOURCE)
    yield relative(
        case,
        "calibration point, 10x10, 100 mm, SSD 900 mm",
        100 * at_90[100.0],
        0.812,
        "cGy/MU",
        None,
        SOURCE,
        "fitted",
    )
    curve = axis_dose(machine, Setup(100.0, 1000.0), np.arange(5.0, 101.0))
    yield relative(case, "10x10, 100 mm, SSD 1000 mm", 100 * curve[-1], 0.675, "cGy/MU", 1.0, SOURCE)
    yield relative(case, "10x10, maximum, SSD 1000 mm", 100 * curve.max(), 1.0, "cGy/MU", 1.0, SOURCE)


def _size(scan: Scan) -> str:
    return f"{scan.field_mm / 10:g}x{scan.field_mm / 10:g}"

"""The shipped machines against textbook and published values, and against closed forms."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import numpy.typing as npt
from numpy.polynomial.polynomial import polyval

from dosecalc.head_scatter import collimator_scatter
from dosecalc.machine import SHIPPED, BeamModel, available_machines, load_machine
from dosecalc.machine_targets import Compared, compare_with_targets
from tools.derive_pencil_kernel import ring_share_of_square

from .phantom import Setup, axis_dose
from .rows import Role, Row, absent, absolute, relative

Array = npt.NDArray[np.float64]

TEXTBOOK = "textbook 6 MV, midpoints of 66-67 % and 38-39 % (not traced to one publication)"
FOLLOWILL = "Followill et al, J Appl Clin Med Phys 13:3962 (2012), Table 2: means of Elekta 6 MV, leaf-shaped fields"
OUTPUT_FACTORS = {60.0: 0.930, 40.0: 0.878, 30.0: 0.842, 20.0: 0.790}
NO_TABLE = "no citable table at hand (searched: see [kernel] of the machine file; one figure for information below it)"
NO_DOSE = "no measured or Monte Carlo dose of an unflattened beam in the reference data: only the spectrum f6.spectrum"
NYHOLM = "kernel of Nyholm et al, Radiother Oncol 78:347 (2006), 98:286"


def rows(data: Path) -> Iterator[Row]:
    """All rows; only the published kernel needs the data folder."""
    yield from _quality_rows()
    for name in available_machines():
        yield from target_rows(load_machine(name))
    yield from textbook_rows(load_machine("generic_6mv"))
    yield from output_rows(load_machine("generic_6mv"))
    path = data / "physics" / "nyholm2006" / "nyholm2006_coeffs.json"
    yield from _nyholm_rows(load_machine("generic_6mv"), path)
    yield from closed_forms(load_machine("generic_6mv"))
    yield absent("oblique incidence, 45 degrees", "dose under an oblique surface", "no reference at hand")
    yield absent("generic_6fff", "output factors, and profiles beyond 80 mm or below the maximum", NO_TABLE)
    yield absent("generic_10fff", "output factors", NO_TABLE)
    yield absent("generic_6fff, generic_10fff", "depth dose, dose per MU, Monte Carlo dose", NO_DOSE)


def _quality_rows() -> Iterator[Row]:
    """TPR20,10 through the whole operator (off-axis profile and spot included), and the calibration."""
    for name in available_machines():
        machine = load_machine(name)
        at_20, at_10 = (axis_dose(machine, Setup(100.0, 1000.0 - d, (), 5.0), d)[0] for d in (200.0, 100.0))
        source = "stated in the machine file; C2 of the spectrum is fitted to it in a flat beam"
        yield relative(name, "TPR20,10", at_20 / at_10, machine.tpr20_10, "", None, source, "fitted")
        at = machine.reference
        dose = axis_dose(machine, Setup(at.field_mm, at.ssd_mm, (), 5.0), at.depth_mm)[0]
        stated = 100 * at.dose_gy_per_mu
        yield relative(
            name, "dose at the reference point", 100 * dose, stated, "cGy/MU", 0.1, "stated in the machine file"
        )


def target_rows(machine: BeamModel) -> Iterator[Row]:
    """The targets of the machine file that no other rows here hold: ratios off the axis, penumbrae, output in air."""
    for row in compare_with_targets(machine):
        if row.quantity in ("off-axis ratio", "penumbra 80-20, mm", "output in air"):
            role: Role = row.use
            unit = "mm" if row.quantity.endswith("mm") else ""
            yield absolute(
                machine.name, _label(row), row.found, row.value, unit, row.tolerance, row.source.split(";")[0], role
            )


def _label(row: Compared) -> str:
    """Quantity and where it holds, in mm."""
    places = (("field", row.field_mm), ("SSD", row.ssd_mm), ("depth", row.depth_mm), ("off axis", row.off_axis_mm))
    where = ", ".join(f"{name} {value:g}" for name, value in places if value is not None)
    return f"{row.quantity.removesuffix(', mm')} ({where} mm)"


def textbook_rows(machine: BeamModel) -> Iterator[Row]:
    depth = np.arange(1.0, 201.0)
    dose = axis_dose(machine, Setup(100.0, 1000.0), depth)
    case = "generic_6mv 10x10, SSD 100 cm"
    yield relative(case, "depth dose at 10 cm", 100 * dose[99] / dose.max(), 66.5, "%", 1.0, TEXTBOOK)
    yield relative(case, "depth dose at 20 cm", 100 * dose[199] / dose.max(), 38.5, "%", 1.0, TEXTBOOK)
    yield absolute(case, "depth of the maximum", depth[dose.argmax()], 15.0, "mm", 2.0, TEXTBOOK)


def output_rows(machine: BeamModel) -> Iterator[Row]:
    case = "generic_6mv output factors"
    reference = axis_dose(machine, Setup(100.0, 1000.0), 100.0)[0]
    for side, published in OUTPUT_FACTORS.items():
        phantom = axis_dose(machine, Setup(side, 1000.0), 100.0)[0] / reference
        label = f"{side / 10:g}x{side / 10:g} over 10x10"
        total = phantom * collimator_scatter(machine, side, side)
        yield relative(case, label, total, published, "", 3.0 if side == 20 else 2.0, FOLLOWILL)
        yield relative(case, f"{label}, without head scatter", phantom, published, "", None, FOLLOWILL)


def _nyholm_dose(coefficients: dict[str, list[float]], tpr: float, depth_cm: float, radius_cm: Array) -> Array:
    """Dose per energy fluence on the axis of circular parallel fields, cm2/g: the kernel's closed integral."""
    c = {name: polyval(tpr, values) for name, values in coefficients.items()}

    def shape(p: str) -> float:
        rise = 1 - np.exp(c[p + "2"] * np.hypot(depth_cm, c[p + "5"]))
        return float(c[p + "1"] * rise * np.exp(c[p + "3"] * depth_cm + c[p + "4"] * depth_cm**2))

    near, far = c["a2"] + c["a1"] * depth_cm, shape("b")
    inside = shape("A") * (1 - np.exp(-near * radius_cm)) + shape("B") * (1 - np.exp(-far * radius_cm))
    return 2 * np.pi * inside


def _nyholm_rows(machine: BeamModel, path: Path) -> Iterator[Row]:
    """Circles of the area of 2x2, 5x5, 10x10 and 20x20; the published kernel has no inverse square."""
    case = "generic_6mv against a published kernel"
    if not path.is_file():
        yield absent(case, "field size and depth dependence", NYHOLM)
        return
    coefficients = json.loads(path.read_text())["coeffs"]
    sides = np.array([2.0, 5.0, 10.0, 20.0])
    radius = sides / np.sqrt(np.pi)
    sigma = machine.mixture.sigma_mm(1e-6)

    def ours(depth_cm: float) -> Array:
        weights = machine.mixture.weights(10 * depth_cm, 1.0, 1.0)[0]
        return (1 - np.exp(-0.5 * (10 * radius[:, None] / sigma) ** 2)) @ weights

    at_10 = ours(10.0), _nyholm_dose(coefficients, machine.tpr20_10, 10.0, radius)
    for k in (0, 1, 3):
        label = f"{sides[k]:g}x{sides[k]:g} over 10x10, 10 cm deep"
        ratio = [float(dose[k] / dose[2]) for dose in at_10]
        yield relative(case, label, *ratio, "", 3.0 if k == 0 else 2.0, NYHOLM)
    at_20 = ours(20.0), _nyholm_dose(coefficients, machine.tpr20_10, 20.0, radius)
    ratio = [float(deep[2] / shallow[2]) for deep, shallow in zip(at_20, at_10, strict=True)]
    yield relative(case, "20 cm over 10 cm, 10x10 (the published kernel misses its own TPR)", *ratio, "", None, NYHOLM)
    yield relative(case, "absolute, 10x10, 10 cm", *(1e3 * float(d[2]) for d in at_10), "10-3 cm2/g", None, NYHOLM)


def closed_forms(machine: BeamModel) -> Iterator[Row]:
    """The engine against its kernel table in rings, and the inverse square law."""
    case = "closed forms"
    with np.load(SHIPPED / "generic_6mv" / "pencil_kernel.npz", allow_pickle=False) as table:
        rings, nodes = table["primary"].astype(float) + table["scatter"], table["depth_mm"].astype(float)
        edges = table["radius_edges_mm"].astype(float)
    worst = (0.0, 0.0, 0.0, 1.0)
    for side in (20.0, 50.0, 100.0, 200.0):
        depth = np.arange(20.0, 201.0, 20.0)
        engine = axis_dose(machine, Setup(side, 1000.0), depth) / machine.gy_per_fluence
        grown = 1 + depth / 1000.0
        shares = np.stack([ring_share_of_square(edges, side * s / 2) for s in grown])
        direct = [np.interp(d, nodes, rings @ share) for d, share in zip(depth, shares, strict=True)] / grown**2
        k = int(np.argmax(np.abs(engine / direct - 1)))
        worst = max(worst, (abs(engine[k] / direct[k] - 1), side, engine[k], direct[k]))
    label = f"Gaussian mixture against the kernel table in rings, 2x2-20x20, 20-200 mm, worst ({worst[1] / 10:g} cm)"
    yield relative(
        case, label, 1e3 * worst[2], 1e3 * worst[3], "10-3 cm2/g", 0.5, "exact share of each ring in the square"
    )
    for ssd in (800.0, 1100.0):
        side = 100.0 * 1000.0 / (ssd + 100.0)
        near, at_iso = (axis_dose(machine, Setup(f, s), 100.0)[0] for f, s in ((side, ssd), (100.0, 900.0)))
        yield relative(
            case, f"SSD {ssd:g} mm, same field at the point", near / at_iso, (1000.0 / (ssd + 100.0)) ** 2, "", 0.5,
            "inverse square law",
        )  # fmt: skip

"""Beam models: a machine is a folder of data (machine.toml and its tables), and no code.

`load_machine` reads a shipped machine by name or any such folder by path, checks everything, fits the
Gaussian mixture to the kernel (about a second, once per process) and returns a frozen `BeamModel`.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, replace
from difflib import get_close_matches
from functools import lru_cache
from pathlib import Path

import numpy as np
import numpy.typing as npt

from .density import HuCalibration
from .errors import InputError
from .field_dose import field_dose, square_field_dose
from .head_scatter import ExtraFocal, HeadScatter, with_extra_focal
from .machine_check import contradictions
from .machine_file import MACHINE_FILE, MachineFile, Quantity, Use, parse_kernel, parse_machine, read_bytes
from .mixture import GaussianMixture, fit_mixture

Array = npt.NDArray[np.float64]

SHIPPED = Path(__file__).parent / "machines"


@dataclass(frozen=True, slots=True)
class ReferenceDose:
    """The stated dose per MU on the axis of a square field in water: it fixes `BeamModel.gy_per_fluence`."""

    dose_gy_per_mu: float
    field_mm: float
    ssd_mm: float
    depth_mm: float


@dataclass(frozen=True, slots=True)
class Target:
    """A published or measured value that the machine is compared with (`dosecalc.machine_targets`).

    Attributes
    ----------
    quantity : str
        "depth_dose" (% of the maximum), "depth_dose_ratio" (20 cm over 10 cm), "output_factor" and "air_output" (over
        10x10), "off_axis" (over the axis) or "penumbra" (mm).
    field_mm : float
        Side of the square field in the isocentre plane.
    ssd_mm, depth_mm, off_axis_mm : float or None
        Where the quantity has them; off_axis_mm in the isocentre plane.
    value, tolerance : float
        In the unit of the quantity.
    use : "judged", "fitted" or "information"
        Fitted: the machine was adjusted to it. Information: not every condition of the value is published.
    source : str
    """

    quantity: Quantity
    field_mm: float
    ssd_mm: float | None
    depth_mm: float | None
    off_axis_mm: float | None
    value: float
    tolerance: float
    use: Use
    source: str


@dataclass(frozen=True, slots=True)
class Provenance:
    """Where a part of the machine data comes from and under which terms."""

    item: str
    source: str
    licence: str


@dataclass(frozen=True, slots=True, eq=False)
class BeamModel:
    """One photon beam, complete and checked.

    The dose of beamlets with fluence x (MU) and off-axis factors f at a voxel that projects from the source
    to (u, v) on the isocentre plane and lies z downstream of it is

        D = gy_per_fluence (SAD / (SAD + z))^2 sum_c a_c sum_j x_j f_j E_c(u; j) E_c(v; j),
        E_c(u; j) = (erf((u - u_low) / (sqrt(2) sigma_c,u)) - erf((u - u_high) / (sqrt(2) sigma_c,u))) / 2

    with u_low, u_high the edges of beamlet j, a_c = ``mixture.weights(depth, s_p, s_s)`` and sigma_c,u =
    ``mixture.sigma_mm(source_sigma_mm[0])`` (likewise v).

    Attributes
    ----------
    name, description, nominal_energy : str
    sad_mm : float
        Source to axis.
    source_sigma_mm : (u, v)
        Focal spot, seen in the isocentre plane.
    off_axis_radius_mm, off_axis_ratio : (n,) float64
        Fluence relative to the axis over the radius in the isocentre plane.
    head_scatter : HeadScatter or None
        Output of open fields (`collimator_scatter`); beamlets have output factor 1.
    extra_focal : ExtraFocal or None
        In place of `head_scatter`: a wide second source, already in `mixture`.
    mixture : GaussianMixture
    gy_per_fluence : float
        Gy g/cm2 per MU: the factor that makes the reference field give the reference dose.
    reference : ReferenceDose
    calibration : HuCalibration
    field_mm, depth_mm, density : (low, high)
        Range of validity: square fields in the isocentre plane, radiological depth in water, electron density relative
        to water.
    tpr20_10 : float
        Target of the beam quality.
    leaf_transmission : float
        Share of the fluence that closed leaves let through.
    targets : tuple of Target
        Published values to compare the machine with.
    validity_note : str
    provenance : tuple of Provenance
    provisional : bool
        True where the kernel or the beam quality is known to be incomplete.
    sha256 : str
        Of machine.toml and the kernel table.
    sources : tuple of (str, str)
        Section of machine.toml and its source.
    """

    name: str
    description: str
    nominal_energy: str
    sad_mm: float
    source_sigma_mm: tuple[float, float]
    off_axis_radius_mm: Array
    off_axis_ratio: Array
    head_scatter: HeadScatter | None
    extra_focal: ExtraFocal | None
    mixture: GaussianMixture
    gy_per_fluence: float
    reference: ReferenceDose
    calibration: HuCalibration
    field_mm: tuple[float, float]
    depth_mm: tuple[float, float]
    density: tuple[float, float]
    tpr20_10: float
    leaf_transmission: float
    targets: tuple[Target, ...]
    validity_note: str
    provenance: tuple[Provenance, ...]
    provisional: bool
    sha256: str
    sources: tuple[tuple[str, str], ...]


def available_machines() -> tuple[str, ...]:
    """Names of the shipped machines, sorted."""
    return tuple(sorted(folder.parent.name for folder in SHIPPED.glob(f"*/{MACHINE_FILE}")))


def load_machine(name_or_path: str | Path) -> BeamModel:
    """A beam model from a shipped name or from a folder with machine.toml.

    Parameters
    ----------
    name_or_path : str or Path
        A name of `available_machines`, or a folder.

    Returns
    -------
    BeamModel

    Raises
    ------
    InputError
        Unknown machine (the nearest name is given), or machine data with faults or contradictions (all are listed).
    """
    folder = _folder(name_or_path)
    content = read_bytes(folder / MACHINE_FILE)
    file = parse_machine(content, str(folder / MACHINE_FILE))
    table = read_bytes(folder / file.kernel.file)
    digest = hashlib.sha256(content + table).hexdigest()
    mixture = _mixture(table, file.kernel.file)
    spot = file.focal_spot.sigma_mm
    at_20, at_10 = (square_field_dose(mixture, spot, depth_mm=d, field_mm=100.0) for d in (200.0, 100.0))
    ends = float(mixture.scale[0]), float(mixture.scale[-1])
    faults = contradictions(file, tpr20_10=at_20 / at_10, deepest_mm=float(mixture.depth_mm[-1]), scale=ends)
    if faults:
        raise InputError(
            f"the machine data contradict themselves: {'; '.join(faults)}.", where=str(folder / MACHINE_FILE)
        )
    return _assemble(file, mixture, digest)


def _folder(name_or_path: str | Path) -> Path:
    """The machine folder of a shipped name or a path."""
    if str(name_or_path) in available_machines():
        return SHIPPED / str(name_or_path)
    folder = Path(name_or_path)
    if folder.is_dir():
        return folder
    near = get_close_matches(str(name_or_path), available_machines(), n=1, cutoff=0.0)
    raise InputError(
        f"unknown machine {str(name_or_path)!r}, expected one of {', '.join(available_machines())} "
        f"or a folder with {MACHINE_FILE}.",
        remedy=f"Nearest name: {near[0]}." if near else None,
    )


@lru_cache(maxsize=8)
def _mixture(table: bytes, where: str) -> GaussianMixture:
    """The fitted mixture of a kernel table; kept, because the fit takes about a second."""
    return fit_mixture(parse_kernel(table, where))


def _assemble(file: MachineFile, mixture: GaussianMixture, digest: str) -> BeamModel:
    spot = file.focal_spot.sigma_mm
    reference = ReferenceDose(**file.reference.model_dump(exclude={"source"}))
    sections = {name: getattr(file, name) for name in MachineFile.model_fields}
    head = None if file.head_scatter is None else HeadScatter(**file.head_scatter.model_dump(exclude={"source"}))
    wide = None if file.extra_focal is None else ExtraFocal(**file.extra_focal.model_dump(exclude={"source"}))
    mixture = mixture if wide is None else with_extra_focal(mixture, wide)
    radius, ratio = _profile(file.off_axis.radius_mm, file.off_axis.ratio)
    bare = BeamModel(
        name=file.name,
        description=file.description,
        nominal_energy=file.nominal_energy,
        sad_mm=file.sad_mm,
        source_sigma_mm=spot,
        off_axis_radius_mm=radius,
        off_axis_ratio=ratio,
        head_scatter=head,
        extra_focal=wide,
        mixture=mixture,
        gy_per_fluence=1.0,
        reference=reference,
        calibration=HuCalibration(
            np.asarray(file.calibration.hu),
            np.asarray(file.calibration.relative_electron_density),
            file.calibration.source,
        ),
        field_mm=file.validity.field_mm,
        depth_mm=file.validity.depth_mm,
        density=file.validity.density,
        tpr20_10=file.kernel.tpr20_10,
        leaf_transmission=file.transmission.leaves,
        targets=tuple(Target(**entry.model_dump()) for entry in file.target),
        validity_note=file.validity.note,
        provenance=tuple(Provenance(**entry.model_dump()) for entry in file.provenance),
        provisional=file.provisional,
        sha256=digest,
        sources=tuple((name, part.source) for name, part in sections.items() if hasattr(part, "source")),
    )
    return calibrated(bare)


def calibrated(machine: BeamModel) -> BeamModel:
    """The machine with the calibration that its reference asks for: 1 MU over the field gives the stated dose.

    The field is made of beamlets with the off-axis ratio at their centres, as in the dose operator.
    """
    at = machine.reference
    dose = field_dose(machine, field_mm=at.field_mm, ssd_mm=at.ssd_mm, depth_mm=at.depth_mm)
    return replace(machine, gy_per_fluence=machine.gy_per_fluence * at.dose_gy_per_mu / dose)


def _profile(radius: tuple[float, ...], ratio: tuple[float, ...]) -> tuple[Array, Array]:
    """Read-only off-axis radius and ratio, checked."""
    columns = np.asarray(radius, dtype=np.float64), np.asarray(ratio, dtype=np.float64)
    if len(radius) != len(ratio) or radius[0] != 0 or (np.diff(columns[0]) <= 0).any() or (columns[1] < 0).any():
        raise InputError(
            "the off-axis profile needs equally many radii, increasing from 0 mm, and ratios, none negative; "
            f"got {len(radius)} radii from {radius[0]:g} mm and {len(ratio)} ratios.",
            where=f"{MACHINE_FILE}: off_axis",
        )
    for column in columns:
        column.flags.writeable = False
    return columns

"""machine.toml: its schema, and the reading of a machine folder with all faults reported together."""

from __future__ import annotations

import io
import tomllib
import zipfile
from difflib import get_close_matches
from pathlib import Path
from typing import Annotated, Any, Literal, TypeVar

import numpy as np
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from .errors import InputError, UnsafeInputError
from .mixture import PencilKernel

MACHINE_FILE = "machine.toml"
LARGEST_FILE_BYTES = 20_000_000
LARGEST_TABLE = 5_000_000
"""Bound on the numbers in one kernel array, checked before anything is unpacked."""
KERNEL_ARRAYS = ("depth_mm", "radius_edges_mm", "primary", "scatter")


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)


Section = TypeVar("Section", bound=BaseModel)
Positive = Annotated[float, Field(gt=0)]
NonNegative = Annotated[float, Field(ge=0)]
Text = Annotated[str, Field(min_length=1, max_length=2000)]
FileName = Annotated[str, Field(pattern=r"^[A-Za-z0-9_][A-Za-z0-9_.-]*\.npz$")]
Quantity = Literal["depth_dose", "depth_dose_ratio", "output_factor", "air_output", "off_axis", "penumbra"]
Use = Literal["judged", "fitted", "information"]
Column = Annotated[tuple[float, ...], Field(min_length=2, max_length=10_000)]


class FocalSpotSection(_Strict):
    """Source blur as seen in the isocentre plane."""

    sigma_mm: tuple[NonNegative, NonNegative]
    source: Text


class ReferenceSection(_Strict):
    """The stated dose per MU and where it holds."""

    dose_gy_per_mu: Positive
    field_mm: Positive
    ssd_mm: Positive
    depth_mm: Positive
    source: Text


class OffAxisSection(_Strict):
    """Fluence over the radius in the isocentre plane, relative to the axis."""

    radius_mm: Column
    ratio: Column
    source: Text


class HeadScatterSection(_Strict):
    """Output in air of jaw openings (`HeadScatter`)."""

    weight: Annotated[float, Field(ge=0, lt=1)]
    sigma_mm: Positive
    filter_distance_mm: Positive
    collimator_distance_mm: Positive
    source: Text


class ExtraFocalSection(_Strict):
    """In place of head_scatter: a wide second source inside the dose (`ExtraFocal`)."""

    weight: Annotated[float, Field(ge=0, lt=1)]
    sigma_mm: Positive
    source: Text


class TransmissionSection(_Strict):
    """Share of the fluence that closed leaves let through (`dosecalc.leakage`)."""

    leaves: Annotated[float, Field(ge=0, le=0.05)]
    source: Text


class TargetSection(_Strict):
    """A published or measured value that the machine is compared with (`dosecalc.machine_targets`)."""

    quantity: Quantity
    field_mm: Positive
    ssd_mm: Positive | None = None
    depth_mm: Positive | None = None
    off_axis_mm: Positive | None = None
    value: Positive
    tolerance: Positive
    use: Use
    source: Text


class KernelSection(_Strict):
    """File of the pencil kernel and the beam quality it was made for."""

    file: FileName
    tpr20_10: Annotated[float, Field(gt=0.4, lt=0.9)]
    source: Text


class ValiditySection(_Strict):
    """Field sizes, depths and relative electron densities for which the data hold."""

    field_mm: tuple[NonNegative, Positive]
    depth_mm: tuple[NonNegative, Positive]
    density: tuple[NonNegative, Positive]
    note: Text


class CalibrationSection(_Strict):
    """HU to relative electron density, piecewise linear."""

    quantity: Literal["electron density relative to water"]
    hu: Column
    relative_electron_density: Column
    source: Text


class ProvenanceSection(_Strict):
    """Where a part of the data comes from and under which terms."""

    item: Text
    source: Text
    licence: Text


class MachineFile(_Strict):
    """The whole of machine.toml."""

    name: Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9_]{0,63}$")]
    description: Text
    nominal_energy: Text
    provisional: bool
    sad_mm: Positive
    focal_spot: FocalSpotSection
    reference: ReferenceSection
    off_axis: OffAxisSection
    head_scatter: HeadScatterSection | None = None
    extra_focal: ExtraFocalSection | None = None
    transmission: TransmissionSection
    kernel: KernelSection
    validity: ValiditySection
    calibration: CalibrationSection
    provenance: Annotated[tuple[ProvenanceSection, ...], Field(min_length=1)]
    target: Annotated[tuple[TargetSection, ...], Field(max_length=200)] = ()


def read_bytes(path: Path) -> bytes:
    """The content of a file of the machine folder, bounded in size."""
    try:
        size = path.stat().st_size
        if size > LARGEST_FILE_BYTES:
            raise UnsafeInputError(
                f"the file has {size} bytes, a machine file at most {LARGEST_FILE_BYTES}.", where=path.name
            )
        return path.read_bytes()
    except OSError as error:
        raise InputError(
            f"cannot read the file of the machine: {error.strerror or error}.",
            where=str(path),
            remedy=f"A machine is a folder with {MACHINE_FILE} and the tables that it names.",
        ) from error


def parse_machine(content: bytes, where: str) -> MachineFile:
    """machine.toml, checked; every fault is listed with its key and, for unknown keys, the nearest known one.

    Raises
    ------
    InputError
        Not TOML, or one or more keys missing, unknown or out of range.
    """
    try:
        data = tomllib.loads(content.decode("utf-8"))
    except (ValueError, RecursionError) as error:
        raise InputError(f"this is not a TOML file: {error}.", where=where) from error
    return validated(MachineFile, data, where=where, what="the machine data")


def validated(
    model: type[Section], data: dict[str, Any], *, where: str, what: str, remedy: str | None = None
) -> Section:
    """The data as a checked section, or every fault together.

    Raises
    ------
    InputError
        One or more keys missing, unknown or out of range.
    """
    try:
        return model.model_validate(data)
    except ValidationError as error:
        faults = [_fault(dict(item), model) for item in error.errors(include_url=False)]
        raise InputError(
            f"{len(faults)} fault{'s' if len(faults) > 1 else ''} in {what}: {'; '.join(faults)}.",
            where=where,
            remedy=remedy,
        ) from error


def parse_kernel(content: bytes, where: str) -> PencilKernel:
    """The pencil kernel of a machine folder (npz, no pickled objects).

    Raises
    ------
    InputError
        Not an npz file, or arrays missing, too large or not a kernel.
    """
    try:
        with zipfile.ZipFile(io.BytesIO(content)) as archive:
            unpacked = sum(entry.file_size for entry in archive.infolist())
        if unpacked > 8 * LARGEST_TABLE:
            raise UnsafeInputError(f"the table unpacks to {unpacked} bytes, more than any kernel needs.", where=where)
        with np.load(io.BytesIO(content), allow_pickle=False) as arrays:
            missing = [name for name in KERNEL_ARRAYS if name not in arrays.files]
            if missing:
                raise InputError(f"the kernel table lacks {', '.join(missing)}.", where=where)
            return PencilKernel(*(arrays[name] for name in KERNEL_ARRAYS))
    except InputError:
        raise
    except Exception as error:  # of zip, zlib, NumPy and the parser of array headers
        raise InputError(f"this is not a kernel table (npz): {error}.", where=where) from error


def _fault(item: dict[str, Any], model: type[BaseModel]) -> str:
    """One fault as "key: what is wrong (nearest known key)"."""
    path = [str(part) for part in item["loc"]]
    key = ".".join(path)
    if item["type"] != "extra_forbidden":
        return f"{key}: {item['msg'][0].lower()}{item['msg'][1:]}"
    near = get_close_matches(path[-1], _known(path[:-1], model), n=1, cutoff=0.0)
    return f"{key}: unknown key{f', nearest known is {near[0]!r}' if near else ''}"


def _known(path: list[str], model: type[BaseModel]) -> list[str]:
    """Keys that the section at the path of a model may have."""
    sections: dict[str, type[BaseModel]] = {
        "focal_spot": FocalSpotSection,
        "reference": ReferenceSection,
        "off_axis": OffAxisSection,
        "head_scatter": HeadScatterSection,
        "extra_focal": ExtraFocalSection,
        "transmission": TransmissionSection,
        "target": TargetSection,
        "kernel": KernelSection,
        "validity": ValiditySection,
        "calibration": CalibrationSection,
        "provenance": ProvenanceSection,
    }
    section: type[BaseModel] = sections.get(path[0], model) if path else model
    return list(section.model_fields)

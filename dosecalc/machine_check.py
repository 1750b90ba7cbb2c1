"""Contradictions inside a machine folder: numbers that are well formed, and cannot all be true."""

from __future__ import annotations

import math
from collections.abc import Iterator

from .machine_file import MachineFile, Quantity, TargetSection

TPR_TOLERANCE = 0.005
"""A kernel whose TPR20,10 is further from the stated one belongs to another beam: 6 MV and 6 MV FFF differ by 0.035."""

PLACES: dict[Quantity, tuple[str, ...]] = {
    "depth_dose": ("ssd_mm", "depth_mm"),
    "depth_dose_ratio": ("ssd_mm",),
    "output_factor": ("ssd_mm", "depth_mm"),
    "air_output": (),
    "off_axis": ("ssd_mm", "depth_mm", "off_axis_mm"),
    "penumbra": ("ssd_mm", "depth_mm"),
}
"""What a target of each quantity says beside its field."""


def contradictions(file: MachineFile, *, tpr20_10: float, deepest_mm: float, scale: tuple[float, float]) -> list[str]:
    """Every contradiction as "key: what was got, what was expected"; empty for a consistent machine.

    Parameters
    ----------
    file : MachineFile
    tpr20_10, deepest_mm : float
        Beam quality and last depth of the kernel that the file names.
    scale : (low, high)
        Lateral scales of the fitted table: in the isocentre plane they are densities.
    """
    found = [*_range_faults(file, deepest_mm, scale), *_reference_faults(file), *_head_faults(file)]
    found += [fault for index, target in enumerate(file.target) for fault in _target_faults(file, index, target)]
    if abs(tpr20_10 - file.kernel.tpr20_10) > TPR_TOLERANCE:
        found.append(
            f"kernel.tpr20_10: {file.kernel.tpr20_10:g} is stated, the table {file.kernel.file} has {tpr20_10:.3f}: it "
            "belongs to another beam"
        )
    return found


def _range_faults(file: MachineFile, deepest_mm: float, scale: tuple[float, float]) -> Iterator[str]:
    for name in ("field_mm", "depth_mm", "density"):
        low, high = getattr(file.validity, name)
        if low >= high:
            yield f"validity.{name}: {low:g} to {high:g} is empty, expected low < high"
    if file.validity.depth_mm[1] > deepest_mm:
        yield f"validity.depth_mm: ends at {file.validity.depth_mm[1]:g} mm, the kernel table at {deepest_mm:g} mm"
    low, high = file.validity.density
    if low < scale[0] or high > scale[1]:
        yield f"validity.density: {low:g} to {high:g} leaves the kernel table, {scale[0]:g} to {scale[1]:g}"
    corner = file.validity.field_mm[1] / math.sqrt(2)
    if file.off_axis.radius_mm[-1] < corner:
        yield (
            f"off_axis.radius_mm: ends at {file.off_axis.radius_mm[-1]:g} mm, the corner of the largest field lies at "
            f"{corner:.0f} mm"
        )
    if file.off_axis.ratio[0] != 1:
        yield f"off_axis.ratio: begins with {file.off_axis.ratio[0]:g}, expected 1 on the axis"


def _reference_faults(file: MachineFile) -> Iterator[str]:
    for name in ("field_mm", "depth_mm"):
        value, (low, high) = getattr(file.reference, name), getattr(file.validity, name)
        if not low <= value <= high:
            yield f"reference.{name}: {value:g} mm lies outside validity.{name}, {low:g} to {high:g} mm"


def _head_faults(file: MachineFile) -> Iterator[str]:
    head = file.head_scatter
    if (head is None) == (file.extra_focal is None):
        given = "neither" if head is None else "both"
        yield f"head_scatter, extra_focal: {given} given, expected one: they describe the same photons"
    if head is not None and not head.filter_distance_mm < head.collimator_distance_mm < file.sad_mm:
        yield (
            f"head_scatter: filter at {head.filter_distance_mm:g} mm, collimator at {head.collimator_distance_mm:g} mm "
            f"and axis at {file.sad_mm:g} mm from the target, expected in this order"
        )


def _target_faults(file: MachineFile, index: int, target: TargetSection) -> Iterator[str]:
    key, asked = f"target.{index}", PLACES[target.quantity]
    for name in ("ssd_mm", "depth_mm", "off_axis_mm"):
        if (getattr(target, name) is not None) != (name in asked):
            state = "missing, but every" if name in asked else "given, but no"
            yield f"{key}.{name}: {state} {target.quantity} has one"
    for name in ("field_mm", "depth_mm"):
        value, (low, high) = getattr(target, name), getattr(file.validity, name)
        if value is not None and not low <= value <= high:
            yield f"{key}.{name}: {value:g} mm lies outside validity.{name}, {low:g} to {high:g} mm"
    if target.off_axis_mm is not None and target.off_axis_mm >= target.field_mm / 2:
        yield f"{key}.off_axis_mm: {target.off_axis_mm:g} mm lies outside the field of {target.field_mm:g} mm"

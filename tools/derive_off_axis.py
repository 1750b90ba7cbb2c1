"""Derive the off-axis profiles of the unflattened beams from the published ratios in their machine files.

Usage::

    python tools/derive_off_axis.py

The targets of quantity ``off_axis`` with ``use = "fitted"`` are dose ratios in water. The fluence behind them is taken
as ::

    P(r) = (1 + s / (n r0))^-n,   s = sqrt(r^2 + b^2) - b

a fall that is round within b of the axis, exponential at first (1/r0 per mm) and slower far out (n). The parameters are
those with which the model's own dose (spot, scatter and all) meets the ratios by least squares. The 10 MV FFF beam has
enough of them for all three; n, a property of the bremsstrahlung at wide angles, is carried over to the 6 MV FFF beam.
Printed: the parameters, the largest misfit, and the two lines of machine.toml.
"""

from __future__ import annotations

import dataclasses

import numpy as np
import numpy.typing as npt
from scipy.optimize import least_squares

from dosecalc.field_dose import profile_dose
from dosecalc.machine import BeamModel, load_machine

Array = npt.NDArray[np.float64]

RADII_MM = np.array([0, 5, 10, 15, 20, 30, 40, 50, 60, 80, 100, 120, 140, 160, 180, 200, 250, 300, 350, 400], float)
START = (12.0, 200.0, 2.0)


def profile(radius_mm: Array, b_mm: float, r0_mm: float, n: float) -> Array:
    """P of the module text."""
    s = np.hypot(radius_mm, b_mm) - b_mm
    return np.asarray((1 + s / (n * r0_mm)) ** -n)


def with_profile(machine: BeamModel, parameters: tuple[float, ...]) -> BeamModel:
    """The machine with P rounded to four places, as a machine file has it."""
    return dataclasses.replace(
        machine, off_axis_radius_mm=RADII_MM, off_axis_ratio=profile(RADII_MM, *parameters).round(4)
    )


def misfit(machine: BeamModel) -> Array:
    """Relative difference of the model's ratio from each fitted one."""
    found = []
    for target in machine.targets:
        if target.quantity != "off_axis" or target.use != "fitted":
            continue
        if target.ssd_mm is None or target.depth_mm is None or target.off_axis_mm is None:
            raise ValueError(f"a fitted ratio of machine {machine.name} has no depth or no place")
        at = np.array([0.0, target.off_axis_mm])
        dose = profile_dose(machine, at, field_mm=target.field_mm, ssd_mm=target.ssd_mm, depth_mm=target.depth_mm)
        found.append(dose[1] / dose[0] / target.value - 1)
    return np.array(found)


def fitted(machine: BeamModel, n: float | None = None) -> tuple[float, ...]:
    """(b, r0, n) of the least squares; n kept where it is given."""
    start = START if n is None else START[:2]
    kept = () if n is None else (n,)
    found = least_squares(
        lambda p: 100 * misfit(
            dataclasses.replace(
                machine, off_axis_radius_mm=RADII_MM, off_axis_ratio=profile(RADII_MM, *p, *kept)
            )
        ),
        start,
        x_scale=start,
        diff_step=1e-3,
    )  # fmt: skip
    return (*(float(value) for value in found.x), *kept)


def main() -> None:
    """Command line: derive both profiles and print them."""
    ten = fitted(load_machine("generic_10fff"))
    for name, parameters in (
        ("generic_10fff", ten),
        ("generic_6fff", fitted(load_machine("generic_6fff"), ten[2])),
    ):
        machine = with_profile(load_machine(name), parameters)
        b, r0, n = parameters
        worst = 100 * np.abs(misfit(machine)).max()
        print(f"{name}: b = {b:.1f} mm, r0 = {r0:.1f} mm, n = {n:.2f}; largest misfit {worst:.2f} %")
        print(f"radius_mm = {machine.off_axis_radius_mm.tolist()}")
        print(f"ratio = {machine.off_axis_ratio.tolist()}")


if __name__ == "__main__":
    main()

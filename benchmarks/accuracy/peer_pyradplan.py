"""Run inside an environment with pyRadPlan (BSD-3): dose of open fields in water and in TG119, written as npz.

Usage: PYTHON peer_pyradplan.py OUT.npz. It imports nothing of this project. pyRadPlan 0.5.0 needs pydantic < 2.12.
"""

from __future__ import annotations

import sys
from importlib.metadata import version
from typing import Any

import numpy as np
import SimpleITK
from pyRadPlan import PhotonPlan, calc_dose_influence, generate_stf, load_tg119
from pyRadPlan.ct import validate_ct
from pyRadPlan.ct._hlut import default_hlut

GRID_MM = 5.0
BIXEL_MM = 5.0
CUTOFF_MM = 150.0
SURFACE_MM = -116.5
"""Top of the water in LPS y; the isocentre of TG119 lies about 100 mm below."""


def in_water(ct: Any) -> Any:
    """TG119's CT with water below `SURFACE_MM` and air above."""
    values = SimpleITK.GetArrayFromImage(ct.cube_hu)
    y = ct.cube_hu.GetOrigin()[1] + ct.cube_hu.GetSpacing()[1] * np.arange(values.shape[1])
    values[:] = np.where(y > SURFACE_MM, 0, -1000)[None, :, None]
    image = SimpleITK.GetImageFromArray(values)
    image.CopyInformation(ct.cube_hu)
    return validate_ct(cube_hu=image)


def case(ct: Any, cst: Any, gantry_deg: list[float]) -> dict[str, Any]:
    """Dose of weight 1 in every beamlet that sees the target, and all that is needed to repeat it."""
    plan = PhotonPlan(machine="Generic")
    plan.prop_stf = {
        "gantry_angles": gantry_deg, "couch_angles": [0.0] * len(gantry_deg), "bixel_width": BIXEL_MM,
    }  # fmt: skip
    plan.prop_dose_calc = {
        "dose_grid": {"resolution": dict.fromkeys("xyz", GRID_MM)},
        "geometric_lateral_cutoff": CUTOFF_MM,
        "ignore_outside_densities": False,
    }
    stf = generate_stf(ct, cst, plan)
    dij = calc_dose_influence(ct, cst, stf, plan)
    matrix = dij.physical_dose.flat[0]
    grid = dij.dose_grid
    shape = tuple(int(n) for n in grid.dimensions[::-1])
    table = default_hlut("photons")
    hu = SimpleITK.GetArrayFromImage(ct.cube_hu)
    return {
        "dose": np.asarray(matrix @ np.ones(matrix.shape[1])).reshape(shape),
        "dose_origin_mm": np.asarray(grid.origin, float),
        "dose_spacing_mm": np.array([grid.resolution[a] for a in "xyz"]),
        "density": np.interp(hu, table[:, 0], table[:, 1]).astype(np.float32),
        "origin_mm": np.asarray(ct.cube_hu.GetOrigin()),
        "spacing_mm": np.asarray(ct.cube_hu.GetSpacing()),
        "isocentre_mm": np.asarray(stf.beams[0].iso_center, float),
        "gantry_deg": np.array(gantry_deg),
        "beam": np.concatenate([[b] * len(beam.rays) for b, beam in enumerate(stf.beams)]),
        "u_mm": np.array([ray.ray_pos_bev[0] for beam in stf.beams for ray in beam.rays]),
        "v_mm": np.array([ray.ray_pos_bev[2] for beam in stf.beams for ray in beam.rays]),
    }


def main() -> None:
    """Both cases."""
    ct, cst = load_tg119()
    found = {"water": case(in_water(ct), cst, [0.0]), "tg119": case(ct, cst, [0.0, 120.0, 240.0])}
    arrays = {f"{name}_{key}": value for name, one in found.items() for key, value in one.items()}
    np.savez_compressed(sys.argv[1], version=np.array(version("pyRadPlan")), bixel_mm=BIXEL_MM, **arrays)


if __name__ == "__main__":
    main()

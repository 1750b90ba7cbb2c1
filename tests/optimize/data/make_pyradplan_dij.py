"""Run inside an environment with pyRadPlan 0.5 (BSD-3): a small dose-influence matrix, as it is and as it exports it.

Usage: PYTHON make_pyradplan_dij.py FOLDER. It writes pyradplan_dij.npz and pyradplan_dij.mat, which the tests read, and
imports nothing of this project. A water box of unequal voxels, a target off its centre, two beams. The dose grid has as
many voxels along x as along y: with other counts, the order in pyRadPlan 0.5's MATLAB file is not matRad's.
"""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import SimpleITK
from pyRadPlan import PhotonPlan, calc_dose_influence, generate_stf, save_data
from pyRadPlan.cst import StructureSet, create_voi
from pyRadPlan.ct import validate_ct

SHAPE, SPACING_MM, ORIGIN_MM = (24, 30, 30), (6.0, 7.0, 5.0), (-80.0, -110.0, -50.0)
DOSE_GRID_MM = {"x": 18.0, "y": 21.0, "z": 15.0}


def image(values: np.ndarray) -> SimpleITK.Image:
    """Values (z, y, x) as an image in LPS mm."""
    made = SimpleITK.GetImageFromArray(values)
    made.SetSpacing(SPACING_MM)
    made.SetOrigin(ORIGIN_MM)
    return made


def main(folder: Path) -> None:
    """Both files."""
    ct = validate_ct(cube_hu=image(np.zeros(SHAPE)))
    target, body = np.zeros(SHAPE, np.uint8), np.ones(SHAPE, np.uint8)
    target[8:14, 10:15, 16:21] = 1
    vois = [
        create_voi(voi_type=kind, name=name, ct_image=ct, mask=image(mask))
        for kind, name, mask in (("TARGET", "target", target), ("EXTERNAL", "body", body))
    ]
    cst = StructureSet(vois=vois, ct_image=ct)
    plan = PhotonPlan(machine="Generic")
    plan.prop_stf = {"gantry_angles": [0.0, 70.0], "couch_angles": [0.0, 0.0], "bixel_width": 40.0}
    plan.prop_dose_calc = {"dose_grid": {"resolution": DOSE_GRID_MM}, "geometric_lateral_cutoff": 45.0}
    stf = generate_stf(ct, cst, plan)
    dij = calc_dose_influence(ct, cst, stf, plan)
    matrix, grid = dij.physical_dose.flat[0].tocsc(), dij.dose_grid
    weights = np.linspace(0.5, 1.5, matrix.shape[1]).astype(np.float32)
    dose = dij.compute_result_dose_grid(weights)["physical_dose"]
    np.savez_compressed(
        folder / "pyradplan_dij.npz",
        data=matrix.data,
        indices=matrix.indices,
        indptr=matrix.indptr,
        shape=np.array(matrix.shape),
        dimensions=np.array(grid.dimensions),
        resolution=np.array([grid.resolution[axis] for axis in "xyz"]),
        origin=np.asarray(grid.origin),
        direction=np.asarray(grid.direction),
        beam=np.concatenate([[b] * len(beam.rays) for b, beam in enumerate(stf.beams)]),
        ray_pos_bev=np.array([ray.ray_pos_bev for beam in stf.beams for ray in beam.rays]),
        bixel_width=stf.beams[0].bixel_width,
        weights=weights,
        dose=SimpleITK.GetArrayFromImage(dose),
        dose_origin=np.array(dose.GetOrigin()),
        dose_spacing=np.array(dose.GetSpacing()),
    )
    save_data({"dij": dij, "stf": stf}, file_name=str(folder / "pyradplan_dij.mat"))


if __name__ == "__main__":
    main(Path(sys.argv[1]))

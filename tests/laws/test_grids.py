"""A dose grid is a sampling, not a model: halving its spacing must not change what a target gets."""

from __future__ import annotations

import numpy as np
import pytest

from dosecalc import Beam, aim, dose_influence, load_machine, margins, regions, synthetic_patient, to_density
from dosecalc.structures import Occupancy, Structure
from optimize.metrics import measure
from protocols.metrics import DoseAtVolume


@pytest.fixture(scope="module")
def doses():
    """Dose and cc of the voxels of a PTV on grids of 2 and 1 mm; the beams are no wider than the GTV inside it."""
    patient, machine = synthetic_patient(), load_machine("generic_6mv")
    gtv, density = patient.structures[patient.target_name], to_density(patient.ct, machine.calibration)
    fine = patient.ct.grid.resampled(1.0)
    grown = margins.grown(regions.shares(gtv, fine), 5.0, fine)
    ptv = Structure("PTV", "PTV", Occupancy(fine, grown.astype(np.float32)))
    on_gtv = gtv.on(fine)
    centre = tuple(np.average(fine.centres_mm(on_gtv.indices), axis=0, weights=on_gtv.cc).tolist())
    beams = [Beam(gantry_deg=gantry, isocentre_mm=centre) for gantry in (190.0, 270.0, 350.0)]
    beamlets = aim(beams, at=on_gtv, width_mm=5.0)
    found = {}
    for spacing_mm in (2.0, 1.0):
        voxels = ptv.on(patient.ct.grid.resampled(spacing_mm))
        influence = dose_influence(
            density, voxels.grid, beamlets, machine, voxels=voxels.indices, precision="reference"
        )
        found[spacing_mm] = influence.dose(np.full(beamlets.count, 100.0)), voxels.cc
    return found


@pytest.mark.parametrize("share", [95.0, 50.0, 2.0])
def test_target_doses_do_not_depend_on_the_grid(doses, share):
    """D95 lies in the penumbra here: within 0.5 % between 2 and 1 mm all the same."""
    metric = DoseAtVolume(share, "%")
    coarse, fine = (measure(metric, *doses[spacing_mm]) for spacing_mm in (2.0, 1.0))
    print(f"D{share:g}%: {coarse:.3f} Gy on 2 mm, {fine:.3f} Gy on 1 mm ({coarse / fine - 1:+.2%})")
    assert coarse == pytest.approx(fine, rel=5e-3)


def test_the_volume_does_not_depend_on_the_grid(doses):
    assert doses[2.0][1].sum() == pytest.approx(doses[1.0][1].sum(), rel=1e-6)

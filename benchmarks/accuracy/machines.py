"""Beam models that are derived for a data set: what a user who commissions the engine would do."""

from __future__ import annotations

import dataclasses
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from dosecalc.machine import BeamModel, calibrated, load_machine
from dosecalc.mixture import PencilKernel, fit_mixture
from tools import derive_pencil_kernel as derivation

Array = npt.NDArray[np.float64]

GY_G_PER_MEV = 1.602177e-10
"""1 MeV/g in Gy (CODATA elementary charge)."""


@lru_cache(maxsize=1)
def deposition_kernels(data: Path) -> dict[str, npt.NDArray[Any]]:
    """The monoenergetic energy deposition kernels of the data folder."""
    with np.load(data / "physics" / "edk_water.npz", allow_pickle=False) as archive:
        return {key: archive[key] for key in archive.files}


def read_spectrum(path: Path) -> tuple[Array, Array]:
    """Bin middles in MeV and photons per bin of an EGSnrc spectrum file (mode 0: upper bin edges, counts per bin)."""
    lines = path.read_text().split("\n")
    _, lowest, mode = (field.strip() for field in lines[1].split(","))
    if mode != "0":
        raise ValueError(f"{path.name}: spectrum mode {mode}, expected 0 (counts per bin)")
    top, counts = np.array([line.split(",") for line in lines[2:] if line.strip()], dtype=float).T
    edges = np.concatenate([[float(lowest)], top])
    return 0.5 * (edges[1:] + edges[:-1]), counts


def from_kernel(name: str, table: dict[str, Any], source_sigma_mm: tuple[float, float]) -> BeamModel:
    """The generic 6 MV machine with another kernel and source, flat profile, calibrated by the same rule."""
    generic = load_machine("generic_6mv")
    mixture = fit_mixture(PencilKernel(*(table[k] for k in ("depth_mm", "radius_edges_mm", "primary", "scatter"))))
    bare = dataclasses.replace(
        generic,
        name=name,
        mixture=mixture,
        source_sigma_mm=source_sigma_mm,
        off_axis_radius_mm=np.array([0.0, 400.0]),
        off_axis_ratio=np.ones(2),
    )
    return calibrated(bare)


def monte_carlo_machine(data: Path) -> BeamModel:
    """Point source with the spectrum of the Monte Carlo runs; 1 "MU" is 1 photon per cm2 in the isocentre plane."""
    energy, photons = read_spectrum(data / "physics" / "monte_carlo" / "x6.spectrum")
    share = photons * energy / (photons * energy).sum()
    table = derivation.derive(deposition_kernels(data), energy, share)
    mean_mev = float((photons * energy).sum() / photons.sum())
    return dataclasses.replace(
        from_kernel("monte_carlo_6mv", table, (0.0, 0.0)), gy_per_fluence=mean_mev * GY_G_PER_MEV
    )

"""Derive the pencil kernels of the shipped machines from spectra and monoenergetic energy deposition kernels.

Usage::

    python tools/derive_pencil_kernel.py EDK.npz [MACHINE ...] [--out DIR]

``EDK.npz`` holds, per photon energy, cone and shell, the fraction of the photon energy that photons forced to
interact at the origin of water deposit: ``energy_MeV (14,)``, ``cone_edges_deg (49,)``,
``shell_edges_cm (25,)``, ``fraction_total`` and ``fraction_primary (14, 48, 24)``. The result,
``pencil_kernel.npz``, holds the ring integrals of the pencil kernel (`dosecalc.mixture.PencilKernel`).

Method. Of a unit-energy pencil, exp(-mu z') mu dz' interacts at depth z'. The energy that a direction theta
carries, g(rho) d(rho), lands at r = rho sin(theta), z = z' + rho cos(theta). With
G(rho) = int_0^rho g exp(mu rho' cos(theta)) d(rho'), all the dose within the radius R at depth z is

    D(R, z) = mu/rho_w exp(-mu z) sum_theta G(min(R / sin(theta), z / cos(theta)))

(the second bound for forward directions only: no photon interacts above the surface; behind, the water has no
end, so back-scatter is complete). g is an exponential inside every shell, so G is closed: there is no depth
grid and no cut-off below the outermost shell (600 mm). r = 0, where the kernel is singular, is inside the
first ring.
"""

from __future__ import annotations

import argparse
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from scipy.optimize import brentq

Array = npt.NDArray[np.float64]

# Mass attenuation coefficients in cm2/g: Hubbell & Seltzer, NISTIR 5632 (1995, NIST Standard Reference
# Database 126): energy in MeV, liquid water, aluminium, tungsten.
NIST = np.array(
    [
        [0.10, 0.17070, 0.17040, 4.43800],
        [0.15, 0.15050, 0.13780, 1.58100],
        [0.20, 0.13700, 0.12230, 0.78440],
        [0.30, 0.11860, 0.10420, 0.32380],
        [0.40, 0.10610, 0.09276, 0.19250],
        [0.50, 0.09687, 0.08445, 0.13780],
        [0.60, 0.08956, 0.07802, 0.10930],
        [0.80, 0.07865, 0.06841, 0.08066],
        [1.00, 0.07072, 0.06146, 0.06618],
        [1.25, 0.06323, 0.05496, 0.05577],
        [1.50, 0.05754, 0.05006, 0.05000],
        [2.00, 0.04942, 0.04324, 0.04433],
        [3.00, 0.03969, 0.03541, 0.04075],
        [4.00, 0.03403, 0.03106, 0.04038],
        [5.00, 0.03031, 0.02836, 0.04103],
        [6.00, 0.02770, 0.02655, 0.04210],
        [8.00, 0.02429, 0.02437, 0.04472],
        [10.0, 0.02219, 0.02318, 0.04747],
        [15.0, 0.01941, 0.02195, 0.05384],
    ]
)

# Energy-fluence spectrum: functional form of Ali & Rogers (Phys Med Biol 57:31, 2012). C1^2 and C2^2 are
# g/cm2 of W and Al; C1 and C3 are kept, C2 sets the beam quality.
C1, C3 = 1.222, -1.186
C2_RANGE = (1.0, 12.0)


@dataclass(frozen=True, slots=True)
class Quality:
    """End point of a spectrum, its filtration C2, and the TPR20,10 that C2 meets within 0.001 (`fitted_c2`)."""

    endpoint_mev: float
    c2: float
    tpr20_10: float


QUALITIES = {
    "generic_6mv": Quality(5.76, 5.948, 0.667),
    "generic_6fff": Quality(6.20, 3.442, 0.632),
    "generic_10fff": Quality(10.5, 4.564, 0.707),
}

ENERGY_FIRST_MEV, ENERGY_STEP_MEV = 0.10, 0.08
DIRECTIONS_PER_CONE = 8
RADIUS_FIRST_MM, RADIUS_LAST_MM, RINGS = 0.05, 600.0, 90


def attenuation(energy_mev: npt.ArrayLike, column: int) -> Array:
    """Mass attenuation coefficient in cm2/g, log-log interpolated; column 1 water, 2 Al, 3 W."""
    return np.exp(np.interp(np.log(energy_mev), np.log(NIST[:, 0]), np.log(NIST[:, column])))


def spectrum(endpoint_mev: float, c2: float) -> tuple[Array, Array]:
    """Bin means in MeV from 0.1 MeV to the end point, and the share of the energy fluence per bin."""
    bins = round(endpoint_mev / ENERGY_STEP_MEV)
    fine = (np.arange(bins * 40) + 0.5) * endpoint_mev / (bins * 40)
    psi = energy_fluence(fine, endpoint_mev, c2).reshape(bins, 40)
    share = psi.sum(axis=1)
    keep = share > 0
    energy = (fine.reshape(bins, 40) * psi).sum(axis=1)[keep] / share[keep]
    return energy, share[keep] / share.sum()


def energy_fluence(energy_mev: Array, endpoint_mev: float, c2: float) -> Array:
    """Relative energy fluence per MeV; 0 below 0.1 MeV, where the attenuation table ends."""
    x = energy_mev / endpoint_mev
    thick = np.log(endpoint_mev * (endpoint_mev - energy_mev) / energy_mev + 1.65) - 0.5
    filtration = attenuation(energy_mev, 3) * C1**2 + attenuation(energy_mev, 2) * c2**2
    psi = (1 + C3 * x + x**2) * thick * np.exp(-filtration)
    return np.where(energy_mev > ENERGY_FIRST_MEV, np.maximum(psi, 0.0), 0.0)


def depth_nodes_mm() -> Array:
    """Depths from 0 to 600 mm, between which linear interpolation holds within 0.05 % beyond 3 mm."""
    skin = [0.0, 0.02, 0.05, 0.1, 0.15, 0.2, 0.3, 0.4]
    steps = ((0.5, 1.5, 0.1), (1.5, 6.0, 0.25), (6.0, 30.0, 0.5), (30.0, 60.0, 1.0), (60.0, 605.0, 5.0))
    return np.concatenate([skin, *(np.arange(low, high - step / 2, step) for low, high, step in steps)])


def radius_edges_mm() -> Array:
    """Ring edges: 0, then geometric from 0.05 to 600 mm."""
    return np.concatenate([[0.0], np.geomspace(RADIUS_FIRST_MM, RADIUS_LAST_MM, RINGS)])


def kernel_at(energy_mev: float, nodes_mev: Array, fractions: Array) -> Array:
    """(cones, shells) fractions at an energy: linear between tabulated energies.

    Below the lowest table energy, 0.5 MeV (2 to 7 % of the energy fluence of the shipped beams), its kernel is kept:
    only the attenuation follows the energy there. Above the highest, 10 MeV (0.5 % of the 10 MV FFF beam), likewise.
    """
    k = int(np.clip(np.searchsorted(nodes_mev, energy_mev) - 1, 0, len(nodes_mev) - 2))
    t = np.clip((energy_mev - nodes_mev[k]) / (nodes_mev[k + 1] - nodes_mev[k]), 0.0, 1.0)
    return (1 - t) * fractions[k] + t * fractions[k + 1]


def shell_slopes(fractions: Array, edges_cm: Array) -> Array:
    """(cones, shells) logarithmic slope in 1/cm of the energy per cm inside each shell.

    Taken between the neighbours' mean densities; an empty neighbour (the range end) is replaced by the shell.
    """
    density = fractions / np.diff(edges_cm)
    centre = np.broadcast_to(0.5 * (edges_cm[1:] + edges_cm[:-1]), density.shape)
    rows, index = np.indices(density.shape)
    low = np.maximum(index - 1, 0)
    high = np.minimum(index + 1, density.shape[1] - 1)
    low = np.where(density[rows, low] > 0, low, index)
    high = np.where(density[rows, high] > 0, high, index)
    span = centre[rows, high] - centre[rows, low]
    ratio = np.log(np.maximum(density[rows, high], 1e-30) / np.maximum(density[rows, low], 1e-30))
    return np.where((density > 0) & (span > 0), ratio / np.where(span > 0, span, 1.0), 0.0)


def _growth(rate: Array, length: Array) -> Array:
    """int_0^length exp(rate t) dt, exact for rate -> 0."""
    x = rate * length
    small = np.abs(x) < 1e-6
    return length * np.where(small, 1 + x / 2, np.expm1(x) / np.where(small, 1.0, x))


def carried(rho_cm: Array, shells: Array, slopes: Array, edges_cm: Array, rate: Array) -> Array:
    """G(rho) = int_0^rho g(t) exp(rate t) dt for every direction.

    Parameters
    ----------
    rho_cm : (n, m)
        Upper bounds per direction; beyond the outermost shell the integral is complete.
    shells, slopes : (n, shells)
        Energy in each shell and the logarithmic slope of g inside it.
    edges_cm : (shells + 1,)
    rate : (n,)
        mu cos(theta) in 1/cm.

    Returns
    -------
    (n, m) float64
    """
    width = np.diff(edges_cm)
    norm = shells / _growth(slopes, np.broadcast_to(width, slopes.shape))
    total = slopes + rate[:, None]
    start = norm * np.exp(rate[:, None] * edges_cm[:-1])
    whole = start * _growth(total, np.broadcast_to(width, slopes.shape))
    before = np.concatenate([np.zeros((len(shells), 1)), np.cumsum(whole, axis=1)], axis=1)[:, :-1]
    k = np.clip(np.searchsorted(edges_cm, rho_cm) - 1, 0, len(width) - 1)
    inside = np.minimum(rho_cm - edges_cm[k], width[k])
    rows = np.arange(len(shells))[:, None]
    return before[rows, k] + start[rows, k] * _growth(total[rows, k], inside)


def directions(cone_edges_deg: Array) -> tuple[Array, Array, Array]:
    """Polar angles (rad), the cone of each and its share of that cone's solid angle (Gauss-Legendre)."""
    nodes, gauss = np.polynomial.legendre.leggauss(DIRECTIONS_PER_CONE)
    low, high = np.radians(cone_edges_deg[:-1, None]), np.radians(cone_edges_deg[1:, None])
    theta = 0.5 * (low + high) + 0.5 * (high - low) * nodes
    share = gauss * np.sin(theta)
    share /= share.sum(axis=1, keepdims=True)
    return theta.ravel(), np.repeat(np.arange(len(low)), DIRECTIONS_PER_CONE), share.ravel()


def within_radius(mu: float, fractions: Array, cone_edges_deg: Array, edges_cm: Array) -> Array:
    """(depths, radii) dose inside each ring edge, per unit incident energy and unit mu/rho (module text)."""
    theta, cone, share = directions(cone_edges_deg)
    shells = fractions[cone] * share[:, None]
    slopes = shell_slopes(fractions, edges_cm)[cone]
    rate = mu * np.cos(theta)
    last = edges_cm[-1]
    lateral = np.minimum(radius_edges_mm() / 10 / np.sin(theta)[:, None], last)
    forward = np.cos(theta)[:, None] > 0
    along = np.where(forward, depth_nodes_mm() / 10 / np.where(forward, np.cos(theta)[:, None], 1.0), last)
    by_radius = carried(lateral, shells, slopes, edges_cm, rate)
    by_depth = carried(np.minimum(along, last), shells, slopes, edges_cm, rate)
    result = np.zeros((by_depth.shape[1], by_radius.shape[1]))
    for one_depth, one_radius in zip(by_depth, by_radius, strict=True):
        result += np.minimum(one_depth[:, None], one_radius[None, :])  # G grows: G(min) = min(G)
    return result * np.exp(-mu * depth_nodes_mm() / 10)[:, None]


def monoenergetic(edk: dict[str, npt.NDArray[Any]], energy_mev: Array) -> dict[str, Array]:
    """Dose within each radius of the pencil kernels of single energies: what any spectrum is a weighted sum of.

    Returns
    -------
    dict
        ``primary`` and ``scatter``, each (energies, depths, ring edges) in cm2/g.
    """
    total, primary = edk["fraction_total"].astype(np.float64), edk["fraction_primary"].astype(np.float64)
    parts = {"primary": primary, "scatter": np.maximum(total - primary, 0.0)}
    return {name: np.stack([_within_edges(e, edk, part) for e in energy_mev]) for name, part in parts.items()}


def _within_edges(energy_mev: float, edk: dict[str, npt.NDArray[Any]], fractions: Array) -> Array:
    mu = float(attenuation(energy_mev, 1))  # water at 1 g/cm3: 1/cm and cm2/g are the same number
    kernel = kernel_at(energy_mev, edk["energy_MeV"], fractions)
    return mu * within_radius(mu, kernel, edk["cone_edges_deg"], edk["shell_edges_cm"])


def derive(edk: dict[str, npt.NDArray[Any]], energy_mev: Array, share: Array) -> dict[str, npt.NDArray[np.float32]]:
    """Ring integrals of the pencil kernel of a spectrum from the energy deposition kernels.

    Parameters
    ----------
    edk : dict
        Energy deposition kernels (module text).
    energy_mev, share : (bins,)
        Spectrum: energies and shares of the energy fluence, which sum to 1.

    Returns
    -------
    dict
        ``depth_mm (Nd,)``, ``radius_edges_mm (Nr + 1,)``, ``primary`` and ``scatter (Nd, Nr)`` in cm2/g: dose
        times ring area per unit energy of the incident pencil (equally, dose of a ring-shaped parallel beam
        on its axis per unit energy fluence). All float32.
    """
    return kernel_table(monoenergetic(edk, energy_mev), share)


def kernel_table(mono: dict[str, Array], share: Array) -> dict[str, npt.NDArray[np.float32]]:
    """The table of `derive` from single energies and their shares of the energy fluence."""
    table = {"depth_mm": depth_nodes_mm(), "radius_edges_mm": radius_edges_mm()}
    for name, within in mono.items():
        rings = np.diff(np.tensordot(share, within, axes=1), axis=1)
        table[name] = np.maximum(rings, 0.0)  # beyond the electrons' range the difference is rounding, of either sign
    return {key: values.astype(np.float32) for key, values in table.items()}


def ring_share_of_square(edges_mm: Array, half_mm: float) -> Array:
    """(rings,) share of each ring, taken at its middle radius, that lies in a square of half side `half_mm`.

    Of a circle of radius r, the arcs beyond one side of the square are 2 acos(h / r): for h < r < h sqrt(2) the
    share inside is 1 - 4 acos(h / r) / pi.
    """
    middle = np.sqrt(0.5 * (edges_mm[1:] ** 2 + edges_mm[:-1] ** 2))
    outside = 4 / np.pi * np.arccos(np.minimum(half_mm / np.maximum(middle, half_mm), 1.0))
    return np.maximum(1.0 - outside, 0.0)


def axis_dose(mono: dict[str, Array], depth_mm: Array, field_mm: Array) -> Array:
    """(energies, n) dose per unit energy fluence on the axis of square fields, `field_mm` wide at `depth_mm`."""
    rings = np.diff(mono["primary"] + mono["scatter"], axis=2)
    edges, nodes = radius_edges_mm(), depth_nodes_mm()
    doses = [rings @ ring_share_of_square(edges, field / 2) for field in field_mm]
    pairs = zip(doses, depth_mm, strict=True)
    return np.stack([[np.interp(d, nodes, row) for row in dose] for dose, d in pairs], axis=1)


def fitted_c2(edk: dict[str, npt.NDArray[Any]], endpoint_mev: float, tpr20_10: float) -> float:
    """The filtration with which the model's TPR20,10 (10x10 cm2 at the detector) meets a target."""
    energy, _ = spectrum(endpoint_mev, 5.0)  # bin means hardly move with the filtration
    at_20, at_10 = axis_dose(monoenergetic(edk, energy), np.array([200.0, 100.0]), np.array([100.0, 100.0])).T

    def excess(c2: float) -> float:
        share = spectrum(endpoint_mev, c2)[1]
        return float(share @ at_20 / (share @ at_10)) - tpr20_10

    return float(brentq(excess, *C2_RANGE, xtol=1e-4))


def main() -> None:
    """Command line: derive the tables and write them."""
    parser = argparse.ArgumentParser(description="Derive the pencil kernel tables of machines.")
    parser.add_argument("edk", type=Path, help="energy deposition kernels (.npz)")
    parser.add_argument("machines", nargs="*", choices=[*QUALITIES], default=[], help="default: all")
    here = Path(__file__).resolve().parents[1]
    parser.add_argument("--out", type=Path, default=here / "dosecalc" / "machines", help="folder of machine folders")
    arguments = parser.parse_args()
    with np.load(arguments.edk, allow_pickle=False) as archive:
        edk = {key: archive[key] for key in archive.files}
    for name in arguments.machines or QUALITIES:
        quality = QUALITIES[name]
        target = arguments.out / name / "pencil_kernel.npz"
        target.parent.mkdir(parents=True, exist_ok=True)
        np.savez_compressed(target, allow_pickle=False, **derive(edk, *spectrum(quality.endpoint_mev, quality.c2)))
        best = fitted_c2(edk, quality.endpoint_mev, quality.tpr20_10)
        print(f"{target}: {target.stat().st_size / 1e3:.0f} kB; C2 {quality.c2}, fitted to TPR20,10: {best:.3f}")


if __name__ == "__main__":
    main()

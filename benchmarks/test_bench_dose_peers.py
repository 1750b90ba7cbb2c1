"""The dose operator against others, processor seconds of both sides in one run.

Measure with::

    pytest benchmarks/test_bench_dose_peers.py --benchmark-enable --full-size --peers PYTHON

SciPy multiplies the stored matrix, cut off, on one thread; ours has no cut-off. pyRadPlan 0.5.0 (BSD-3) runs in an
environment of its own, whose Python `--peers` names; without it that comparison is skipped.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from scipy import sparse

from benchmarks.accuracy import peers
from benchmarks.cases import CUTOFF_MM, MACHINE, sized_problem
from benchmarks.records import Other
from dosecalc import Beamlets, DoseInfluence, Grid, Volume, dose_influence, influence_matrix, load_machine

pytestmark = pytest.mark.benchmark(timer=time.process_time)
PEER_ROUNDS = 2
OUR_ROUNDS = 9
# Where the peer's rays are traced: as ours, or as it does by default. Ours are traced through the CT in every row.
RAYS = {"through-ct": "rays through the CT as ours", "default": "rays through a density sampled at the dose grid"}
# What is timed of ours.
PARTS = {
    "whole": "stored matrix in one call, from density and beamlets",
    "with operator": "operator and then its stored matrix, from density and beamlets",
    "matrix alone": "stored matrix, operator ready",
}


@pytest.mark.parametrize("beamlet_mm", [5.0, 2.5])
def test_products_of_scipy(
    measure: Callable[..., Any], cpu_seconds: Callable[..., float], size: str, beamlet_mm: float
) -> None:
    """Dose + adjoint without a cut-off, against `A @ x` and `A.T @ w` of the float32 CSR matrix cut at 50 mm."""
    case = sized_problem(size, beamlet_mm=beamlet_mm)
    matrix = case.operator.tocsr(cutoff_mm=CUTOFF_MM)
    fluence, weights = case.fluence.astype(np.float32), case.weights.astype(np.float32)
    dose, back = measure(
        lambda: (case.operator.dose(case.fluence), case.operator.adjoint(case.weights)),
        operation="dose + adjoint, no cut-off",
        problem=case.text,
        other=lambda: Other(
            f"SciPy CSR products, cut at {CUTOFF_MM:g} mm, {matrix.nnz / 1e6:.3g} million entries",
            cpu_seconds(lambda: (matrix @ fluence, matrix.T @ weights)),
        ),
    )
    voxels, beamlets = case.operator.shape
    assert matrix.shape == (voxels, beamlets)
    assert matrix.data.dtype == np.float32
    assert 0 < matrix.nnz <= case.pairs
    # What is cut off is missing in SciPy's products, and nothing else.
    assert np.all(matrix @ fluence <= dose + 1e-4 * dose.max())
    assert np.all(matrix.T @ weights <= back + 1e-4 * back.max())
    assert (matrix @ fluence).sum() > 0.5 * dose.sum()


@dataclass(frozen=True, slots=True, eq=False)
class PeerMatrix:
    """The matrix of the peer: where it has entries, its processor seconds, and all that is needed to repeat it."""

    name: str
    rays: str
    density: Volume
    grid: Grid
    beamlets: Beamlets
    voxels: np.ndarray
    cutoff_mm: float
    pattern: sparse.csr_array
    cpu_s: float
    setup_s: float


@pytest.fixture(scope="module", params=RAYS)
def peer_matrix(request: pytest.FixtureRequest) -> PeerMatrix:
    """TG119, three beams; the faster round of the peer."""
    peer: Path | None = request.config.getoption("--peers")
    if peer is None:
        pytest.skip("pyRadPlan runs in an environment of its own (extra `peers`): --peers PYTHON")
    told = peers.load(peer, str(PEER_ROUNDS), *(("through-ct",) if request.param == "through-ct" else ()))
    found = {key.removeprefix("matrix_"): value for key, value in told.items()}
    density, beamlets, order = peers.repeated(found, float(found["bixel_mm"]))
    grid = peers.grid_of(found["dose_origin_mm"], found["dose_spacing_mm"], tuple(found["dose_shape"].tolist()))
    voxels, rows = np.unique(found["rows"], return_inverse=True)
    entries = np.ones(rows.size, np.int8), rows, found["column_starts"]
    pattern = sparse.csc_array(entries, shape=(voxels.size, order.size))[:, order].tocsr()
    fastest = int(np.argmin(found["cpu_s"]))
    cutoff_mm, cpu_s, setup_s = float(found["cutoff_mm"]), *(float(found[k][fastest]) for k in ("cpu_s", "setup_s"))
    name, rays = f"pyRadPlan {found['version']}", RAYS[request.param]
    return PeerMatrix(name, rays, density, grid, beamlets, voxels, cutoff_mm, pattern, cpu_s, setup_s)


@pytest.mark.parametrize("part", PARTS)
def test_stored_matrix_of_pyradplan(measure: Callable[..., Any], peer_matrix: PeerMatrix, part: str) -> None:
    """The same beamlets, dose grid, voxels and cut-off; only pairs that both store are counted."""
    peer, machine = peer_matrix, load_machine(MACHINE)

    def prepare() -> DoseInfluence:
        return dose_influence(peer.density, peer.grid, peer.beamlets, machine, voxels=peer.voxels)

    prepared = prepare()
    made = prepared.tocsr(cutoff_mm=peer.cutoff_mm)
    ones = sparse.csr_array((np.ones(made.nnz, np.int8), made.indices, made.indptr), shape=made.shape)
    both = int(ones.multiply(peer.pattern).nnz)
    problem = (
        f"TG119, {peer.voxels.size} voxels of {peer.grid.spacing_mm[0]:g} mm, {len(peer.beamlets.beams)} beams, "
        f"{peer.beamlets.count} beamlets, cut at {peer.cutoff_mm:g} mm: {both / 1e6:.3g} million entries in both"
    )
    runs = {
        "whole": lambda: influence_matrix(
            peer.density, peer.grid, peer.beamlets, machine, voxels=peer.voxels, cutoff_mm=peer.cutoff_mm
        ),
        "with operator": lambda: prepare().tocsr(cutoff_mm=peer.cutoff_mm),
        "matrix alone": lambda: prepared.tocsr(cutoff_mm=peer.cutoff_mm),
    }
    theirs, theirs_s = f"all of calc_dose_influence, {peer.rays}", peer.cpu_s
    if part == "matrix alone":
        theirs, theirs_s = f"without set-up and rays of its beams ({peer.rays})", peer.cpu_s - peer.setup_s
    ours = measure(
        runs[part],
        operation=PARTS[part],
        problem=problem,
        rounds=OUR_ROUNDS,
        other=lambda: Other(f"{peer.name}, {theirs}, faster of {PEER_ROUNDS} rounds", theirs_s),
        more={"entries_both": both, "entries": made.nnz, "entries_other": peer.pattern.nnz},
    )
    assert ours.shape == peer.pattern.shape
    assert both >= 0.98 * peer.pattern.nnz

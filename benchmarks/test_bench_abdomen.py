"""The optimiser and two baselines on random abdomens, each in a process of its own; see `benchmarks.abdomen_run`.

Measure with::

    pytest benchmarks/test_bench_abdomen.py --benchmark-enable --full-size --benchmark-json=RECORD.json

Every run is made once. The seed, one for all sizes, is drawn unless ``--abdomen-seed`` gives it, and stands in the
record. `-k` picks rows of the table: ``-k "small or medium"``. Without ``--full-size`` only the counts of the smallest
case are checked, and that what the independent evaluation says of a dose is what its voxels say.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from benchmarks.abdomen import GOALS, SIZES, abdomen_case, random_seed
from benchmarks.abdomen_judging import judge, reference_dose

pytestmark = pytest.mark.benchmark(timer=time.perf_counter)
ROOT = Path(__file__).resolve().parents[1]
ROWS = {
    "small-escalate": ("small", "escalate"),
    "small-tail_means": ("small", "tail_means"),
    "small-part_of_tail_means": ("small", "tail_means", "--share", "0.1"),
    "small-quadratic_penalties": ("small", "quadratic_penalties"),
    "medium-escalate": ("medium", "escalate"),
    "medium-against_the_bound": ("medium", "escalate", "--cap-gy", "120"),
    "large-escalate": ("large", "escalate"),
    "tight-escalate": ("tight", "escalate"),
    "tight-escalate_shorter": ("tight", "escalate", "--tries", "4"),
    "tight-search": ("tight", "search"),
    "tight-quadratic_penalties": ("tight", "quadratic_penalties"),
}


@pytest.fixture(scope="module")
def seed(request: pytest.FixtureRequest) -> int:
    """As given, else drawn."""
    given = request.config.getoption("--abdomen-seed")
    return random_seed() if given is None else int(given)


def test_counts_of_the_smallest_case(seed: int) -> None:
    """Counts of what is optimised; D95 of an open field at the scale that keeps the organ goals."""
    case = abdomen_case("tiny", seed, backend="numpy")
    voxels, beamlets = case.influence.shape
    assert case.criteria == len(GOALS) == 19, case.text
    assert voxels == pytest.approx(SIZES["tiny"].voxels, rel=0.15), case.text
    assert beamlets == pytest.approx(SIZES["tiny"].beamlets, rel=0.25), case.text
    dose = reference_dose(case, np.ones(beamlets))
    judged = judge(case, dose)
    region = case.goals.lesions[0]
    inside = dose.values.reshape(-1)[case.influence.voxels[region.positions]]
    below = region.cc[inside < judged.d95_gy * (1 - 1e-9)].sum() / region.cc.sum()
    assert below <= 0.05 + 1e-9, case.text
    assert judged.scaled_d95_gy <= case.goals.cap_gy * 1.001, case.text


@pytest.mark.parametrize("row", ROWS.values(), ids=ROWS)
def test_way(request: pytest.FixtureRequest, benchmark: Any, size: str, seed: int, row: tuple[str, ...]) -> None:
    """One row of the table."""
    if size != "full":
        pytest.skip("measured with --benchmark-enable --full-size only")
    option = request.config.getoption
    words = [*row, "--seed", seed, "--threads", option("--threads"), "--search-s", option("--search-s")]
    words += ["--limit-s", option("--limit-s")]
    found = benchmark.pedantic(_in_own_process, args=([str(word) for word in words], option("--threads")), rounds=1)
    benchmark.extra_info["abdomen"] = found
    print(f"\n{found}")
    if row[1] in ("escalate", "search"):
        assert found["worst_pct"] == 0.0, f"{found['worst']} is exceeded"


def _in_own_process(words: list[str], threads: int) -> dict[str, Any]:
    """What `benchmarks.abdomen_run` prints, with its threads limited before anything is loaded."""
    limited = {name: str(threads) for name in ("OPENBLAS_NUM_THREADS", "OMP_NUM_THREADS", "NUMBA_NUM_THREADS")}
    command = [sys.executable, "-m", "benchmarks.abdomen_run", *words]
    path = os.pathsep.join(filter(None, (str(ROOT), os.environ.get("PYTHONPATH"))))
    environment = {**os.environ, **limited, "PYTHONPATH": path}
    done = subprocess.run(command, cwd=ROOT, env=environment, check=True, stdout=subprocess.PIPE, text=True)
    found: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return found

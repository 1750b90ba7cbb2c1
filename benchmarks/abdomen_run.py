"""Optimise one abdomen case in one way, in a process of its own, and say what it cost and reached, as JSON.

`python -m benchmarks.abdomen_run SIZE HOW [--seed N]`, HOW one of `escalate`, `tail_means`, `quadratic_penalties` and
`search`. Without a seed one is drawn, printed and recorded, so that the case can be made again. Time is that of the
optimisation alone, after a run on a tiny case that loads and compiles everything; memory is the peak of the whole
process. Linux only (resident size from /proc).
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import os
import sys
import time
from collections.abc import Callable
from typing import Any

import numba
import numpy as np
import numpy.typing as npt
from threadpoolctl import threadpool_limits

from benchmarks.abdomen import SIZES, AbdomenCase, abdomen_case, random_seed
from benchmarks.abdomen_baselines import SOLVERS, quadratic_penalties, tail_means
from benchmarks.abdomen_judging import judge, reference_dose
from benchmarks.abdomen_search import search
from benchmarks.memory import resident_mb
from dosecalc import InfeasibleError
from optimize.effort import TRIES
from optimize.escalate import escalate

WARM_UP_SEED = 2

Answer = tuple[npt.NDArray[np.float64] | None, dict[str, Any]]
"""A fluence (B,), None where none was found, and what else is to be recorded."""


def by_escalation(case: AbdomenCase, options: argparse.Namespace) -> Answer:
    """The optimiser of this project."""
    try:
        result = escalate(case.influence, case.goals, tries=options.tries, progress=_tell)
    except InfeasibleError as error:
        return None, {"said": str(error)}
    said = f"{len(result.levels)} levels"
    return result.fluence, {"bound_gy": result.bound_gy, "gap_fixed": result.gap_fixed, "said": said}


def by_tail_means(case: AbdomenCase, options: argparse.Namespace) -> Answer:
    """Every voxel, or a share of them, in CVXPY."""
    found = tail_means(case, solver=options.solver, limit_s=options.limit_s, share=options.share)
    return found.fluence, {"said": found.said, "share": options.share}


def by_quadratic_penalties(case: AbdomenCase, options: argparse.Namespace) -> Answer:
    """L-BFGS-B."""
    found = quadratic_penalties(case)
    return found.fluence, {"said": found.said}


def by_search(case: AbdomenCase, options: argparse.Namespace) -> Answer:
    """Five starts and a long search."""
    found = search(case, seconds=options.search_s, tell=_tell)
    said = f"{found.tried} plans in {found.seconds:.0f} s, best of the starts {found.of_starts_gy:.2f} Gy"
    return found.fluence, {"said": said, "of_starts_gy": found.of_starts_gy, "tried": found.tried}


HOW: dict[str, Callable[[AbdomenCase, argparse.Namespace], Answer]] = {
    "escalate": by_escalation,
    "tail_means": by_tail_means,
    "quadratic_penalties": by_quadratic_penalties,
    "search": by_search,
}


def measured(size: str, how: str, options: argparse.Namespace) -> dict[str, Any]:
    """What one way makes of one case: its cost, and what an independent evaluation finds."""
    case = abdomen_case(size, options.seed, cap_gy=options.cap_gy)
    _tell(case.text)
    before_mb, load = resident_mb(), os.getloadavg()[0]
    wall, cpu = time.perf_counter(), time.process_time()
    fluence, more = HOW[how](case, options)
    wall, cpu = time.perf_counter() - wall, time.process_time() - cpu
    found = {
        "size": size, "how": how, "seed": options.seed, "cap_gy": options.cap_gy, "tries": options.tries,
        "problem": case.text,
        "voxels": case.influence.shape[0], "beamlets": case.influence.shape[1], "criteria": case.criteria,
        "wall_s": wall, "cpu_s": cpu, "load": load, "threads": options.threads,
        "before_mb": before_mb, "peak_mb": resident_mb("VmHWM"), **more,
    }  # fmt: skip
    if fluence is not None:
        found |= dataclasses.asdict(judge(case, reference_dose(case, fluence)))
    return found


def options_of(arguments: list[str]) -> argparse.Namespace:
    """Command line."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.abdomen_run", description=(__doc__ or "").splitlines()[0]
    )
    parser.add_argument("size", choices=SIZES)
    parser.add_argument("how", choices=HOW)
    parser.add_argument("--seed", type=int, help="of the case; drawn and printed when left out")
    parser.add_argument("--cap-gy", type=float, help="that D95 is raised to (default: the protocol's 60)")
    parser.add_argument("--tries", type=int, default=TRIES, help=f"of the escalation (default {TRIES})")
    parser.add_argument("--threads", type=int, default=1, help="of numba and BLAS (default 1)")
    parser.add_argument("--solver", choices=SOLVERS, default="HIGHS", help="of tail_means (default HIGHS)")
    parser.add_argument("--share", type=float, default=1.0, help="of the voxels that tail_means holds (default 1)")
    parser.add_argument("--limit-s", type=float, default=600.0, help="of the solver of tail_means (default 600)")
    parser.add_argument("--search-s", type=float, default=1800.0, help="of the search (default 1800)")
    options = parser.parse_args(arguments)
    if options.seed is None:
        options.seed = random_seed()
    return options


def main() -> None:
    """Warm up, measure, print JSON on the last line."""
    options = options_of(sys.argv[1:])
    numba.set_num_threads(options.threads)
    with threadpool_limits(limits=options.threads):
        warm = abdomen_case("tiny", WARM_UP_SEED)
        escalate(warm.influence, warm.goals)
        print(json.dumps(measured(options.size, options.how, options)))


def _tell(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


if __name__ == "__main__":
    main()

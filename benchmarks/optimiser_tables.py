"""The table of abdomen cases: what each way of optimising costs, reaches and exceeds."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from benchmarks import markdown
from benchmarks.markdown import number
from optimize.effort import TRIES

Run = dict[str, Any]
HEAD = (
    "case", "beamlets", "voxels", "goals", "way", "wall s", "CPU s", "peak MB (before)", "D95 Gy", "worst excess",
    "D95 Gy within limits", "of bound", "of best",
)  # fmt: skip
WAYS = {
    "escalate": "**escalation**",
    "tail_means": "tail means, CVXPY",
    "quadratic_penalties": "quadratic penalties, L-BFGS-B",
    "search": "five starts and search",
}


def table(runs: Sequence[Run]) -> str:
    """Cases in words, one row for each run, and how each run ended.

    Memory is the peak of the process, and what it held before the optimisation began. "D95 within limits" is that of
    the plan scaled until every mandatory organ goal holds. "Of bound" is that dose over the dose that the optimiser
    proves no plan to exceed, "of best" over the best that is known of the case.
    """
    if not runs:
        return ""
    cases = "\n".join(f"- {text}" for text in dict.fromkeys(run["problem"] for run in runs))
    notes = "\n".join(f"- {run['size']}, {_way(run)} (load {run['load']:.0f}): {run['said']}" for run in runs)
    return "\n\n".join((cases, markdown.table(HEAD, [_row(run, runs) for run in runs]), notes))


def _row(run: Run, runs: Sequence[Run]) -> tuple[str, ...]:
    counts = tuple(str(run[name]) for name in ("beamlets", "voxels", "criteria"))
    peak = f"{number(run['peak_mb'])} ({number(run['before_mb'])})"
    told = (run["size"], *counts, _way(run), number(run["wall_s"]), number(run["cpu_s"]), peak)
    if "d95_gy" not in run:
        return (*told, "no plan", "", "", "", "")
    alike = [each for each in runs if _case(each) == _case(run)]
    bound = next((each["bound_gy"] for each in alike if each.get("bound_gy")), None)
    searched = any(each["how"] == "search" for each in alike)
    best = max(each.get("scaled_d95_gy", 0.0) for each in alike) if searched else None
    kept = run["scaled_d95_gy"]
    excess = f"{run['worst']} +{run['worst_pct']:.1f} %" if run["worst"] else "none"
    shares = (f"{100 * min(kept / most, 1.0):.1f} %" if most else "" for most in (bound, best))
    return (*told, f"{run['d95_gy']:.2f}", excess, f"{kept:.2f}", *shares)


def _case(run: Run) -> tuple[Any, ...]:
    return run["size"], run["seed"], run.get("cap_gy")


def _way(run: Run) -> str:
    share, cap_gy = run.get("share", 1.0), run.get("cap_gy")
    of = f", {share:.0%} of the voxels" if share < 1 else ""
    if run.get("tries", TRIES) != TRIES and run["how"] == "escalate":
        of += f", {run['tries']} tries"
    return WAYS[run["how"]] + of + ("" if cap_gy is None else f", cap raised to {cap_gy:g} Gy")

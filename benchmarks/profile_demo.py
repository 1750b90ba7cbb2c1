"""Where the time of `dosecalc demo` goes, step by step, as a table in Markdown.

`python -m benchmarks.profile_demo` runs it (about two minutes) and takes the stopwatch of its run record;
`python -m benchmarks.profile_demo RUN.json` prints that of a run that is there.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

DEMO = "from optimize.cli import main; main()"


def table(record: Mapping[str, Any], wall_s: float | None = None) -> str:
    """Steps by falling share of the wall time.

    Parameters
    ----------
    record : dict
        What run.json holds.
    wall_s : float, optional
        Of the whole process; what the steps leave is start, synthetic patient, reading and report.
    """
    steps = dict(record["timings_s"])
    if wall_s is not None:
        steps["start, patient, reading, report"] = wall_s - sum(steps.values())
    total = sum(steps.values())
    rows = [(name, s, 100 * s / total) for name, s in sorted(steps.items(), key=lambda step: -step[1])]
    lines = [f"| {name} | {seconds:.1f} | {share:.0f} % |" for name, seconds, share in (*rows, ("all", total, 100))]
    head = f"backend {record['backend']}, commit {str(record['commit'])[:10]}"
    return "\n".join((head, "", "| step | wall s | share |", "| --- | --- | --- |", *lines))


def main() -> None:
    """Command line."""
    if len(sys.argv) > 1:
        print(table(json.loads(Path(sys.argv[1]).read_text(encoding="utf-8"))))
        return
    with tempfile.TemporaryDirectory(prefix="dosecalc-profile-") as scratch:
        out = Path(scratch) / "demo"
        print(f"{os.cpu_count()} cores, load average {os.getloadavg()[0]:.1f}")
        began = time.perf_counter()
        subprocess.run([sys.executable, "-c", DEMO, "demo", "--out", out], check=True)
        wall_s = time.perf_counter() - began
        print(table(json.loads((out / "run.json").read_text(encoding="utf-8")), wall_s))


if __name__ == "__main__":
    main()

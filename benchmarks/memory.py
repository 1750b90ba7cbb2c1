"""Memory of a dose operator: what its arrays hold, and what the process grew by.

`python -m benchmarks.memory SIZE BEAMLET_MM` prints both for one of the sizes of `benchmarks.cases`, as JSON. It runs
in a process of its own, so that nothing else counts; Linux only (resident size from /proc).
"""

from __future__ import annotations

import dataclasses
import gc
import json
import sys
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.cases import sized_problem

MB = 1e6


def array_bytes(held: Any) -> int:
    """Bytes of the distinct NumPy arrays that an object holds, through dataclasses, tuples, lists and dicts.

    An array that is met twice, or as a view of another one, counts once, with the size of its owner.
    """
    owners: dict[int, int] = {}
    _collect(held, owners)
    return sum(owners.values())


def _collect(held: Any, owners: dict[int, int]) -> None:
    if isinstance(held, np.ndarray):
        while isinstance(held.base, np.ndarray):
            held = held.base
        owners[id(held)] = held.nbytes
    elif dataclasses.is_dataclass(held) and not isinstance(held, type):
        for field in dataclasses.fields(held):
            _collect(getattr(held, field.name), owners)
    elif isinstance(held, dict):
        _collect(list(held.values()), owners)
    elif isinstance(held, (tuple, list)):
        for each in held:
            _collect(each, owners)


def resident_mb(which: str = "VmRSS") -> float:
    """Resident memory of this process; with "VmHWM" its peak.

    The peak that `getrusage` reports includes the process that started this one.
    """
    status = Path("/proc/self/status").read_text(encoding="ascii")
    kib = next(line.split()[1] for line in status.splitlines() if line.startswith(f"{which}:"))
    return int(kib) * 1024 / MB


def main() -> None:
    """Command line."""
    size, beamlet_mm = sys.argv[1], float(sys.argv[2])
    # Kernels are loaded, the machine is read and the products have run before anything is counted.
    small = sized_problem("tiny", beamlet_mm=beamlet_mm)
    small.operator.adjoint(small.operator.dose(small.fluence))
    gc.collect()
    before = resident_mb()
    problem = sized_problem(size, beamlet_mm=beamlet_mm)
    gc.collect()
    built = resident_mb()
    problem.operator.adjoint(problem.operator.dose(problem.fluence))
    found = {
        "problem": problem.text,
        "arrays_mb": array_bytes(problem.operator) / MB,
        "resident_growth_mb": built - before,
        "peak_growth_mb": resident_mb("VmHWM") - before,
    }
    print(json.dumps(found))


if __name__ == "__main__":
    main()

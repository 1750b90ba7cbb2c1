"""What a dose operator holds in memory, and how long `import dosecalc` takes; each in processes of their own.

Measure with::

    pytest benchmarks/test_bench_dose_start.py --benchmark-enable --full-size
"""

from __future__ import annotations

import json
import statistics
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).resolve().parents[1]
IMPORTS = ("import dosecalc", "from dosecalc import dose_influence")
"""The package alone, whose names are loaded when they are first asked for, and one that needs the kernels."""


def printed(*arguments: str) -> str:
    """Standard output of a new Python process."""
    done = subprocess.run([sys.executable, *arguments], check=True, capture_output=True, text=True, cwd=ROOT)
    return done.stdout


def test_memory(benchmark: Any, state: Callable[..., None], size: str) -> None:
    """The arrays of `DoseInfluence`, and what the process grew by, with one dose and one adjoint at the peak."""
    found = json.loads(benchmark.pedantic(lambda: printed("-m", "benchmarks.memory", size, "5"), rounds=1))
    state("arrays of the operator", found["arrays_mb"], "MB", found["problem"])
    state("resident memory, growth when it is made", found["resident_growth_mb"], "MB", found["problem"])
    state("the same at the peak, dose + adjoint", found["peak_growth_mb"], "MB", found["problem"])
    assert found["arrays_mb"] > 0
    assert found["resident_growth_mb"] <= found["peak_growth_mb"]


@pytest.mark.parametrize("line", IMPORTS)
def test_import(benchmark: Any, state: Callable[..., None], size: str, line: str) -> None:
    """Wall seconds of the import alone, the interpreter running."""
    timed = f"import time; begin = time.perf_counter(); {line}; print(time.perf_counter() - begin)"
    seconds: list[float] = []
    benchmark.pedantic(lambda: seconds.append(float(printed("-c", timed))), rounds=1 if size == "tiny" else 5)
    state(f"`{line}`, wall time", statistics.median(seconds), "s", f"median of {len(seconds)} cold processes")
    assert min(seconds) > 0

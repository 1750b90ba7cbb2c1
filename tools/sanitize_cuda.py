"""Run the CUDA kernels on the cases of their tests under sanitizers, and keep what those say.

``python tools/sanitize_cuda.py gpu`` runs NVIDIA's compute-sanitizer on the GPU at hand: memcheck (accesses out of
bounds or not aligned), racecheck (shared memory), initcheck (memory read before it is written), synccheck (barriers).
``python tools/sanitize_cuda.py cpu`` runs the same source on this CPU through the shim of the tests, compiled with the
address and the undefined behaviour sanitizer of g++, under which NumPy's arrays are watched too. ``-k`` picks tests as
pytest does. The log goes to benchmarks/records/DATE-sanitizer-gpu.log or -cpu.log; the exit code is that of the first
run that failed.
"""

from __future__ import annotations

import argparse
import datetime
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
TWINS = ("cuda_twins", "place_twins", "fill_near", "device_memory", "together")
TESTS = tuple(f"tests/twins/test_{name}.py" for name in TWINS)
TOOLS = ("memcheck", "racecheck", "initcheck", "synccheck")
FAULT = 99
"""Exit code of compute-sanitizer where it has found something."""
LAST_LINES = 40


def main() -> int:
    """Command line."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("where", choices=("gpu", "cpu"))
    parser.add_argument("-k", default="", metavar="EXPRESSION", help="tests to run; all by default")
    parser.add_argument("--out", type=Path, help="log (default: benchmarks/records/DATE-sanitizer-WHERE.log)")
    given = parser.parse_args()
    log = given.out or ROOT / "benchmarks" / "records" / f"{datetime.date.today()}-sanitizer-{given.where}.log"
    runs = on_gpu(given.k) if given.where == "gpu" else on_cpu(given.k)
    told, failed = [f"commit {_commit()}"], 0
    for name, command, environment in runs:
        done = subprocess.run(command, cwd=ROOT, env={**os.environ, **environment}, capture_output=True, text=True)
        lines = (done.stdout + done.stderr).splitlines()
        told += [f"== {name}: exit code {done.returncode}", *lines[-LAST_LINES:]]
        failed = failed or done.returncode
    log.write_text(_without_folders("\n".join(told)) + "\n", encoding="utf-8")
    sys.stdout.write(f"{'failed' if failed else 'clean'}: {log}\n")
    return failed


def on_gpu(chosen: str) -> list[tuple[str, list[str], dict[str, str]]]:
    """Name, command and environment of each run on the GPU."""
    sanitizer = shutil.which("compute-sanitizer")
    if sanitizer is None:
        sys.exit("compute-sanitizer is not on the PATH; it comes with the CUDA toolkit.")
    tests = _pytest("cupy", chosen)
    # CuPy's pool would hide accesses beyond an array that stay inside the pool's own blocks.
    environment = {"DOSECALC_TEST_BACKENDS": "cupy", "DOSECALC_TEST_CUPY_POOL": "off"}
    return [
        (tool, [sanitizer, "--tool", tool, "--error-exitcode", str(FAULT), "--print-limit", "20", *tests], environment)
        for tool in TOOLS
    ]


def on_cpu(chosen: str) -> list[tuple[str, list[str], dict[str, str]]]:
    """The same on this CPU."""
    compiler = os.environ.get("CXX", "g++")
    found = subprocess.run([compiler, "-print-file-name=libasan.so"], check=True, capture_output=True, text=True).stdout
    environment = {
        "DOSECALC_TEST_BACKENDS": "cuda-shim",
        "DOSECALC_SHIM_FLAGS": "-g -fsanitize=address,undefined -fno-sanitize-recover=all",
        # Python was not built with the sanitizer, which must therefore be loaded before it.
        "LD_PRELOAD": found.strip(),
        "ASAN_OPTIONS": "detect_leaks=0",
    }
    return [("address and undefined behaviour", _pytest("not numba and not cupy", chosen), environment)]


def _pytest(backends: str, chosen: str) -> list[str]:
    expression = f"{backends} and ({chosen})" if chosen else backends
    return [sys.executable, "-m", "pytest", "-q", "-s", *TESTS, "-k", expression]


def _commit() -> str:
    asked = ["git", "describe", "--always", "--dirty", "--abbrev=10"]
    return subprocess.run(asked, cwd=ROOT, capture_output=True, text=True).stdout.strip()


def _without_folders(text: str) -> str:
    return re.sub(r"(?<![\w.~-])/(?:[^/\s]+/)+", "", text)


if __name__ == "__main__":
    sys.exit(main())

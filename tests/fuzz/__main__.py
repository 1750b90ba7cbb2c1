"""A campaign of any size: ``python -m tests.fuzz --mutants 5000 --seconds 600``."""

from __future__ import annotations

import argparse
import math
import sys
import time
from pathlib import Path

from .campaign import run
from .seeds import FORMATS


def main() -> int:
    """Print one line for each format, then the faults; 1 if there are any."""
    parser = argparse.ArgumentParser(prog="python -m tests.fuzz", description=__doc__)
    parser.add_argument("--mutants", type=int, default=5000, help="for each format")
    parser.add_argument("--seconds", type=float, default=math.inf, help="at most, for each format")
    parser.add_argument("--first", type=int, default=0, help="number of the first mutant")
    parser.add_argument("--formats", nargs="+", choices=FORMATS, default=list(FORMATS))
    parser.add_argument("--keep", type=Path, help="folder for the files of the faults")
    given = parser.parse_args()
    faults = []
    for name in given.formats:
        start = time.monotonic()
        outcome = run(name, given.mutants, first=given.first, seconds=given.seconds, keep=given.keep)
        faults += outcome.faults
        counts = ", ".join(f"{outcome.counts[key]} {key}" for key in ("refused", "same", "told", "different", "faults"))
        print(
            f"{name:15s} {counts}; slowest {outcome.slowest_s:.2f} s, memory +{outcome.memory / 2**20:.0f} MiB, "
            f"{time.monotonic() - start:.0f} s in all",
            flush=True,
        )
    print(*faults[:200], sep="\n")
    return int(bool(faults))


if __name__ == "__main__":
    sys.exit(main())

"""Print the accuracy table: `python -m benchmarks.accuracy [--data FOLDER] [--out FILE ...] [--peers PYTHON]`."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from . import elekta, monte_carlo, peers, published
from .rows import as_text, summary, write


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.accuracy",
        description="Compare the dose with Monte Carlo, measurements, published values and another planning system.",
    )
    beside = Path(__file__).resolve().parents[3] / "shared"
    parser.add_argument("--data", type=Path, default=beside, help="folder of the reference data (holds physics/)")
    parser.add_argument("--out", type=Path, action="append", default=[], help=".json or .md file to write; repeatable")
    parser.add_argument("--peers", type=Path, help="Python of an environment with pyRadPlan and numpy (extra `peers`)")
    arguments = parser.parse_args()
    rows = [
        *monte_carlo.rows(arguments.data),
        *elekta.rows(arguments.data),
        *published.rows(arguments.data),
        *peers.rows(arguments.peers),
    ]
    print(as_text(rows))
    print(summary(rows))
    for path in arguments.out:
        write(rows, path)
    sys.exit(0)


if __name__ == "__main__":
    main()

"""What is kept of a run: pytest-benchmark's JSON without what nobody reads again.

`pytest-benchmark compare A.json B.json` reads it as it reads its own files.
"""

from __future__ import annotations

import json
import re
import shlex
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

# What `pytest-benchmark compare` prints.
KEPT_STATS = (
    "min", "max", "mean", "stddev", "median", "iqr", "outliers", "ops", "rounds", "iterations",
)  # fmt: skip
SIGNIFICANT_DIGITS = 5
ABSOLUTE_FOLDER = re.compile(r"(?<![\w.~-])/(?:[^/]+/)*")


@dataclass(frozen=True, slots=True)
class Other:
    """What an operation is compared with, measured in the same run: its name, processor seconds and threads."""

    name: str
    cpu_s: float
    threads: int = 1


def slim(output_json: dict[str, Any], *, command: str) -> None:
    """Leave out times of single rounds, options and branch names, round to five digits, and name the command."""
    output_json["command"] = command
    output_json["commit_info"] = {key: output_json["commit_info"].get(key) for key in ("id", "time", "dirty")}
    for bench in output_json["benchmarks"]:
        bench.pop("options", None)
        bench["stats"] = {key: bench["stats"][key] for key in KEPT_STATS}
    output_json["benchmarks"] = _rounded(output_json["benchmarks"])


def command_line(arguments: Iterable[object]) -> str:
    """The command in words, without the folders of the machine that it ran on."""
    return shlex.join(("pytest", *(ABSOLUTE_FOLDER.sub("", str(word)) for word in arguments)))


def read_record(path: Path) -> dict[str, Any]:
    """A record as it was written."""
    found: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    return found


def _rounded(value: Any) -> Any:
    if isinstance(value, float):
        return float(f"{value:.{SIGNIFICANT_DIGITS}g}")
    if isinstance(value, dict):
        return {key: _rounded(each) for key, each in value.items()}
    if isinstance(value, (list, tuple)):
        return [_rounded(each) for each in value]
    return value

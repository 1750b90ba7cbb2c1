"""The two terminals, and the options that several groups of verbs share."""

from __future__ import annotations

import json
import sys
from typing import Annotated, Any

import typer
from rich.console import Console

out_console = Console()
err_console = Console(stderr=True)

AsJson = Annotated[bool, typer.Option("--json", help="Print JSON instead of a table.")]
AcceptLimit = Annotated[
    list[str] | None, typer.Option("--accept-limit", help="Id of an unverified mandatory limit to accept; repeatable.")
]


def print_json(record: Any) -> None:
    """A record as JSON on standard output, without NaN."""
    sys.stdout.write(json.dumps(record, indent=1, allow_nan=False, default=str) + "\n")

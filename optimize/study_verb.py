"""The verb `study`: a cohort planned under several protocols."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.markup import escape

from .console import AsJson, err_console, out_console, print_json
from .tables import print_beside, print_table
from .terminal import tell


def study_command(
    study: Annotated[Path, typer.Argument(help=escape("TOML file with [[patients]] and [[arms]]; docs/studies.md."))],
    out: Annotated[Path, typer.Option("--out", help="Folder of the plans; what is finished there is kept.")],
    as_json: AsJson = False,
) -> None:
    """Plan every patient of a cohort under every arm and compare the arms; goes on where it was interrupted."""
    from dosecalc.dicom.writing import replacing
    from dosecalc.errors import VerificationError

    from .study import run_study
    from .study_file import read_study
    from .study_table import arm_table, differences, write_rows

    rows = run_study(read_study(study), study.absolute().parent, out, progress=tell)
    table = out / "study.csv"
    out.mkdir(parents=True, exist_ok=True)
    with replacing(table) as temporary:
        temporary.write_text(write_rows(rows), encoding="utf-8")
    arms, compared = arm_table(rows), differences(rows)
    if as_json:
        record: dict[str, Any] = {"rows": [dataclasses.asdict(row) for row in rows], "arms": arms}
        print_json(record | {"differences": [dataclasses.asdict(each) for each in compared]})
    else:
        print_beside(out_console, "Arms: how the plans ended, and medians over them", arms, "arm")
        if compared:
            print_table(out_console, f"Differences from {rows[0].arm} in the same patients", _shown(compared))
        told = f"written: {table}. Research only: nothing here is for clinical use."
        out_console.print(told, highlight=False, markup=False, soft_wrap=True)
    refused = [row for row in rows if row.status == "refused"]
    for row in refused:
        err_console.print(f"{row.patient}, {row.arm}: {escape(row.message)}", highlight=False, soft_wrap=True)
    if refused:
        raise VerificationError(f"{len(refused)} of {len(rows)} plans were refused; the rest stand in {table}.")


def _shown(compared: Any) -> list[dict[str, Any]]:
    return [
        {
            "arm": each.arm,
            "figure": each.figure,
            "pairs": each.pairs,
            "mean difference": f"{each.mean:+.1f}",
            "95 % interval": "-" if each.low is None else f"{each.low:+.1f} to {each.high:+.1f}",
        }
        for each in compared
    ]

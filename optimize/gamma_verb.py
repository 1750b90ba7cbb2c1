"""The verb `gamma`: two RTDOSE files compared."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import numpy as np
import typer

from .console import AsJson, err_console, out_console, print_json
from .tables import print_record


def gamma_command(
    reference: Annotated[Path, typer.Argument(help="RTDOSE that is taken as true; percentages are of its maximum.")],
    evaluated: Annotated[Path, typer.Argument(help="RTDOSE that is judged; interpolated, so let it be the finer.")],
    percent: Annotated[float, typer.Option("--percent", help="Dose difference that counts as one, in %.")] = 3.0,
    distance_mm: Annotated[float, typer.Option("--distance-mm", help="Distance that counts as one.")] = 2.0,
    local: Annotated[bool, typer.Option("--local", help="Percent of each point's dose, not of the maximum.")] = False,
    threshold_percent: Annotated[
        float, typer.Option("--threshold-percent", help="Points below this share of the maximum are left out.")
    ] = 10.0,
    maximum_gy: Annotated[
        float | None, typer.Option("--maximum-gy", help="Dose that percentages are of, instead of the maximum.")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Gamma index of two doses (3 % of the maximum, 2 mm, from 10 % on: AAPM TG-218); raw, nothing is normalised."""
    from dosecalc import gamma_index, read_rtdose
    from dosecalc.dicom import frame_of_reference

    truth = read_rtdose(reference)
    judged = read_rtdose(evaluated, frame_of_reference_uid=frame_of_reference(reference))
    found = gamma_index(
        truth,
        judged,
        percent=percent,
        distance_mm=distance_mm,
        local=local,
        threshold_percent=threshold_percent,
        maximum_gy=maximum_gy,
    )
    compared = found.compared
    record: dict[str, Any] = {
        "criteria": found.criteria,
        "pass_percent": found.pass_percent,
        "points_compared": compared.size,
        "points_uncovered": found.uncovered,
        "mean": float(compared.mean()),
        "p95": float(np.percentile(compared, 95)),
        "largest": float(compared.max()),
        "search_ended_at": found.most,
    }
    if found.uncovered:
        err_console.print(
            f"{found.uncovered} points above the threshold lie outside the evaluated dose and were not compared.",
            highlight=False,
        )
    if as_json:
        print_json(record)
        return
    largest = f"{record['largest']:.2f}" if record["largest"] < found.most else f"{found.most:g} or more"
    print_record(
        out_console,
        {
            "criteria": found.criteria,
            "gamma <= 1": f"{found.pass_percent:.2f} % of {compared.size} points",
            "mean, 95th percentile, largest": f"{record['mean']:.2f}, {record['p95']:.2f}, {largest}",
        },
    )

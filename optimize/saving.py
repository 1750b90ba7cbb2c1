"""Write a plan's outputs: into a staging folder that takes its final name only when it is complete."""

from __future__ import annotations

import csv
import dataclasses
import json
import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from dosecalc.beams import Beamlets
from dosecalc.dicom import write_rtdose, write_rtstruct
from dosecalc.errors import OutputError

from .dvh import DVH_COLUMNS, dvh_rows
from .fluence_file import write_fluence
from .planning import Plan
from .report import render_report
from .results import to_json

REJECTED_SUFFIX = ".rejected"
INCOMPLETE_SUFFIX = ".incomplete"
OUTPUTS = ("report.html", "rtdose.dcm", "rtstruct.dcm", "evaluation.json", "dvh.csv", "run.json", "fluence.npz")


def refuse_existing(out: str | Path, *, overwrite: bool) -> Path:
    """The output folder as a path, refused when it exists already.

    Raises
    ------
    OutputError
        It exists and `overwrite` is false or it holds other files too, or its parent folder does not exist.
    """
    path = Path(out)
    if path.exists() and not overwrite:
        raise OutputError(
            "the output folder exists already.", where=str(path), remedy="Name a new one or add --overwrite."
        )
    if path.exists() and not path.is_dir():
        raise OutputError("the output is a file, not a folder.", where=str(path), remedy="Name a folder.")
    strange = sorted(p.name for p in path.iterdir() if p.name not in OUTPUTS) if path.exists() else []
    if strange:
        raise OutputError(
            f"--overwrite replaces a folder of results, but this one also holds {strange[0]!r}"
            + (f" and {len(strange) - 1} more." if strange[1:] else "."),
            where=str(path),
            remedy="Name another folder.",
        )
    above = path.absolute().parent
    if not above.is_dir():
        raise OutputError("the folder above it does not exist.", where=str(path), remedy="Create it first.")
    if not os.access(above, os.W_OK | os.X_OK):
        raise OutputError("the folder above it may not be written to.", where=str(path), remedy="Name another place.")
    return path


def refuse_outputs(out: str | Path, *, overwrite: bool) -> None:
    """`refuse_existing` for both folders that a plan may end in, before any work.

    Raises
    ------
    OutputError
        As `refuse_existing`.
    """
    path = refuse_existing(out, overwrite=overwrite)
    refuse_existing(_rejected(path), overwrite=overwrite)


def save_plan(plan: Plan, out: str | Path, *, overwrite: bool = False) -> Path:
    """Write every output of the contract.

    A plan that breaks a mandatory limit on the reference dose, or on the sum with an earlier one, is written to
    ``OUT.rejected`` only.

    Parameters
    ----------
    plan : Plan
    out : str or Path
        Folder to be made.
    overwrite : bool
        Replace an existing folder.

    Returns
    -------
    Path
        The folder that was written.

    Raises
    ------
    OutputError
        The folder exists or cannot be written, or the report cannot be drawn: all else is then in
        ``OUT.incomplete``.
    """
    path = Path(out)
    if not plan.evaluation.accepted:
        path = _rejected(path)
    with _staging(refuse_existing(path, overwrite=overwrite)) as folder:
        write_json(folder / "evaluation.json", to_json(plan.evaluation))
        write_json(folder / "run.json", dataclasses.asdict(plan.provenance))
        _write_dvh(folder / "dvh.csv", plan)
        write_fluence(folder, plan.fluence, plan.beamlets, interrupted=plan.evaluation.interrupted)
        stated = bool(plan.provenance.density["overrides"])
        comment = f"{plan.protocol.name}, fluence plan, research only"
        write_rtdose(folder / "rtdose.dcm", plan.dose, plan.ct, comment=comment, densities_stated=stated)
        write_rtstruct(folder / "rtstruct.dcm", plan.anatomy.structures, plan.ct)
        try:
            page = render_report(plan)
        except Exception as error:
            raise _without_report(folder, path, error) from error
        (folder / "report.html").write_text(page, encoding="utf-8")
    return path


def _without_report(folder: Path, path: Path, error: Exception) -> OutputError:
    """Keep what took minutes to compute when the report of it cannot be drawn."""
    kept = _incomplete(path)
    shutil.rmtree(kept, ignore_errors=True)
    folder.rename(kept)
    return OutputError(
        f"the report cannot be drawn ({type(error).__name__}: {error}); everything else is in {kept.name}.",
        where=str(path),
        remedy="Use the other files, and report this fault.",
    )


def save_fluence(out: str | Path, fluence: npt.NDArray[np.float64], beamlets: Beamlets, *, interrupted: bool) -> Path:
    """Write an optimised fluence that no plan was made of, alone, to ``OUT.incomplete``: a plan can start from it.

    Raises
    ------
    OutputError
        It cannot be written.
    """
    kept = _incomplete(Path(out))
    shutil.rmtree(kept, ignore_errors=True)
    with _staging(kept) as folder:
        write_fluence(folder, fluence, beamlets, interrupted=interrupted)
    return kept


def save_infeasible(
    out: str | Path, evaluation: dict[str, Any], record: dict[str, Any], *, overwrite: bool = False
) -> Path:
    """Write what an infeasible problem leaves: evaluation.json with the conflicts, and run.json; no dose."""
    with _staging(refuse_existing(out, overwrite=overwrite)) as folder:
        write_json(folder / "evaluation.json", evaluation)
        write_json(folder / "run.json", record)
    return Path(out)


def _incomplete(path: Path) -> Path:
    whole = path.absolute()
    return whole.with_name(whole.name + INCOMPLETE_SUFFIX)


def _rejected(path: Path) -> Path:
    whole = path.absolute()
    return whole.with_name(whole.name + REJECTED_SUFFIX)


def write_json(path: Path, record: dict[str, Any]) -> None:
    """Strict JSON: a number that is not finite is an error, not a `NaN` that no other reader takes."""
    path.write_text(json.dumps(record, indent=1, allow_nan=False) + "\n", encoding="utf-8")


@contextmanager
def _staging(path: Path) -> Iterator[Path]:
    """A folder beside `path` that takes its name when the body ends well, and vanishes when it does not."""
    try:
        folder = Path(tempfile.mkdtemp(prefix=f".{path.name}.", dir=path.absolute().parent))
    except OSError as error:
        raise OutputError(
            f"cannot be written: {error.strerror or error}.", where=str(path), remedy="Check rights and disk."
        ) from error
    try:
        folder.chmod(0o755)
        yield folder
        _sync(folder)
        _take_name(folder, path)
    except OSError as error:
        raise OutputError(
            f"cannot be written: {error.strerror or error}.", where=str(path), remedy="Check rights and disk."
        ) from error
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _take_name(folder: Path, path: Path) -> None:
    if not path.exists():
        folder.rename(path)
        return
    # The old result stays readable until the new one is complete and only then goes.
    old = Path(tempfile.mkdtemp(prefix=f".{path.name}.old.", dir=path.absolute().parent))
    path.rename(old / "was")
    try:
        folder.rename(path)
    except BaseException:
        (old / "was").rename(path)
        raise
    shutil.rmtree(old, ignore_errors=True)


def _sync(folder: Path) -> None:
    for item in [*folder.iterdir(), folder]:
        handle = os.open(item, os.O_RDONLY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)


def _write_dvh(path: Path, plan: Plan) -> None:
    with path.open("w", newline="", encoding="utf-8") as handle:
        writer = csv.writer(handle)
        writer.writerow(DVH_COLUMNS)
        for name, dose_gy, volume_cc, volume_pct in dvh_rows(plan.dose, plan.anatomy.structures):
            writer.writerow([name, f"{dose_gy:.2f}", f"{volume_cc:.4f}", f"{volume_pct:.4f}"])

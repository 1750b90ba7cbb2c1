"""A user's table from CT number to relative electron density, as a TOML or CSV file.

TOML holds what the section [calibration] of a machine file holds. CSV has the header ``hu,relative_electron_density``
and, because a table without its scanner and tube voltage cannot be judged, a line ``# source: ...``.
"""

from __future__ import annotations

import csv
import hashlib
import tomllib
from pathlib import Path
from typing import Any

import numpy as np

from .density import HuCalibration
from .errors import InputError, UnsafeInputError
from .machine_file import CalibrationSection, validated

TABLE_LIMIT = 2**18  # bytes: tables have tens of rows
QUANTITY = "electron density relative to water"
COLUMNS = ("hu", "relative_electron_density")
_REMEDY = (
    f'Write TOML with quantity = "{QUANTITY}", hu, relative_electron_density and source, or CSV with the header '
    f'{",".join(COLUMNS)} and a line "# source: scanner, tube voltage, date".'
)


def read_hu_table(path: str | Path) -> HuCalibration:
    """Read and check a table.

    Parameters
    ----------
    path : str or Path
        Ends in .toml or .csv.

    Returns
    -------
    HuCalibration
        With the SHA-256 of the file.

    Raises
    ------
    InputError
        Unreadable, another quantity (mass density, for one), columns missing or unknown, values out of order, no
        source.
    """
    file = Path(path)
    content, where = _content(file), str(path)
    data = _toml(content, where) if file.suffix.lower() == ".toml" else _csv(content, where)
    section = validated(CalibrationSection, data, where=where, what="the table of CT numbers", remedy=_REMEDY)
    if not section.source.isprintable():
        raise InputError("its source holds characters that cannot be printed.", where=where, remedy=_REMEDY)
    columns = np.asarray(section.hu), np.asarray(section.relative_electron_density)
    try:
        return HuCalibration(*columns, section.source, hashlib.sha256(content).hexdigest())
    except InputError as error:
        raise InputError(error.message, where=where, remedy=error.remedy) from error


def _content(file: Path) -> bytes:
    if file.suffix.lower() not in (".toml", ".csv"):
        raise InputError("the table of CT numbers is neither .toml nor .csv.", where=str(file), remedy=_REMEDY)
    try:
        if file.stat().st_size > TABLE_LIMIT:
            raise UnsafeInputError(f"has more than {TABLE_LIMIT // 2**10} KiB.", where=str(file))
        return file.read_bytes()
    except OSError as error:
        raise InputError(
            f"cannot be read: {error.strerror or error}.", where=str(file), remedy="Check the path."
        ) from error


def _toml(content: bytes, where: str) -> dict[str, Any]:
    try:
        return tomllib.loads(content.decode("utf-8"))
    except (ValueError, RecursionError) as error:
        raise InputError(f"this is not a TOML file: {error}.", where=where, remedy=_REMEDY) from error


def _csv(content: bytes, where: str) -> dict[str, Any]:
    """The columns under the names of their header, and the source of the comment."""
    try:
        lines = [line.strip() for line in content.decode("utf-8-sig").splitlines() if line.strip()]
        rows = list(csv.reader(line for line in lines if not line.startswith("#")))
    except (ValueError, csv.Error) as error:
        raise InputError(f"this is not a CSV file: {error}.", where=where, remedy=_REMEDY) from error
    header = tuple(cell.strip() for cell in rows[0]) if rows else ()
    if header != COLUMNS:
        raise InputError(
            f"its header is {','.join(header)[:80]!r}, expected {','.join(COLUMNS)!r}: mass density or stopping power "
            "is another quantity.",
            where=where,
            remedy=_REMEDY,
        )
    if odd := next((k for k, row in enumerate(rows) if len(row) != len(COLUMNS)), None):
        raise InputError(f"row {odd} has {len(rows[odd])} columns, expected 2.", where=where, remedy=_REMEDY)
    comments = (line.lstrip("# ").partition(":") for line in lines if line.startswith("#"))
    source = next((text.strip() for key, _, text in comments if key.strip().lower() == "source"), "")
    hu, density = zip(*rows[1:], strict=True) if rows[1:] else ((), ())
    return {"quantity": QUANTITY, "hu": hu, "relative_electron_density": density, "source": source}

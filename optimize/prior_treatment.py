"""An earlier treatment: its dose on this frame of reference, its fractions, and what counts as recovered."""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from dosecalc.dicom import read_rtdose
from dosecalc.errors import InputError, UsageError
from dosecalc.grid import Volume


@dataclass(frozen=True, slots=True, eq=False)
class PriorTreatment:
    """An earlier treatment.

    Attributes
    ----------
    dose : Volume
        Course-total physical dose in Gy.
    fractions : int
    recovery : float
        Share of its EQD2 that counts as recovered, 0 (none) up to but not including 1.

    Raises
    ------
    UsageError
        The number of fractions or the recovery is out of range.
    """

    dose: Volume
    fractions: int
    recovery: float = 0.0

    def __post_init__(self) -> None:
        if self.fractions < 1:
            raise UsageError(f"the earlier treatment has {self.fractions} fractions, at least 1 is needed.")
        if not (math.isfinite(self.recovery) and 0.0 <= self.recovery < 1.0):
            raise UsageError(
                f"the recovery is {self.recovery:g}, expected a share from 0 (none) to below 1.",
                remedy="Give a quarter as 0.25.",
            )

    @property
    def record(self) -> dict[str, float]:
        """For the run record; the file's hash stands among those of the input."""
        return {
            "fractions": self.fractions,
            "recovery": self.recovery,
            "largest_gy": float(np.max(self.dose.values)),
        }


def read_prior(
    path: Path | None, fractions: int | None, recovery: float, frame_of_reference_uid: str | None
) -> PriorTreatment | None:
    """The earlier treatment that a command names, or None.

    Parameters
    ----------
    path : Path, optional
        RTDOSE file.
    fractions : int, optional
    recovery : float
    frame_of_reference_uid : str or None
        Of the structures; the dose must share it.

    Raises
    ------
    UsageError
        A dose without its fractions, or fractions or recovery without a dose.
    InputError
        The file cannot be used, or the structures state no frame of reference.
    """
    if path is None:
        if fractions is not None or recovery:
            raise UsageError(
                "fractions or recovery of an earlier treatment without its dose.", remedy="Add --prior-dose."
            )
        return None
    if fractions is None:
        raise UsageError(
            "an earlier dose without its number of fractions cannot be converted.", remedy="Add --prior-fractions."
        )
    if frame_of_reference_uid is None:
        raise InputError(
            "the structures state no frame of reference, so an earlier dose cannot be placed.",
            where=str(path),
            remedy="Use an RTSTRUCT or a DICOM SEG.",
        )
    return PriorTreatment(read_rtdose(path, frame_of_reference_uid=frame_of_reference_uid), fractions, recovery)

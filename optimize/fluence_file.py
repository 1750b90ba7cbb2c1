"""The file of a plan's fluence: written with every plan, read to start another one from it."""

from __future__ import annotations

import zipfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from dosecalc.beams import Beamlets
from dosecalc.errors import InputError

from .warm_start import WarmStart

Array = npt.NDArray[Any]

FLUENCE_FILE = "fluence.npz"
SAME = 1e-3
"""Places in mm and angles in degrees that differ by less are the same: files hold them in float64."""
_OF_BEAMS = {
    "gantry_deg": "gantry in degrees",
    "couch_deg": "couch in degrees",
    "collimator_deg": "collimator in degrees",
    "isocentre_mm": "isocentre in mm",
    "patient_position": "patient position",
}
_OF_BEAMLETS = {
    "beam_index": "beam",
    "u_mm": "u in mm",
    "v_mm": "v in mm",
    "width_u_mm": "width along u in mm",
    "width_v_mm": "width along v in mm",
}


@dataclass(frozen=True, slots=True, eq=False)
class EarlierPlan:
    """The fluence of an earlier plan.

    Attributes
    ----------
    arrays : dict
        What its file holds: see `fluence_arrays`.
    where : str
        Its file.
    """

    arrays: dict[str, Array]
    where: str

    def start_for(self, beamlets: Beamlets) -> WarmStart:
        """Its fluence, for a plan with the same beams and beamlets.

        Raises
        ------
        InputError
            They differ; names the first difference.
        """
        ours = fluence_arrays(np.zeros(beamlets.count), beamlets, interrupted=False)
        for one, names in (("beam", _OF_BEAMS), ("beamlet", _OF_BEAMLETS)):
            for name, what in names.items():
                self._compare(one, what, self.arrays[name], ours[name])
        return WarmStart(self.arrays["fluence"], not bool(self.arrays["interrupted"]))

    def _compare(self, one: str, what: str, there: Array, here: Array) -> None:
        """Refuse arrays (n, ...) of beams or beamlets that differ."""
        if len(there) != len(here):
            self._refuse(f"it has {len(there)} {one}s, this plan has {len(here)}")
        differs = there != here if there.dtype.kind == "U" else np.abs(there - here) > SAME
        if (rows := np.flatnonzero(differs.reshape(len(here), -1).any(axis=1))).size:
            values = (np.array2string(array[rows[0]], precision=3) for array in (there, here))
            self._refuse("{} {}: {} is {} there, {} here".format(one, rows[0] + 1, what, *values))

    def _refuse(self, how: str) -> None:
        raise InputError(
            f"a plan cannot start from this one: {how}.",
            where=self.where,
            remedy="Plan with the same target, beams and beamlet width as the earlier plan, or without it.",
        )


def fluence_arrays(fluence: Array, beamlets: Beamlets, *, interrupted: bool) -> dict[str, Array]:
    """What a fluence file holds: the fluence (B,), its beams (n,), its beamlets (B,) in the isocentre plane."""
    beams = beamlets.beams
    return {
        "fluence": fluence,
        "beam_index": beamlets.beam_index,
        "u_mm": beamlets.u_mm,
        "v_mm": beamlets.v_mm,
        "width_u_mm": beamlets.width_u_mm,
        "width_v_mm": beamlets.width_v_mm,
        "gantry_deg": np.array([beam.gantry_deg for beam in beams]),
        "couch_deg": np.array([beam.couch_deg for beam in beams]),
        "collimator_deg": np.array([beam.collimator_deg for beam in beams]),
        "isocentre_mm": np.array([beam.isocentre_mm for beam in beams]),
        "patient_position": np.array([beam.patient_position for beam in beams]),
        "interrupted": np.array(interrupted),
    }


def write_fluence(folder: Path, fluence: Array, beamlets: Beamlets, *, interrupted: bool) -> None:
    """Write the fluence file into a folder."""
    arrays: dict[str, Any] = fluence_arrays(fluence, beamlets, interrupted=interrupted)
    np.savez_compressed(folder / FLUENCE_FILE, **arrays)


def read_earlier_plan(folder: str | Path) -> EarlierPlan:
    """The fluence file of an output folder.

    Raises
    ------
    InputError
        No such file, or one that does not hold what `fluence_arrays` says.
    """
    path = Path(folder) / FLUENCE_FILE
    try:
        with np.load(path, allow_pickle=False) as saved:
            arrays = {name: saved[name] for name in saved.files}
    except (OSError, ValueError, zipfile.BadZipFile, EOFError) as error:
        raise InputError(
            f"no fluence can be read ({error}).", where=str(path), remedy="Name the output folder of a plan."
        ) from error
    _check(arrays, str(path))
    return EarlierPlan(arrays, str(path))


def _check(arrays: dict[str, Array], where: str) -> None:
    """Refuse what is missing, of another shape, or no finite number."""
    if missing := [name for name in ("fluence", *_OF_BEAMLETS, *_OF_BEAMS, "interrupted") if name not in arrays]:
        raise InputError(
            f"the fluence file lacks {', '.join(missing)}.", where=where, remedy="Plan again with this version."
        )
    shapes = dict.fromkeys(("fluence", *_OF_BEAMLETS), arrays["fluence"].shape[:1])
    shapes |= dict.fromkeys(_OF_BEAMS, arrays["gantry_deg"].shape[:1])
    shapes |= {"isocentre_mm": (*shapes["isocentre_mm"], 3), "interrupted": ()}
    for name, shape in shapes.items():
        given = arrays[name]
        kinds = "U" if name == "patient_position" else "biuf"
        if given.shape != shape or given.dtype.kind not in kinds or (kinds != "U" and not np.isfinite(given).all()):
            raise InputError(
                f"{name} of the fluence file has shape {given.shape} and type {given.dtype}, or is not finite; "
                f"expected is shape {shape}.",
                where=where,
            )
    if arrays["fluence"].min(initial=0.0) < 0 or not arrays["fluence"].any():
        raise InputError("the fluence is negative somewhere, or nothing but zeros.", where=where)

"""Whether structures belong to a scan."""

from __future__ import annotations

from collections.abc import Collection
from pathlib import Path

from ..errors import InputError
from .series import CtSeries


def check_belongs(
    frame_of_reference_uid: str, referenced_series: Collection[str], ct: CtSeries, file: Path, notices: list[str]
) -> None:
    """Refuse structures of another scan; what cannot be told is added to `notices`.

    They belong when they share the frame of reference, or, where the images state none, refer to the series.

    Raises
    ------
    InputError
        They do not belong, or nothing tells that they do.
    """
    if not ct.is_dicom:
        notices.append("structures: the CT image has no frame of reference; that they belong to it is not checked.")
        return
    if ct.states_frame and frame_of_reference_uid == ct.frame_of_reference_uid:
        return
    if not ct.states_frame and ct.series_instance_uid in referenced_series:
        return
    fault = (
        "its frame of reference is not that of the CT."
        if ct.states_frame
        else "it does not refer to the CT series, which states no frame of reference by which it could belong."
    )
    raise InputError(
        fault,
        where=str(file),
        remedy="Use the structures that were drawn on this CT, or register them first.",
    )

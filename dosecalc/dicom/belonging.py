"""Whether structures belong to a scan."""

from __future__ import annotations

from collections.abc import Collection
from pathlib import Path

from ..errors import InputError
from .series import CtSeries


def check_belongs(
    frame_of_reference_uid: str,
    referenced_series: Collection[str],
    referenced_images: Collection[str],
    ct: CtSeries,
    file: Path,
    notices: list[str],
) -> None:
    """Refuse structures of another scan; what cannot be told is added to `notices`.

    They belong when they share the frame of reference, or, where the images state none, refer to the series. Several
    series may share a frame (phases, contrast), with organs in other places: structures of another one are told.

    Raises
    ------
    InputError
        They do not belong, or nothing tells that they do.
    """
    if not ct.is_dicom:
        notices.append("structures: the CT image has no frame of reference; that they belong to it is not checked.")
        return
    if ct.states_frame and frame_of_reference_uid == ct.frame_of_reference_uid:
        notices += _other_images(referenced_series, referenced_images, ct)
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


def _other_images(series: Collection[str], images: Collection[str], ct: CtSeries) -> list[str]:
    """What is said of structures that refer to images beside those of the CT."""
    foreign = len(set(images) - set(ct.sop_instance_uids)) if ct.sop_instance_uids else 0
    known = bool(images) and bool(ct.sop_instance_uids)
    if (known and foreign == len(images)) or (not known and series and ct.series_instance_uid not in series):
        return [
            "structures: were drawn on another series than this CT, in the same frame of reference; that the anatomy "
            "is the same in both is not checked."
        ]
    if foreign:
        return [f"structures: {foreign} of the {len(images)} images that they were drawn on are not in this CT."]
    return []

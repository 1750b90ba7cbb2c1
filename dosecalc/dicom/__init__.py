"""DICOM readers and writers: leaves that only build and read the types."""

from .ct import read_ct_series
from .rtdose import frame_of_reference, read_rtdose, write_rtdose
from .rtstruct import read_rtstruct
from .seg import read_seg
from .series import CtSeries, PatientStudy, synthetic_series
from .write_ct import write_ct_series
from .write_rtstruct import write_rtstruct

__all__ = [
    "CtSeries",
    "PatientStudy",
    "frame_of_reference",
    "read_ct_series",
    "read_rtdose",
    "read_rtstruct",
    "read_seg",
    "synthetic_series",
    "write_ct_series",
    "write_rtdose",
    "write_rtstruct",
]

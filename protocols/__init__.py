"""Prescriptions, goals and biological dose: declarations with sources, and pure formulas."""

from .errors import ProtocolError
from .goals import Goal, SourcedDose
from .loading import available, json_schema, load
from .metrics import (
    CriticalVolume,
    DoseAtVolume,
    MaxDose,
    MeanDose,
    Metric,
    MinDose,
    StructureVolume,
    VolumeAtDose,
    parse_metric,
)
from .prescription import HotSpot, OutsidePtv, Prescription
from .radiobiology import bed, eqd2, lq_validity
from .schema import SCHEMA_VERSION, Planning, Protocol

__all__ = [
    "SCHEMA_VERSION",
    "CriticalVolume",
    "DoseAtVolume",
    "Goal",
    "HotSpot",
    "MaxDose",
    "MeanDose",
    "Metric",
    "MinDose",
    "OutsidePtv",
    "Planning",
    "Prescription",
    "Protocol",
    "ProtocolError",
    "SourcedDose",
    "StructureVolume",
    "VolumeAtDose",
    "available",
    "bed",
    "eqd2",
    "json_schema",
    "load",
    "lq_validity",
    "parse_metric",
]

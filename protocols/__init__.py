"""Prescriptions, goals and biological dose: declarations with sources, and pure formulas."""

from .errors import ProtocolError
from .expressions import Expression, Named, Operation, names_in, parse_expression
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
from .prescription import HotSpot, LesionPrescription, OutsidePtv, Prescription
from .radiobiology import (
    H460,
    LQL_TRANSITION_GY,
    UniversalSurvival,
    bed,
    dose_of_bed,
    dose_of_eqd2,
    eqd2,
    lq_validity,
)
from .schema import SCHEMA_VERSION, DerivedStructure, Planning, Protocol, SidedMargin

__all__ = [
    "H460",
    "LQL_TRANSITION_GY",
    "SCHEMA_VERSION",
    "CriticalVolume",
    "DerivedStructure",
    "DoseAtVolume",
    "Expression",
    "Goal",
    "HotSpot",
    "LesionPrescription",
    "MaxDose",
    "MeanDose",
    "Metric",
    "MinDose",
    "Named",
    "Operation",
    "OutsidePtv",
    "Planning",
    "Prescription",
    "Protocol",
    "ProtocolError",
    "SidedMargin",
    "SourcedDose",
    "StructureVolume",
    "UniversalSurvival",
    "VolumeAtDose",
    "available",
    "bed",
    "dose_of_bed",
    "dose_of_eqd2",
    "eqd2",
    "json_schema",
    "load",
    "lq_validity",
    "names_in",
    "parse_expression",
    "parse_metric",
]

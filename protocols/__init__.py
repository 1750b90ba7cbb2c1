"""Prescriptions, goals and biological dose: declarations with sources, and pure formulas."""

from .errors import ProtocolError
from .expressions import Expression, Named, Operation, names_in, parse_expression
from .goals import Goal, SourcedDose
from .json_schemas import json_schema
from .limits import ConstraintSet, PublishedLimit, available_sets, load_set
from .loading import available, load
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
from .radiobiology import bed, eqd2, lq_validity
from .schema import SCHEMA_VERSION, DerivedStructure, Planning, Protocol, SidedMargin

__all__ = [
    "SCHEMA_VERSION",
    "ConstraintSet",
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
    "PublishedLimit",
    "SidedMargin",
    "SourcedDose",
    "StructureVolume",
    "VolumeAtDose",
    "available",
    "available_sets",
    "bed",
    "eqd2",
    "json_schema",
    "load",
    "load_set",
    "lq_validity",
    "names_in",
    "parse_expression",
    "parse_metric",
]

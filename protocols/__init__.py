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
from .outcome_models import OutcomeModels, outcome_models
from .prescription import HotSpot, LesionPrescription, OutsidePtv, Prescription
from .radiobiology import (
    H460,
    LQ,
    LQL,
    LQL_TRANSITION_GY,
    Conversion,
    UniversalSurvival,
    bed,
    dose_of_bed,
    dose_of_eqd2,
    eqd2,
    lq_validity,
)
from .relaxing import relaxations, relaxed
from .schema import SCHEMA_VERSION, DerivedStructure, Planning, Protocol, SidedMargin

__all__ = [
    "H460",
    "LQ",
    "LQL",
    "LQL_TRANSITION_GY",
    "SCHEMA_VERSION",
    "ConstraintSet",
    "Conversion",
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
    "OutcomeModels",
    "OutsidePtv",
    "Planning",
    "Prescription",
    "Protocol",
    "ProtocolError",
    "PublishedLimit",
    "SidedMargin",
    "SourcedDose",
    "StructureVolume",
    "UniversalSurvival",
    "VolumeAtDose",
    "available",
    "available_sets",
    "bed",
    "dose_of_bed",
    "dose_of_eqd2",
    "eqd2",
    "json_schema",
    "load",
    "load_set",
    "lq_validity",
    "names_in",
    "outcome_models",
    "parse_expression",
    "parse_metric",
    "relaxations",
    "relaxed",
]

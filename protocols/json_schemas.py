"""JSON Schemas of the files of this package, for completion and checks in editors."""

from __future__ import annotations

import re
from typing import Any

from pydantic import BaseModel

from .composition import Composition, PlanningPart, PrescriptionPart
from .errors import ProtocolError
from .faults import nearest
from .files import PLANNING, PRESCRIPTION, Kind
from .limits import ConstraintSet, available_sets, published_limits
from .schema import Protocol

KINDS: dict[str, type[BaseModel]] = {
    "protocol": Protocol,
    "constraints": ConstraintSet,
    "prescription": PrescriptionPart,
    "planning": PlanningPart,
}


def json_schema(kind: str = "protocol") -> dict[str, Any]:
    """The JSON Schema (draft 2020-12) of a protocol file, or of one of its parts.

    Parameters
    ----------
    kind : str
        "protocol", "constraints", "prescription" or "planning".

    Raises
    ------
    ProtocolError
        There is no such kind of file.
    """
    if kind not in KINDS:
        message = f"there is no kind of file {kind!r}; there are {', '.join(KINDS)}.{nearest(kind, tuple(KINDS))}"
        raise ProtocolError(message)
    schema = KINDS[kind].model_json_schema(mode="validation")
    if kind == "protocol":
        _add_composition(schema)
    structures = sorted({limit.structure for _, limit in published_limits()}, key=str.lower)
    for part in (schema, *schema.get("$defs", {}).values()):
        _describe(part)
        if "metric" in part.get("properties", {}) and "structure" in part["properties"]:
            part["properties"]["structure"]["examples"] = structures
    return {"$schema": "https://json-schema.org/draft/2020-12/schema", **schema}


def _describe(part: dict[str, Any]) -> None:
    """Move what a docstring says of single keys from the whole to the keys, where an editor shows it."""
    whole, _, told = part.get("description", "").partition("\n\nAttributes\n----------\n")
    if told:
        part["description"] = whole
    for names, text in re.findall(r"^(\S.*?) : .*\n((?:    .*(?:\n|$))+)", told, re.MULTILINE):
        for name in names.split(", "):
            if name in part["properties"]:
                part["properties"][name]["description"] = " ".join(text.split())


def _add_composition(schema: dict[str, Any]) -> None:
    """Let a protocol name its parts instead of spelling them out."""
    composition = Composition.model_json_schema(mode="validation")
    schema["$defs"] |= composition["$defs"]
    properties = schema["properties"]
    properties |= composition["properties"]
    schema["$defs"]["SetUse"]["properties"]["set"]["examples"] = list(available_sets())
    for key, kind in (("prescription", PRESCRIPTION), ("planning", PLANNING)):
        properties[key] = {"anyOf": [properties[key], _name_of(kind)]}
    schema["required"].remove("goals")
    schema["anyOf"] = [{"required": ["goals"]}, {"required": ["constraints"]}]


def _name_of(kind: Kind) -> dict[str, Any]:
    return {
        "type": "string",
        "description": f"The name of a shipped {kind.name}, or the path of a TOML file.",
        "examples": list(kind.shipped),
    }

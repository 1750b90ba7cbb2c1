"""Faults of a protocol file in one sentence each, starting with the path of the key."""

from __future__ import annotations

import difflib
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, get_args

from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails

from .goals import IMPLIED
from .schema import COMPOSED_KEYS, MARGIN_KINDS, Protocol, repeated_ids

# Finding the nearest name takes too long for the hundred thousand unknown keys that a megabyte can hold.
MOST_HINTS = 1000


def nearest(name: str, known: Sequence[str]) -> str:
    """' Did you mean ...?' with the known name most like `name`, or nothing."""
    lower = {text.lower(): text for text in known}
    close = difflib.get_close_matches(name[:64].lower(), list(lower), n=1, cutoff=0.6)
    return f" Did you mean {lower[close[0]]!r}?" if close else ""


def faults_of(error: ValidationError, raw: Mapping[str, Any], model: type[BaseModel] = Protocol) -> tuple[str, ...]:
    """Every fault of the parsed file `raw` against its `model`: those that pydantic found, and repeated ids."""
    details = error.errors(include_url=False)
    wrong_metrics = {detail["loc"][:-1] for detail in details if detail["loc"][-1:] == ("metric",)}
    hints = len(details) <= MOST_HINTS
    lines = [
        f"{_path(detail['loc'], raw)}: {_sentence(detail, model if hints else None)}"
        for detail in details
        if not (_implied(detail) and detail["loc"][:-1] in wrong_metrics)
    ]
    if repeated := repeated_ids(list(_ids(raw))):
        lines.append(f"goals: {repeated}")
    return tuple(dict.fromkeys(lines))


def _implied(detail: ErrorDetails) -> bool:
    """Whether a key is missing that a critical volume would have implied, had its text been readable."""
    is_critical_volume = str(_get(detail["input"], "metric")).startswith("CV")
    return detail["type"] == "missing" and is_critical_volume and detail["loc"][-1] in IMPLIED


def _ids(raw: Mapping[str, Any]) -> Iterator[str]:
    """The ids of all goals of the file, as far as it has any."""
    goals = raw.get("goals")
    prescription = raw.get("prescription")
    target_goals = [_get(prescription, key) for key in ("gtv_d98", "ptv_mean_max")]
    for goal in [*(goals if isinstance(goals, list) else []), *target_goals]:
        if isinstance(goal_id := _get(goal, "id"), str):
            yield goal_id


def _get(table: object, key: str) -> object:
    return table.get(key) if isinstance(table, Mapping) else None


def _path(loc: tuple[int | str, ...], raw: Mapping[str, Any]) -> str:
    """The key as a user would look for it: ``goals[3].limit (C018)``."""
    path, goal_id = "", ""
    node: Any = raw
    for part in loc:
        if part in MARGIN_KINDS:
            continue
        path += f"[{part}]" if isinstance(part, int) else f".{_shown(part)}"
        try:
            node = node[part]
        except (KeyError, IndexError, TypeError):
            node = None
        if isinstance(found := _get(node, "id"), str):
            goal_id = f" ({found[:64]!r})"
    # The one fault that concerns no single key is the one of repeated ids.
    return (path.removeprefix(".") or "goals") + goal_id


def _shown(key: str) -> str:
    """A key of the user's file, short and without control characters."""
    return key if key.isprintable() and len(key) <= 64 else repr(key[:64])


def _sentence(detail: ErrorDetails, model: type[BaseModel] | None) -> str:
    """The fault in words; the nearest known key is looked for in `model`, where one is given."""
    kind, got = detail["type"], detail["input"]
    if kind == "extra_forbidden":
        known = _known_keys(detail["loc"][:-1], model) if model else []
        return "unknown key." + nearest(str(detail["loc"][-1]), known)
    if kind == "missing":
        unit = " No number is read without its unit: Gy, cc, % or ratio." if detail["loc"][-1] == "unit" else ""
        return f"this key is missing.{unit}"
    if kind == "float_type" and isinstance(got, str):
        return f"Input should be a valid number without quotes and unit, got {_got(got)}."
    if kind == "model_type" and isinstance(got, str | int | float):
        return f"expected a table with {_keys_of(detail, model)}, got {_got(got)}: no number stands without its source."
    if kind == "literal_error":
        return _not_among(detail)
    if kind == "protocol":
        return detail["msg"]
    return f"{detail['msg']}, got {_got(got)}."


def _keys_of(detail: ErrorDetails, model: type[BaseModel] | None) -> str:
    """The keys that a table must have which was written as a single value."""
    return ", ".join(_known_keys(detail["loc"], model)[:3]) if model else "keys"


def _got(value: object) -> str:
    """A value of the user's file, short; Python refuses to print integers of more than 4300 digits."""
    try:
        return repr(value)[:80] if isinstance(value, str | int | float) else f"a {type(value).__name__}"
    except ValueError:
        return "a number with thousands of digits"


def _not_among(detail: ErrorDetails) -> str:
    """A value that is none of the allowed words."""
    got, allowed = detail["input"], detail["ctx"]["expected"]
    sentence = f"expected one of {allowed}, got {_got(got)}."
    if got == "cGy":
        return f"{sentence} Doses are in Gy (100 cGy = 1 Gy)."
    words = [word for word in allowed.replace(" or ", ", ").replace("'", "").split(", ") if word]
    return sentence + (nearest(got, words) if isinstance(got, str) else "")


def _known_keys(loc: tuple[int | str, ...], root: type[BaseModel]) -> list[str]:
    """The keys that the table at `loc` of a file may have."""
    model: type[BaseModel] | None = root
    if not loc and root is Protocol:
        return [*Protocol.model_fields, *COMPOSED_KEYS]
    for part in loc:
        if isinstance(part, str) and model is not None:
            model = _model_in(model.model_fields[part].annotation) if part in model.model_fields else None
    return list(model.model_fields) if model else []


def _model_in(annotation: Any) -> type[BaseModel] | None:
    """The pydantic model inside an annotation such as ``tuple[Goal, ...]`` or ``Goal | None``."""
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return annotation
    return next((model for inner in get_args(annotation) if (model := _model_in(inner))), None)

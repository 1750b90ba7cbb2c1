"""The kinds of value that a protocol file holds, and how a fault of one key is told."""

from __future__ import annotations

from typing import Annotated, Literal, TypeAlias

from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    PlainSerializer,
    PlainValidator,
    StringConstraints,
    ValidationInfo,
    WithJsonSchema,
)
from pydantic_core import PydanticCustomError

from .errors import ProtocolError
from .expressions import FORMS as EXPRESSION_FORMS
from .expressions import Expression, Named, Operation, parse_expression
from .metrics import FORMS, Metric, parse_metric

Status: TypeAlias = Literal["SEED", "VERIFIED", "VERIFIED_2ND", "COMPUTED", "REMEMBERED"]
Level: TypeAlias = Literal["mandatory", "optimal"]
LevelBy: TypeAlias = Literal["source", "editorial"]
Comparator: TypeAlias = Literal["<", "<=", ">", ">="]
Population: TypeAlias = Literal["liver_metastases", "primary_liver"]
Basis: TypeAlias = Literal["isocentre", "max", "periphery_isodose", "D95", "D98", "mean_PTV", "mean_GTV"]

# A status that no text backs: such a number steers a plan only when the user accepts it by name.
UNREAD: tuple[Status, ...] = ("COMPUTED", "REMEMBERED")

# Control characters would reach terminals and reports. 64 characters is the longest ROI name in DICOM.
Name = Annotated[str, StringConstraints(pattern=r"^[^\x00-\x1f\x7f]{1,64}$")]
Identifier = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9][A-Za-z0-9_.-]{0,63}$")]
_PRINTABLE = r"^[^\x00-\x08\x0b-\x1f\x7f]*$"
Text = Annotated[str, StringConstraints(strip_whitespace=True, min_length=1, max_length=4000, pattern=_PRINTABLE)]
Note = Annotated[str, StringConstraints(strip_whitespace=True, max_length=4000, pattern=_PRINTABLE)]
Positive = Annotated[float, Field(strict=True, gt=0, allow_inf_nan=False)]


def fault(message: str) -> PydanticCustomError:
    """A fault of one key, in this package's words; braces in user text stay as they are."""
    return PydanticCustomError("protocol", "{text}", {"text": message})


def metric_of(value: object) -> Metric:
    """The metric that a value from a file names; a metric stays what it is."""
    if isinstance(value, Metric):
        return value
    if not isinstance(value, str):
        raise fault(f"a metric is a text such as 'D0.035cc', got {value!r}.")
    try:
        return parse_metric(value)
    except ProtocolError as error:
        raise fault(str(error)) from error


MetricText = Annotated[
    Metric,
    PlainValidator(metric_of),
    PlainSerializer(str),
    WithJsonSchema({"type": "string", "examples": list(FORMS)}),
]


def expression_of(value: object) -> Expression:
    """The expression that a value from a file states; one that was read stays what it is."""
    if isinstance(value, Named | Operation):
        return value
    if not isinstance(value, str):
        raise fault(f"an expression is a text such as 'ring(PTV, 5, 20)', got {value!r}.")
    try:
        return parse_expression(value)
    except ProtocolError as error:
        raise fault(str(error)) from error


ExpressionText = Annotated[
    Expression,
    PlainValidator(expression_of),
    PlainSerializer(str),
    WithJsonSchema({"type": "string", "examples": list(EXPRESSION_FORMS.values())}),
]


def must_be_read(status: str, name: str, info: ValidationInfo) -> None:
    """Refuse a mandatory number without a text behind it, unless the user accepted it by name."""
    if status not in UNREAD:
        return
    context = info.context or {}
    if name not in context.get("accept_limits", ()):
        raise fault(
            f"a mandatory limit may not rest on a number that was {status.lower()} and never read in a text; "
            f"accept it by name ({name}) or make it optimal."
        )


class Strict(BaseModel):
    """Base of all tables of a protocol file: frozen, and unknown keys are faults."""

    model_config = ConfigDict(frozen=True, extra="forbid")

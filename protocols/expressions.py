"""Expressions that define a structure from others, such as ``ring(PTV, 5, 20)`` or ``minus(Liver, 'V_Portal')``."""

from __future__ import annotations

import ast
import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TypeAlias

from .errors import ProtocolError

FORMS = {
    "union": "union(A, B, ...)",
    "intersection": "intersection(A, B, ...)",
    "minus": "minus(A, B, ...)",
    "grow": "grow(A, mm) or grow(A, right, left, anterior, posterior, inferior, superior) in mm",
    "shrink": "shrink(A, mm)",
    "ring": "ring(A, inner_mm, outer_mm)",
    "rind": "rind(A, depth_mm)",
}
# How many structures and how many numbers each takes; None: two or more.
_OPERANDS = {"union": None, "intersection": None, "minus": None, "grow": 1, "shrink": 1, "ring": 1, "rind": 1}
_NUMBERS = {
    "union": (0,),
    "intersection": (0,),
    "minus": (0,),
    "grow": (1, 6),
    "shrink": (1,),
    "ring": (2,),
    "rind": (1,),
}
MOST_CHARACTERS, MOST_DEPTH = 500, 10


@dataclass(frozen=True, slots=True)
class Named:
    """A structure by its name."""

    name: str

    def __str__(self) -> str:
        return self.name if self.name.isidentifier() else repr(self.name)


@dataclass(frozen=True, slots=True)
class Operation:
    """A function of structures, with its margins in mm."""

    function: str
    operands: tuple[Expression, ...]
    margins_mm: tuple[float, ...]

    def __str__(self) -> str:
        return f"{self.function}({', '.join([*map(str, self.operands), *(f'{mm:g}' for mm in self.margins_mm)])})"


Expression: TypeAlias = Named | Operation


def parse_expression(text: str) -> Expression:
    """Read an expression.

    Names that are no identifiers stand in quotes. Margins are in mm and not negative.

    Raises
    ------
    ProtocolError
        What is wrong, and the forms that there are.
    """
    if len(text) > MOST_CHARACTERS:
        raise _fault(f"an expression has at most {MOST_CHARACTERS} characters, got {len(text)}")
    try:
        tree = ast.parse(text.strip(), mode="eval").body
    except (SyntaxError, ValueError, MemoryError, RecursionError) as error:
        raise _fault(f"{text!r} is not an expression of structures") from error
    return _read(tree, text, 0)


def names_in(expression: Expression) -> Iterator[str]:
    """The names of all structures that an expression refers to, in their order."""
    if isinstance(expression, Named):
        yield expression.name
    else:
        for operand in expression.operands:
            yield from names_in(operand)


def _read(tree: ast.expr, text: str, depth: int) -> Expression:
    if depth > MOST_DEPTH:
        raise _fault(f"{text!r} is nested more than {MOST_DEPTH} deep")
    if isinstance(tree, ast.Name):
        return Named(tree.id)
    if isinstance(tree, ast.Constant) and isinstance(tree.value, str) and tree.value.strip():
        return Named(tree.value)
    if not isinstance(tree, ast.Call):
        raise _fault(f"{ast.unparse(tree)!r} in {text!r} is no structure")
    return _operation(tree, text, depth)


def _operation(call: ast.Call, text: str, depth: int) -> Operation:
    function = call.func.id if isinstance(call.func, ast.Name) else ""
    if function not in FORMS or call.keywords:
        raise _fault(f"{ast.unparse(call)!r} is none of the known forms")
    numbers = [node for node in call.args if _number(node) is not None]
    operands = call.args[: len(call.args) - len(numbers)]
    wanted = _OPERANDS[function]
    enough = len(operands) >= 2 if wanted is None else len(operands) == wanted
    if call.args[len(operands) :] != numbers or not enough or len(numbers) not in _NUMBERS[function]:
        raise _fault(f"{ast.unparse(call)!r} is not of the form {FORMS[function]}")
    margins = tuple(value for node in numbers if (value := _number(node)) is not None)
    if any(not math.isfinite(mm) or mm < 0 for mm in margins) or (function == "ring" and margins[0] >= margins[1]):
        raise _fault(f"{ast.unparse(call)!r} needs margins in mm that are not negative and, for a ring, ascending")
    return Operation(function, tuple(_read(node, text, depth + 1) for node in operands), margins)


def _number(node: ast.expr) -> float | None:
    if isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.USub) and (value := _number(node.operand)) is not None:
        return -value
    if isinstance(node, ast.Constant) and isinstance(node.value, int | float) and not isinstance(node.value, bool):
        try:
            return float(node.value)
        except OverflowError:
            return math.inf
    return None


def _fault(what: str) -> ProtocolError:
    return ProtocolError(f"{what}; there are {'; '.join(FORMS.values())}.")

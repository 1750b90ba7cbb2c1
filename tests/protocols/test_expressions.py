"""Expressions of structures: what they say, and what is refused."""

from __future__ import annotations

import pytest

from protocols import Named, Operation, ProtocolError, names_in, parse_expression


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("PTV", Named("PTV")),
        (" 'Liver-GTV' ", Named("Liver-GTV")),
        ("ring(PTV, 5, 20)", Operation("ring", (Named("PTV"),), (5.0, 20.0))),
        ("union(Stomach, Duodenum)", Operation("union", (Named("Stomach"), Named("Duodenum")), ())),
        ("grow(GTV, 1, 2, 3, 4, 5, 6.5)", Operation("grow", (Named("GTV"),), (1.0, 2.0, 3.0, 4.0, 5.0, 6.5))),
        (
            "minus('Bowel Bag', grow(PTV, 3))",
            Operation("minus", (Named("Bowel Bag"), Operation("grow", (Named("PTV"),), (3.0,))), ()),
        ),
    ],
)
def test_forms_and_their_text(text: str, expected: object) -> None:
    read = parse_expression(text)
    assert read == expected
    assert parse_expression(str(read)) == read


def test_names_in_their_order() -> None:
    assert list(names_in(parse_expression("minus(A, union(B, 'C D'), grow(A, 2))"))) == ["A", "B", "C D", "A"]


@pytest.mark.parametrize(
    "text",
    [
        "",
        "Liver -",
        "Liver - GTV",
        "5",
        "grow(GTV)",
        "grow(GTV, -3)",
        "grow(3, GTV)",
        "grow(GTV, 1, 2)",
        "grow(GTV, True)",
        "grow(GTV, mm=3)",
        "ring(PTV, 20, 5)",
        "minus(Liver)",
        "union(A, B, 3)",
        "dilate(GTV, 3)",
        "__import__('os').system('true')",
        "grow(GTV, 1e999)",
        "grow(" * 20 + "A" + ", 1)" * 20,
        "A" * 501,
    ],
)
def test_anything_else_is_refused_with_the_forms_there_are(text: str) -> None:
    with pytest.raises(ProtocolError) as refusal:
        parse_expression(text)
    assert "ring(A, inner_mm, outer_mm)" in str(refusal.value)

"""Planning values that may be left out: each needs its source once it is set, and is shown where it is."""

from __future__ import annotations

import copy
from typing import Any

import pytest
from pydantic import ValidationError

from protocols import Planning, json_schema, load
from protocols.resolved import resolved
from protocols.schema import OPTIONAL_KEYS

SET = {"reserve_percent": 3.0, "max_fluence_mu": 900.0, "max_variation": 0.4}


def rules(*keys: str, said: tuple[str, ...] | None = None, **other: Any) -> dict[str, Any]:
    """The shipped rules with some of the values, and a choice that says where they come from."""
    table = copy.deepcopy(load("crlm_5fx").planning.model_dump(mode="json", exclude_none=True))
    table |= {key: SET[key] for key in keys} | other
    named = keys if said is None else said
    if named:
        table["choices"].append({"keys": list(named), "level_by": "editorial", "source": "a test"})
    return table


def test_none_of_them_is_set_by_the_shipped_rules() -> None:
    planning = load("crlm_5fx").planning
    assert [getattr(planning, key) for key in OPTIONAL_KEYS] == [None, None, None]
    assert not [row for row in resolved(load("crlm_5fx")) if row.key.removeprefix("planning.") in OPTIONAL_KEYS]


def test_each_is_taken_with_its_source_and_shown() -> None:
    protocol = load("crlm_5fx").model_copy(update={"planning": Planning.model_validate(rules(*SET))})
    shown = {row.key: (row.value, row.source) for row in resolved(protocol)}
    assert shown["planning.reserve_percent"] == ("3.0", "a test")
    assert {f"planning.{key}" for key in SET} <= set(shown)
    described = json_schema()["$defs"]["Planning"]
    assert set(SET) <= set(described["properties"])
    assert not set(SET) & set(described["required"])


@pytest.mark.parametrize(
    ("table", "says"),
    [
        (rules("reserve_percent", said=()), "reserve_percent has none"),
        (rules(said=("max_variation",)), "max_variation is no planning value that has been set"),
        (rules("reserve_percent", reserve_percent=25.0), "less than or equal to 20"),
        (rules("reserve_percent", reserve_percent=-1.0), "greater than 0"),
        (rules("max_fluence_mu", max_fluence_mu=0.0), "greater than 0"),
        (rules("max_variation", max_variation=float("inf")), "finite"),
    ],
)
def test_what_is_wrong_with_one_is_told(table: dict[str, Any], says: str) -> None:
    with pytest.raises(ValidationError, match=says):
        Planning.model_validate(table)

"""Numbers and marks of a plan in words: never more digits than the dose model deserves."""

from __future__ import annotations

import math

from ..results import GoalResult

MINUS = "\N{MINUS SIGN}"
NOTHING = "\N{EN DASH}"
STATUS_WORDS = {
    "SEED": "in a review",
    "VERIFIED": "verified",
    "VERIFIED_2ND": "transcribed",
    "COMPUTED": "computed",
    "REMEMBERED": "remembered",
}
STATUS_KEY = (
    ("verified", "read in the original, or in two independent transcriptions"),
    ("transcribed", "read in one transcription only"),
    ("in a review", "taken from a review document, the original was not read"),
    ("computed", "calculated from a cited relation"),
    ("remembered", "no text was read"),
)
_COMPARATORS = {"<=": "\N{LESS-THAN OR EQUAL TO}", ">=": "\N{GREATER-THAN OR EQUAL TO}"}


def number(value: float | None, digits: int = 1) -> str:
    """A value with fixed digits and a true minus sign, or a dash for None and what is not finite."""
    if value is None or not math.isfinite(value):
        return NOTHING
    text = f"{value:.{digits}f}"
    if float(text) == 0.0:
        text = text.removeprefix("-")
    return text.replace("-", MINUS)


def power(value: float | None) -> str:
    """A small residual with its order of magnitude."""
    return NOTHING if value is None or not math.isfinite(value) else f"{value:.1e}".replace("-", MINUS)


def limit_text(goal: GoalResult) -> str:
    """Comparator, limit and unit; the limit with the digits it was published with, or one if computed."""
    limit = f"{goal.limit:g}" if round(goal.limit, 2) == goal.limit else number(goal.limit)
    return f"{_COMPARATORS.get(goal.comparator, goal.comparator)} {limit} {goal.unit}"


def _digits(goal: GoalResult) -> int:
    """Decimals of a value: one for Gy, cc and percent, two for a ratio of order one."""
    return 2 if goal.unit == "ratio" else 1


def value_text(goal: GoalResult) -> str:
    """The value with its unit."""
    return f"{number(goal.value, _digits(goal))} {goal.unit}" if goal.assessed else NOTHING


def slack_text(goal: GoalResult) -> str:
    """Signed distance to the limit; what the dose model cannot tell from the limit reads so."""
    if not goal.assessed or goal.slack is None:
        return NOTHING
    if goal.binding:
        return "at the limit" if goal.met else "just beyond the limit"
    return f"{'+' if goal.slack > 0 else ''}{number(goal.slack, _digits(goal))} {goal.unit}"


def uncertain_text(goal: GoalResult) -> str:
    """That the dose model cannot tell the value from its limit, with its uncertainty; empty where it can."""
    if not goal.uncertain:
        return ""
    return f"within the dose model's uncertainty of {number(goal.uncertainty, _digits(goal))} {goal.unit}"


def verdict(goal: GoalResult) -> str:
    """ "met", "NOT MET" or "NOT ASSESSED"."""
    if not goal.assessed:
        return "NOT ASSESSED"
    return "met" if goal.met else "NOT MET"


def binding_sentence(goal: GoalResult) -> str:
    """What a goal at its limit says, in plain words."""
    if goal.comparator in (">=", ">"):
        word = "minimum" if goal.level == "mandatory" else "goal"
        what = f"its {goal.level} {word} of {limit_text(goal).split(' ', 1)[1]}"
    else:
        what = f"its {goal.level} limit of {limit_text(goal).split(' ', 1)[1]}"
    beyond = "" if goal.met else " (just beyond it: NOT MET)"
    return f"{goal.structure} {goal.metric} is {value_text(goal)}, at {what}{beyond}."


def note_text(goal: GoalResult) -> str:
    """The note of a result without the words that the verdict already says."""
    return goal.note.removeprefix("NOT ASSESSED: ")

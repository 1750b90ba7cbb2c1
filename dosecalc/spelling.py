"""Spellings of names: what case and accents do not change, and what a slip of the pen does."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable
from functools import lru_cache

_SIDES = dict.fromkeys(("l", "lt", "li", "left", "links", "linke", "gauche", "g"), "l") | dict.fromkeys(
    ("r", "rt", "re", "right", "rechts", "rechte", "droit", "droite", "d"), "r"
)
_VERSIONS = frozenset(("old", "new", "copy", "final", "auto", "total", "whole", "ges", "gesamt"))


def key(name: str) -> str:
    """What two spellings of one name share: letters and digits, without case and accents."""
    return "".join(c for c in _folded(name) if c.isalnum())


def near(name: str, known: Iterable[str]) -> tuple[str, ...]:
    """Up to three known names that `name` is a misspelling of, best first; never one of the other side of the body."""
    given, marks = _spelling(name)
    found = []
    for other in known:
        spelled, its_marks = _spelling(other)
        far = _distance(given, spelled) if given and marks == its_marks else None
        if far is not None:
            found.append((far, other))
    return tuple(other for _, other in sorted(found)[:3])


def _folded(name: str) -> str:
    """Lower case, accents and umlauts as combining characters, ligatures as two letters."""
    return unicodedata.normalize("NFKD", name.casefold().replace("œ", "oe").replace("æ", "ae"))


@lru_cache(maxsize=4096)
def _spelling(name: str) -> tuple[str, tuple[str, ...]]:
    """Letters of a name without numbers and words for its version, and its marks: sides ("l", "r"), single letters.

    Single letters tell an artery from a vein (A_, V_) and upper from lower (S, I) as sides tell left from right.
    """
    parted = re.sub(r"(?<![A-Za-z])[vV]\d+|\d+", " ", re.sub(r"(?<=[a-z])(?=[A-Z])", " ", name))
    words = re.findall(r"[^\W_]+", "".join(c for c in _folded(parted) if not unicodedata.combining(c)))
    marks = sorted(_SIDES.get(word, word) for word in words if word in _SIDES or len(word) == 1)
    letters = (word for word in words if word not in _SIDES and word not in _VERSIONS and len(word) > 1)
    return "".join(letters), tuple(marks)


def _distance(one: str, two: str) -> int | None:
    """Edits (letters put in, left out, replaced) from one spelling to the other; None where that is another word.

    Short words are a letter or two apart without meaning the same (cords and corps, liver and lever).
    """
    longer = max(len(one), len(two))
    allowed = 0 if longer < 6 else 1 if longer < 9 else 2
    if abs(len(one) - len(two)) > allowed or (one != two and one.rstrip("s") == two.rstrip("s")):
        return None
    row = list(range(len(two) + 1))
    for i, letter in enumerate(one, start=1):
        above, row = row, [i]
        for j, other in enumerate(two, start=1):
            row.append(min(above[j] + 1, row[-1] + 1, above[j - 1] + (letter != other)))
    return row[-1] if row[-1] <= allowed else None

"""Terms of the base dependencies: none under the GPL, each one named in THIRD_PARTY.md."""

from __future__ import annotations

import re
from importlib.metadata import PackageNotFoundError, distribution, requires

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from .source_tree import ROOT

COPYLEFT = re.compile(r"\bA?GPL|Affero|(?<!Lesser )General Public", re.IGNORECASE)
LICENCE_NAME_LENGTH = 80
"""Longer texts in the field `License` are whole licences, not names."""


def test_no_base_dependency_is_under_the_gpl():
    """The GPL or AGPL would bind users of this Apache-2.0 software; the LGPL of a linked library does not."""
    terms = {name: declared_licence(name) for name in closure("dosecalc")}
    assert len(terms) > len(direct_dependencies())
    unknown = sorted(name for name, licence in terms.items() if not licence)
    assert unknown == [], "no licence is declared: read the source and name it in THIRD_PARTY.md"
    assert {name: licence for name, licence in terms.items() if _refused(licence)} == {}


@pytest.mark.parametrize(
    ("licence", "refused"),
    [
        ("GPL-3.0-or-later", True),
        ("GNU Affero General Public License v3", True),
        ("AGPL-3.0-only", True),
        ("MIT OR GPL-2.0-only", False),
        ("BSD-3-Clause AND GPL-3.0-or-later WITH GCC-exception-3.1", False),
        ("LGPL-2.1-or-later", False),
        ("GNU Lesser General Public License v3 (LGPLv3)", False),
        ("Apache-2.0 AND GPL-2.0-only", True),
    ],
)
def test_licence_names_are_understood(licence, refused):
    assert _refused(licence) is refused


@pytest.mark.parametrize("extra", ["", "cuda12", "cuda13", "test"])
def test_third_party_lists_every_declared_dependency(extra):
    listed = {
        canonicalize_name(name)
        for name in re.findall(r"^\| \[?([A-Za-z0-9_.-]+)", (ROOT / "THIRD_PARTY.md").read_text(encoding="utf-8"), re.M)
    }
    assert direct_dependencies(extra) - listed == set()


def direct_dependencies(extra: str = "") -> set[str]:
    """Names that the distribution asks for itself, of the base or of one extra."""
    needed = [Requirement(text) for text in requires("dosecalc") or []]
    if not extra:
        return {canonicalize_name(r.name) for r in needed if r.marker is None or r.marker.evaluate({"extra": ""})}
    return {
        canonicalize_name(r.name)
        for r in needed
        if r.marker is not None and r.marker.evaluate({"extra": extra}) and not r.marker.evaluate({"extra": ""})
    }


def closure(root: str) -> set[str]:
    """Names of everything that a base install brings, without the root."""
    found: set[str] = set()
    waiting = [(root, "")]
    visited = set()
    while waiting:
        name, extra = waiting.pop()
        if (name, extra) in visited:
            continue
        visited.add((name, extra))
        found.add(name)
        for requirement in map(Requirement, distribution(name).requires or []):
            if requirement.marker is None or requirement.marker.evaluate({"extra": extra}):
                child = canonicalize_name(requirement.name)
                waiting += [(child, e) for e in ("", *requirement.extras)]
    return found - {canonicalize_name(root)}


def declared_licence(name: str) -> str:
    """What the distribution says: SPDX expression, else classifiers, else the first line of `License`."""
    try:
        fields = distribution(name).metadata
    except PackageNotFoundError:
        pytest.fail(f"{name} is a base dependency but is not installed")
    if expression := fields.get("License-Expression"):
        return expression
    classifiers = [c.split(" :: ")[-1] for c in fields.get_all("Classifier") or [] if c.startswith("License ::")]
    named = [c for c in classifiers if c != "OSI Approved"]
    if named:
        return "; ".join(named)
    first_line = (fields.get("License") or "").strip().partition("\n")[0]
    return first_line[:LICENCE_NAME_LENGTH] if first_line != "UNKNOWN" else ""


def _refused(licence: str) -> bool:
    """Whether every choice that the licence offers includes the GPL or AGPL without a linking exception."""
    choices = re.split(r"\s+OR\s+", licence)
    return all(
        any(COPYLEFT.search(part) and " WITH " not in part for part in re.split(r"\s+AND\s+", choice))
        for choice in choices
    )

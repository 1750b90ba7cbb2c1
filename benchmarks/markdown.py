"""Numbers and tables as the pages of this project print them."""

from __future__ import annotations

from collections.abc import Sequence


def number(value: float) -> str:
    """Three digits, and all before the point."""
    return f"{value:.3g}" if abs(value) < 999.5 else f"{value:.0f}"


def table(head: tuple[str, ...], rows: Sequence[tuple[str, ...]]) -> str:
    """A table in Markdown; nothing without rows."""
    if not rows:
        return ""
    lines = (head, ("---",) * len(head), *rows)
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)

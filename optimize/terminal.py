"""Progress on the terminal: a line for every step and level, and rounds without filling the screen with them."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from rich.markup import escape
from rich.text import Text

from .console import err_console
from .rounds import OnRound, Round

TOLD_STEPS = 10
"""Of so many rounds that only choose voxels one is told where each takes a line: a plan may have some hundred."""


def tell(text: str) -> None:
    """A line on standard error, with the time of day."""
    err_console.print(f"[dim]{time.strftime('%H:%M:%S')}[/dim] {escape(text)}", highlight=False, soft_wrap=True)


@contextmanager
def progress_shown() -> Iterator[tuple[Callable[[str], None], OnRound]]:
    """What is given lines and rounds of a plan.

    Where standard error is a terminal, rounds share one line that is rewritten and vanishes with the next one that is
    given. Elsewhere every round is a line; of those that only choose voxels, every tenth and the last.
    """
    if not err_console.is_terminal:

        def some(done: Round) -> None:
            if (done.steps_left or 0) % TOLD_STEPS == 0:
                tell(str(done))

        yield tell, some
        return
    from rich.live import Live

    with Live(console=err_console, transient=True, auto_refresh=False) as live:

        def step(text: str) -> None:
            live.update("", refresh=True)
            tell(text)

        def show(done: Round) -> None:
            live.update(Text(f"  {done}", style="dim", no_wrap=True, overflow="ellipsis"), refresh=True)

        yield step, show

"""Keep an optimised fluence when a step after the optimisation fails: minutes of work are not lost with the report."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import numpy.typing as npt

from dosecalc.beams import Beamlets
from dosecalc.errors import InterruptionError, ResourceError

from .planning import OnFluence
from .saving import save_fluence


@contextmanager
def rescued(out: Path, progress: Callable[[str], None]) -> Iterator[OnFluence]:
    """Whatever ends the body after it told its fluence, the fluence is then kept in ``OUT.incomplete``.

    Raises
    ------
    InterruptionError
        For a KeyboardInterrupt after the fluence was told; other errors go on as they are.
    """
    known: list[tuple[npt.NDArray[np.float64], Beamlets, bool]] = []

    def keep(fluence: npt.NDArray[np.float64], beamlets: Beamlets, interrupted: bool) -> None:
        known.append((fluence, beamlets, interrupted))

    try:
        yield keep
    except BaseException as error:
        if not known:
            raise
        fluence, beamlets, interrupted = known[-1]
        kept = save_fluence(out, fluence, beamlets, interrupted=interrupted)
        where = f"the optimised fluence is kept in {kept.name}; --warm-start {kept.name} starts from it"
        if isinstance(error, KeyboardInterrupt):
            raise InterruptionError(f"interrupted before the plan was judged; {where}.") from None
        progress(where)
        raise


@contextmanager
def full_memory_told(out: Path) -> Iterator[None]:
    """Memory that ran out, as NumPy and CuPy say it, as an error of this package.

    Raises
    ------
    ResourceError
        In place of a MemoryError.
    """
    try:
        yield
    except MemoryError as error:
        raise ResourceError(
            f"memory ran out: {error}",
            where=str(out),
            remedy="Use a coarser dose grid or larger beamlets, close other programs, or plan on a larger computer.",
        ) from error

"""Mutants of every format through the readers; each must end in a value or in a typed refusal.

A fault is another exception, more than `SECONDS`, more memory than four times the files and `MEMORY`, a file opened
for writing, or a result that differs without a notice although the structure of the file was damaged.
"""

from __future__ import annotations

import logging
import math
import os
import random
import resource
import signal
import sys
import tempfile
import time
import traceback
import warnings
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from dosecalc.errors import DosecalcError
from protocols import ProtocolError

from .mutators import Mutant, mutate
from .seed_model import Format, Result
from .seeds import FORMATS

SECONDS = 10
MEMORY = 300 * 2**20


@dataclass(slots=True)
class Outcome:
    """Counts of refused, same, told (differs, with a notice) and different results, and the faults in full."""

    counts: Counter[str] = field(default_factory=Counter)
    faults: list[str] = field(default_factory=list)
    slowest_s: float = 0.0
    memory: int = 0


class Overdue(BaseException):
    """The time is up; no reader can catch it by accident."""


def run(name: str, mutants: int, *, first: int = 0, seconds: float = math.inf, keep: Path | None = None) -> Outcome:
    """Read the mutants number `first` and following of one format for a while; files of faults are left in `keep`."""
    kind, outcome, end = FORMATS[name], Outcome(), time.monotonic() + seconds
    with tempfile.TemporaryDirectory() as scratch, _silence(), _writes() as written:
        folder = Path(scratch)
        with written.allowed():
            kind.make(folder)
        files = {str(p.relative_to(folder)): p.read_bytes() for p in sorted(folder.rglob("*")) if p.is_file()}
        expected = kind.read(folder)
        for number in range(first, first + mutants):
            if time.monotonic() > end:
                break
            mutant = mutate(random.Random(f"{name} {number}"), files)
            with written.allowed():
                _place(folder, files, mutant)
            before = len(outcome.faults)
            _judge(kind, folder, mutant, expected, outcome, f"{name} {number}")
            outcome.faults += [f"{name} {number} ({mutant.name}): opened {path} for writing" for path in written.take()]
            if keep is not None and len(outcome.faults) > before:
                with written.allowed():
                    _place(keep / f"{name}_{number}", mutant.files, mutant)
            with written.allowed():
                _place(folder, mutant.files, Mutant(files, "", structural=False))
    return outcome


def _place(folder: Path, present: dict[str, bytes], mutant: Mutant) -> None:
    for name, data in mutant.files.items():
        path = folder / name
        if not path.exists() or present.get(name) != data:
            path.parent.mkdir(parents=True, exist_ok=True)
            path.unlink(missing_ok=True)  # some file systems flush a file that is written over
            path.write_bytes(data)


def _judge(kind: Format, folder: Path, mutant: Mutant, expected: Result, outcome: Outcome, label: str) -> None:
    start, peak = time.monotonic(), _peak()
    try:
        with _deadline():
            got = kind.read(folder)
    except (DosecalcError, ProtocolError) as error:
        verdict = "refused"
        str(error)
    except Overdue:
        verdict = f"FAULT: more than {SECONDS} s"
    except Exception as error:  # noqa: BLE001
        last = traceback.extract_tb(error.__traceback__)[-1]
        place = f"{Path(last.filename).name}:{last.lineno}"
        verdict = f"FAULT: {type(error).__name__} {str(error)[:80]} at {place}"
    else:
        verdict = _compared(got, expected, structural=mutant.structural)
    outcome.slowest_s = max(outcome.slowest_s, time.monotonic() - start)
    outcome.memory = max(outcome.memory, _peak() - peak)
    if _peak() - peak > 4 * sum(map(len, mutant.files.values())) + MEMORY:
        verdict = f"FAULT: {(_peak() - peak) / 2**20:.0f} MiB"
    if verdict.startswith("FAULT"):
        outcome.faults.append(f"{label} ({mutant.name}): {verdict.removeprefix('FAULT: ')}")
        verdict = "faults"
    outcome.counts[verdict] += 1


def _compared(got: Result, expected: Result, *, structural: bool) -> str:
    if got.content == expected.content:
        return "same"
    if got.notices != expected.notices:
        return "told"
    return "FAULT: another result without a word" if structural else "different"


def _peak() -> int:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)


@contextmanager
def _deadline() -> Iterator[None]:
    def stop(*_: Any) -> None:
        raise Overdue

    before = signal.signal(signal.SIGALRM, stop)
    signal.setitimer(signal.ITIMER_REAL, SECONDS)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)


@contextmanager
def _silence() -> Iterator[None]:
    """Readers warn a lot here; what they tell is compared, not printed."""
    level = logging.root.manager.disable
    logging.disable(logging.CRITICAL)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        logging.disable(level)


class _Writes:
    """Files opened for writing, made or removed while nobody has allowed it."""

    def __init__(self) -> None:
        self.watching = True
        self._seen: list[str] = []

    def __call__(self, event: str, args: tuple[Any, ...]) -> None:
        if not self.watching:
            return
        if event == "open" and isinstance(args[2], int) and args[2] & (os.O_WRONLY | os.O_RDWR | os.O_CREAT):
            self._seen.append(str(args[0]))
        if event in ("os.mkdir", "os.rename", "os.remove", "os.symlink", "os.link", "subprocess.Popen", "os.system"):
            self._seen.append(f"{event} {args[0]}")

    def take(self) -> list[str]:
        seen, self._seen = self._seen, []
        return seen

    @contextmanager
    def allowed(self) -> Iterator[None]:
        self.watching = False
        try:
            yield
        finally:
            self.watching = True


@contextmanager
def _writes() -> Iterator[_Writes]:
    """An audit hook cannot be removed: it is put to sleep."""
    watch = _Writes()
    sys.addaudithook(watch)
    try:
        yield watch
    finally:
        watch.watching = False

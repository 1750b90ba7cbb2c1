"""How much work an optimisation takes unless told otherwise; light enough for the command line's help."""

from __future__ import annotations

TRIES = 12
"""Times that the voxels which limits let go are chosen once more where limits hold D95 below the cap, at most."""


def stated_tries(tries: int) -> tuple[str, ...]:
    """What the run record says of a number of tries that is not the usual one."""
    return () if tries == TRIES else (f"voxels chosen once more up to {tries} times, where {TRIES} are usual",)

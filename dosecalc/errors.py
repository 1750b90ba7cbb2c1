"""One tree of errors, sorted by what the caller can do about them.

Every error says what is wrong, where, what was expected and what to do; none carries patient data.
``exit_code`` is what the command line ends with.
"""

from __future__ import annotations

from typing import Any


class DosecalcError(Exception):
    """Base of every error that this software raises on purpose.

    Parameters
    ----------
    message : str
        What is wrong, in one sentence, with what was got and what was expected.
    where : str, optional
        File, tag, structure, key or line.
    remedy : str, optional
        What the user can do about it.
    """

    exit_code: int = 1
    code: str = "internal"

    def __init__(self, message: str, *, where: str | None = None, remedy: str | None = None) -> None:
        super().__init__(message)
        self.message = message
        self.where = where
        self.remedy = remedy

    def __str__(self) -> str:
        located = f"{self.where}: {self.message}" if self.where else self.message
        return f"{located} {self.remedy}" if self.remedy else located


class UsageError(DosecalcError):
    """A command-line option is missing, unknown or contradicts another."""

    exit_code = 2
    code = "usage"


class InputError(DosecalcError):
    """An input cannot be used: format, geometry, HU, structure, units, plan/machine mismatch."""

    exit_code = 10
    code = "input_invalid"


class UnsafeInputError(InputError):
    """An input exceeds a safety limit: size, depth, inflation ratio, path."""

    exit_code = 11
    code = "input_unsafe"


class DoseError(DosecalcError):
    """The dose cannot be computed within the model's validity."""

    exit_code = 10
    code = "dose"


class OptimisationError(DosecalcError):
    """The optimiser found no plan to stand behind."""

    exit_code = 21
    code = "solver_failed"


class InfeasibleError(OptimisationError):
    """The mandatory goals contradict each other: a valid answer, not a fault.

    Attributes
    ----------
    conflicts : tuple
        Records of what would have to give.
    reached_gy : float or None
        Prescription dose that the mandatory limits allow.
    """

    exit_code = 20
    code = "infeasible"

    def __init__(
        self,
        message: str,
        *,
        where: str | None = None,
        remedy: str | None = None,
        conflicts: tuple[Any, ...] = (),
        reached_gy: float | None = None,
    ) -> None:
        super().__init__(message, where=where, remedy=remedy)
        self.conflicts = conflicts
        self.reached_gy = reached_gy


class VerificationError(OptimisationError):
    """The plan breaks a mandatory limit on the reference dose."""

    exit_code = 22
    code = "verification_failed"


class InterruptionError(OptimisationError):
    """Ctrl-C or a request to terminate, before there was a plan to stand behind; 128 + SIGINT, as shells count."""

    exit_code = 130
    code = "interrupted"


class InterruptedPlanError(InterruptionError):
    """The optimisation was interrupted; the best plan so far, which keeps every mandatory limit, is written."""

    exit_code = 23
    code = "interrupted_plan"


class ResourceError(DosecalcError):
    """Host memory, device memory or disk is exhausted."""

    exit_code = 30
    code = "resources"


class DeviceError(ResourceError):
    """A device was asked for by name and cannot be used."""

    exit_code = 31
    code = "device_absent"


class OutputError(DosecalcError):
    """An output cannot be written."""

    exit_code = 40
    code = "output"

"""The one error of this package: a protocol that cannot be used, with every fault named."""

from __future__ import annotations

# A file that is no protocol at all can have thousands of faults; nobody reads more than this.
FAULTS_SHOWN = 50


class ProtocolError(Exception):
    """A protocol, a metric text or a fractionation cannot be used as given.

    This package stands below the dose engine and does not share its error tree; the attributes are the same,
    so a command line treats both alike.

    Parameters
    ----------
    message : str
        What is wrong, in one sentence, with what was got and what was expected.
    where : str, optional
        File or key.
    remedy : str, optional
        What the user can do about it.
    faults : tuple of str, optional
        All faults found, one sentence each, starting with the path of the key.
    """

    exit_code: int = 12
    code: str = "protocol_invalid"

    def __init__(
        self,
        message: str,
        *,
        where: str | None = None,
        remedy: str | None = None,
        faults: tuple[str, ...] = (),
    ) -> None:
        super().__init__(message)
        self.message = message
        self.where = where
        self.remedy = remedy
        self.faults = faults

    def __str__(self) -> str:
        located = f"{self.where}: {self.message}" if self.where else self.message
        head = f"{located} {self.remedy}" if self.remedy else located
        left_out = len(self.faults) - FAULTS_SHOWN
        lines = [head, *(f"  {fault}" for fault in self.faults[:FAULTS_SHOWN])]
        return "\n".join([*lines, f"  and {left_out} more"] if left_out > 0 else lines)

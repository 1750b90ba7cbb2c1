"""Reading protocol files: shipped ones by name, the user's by path."""

from __future__ import annotations

import dataclasses
import hashlib
import math
import os
import re
from collections.abc import Callable, Collection, Iterable, Mapping
from pathlib import Path
from types import MappingProxyType

from pydantic import ValidationError

from .collecting import collect
from .composition import Composed, compose
from .contradictions import contradictions
from .errors import ProtocolError
from .faults import faults_of, nearest
from .files import CONSTRAINT_SET, PRESCRIPTION, PROTOCOL, invalid, parsed
from .fraction_numbers import no_organ_limits
from .plausibility import faults_in, unknown_organ, warnings_in
from .schema import Protocol, Provenance
from .tissues import ON_THE_COMMAND_LINE, AlphaBeta


def available() -> tuple[str, ...]:
    """Names of the shipped protocols, sorted."""
    return PROTOCOL.shipped


def load(
    name_or_path: str | os.PathLike[str],
    *,
    accept_limits: Collection[str] = (),
    alpha_beta: Mapping[str, float] | None = None,
    also_faults: Callable[[Protocol], Iterable[str]] = lambda protocol: (),
) -> Protocol:
    """Read and check a protocol.

    Parameters
    ----------
    name_or_path : str or path
        A name that `available` lists, or the path of a TOML file. Parts that the file names are shipped ones, or
        files relative to its folder.
    accept_limits : collection of str
        Ids of mandatory limits of status COMPUTED or REMEMBERED that the user accepts by name; for numbers of
        the prescription ``prescription.floor``, ``prescription.cap`` or ``prescription.hot_spot``. Those that
        were needed are listed in `Protocol.accepted_limits`.
    alpha_beta : dict of str to float, optional
        Alpha/beta in Gy by structure, before those of the file and the shipped ones.
    also_faults : callable, optional
        What else makes the protocol unusable for the caller, one sentence each; listed with its own faults.

    Returns
    -------
    Protocol

    Raises
    ------
    ProtocolError
        The name is unknown, the file cannot be read, or the protocol has faults: all of them are listed in
        `faults`.
    """
    _refuse_parts(os.fspath(name_or_path))
    origin, data = PROTOCOL.read(name_or_path)
    raw = parsed(data, origin)
    accepted = frozenset([accept_limits] if isinstance(accept_limits, str) else accept_limits)
    folder = None if os.fspath(name_or_path) in available() else Path(name_or_path).parent
    composed = compose(raw, origin, folder, {"accept_limits": accepted})
    collect(composed)
    context = {"accept_limits": accepted, "provenance": _provenance(composed, origin, data)}
    try:
        protocol = Protocol.model_validate(composed.raw, context=context)
    except ValidationError as error:
        raise invalid(PROTOCOL, origin, [*composed.faults, *_in_the_file(error, composed)]) from error
    faults = [*composed.faults, *faults_in(protocol), *contradictions(protocol), *also_faults(protocol)]
    if faults := [*faults, *_unknown_acceptances(protocol, accepted)]:
        raise invalid(PROTOCOL, origin, faults)
    stated = _stated(alpha_beta or {}, protocol)
    warnings = (*composed.warnings, *warnings_in(protocol))
    return protocol.with_provenance(dataclasses.replace(protocol.provenance, warnings=warnings, alpha_beta=stated))


def _stated(alpha_beta: Mapping[str, float], protocol: Protocol) -> tuple[AlphaBeta, ...]:
    """What the user states of alpha/beta, refused where no organ of the protocol or of a model has the name."""
    where, source = ON_THE_COMMAND_LINE, "stated by the user"
    for name, value in alpha_beta.items():
        if not (math.isfinite(value) and value > 0):
            raise ProtocolError(f"alpha/beta of {name} is {value:g} Gy, expected a number above 0.", where=where)
        if said := unknown_organ(name, protocol):
            raise ProtocolError(said, where=where)
    return tuple(AlphaBeta((name,), value, source, "REMEMBERED", where) for name, value in alpha_beta.items())


def unplannable() -> dict[str, str]:
    """The shipped prescriptions that no organ limits were published for, by name, each with a sentence that says so."""
    told = {name: no_organ_limits(_fractions_of(name)) for name in PRESCRIPTION.shipped}
    return {name: why for name, why in told.items() if why}


def _fractions_of(prescription: str) -> int:
    origin, data = PRESCRIPTION.read(prescription)
    return int(parsed(data, origin)["fractions"])


def _refuse_parts(name: str) -> None:
    """Refuse the name of a part, which is no protocol by itself."""
    stem = name.removeprefix("crlm_")
    rest = {known.replace("gy_", "_"): known for known in PRESCRIPTION.shipped} | {p: p for p in PRESCRIPTION.shipped}
    if name not in PROTOCOL.shipped and stem in rest:
        why = unplannable().get(rest[stem])
        raise ProtocolError(
            f"{rest[stem]} is a prescription, no protocol" + (f", and cannot be planned: {why}" if why else "."),
            remedy="A protocol names a prescription, constraint sets and planning rules: docs/writing_a_protocol.md.",
        )
    if name in CONSTRAINT_SET.shipped:
        raise ProtocolError(
            "this is a constraint set, no protocol.",
            where=name,
            remedy=f"See it with `dosecalc protocols limits --set {name}`; a protocol names it under [[constraints]].",
        )


def _provenance(composed: Composed, origin: str, data: bytes) -> Provenance:
    """Where everything comes from; the hash of a protocol of parts changes with each of them."""
    sha256 = hashlib.sha256(data).hexdigest()
    parts = tuple(dict.fromkeys(composed.parts))
    if parts:
        sha256 = hashlib.sha256("".join([sha256, *(part.sha256 for part in parts)]).encode()).hexdigest()
    return Provenance(
        origin=origin,
        sha256=sha256,
        parts=parts,
        origins=MappingProxyType(dict(composed.origins)),
        left_out=tuple(composed.left_out),
    )


def _in_the_file(error: ValidationError, composed: Composed) -> tuple[str, ...]:
    """The faults, with goals that come from a set told by the set."""

    def renamed(match: re.Match[str]) -> str:
        index = int(match[1])
        if not composed.uses or index < composed.own_goals:
            return match[0]
        return f"constraints[{composed.uses[composed.raw['goals'][index]['id']]}]"

    faults = faults_of(error, composed.raw)
    # A composition with a fault has too few goals; that is no fault of its own.
    if composed.faults and not composed.uses:
        faults = tuple(fault for fault in faults if not fault.startswith("goals:"))
    return tuple(re.sub(r"^goals\[(\d+)\]", renamed, fault) for fault in faults)


def _unknown_acceptances(protocol: Protocol, accepted: frozenset[str]) -> tuple[str, ...]:
    """A typing error in an acceptance must not pass as an acceptance of something else."""
    goals = (*protocol.goals, *protocol.prescription.target_goals)
    known = [*(goal.id for goal in goals), *(f"prescription.{key}" for key in ("floor", "cap", "hot_spot"))]
    return tuple(
        f"accept_limits: the protocol has no limit {name!r}.{nearest(name, known)}"
        for name in sorted(accepted - set(known))
    )

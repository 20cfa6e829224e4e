"""The rates of recipients and of actors, and which messages are above them (T14). Pure.

It is decided once for each message, by when it and its neighbours were made, so that it does not
matter which worker decides, when, or in which order. Instants are naive UTC.
"""

from __future__ import annotations

import enum
import uuid
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from itertools import islice
from typing import Final

from ..language import mark

_IN_NAMELESS: Final = str(mark("It is in a digest."))
NAMELESS: Final = uuid.UUID(int=0)  # a digest of version 0.1, which recipients do not name
WINDOW: Final = timedelta(minutes=1)
_IN_TIME: Final = timedelta(seconds=5)  # before it expires, a held message leaves


class By(enum.StrEnum):
    """Whose mail is counted."""

    RECIPIENT = "recipient"
    ACTOR = "actor"


Who = tuple[By, str]  # an address, or the host's id of a user


@dataclass(frozen=True, slots=True)
class Rates:
    """How many messages a minute one recipient may get, and one actor may cause."""

    recipient: int
    actor: int

    def of(self, by: By) -> int:
        """The limit for one of these."""
        return self.recipient if by is By.RECIPIENT else self.actor


@dataclass(frozen=True, slots=True, order=True)
class Neighbour:
    """Another message to the same recipient, or by the same actor.

    ``let_go`` is false as long as nobody has decided about it.
    """

    created_at: datetime
    id: uuid.UUID
    let_go: bool = True


@dataclass(frozen=True, slots=True)
class Candidate:
    """A message to be decided about."""

    created_at: datetime
    id: uuid.UUID
    people: tuple[Who, ...]  # its recipients, and who caused it


def above(
    candidates: Iterable[Candidate], crowd: Mapping[Who, Iterable[Neighbour]], rates: Rates
) -> dict[uuid.UUID, By]:
    """Which of ``candidates`` are above a rate, each with the rate.

    ``crowd`` are the neighbours of each person who may be above theirs; nobody else is looked at.
    A message that nobody has decided about counts for those made after it, because another worker
    may be letting it go at this moment.
    """
    ordered = sorted(candidates, key=lambda candidate: (candidate.created_at, candidate.id))
    ours = {candidate.id for candidate in ordered}
    known = {
        who: [other for other in neighbours if other.id not in ours]
        for who, neighbours in crowd.items()
    }
    held: dict[uuid.UUID, By] = {}
    for new in ordered:
        crowded = [who for who in new.people if who in known]
        full = next((who for who in crowded if _is_full(known[who], new, rates.of(who[0]))), None)
        if full is not None:
            held[new.id] = full[0]
            continue
        for who in crowded:
            known[who].append(Neighbour(new.created_at, new.id))
    return held


def _is_full(neighbours: Sequence[Neighbour], new: Candidate, limit: int) -> bool:
    # The newest are at the end, and decide soonest.
    beside = (1 for other in reversed(neighbours) if _counts(other, new))
    return sum(islice(beside, limit)) >= limit


def _counts(other: Neighbour, new: Candidate) -> bool:
    if other.let_go:
        return abs(other.created_at - new.created_at) < WINDOW
    earlier = (other.created_at, other.id) < (new.created_at, new.id)
    return earlier and new.created_at - other.created_at < WINDOW


def digest_at(now: datetime, expires_at: datetime | None) -> datetime:
    """When a message that is held ``now`` leaves: in a minute, and before it expires."""
    at = now + WINDOW
    return at if expires_at is None else max(now, min(at, expires_at - _IN_TIME))


def why(by: By, rates: Rates, at: datetime) -> str:
    """Why a message is held, for an administrator."""
    if by is By.RECIPIENT:
        said = mark(
            "One of its recipients has had %(number)s messages within a minute. It leaves at about "
            "%(time)s UTC, together in one message with what else waits for that recipient, unless "
            "you release or cancel it before.",
            number=rates.recipient,
            time=format(at, "%H:%M:%S"),
        )
    else:
        said = mark(
            "Who caused it has caused %(number)s messages within a minute. It leaves at about "
            "%(time)s UTC, together in one message with what else waits for that recipient, unless "
            "you release or cancel it before.",
            number=rates.actor,
            time=format(at, "%H:%M:%S"),
        )
    return str(said)


def in_digest(digest: uuid.UUID) -> str:
    """Why a message that is in ``digest`` is still held, for an administrator."""
    return (
        _IN_NAMELESS
        if digest == NAMELESS
        else str(mark("It is in the digest %(digest)s.", digest=digest))
    )

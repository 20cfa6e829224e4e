"""What a host's transaction carries for us: messages to store, messages to cancel."""

from __future__ import annotations

import enum
import logging
import uuid
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Final, Protocol

from flask import Flask
from flask_sqlalchemy import SQLAlchemy

from ..logs import log
from ..messages.message import NewMessage
from ..messages.recorded import Recording
from ..storage.database import Database
from ..text import one_line
from ..values import Reason

_MESSAGE_SIZE: Final = 4000  # bytes of a message without content
_NAMED: Final = 10  # recipients of one message in a log record


class CommitRule(enum.Enum):
    """What becomes of a work when its transaction ends."""

    JOIN = "join"  # stored with the commit, gone with a rollback
    ALWAYS = "always"  # stored in a transaction of its own, however the host's ends


@dataclass(eq=False, slots=True)
class StoreMessage:
    """A message to be stored."""

    message: NewMessage
    rule: CommitRule = CommitRule.JOIN

    @property
    def size(self) -> int:
        """About how many bytes it takes in memory: the content, and what it was made of."""
        return _MESSAGE_SIZE + 3 * len(self.message.content or b"")

    def __str__(self) -> str:
        named = [recipient.address or recipient.name for recipient in self.message.recipients]
        more = f" and {len(named) - _NAMED} more" if len(named) > _NAMED else ""
        whom = f"{', '.join(named[:_NAMED])}{more}" or "nobody"
        return f"{self.message.id} ({one_line(self.message.intent.subject)!r} to {one_line(whom)})"


@dataclass(eq=False, slots=True)
class CancelMessages:
    """Messages to be cancelled: those with these ids, or all requests to merge a pair."""

    pair: str | None = None
    ids: Sequence[uuid.UUID] = ()
    reason: Reason = Reason.WITHDRAWN
    rule: CommitRule = CommitRule.JOIN
    size: int = 1000  # bytes, about

    def __str__(self) -> str:
        return f"calling back {', '.join(map(str, self.ids)) or 'the requests for a pair'}"


Work = StoreMessage | CancelMessages


class Waking(Protocol):
    """A way of delivery, as far as this folder knows it."""

    def wake(self) -> None:
        """There is something to deliver."""
        ...

    def context_ends(self) -> None:
        """An app context has stored what it had to store."""
        ...


class Owner(Protocol):
    """The extension in the app that a work belongs to."""

    app: Flask
    db: SQLAlchemy
    database: Database
    recordings: tuple[Recording, ...]

    @property
    def delivery(self) -> Waking: ...


@dataclass(eq=False, slots=True)
class ContextQueue:
    """Items without a transaction, to be stored when their app context ends."""

    owner: Owner
    request: object = None  # in which the calls were made
    after: bool = False  # made after the view: they report its outcome, and outlive its failure
    items: list[PendingWork] = field(default_factory=list)
    failed: str | None = None  # why joined items are dropped at the end of the context


@dataclass(eq=False, slots=True)
class PendingWork:
    """A work that waits for the end of its transaction."""

    work: Work
    owner: Owner
    queue: ContextQueue | None  # where it waits next; None with session=, which needs a commit
    done: bool = False  # stored, cancelled or dropped: nothing is left to do

    @property
    def joins(self) -> bool:
        """Whether it is stored with the commit of its transaction, or not at all."""
        return self.work.rule is CommitRule.JOIN

    def __del__(self) -> None:
        # The last resort: a session or an app context was never ended.
        if not self.done:
            because = "its session was thrown away without an end"
            log_works(logging.ERROR, "lost", [str(self.work)], because)


def mark_done(items: Iterable[PendingWork]) -> None:
    """Nothing is left to do for ``items``."""
    for item in items:
        item.done = True


def log_works(level: int, event: str, names: Sequence[str], because: str) -> None:
    """Log what became of the works with these ``names``."""
    text = f"notification.{event}: %s: %s"
    log.log(level, text, ", ".join(names), because, extra={"works": names})

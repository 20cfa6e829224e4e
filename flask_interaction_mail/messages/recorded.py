"""What a test sees of the messages that an application stores and gives up."""

from __future__ import annotations

import email
import threading
import uuid
from collections.abc import Sequence
from dataclasses import dataclass, fields, replace
from email.message import EmailMessage
from email.policy import default
from typing import Any

from ..values import Notification, RecipientVerdict, Status
from .attachments import AttachmentLike
from .message import NewMessage


@dataclass(frozen=True, slots=True, kw_only=True, repr=False)
class RecordedMessage(Notification):
    """A snapshot of a message with what it says.

    ``sender`` is its From, None where it has none because it could not be routed.
    ``dropped_because`` says why it was never stored, None if it was.
    """

    sender: str | None = None
    text: str | None = None
    html: str | None = None
    attachments: tuple[AttachmentLike, ...] = ()
    content: bytes | None = None
    dropped_because: str | None = None

    @property
    def email(self) -> EmailMessage | None:
        """The message as it leaves, with all its headers; None where it could not be made."""
        if self.content is None:
            return None
        return email.message_from_bytes(self.content, policy=default)

    def __repr__(self) -> str:
        return f"<{in_short(self)}>"


def in_short(message: RecordedMessage) -> str:
    """Subject, recipients, and what became of ``message``."""
    became = message.dropped_because or ": ".join(filter(None, (message.status, message.reason)))
    return f"{message.subject!r} to {whom(message.recipients)} ({became})"


def whom(recipients: Sequence[RecipientVerdict]) -> str:
    """The addresses of ``recipients``, or the names of those who have none."""
    return ", ".join(one.address or one.name for one in recipients) or "nobody"


def recorded(message: NewMessage, *, dropped_because: str | None = None) -> RecordedMessage:
    """``message`` as it is stored, or as it was to be."""
    intent = message.intent
    return RecordedMessage(
        **_values(message.snapshot()),
        sender=message.sender,
        text=intent.text,
        html=intent.html,
        attachments=intent.attachments,
        content=message.content,
        dropped_because=dropped_because,
    )


def _values(snapshot: Notification) -> dict[str, Any]:
    return {one.name: getattr(snapshot, one.name) for one in fields(Notification)}


class Recording(list[RecordedMessage]):
    """What one application stores while ``InteractionMail.record`` lasts; for any thread.

    A message is added once the transaction that carries it has committed. What becomes of it in
    this process is seen here, too: the entry is replaced by a newer snapshot.
    """

    def __init__(self) -> None:
        super().__init__()
        self.dropped: list[RecordedMessage] = []  # what was given up: rolled back, called back
        self._places: dict[uuid.UUID, int] = {}
        self._news: dict[uuid.UUID, Notification] = {}  # of messages whose commit is not told yet
        self._lock = threading.Lock()

    def stored(self, message: RecordedMessage) -> None:
        """``message`` is committed."""
        with self._lock:
            if news := self._news.pop(message.id, None):
                message = replace(message, **_values(news))
            self._places[message.id] = len(self)
            self.append(message)

    def changed(self, _app: object, notification: Notification) -> None:
        """Receive a signal: something became of a message."""
        with self._lock:
            place = self._places.get(notification.id, len(self))
            if place >= len(self) or self[place].id != notification.id:
                self._news[notification.id] = notification
            elif _is_newer(notification, self[place]):
                self[place] = replace(self[place], **_values(notification))


def _is_newer(notification: Notification, known: Notification) -> bool:
    """Whether this is not the news of the commit, which may come after that of the delivery."""
    return notification.status is not Status.QUEUED or known.status is Status.HELD

"""What a host writes, for the type checker of ``make lint``; nothing here is run.

A line with ``type: ignore`` must be wrong: the checker complains of one that is not needed.
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path

import flask_mail
from flask import Flask
from flask_sqlalchemy import SQLAlchemy

from flask_interaction_mail import (
    CURRENT_USER,
    AttachmentLike,
    Encryption,
    Envelope,
    Fault,
    InteractionMail,
    MemoryTransport,
    MessagingSettings,
    Notification,
    Party,
    Reason,
    RecordedMessage,
    Recording,
    Reply,
    Right,
    Sender,
    Stage,
    TransportError,
    send_notification,
)
from flask_interaction_mail.testing import (
    MailServer,
    assert_nothing_sent,
    assert_sent_to,
    deliver,
    frozen,
    mail_server,
)


def by_word(right: str) -> bool:
    return right == "view" or right in {"edit", "test"}


def by_member(right: Right) -> bool:
    return right is Right.VIEW or {"edit": True}.get(right, False)


def by_mailbox(mailbox: str) -> str:
    return f"token of {mailbox}"


def by_number(right: int) -> bool:
    return right > 0


def wiring(app: Flask, db: SQLAlchemy) -> MemoryTransport:
    InteractionMail(app, db=db, access=by_word)
    InteractionMail(app, db=db, access=by_number)  # type: ignore[arg-type]
    InteractionMail(app, db=db, access_token=by_mailbox)
    InteractionMail(app, db=db, access_token=by_word)  # type: ignore[arg-type]
    messaging = InteractionMail(db=db, access=by_member)
    messaging.init_app(app)
    return messaging.memory(app)


class Report:
    """An attachment of the host's own."""

    filename = "report.csv"
    content_type: str | None = None
    data = b"1,2"


def attached(path: Path) -> Notification:
    files: list[AttachmentLike] = [Report(), flask_mail.Attachment("a.txt", "text/plain", b"x")]
    send_notification("bob", "Files", text="Here.", attachments=files)
    send_notification("bob", "File", text="Here.", attachments=[("a.txt", "text/plain", b"x")])
    send_notification("bob", "File", text="Here.", attachments=[(path.name, None, b"x")])
    send_notification("bob", "Path", text="Here.", attachments=[path])  # type: ignore[list-item]
    return send_notification("bob", "None", text="x", sender=sender_of(None))


def sender_of(party: Party | None) -> Party | Sender:
    return party if party is not None else CURRENT_USER


def told(notification: Notification) -> str:
    reason: Reason | None = notification.reason
    return f"{notification.status}: {reason}" if reason else notification.status


def trouble(error: TransportError, settings: MessagingSettings) -> tuple[Stage, Fault | None]:
    reply: Reply | None = error.reply
    plain = settings.encryption is Encryption.NONE
    return error.stage, error.fault if reply is None and plain else None


def envelopes(memory: MemoryTransport) -> list[Envelope]:
    memory.refuse("bob@firm.example", Reply(550, "5.1.1", "No such mailbox"))
    return [envelope for envelope in memory.delivered if envelope.content]


def recorded(messaging: InteractionMail, app: Flask) -> list[RecordedMessage]:
    with messaging.record(app) as sent:
        first: RecordedMessage = assert_sent_to(sent, "bob", subject="Files")
        name: str | None = first.attachments[0].filename
        assert_sent_to(sent, "bob", subject=name)
        assert_sent_to(sent, "bob", body="Here.")  # type: ignore[call-arg]
        assert_nothing_sent([])  # type: ignore[arg-type]
    return (first.email and sent.dropped) or sent


def later(app: Flask) -> Recording:
    with frozen(datetime.now(UTC)) as clock, mail_server(app) as server:
        running: MailServer = server
        running.refuse("bob@firm.example", "450 4.2.1 Later", times=1)
        clock.tick(timedelta(days=1))
        sent: int = deliver(app)
        running.wait_for(sent)[0].get_content()
        clock.tick(days=1)  # type: ignore[call-arg]
    return Recording()

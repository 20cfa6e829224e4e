"""The test message (R48 to R50): to the default To, from the default From, with a copy to it."""

from __future__ import annotations

import uuid
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from ..addresses import Mailbox, domain_of
from ..messages import mime
from ..messages.intent import Intent, Texts
from ..messages.recipients import default_to
from ..messages.route import SenderHeaders
from ..messages.sender import default_from
from ..settings.model import MessagingSettings
from ..transport.base import Envelope

Write = Callable[[Mapping[str, Any]], Texts]  # the names that its template may use -> its texts


@dataclass(frozen=True, slots=True, kw_only=True)
class Sample:
    """The test message, with the full addresses of default To and default From."""

    to: str
    sender: str
    message_id: str
    envelope: Envelope


def make_sample(
    settings: MessagingSettings, write: Write, *, id: uuid.UUID, now: datetime
) -> Sample:
    """The message that tests ``settings``, with the texts that ``write`` makes; ``now`` is aware.

    Raises:
        MessagingNotConfigured, NoRecipient: default From or default To is missing.
        AddressError: one of them is not a valid address, or is short without a company domain.
    """
    sender, to = default_from(settings), default_to(settings)
    message_id = mime.make_message_id(id, domain_of(sender.address))
    content = mime.build(
        _intent(settings, write, to, sender),
        sender=SenderHeaders(envelope_sender=sender.address, from_=sender),
        to=(to,),
        cc=(sender,),
        message_id=message_id,
        date=now,
    )
    recipients = tuple(dict.fromkeys((to.address, sender.address)))
    envelope = Envelope(sender=sender.address, recipients=recipients, content=content)
    return Sample(to=to.address, sender=sender.address, message_id=message_id, envelope=envelope)


def _intent(settings: MessagingSettings, write: Write, to: Mailbox, sender: Mailbox) -> Intent:
    texts = write(
        {
            "to": to.address,
            "sender": sender.address,
            "server": settings.smtp_server,
            "port": settings.smtp_port,
        }
    )
    return Intent(
        kind="test", source="test", subject=texts.subject, text=texts.text, html=texts.html
    )

"""The test message (R48 to R50): to the default To, from the default From, with copies."""

from __future__ import annotations

import uuid
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from ..addresses import Mailbox, domain_of
from ..messages import mime
from ..messages.intent import Intent, Texts
from ..messages.recipients import default_to, resolve
from ..messages.route import SenderHeaders
from ..messages.sender import default_from
from ..settings.model import MessagingSettings
from ..transport.base import Envelope
from ..values import Party

Write = Callable[[Mapping[str, Any]], Texts]  # the names that its template may use -> its texts


@dataclass(frozen=True, slots=True, kw_only=True)
class Sample:
    """The test message, with the full addresses of default To and default From."""

    to: str
    sender: str
    message_id: str
    envelope: Envelope


def make_sample(
    settings: MessagingSettings,
    write: Write,
    *,
    id: uuid.UUID,
    now: datetime,
    tester: Party | None = None,
) -> Sample:
    """The message that tests ``settings``, with the texts that ``write`` makes.

    ``now`` is aware. ``tester`` gets a copy, too.

    Raises:
        MessagingNotConfigured, NoRecipient: default From or default To is missing.
        AddressError: one address is not valid, or is short without a company domain.
    """
    sender, to = default_from(settings), default_to(settings)
    also = () if tester is None else (resolve(tester, settings),)
    message_id = mime.make_message_id(id, domain_of(sender.address))
    content = mime.build(
        _intent(settings, write, to, sender, also),
        sender=SenderHeaders(envelope_sender=sender.address, from_=sender),
        to=(to,),
        cc=(sender, *also),
        message_id=message_id,
        date=now,
    )
    recipients = tuple(dict.fromkeys(one.address for one in (to, sender, *also)))
    envelope = Envelope(sender=sender.address, recipients=recipients, content=content)
    return Sample(to=to.address, sender=sender.address, message_id=message_id, envelope=envelope)


def _intent(
    settings: MessagingSettings,
    write: Write,
    to: Mailbox,
    sender: Mailbox,
    also: tuple[Mailbox, ...],
) -> Intent:
    names = {
        "to": to.address,
        "sender": sender.address,
        "tester": also[0].address if also else None,
        "server": settings.smtp_server,
        "port": settings.smtp_port,
    }
    texts = write(names)
    return Intent(
        kind="test", source="test", subject=texts.subject, text=texts.text, html=texts.html
    )

"""The test message (R48 to R50): to the default To, from the default From, with copies."""

from __future__ import annotations

import uuid
from dataclasses import dataclass
from datetime import datetime
from typing import Final

from ..addresses import Mailbox, domain_of
from ..messages import mime
from ..messages.intent import Intent
from ..messages.recipients import default_to, resolve
from ..messages.route import SenderHeaders
from ..messages.sender import default_from
from ..settings.model import MessagingSettings
from ..transport.base import Envelope
from ..values import Party

_SUBJECT: Final = "Test message"
_TEXT: Final = """\
This is a test message. An administrator is testing the e-mail settings.

It was sent to {to} (default To), with a copy to {copies},
through {server}, port {port}.

Since it has arrived, sending mail to this mailbox works. You do not have to do anything.
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Sample:
    """The test message, with the full addresses of default To and default From."""

    to: str
    sender: str
    message_id: str
    envelope: Envelope


def make_sample(
    settings: MessagingSettings, *, id: uuid.UUID, now: datetime, tester: Party | None = None
) -> Sample:
    """The message that tests ``settings``; ``now`` is aware. ``tester`` gets a copy, too.

    Raises:
        MessagingNotConfigured, NoRecipient: default From or default To is missing.
        AddressError: one address is not valid, or is short without a company domain.
    """
    sender, to = default_from(settings), default_to(settings)
    also = () if tester is None else (resolve(tester, settings),)
    message_id = mime.make_message_id(id, domain_of(sender.address))
    content = mime.build(
        _intent(settings, to, sender, also),
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
    settings: MessagingSettings, to: Mailbox, sender: Mailbox, also: tuple[Mailbox, ...]
) -> Intent:
    copies = [f"{sender.address} (default From)", *(f"{one.address} (who tests)" for one in also)]
    text = _TEXT.format(
        to=to.address,
        copies=" and ".join(copies),
        server=settings.smtp_server,
        port=settings.smtp_port,
    )
    return Intent(kind="test", source="test", subject=_SUBJECT, text=text)

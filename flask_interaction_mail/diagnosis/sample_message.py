"""The messages that a person sends to try something out. Pure."""

from __future__ import annotations

import uuid
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from typing import Any

from ..addresses import Mailbox, domain_of
from ..messages import mime
from ..messages.intent import Intent, Texts
from ..messages.recipients import default_to, resolve
from ..messages.route import SenderHeaders
from ..messages.sender import default_from
from ..settings.model import MessagingSettings, relay_of
from ..transport.base import Envelope
from ..values import Party
from .sample import Sample

Write = Callable[[Mapping[str, Any]], Texts]  # the names that its template may use -> its texts


def make_sample(
    settings: MessagingSettings,
    write: Write,
    *,
    id: uuid.UUID,
    now: datetime,
    tester: Party | None = None,
) -> Sample:
    """The message that tests ``settings`` (R48 to R50), with the texts that ``write`` makes.

    It goes to the default To, with a copy to the default From. ``tester`` gets a copy, too.
    ``now`` is aware.

    Raises:
        MessagingNotConfigured, NoRecipient: default From or default To is missing.
        AddressError: one address is not valid, or is short without a company domain.
    """
    sender, to = default_from(settings), default_to(settings)
    also = () if tester is None else (resolve(tester, settings),)
    names = {
        "to": to.address,
        "sender": sender.address,
        "tester": also[0].address if also else None,
        "server": settings.server,
        "port": relay_of(settings).port,
    }
    return _sample(write(names), sender, to, (sender, *also), id=id, now=now)


def make_copy(
    settings: MessagingSettings, texts: Texts, *, id: uuid.UUID, now: datetime, to: Party
) -> Sample:
    """A message with ``texts`` from the default From to ``to`` alone; ``now`` is aware.

    Raises:
        MessagingNotConfigured: default From is missing.
        AddressError: one address is not valid, or is short without a company domain.
    """
    return _sample(texts, default_from(settings), resolve(to, settings), (), id=id, now=now)


def _sample(
    texts: Texts,
    sender: Mailbox,
    to: Mailbox,
    copies: Sequence[Mailbox],
    *,
    id: uuid.UUID,
    now: datetime,
) -> Sample:
    message_id = mime.make_message_id(id, domain_of(sender.address))
    content = mime.build(
        Intent(kind="test", source="test", subject=texts.subject, text=texts.text, html=texts.html),
        sender=SenderHeaders(envelope_sender=sender.address, from_=sender),
        to=(to,),
        cc=copies,
        message_id=message_id,
        date=now,
    )
    recipients = tuple(dict.fromkeys(mailbox.address for mailbox in (to, *copies)))
    envelope = Envelope(sender=sender.address, recipients=recipients, content=content)
    return Sample(to=to.address, sender=sender.address, message_id=message_id, envelope=envelope)

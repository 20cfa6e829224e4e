"""From an intent to a message: the order of routing, sender and content.

Nothing here knows Flask or a database: what the world says (settings, people, time) comes in as
arguments, so that a resend, a dry run and the first sending all go the same way.
"""

from __future__ import annotations

import uuid
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

from . import addresses, message, recipients
from .addresses import Mailbox
from .errors import AddressError, MessagingNotConfigured, NoRecipient
from .intent import Intent
from .outbox import NewMessage, new_id
from .recipients import Routing, Step
from .sender import SenderHeaders, choose_flask_mail_sender, choose_sender
from .settings import MessagingSettings
from .values import Kind, Party, Reason, RecipientVerdict, Status

Places = Sequence[tuple[str, Sequence[Party]]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Circumstances:
    """What was true when the message was composed; ``now`` is naive UTC."""

    settings: MessagingSettings
    now: datetime
    organisation: str  # stands after "via" where the settings name nobody
    places: Places = ()  # for a merge request: who may merge at each location
    suppressed: bool = False  # MAIL_SUPPRESS_SEND


@dataclass(frozen=True, slots=True, kw_only=True)
class Identity:
    """What tells one message from another, whatever is in it."""

    id: uuid.UUID
    origin: uuid.UUID
    key: str | None = None
    pair: str | None = None
    actor: str | None = None
    due_at: datetime | None = None
    expires_at: datetime | None = None
    resend_of: uuid.UUID | None = None

    @classmethod
    def fresh(cls, **others: object) -> Identity:
        """A new identity without a key."""
        id = new_id()
        return cls(id=id, origin=id, **others)  # type: ignore[arg-type]  # names checked by the dataclass


def compose(intent: Intent, identity: Identity, world: Circumstances) -> NewMessage:
    """Route ``intent`` and fix its Message-ID and bytes for ever.

    Raises:
        MessagingNotConfigured: no server or no default From is in force.
        AddressError: an explicitly named address is none, or short without a company domain.
        NoRecipient: nobody has an address and there is no default To.
        HeaderError, ContentError: something in the intent may not be sent.
    """
    settings = world.settings
    if not settings.configured:
        raise MessagingNotConfigured(not_configured_text(settings))
    routing = route(intent, world)
    sender = _sender(intent, world)
    steps = (*routing.steps, *sender.steps)
    if not routing.to:
        return _message(intent, identity, world, _suppressed(routing), steps)
    cc, bcc = _copies(intent.cc, settings), _copies(intent.bcc, settings)
    message_id = message.make_message_id(
        identity.id, addresses.domain_of(sender.envelope_sender)
    )
    built = message.build(
        intent,
        sender=sender,
        to=routing.to,
        cc=cc,
        message_id=message_id,
        date=world.now.replace(tzinfo=UTC),
    )
    verdicts = (
        *_verdicts(routing.to, "to"),
        *_verdicts(cc, "cc"),
        *_verdicts(bcc, "bcc"),
        *_suppressed(routing),
    )
    composed = _message(intent, identity, world, verdicts, steps)
    smtputf8 = any(
        addresses.needs_smtputf8(address)
        for address in (sender.envelope_sender, *(one.address for one in verdicts))
    )
    return _ready(composed, message_id, sender.envelope_sender, built, smtputf8, world)


def route(intent: Intent, world: Circumstances) -> Routing:
    """Whom ``intent`` goes to, with the reason of every step (also a dry run for *Explain*)."""
    if intent.locations:
        return recipients.route_merge(world.places, world.settings)
    return recipients.route_parties(intent.to, kind=intent.kind, settings=world.settings)


def not_configured_text(settings: MessagingSettings) -> str:
    """What is missing, for whoever reads the error."""
    missing = [
        name
        for name, value in (
            ("an SMTP server", settings.smtp_server),
            ("a default From", settings.default_from),
        )
        if not value
    ]
    return (
        f"E-mail is not configured: {' and '.join(missing)} is missing. "
        "An administrator sets it in Configuration → Messaging."
    )


def failed(
    intent: Intent, identity: Identity, world: Circumstances, error: Exception
) -> NewMessage:
    """The message that could not be composed, kept with its reason to be sent anew (R4)."""
    reason = {MessagingNotConfigured: Reason.NOT_CONFIGURED}.get(type(error), Reason.UNADDRESSED)
    if not isinstance(error, MessagingNotConfigured | NoRecipient | AddressError):
        reason = Reason.REFUSED
    empty = _message(intent, identity, world, (), ())
    return replace(empty, status=Status.FAILED, reason=reason, detail=str(error)[:1000])


def _sender(intent: Intent, world: Circumstances) -> SenderHeaders:
    settings = world.settings
    if intent.source == "flask_mail":
        return choose_flask_mail_sender(settings, sender=intent.host_sender)
    return choose_sender(
        settings,
        user=intent.user,
        named=intent.sender,
        reply_to=_copies(intent.reply_to, settings),
        via=world.organisation,
    )


def _copies(parties: Sequence[Party], settings: MessagingSettings) -> tuple[Mailbox, ...]:
    return tuple(recipients.resolve(party, settings) for party in parties)


def _verdicts(
    mailboxes: Sequence[Mailbox], field: Literal["to", "cc", "bcc"]
) -> tuple[RecipientVerdict, ...]:
    return tuple(
        RecipientVerdict(address=one.address, name=one.name, field=field) for one in mailboxes
    )


def _suppressed(routing: Routing) -> tuple[RecipientVerdict, ...]:
    return tuple(
        RecipientVerdict(address=one.address, name=one.name, status=Status.SUPPRESSED)
        for one in routing.suppressed
    )


def _message(
    intent: Intent,
    identity: Identity,
    world: Circumstances,
    verdicts: tuple[RecipientVerdict, ...],
    steps: tuple[Step, ...],
) -> NewMessage:
    """A message without content: nobody is left to send it to, or it could not be composed."""
    return NewMessage(
        id=identity.id,
        origin=identity.origin,
        intent=intent,
        status=Status.SUPPRESSED,
        reason=Reason.INELIGIBLE,
        detail=None,
        recipients=verdicts,
        route=steps,
        message_id=None,
        envelope_sender=None,
        smtputf8=False,
        content=None,
        created_at=world.now,
        due_at=identity.due_at or world.now,
        expires_at=identity.expires_at,
        key=identity.key,
        pair=identity.pair,
        actor=identity.actor,
        resend_of=identity.resend_of,
    )

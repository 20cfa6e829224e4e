"""From an intent to a message: the order of routing, sender and content.

Nothing here knows Flask or a database: what the world says (settings, people, time) comes in as
arguments, so that a resend, a dry run and the first sending all go the same way.
"""

from __future__ import annotations

import uuid
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Literal

from .. import addresses
from ..addresses import Mailbox
from ..errors import AddressError, MessagingNotConfigured, NoRecipient
from ..settings.model import MessagingSettings
from ..text import storable
from ..values import Party, Reason, RecipientVerdict, Status
from . import mime, recipients
from .intent import Intent
from .message import NewMessage, Original, id_of_key, new_id, with_status
from .recipients import Routing
from .sender import SenderHeaders, choose_flask_mail_sender, choose_sender

Places = Sequence[tuple[str, Sequence[Party]]]


@dataclass(frozen=True, slots=True, kw_only=True)
class RoutingContext:
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
    key_number: int = 0  # how many messages had the key before
    resent_by: str | None = None
    message_id: str | None = None  # the host's own; None for one that is made of the id
    date: datetime | None = None  # the host's own; None for when the message is to leave

    @classmethod
    def fresh(cls, **others: object) -> Identity:
        """A new identity without a key."""
        id = new_id()
        return cls(id=id, origin=id, **others)  # type: ignore[arg-type]  # names checked by the dataclass

    @classmethod
    def again(cls, original: Original, *, resend_of: uuid.UUID, by: str | None) -> Identity:
        """The identity of the message that is made of ``original``; it has the same key."""
        origin, key = new_id(), original.key
        return cls(
            id=origin if key is None else id_of_key(key, original.number),
            origin=origin,
            key=key,
            key_number=original.number,
            pair=original.pair,
            actor=original.actor,
            resend_of=resend_of,
            resent_by=by,
        )


def compose(intent: Intent, identity: Identity, world: RoutingContext) -> NewMessage:
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
    cc, bcc = _copies(intent.cc, settings), _copies(intent.bcc, settings)
    message_id = identity.message_id or mime.make_message_id(
        identity.id, addresses.domain_of(sender.envelope_sender)
    )
    content = mime.build(
        intent,
        sender=sender,
        to=routing.to,
        cc=cc,
        message_id=message_id,
        date=_date(identity, world).replace(tzinfo=UTC),
    )
    envelope = (*_verdicts(routing.to, "to"), *_verdicts(cc, "cc"), *_verdicts(bcc, "bcc"))
    routed = _message(
        intent,
        identity,
        world,
        recipients=(*envelope, *_verdicts(routing.suppressed, "to", Status.SUPPRESSED)),
        route=(*routing.steps, *sender.steps),
        message_id=message_id,
        envelope_sender=sender.envelope_sender,
        content=content,
        smtputf8=_needs_smtputf8(content, envelope),
    )
    if not envelope:
        return with_status(routed, Status.SUPPRESSED, Reason.INELIGIBLE)
    if world.suppressed:
        return with_status(routed, Status.SUPPRESSED, Reason.TESTING)
    return routed


def _date(identity: Identity, world: RoutingContext) -> datetime:
    # Of mail for later, the time at which it is to leave: mailboxes are sorted by Date.
    return identity.date or max(world.now, identity.due_at or world.now)


def _needs_smtputf8(content: bytes, envelope: Sequence[RecipientVerdict]) -> bool:
    # No header holds such an address; should one come in all the same, its bytes are UTF-8.
    return not content.isascii() or any(addresses.needs_smtputf8(one.address) for one in envelope)


def route(intent: Intent, world: RoutingContext) -> Routing:
    """Whom ``intent`` goes to, with the reason of every step (also a dry run for *Explain*)."""
    if intent.locations:
        return recipients.route_merge(world.places, world.settings)
    if not intent.to and (intent.cc or intent.bcc):
        return recipients.COPIES_ONLY
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
    intent: Intent, identity: Identity, world: RoutingContext, error: Exception
) -> NewMessage:
    """The message that could not be composed, kept with its reason to be sent anew (R4)."""
    reason = next((r for kind, r in _REASONS.items() if isinstance(error, kind)), Reason.REFUSED)
    return _message(
        intent,
        identity,
        world,
        status=Status.FAILED,
        reason=reason,
        detail=storable(str(error))[:1000],
    )


_REASONS: dict[type[Exception], Reason] = {
    MessagingNotConfigured: Reason.NOT_CONFIGURED,
    NoRecipient: Reason.UNADDRESSED,
    AddressError: Reason.UNADDRESSED,
}


def _sender(intent: Intent, world: RoutingContext) -> SenderHeaders:
    settings = world.settings
    reply_to = _copies(intent.reply_to, settings)
    if intent.source == "flask_mail":
        return choose_flask_mail_sender(settings, sender=intent.host_sender, reply_to=reply_to)
    return choose_sender(
        settings,
        user=intent.user,
        named=intent.sender,
        reply_to=reply_to,
        via=world.organisation,
    )


def _copies(parties: Sequence[Party], settings: MessagingSettings) -> tuple[Mailbox, ...]:
    return tuple(recipients.resolve(party, settings) for party in parties)


def _verdicts(
    mailboxes: Sequence[Mailbox],
    field: Literal["to", "cc", "bcc"],
    status: Status = Status.QUEUED,
) -> tuple[RecipientVerdict, ...]:
    return tuple(
        RecipientVerdict(address=one.address, name=one.name, field=field, status=status)
        for one in mailboxes
    )


def _message(
    intent: Intent, identity: Identity, world: RoutingContext, **decided: Any
) -> NewMessage:
    """The message as far as it is ``decided``."""
    return NewMessage(
        id=identity.id,
        origin=identity.origin,
        intent=intent,
        stored_intent=intent.to_json(),
        created_at=world.now,
        due_at=identity.due_at or world.now,
        expires_at=identity.expires_at,
        key=identity.key,
        pair=identity.pair,
        actor=identity.actor,
        resend_of=identity.resend_of,
        key_number=identity.key_number,
        resent_by=identity.resent_by,
        **decided,
    )

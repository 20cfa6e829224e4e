"""Compose a message from an intent: route it, choose its sender, make its bytes.

Pure: settings, people and the time are arguments, so that the first sending, a resend and a dry run
go the same way.
"""

from __future__ import annotations

import secrets
import uuid
from collections.abc import Collection, Sequence
from datetime import UTC, datetime
from typing import Any, Literal, NamedTuple

from markupsafe import escape

from .. import addresses, language
from ..addresses import Mailbox
from ..errors import AddressError, MessagingNotConfigured, NoRecipient
from ..language import mark
from ..settings.model import MessagingSettings
from ..text import storable
from ..values import Party, Reason, RecipientVerdict, Status
from . import mime, recipients
from .intent import Addressees, Intent
from .message import NewMessage, Original, id_of_key, new_id, with_status
from .recipients import Routing
from .route import SenderHeaders
from .sender import choose_flask_mail_sender, choose_sender
from .why import grounds_of, sentence_of


class Shared(NamedTuple):
    """What the messages of a mailing have in common, made once."""

    intent: Intent  # without its reader, and without what each message has of its own
    stored: str  # the same as JSON
    sender: SenderHeaders
    body: mime.Part | None = None  # None where each reader has texts of their own
    frame: mime.Frame | None = None  # None where each has texts or header fields of their own


class RoutingContext(NamedTuple):
    """What decides about the route at the moment of composing; ``now`` is naive UTC."""

    settings: MessagingSettings
    now: datetime
    organisation: str  # follows "via" if the settings have no name for it
    # Of a merge request: each location with those who may merge there, best first.
    candidates: Sequence[tuple[str, Sequence[Party]]] = ()
    suppressed: bool = False  # MAIL_SUPPRESS_SEND
    routing: Routing | None = None  # the route for which the texts were written
    shared: Shared | None = None  # with the other messages of a mailing
    translations: tuple[str, ...] = ()  # folders with catalogues of the host
    dead: Collection[str] = ()  # addresses that a request passes over, in lower case


class Identity(NamedTuple):
    """What distinguishes a message from others with the same content; times are naive UTC."""

    id: uuid.UUID
    origin: uuid.UUID
    key: str | None = None
    pair: str | None = None
    actor: str | None = None
    due_at: datetime | None = None
    expires_at: datetime | None = None
    resend_of: uuid.UUID | None = None
    key_number: int = 0  # how many earlier messages had the key
    resent_by: str | None = None
    message_id: str | None = None  # the host's own; None to make one
    date: datetime | None = None  # the host's own; None for the time at which the message may leave

    @classmethod
    def fresh(cls, **others: object) -> Identity:
        """A new identity without a key."""
        id = new_id()
        return cls(id=id, origin=id, **others)  # type: ignore[arg-type]  # names checked at the call

    @classmethod
    def again(
        cls,
        original: Original,
        *,
        resend_of: uuid.UUID,
        by: str | None,
        job: uuid.UUID | None = None,
    ) -> Identity:
        """The identity of a resend of ``original``, with the same key.

        What has none gets one in a ``job``, so that no job sends anything again twice.
        """
        origin, key = new_id(), original.key
        if key is None and job is not None:
            key = f"bulk:{job.hex}:{resend_of.hex}"
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


class Draft(NamedTuple):
    """A message that is routed; ``said`` is its intent with the reason of this very route."""

    intent: Intent
    said: Intent
    identity: Identity
    routing: Routing


def compose_message(intent: Intent, identity: Identity, context: RoutingContext) -> NewMessage:
    """Route ``intent``, and fix its Message-ID and bytes for all attempts.

    Raises:
        MessagingNotConfigured: no server or no default From is in force.
        AddressError: an address is not valid, or short without a company domain.
        NoRecipient: nobody has an address, and there is no default To.
        HeaderError, ContentError: something in the intent may not be sent.
    """
    check_configured(context.settings)
    routing = context.routing or route(intent, context)
    said = intent if context.routing else _explained(intent, routing, context)
    (message,) = compose_all([Draft(intent, said, identity, routing)], context)
    return message


def compose_all(drafts: Sequence[Draft], context: RoutingContext) -> list[NewMessage]:
    """Fix Message-ID and bytes of each of ``drafts``; otherwise as ``compose_message``.

    Each step is done for all of them before the next: what it needs stays in the processor's
    cache, so that many messages take half the time.
    """
    shared = context.shared
    senders = [shared.sender if shared else sender_of(draft.intent, context) for draft in drafts]
    copies = [_cc_and_bcc(draft, context) for draft in drafts]
    ids = [
        _message_id(draft, sender, context) for draft, sender in zip(drafts, senders, strict=True)
    ]
    bodies = [
        (shared and shared.body) or mime.body_of(draft.said, sender)
        for draft, sender in zip(drafts, senders, strict=True)
    ]
    frames = [
        (shared and shared.frame) or _frame(draft, sender, cc, body, context)
        for draft, sender, (cc, _), body in zip(drafts, senders, copies, bodies, strict=True)
    ]
    contents = [
        mime.framed(frame, draft.routing.to, id)
        for frame, draft, id in zip(frames, drafts, ids, strict=True)
    ]
    envelopes = [
        (*_recipients(draft.routing.to, "to"), *_recipients(cc, "cc"), *_recipients(bcc, "bcc"))
        for draft, (cc, bcc) in zip(drafts, copies, strict=True)
    ]
    intents = [_stored(draft.intent, shared) for draft in drafts]
    return [
        _composed(context, *parts)
        for parts in zip(drafts, senders, ids, contents, envelopes, intents, strict=True)
    ]


def _cc_and_bcc(
    draft: Draft, context: RoutingContext
) -> tuple[tuple[Mailbox, ...], tuple[Mailbox, ...]]:
    cc, bcc = draft.intent.cc, draft.intent.bcc
    return _copies(cc, context.settings), _copies(bcc, context.settings)


def _message_id(draft: Draft, sender: SenderHeaders, context: RoutingContext) -> str:
    """The host's own, or a random one behind its second, so that an index grows at its end."""
    if draft.identity.message_id:
        return draft.identity.message_id
    second = int(_date(None, draft.identity.due_at, context).timestamp())
    unique = f"{second:08x}{secrets.token_hex(16)}"
    return mime.make_message_id(unique, addresses.domain_of(sender.envelope_sender))


def _frame(
    draft: Draft,
    sender: SenderHeaders,
    cc: Sequence[Mailbox],
    body: mime.Part,
    context: RoutingContext,
) -> mime.Frame:
    date = _date(draft.identity.date, draft.identity.due_at, context)
    return mime.frame_of(draft.said, sender=sender, cc=cc, date=date, body=body)


def _composed(
    context: RoutingContext,
    draft: Draft,
    sender: SenderHeaders,
    message_id: str,
    content: bytes,
    envelope: tuple[RecipientVerdict, ...],
    stored_intent: str,
) -> NewMessage:
    routing = draft.routing
    message = _message(
        draft.intent,
        draft.identity,
        context,
        stored_intent=stored_intent,
        recipients=(*envelope, *_recipients(routing.suppressed, "to", Status.SUPPRESSED)),
        route=(*routing.steps, *sender.steps),
        message_id=message_id,
        sender=str(sender.from_),
        envelope_sender=sender.envelope_sender,
        content=content,
        smtputf8=_needs_smtputf8(content, envelope),
    )
    if not envelope:
        return with_status(message, Status.SUPPRESSED, Reason.INELIGIBLE)
    if context.suppressed:
        return with_status(message, Status.SUPPRESSED, Reason.TESTING)
    return message


def _date(own: datetime | None, due_at: datetime | None, context: RoutingContext) -> datetime:
    # Mailboxes are sorted by Date, so mail for later has the time at which it may leave.
    return (own or max(context.now, due_at or context.now)).replace(tzinfo=UTC)


def _needs_smtputf8(content: bytes, envelope: Sequence[RecipientVerdict]) -> bool:
    # Headers should be ASCII. If one is not, its bytes are UTF-8, which needs the extension too.
    return not content.isascii() or any(
        addresses.needs_smtputf8(recipient.address) for recipient in envelope
    )


def route(intent: Intent | Addressees, context: RoutingContext) -> Routing:
    """Decide whom ``intent`` goes to, with the reason of each step."""
    if intent.locations:
        return recipients.route_merge(context.candidates, context.settings, context.dead)
    if not intent.to and (intent.cc or intent.bcc):
        return recipients.COPIES_ONLY
    return recipients.route_parties(
        intent.to, kind=intent.kind, settings=context.settings, dead=context.dead
    )


def why(intent: Intent | Addressees, routing: Routing, settings: MessagingSettings) -> str:
    """What the texts of ``intent`` say of its recipients.

    Raises:
        AddressError: the address of a copy is not valid, or short without a company domain.
    """
    grounds = grounds_of(intent.source, routing.grounds)
    return sentence_of(grounds, _copies(intent.cc, settings))


def _explained(intent: Intent, routing: Routing, context: RoutingContext) -> Intent:
    """``intent`` with the reason of this route, if its texts give that of an earlier one."""
    if not intent.why:
        return intent
    with language.speaking(intent.locale, *context.translations):
        now = why(intent, routing, context.settings)
    text, html = intent.text, intent.html
    return intent._replace(
        text=text and text.replace(intent.why, now),
        html=html and html.replace(escape(intent.why), escape(now)),
    )


def check_configured(settings: MessagingSettings) -> None:
    """Raise MessagingNotConfigured if no server or no default From is in force."""
    if not settings.configured:
        raise MessagingNotConfigured(not_configured_text(settings))


def not_configured_text(settings: MessagingSettings) -> str:
    """Say what is missing, and where to set it."""
    if settings.default_from:
        return mark(
            "E-mail is not configured: an SMTP server is missing. "
            "An administrator can set this in Configuration → Messaging."
        )
    if settings.server:
        return mark(
            "E-mail is not configured: a default From is missing. "
            "An administrator can set this in Configuration → Messaging."
        )
    return mark(
        "E-mail is not configured: an SMTP server and a default From are missing. "
        "An administrator can set this in Configuration → Messaging."
    )


def failed_message(
    intent: Intent, identity: Identity, context: RoutingContext, error: Exception
) -> NewMessage:
    """A message that could not be composed, with the reason, so that it can be resent (R4)."""
    reasons = (reason for kind, reason in _REASONS.items() if isinstance(error, kind))
    return _message(
        intent,
        identity,
        context,
        stored_intent=_stored(intent, context.shared),
        status=Status.FAILED,
        reason=next(reasons, Reason.REFUSED),
        detail=storable(str(error))[:1000],
    )


_REASONS: dict[type[Exception], Reason] = {
    MessagingNotConfigured: Reason.NOT_CONFIGURED,
    NoRecipient: Reason.UNADDRESSED,
    AddressError: Reason.UNADDRESSED,
}


def shared_by(intent: Intent, context: RoutingContext) -> Shared:
    """What the messages for all readers of ``intent`` share, beside its texts.

    Raises:
        AddressError: an address is not valid, or short without a company domain.
    """
    sender = sender_of(intent, context)
    return Shared(intent=intent, stored=intent.to_json(), sender=sender)


def with_texts(shared: Shared) -> Shared:
    """``shared`` where all read the same texts; raises HeaderError and ContentError."""
    return shared._replace(body=mime.body_of(shared.intent, shared.sender))


def with_all(shared: Shared, context: RoutingContext, due_at: datetime | None) -> Shared:
    """``shared`` where all read the same texts below the same header fields.

    Raises:
        HeaderError, ContentError: something in the intent may not be sent.
    """
    intent, sender = shared.intent, shared.sender
    body, date = mime.body_of(intent, sender), _date(None, due_at, context)
    frame = mime.frame_of(intent, sender=sender, date=date, body=body)
    return shared._replace(body=body, frame=frame)


def sender_of(intent: Intent, context: RoutingContext) -> SenderHeaders:
    """Whom ``intent`` is from; raises AddressError."""
    settings = context.settings
    reply_to = _copies(intent.reply_to, settings)
    if intent.source == "flask_mail":
        return choose_flask_mail_sender(settings, sender=intent.host_sender, reply_to=reply_to)
    return choose_sender(
        settings,
        user=intent.user,
        named=intent.sender,
        reply_to=reply_to,
        via=context.organisation,
    )


def _copies(parties: Sequence[Party], settings: MessagingSettings) -> tuple[Mailbox, ...]:
    return tuple([recipients.resolve(party, settings) for party in parties]) if parties else ()


def _recipients(
    mailboxes: Sequence[Mailbox],
    field: Literal["to", "cc", "bcc"],
    status: Status = Status.QUEUED,
) -> tuple[RecipientVerdict, ...]:
    if not mailboxes:
        return ()
    return tuple(
        [
            RecipientVerdict(address=mailbox.address, name=mailbox.name, field=field, status=status)
            for mailbox in mailboxes
        ]
    )


def _stored(intent: Intent, shared: Shared | None) -> str:
    if shared is None:
        return intent.to_json()
    return intent.to_json_after(shared.intent, shared.stored)


def _message(
    intent: Intent, identity: Identity, context: RoutingContext, **decided: Any
) -> NewMessage:
    """The message with the fields that are ``decided``."""
    return NewMessage(
        id=identity.id,
        origin=identity.origin,
        intent=intent,
        created_at=context.now,
        due_at=identity.due_at or context.now,
        expires_at=identity.expires_at,
        key=identity.key,
        pair=identity.pair,
        actor=identity.actor,
        resend_of=identity.resend_of,
        key_number=identity.key_number,
        resent_by=identity.resent_by,
        **decided,
    )

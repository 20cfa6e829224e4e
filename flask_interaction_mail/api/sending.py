"""The calls of a host that send one message."""

from __future__ import annotations

import enum
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from typing import Any, Final, NamedTuple

from flask_mail import Message as FlaskMailMessage
from sqlalchemy.orm import Session

from .. import operations
from ..errors import ContentError
from ..flask_mail import takeover
from ..messages import arguments, templates
from ..messages.attachments import AttachmentLike
from ..messages.compose import Identity, RoutingContext
from ..messages.intent import Addressees, Intent, Texts
from ..messages.message import id_of_key, new_id
from ..messages.recipients import Routing
from ..outbox import messages
from ..state import State, state_of
from ..storage.database import plain_session
from ..text import NAME_LIMIT, storable
from ..unit_of_work import session_events
from ..values import Kind, Notification, Party, Priority
from . import notifications


class Sender(enum.Enum):
    """Whom a notification is from where no party and no address is named."""

    CURRENT_USER = "current user"  # whoever Directory.current_user() names at the call


CURRENT_USER: Final = Sender.CURRENT_USER

To = Party | str | Sequence[Party | str] | None


def send_notification(
    to: To,
    subject: str | None = None,
    *,
    text: str | None = None,
    html: str | None = None,
    template: str | None = None,
    context: Mapping[str, Any] | None = None,
    cc: To = (),
    bcc: To = (),
    reply_to: To = None,
    sender: Party | str | Sender | None = CURRENT_USER,
    headers: Mapping[str, str] | None = None,
    attachments: Iterable[AttachmentLike | tuple[str | None, str | None, bytes]] = (),
    alternatives: Mapping[str, str] | None = None,
    kind: str = Kind.NOTIFICATION,
    key: str | None = None,
    priority: str = Priority.NORMAL,
    metadata: Mapping[str, str] | None = None,
    send_at: datetime | None = None,
    expires_at: datetime | None = None,
    session: Session | None = None,
) -> Notification:
    """Queue a notification with the transaction of ``session`` (default ``db.session``).

    It is stored with the outermost commit and gone with a rollback; where the app context ends
    without either, it is stored then. With ``session=`` it is stored only with that commit.

    Args:
        to: a party, an address (full, or the part before ``@``, or ``Name <address>``), or a
            sequence of them; None or an empty sequence means default To, unless ``cc`` or ``bcc``
            name somebody.
        subject: one line; may be left out with ``template``, which brings its own.
        html: without ``text``, a text is made of it.
        template: name of ``interaction_mail/mail/<name>.*``, rendered with ``context``,
            instead of ``text`` and ``html``.
        sender: whom From names where the policy allows it; None means nobody, so default From.
            Name parties of your own here, never data of a request.
        headers: fields of your own. One with a grammar, such as ``List-Unsubscribe``, must fit it.
        attachments: ``flask_mail.Attachment``, or (file name, content type, bytes). A picture with
            a ``Content-ID`` that the HTML refers to is shown there.
        alternatives: other forms of the same text, by content type, such as
            ``{"text/calendar": "BEGIN:VCALENDAR…"}``.
        kind: ``"notification"``, ``"request"`` (must reach somebody), or a word of your own.
        key: the same key gives the same notification, once; the first call's content counts. A
            key is free again when its notification was cancelled, refused, expired or suppressed
            and had not left for any recipient.
        priority: ``"urgent"``, ``"normal"`` or ``"bulk"``: among messages that are due, urgent ones
            leave first, and bulk ones when nothing else waits.
        metadata: names and values of your own, which the outbox finds and the signals bring. A
            name has up to 64 letters, digits, and ``_ . -``, a value up to 255 characters; up to
            20 of them.
        send_at, expires_at: aware datetimes, from 1970 to a hundred years from now; not before,
            and given up after. ``send_at`` is the message's Date.

    Lazy texts are resolved, and everything is looked at, at the call: what it takes can be stored.

    Raises:
        MessagingNotConfigured: no server or no default From is in force.
        AddressError, HeaderError, ContentError: an argument that cannot be sent; it is named.
        ArgumentError: an argument of a wrong type (also a ``TypeError``), such as a user of the
            host's own, or an attachment given by its path.
        NoRecipient: nobody has an address and there is no default To.
        TemplateMissing: no such template, or it cannot be rendered.
        TablesMissing: the tables are not there yet.
        TypeError: ``session`` is no SQLAlchemy ``Session``.
    """
    state = state_of()
    own = state.db.session() if session is None else plain_session(session)
    number = 0
    if key is not None:
        key = arguments.key(key)
        known, number = notifications.of_key(state, own, key)
        if known is not None:
            return known
    settings = operations.settings_for(state, own)
    whom = Addressees(
        kind=arguments.kind(kind),
        source="call",
        to=arguments.parties("to", to),
        cc=arguments.parties("cc", cc),
        bcc=arguments.parties("bcc", bcc),
    )
    routing = operations.routing_context(state, settings, (), kind=whom.kind, session=own)
    texts, routing = texts_of(Wording(subject, text, html, template, context), state, whom, routing)
    intent = Intent.of(texts, whom)._replace(
        **details(
            state,
            reply_to=reply_to,
            sender=sender,
            headers=headers,
            attachments=attachments,
            priority=priority,
            metadata=metadata,
        ),
        alternatives=arguments.alternatives(alternatives),
    )
    identity = _identity(key, number, intent.user, arguments.span(send_at, expires_at))
    composed = operations.compose_in(state, intent, identity, routing)
    return session_events.register_message(composed, state, session=session)


def send_flask_mail(mail_message: FlaskMailMessage) -> None:
    """Queue what the host sends with Flask-Mail; belongs to ``db.session`` as other mail does.

    Raises:
        InteractionMailError: it cannot be sent; the text says why.
    """
    from ..flask_mail import bridge  # late: for hosts that send with Flask-Mail

    state = state_of()
    session = state.db.session()
    intent = bridge.intent_of(mail_message)
    for difference in bridge.differences(mail_message):
        takeover.say_once(state.app, difference)
    settings = operations.settings_for(state, session)
    identity = Identity.fresh(
        message_id=_unused(state, session, bridge.message_id_of(mail_message)),
        date=bridge.date_of(mail_message),
    )
    composed = operations.compose(state, intent, identity, settings)
    session_events.register_message(composed, state)


def _unused(state: State, session: Session, message_id: str | None) -> str | None:
    """``message_id``, if no message bears it yet: hosts send one object more than once."""
    if message_id is None:
        return None
    used: set[str] = session_events.per_transaction(session).setdefault("message ids", set())
    with state.database.reading_in(session) as connection:
        if message_id in used or messages.has_message_id(connection, message_id):
            return None
    used.add(message_id)
    return message_id


def _identity(
    key: str | None, number: int, actor: Party | None, span: tuple[datetime | None, datetime | None]
) -> Identity:
    origin = new_id()
    return Identity(
        id=id_of_key(key, number) if key is not None else origin,
        origin=origin,
        key=key,
        key_number=number,
        actor=actor_of(actor),
        due_at=span[0],
        expires_at=span[1],
    )


def actor_of(party: Party | None) -> str | None:
    """How the outbox names who caused a message."""
    if party is None:
        return None
    named = str(party.id if party.id is not None else party.email or party.name)
    return storable(named)[:NAME_LIMIT]


class Wording(NamedTuple):
    """What a caller wrote: a subject with text or HTML, or a template with its names."""

    subject: str | None
    text: str | None
    html: str | None
    template: str | None
    context: Mapping[str, Any] | None


def texts_of(
    wording: Wording, state: State, whom: Addressees, routing: RoutingContext
) -> tuple[Texts, RoutingContext]:
    """What ``whom`` reads, and the context that knows the route if that was decided for it.

    Raises:
        ContentError, HeaderError, ArgumentError: it cannot be sent.
        TemplateMissing: no such template, or it cannot be rendered.
    """
    if wording.template is None:
        return plain_texts(wording), routing
    readers, locale = [(whom, wording.context)], templates.shared_locale(whom.to)
    ((texts, decided),) = texts_of_each(wording, state, readers, routing, locale=locale)
    return texts, routing._replace(routing=decided)


def texts_of_each(
    wording: Wording,
    state: State,
    readers: Sequence[tuple[Addressees, Mapping[str, Any] | None]],
    routing: RoutingContext,
    *,
    locale: str | None,
) -> list[tuple[Texts, Routing | None]]:
    """What each of ``readers`` reads of a template with names of their own, and their route.

    Otherwise as ``texts_of``.
    """
    if wording.text is not None or wording.html is not None:
        raise ContentError("give template=, or text= and html=, but not both")
    name = arguments.text("template", wording.template) or ""
    named = [(arguments.mapping("context", context), whom) for whom, context in readers]
    written = operations.written_each(state, name, named, routing, locale=locale)
    own = wording.subject
    return [
        (texts._replace(subject=arguments.subject(texts.subject if own is None else own)), decided)
        for texts, decided in written
    ]


def details(
    state: State,
    *,
    reply_to: To,
    sender: Party | str | Sender | None,
    headers: Mapping[str, str] | None,
    attachments: Iterable[AttachmentLike | tuple[str | None, str | None, bytes]],
    priority: str,
    metadata: Mapping[str, str] | None,
) -> dict[str, Any]:
    """The fields of an ``Intent`` that these arguments give; raises what ``arguments`` raise."""
    return {
        "reply_to": arguments.parties("reply_to", reply_to),
        "user": state.people.current_user() if sender is CURRENT_USER else None,
        "sender": _named(sender),
        "headers": arguments.headers(headers),
        "attachments": arguments.attachments(attachments),
        "priority": arguments.word(Priority, "priority", priority),
        "metadata": arguments.metadata(metadata),
    }


def plain_texts(wording: Wording) -> Texts:
    """What is said without a template; raises ContentError or HeaderError."""
    text, html = arguments.text("text", wording.text), arguments.text("html", wording.html)
    if wording.subject is None or (text is None and html is None):
        raise ContentError("a notification needs a subject, and text= or html= or template=")
    if text is None and html is not None:
        from ..messages import plain_text  # late: most messages bring their text

        text = plain_text.from_html(html)
    return Texts(subject=arguments.subject(wording.subject), text=text, html=html)


def _named(sender: Party | str | Sender | None) -> Party | None:
    if sender is None or isinstance(sender, Sender):
        return None
    return arguments.party("sender", sender, "a Party, an address or None")

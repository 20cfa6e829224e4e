"""The calls of a host: send, ask, call back. All of them need an app context."""

from __future__ import annotations

import enum
import re
import uuid
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from datetime import datetime
from typing import Any, Final

from flask_mail import Message as FlaskMailMessage
from sqlalchemy.orm import Session

from . import addresses, clock, mail_bridge, mail_templates, message, outbox, pending
from .database import plain_session
from .errors import ContentError
from .intent import Intent
from .keeper import CallingBack, Storing
from .mail_templates import Texts
from .notify import Identity
from .outbox import NewMessage
from .state import State, state_of
from .values import Kind, Notification, Party, Reason


class _Sender(enum.Enum):
    CURRENT_USER = "current user"  # whoever Directory.current_user() names at the call


CURRENT_USER: Final = _Sender.CURRENT_USER

To = Party | str | Sequence[Party | str] | None
_KEY_LENGTH = 255


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
    sender: Party | str | _Sender | None = CURRENT_USER,
    headers: Mapping[str, str] | None = None,
    attachments: Iterable[Any] = (),
    kind: str = Kind.NOTIFICATION,
    key: str | None = None,
    send_at: datetime | None = None,
    expires_at: datetime | None = None,
    session: Session | None = None,
) -> Notification:
    """Queue a notification with the transaction of ``session`` (default ``db.session``).

    It is stored with the outermost commit and gone with a rollback; where the app context ends
    without either, it is stored then. With ``session=`` it is stored only with that commit.

    Args:
        to: a party, an address (full, or the part before ``@``, or ``Name <address>``), or a
            sequence of them; None or an empty sequence means default To.
        subject: one line; may be left out with ``template``, which brings its own.
        template: name of ``interaction_mail/mail/<name>.*``, rendered with ``context``,
            instead of ``text`` and ``html``.
        sender: whom From names where the policy allows it; None means nobody, so default From.
            Name parties of your own here, never data of a request.
        attachments: ``flask_mail.Attachment``, or (file name, content type, bytes).
        kind: ``"notification"``, ``"request"`` (must reach somebody), or a word of your own.
        key: the same key gives the same notification, once; the first call's content counts.
        send_at, expires_at: aware datetimes; not before, and given up after.

    Raises:
        MessagingNotConfigured: no server or no default From is in force.
        AddressError, HeaderError, ContentError: an argument that cannot be sent; it is named.
        NoRecipient: nobody has an address and there is no default To.
        TemplateMissing: no such template, or it cannot be rendered.
        TablesMissing: the tables are not there yet.
        TypeError: an argument of a wrong type, such as an attachment given by its path.
    """
    state = state_of()
    own = state.db.session() if session is None else plain_session(session)
    if key is not None and (known := _known(state, own, _checked_key(key))):
        return known
    settings = state.settings_for(own)
    recipients = _parties("to", to)
    texts = _texts(state, subject, text, html, template, context, recipients)
    intent = Intent(
        kind=_checked_kind(kind),
        source="call",
        subject=texts.subject,
        text=texts.text,
        html=texts.html,
        to=recipients,
        cc=_parties("cc", cc),
        bcc=_parties("bcc", bcc),
        reply_to=_parties("reply_to", reply_to),
        user=state.people.current_user() if sender is CURRENT_USER else None,
        sender=_named(sender),
        headers=_headers(headers),
        attachments=tuple(message.attachment(one) for one in attachments),
    )
    identity = _identity(key, intent.user, send_at, expires_at)
    composed = state.compose(intent, identity, settings)
    return enrol(state, Storing(composed), session=session)


def enrol(state: State, work: Storing, *, session: Session | None) -> Notification:
    """Hand ``work`` to the transaction that it belongs to."""
    pending.enrol(work, state, session=session)
    return work.message.snapshot()


def send_flask_mail(mail_message: FlaskMailMessage) -> None:
    """Queue what the host sends with Flask-Mail; belongs to ``db.session`` as other mail does.

    Raises:
        InteractionMailError: it cannot be sent; the text says why.
    """
    state = state_of()
    intent = mail_bridge.intent_of(mail_message)
    settings = state.settings_for(state.db.session())
    composed = state.compose(intent, Identity.fresh(), settings)
    enrol(state, Storing(composed), session=None)


def get_notification(id: uuid.UUID | str) -> Notification | None:
    """The notification with this id as it stands now; None if there is none.

    One that is still waiting for the commit of ``db.session`` is found, too.
    """
    state = state_of()
    session = state.db.session()
    wanted = uuid.UUID(str(id))
    with state.reading(session) as connection:
        stored = outbox.load(connection, [wanted]).get(wanted)
    if stored is not None:
        return stored
    return waiting(session, wanted)


def cancel_notification(id_or_key: uuid.UUID | str) -> bool:
    """Call a notification back; True if it had not left yet.

    Belongs to the transaction of ``db.session`` if one is open, as a new notification does;
    otherwise it commits a transaction of its own.
    """
    state = state_of()
    session = state.db.session()
    wanted = _id_of(id_or_key)
    if pending.withdraw(session, lambda work: _message_of(work, wanted) is not None):
        return True
    if not session.in_transaction() or (connection := state.connection(session)) is None:
        return state.cancel(wanted)
    cancelled = outbox.cancel(connection, [wanted], Reason.WITHDRAWN, clock.now())
    if cancelled:
        pending.enrol(CallingBack(ids=tuple(cancelled)), state)
    return bool(cancelled)


def _id_of(id_or_key: uuid.UUID | str) -> uuid.UUID:
    if isinstance(id_or_key, uuid.UUID):
        return id_or_key
    try:
        return uuid.UUID(id_or_key)
    except ValueError:
        return outbox.id_of_key(id_or_key)


def _known(state: State, session: Session, key: str) -> Notification | None:
    id = outbox.id_of_key(key)
    if (own := waiting(session, id)) is not None:
        return own
    with state.reading(session) as connection:
        return outbox.load(connection, [id]).get(id)


def waiting(session: Session, id: uuid.UUID) -> Notification | None:
    """The notification ``id``, if it waits for the commit of ``session``."""
    for work in pending.pending_of(session):
        if (message := _message_of(work, id)) is not None:
            return message.snapshot()
    return None


def _message_of(work: object, id: uuid.UUID) -> NewMessage | None:
    if isinstance(work, Storing) and work.message.id == id:
        return work.message
    return None


def _identity(
    key: str | None, actor: Party | None, send_at: datetime | None, expires_at: datetime | None
) -> Identity:
    origin = outbox.new_id()
    return Identity(
        id=outbox.id_of_key(key) if key is not None else origin,
        origin=origin,
        key=key,
        actor=actor_of(actor),
        due_at=_instant("send_at", send_at),
        expires_at=_instant("expires_at", expires_at),
    )


def actor_of(party: Party | None) -> str | None:
    """How the outbox names who caused a message."""
    if party is None:
        return None
    return str(party.id if party.id is not None else party.email or party.name)[:255]


def _instant(name: str, instant: datetime | None) -> datetime | None:
    if instant is None:
        return None
    try:
        return clock.to_db(instant)
    except (ValueError, AttributeError) as error:
        raise ContentError(f"{name}: {error}") from error


def _checked_key(key: object) -> str:
    if not isinstance(key, str) or not 0 < len(key) <= _KEY_LENGTH:
        raise ContentError(f"key must be a text of 1 to {_KEY_LENGTH} characters, not {key!r:.80}")
    return key


def _checked_kind(kind: str) -> str:
    if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,31}", kind):
        raise ContentError(
            f"kind must be a word of up to 32 letters, digits, and _ . - ; not {kind!r:.80}"
        )
    return str(kind)


def _texts(
    state: State,
    subject: str | None,
    text: str | None,
    html: str | None,
    template: str | None,
    context: Mapping[str, Any] | None,
    to: Sequence[Party],
) -> Texts:
    if template is None:
        if subject is None or (text is None and html is None):
            raise ContentError("a notification needs a subject, and text= or html= or template=")
        return Texts(subject=subject, text=text, html=html)
    if text is not None or html is not None:
        raise ContentError("give template=, or text= and html=, but not both")
    rendered = mail_templates.render(state.app, template, context or {}, locale=shared_locale(to))
    return rendered if subject is None else replace(rendered, subject=subject)


def shared_locale(parties: Sequence[Party]) -> str | None:
    """The locale that all ``parties`` have in common, if they do."""
    locales = {party.locale for party in parties}
    return locales.pop() if len(locales) == 1 else None


def _parties(argument: str, given: To) -> tuple[Party, ...]:
    if given is None:
        return ()
    if isinstance(given, Party | str):
        given = (given,)
    return tuple(_party(argument, one) for one in given)


def _party(argument: str, given: object) -> Party:
    match given:
        case Party():
            message.check_line(f"{argument} (name)", given.name)
            return given
        case str():
            mailbox = addresses.parse(given)
            return Party(mailbox.name, mailbox.address)
        case _:
            raise TypeError(
                f"{argument} takes a Party, an address or a sequence of them, "
                f"not {type(given).__name__}"
            )


def _named(sender: Party | str | _Sender | None) -> Party | None:
    if sender is None or isinstance(sender, _Sender):
        return None
    return _party("sender", sender)


def _headers(headers: Mapping[str, str] | None) -> tuple[tuple[str, str], ...]:
    items = tuple((headers or {}).items())
    for name, value in items:
        message.check_header(name, value)
    return items

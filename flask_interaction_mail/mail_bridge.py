"""Flask-Mail's callers, taken over: what they send goes through the panel and the outbox.

Flask-Mail's own ``Mail`` object looks up ``app.extensions["mail"]`` at every send. A state of
ours stands there, under which its connection never opens; it still checks the message and sends
``email_dispatched``, and a receiver of that signal hands the message over. So a host's code
stays as it is, and ``record_messages`` works.

Of a message these are not used, because the outbox has its own: ``date``, ``charset`` (UTF-8
throughout), ``msgId``, ``mail_options``, ``rcpt_options``, the
envelope sender of ``Connection.send``, and the headers named in ``_LEFT_OUT``. Alternatives
other than HTML travel as attachments.
"""

from __future__ import annotations

import logging
import re
from collections.abc import Callable, Iterable
from typing import Any, Final
from weakref import WeakKeyDictionary

import flask_mail
import sqlalchemy as sa
from flask import Flask, appcontext_pushed, current_app, request_started

from . import addresses
from . import message as content
from .addresses import check_line
from .attachments import attachment
from .errors import AddressError, InteractionMailError
from .intent import Attachment, Intent
from .sender import default_from
from .values import Kind, Party

log = logging.getLogger("flask_interaction_mail")

Given = str | tuple[str, str]  # how Flask-Mail's callers write a mailbox
OnMessage = Callable[[flask_mail.Message], None]

_SLOT: Final = "mail"
_ADDRESS_LIKE: Final = re.compile(r"\S@\S")
# Extra headers that say nothing which the outbox does not say better.
_LEFT_OUT: Final = frozenset(
    {
        "auto-submitted",
        "date",
        "message-id",
        "mime-version",
        "return-path",
        "x-auto-response-suppress",
    }
)


class DefaultSender(str):
    """The sender of a message whose author named none; also true when no default From is set.

    Flask-Mail refuses a message without a sender before anybody could say what is missing.
    """

    __slots__ = ()

    def __bool__(self) -> bool:
        return True


class MailState(flask_mail._MailMixin):
    """What Flask-Mail finds in ``app.extensions["mail"]``: it has no server and sends nothing."""

    server = None
    port = None
    username = None
    password = None
    use_tls = False
    use_ssl = False
    debug = 0
    max_emails = None
    ascii_attachments = False

    def __init__(self, on_message: OnMessage) -> None:
        self.on_message = on_message
        self.replaced = False  # whether another object was found in our place

    @property
    def suppress(self) -> bool:
        """Always true: Flask-Mail's connection opens none to a server."""
        return True

    @suppress.setter
    def suppress(self, value: bool) -> None:
        log.warning(
            "flask_mail.suppress: set to %s without effect; use MAIL_SUPPRESS_SEND", bool(value)
        )

    @property
    def default_sender(self) -> DefaultSender:
        """The default From that is in force, for messages without a sender."""
        state: Any = current_app.extensions.get("interaction_mail")
        try:
            return DefaultSender(default_from(state.settings.current().settings).address)
        except (InteractionMailError, sa.exc.SQLAlchemyError, AttributeError):
            # Whoever sends the message is told; building one is no reason to fail.
            return DefaultSender()


_STATES: WeakKeyDictionary[Flask, MailState] = WeakKeyDictionary()


def install(app: Flask, on_message: OnMessage) -> None:
    """Take over Flask-Mail's callers of ``app``; each of their messages goes to ``on_message``.

    What ``on_message`` raises reaches the caller of ``mail.send``.
    """
    _STATES[app] = MailState(on_message)
    _take_over(app)


def is_foreign(app: Flask) -> bool:
    """Whether another object than ours stands in for Flask-Mail in ``app`` right now."""
    return app.extensions.get(_SLOT) is not _STATES.get(app)


def was_replaced(app: Flask) -> bool:
    """Whether another object has ever been found, or is now, in the place of ours."""
    return is_foreign(app) or _STATES[app].replaced


def _take_over(app: Flask) -> None:
    former = app.extensions.get(_SLOT)
    if isinstance(former, flask_mail._Mail):
        former.suppress = True  # whoever holds on to it connects nowhere either
    app.extensions[_SLOT] = _STATES[app]


def _put_back(sender: Any, **_: object) -> None:
    app = _app_of(sender)
    if app is None or not is_foreign(app):
        return
    log.warning(
        "flask_mail.replaced: Mail.init_app was called after InteractionMail.init_app; "
        "its messages go through the panel's settings all the same"
    )
    _take_over(app)
    _STATES[app].replaced = True


def _dispatched(sender: Any, message: flask_mail.Message, **_: object) -> None:
    app = _app_of(sender)
    if app is not None:
        _STATES[app].on_message(message)


def _app_of(sender: Any) -> Flask | None:
    app = sender._get_current_object() if hasattr(sender, "_get_current_object") else sender
    return app if isinstance(app, Flask) and app in _STATES else None


# One receiver each for all apps: a bound method of a forgotten object would be collected.
flask_mail.email_dispatched.connect(_dispatched)
appcontext_pushed.connect(_put_back)
request_started.connect(_put_back)  # a request may run in a context that was there before


def intent_of(message: flask_mail.Message) -> Intent:
    """What the author of a Flask-Mail message wanted to say, to whom and as whom.

    Raises:
        AddressError: an address that is none.
        HeaderError: a header's name or value that may not be sent.
        TypeError: an attachment whose data are neither bytes nor text.
    """
    html, headers = message.html, _extra_headers(message.extra_headers)
    answers = [value for name, value in headers if name.lower() == "reply-to"]
    return Intent(
        kind=Kind.NOTIFICATION,
        source="flask_mail",
        subject=_subject(message.subject),
        text=_text(message.body) if message.body is not None or html is None else None,
        html=None if html is None else _text(html),
        to=_parties("recipients", message.recipients),
        cc=_parties("cc", message.cc),
        bcc=_parties("bcc", message.bcc),
        reply_to=_parties("reply_to", [message.reply_to] if message.reply_to else answers),
        host_sender=_host_sender(message.sender),
        headers=_own_headers(headers),
        attachments=(*_alternatives(message), *map(_attachment, message.attachments)),
    )


def _subject(subject: object) -> str:
    # Flask-Mail lets a folded subject pass (RFC 5322 §2.2.3): it is one line, so unfold it.
    return content.check_subject(re.sub(r"\r\n[ \t]+", " ", _text(subject)))


def _text(given: object) -> str:
    """A text that may be bytes, or lazy as translations are."""
    return flask_mail.force_text("" if given is None else given)


def _parties(field: str, given: Given | Iterable[Given] | None) -> tuple[Party, ...]:
    several = [given] if isinstance(given, str) else given or ()
    return tuple(_party(field, one) for one in several)


def _party(field: str, given: Any) -> Party:
    name, address = _split(field, given)
    return Party(name, address)


def _split(field: str, given: Any) -> tuple[str, str]:
    """Name and address, written as a pair, as ``Name <address>``, or as an address alone."""
    if isinstance(given, tuple | list) and len(given) == 2:
        name, address = (_text(part) for part in given)
    else:
        name, address = _taken_apart(_text(given))
    check_line(field, f"{name} <{address}>")
    # Two pairs of brackets are two opinions about which address is meant.
    if not address.strip() or set("<>") & {*name, *address}:
        raise AddressError(
            f"{field}: {addresses.quoted(f'{name} <{address}>')} is no e-mail address."
        )
    return name, addresses.clean_email(address, own_domains=_own(address))


def _taken_apart(text: str) -> tuple[str, str]:
    text = text.strip(" ")
    if not text.endswith(">"):
        return "", text
    name, _, address = text[:-1].rpartition("<")
    name = name.strip(" ")
    if len(name) > 1 and name[0] == name[-1] == '"':
        name = re.sub(r"\\(.)", r"\1", name[1:-1])
    elif _ADDRESS_LIKE.search(name) and name.casefold() != address.casefold():
        # Who is meant, the first or the second? Programs differ (CVE-2023-27043).
        raise AddressError(f"{addresses.quoted(text)} is no e-mail address: it names two.")
    return name, address


def _own(address: str) -> tuple[str, ...]:
    # Whether a domain such as ``interfacemail`` is one of ours is known when it is routed.
    try:
        return (addresses.clean_domain(addresses.domain_of(address)),) if "@" in address else ()
    except AddressError:
        return ()


def _host_sender(sender: Given | None) -> str | None:
    if sender is None or isinstance(sender, DefaultSender):
        return None
    name, address = _split("sender", sender)
    quotable = re.sub(r'(["\\])', r"\\\1", name)
    return f'"{quotable}" <{address}>' if name else address


def _extra_headers(headers: dict[str, str] | None) -> list[tuple[str, str]]:
    items = [(_text(name), _text(value)) for name, value in (headers or {}).items()]
    for name, value in items:
        check_line(f"The header {addresses.quoted(name)}", value)
    return items


def _own_headers(headers: list[tuple[str, str]]) -> tuple[tuple[str, str], ...]:
    own = tuple(item for item in headers if item[0].lower() not in (*_LEFT_OUT, "reply-to"))
    for name, value in own:
        content.check_header(name, value)
    return own


def _alternatives(message: flask_mail.Message) -> Iterable[Attachment]:
    for subtype, text in message.alts.items():
        if subtype != "html":
            yield attachment((f"alternative.{subtype}", f"text/{subtype}", _bytes(text)))


def _attachment(given: flask_mail.Attachment) -> Attachment:
    data = given.data.encode() if isinstance(given.data, str) else given.data
    with_bytes: Any = flask_mail.Attachment(
        given.filename, given.content_type, data, given.disposition, given.headers
    )
    return attachment(with_bytes)


def _bytes(text: object) -> bytes:
    return text if isinstance(text, bytes) else _text(text).encode()

"""smtplib and Flask-Mail: no queue, one message after the other; and our transport beside them."""

from __future__ import annotations

import smtplib
import time
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from email.message import EmailMessage
from email.policy import SMTP
from functools import partial
from itertools import islice
from typing import Any

from .. import messages


def _rate(count: int, once: Callable[[], object]) -> dict[str, float]:
    once()  # opens the connection that is kept, imports what is imported late
    start = time.perf_counter()
    for _ in range(count):
        once()
    return {"rate": count / (time.perf_counter() - start)}


def smtplib_kept(port: int, count: int) -> dict[str, float]:
    """sendmail() with finished bytes on one connection."""
    content = messages.finished()
    with smtplib.SMTP("127.0.0.1", port) as smtp:
        return _rate(count, lambda: smtp.sendmail(messages.SENDER, [messages.RECIPIENT], content))


# -- Flask-Mail ------------------------------------------------------------------------


def _flask_mail(port: int) -> tuple[Any, Any]:
    from flask import Flask
    from flask_mail import Mail

    app = Flask("bench")
    app.config.update(MAIL_SERVER="127.0.0.1", MAIL_PORT=port)
    return app, Mail(app)


def _flask_message(html: str | None = None) -> Any:
    from flask_mail import Message

    return Message(
        messages.SUBJECT,
        recipients=[("Ada Byron", messages.RECIPIENT)],
        sender=("CRM", messages.SENDER),
        body=messages.TEXT,
        html=html,
    )


def flask_mail_send(port: int, count: int) -> dict[str, float]:
    """mail.send(): a connection a message, which is what most hosts write."""
    app, mail = _flask_mail(port)
    with app.app_context():
        return _rate(count, lambda: mail.send(_flask_message()))


def flask_mail_connect(port: int, count: int) -> dict[str, float]:
    """mail.connect(): one connection for all."""
    app, mail = _flask_mail(port)
    with app.app_context(), mail.connect() as connection:
        return _rate(count, lambda: connection.send(_flask_message()))


# -- ours ------------------------------------------------------------------------------


def _settings(port: int, **others: Any) -> Any:
    from flask_interaction_mail.settings.model import MessagingSettings

    values: dict[str, Any] = {
        "smtp_server": "127.0.0.1",
        "smtp_port": port,
        "encryption": "none",
        "default_from": messages.SENDER,
    }
    return MessagingSettings(**(values | others))


def _sending(transport: Any, envelopes: Iterable[Any]) -> None:
    for envelope in envelopes:
        delivery = transport.deliver(envelope)
        if delivery.result != "accepted":
            raise SystemExit(f"not taken: {delivery}")


def _opened(port: int, first: Any) -> Any:
    """A transport that has sent one message."""
    from flask_interaction_mail.settings.model import relay_of
    from flask_interaction_mail.transport.smtp.transport import SmtpTransport

    transport = SmtpTransport(relay_of(_settings(port)))
    _sending(transport, [first])
    return transport


def _finished() -> Iterator[Any]:
    from flask_interaction_mail.transport.base import Envelope

    envelope = Envelope(
        sender=messages.SENDER, recipients=(messages.RECIPIENT,), content=messages.finished()
    )
    while True:
        yield envelope


def ours_finished(port: int, count: int, connections: int = 1) -> dict[str, float]:
    """Our transport with finished bytes, on so many connections that were open before."""
    transports = [_opened(port, next(_finished())) for _ in range(connections)]
    each = count // connections
    with ThreadPoolExecutor(connections) as pool:
        start = time.perf_counter()
        list(pool.map(lambda transport: _sending(transport, islice(_finished(), each)), transports))
        return {"rate": each * connections / (time.perf_counter() - start)}


def in_turns(port: int, count: int) -> dict[str, float]:
    """smtplib and our transport, finished bytes, by turns of a hundred messages.

    So other load on the machine affects both alike.
    """
    turn, turns = 100, count // 100
    content, envelopes = messages.finished(), _finished()
    transport = _opened(port, next(envelopes))
    ours = theirs = 0.0
    with smtplib.SMTP("127.0.0.1", port) as smtp:
        smtp.sendmail(messages.SENDER, [messages.RECIPIENT], content)
        for _ in range(turns):
            start = time.perf_counter()
            for _ in range(turn):
                smtp.sendmail(messages.SENDER, [messages.RECIPIENT], content)
            middle = time.perf_counter()
            _sending(transport, islice(envelopes, turn))
            theirs += middle - start
            ours += time.perf_counter() - middle
    return {"smtplib": turns * turn / theirs, "ours": turns * turn / ours}


def _intent(html: str | None = None) -> Any:
    from flask_interaction_mail import Party
    from flask_interaction_mail.messages.intent import Intent

    return Intent(
        kind="notification",
        source="call",
        subject=messages.SUBJECT,
        text=messages.TEXT,
        html=html,
        to=(Party("Ada Byron", messages.RECIPIENT),),
    )


def _built(port: int) -> Iterator[Any]:
    from flask_interaction_mail.messages import compose
    from flask_interaction_mail.transport.base import Envelope

    context = compose.RoutingContext(
        settings=_settings(port),
        now=datetime.now(UTC).replace(tzinfo=None),
        organisation="CRM",
    )
    while True:
        message = compose.compose_message(_intent(), compose.Identity.fresh(), context)
        yield Envelope(
            sender=message.envelope_sender or "",
            recipients=tuple(recipient.address for recipient in message.recipients),
            content=message.content or b"",
            smtputf8=message.smtputf8,
        )


def ours_built(port: int, count: int) -> dict[str, float]:
    """Routing, sender, content and sending, message by message."""
    envelopes = _built(port)
    transport = _opened(port, next(envelopes))
    start = time.perf_counter()
    _sending(transport, islice(envelopes, count))
    return {"rate": count / (time.perf_counter() - start)}


# -- building alone --------------------------------------------------------------------


def building(count: int) -> dict[str, float]:
    """µs to build the content, by who builds it."""
    from flask import Flask
    from flask_mail import Mail

    app = Flask("bench")
    Mail(app)
    makers = {"ours": _our_content(), "email": _library_content, "flask_mail": _flask_content}
    with app.app_context():
        return {
            f"{name}_{kind}": 1e6 / _rate(count, partial(make, html))["rate"]
            for name, make in makers.items()
            for kind, html in (("text", None), ("both", messages.HTML))
        }


def _our_content() -> Callable[[str | None], bytes]:
    from flask_interaction_mail.addresses import Mailbox
    from flask_interaction_mail.messages import mime
    from flask_interaction_mail.messages.compose import Identity
    from flask_interaction_mail.messages.sender import choose_sender

    ada = Mailbox(name="Ada Byron", address=messages.RECIPIENT)
    headers = choose_sender(_settings(25), user=None, named=None, reply_to=(), via="CRM")
    now = datetime.now(UTC)
    id = mime.make_message_id(Identity.fresh().id, "firm.example")
    plain, both = _intent(), _intent(messages.HTML)

    def build(html: str | None) -> bytes:
        intent = both if html else plain
        return mime.build(intent, sender=headers, to=(ada,), message_id=id, date=now)

    return build


def _flask_content(html: str | None) -> bytes:
    content: bytes = _flask_message(html).as_bytes()
    return content


def _library_content(html: str | None) -> bytes:
    message = EmailMessage(policy=SMTP)
    message["Subject"] = messages.SUBJECT
    message["From"] = f"CRM <{messages.SENDER}>"
    message["To"] = f"Ada Byron <{messages.RECIPIENT}>"
    message["Message-ID"] = "<0196a1b2-7c3d-7000-8000-000000000001@firm.example>"
    message.set_content(messages.TEXT)
    if html:
        message.add_alternative(html, subtype="html")
    return message.as_bytes()

"""Opening encrypted connections, one after the other."""

from __future__ import annotations

import smtplib
import ssl
import time
from collections.abc import Callable


def _rate(count: int, once: Callable[[], object]) -> dict[str, float]:
    once()
    start = time.perf_counter()
    for _ in range(count):
        once()
    return {"rate": count / (time.perf_counter() - start)}


def _open_and_close(port: int, authority: str) -> None:
    from flask_interaction_mail.settings.relay import Encryption, Relay
    from flask_interaction_mail.transport.smtp.session import Session

    relay = Relay(
        server="127.0.0.1",
        port=port,
        encryption=Encryption.TLS,
        ca_certificate=authority,
        domain="firm.example",
    )
    session = Session(relay=relay)
    session.open()
    session.quit()


def kept(port: int, authority: str, count: int) -> dict[str, float]:
    """Open connections as a worker does."""
    return _rate(count, lambda: _open_and_close(port, authority))


def fresh(port: int, authority: str, count: int) -> dict[str, float]:
    """The same with a new TLS context for each connection."""
    from flask_interaction_mail.transport.smtp import tls

    def once() -> None:
        tls.context_for.cache_clear()
        _open_and_close(port, authority)

    return _rate(count, once)


def smtplib_fresh(port: int, authority: str, count: int) -> dict[str, float]:
    """The standard library's way with a verified certificate."""

    def once() -> None:
        context = ssl.create_default_context()
        context.load_verify_locations(cadata=authority)
        with smtplib.SMTP_SSL("127.0.0.1", port, context=context) as smtp:
            smtp.ehlo()

    return _rate(count, once)

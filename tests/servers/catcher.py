"""aiosmtpd, a server by others: catches mail, with login and encryption where asked for."""

from __future__ import annotations

import contextlib
import ssl
import warnings
from collections.abc import Iterator
from dataclasses import dataclass, field

from aiosmtpd.controller import Controller
from aiosmtpd.smtp import SMTP, AuthResult, Envelope, LoginPassword, Session

from .programs import free_port


@dataclass
class Catcher:
    """What came in; ``logins`` are pairs of login and password."""

    port: int = 0
    envelopes: list[Envelope] = field(default_factory=list)
    logins: list[tuple[str, str]] = field(default_factory=list)

    async def handle_DATA(self, server: SMTP, session: Session, envelope: Envelope) -> str:
        self.envelopes.append(envelope)
        return "250 2.0.0 caught"


@contextlib.contextmanager
def catcher(
    *,
    login: tuple[str, str] | None = None,
    tls: ssl.SSLContext | None = None,
    implicit: bool = False,
    mechanisms: tuple[str, ...] = ("PLAIN", "LOGIN"),
) -> Iterator[Catcher]:
    """Run it on loopback: ``tls`` by STARTTLS, or from the first byte where ``implicit``."""
    caught = Catcher(port=free_port())

    def check(
        server: SMTP, session: Session, envelope: Envelope, mechanism: str, data: object
    ) -> AuthResult:
        assert isinstance(data, LoginPassword)
        caught.logins.append((data.login.decode(), data.password.decode()))
        return AuthResult(success=caught.logins[-1] == login, handled=False)

    unwanted = [one for one in ("PLAIN", "LOGIN") if one not in mechanisms]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # about logins without encryption, which some tests want
        controller = Controller(
            caught,
            hostname="127.0.0.1",
            port=caught.port,
            ssl_context=tls if implicit else None,
            tls_context=None if implicit else tls,
            require_starttls=bool(tls) and not implicit,
            authenticator=check if login else None,
            auth_required=bool(login),
            auth_require_tls=bool(tls) and not implicit,
            auth_exclude_mechanism=unwanted,
            enable_SMTPUTF8=True,
        )
        controller.start()
        try:
            yield caught
        finally:
            controller.stop()

"""Logging in: which mechanism, under which condition, and in which words (RFC 4954)."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import TYPE_CHECKING, Final, NoReturn

from ..errors import TransportError
from ..outcome import Fault, Reply, Stage
from ..settings import MessagingSettings, Secret
from . import commands

if TYPE_CHECKING:
    from .session import Session

STARS: Final = "********"
_DONE: Final = 235
_GO_ON: Final = 334
_UNKNOWN_MECHANISM: Final = 504
_NEEDS_TLS: Final = (530, 538)  # the latter is obsolete and in use (RFC 4954 §6)


def log_in(session: Session) -> str:
    """Log in with the settings' login and password; gives the mechanism.

    Nothing secret is sent before it is certain that it may be.

    Raises:
        TransportError: login or password is missing, the connection is not encrypted, the
            server offers nothing that we speak, or it refuses.
    """
    settings = session.settings
    login, password = _credentials(settings)
    if not (session.wire.encrypted or settings.allow_unencrypted_auth):
        _fail(
            Fault.AUTH_UNENCRYPTED,
            "The connection is not encrypted: the password would be readable on the way.",
        )
    mechanisms = _usable(session.offered.auth)
    for mechanism in mechanisms:
        reply = _SPOKEN[mechanism](session, login, password)
        if reply.code != _UNKNOWN_MECHANISM:
            break
    if reply.code != _DONE:
        raise _refused(reply)
    return mechanism


def _credentials(settings: MessagingSettings) -> tuple[str, Secret]:
    if not settings.login:
        _fail(Fault.LOGIN_MISSING, "Authentication is on, but no login is set.")
    if not settings.password:
        _fail(Fault.PASSWORD_MISSING, "There is no password for this server: type it again.")
    if "\0" in settings.login or "\0" in settings.password.reveal():
        _fail(Fault.AUTH_REJECTED, "Login and password cannot hold a NUL character.")
    return settings.login, settings.password


def _usable(offered: tuple[str, ...]) -> list[str]:
    if not offered:
        _fail(Fault.AUTH_NOT_OFFERED, "The server does not offer authentication here.")
    usable = [mechanism for mechanism in _SPOKEN if mechanism in offered]
    if not usable:
        _fail(
            Fault.AUTH_MECHANISM,
            f"The server offers only {', '.join(offered)[:200]} for authentication, "
            f"and this program knows {' and '.join(_SPOKEN)}.",
        )
    return usable


def _plain(session: Session, login: str, password: Secret) -> Reply:
    """SASL PLAIN (RFC 4616): everything at once, or after the server asked."""
    render = functools.partial(commands.auth_plain, login, password)
    reply = _ask(session, render, f"AUTH PLAIN {STARS}")
    if reply.code == _GO_ON:
        reply = _ask(session, functools.partial(commands.answer_plain, login, password), STARS)
    return reply


def _login(session: Session, login: str, password: Secret) -> Reply:
    """SASL LOGIN: never standardised, and the only one that some servers know."""
    reply = session.ask(b"AUTH LOGIN\r\n", Stage.AUTHENTICATION)
    if reply.code == _GO_ON:
        reply = _ask(session, functools.partial(commands.answer_login, login), STARS)
    if reply.code == _GO_ON:
        reply = _ask(session, functools.partial(commands.answer_password, password), STARS)
    return reply


_SPOKEN: Final = {"PLAIN": _plain, "LOGIN": _login}  # the first that the server offers is used


def _ask(session: Session, render: Callable[[], bytes], shown: str) -> Reply:
    seconds = session.timeouts.command
    with session.at(Stage.AUTHENTICATION):
        session.wire.send_secret(render, shown, session.until.step(seconds))
    return session.hear(Stage.AUTHENTICATION, seconds)


def _refused(reply: Reply) -> TransportError:
    transient = not reply.permanent
    fault = Fault.AUTH_TRANSIENT if transient else Fault.AUTH_REJECTED
    if reply.code in _NEEDS_TLS:
        fault = Fault.ENCRYPTION_REQUIRED
    return TransportError(
        f"The server did not accept login and password: {reply}",
        stage=Stage.AUTHENTICATION,
        reply=reply,
        transient=transient,
        fault=fault,
    )


def _fail(fault: Fault, text: str) -> NoReturn:
    raise TransportError(text, stage=Stage.AUTHENTICATION, transient=False, fault=fault)

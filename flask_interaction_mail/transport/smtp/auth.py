"""Logging in: which mechanism, under which condition, and in which words (RFC 4954)."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final, NoReturn

from ...errors import TransportError
from ...outcome import Fault, Reply, Stage
from ...settings.model import Secret
from ..relay import Relay
from . import commands

STARS: Final = "********"
DONE: Final = 235
GO_ON: Final = 334
REJECTED: Final = 535
_NEEDS_TLS: Final = (530, 538)  # the latter is obsolete and in use (RFC 4954 §6)
# The mechanism, and not who logs in, is refused (RFC 5321 §4.2.3, RFC 4954 §6).
_NO_SUCH_MECHANISM: Final = (500, 501, 502, 503, 504, 534)
# Whoever is told one of these is told the same by another mechanism, and comes closer to being
# locked out: wrong password, too weak a way, switched off, disabled, needs encryption.
_OF_THE_ACCOUNT: Final = ("5.7.8", "5.7.9", "5.7.139")
_FOR_GOOD: Final = (525, 538)
_ANOTHER_WAY: Final = ("5.7.9", "5.7.14")  # Google's: an app password, a browser first


@dataclass(frozen=True, slots=True)
class Exchange:
    """What one mechanism says: a command, then the response to each challenge of the server.

    Everything is rendered when it is sent, so that no frame above holds the password; only
    ``shown`` appears in a transcript.
    """

    mechanism: str
    command: Callable[[], bytes]
    shown: str
    responses: Sequence[Callable[[str], bytes]]


@dataclass(frozen=True, slots=True)
class LoggedIn:
    """By which mechanism, and what the server had said to another one before, if anything."""

    mechanism: str
    instead_of: Reply | None = None


def refuses_mechanism(reply: Reply) -> bool:
    """Whether ``reply`` to AUTH leaves hope for another mechanism, at no cost for the account."""
    return reply.code in _NO_SUCH_MECHANISM and not _refuses_account(reply)


def may_refuse_mechanism(reply: Reply) -> bool:
    """The same with 535, as which some servers refuse a mechanism: for a test, and only there.

    Where it is a wrong password after all, the account has two failures for one.
    """
    return refuses_mechanism(reply) or (reply.code == REJECTED and not _refuses_account(reply))


def _refuses_account(reply: Reply) -> bool:
    return reply.code in _FOR_GOOD or reply.enhanced in _OF_THE_ACCOUNT


def exchanges(
    relay: Relay, offered: Sequence[str], *, first: str | None, encrypted: bool
) -> list[Exchange]:
    """The ways to log in with the relay's login and secret, the one named ``first`` first.

    Raises:
        TransportError: login or password is missing, the connection is not ``encrypted``, or
            the server has ``offered`` nothing that we speak.
    """
    login, password = _credentials(relay)
    if not (encrypted or relay.allow_unencrypted_auth):
        _fail(
            Fault.AUTH_UNENCRYPTED,
            "The connection is not encrypted: the password would be readable on the way.",
        )
    return [_SPOKEN[mechanism](login, password) for mechanism in _usable(offered, first)]


def _credentials(relay: Relay) -> tuple[str, Secret]:
    if not relay.login:
        _fail(Fault.LOGIN_MISSING, "Authentication is on, but no login is set.")
    if not relay.secret:
        _fail(Fault.PASSWORD_MISSING, "There is no password for this server: type it again.")
    if "\0" in relay.login or "\0" in relay.secret.reveal():
        _fail(Fault.AUTH_REJECTED, "Login and password cannot hold a NUL character.")
    return relay.login, relay.secret


def _usable(offered: Sequence[str], first: str | None) -> list[str]:
    if not offered:
        _fail(Fault.AUTH_NOT_OFFERED, "The server does not offer authentication here.")
    usable = [mechanism for mechanism in _SPOKEN if mechanism in offered]
    if not usable:
        _fail(
            Fault.AUTH_MECHANISM,
            f"The server offers only {', '.join(offered)[:200]} for authentication, "
            f"and this program knows {' and '.join(_SPOKEN)}.",
        )
    return sorted(usable, key=lambda mechanism: mechanism != first)


def _plain(login: str, password: Secret) -> Exchange:
    """SASL PLAIN (RFC 4616): everything at once, or after the server asked."""
    return Exchange(
        "PLAIN",
        command=lambda: commands.auth_plain(login, password),
        shown=f"AUTH PLAIN {STARS}",
        responses=(lambda _: commands.answer_plain(login, password),),
    )


def _login(login: str, password: Secret) -> Exchange:
    """SASL LOGIN: never standardised, and the only one that some servers know."""
    return Exchange(
        "LOGIN",
        command=lambda: b"AUTH LOGIN\r\n",
        shown="AUTH LOGIN",
        responses=(
            lambda _: commands.answer_login(login),
            lambda _: commands.answer_password(password),
        ),
    )


_SPOKEN: Final = {"PLAIN": _plain, "LOGIN": _login}  # the first that the server offers is used


def refusal(reply: Reply) -> TransportError:
    """What ``reply`` to a login means."""
    transient = not reply.permanent
    fault = Fault.AUTH_TRANSIENT if transient else _why(reply)
    return TransportError(
        f"The server did not accept login and password: {reply}",
        stage=Stage.AUTHENTICATION,
        reply=reply,
        transient=transient,
        fault=fault,
    )


def _why(reply: Reply) -> Fault:
    if reply.code in _NEEDS_TLS:
        return Fault.ENCRYPTION_REQUIRED
    if reply.code == 525 or reply.enhanced == "5.7.13":
        return Fault.AUTH_ACCOUNT_DISABLED
    if reply.enhanced in _ANOTHER_WAY:
        return Fault.AUTH_TOO_WEAK
    # Microsoft's code for all that stands in the way of a login, a wrong password among it.
    if reply.enhanced == "5.7.139" and "credentials" not in reply.text:
        return Fault.AUTH_SWITCHED_OFF
    return Fault.AUTH_MECHANISM if refuses_mechanism(reply) else Fault.AUTH_REJECTED


def _fail(fault: Fault, text: str) -> NoReturn:
    raise TransportError(text, stage=Stage.AUTHENTICATION, transient=False, fault=fault)

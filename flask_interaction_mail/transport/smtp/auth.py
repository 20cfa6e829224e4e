"""Logging in (RFC 4954): which mechanism, under which conditions, and what it says."""

from __future__ import annotations

import base64
import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Final, NoReturn

from ...errors import TransportError
from ...language import mark
from ...outcome import Fault, Reply, Stage
from ...settings.relay import Relay
from ...settings.secret import Secret
from .replies import safe_text

STARS: Final = "********"
DONE: Final = 235
GO_ON: Final = 334
REJECTED: Final = 535
_LONGEST: Final = 510  # octets of a command, without its end (RFC 5321 §4.5.3.1.4)
_NEEDS_TLS: Final = (530, 538)  # the latter is obsolete, but still used (RFC 4954 §6)
# The mechanism is refused, and not the account (RFC 5321 §4.2.3, RFC 4954 §6).
_NO_SUCH_MECHANISM: Final = (500, 501, 502, 503, 504, 534)
# Another mechanism would fail the same way, and could lock the account: wrong password, mechanism
# too weak, switched off, disabled, needs encryption.
_OF_THE_ACCOUNT: Final = ("5.7.8", "5.7.9", "5.7.139")
_FOR_GOOD: Final = (525, 538)
_SAID: Final = 200  # characters of a server's reason that are kept
_ANOTHER_WAY: Final = ("5.7.9", "5.7.14")  # Google: app password needed, log in by browser


@dataclass(frozen=True, slots=True)
class Exchange:
    """What one mechanism says: a command, then the response to each challenge of the server.

    It is rendered only when it is sent, so that no stack frame above holds the password. A
    transcript shows ``shown`` instead.
    """

    mechanism: str
    command: Callable[[], bytes]
    shown: str
    responses: Sequence[Callable[[str], bytes]]


@dataclass(frozen=True, slots=True)
class LoggedIn:
    """The mechanism that worked, and the server's refusal of another one before, if any."""

    mechanism: str
    instead_of: Reply | None = None


def refuses_mechanism(reply: Reply) -> bool:
    """Whether ``reply`` to AUTH means that another mechanism can be tried without risk."""
    return reply.code in _NO_SUCH_MECHANISM and not _refuses_account(reply)


def may_refuse_mechanism(reply: Reply) -> bool:
    """The same, or 535, with which some servers refuse a mechanism: for Test Settings only.

    If it meant a wrong password after all, the account has two failures instead of one.
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
            the server has ``offered`` no mechanism that we know.
    """
    login, password = _credentials(relay)
    _need_encryption(relay, mark("password"), encrypted=encrypted)
    return [_SPOKEN[mechanism](login, password) for mechanism in _usable(offered, first)]


def _need_encryption(relay: Relay, what: str, *, encrypted: bool) -> None:
    if not (encrypted or relay.allow_unencrypted_auth):
        _fail(
            Fault.AUTH_UNENCRYPTED,
            mark(
                "The connection is not encrypted: the %(what)s would be readable on the network.",
                what=what,
            ),
        )


def _credentials(relay: Relay) -> tuple[str, Secret]:
    if not relay.login:
        _fail(Fault.LOGIN_MISSING, mark("Authentication is on, but no login is set."))
    if not relay.secret:
        _fail(Fault.PASSWORD_MISSING, mark("There is no password for this server: enter it again."))
    if "\0" in relay.login or "\0" in relay.secret.reveal():
        _fail(Fault.AUTH_REJECTED, mark("Login and password cannot contain a NUL character."))
    return relay.login, relay.secret


def _usable(offered: Sequence[str], first: str | None) -> list[str]:
    if not offered:
        _fail(Fault.AUTH_NOT_OFFERED, mark("The server does not offer authentication here."))
    usable = [mechanism for mechanism in _SPOKEN if mechanism in offered]
    if not usable:
        _fail(
            Fault.AUTH_MECHANISM,
            mark(
                "The server offers only %(offered)s for authentication, "
                "and this program knows PLAIN and LOGIN.",
                offered=", ".join(offered)[:200],
            ),
        )
    return sorted(usable, key=lambda mechanism: mechanism != first)


def _plain(login: str, password: Secret) -> Exchange:
    """SASL PLAIN (RFC 4616): all at once, or when the server asks."""
    return Exchange(
        "PLAIN",
        command=lambda: plain_command(login, password),
        shown=f"AUTH PLAIN {STARS}",
        responses=(lambda _: plain_token(login, password) + b"\r\n",),
    )


def plain_command(login: str, password: Secret) -> bytes:
    """AUTH PLAIN with its initial response, without it if the line would be too long."""
    token = plain_token(login, password)
    if len(token) + 11 > _LONGEST:
        return b"AUTH PLAIN\r\n"
    return b"AUTH PLAIN " + token + b"\r\n"


def plain_token(login: str, password: Secret) -> bytes:
    """The token of SASL PLAIN."""
    return _token(f"\0{login}\0{password.reveal()}")


def _login(login: str, password: Secret) -> Exchange:
    """SASL LOGIN: never standardised, but the only one that some servers know."""
    return Exchange(
        "LOGIN",
        command=lambda: b"AUTH LOGIN\r\n",
        shown="AUTH LOGIN",
        responses=(
            lambda _: _token(login) + b"\r\n",
            lambda _: _token(password.reveal()) + b"\r\n",
        ),
    )


def bearer_exchange(
    relay: Relay, token: Secret, offered: Sequence[str], *, encrypted: bool
) -> Exchange:
    """The way to log in at the relay with an access ``token``.

    Raises:
        TransportError: there is no mailbox, the connection is not ``encrypted``, or the server
            has ``offered`` no mechanism that takes a token.
    """
    if not relay.login:
        _fail(Fault.LOGIN_MISSING, mark("There is no mailbox to log in for."))
    _need_encryption(relay, mark("access token"), encrypted=encrypted)
    mechanism = next((mechanism for mechanism in _BEARERS if mechanism in offered), None)
    if mechanism is None:
        _fail(
            Fault.OAUTH_NOT_OFFERED,
            mark(
                "The server takes no access token: it offers %(offered)s, and neither XOAUTH2 nor "
                "OAUTHBEARER.",
                offered=", ".join(offered)[:_SAID] or mark("no authentication"),
            ),
        )
    initial, end = _BEARERS[mechanism]
    return _bearer(mechanism, partial(initial, relay, token), end)


def _bearer(mechanism: str, response: Callable[[], bytes], end: bytes) -> Exchange:
    """Two steps where the line would be too long (RFC 4954 §4), as some servers cut it there.

    ``end`` answers the challenge that holds an error; the server then refuses the login.
    """
    first = f"AUTH {mechanism}".encode("ascii")
    whole = len(first) + 1 + len(response()) <= _LONGEST
    say = (lambda: first + b" " + response() + b"\r\n") if whole else (lambda: first + b"\r\n")
    challenged = () if whole else (lambda _: response() + b"\r\n",)
    return Exchange(
        mechanism,
        command=say,
        shown=f"AUTH {mechanism} {STARS}" if whole else f"AUTH {mechanism}",
        responses=(*challenged, lambda _: end + b"\r\n"),
    )


def xoauth2(relay: Relay, token: Secret) -> bytes:
    """The initial response of XOAUTH2, Google's and Microsoft's mechanism."""
    return _token(f"user={relay.login}\1auth=Bearer {token.reveal()}\1\1")


def oauthbearer(relay: Relay, token: Secret) -> bytes:
    """The initial response of OAUTHBEARER (RFC 7628 §3.1)."""
    name = (relay.login or "").replace("=", "=3D").replace(",", "=2C")  # RFC 5801 §4
    about = f"host={relay.server}\1port={relay.port}\1auth=Bearer {token.reveal()}\1\1"
    return _token(f"n,a={name},\1{about}")


def reason_in(challenge: str) -> str:
    """The error that a ``challenge`` tells (RFC 7628 §3.2.2), in one legible line; "" for none.

    Only known members are kept: a server could repeat what it was sent.
    """
    try:
        told = json.loads(base64.b64decode(challenge, validate=True))
    except (ValueError, RecursionError):  # also for what is neither UTF-8 nor JSON
        return ""
    if not isinstance(told, dict):
        return ""
    known = [f"{name} {told[name]}" for name in _TOLD if isinstance(told.get(name), str | int)]
    return safe_text(", ".join(known))[:_SAID]


def _token(text: str) -> bytes:
    # An encoding error would quote the password, so there is none.
    return base64.b64encode(text.encode("utf-8", "surrogatepass"))


_SPOKEN: Final = {"PLAIN": _plain, "LOGIN": _login}  # the first that the server offers is used
# The same for tokens, with what answers an error (RFC 7628 §3.2.3: a single control-A).
_BEARERS: Final = {"XOAUTH2": (xoauth2, b""), "OAUTHBEARER": (oauthbearer, b"AQ==")}
# What a refusal of a password means of a token.
_OF_TOKENS: Final = {
    Fault.AUTH_REJECTED: Fault.OAUTH_REJECTED,
    Fault.AUTH_TOO_WEAK: Fault.OAUTH_REJECTED,
    Fault.AUTH_SWITCHED_OFF: Fault.OAUTH_SWITCHED_OFF,
    Fault.AUTH_MECHANISM: Fault.OAUTH_NOT_OFFERED,
}
_TOLD: Final = ("status", "error", "scope", "schemes")


def refusal(reply: Reply) -> TransportError:
    """The error for ``reply``, with which the server refused a login."""
    transient = not reply.permanent
    fault = Fault.AUTH_TRANSIENT if transient else _why(reply)
    return TransportError(
        mark("The server did not accept login and password: %(reply)s", reply=str(reply)),
        stage=Stage.AUTHENTICATION,
        reply=reply,
        transient=transient,
        fault=fault,
    )


def token_refusal(reply: Reply, reason: str) -> TransportError:
    """The error for ``reply``, with which the server refused a token; ``reason`` as it told."""
    transient = not reply.permanent
    fault = Fault.AUTH_TRANSIENT if transient else _why(reply)
    fault = _OF_TOKENS.get(fault, fault)
    said = f"{reply} ({reason})" if reason else str(reply)
    return TransportError(
        mark("The mail server did not accept the access token: %(reply)s", reply=said),
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
    # Microsoft's code for everything that prevents a login, including a wrong password.
    if reply.enhanced == "5.7.139" and "credentials" not in reply.text:
        return Fault.AUTH_SWITCHED_OFF
    return Fault.AUTH_MECHANISM if refuses_mechanism(reply) else Fault.AUTH_REJECTED


def _fail(fault: Fault, text: str) -> NoReturn:
    raise TransportError(text, stage=Stage.AUTHENTICATION, transient=False, fault=fault)

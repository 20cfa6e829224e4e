"""Reads what a token service answers (RFC 6749 §5), in all the shapes that were seen. Pure.

Answers about the client, its key, its scope or its rights are about settings: mail waits until
somebody changes them. What a busy or broken service says is weather, and is asked again.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from types import MappingProxyType
from typing import Any, Final, NamedTuple, TypeGuard
from urllib.parse import quote_plus

from ...errors import TransportError
from ...language import mark
from ...outcome import Fault, Stage
from ...settings.secret import Secret
from ..base import AccessToken
from ..smtp.replies import safe_text
from . import claims

_UNSAID: Final = 300.0  # s that a token is taken to last if that was not said
_LONGEST: Final = 30 * 24 * 3600.0  # s
_SHOWN: Final = 400  # characters of what the service says
_ADDRESS: Final = 254  # characters of an address (RFC 5321 §4.5.3.1.3)
_JWT: Final = re.compile(r"eyJ[\w-]+\.[\w-]+\.[\w-]*")
_PRINTABLE: Final = re.compile(r"[\x21-\x7e]+")
_WEATHER: Final = ("temporarily_unavailable", "server_error")
_FAULTS: Final = {
    "invalid_client": Fault.TOKEN_CLIENT_REFUSED,
    "invalid_grant": Fault.TOKEN_GRANT_REFUSED,
    "invalid_scope": Fault.TOKEN_SCOPE_REFUSED,
    "unauthorized_client": Fault.TOKEN_CONSENT_MISSING,
    "access_denied": Fault.TOKEN_CONSENT_MISSING,
    # A person has to do something: log in, confirm, agree again (OpenID Connect Core §3.1.2.6).
    "interaction_required": Fault.TOKEN_CONNECT_AGAIN,
    "login_required": Fault.TOKEN_CONNECT_AGAIN,
    "consent_required": Fault.TOKEN_CONNECT_AGAIN,
}
# What the same words are about, for a service account and for a person's consent.
FOR_ACCOUNT: Final = {Fault.TOKEN_CONSENT_MISSING: Fault.TOKEN_DELEGATION_MISSING}
FOR_CONSENT: Final = {
    Fault.TOKEN_GRANT_REFUSED: Fault.TOKEN_CONNECT_AGAIN,
    Fault.TOKEN_CONSENT_MISSING: Fault.TOKEN_CONNECT_AGAIN,
}
# What Microsoft's codes say more exactly
# (https://learn.microsoft.com/entra/identity-platform/reference-error-codes).
_MICROSOFT: Final = {
    "AADSTS7000222": Fault.TOKEN_SECRET_EXPIRED,
    "AADSTS65001": Fault.TOKEN_CONSENT_MISSING,
    "AADSTS700016": Fault.TOKEN_APPLICATION_UNKNOWN,
    "AADSTS90002": Fault.TOKEN_TENANT_UNKNOWN,
    "AADSTS900023": Fault.TOKEN_TENANT_UNKNOWN,
    "AADSTS70011": Fault.TOKEN_SCOPE_REFUSED,
    "AADSTS1002012": Fault.TOKEN_SCOPE_REFUSED,
    "AADSTS500011": Fault.TOKEN_SCOPE_REFUSED,
}


class Granted(NamedTuple):
    """An access token, and the refresh token that may come with it after a person's consent.

    Who that was, by an ID token, is for the eyes of people: nothing is decided by it.
    """

    token: AccessToken
    refresh_token: Secret | None = None


def read(
    status: int,
    body: bytes,
    *,
    now: datetime,
    faults: Mapping[Fault, Fault] = MappingProxyType({}),
    hide: Sequence[Secret] = (),
) -> Granted:
    """The token in an answer; ``hide`` are secrets that an error must not repeat.

    ``faults`` says which are others for whoever had asked.

    Raises:
        TransportError: there is no token in it.
    """
    if 300 <= status < 400:
        raise failure(
            mark(
                "The token service answered %(status)s, a redirect, which is not followed.",
                status=status,
            ),
            Fault.TOKEN_REDIRECT,
        )
    told = _object(body)
    if status == 429 or status >= 500:
        raise _weather(status, told, hide)
    if told is None:
        raise failure(
            mark(
                "The token service answered %(status)s, and no JSON: it may be another web page.",
                status=status,
            ),
            Fault.TOKEN_NONSENSE,
            transient=True,
        )
    if "error" in told or status >= 400:
        raise _refused(status, told, hide, faults)
    refresh_token = told.get("refresh_token")
    return Granted(_token(told, now), Secret(refresh_token) if _is_token(refresh_token) else None)


def failure(text: str, fault: Fault, *, transient: bool = False) -> TransportError:
    """The error of a request for a token."""
    return TransportError(text, stage=Stage.TOKEN, transient=transient, fault=fault)


def _object(body: bytes) -> dict[str, Any] | None:
    try:
        told = json.loads(body)
    except (ValueError, RecursionError):
        return None
    return told if isinstance(told, dict) else None


def _token(told: dict[str, Any], now: datetime) -> AccessToken:
    secret, kind = told.get("access_token"), told.get("token_type") or "Bearer"
    if not _is_token(secret):
        raise failure(
            mark("There is no access token in the answer of the token service."),
            Fault.TOKEN_NONSENSE,
            transient=True,
        )
    if str(kind).lower() != "bearer":
        raise failure(
            mark("The token is of another kind: %(answer)s.", answer=safe_text(str(kind))[:40]),
            Fault.TOKEN_REFUSED,
        )
    scope = told.get("scope")
    return AccessToken(
        Secret(secret),
        now + timedelta(seconds=_seconds(told.get("expires_in"))),
        safe_text(scope)[:_SHOWN] if isinstance(scope, str) else None,
        _account(told.get("id_token")),
    )


def _is_token(value: object) -> TypeGuard[str]:
    return isinstance(value, str) and _PRINTABLE.fullmatch(value) is not None


def _account(id_token: object) -> str | None:
    """The address in an ID token, which came over TLS from where it was asked for."""
    told = claims.told_by(Secret(id_token)) if isinstance(id_token, str) else {}
    named = (told.get(name) for name in ("email", "preferred_username", "upn"))
    address = next((text for text in named if isinstance(text, str) and "@" in text), None)
    return safe_text(address)[:_ADDRESS] if address else None


def _seconds(said: object) -> float:
    """How long the token lasts; some services say it as text."""
    try:
        seconds = float(said) if isinstance(said, str | int | float) else _UNSAID
    except (ValueError, OverflowError):
        return _UNSAID
    return min(max(seconds, 0.0), _LONGEST) if seconds == seconds else _UNSAID  # not NaN


def _weather(status: int, told: dict[str, Any] | None, hide: Sequence[Secret]) -> TransportError:
    said = f"{status}: {_said(told, hide)}" if told else str(status)
    return failure(
        mark("The token service cannot answer now (%(answer)s).", answer=said),
        Fault.TOKEN_UNAVAILABLE,
        transient=True,
    )


def _refused(
    status: int, told: dict[str, Any], hide: Sequence[Secret], faults: Mapping[Fault, Fault]
) -> TransportError:
    error, said = str(told.get("error") or ""), _said(told, hide)
    text = mark(
        "The token service refused (%(status)s): %(answer)s",
        status=status,
        answer=said or mark("it does not say why"),
    )
    if error in _WEATHER:
        return failure(text, Fault.TOKEN_UNAVAILABLE, transient=True)
    found = _fault(error, said)
    return failure(text, faults.get(found, found))


def _fault(error: str, said: str) -> Fault:
    for code, fault in _MICROSOFT.items():
        if code in said:
            return fault
    fault = _FAULTS.get(error, Fault.TOKEN_REFUSED)
    if fault is Fault.TOKEN_CLIENT_REFUSED and "expired" in said.lower():
        return Fault.TOKEN_SECRET_EXPIRED
    return fault


def _said(told: dict[str, Any], hide: Sequence[Secret]) -> str:
    """Error and description in one line, without what was sent."""
    parts = [told.get(name) for name in ("error", "error_description")]
    text = ": ".join(part for part in parts if isinstance(part, str) and part)
    for secret in hide:
        for spelled in (secret.reveal(), quote_plus(secret.reveal())):
            text = text.replace(spelled, "********")
    return safe_text(_JWT.sub("********", text))[:_SHOWN]

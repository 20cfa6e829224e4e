"""Reads what a token service answers (RFC 6749 §5), in all the shapes that were seen. Pure.

Answers about the client, its key, its scope or its rights are about settings: mail waits until
somebody changes them. What a busy or broken service says is weather, and is asked again.
"""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Any, Final
from urllib.parse import quote_plus

from ...errors import TransportError
from ...language import mark
from ...outcome import Fault, Stage
from ...settings.secret import Secret
from ..base import AccessToken
from ..smtp.replies import safe_text

_UNSAID: Final = 300.0  # s that a token is taken to last if that was not said
_LONGEST: Final = 30 * 24 * 3600.0  # s
_SHOWN: Final = 400  # characters of what the service says
_JWT: Final = re.compile(r"eyJ[\w-]+\.[\w-]+\.[\w-]*")
_PRINTABLE: Final = re.compile(r"[\x21-\x7e]+")
_WEATHER: Final = ("temporarily_unavailable", "server_error")
_FAULTS: Final = {
    "invalid_client": Fault.TOKEN_CLIENT_REFUSED,
    "invalid_grant": Fault.TOKEN_GRANT_REFUSED,
    "invalid_scope": Fault.TOKEN_SCOPE_REFUSED,
    "unauthorized_client": Fault.TOKEN_CONSENT_MISSING,
    "access_denied": Fault.TOKEN_CONSENT_MISSING,
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


def read(
    status: int,
    body: bytes,
    *,
    now: datetime,
    for_account: bool = False,
    hide: Sequence[Secret] = (),
) -> AccessToken:
    """The token in an answer; ``hide`` are secrets that an error must not repeat.

    ``for_account`` says that a service account had asked.

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
        raise _refused(status, told, hide, for_account=for_account)
    return _token(told, now)


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
    if not isinstance(secret, str) or not _PRINTABLE.fullmatch(secret):
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
    )


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
    status: int, told: dict[str, Any], hide: Sequence[Secret], *, for_account: bool
) -> TransportError:
    error, said = str(told.get("error") or ""), _said(told, hide)
    text = mark(
        "The token service refused (%(status)s): %(answer)s",
        status=status,
        answer=said or mark("it does not say why"),
    )
    if error in _WEATHER:
        return failure(text, Fault.TOKEN_UNAVAILABLE, transient=True)
    return failure(text, _fault(error, said, for_account=for_account))


def _fault(error: str, said: str, *, for_account: bool) -> Fault:
    for code, fault in _MICROSOFT.items():
        if code in said:
            return fault
    fault = _FAULTS.get(error, Fault.TOKEN_REFUSED)
    if for_account and fault is Fault.TOKEN_CONSENT_MISSING:
        return Fault.TOKEN_DELEGATION_MISSING
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

"""What goes through the browser of the person who agrees (RFC 6749 §4.1, RFC 7636). Pure.

Nothing in it is secret but the code, which is good for nothing without the verifier.
"""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Mapping
from typing import Final
from urllib.parse import urlencode, urlsplit

from ...language import mark
from ...settings.grant import Grant
from ...settings.secret import Secret
from ..smtp.replies import safe_text

_SHOWN: Final = 300  # characters of what the provider says
_PORTS: Final = {"https": 443, "http": 80}
_REFUSED: Final[Mapping[str, str]] = {
    "access_denied": mark("The person did not agree, or may not."),
    "consent_required": mark("The provider wants the consent of an administrator first."),
    "unauthorized_client": mark("The provider does not let this client ask people for consent."),
    "invalid_scope": mark("The provider does not know the scope, or does not give it."),
    "invalid_request": mark("The provider did not understand the request."),
    "unsupported_response_type": mark("The provider does not let this client ask for a code."),
    "temporarily_unavailable": mark("The provider cannot answer now. Try again in a few minutes."),
    "server_error": mark("The provider has a problem of its own. Try again in a few minutes."),
}


def authorization_url(grant: Grant, *, state: str, verifier: Secret, redirect_url: str) -> str:
    """Where the browser goes: the authorization URL with its own query, and what is asked for.

    The code that comes back is good with ``verifier`` alone, of which only the digest is shown
    (S256, RFC 7636 §4.2).
    """
    asked = {
        "response_type": "code",
        "client_id": grant.client_id,
        "redirect_uri": redirect_url,
        "scope": grant.scope,
        "state": state,
        "code_challenge": _challenge(verifier),
        "code_challenge_method": "S256",
        "login_hint": grant.mailbox,
    }
    url = grant.authorization_url or ""
    joined = "&" if urlsplit(url).query else "?"
    return f"{url}{joined}{urlencode({name: text for name, text in asked.items() if text})}"


def from_elsewhere(grant: Grant, issuer: str | None) -> bool:
    """Whether an answer names an ``issuer`` that is not at the authorization URL (RFC 9207).

    A provider that does not say who it is, is believed: there is one for each redirect URL.
    """
    return issuer is not None and _origin(issuer) != _origin(grant.authorization_url or "")


def refusal(error: str, description: str) -> str:
    """What an error answer means (RFC 6749 §4.1.2.1), in words, with those of the provider."""
    said = safe_text(": ".join(filter(None, (error, description))))[:_SHOWN]
    known = _REFUSED.get(error, mark("The provider refused."))
    return mark("%(meaning)s It says: “%(answer)s”", meaning=known, answer=said)


def _challenge(verifier: Secret) -> str:
    digest = hashlib.sha256(verifier.reveal().encode("ascii")).digest()
    return base64.urlsafe_b64encode(digest).rstrip(b"=").decode("ascii")


def _origin(url: str) -> tuple[str, str, int | None]:
    try:
        parts = urlsplit(url)
        return parts.scheme, parts.hostname or "", parts.port or _PORTS.get(parts.scheme)
    except ValueError:
        return "", url, None

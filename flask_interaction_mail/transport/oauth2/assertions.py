"""Assertions: JSON web tokens (RFC 7519), signed with a private key, that say who asks."""

from __future__ import annotations

import base64
import json
import time
import uuid
from typing import Any, Final
from urllib.parse import urlsplit

from ...settings.grant import Grant, account_in, certificate_in, key_in
from ...settings.secret import Secret

_LASTS: Final = 300  # s
_SKEW: Final = 30  # s by which our clock may be ahead of theirs


def for_client(grant: Grant, certificate: Secret) -> str:
    """Say that we are the client, with the key of its ``certificate`` (RFC 7523 §3)."""
    header = {"alg": _algorithm(grant), "typ": "JWT", "x5t#S256": _thumbprint(certificate)}
    claims = {"iss": grant.client_id, "sub": grant.client_id, "jti": str(uuid.uuid4())}
    return _signed(header, claims | _times() | {"aud": grant.token_url}, certificate)


def for_account(grant: Grant, account: Secret) -> str:
    """Say that the service ``account`` acts for the mailbox (Google's use of RFC 7523 §2.1)."""
    parts = account_in(account)
    header = {"alg": "RS256", "typ": "JWT", "kid": parts["private_key_id"]}
    claims = {
        "iss": parts["client_email"],
        "sub": grant.mailbox,
        "scope": grant.scope,
        "aud": grant.token_url,
    }
    return _signed(header, claims | _times(), Secret(parts["private_key"]))


def _algorithm(grant: Grant) -> str:
    # Microsoft wants PS256 with a thumbprint in SHA-256; RS256 is what every other service knows.
    microsoft = "microsoftonline" in (urlsplit(grant.token_url).hostname or "")
    return "PS256" if microsoft else "RS256"


def _thumbprint(certificate: Secret) -> str:
    from cryptography.hazmat.primitives.hashes import SHA256

    return _coded(certificate_in(certificate).fingerprint(SHA256()))


def _times() -> dict[str, Any]:
    now = int(time.time())
    return {"iat": now - _SKEW, "nbf": now - _SKEW, "exp": now + _LASTS}


def _signed(header: dict[str, Any], claims: dict[str, Any], key: Secret) -> str:
    from cryptography.hazmat.primitives.asymmetric.padding import MGF1, PSS, PKCS1v15
    from cryptography.hazmat.primitives.hashes import SHA256

    parts = [_coded(json.dumps(part).encode()) for part in (header, claims)]
    signed = ".".join(parts)
    pss = PSS(MGF1(SHA256()), salt_length=PSS.DIGEST_LENGTH)
    padding = pss if header["alg"] == "PS256" else PKCS1v15()
    return f"{signed}.{_coded(key_in(key).sign(signed.encode('ascii'), padding, SHA256()))}"


def _coded(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode("ascii")

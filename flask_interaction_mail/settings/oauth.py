"""What an administrator pastes to ask for access tokens: keys above all.

Keys come out of browsers and editors: with literal ``\\n``, other line ends, a byte order mark or
blanks. Each cleaner gives the one spelling that is used, or says what is wrong with a text without
quoting it.
"""

from __future__ import annotations

import json
import re
from datetime import date
from textwrap import wrap
from typing import Any, Final

from .. import addresses
from ..language import gettext
from .grant import BLOCK, certificate_in, key_in
from .secret import Secret
from .setting import WrongValue

_LONGEST: Final = 1000
_UUID: Final = re.compile(r"[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}", re.IGNORECASE)
_TENANT: Final = re.compile(r"[a-z0-9](?:[a-z0-9.-]{0,251}[a-z0-9])?", re.IGNORECASE)
_NEEDED: Final = ("client_email", "private_key", "token_uri")
_KEPT: Final = (*_NEEDED, "private_key_id")  # of a service account


def service_account(raw: object) -> Secret | None:
    """The cleaner of a Google service account's key: the JSON, pasted whole."""
    text = _secret_text(raw)
    if text is None:
        return None
    try:
        told = json.loads(text, strict=False)  # a key with real line ends in it is taken
    except (ValueError, RecursionError):
        raise WrongValue(
            gettext(
                "must be the whole content of the JSON file of a key, with its braces: "
                "open the file in an editor, and copy all of it"
            )
        ) from None  # its cause would quote the key
    if not isinstance(told, dict) or told.get("type") != "service_account":
        raise WrongValue(_other_kind(told))
    if not all(isinstance(told.get(name), str) and told[name] for name in _NEEDED):
        raise WrongValue(
            gettext("lacks a part that each key of a service account has: copy all of the file")
        )
    kept = {name: str(told.get(name) or "") for name in _KEPT}
    kept |= {"type": "service_account", "private_key": _key_in(kept["private_key"])}
    return Secret(json.dumps(kept, sort_keys=True))


def client_certificate(raw: object) -> Secret | None:
    """The cleaner of a certificate together with its private key, both as PEM text."""
    text = _secret_text(raw)
    if text is None:
        return None
    pem = _canonical(text)
    if "-----BEGIN CERTIFICATE-----" not in pem:
        raise WrongValue(
            gettext(
                "holds no certificate: paste the certificate and its private key, each from its "
                "line with BEGIN to its line with END"
            )
        )
    key = _key_in(text)
    certificates = [f"{block[0]}\n" for block in BLOCK.finditer(pem) if block[1] == "CERTIFICATE"]
    whole = Secret("".join(certificates) + key)
    try:
        public = certificate_in(whole).public_key()
    except ValueError:
        text = gettext("holds a certificate that cannot be read: copy it again")
        raise WrongValue(text) from None
    if public != key_in(whole).public_key():
        raise WrongValue(gettext("has a private key that does not belong to its certificate"))
    return whole


def client_secret(raw: object) -> Secret | None:
    """The cleaner of a client's secret: one line, without the blanks around it."""
    text = _secret_text(raw)
    if text is None:
        return None
    if re.search("[\0-\x1f\x7f\ud800-\udfff]", text):
        raise WrongValue(gettext("must be one line of characters that can be typed"))
    return Secret(text)


def tenant(raw: object) -> str | None:
    """A tenant of Microsoft 365: its ID, or one of its domains."""
    text = _line(raw).strip().rstrip("/")
    if not text:
        return None
    if "/" in text or ":" in text:
        found = _UUID.search(text)
        wanted = found[0].lower() if found else "contoso.onmicrosoft.com"
        raise WrongValue(
            gettext(
                "must be the ID of the tenant or its domain alone, such as %(wanted)s, and no web "
                "address",
                wanted=wanted,
            )
        )
    if not _TENANT.fullmatch(text):
        raise WrongValue(
            gettext("must be the ID of the tenant or one of its domains; Entra shows both")
        )
    return text.lower()


def scope(raw: object) -> str | None:
    """Scopes with spaces between them (RFC 6749 §3.3)."""
    text = " ".join(_line(raw).split())
    if not re.fullmatch(r"[\x20\x21\x23-\x5b\x5d-\x7e]*", text):
        raise WrongValue(gettext("must have letters, digits and punctuation alone"))
    return text or None


def expires(raw: object) -> str | None:
    """A day, as ``YYYY-MM-DD``."""
    if isinstance(raw, date):
        raw = f"{raw:%Y-%m-%d}"
    text = _line(raw)
    if not text:
        return None
    try:
        return f"{date.fromisoformat(text.strip()):%Y-%m-%d}"
    except ValueError:
        raise WrongValue(gettext("must be a day such as 2027-06-30: year, month and day")) from None


def _line(raw: object) -> str:
    if not isinstance(raw, str | None):
        raise WrongValue(gettext("must be text"))
    text = (raw or "").strip(addresses.PASTED)
    if addresses.has_forbidden(text) or len(text) > _LONGEST:
        raise WrongValue(gettext("must be one line of at most 1000 characters"))
    return text


def _secret_text(raw: object) -> str | None:
    if raw is None:
        return None
    if not isinstance(raw, Secret):
        raise WrongValue(gettext("must be text"))
    return raw.reveal().strip("\ufeff \t\r\n") or None


def _other_kind(told: Any) -> str:
    kind = told.get("type") if isinstance(told, dict) else None
    if isinstance(told, dict) and ("installed" in told or "web" in told):
        return gettext(
            "is an OAuth client, and no service account: in the Google Cloud console, open the "
            "service account, then Keys, Add key, JSON"
        )
    if kind in ("authorized_user", "external_account", "impersonated_service_account"):
        return gettext(
            "is another kind of credentials (%(kind)s): create a key of a service account as JSON",
            kind=kind,
        )
    return gettext(
        "is JSON, but not the key of a service account: that has a line with "
        "“type”: “service_account”"
    )


def _canonical(text: str) -> str:
    """All blocks of PEM (RFC 7468) in ``text``, each in lines of 64 characters."""
    plain = text.replace("\\r", "").replace("\\n", "\n")
    return "".join(
        f"-----BEGIN {kind}-----\n{_wrapped(body)}\n-----END {kind}-----\n"
        for kind, body in BLOCK.findall(plain)
    )


def _wrapped(body: str) -> str:
    return "\n".join(wrap("".join(body.split()), 64))


def _key_in(text: str) -> str:
    """The private key in ``text`` as canonical PEM."""
    blocks = [block for block in BLOCK.finditer(_canonical(text)) if "PRIVATE KEY" in block[1]]
    if "ENCRYPTED" in text:
        raise WrongValue(
            gettext(
                "has a private key that is protected by a password: remove the password first, "
                "such as by: openssl pkey -in key.pem -out plain.pem"
            )
        )
    if len(blocks) != 1:
        raise WrongValue(
            gettext(
                "must hold exactly one private key, from -----BEGIN PRIVATE KEY----- to "
                "-----END PRIVATE KEY-----"
            )
        )
    pem = blocks[0][0] + "\n"
    try:
        key_in(Secret(pem))
    except Exception:  # of many kinds, some of which quote what they could not read
        raise WrongValue(
            gettext("has a private key that cannot be used: it must be a whole RSA key")
        ) from None
    return pem

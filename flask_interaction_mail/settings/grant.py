"""How to ask for an access token: where, as whom, and with which key.

``cryptography`` is imported where a key is read: few processes need it.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Final

from .secret import Secret

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey
    from cryptography.x509 import Certificate

MICROSOFT: Final = "https://login.microsoftonline.com/{tenant}/oauth2/v2.0/token"
MICROSOFT_SCOPE: Final = "https://outlook.office365.com/.default"
GOOGLE_SCOPE: Final = "https://mail.google.com/"
# Where a person agrees. Google gives a refresh token only if it is asked for in this way.
MICROSOFT_CONSENT: Final = "https://login.microsoftonline.com/{tenant}/oauth2/v2.0/authorize"
GOOGLE_CONSENT: Final = (
    "https://accounts.google.com/o/oauth2/v2/auth?access_type=offline&prompt=consent"
)
GOOGLE: Final = "https://oauth2.googleapis.com/token"
# What a person agrees to; with openid and email the answer says who that was.
MICROSOFT_CONSENT_SCOPE: Final = (
    "https://outlook.office.com/SMTP.Send offline_access openid email profile"
)
MICROSOFT_READ_SCOPE: Final = "https://outlook.office.com/IMAP.AccessAsUser.All"
GOOGLE_CONSENT_SCOPE: Final = f"{GOOGLE_SCOPE} openid email"
# Where a refresh token is revoked (RFC 7009), by the token URL that it is for.
REVOCATION: Final[Mapping[str, str]] = {GOOGLE: "https://oauth2.googleapis.com/revoke"}
BLOCK: Final = re.compile(  # of PEM (RFC 7468)
    r"-----BEGIN ([A-Z0-9 ]+)-----(.*?)-----END \1-----", re.DOTALL
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Grant:
    """Where to ask for a token, as whom, and with which secret (RFC 6749 §4.4, RFC 7523).

    A client has a ``client_secret`` or a ``certificate``, which is PEM text with its key. An
    ``account``, JSON as ``service_account`` cleans it, acts for ``mailbox``. At
    ``authorization_url`` the person who has ``mailbox`` agrees (RFC 6749 §4.1); such a client may
    have no secret. ``ca_certificate`` (PEM) is trusted beside the system's CAs.
    ``also`` names another server than the relay that is shown the token, None if there is none.
    """

    token_url: str | None
    client_id: str | None = None
    client_secret: Secret | None = None
    certificate: Secret | None = None
    account: Secret | None = None
    mailbox: str | None = None
    authorization_url: str | None = None
    scope: str | None = None
    ca_certificate: str | None = None
    also: str | None = None

    @property
    def complete(self) -> bool:
        """Whether there is all that is needed to ask without a person."""
        if self.authorization_url:
            return False
        client = self.client_id and (self.client_secret or self.certificate)
        return bool(self.token_url and (self.account or client))


def key_in(pem: Secret) -> RSAPrivateKey:
    """The private key in clean PEM text.

    Raises:
        ValueError: there is none that can be used.
    """
    from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey
    from cryptography.hazmat.primitives.serialization import load_pem_private_key

    block = next(
        (found[0] for found in BLOCK.finditer(pem.reveal()) if "PRIVATE KEY" in found[1]), ""
    )
    key = load_pem_private_key(block.encode("ascii"), None)
    if not isinstance(key, RSAPrivateKey):
        raise ValueError("not an RSA key")
    return key


def certificate_in(pem: Secret) -> Certificate:
    """The first certificate in clean PEM text; raises ValueError as ``key_in``."""
    from cryptography.x509 import load_pem_x509_certificate

    return load_pem_x509_certificate(pem.reveal().encode("ascii"))


def ends(pem: Secret) -> datetime | None:
    """When the certificate in ``pem`` ends, naive UTC; None if it cannot be read."""
    try:
        return certificate_in(pem).not_valid_after_utc.replace(tzinfo=None)
    except ValueError:
        return None


def account_in(text: Secret) -> Mapping[str, str]:
    """The parts of a clean service account.

    Raises:
        ValueError: it is none.
    """
    told: dict[str, str] = json.loads(text.reveal())
    return told

"""CA certificates as PEM text: the one spelling of each, and whether it can be used."""

from __future__ import annotations

import re
from textwrap import wrap
from typing import Final

_CERTIFICATE: Final = re.compile(
    r"-----BEGIN (?:X509 )?CERTIFICATE-----(.*?)-----END (?:X509 )?CERTIFICATE-----", re.DOTALL
)


def canonical_pem(text: str) -> str:
    """Only the certificates in the PEM ``text`` (RFC 7468), each in lines of 64 characters.

    Comments, a byte order mark and odd line ends are removed. A text without certificates comes
    back with bare line feeds.
    """
    blocks: list[str] = _CERTIFICATE.findall(text)
    if not blocks:
        return "\n".join(text.splitlines()).strip()
    lines: list[str] = []
    for block in blocks:
        lines += ["-----BEGIN CERTIFICATE-----", *wrap("".join(block.split()), 64)]
        lines += ["-----END CERTIFICATE-----"]
    return "\n".join(lines)


def is_readable_pem(pem: str) -> bool:
    """Whether OpenSSL, which will use them, can read the certificates in the canonical ``pem``."""
    import ssl  # late: few have a CA of their own

    try:
        ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT).load_verify_locations(cadata=pem)
    except (ssl.SSLError, ValueError, TypeError):  # the last two if it is not ASCII, or empty
        return False
    return True

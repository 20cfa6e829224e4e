"""CA certificates as text: the one form in which they are judged, kept, compared and used."""

from __future__ import annotations

import re
from textwrap import wrap
from typing import Final

_BLOCK: Final = re.compile(
    r"-----BEGIN (?:X509 )?CERTIFICATE-----(.*?)-----END (?:X509 )?CERTIFICATE-----", re.DOTALL
)


def canonical(text: str) -> str:
    """The certificates in the PEM ``text`` alone (RFC 7468), each in lines of 64 characters.

    What else stands there goes: comments, a byte order mark, odd line ends. A text that holds
    none comes back with bare line feeds.
    """
    found: list[str] = _BLOCK.findall(text)
    if not found:
        return "\n".join(text.splitlines()).strip()
    return "\n".join(
        "\n".join(
            (
                "-----BEGIN CERTIFICATE-----",
                *wrap("".join(block.split()), 64),
                "-----END CERTIFICATE-----",
            )
        )
        for block in found
    )


def are_readable(pem: str) -> bool:
    """Whether the certificates in the canonical text ``pem`` can be used.

    OpenSSL says so, which uses them; another library's view would be another one.
    """
    import ssl  # late: few have a CA of their own

    try:
        ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT).load_verify_locations(cadata=pem)
    except (
        ssl.SSLError,
        ValueError,
        TypeError,
    ):  # the latter two for what is not ASCII, or nothing
        return False
    return True

"""What a single value may be: each cleaner takes text as typed, or a typed value.

A clean value comes back unchanged, and an empty text becomes None. A ``WrongValue`` or an
``AddressError`` says what to enter instead.
"""

from __future__ import annotations

import enum
import ipaddress
import json
import re
from collections.abc import Callable
from typing import Final
from urllib.parse import urlsplit

from .. import addresses
from ..addresses import quoted
from ..errors import AddressError
from .certificates import canonical_pem, is_readable_pem
from .setting import WrongValue as WrongValue

_TRUE: Final = frozenset({"1", "y", "yes", "on", "true"})
FALSE: Final = frozenset({"", "0", "n", "no", "off", "false"})
_LONGEST: Final = 255  # characters of a name or a login
_LABEL: Final = re.compile(r"[a-z0-9_](?:[a-z0-9_-]{0,61}[a-z0-9_])?")
_COLOUR: Final = re.compile("#[0-9a-f]{6}")
_LONGEST_URL: Final = 2000  # characters
_URL: Final = "must be a complete https:// URL; http:// only to this machine (localhost)"
_WRITE_IT: Final = "give a name such as mail.example.com, or an IP address"


def line(raw: object) -> str | None:
    """One line of text."""
    text = _text(raw)
    if addresses.has_forbidden(text):
        raise WrongValue("must be one line without control characters")
    if len(text) > _LONGEST:
        raise WrongValue(f"must have at most {_LONGEST} characters, not {len(text)}")
    return text or None


def name(raw: object) -> str | None:
    """A name that people read, with single spaces."""
    return " ".join((line(raw) or "").split()) or None


def colour(raw: object) -> str | None:
    """A colour as ``#rrggbb``, in lower case."""
    text = _text(raw).lower()
    if text and not _COLOUR.fullmatch(text):
        raise WrongValue("must be a # and six digits or letters from a to f, such as #1f5fae")
    return text or None


def domain(raw: object) -> str | None:
    """A domain, as A-labels."""
    text = _text(raw)
    return addresses.clean_domain(text) if text else None


def domains(raw: object) -> tuple[str, ...]:
    """Domains, from a sequence or from a text with spaces or commas between them."""
    items = raw if isinstance(raw, list | tuple) else re.split(r"[\s,;]+", _text(raw))
    names = [text for item in items if (text := _text(item))]
    return tuple(dict.fromkeys(map(addresses.clean_domain, names)))


def email(raw: object) -> str | None:
    """A full address, or the part before ``@`` alone."""
    text = _text(raw)
    if not text:
        return None
    # Any domain without a dot passes here; ``rules`` knows which ones are the company's own.
    return addresses.clean_email(text, own_domains=addresses.bare_domain(text))


def server(raw: object) -> str | None:
    """A host name, a single label or an IP address (R15).

    Names are lower-case A-labels; an IPv6 address has no brackets.
    """
    text = _text(raw).strip(" ")
    if not text:
        return None
    _refuse_extras(text)
    bare = text[1:-1] if text.startswith("[") and text.endswith("]") else text
    if address := _ip(bare):
        return address.compressed
    _refuse_port(text)
    return _host_name(text)


def helo(raw: object) -> str | None:
    """A name for EHLO: a host name or an address literal (RFC 5321 §4.1.3)."""
    text = _text(raw).strip(" ")
    if not text:
        return None
    bare = text.removeprefix("[").removesuffix("]")
    if address := _ip(re.sub(r"^ipv6:", "", bare, flags=re.IGNORECASE)):
        prefix = "IPv6:" if address.version == 6 else ""
        return f"[{prefix}{address.compressed}]"
    name = _host_name(text)
    if "_" in name:
        raise AddressError(f"{quoted(text)} is not a host name: servers refuse an underscore in it")
    return name


def port(raw: object) -> int:
    """A port; an empty text is 25."""
    text = str(raw) if isinstance(raw, int) and not isinstance(raw, bool) else raw
    text = _text(text) if isinstance(text, str | None) else text
    if text == "":
        return 25
    number = re.fullmatch(r"0*([0-9]{1,5})", text) if isinstance(text, str) else None
    if number is None or not 1 <= int(number[1]) <= 65535:
        raise WrongValue("must be a whole number from 1 to 65535; usual are 25, 587 and 465")
    return int(number[1])


def number(usual: int, most: int) -> Callable[[object], int]:
    """The cleaner of a whole number from 0 to ``most``; an empty text is the ``usual`` one."""

    def clean(raw: object) -> int:
        text = str(raw) if isinstance(raw, int) and not isinstance(raw, bool) else raw
        text = _text(text).strip() if isinstance(text, str | None) else text
        if text == "":
            return usual
        digits = re.fullmatch(r"0*([0-9]{1,6})", text) if isinstance(text, str) else None
        if digits is None or int(digits[1]) > most:
            raise WrongValue(f"must be a whole number from 0 to {most}")
        return int(digits[1])

    return clean


def web_address(raw: object) -> str | None:
    """A URL that is posted to: https, or http to this machine."""
    text = _text(raw).strip()
    if not text:
        return None
    if not text.isascii() or not text.isprintable() or re.search(r"""[\s"<>\\^`{|}]""", text):
        raise WrongValue(f"{_URL}; write other characters as %XX")
    if len(text) > _LONGEST_URL:
        raise WrongValue(f"must have at most {_LONGEST_URL} characters, not {len(text)}")
    try:
        parts = urlsplit(text)
        port = parts.port
    except ValueError as error:
        raise WrongValue(_URL) from error
    if not parts.hostname or port == 0 or "#" in text:
        raise WrongValue(_URL)
    if "@" in parts.netloc:
        raise WrongValue("must not have a login in it")
    server(parts.hostname)
    if parts.scheme == "https" or (parts.scheme == "http" and is_this_machine(parts.hostname)):
        return text
    raise WrongValue(_URL)


def is_this_machine(host: str) -> bool:
    """Whether ``host`` is written as an address of the machine itself."""
    if host == "localhost":
        return True
    address = _ip(host)
    return address is not None and address.is_loopback


def boolean(raw: object) -> bool:
    """A yes or no; None is no."""
    if raw is None:
        return False
    word = str(raw).strip().lower() if isinstance(raw, str | bool | int) else "?"
    if word in FALSE:
        return False
    if word in _TRUE:
        return True
    raise WrongValue("must be yes or no")


def word(words: type[enum.StrEnum]) -> Callable[[object], enum.StrEnum]:
    """A cleaner for one of ``words``."""

    def cleaner(raw: object) -> enum.StrEnum:
        try:
            return words(str(raw).strip().lower())
        except ValueError as error:
            raise WrongValue(f"must be one of {', '.join(words)}") from error

    return cleaner


def certificate(raw: object) -> str | None:
    """CA certificates, as PEM text."""
    text = canonical_pem(given := _text(raw))
    if not text:
        return None
    if "PRIVATE KEY" in given:
        raise WrongValue("holds a private key, which must stay secret: paste certificates only")
    if not is_readable_pem(text):
        raise WrongValue(
            "is not a certificate: paste the whole text, "
            "from -----BEGIN CERTIFICATE----- to -----END CERTIFICATE-----"
        )
    return text


def not_text(raw: object, spelled: str) -> str:
    """Why ``raw`` is refused where text is expected; ``spelled`` is its JSON."""
    if not isinstance(raw, bool | int | float):
        return f"must be text, not {type(raw).__name__}"
    # What Flask's from_prefixed_env made of an environment variable.
    kind = "a yes or no" if isinstance(raw, bool) else "a number"
    return (
        f"must be text, but is {kind}: put it in quotes; "
        f"in an environment variable in both kinds of quotes, '\"{spelled}\"'"
    )


def _text(raw: object) -> str:
    if raw is None:
        return ""
    if not isinstance(raw, str):
        raise WrongValue(not_text(raw, json.dumps(raw, default=repr)))
    return raw.strip(addresses.PASTED)


def _ip(text: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address | None:
    try:
        address = ipaddress.ip_address(text)
    except ValueError:
        return None
    return None if "%" in text else address


def _refuse_extras(text: str) -> None:
    if "/" in text:
        raise AddressError(f"{quoted(text)} looks like a web address: {_WRITE_IT}")
    if "@" in text:
        raise AddressError(f"{quoted(text)} looks like an e-mail address: {_WRITE_IT}")
    if any(character.isspace() for character in text):
        raise AddressError(f"{quoted(text)} contains spaces: {_WRITE_IT}")
    if hidden := next((character for character in text if not character.isprintable()), ""):
        raise AddressError(
            f"{quoted(text)} contains an invisible character, U+{ord(hidden):04X}: {_WRITE_IT}"
        )


def _refuse_port(text: str) -> None:
    host, colon, port = text.rpartition(":")
    if colon and port.isdecimal() and (":" not in host or host.endswith("]")):
        raise AddressError(f"{quoted(text)} contains a port: put {port} into the port field")
    if colon or text.startswith("["):
        raise AddressError(f"{quoted(text)} is not an IPv6 address: {_WRITE_IT}")


def _host_name(text: str) -> str:
    name = _a_labels(text).lower().removesuffix(".")
    labels = name.split(".")
    if len(name) > 253 or not all(_LABEL.fullmatch(label) for label in labels):
        raise AddressError(f"{quoted(text)} is not the name of a server: {_WRITE_IT}")
    # Resolvers read 127.1, 0177.0.0.1 and 2130706433 as 127.0.0.1, which nobody means.
    if re.fullmatch(r"[0-9]+|0x[0-9a-f]*", labels[-1]):
        raise AddressError(f"{quoted(text)} is not an IP address: write one like 192.0.2.25")
    return name


def _a_labels(text: str) -> str:
    if text.isascii():
        return text
    try:
        return addresses.clean_domain(text)
    except AddressError as error:
        raise AddressError(f"{quoted(text)} is not the name of a server: {_WRITE_IT}") from error

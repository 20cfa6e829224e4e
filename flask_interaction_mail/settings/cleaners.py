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
from ..language import gettext, mark
from .certificates import canonical_pem, is_readable_pem
from .setting import WrongValue as WrongValue

_TRUE: Final = frozenset({"1", "y", "yes", "on", "true"})
FALSE: Final = frozenset({"", "0", "n", "no", "off", "false"})
_LONGEST: Final = 255  # characters of a name or a login
_LABEL: Final = re.compile(r"[a-z0-9_](?:[a-z0-9_-]{0,61}[a-z0-9_])?")
_LONGEST_FOLDER: Final = 200  # characters
_COLOUR: Final = re.compile("#[0-9a-f]{6}")
_LONGEST_URL: Final = 2000  # characters
_URL: Final = mark("must be a complete https:// URL; http:// only to this machine (localhost)")
_NO_SERVER: Final = mark(
    "%(typed)s is not the name of a server: give a name such as mail.example.com, or an IP address"
)


def line(raw: object) -> str | None:
    """One line of text."""
    text = _text(raw)
    if addresses.has_forbidden(text):
        raise WrongValue(gettext("must be one line without control characters"))
    if len(text) > _LONGEST:
        raise WrongValue(_too_long(text, _LONGEST))
    return text or None


def name(raw: object) -> str | None:
    """A name that people read, with single spaces."""
    return " ".join((line(raw) or "").split()) or None


def colour(raw: object) -> str | None:
    """A colour as ``#rrggbb``, in lower case."""
    text = _text(raw).lower()
    if text and not _COLOUR.fullmatch(text):
        raise WrongValue(
            gettext("must be a # and six digits or letters from a to f, such as #1f5fae")
        )
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
        raise AddressError(
            gettext(
                "%(typed)s is not a host name: servers refuse an underscore in it",
                typed=quoted(text),
            )
        )
    return name


def port(usual: int, allowed: str) -> Callable[[object], int]:
    """The cleaner of a port; an empty text is the ``usual`` one, ``allowed`` says what may be."""

    def clean(raw: object) -> int:
        text = str(raw) if isinstance(raw, int) and not isinstance(raw, bool) else raw
        text = _text(text) if isinstance(text, str | None) else text
        if text == "":
            return usual
        number = re.fullmatch(r"0*([0-9]{1,5})", text) if isinstance(text, str) else None
        if number is None or not 1 <= int(number[1]) <= 65535:
            raise WrongValue(gettext(allowed))
        return int(number[1])

    return clean


def number(usual: int, most: int) -> Callable[[object], int]:
    """The cleaner of a whole number from 0 to ``most``; an empty text is the ``usual`` one."""

    def clean(raw: object) -> int:
        text = str(raw) if isinstance(raw, int) and not isinstance(raw, bool) else raw
        text = _text(text).strip() if isinstance(text, str | None) else text
        if text == "":
            return usual
        digits = re.fullmatch(r"0*([0-9]{1,6})", text) if isinstance(text, str) else None
        if digits is None or int(digits[1]) > most:
            raise WrongValue(gettext("must be a whole number from 0 to %(most)s", most=most))
        return int(digits[1])

    return clean


def folder(usual: str) -> Callable[[object], str | None]:
    """The cleaner of the name of a mailbox's folder; an empty text is the ``usual`` one."""

    def clean(raw: object) -> str | None:
        text = (line(raw) or "").strip()
        if len(text) > _LONGEST_FOLDER:
            raise WrongValue(_too_long(text, _LONGEST_FOLDER))
        return text or usual or None

    return clean


def web_address(raw: object) -> str | None:
    """A URL that is posted to: https, or http to this machine."""
    text = _text(raw).strip()
    if not text:
        return None
    if not text.isascii() or not text.isprintable() or re.search(r"""[\s"<>\\^`{|}]""", text):
        raise WrongValue(
            gettext(
                "must be a complete https:// URL; http:// only to this machine (localhost); "
                "write other characters as %XX"
            )
        )
    if len(text) > _LONGEST_URL:
        raise WrongValue(_too_long(text, _LONGEST_URL))
    try:
        parts = urlsplit(text)
        port = parts.port
    except ValueError as error:
        raise WrongValue(gettext(_URL)) from error
    if not parts.hostname or port == 0 or "#" in text:
        raise WrongValue(gettext(_URL))
    if "@" in parts.netloc:
        raise WrongValue(gettext("must not have a login in it"))
    server(parts.hostname)
    if parts.scheme == "https" or (parts.scheme == "http" and is_this_machine(parts.hostname)):
        return text
    raise WrongValue(gettext(_URL))


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
    raise WrongValue(gettext("must be yes or no"))


def word(words: type[enum.StrEnum]) -> Callable[[object], enum.StrEnum]:
    """A cleaner for one of ``words``."""

    def cleaner(raw: object) -> enum.StrEnum:
        try:
            return words(str(raw).strip().lower())
        except ValueError as error:
            said = gettext("must be one of %(words)s", words=", ".join(words))
            raise WrongValue(said) from error

    return cleaner


def certificate(raw: object) -> str | None:
    """CA certificates, as PEM text."""
    text = canonical_pem(given := _text(raw))
    if not text:
        return None
    if "PRIVATE KEY" in given:
        raise WrongValue(
            gettext("holds a private key, which must stay secret: paste certificates only")
        )
    if not is_readable_pem(text):
        raise WrongValue(
            gettext(
                "is not a certificate: paste the whole text, "
                "from -----BEGIN CERTIFICATE----- to -----END CERTIFICATE-----"
            )
        )
    return text


def not_text(raw: object, spelled: str) -> str:
    """Why ``raw`` is refused where text is expected; ``spelled`` is its JSON.

    In English: nobody types it, it comes from a configuration.
    """
    if not isinstance(raw, bool | int | float):
        return f"must be text, not {type(raw).__name__}"
    # What Flask's from_prefixed_env made of an environment variable.
    kind = "a yes or no" if isinstance(raw, bool) else "a number"
    return (
        f"must be text, but is {kind}: put it in quotes; "
        f"in an environment variable in both kinds of quotes, '\"{spelled}\"'"
    )


def _too_long(text: str, most: int) -> str:
    return gettext(
        "must have at most %(most)s characters, not %(count)s", most=most, count=len(text)
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
    typed = quoted(text)
    if "/" in text:
        said = gettext(
            "%(typed)s looks like a web address: "
            "give a name such as mail.example.com, or an IP address",
            typed=typed,
        )
    elif "@" in text:
        said = gettext(
            "%(typed)s looks like an e-mail address: "
            "give a name such as mail.example.com, or an IP address",
            typed=typed,
        )
    elif any(character.isspace() for character in text):
        said = gettext(
            "%(typed)s contains spaces: give a name such as mail.example.com, or an IP address",
            typed=typed,
        )
    elif number := next((f"{ord(one):04X}" for one in text if not one.isprintable()), ""):
        said = gettext(
            "%(typed)s contains an invisible character, U+%(number)s: "
            "give a name such as mail.example.com, or an IP address",
            typed=typed,
            number=number,
        )
    else:
        return
    raise AddressError(said)


def _refuse_port(text: str) -> None:
    host, colon, port = text.rpartition(":")
    if colon and port.isdecimal() and (":" not in host or host.endswith("]")):
        raise AddressError(
            gettext(
                "%(typed)s contains a port: put %(port)s into the port field",
                typed=quoted(text),
                port=port,
            )
        )
    if colon or text.startswith("["):
        raise AddressError(
            gettext(
                "%(typed)s is not an IPv6 address: "
                "give a name such as mail.example.com, or an IP address",
                typed=quoted(text),
            )
        )


def _host_name(text: str) -> str:
    name = _a_labels(text).lower().removesuffix(".")
    labels = name.split(".")
    if len(name) > 253 or not all(_LABEL.fullmatch(label) for label in labels):
        raise AddressError(gettext(_NO_SERVER, typed=quoted(text)))
    # Resolvers read 127.1, 0177.0.0.1 and 2130706433 as 127.0.0.1, which nobody means.
    if re.fullmatch(r"[0-9]+|0x[0-9a-f]*", labels[-1]):
        raise AddressError(
            gettext("%(typed)s is not an IP address: write one like 192.0.2.25", typed=quoted(text))
        )
    return name


def _a_labels(text: str) -> str:
    if text.isascii():
        return text
    try:
        return addresses.clean_domain(text)
    except AddressError as error:
        raise AddressError(gettext(_NO_SERVER, typed=quoted(text))) from error

"""How a server is named: a host name, a single label, or an IP address (R15)."""

from __future__ import annotations

import ipaddress
import re
from typing import Final

from ..addresses import clean_domain, quoted
from ..errors import AddressError

_LABEL: Final = re.compile(r"[a-z0-9_](?:[a-z0-9_-]{0,61}[a-z0-9_])?")
_RIGHT: Final = "give a name such as mail.example.com, or an IP address"


def clean_server(text: str) -> str:
    """The server that ``text`` names: lower case, A-labels, an IPv6 address without brackets.

    Raises:
        AddressError: it names none; the text quotes it and says what is right.
    """
    text = text.strip(" ")
    _refuse_extras(text)
    bare = text[1:-1] if text.startswith("[") and text.endswith("]") else text
    if address := _ip(bare):
        return address.compressed
    _refuse_port(text)
    return _host_name(text)


def clean_helo(text: str) -> str:
    """The name for EHLO that ``text`` means: a host name or an address literal (RFC 5321 §4.1.3).

    Raises:
        AddressError: it means none.
    """
    text = text.strip(" ")
    bare = text.removeprefix("[").removesuffix("]")
    if address := _ip(re.sub(r"^ipv6:", "", bare, flags=re.IGNORECASE)):
        prefix = "IPv6:" if address.version == 6 else ""
        return f"[{prefix}{address.compressed}]"
    name = _host_name(text)
    if "_" in name:
        raise AddressError(f"{quoted(text)} is no host name: servers refuse an underscore in it")
    return name


def _ip(text: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address | None:
    try:
        address = ipaddress.ip_address(text)
    except ValueError:
        return None
    return None if "%" in text else address


def _refuse_extras(text: str) -> None:
    if "/" in text:
        raise AddressError(f"{quoted(text)} looks like a web address: {_RIGHT}")
    if "@" in text:
        raise AddressError(f"{quoted(text)} looks like an e-mail address: {_RIGHT}")
    if any(char.isspace() for char in text):
        raise AddressError(f"{quoted(text)} contains blanks: {_RIGHT}")
    if hidden := next((char for char in text if not char.isprintable()), ""):
        raise AddressError(
            f"{quoted(text)} contains an invisible character, U+{ord(hidden):04X}: {_RIGHT}"
        )


def _refuse_port(text: str) -> None:
    host, colon, port = text.rpartition(":")
    if colon and port.isdecimal() and (":" not in host or host.endswith("]")):
        raise AddressError(f"{quoted(text)} contains a port: put {port} into the port field")
    if colon or text.startswith("["):
        raise AddressError(f"{quoted(text)} is no IPv6 address: {_RIGHT}")


def _host_name(text: str) -> str:
    name = _a_labels(text).lower().removesuffix(".")
    labels = name.split(".")
    if len(name) > 253 or not all(_LABEL.fullmatch(label) for label in labels):
        raise AddressError(f"{quoted(text)} is no name of a server: {_RIGHT}")
    # Resolvers take 127.1, 0177.0.0.1 and 2130706433 for 127.0.0.1: nobody means that.
    if re.fullmatch(r"[0-9]+|0x[0-9a-f]*", labels[-1]):
        raise AddressError(f"{quoted(text)} is no IP address: write one like 192.0.2.25")
    return name


def _a_labels(text: str) -> str:
    if text.isascii():
        return text
    try:
        return clean_domain(text)
    except AddressError as error:
        raise AddressError(f"{quoted(text)} is no name of a server: {_RIGHT}") from error

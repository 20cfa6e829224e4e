"""Saying things to a server: pure functions from values to bytes (RFC 5321 §4.1, RFC 4954).

What could be understood as more than one command is refused here, as the last line of defence;
the text of the errors is for the administrator.
"""

from __future__ import annotations

import base64
import functools
import re
from typing import Final

from ...errors import AddressError, ContentError
from ...settings.model import Secret
from ..base import Envelope
from .replies import Capabilities

CRLF: Final = b"\r\n"
END: Final = b".\r\n"
MAX_LINE: Final = 998  # octets of a line of content, without its end (RFC 5321 §4.5.3.1.6)
MAX_COMMAND: Final = 510  # octets of a command, without its end (§4.5.3.1.4)
_FORBIDDEN = re.compile(r"[\x00-\x20\x7f-\x9f\u2028\u2029\ud800-\udfff<>]")
# Every message comes through these. Each begins with the very character to look for, which makes
# the search twice as fast as counting.
_LONE_CR = re.compile(rb"\r(?!\n)")
_LONE_LF = re.compile(rb"\n(?<!\r\n)")
_LEADING_DOT = re.compile(rb"\n\.")


def check(envelope: Envelope) -> None:
    """Refuse an envelope that a server could read as something else.

    Raises:
        AddressError: an address holds blanks, angle brackets or control characters, or there
            is no recipient.
        ContentError: a carriage return or line feed alone, a NUL, or a line that is too long.
    """
    check_address(envelope.sender)
    for address in envelope.recipients:
        check_address(address)
    if not envelope.recipients:
        raise AddressError("The message has no recipient.")
    if not _canonical(envelope.content):
        raise ContentError(
            "The content holds a line end that is not CR LF, or a NUL character; "
            "it could be read as more than one message, so it is not sent."
        )
    if _has_long_line(envelope.content):
        raise ContentError(f"The content has a line of more than {MAX_LINE} bytes.")


def _canonical(content: bytes) -> bool:
    return not (_LONE_CR.search(content) or _LONE_LF.search(content) or 0 in content)


def _has_long_line(content: bytes) -> bool:
    # From line end to line end in steps as wide as allowed: most ends are never looked at.
    at, length = 0, len(content)
    while length - at > MAX_LINE:
        end = content.rfind(CRLF, at, at + MAX_LINE + len(CRLF))
        if end < 0:
            return True
        at = end + len(CRLF)
    return False


@functools.lru_cache(maxsize=1024)  # the senders are few; it raises anew for what is refused
def check_address(address: str) -> None:
    """Refuse an address that cannot stand in a command as it is.

    Raises:
        AddressError: blanks, angle brackets or control characters, or no ``@``.
    """
    if _FORBIDDEN.search(address):
        raise AddressError(
            f"{address!r} cannot be sent: it holds a blank, an angle bracket "
            "or a control character."
        )
    local, _, domain = address.rpartition("@")
    if not (local and domain):
        raise AddressError(
            f"{address!r} is no complete e-mail address: it needs a part before and after the @."
        )


def mail(envelope: Envelope, offered: Capabilities) -> bytes:
    """MAIL FROM with the parameters that the server ``offered`` (RFC 1870, 6152, 6531)."""
    parameters = ""
    if offered.announces_size:
        parameters += f" SIZE={envelope.size}"
    if offered.eight_bit and not envelope.content.isascii():
        parameters += " BODY=8BITMIME"
    if offered.smtputf8 and needs_smtputf8(envelope):
        parameters += " SMTPUTF8"
    return f"MAIL FROM:<{envelope.sender}>{parameters}\r\n".encode()


def rcpt(recipient: str) -> bytes:
    """RCPT TO for one envelope recipient."""
    return f"RCPT TO:<{recipient}>\r\n".encode()


def needs_smtputf8(envelope: Envelope) -> bool:
    """Whether the envelope can be carried only by a server that knows RFC 6531."""
    if envelope.smtputf8 or not envelope.sender.isascii():
        return True
    return not "".join(envelope.recipients).isascii()


def stuffed(content: bytes) -> bytes:
    """``content`` as it goes over the wire, final dot included (RFC 5321 §4.5.2)."""
    if content.startswith(b"."):
        content = b"." + content
    if _LEADING_DOT.search(content):
        content = content.replace(b"\n.", b"\n..")
    if content and not content.endswith(CRLF):
        content += CRLF
    return content + END


def hello(verb: str, name: str) -> bytes:
    """EHLO or HELO under ``name``."""
    return f"{verb} {name}".encode("ascii", "replace") + CRLF


def plain_token(login: str, password: Secret) -> bytes:
    """The token of SASL PLAIN (RFC 4616)."""
    return _token(f"\0{login}\0{password.reveal()}")


def auth_plain(login: str, password: Secret) -> bytes:
    """AUTH PLAIN with its initial response; without where the line would be too long."""
    token = plain_token(login, password)
    if len(token) + 11 > MAX_COMMAND:
        return b"AUTH PLAIN\r\n"
    return b"AUTH PLAIN " + token + CRLF


def answer_plain(login: str, password: Secret) -> bytes:
    """The token alone, for a server that asks for it."""
    return plain_token(login, password) + CRLF


def answer_login(login: str) -> bytes:
    """The first answer of SASL LOGIN."""
    return _token(login) + CRLF


def answer_password(password: Secret) -> bytes:
    """The second answer of SASL LOGIN."""
    return _token(password.reveal()) + CRLF


def _token(text: str) -> bytes:
    # An encoding error would quote the password, so there is none.
    return base64.b64encode(text.encode("utf-8", "surrogatepass"))

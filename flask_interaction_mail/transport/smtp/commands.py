"""Renders commands and content: pure functions from values to bytes (RFC 5321 §4.1).

What a server could read as more than one command is refused here, as the last line of defence. The
texts of the errors are for the administrator.
"""

from __future__ import annotations

import functools
import re
from typing import Final

from ...errors import AddressError, ContentError
from ...language import mark
from ..base import Envelope
from .replies import Capabilities

CRLF: Final = b"\r\n"
END: Final = b".\r\n"
MAX_LINE: Final = 998  # octets of a line of content, without its end (RFC 5321 §4.5.3.1.6)
_FORBIDDEN = re.compile(r"[\x00-\x20\x7f-\x9f\u2028\u2029\ud800-\udfff<>]")
# These search every message. Each begins with a fixed character, which makes the search twice as
# fast as counting.
_LONE_CR = re.compile(rb"\r(?!\n)")
_LONE_LF = re.compile(rb"\n(?<!\r\n)")
_LEADING_DOT = re.compile(rb"\n\.")
# Characters of ENVID and ORCPT (RFC 3461 §4); what would be longer is left out.
_ENVID: Final = 100
_ORCPT: Final = 500
_NOT_XTEXT = re.compile(r"[^!-*,-<>-~]")  # RFC 3461 §4
_NOT_UTF8_XTEXT = re.compile(r"[^!-*,-<>-\[\]-~]")  # RFC 6533 §3


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
        raise AddressError(mark("The message has no recipient."))
    if not _canonical(envelope.content):
        raise ContentError(
            mark(
                "The content has a line end that is not CR LF, or a NUL character. "
                "A server could read it as more than one message, so it is not sent."
            )
        )
    if _has_long_line(envelope.content):
        raise ContentError(
            mark("The content has a line of more than %(limit)s bytes.", limit=MAX_LINE)
        )


def _canonical(content: bytes) -> bool:
    return not (_LONE_CR.search(content) or _LONE_LF.search(content) or 0 in content)


def _has_long_line(content: bytes) -> bool:
    # From line end to line end, in steps of the longest line: most line ends are skipped.
    at, length = 0, len(content)
    while length - at > MAX_LINE:
        end = content.rfind(CRLF, at, at + MAX_LINE + len(CRLF))
        if end < 0:
            return True
        at = end + len(CRLF)
    return False


@functools.lru_cache(maxsize=1024)  # there are few senders; errors are not cached
def check_address(address: str) -> None:
    """Refuse an address that is not safe to put into a command.

    Raises:
        AddressError: blanks, angle brackets or control characters, or no ``@``.
    """
    if _FORBIDDEN.search(address):
        raise AddressError(
            mark(
                "%(address)s cannot be used: it contains a blank, an angle bracket "
                "or a control character.",
                address=repr(address),
            )
        )
    local, _, domain = address.rpartition("@")
    if not (local and domain):
        raise AddressError(
            mark(
                "%(address)s is not a complete e-mail address: "
                "it needs a part before and after the @.",
                address=repr(address),
            )
        )


def mail(envelope: Envelope, offered: Capabilities) -> bytes:
    """MAIL FROM with the parameters that the server ``offered`` (RFC 1870, 6152, 6531, 3461)."""
    parameters = ""
    if offered.announces_size:
        parameters += f" SIZE={envelope.size}"
    if offered.eight_bit and not envelope.content.isascii():
        parameters += " BODY=8BITMIME"
    if offered.smtputf8 and needs_smtputf8(envelope):
        parameters += " SMTPUTF8"
    if offered.dsn and envelope.envid:
        # Headers alone come back: a text may hold a link that lets somebody in.
        parameters += " RET=HDRS" + _within(_ENVID, " ENVID=", _xtext(envelope.envid))
    return f"MAIL FROM:<{envelope.sender}>{parameters}\r\n".encode()


def rcpt(recipient: str, notify: str = "") -> bytes:
    """RCPT TO for one envelope recipient, with what to report of it, as ``reported`` gives it."""
    parameters = f" NOTIFY={notify}{_original(recipient)}" if notify else ""
    return f"RCPT TO:<{recipient}>{parameters}\r\n".encode()


def reported(envelope: Envelope, offered: Capabilities, *, success: bool) -> str:
    """Of what to be told (RFC 3461 §4.1), also of ``success``; "" to ask for nothing."""
    if not (offered.dsn and envelope.envid):
        return ""
    return "SUCCESS,FAILURE,DELAY" if success else "FAILURE,DELAY"


def _original(recipient: str) -> str:
    """Our spelling of the address, which servers give back whatever they make of it (§4.2)."""
    if recipient.isascii():
        return _within(_ORCPT, " ORCPT=", f"rfc822;{_xtext(recipient)}")
    return _within(_ORCPT, " ORCPT=", f"utf-8;{_NOT_UTF8_XTEXT.sub(_hex_point, recipient)}")


def _within(limit: int, name: str, value: str) -> str:
    return f"{name}{value}" if len(value) <= limit else ""


def _xtext(text: str) -> str:
    return _NOT_XTEXT.sub(lambda found: f"+{ord(found[0]):02X}", text)


def _hex_point(found: re.Match[str]) -> str:
    return f"\\x{{{ord(found[0]):02X}}}"


def needs_smtputf8(envelope: Envelope) -> bool:
    """Whether the envelope needs a server that supports RFC 6531."""
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

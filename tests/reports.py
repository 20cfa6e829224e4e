"""Reports of mail servers, as tests make them."""

from __future__ import annotations

import base64
import quopri
from email.header import Header
from typing import Final

_REPORT = """\
Return-Path: <>
From: Mail Delivery System <MAILER-DAEMON@mx.example>
To: crm@firm.example
Subject: Undelivered Mail Returned to Sender
Message-ID: <{number}@mx.example>
Content-Type: multipart/report; report-type=delivery-status; boundary=b

--b
Content-Type: text/plain

Something happened.

--b
Content-Type: message/delivery-status

Reporting-MTA: dns; mx.example

{fields}

--b
Content-Type: text/rfc822-headers

Message-ID: {message_id}

--b--
"""
_REPLY = """\
From: Zoe <zoe@firm.example>
Subject: Out of office
Auto-Submitted: auto-replied
Message-ID: <{number}@office.example>
In-Reply-To: {message_id}

Ask bob@firm.example or zoe@firm.example.
"""


def report(
    message_id: str,
    recipient: str,
    action: str = "failed",
    *,
    number: int = 1,
    diagnostic: str = "smtp; 550 5.1.1 no such user",
) -> bytes:
    """A report about one recipient; ``number`` tells it from others that say the same."""
    fields = (
        f"Final-Recipient: rfc822; {recipient}\nAction: {action}\nStatus: 5.0.0\n"
        f"Diagnostic-Code: {diagnostic}"
    )
    return _REPORT.format(message_id=message_id, number=number, fields=fields).encode()


def automatic_reply(message_id: str, *, number: int = 1) -> bytes:
    """What somebody's mailbox answers while they are away; it names colleagues."""
    return _REPLY.format(message_id=message_id, number=number).encode()


def _part(kind: str, encoding: str, content: bytes) -> bytes:
    head = f"Content-Type: {kind}\nContent-Transfer-Encoding: {encoding}\n\n"
    return b"--b\n" + head.encode() + content + b"\n"


def _tightly(content: bytes) -> bytes:
    """Quoted-printable that has an @ as its number, as some programs write it."""
    return quopri.encodestring(content).replace(b"@", b"=40")


_ENCODED: Final = {
    "as it stands": ("text/plain", "7bit", bytes),
    "a text in base64": ("text/plain", "base64", base64.encodebytes),
    "a text in quoted-printable": ("text/html", "quoted-printable", _tightly),
    "a returned message in base64": ("message/global", "base64", base64.encodebytes),
    "returned headers in quoted-printable": ("text/rfc822-headers", "Quoted-Printable", _tightly),
    "a status in base64": ("message/global-delivery-status", "BASE64", base64.encodebytes),
    "a file in base64": ("application/pdf", "base64", base64.encodebytes),
}
PLACES: Final = (*_ENCODED, "an encoded header", "a message in a message")


def naming(message_id: str, address: str, place: str) -> bytes:
    """A report about somebody else that has ``address`` in this ``place``."""
    head, words = report(message_id, "bob@firm.example").rsplit(b"--b--\n", 1)[0], address.encode()
    if place == "an encoded header":
        coded = Header(f"From {address}, é", "utf-8").encode().encode()
        return head.replace(b"Subject: ", b"Subject: " + coded + b" ", 1) + b"--b--\n"
    if place == "a message in a message":
        inner = _part("text/plain", "base64", base64.encodebytes(words)).removeprefix(b"--b\n")
        outer = _part("message/rfc822", "base64", base64.encodebytes(inner))
    else:
        kind, encoding, coded_by = _ENCODED[place]
        outer = _part(kind, encoding, coded_by(b"To: " + words + b"\n\nHello\n"))
    return head + outer + b"--b--\n"

"""Reports of mail servers, as tests make them."""

from __future__ import annotations

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

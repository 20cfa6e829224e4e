"""The one message that all contenders send."""

from __future__ import annotations

SENDER = "crm@firm.example"
RECIPIENT = "ada@firm.example"
SUBJECT = "Please merge two contacts"
SIZE = 634  # bytes of the finished message, header fields included

_PARAGRAPH = (
    "Bob would like to merge two contacts that look like one,\n"
    "but has no right to do so in the folder Customers.\n\n"
    "Acme Ltd, Customers: https://crm.firm.example/contacts/17\n"
    "ACME Limited, Customers: https://crm.firm.example/contacts/42\n"
)
TEXT = _PARAGRAPH + "\nWould you have a look? Thank you.\n"
HTML = "<p>" + TEXT.replace("\n\n", "</p>\n<p>") + "</p>\n"


def finished() -> bytes:
    """The message as bytes with CRLF, exactly ``SIZE`` of them."""
    head = (
        f"From: CRM <{SENDER}>\nTo: Ada Byron <{RECIPIENT}>\nSubject: {SUBJECT}\n"
        "Date: Mon, 05 Jan 2026 09:00:00 +0000\n"
        "Message-ID: <0196a1b2-7c3d-7000-8000-000000000001@firm.example>\n"
        'MIME-Version: 1.0\nContent-Type: text/plain; charset="utf-8"\n'
        "Content-Transfer-Encoding: 7bit\n\n"
    )
    content = (head + TEXT).replace("\n", "\r\n").encode()
    missing = SIZE - len(content) - 2
    if missing < 0:
        raise ValueError(f"the message has {len(content)} bytes")
    return content + b"-" * missing + b"\r\n"

"""What Test Settings says of a refusal after the login; ``fault_texts`` has what comes before."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from ..outcome import Fault
from .advice import Advice

REFUSALS: Final[Mapping[Fault, Advice]] = {
    Fault.AUTH_REQUIRED: Advice(
        "The server wants a login",
        "The server takes mail only from those who log in.",
        "If SMTP authentication is off, switch it on and fill in login and password. If it is on, "
        "this login may not send from {sender}: ask the mail server's administrator.",
    ),
    Fault.ENCRYPTION_REQUIRED: Advice(
        "The server wants encryption",
        "The server takes nothing over a connection that others can read.",
        "Choose STARTTLS, usually with port 587, or TLS with port 465.",
    ),
    Fault.RELAY_DENIED: Advice(
        "The server does not pass on mail for you",
        "The server takes no mail from this machine to {address}, which is in none of the server's "
        "own domains (relaying denied).",
        "If SMTP authentication is off and the server has logins, switch it on. Otherwise the "
        "server's administrator has to allow this login, or this machine's IP address, to send "
        "to other domains.",
    ),
    Fault.CLIENT_REFUSED: Advice(
        "The server does not accept this machine",
        "The server refuses this machine: its IP address, its name in the name service (DNS), or "
        "how much it sends.",
        "Read what the server said. If it speaks of too much, wait and test again. Otherwise the "
        "mail server's administrator has to allow this machine's IP address.",
    ),
    Fault.HELO_REFUSED: Advice(
        "The server does not accept this machine's name",
        "The server refuses the name that this machine gives when it says hello (EHLO).",
        "Under Advanced, enter a full host name for EHLO, such as app.example.com, which the name "
        "service (DNS) knows.",
    ),
    Fault.SENDER_REFUSED: Advice(
        "The sender was refused",
        "The server does not accept mail from {sender}.",
        "Check the default From: it has to be an existing mailbox, in a domain that this server "
        "sends for, and this login must be allowed to use it.",
    ),
    Fault.SENDER_TRANSIENT: Advice(
        "The sender is not accepted now",
        "The server does not take mail from {sender} at the moment.",
        "Read what the server said. If it does not know the domain or the mailbox, correct the "
        "default From. Otherwise test again in a few minutes: real messages are tried again by "
        "themselves.",
    ),
    Fault.RECIPIENT_UNKNOWN: Advice(
        "There is no such mailbox",
        "The server knows no mailbox {address}.",
        "Check the address and the company domain.",
    ),
    Fault.RECIPIENT_REFUSED: Advice(
        "The recipient was refused",
        "The server does not accept mail to {address}.",
        "Read what the server said. Check the address, or ask the mail server's administrator.",
    ),
    Fault.RECIPIENT_GREYLISTED: Advice(
        "The server asks to come back later",
        "The server lets unknown senders wait (greylisting) before it takes mail to {address}.",
        "Nothing is wrong: real messages are tried again by themselves. Test again in ten minutes.",
    ),
    Fault.RECIPIENT_TRANSIENT: Advice(
        "The recipient is not accepted now",
        "The server cannot take mail to {address} at the moment.",
        "Test again in a few minutes. Real messages are tried again by themselves.",
    ),
    Fault.MAILBOX_FULL: Advice(
        "The mailbox is full",
        "The server has no room left for {address}.",
        "Delete mail in that mailbox, or let it be made larger.",
    ),
    Fault.CONTENT_REFUSED: Advice(
        "The message itself was refused",
        "The server refused the content of the message.",
        "Read what the server said: often a spam or virus filter, or a rule about From.",
    ),
    Fault.CONTENT_TRANSIENT: Advice(
        "The message is not accepted now",
        "The server could not take the message at the moment.",
        "Test again in a few minutes. Real messages are tried again by themselves.",
    ),
    Fault.TOO_BIG: Advice(
        "The message is too large",
        "The server does not take messages of this size. {detail}",
        "Let the server's limit be raised; the test message itself is tiny.",
    ),
    Fault.SMTPUTF8_MISSING: Advice(
        "The server knows no international addresses",
        "{detail}",
        "Use an address that has only ASCII letters before the @.",
    ),
    Fault.CONTENT_UNSAFE: Advice(
        "The message cannot be sent as it is",
        "{detail}",
        "Please report this to whoever runs this application.",
    ),
    Fault.CONFIRMATION_LOST: Advice(
        "The confirmation was lost",
        "The message was handed over completely, then this happened: {detail}",
        "The test may still arrive: look into the mailboxes, then test again.",
    ),
    Fault.UNKNOWN_OUTCOME: Advice(
        "No answer after the whole message",
        "The message was handed over completely, and the server did not confirm it in time.",
        "The test may still arrive: look into the mailboxes. Delivery waits ten minutes for this "
        "answer. Some servers check the content at length.",
    ),
}

"""What to tell about steps that went well, and about the test as a whole; see ``advice``."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from ..outcome import Stage
from .advice import Advice
from .fault_texts import FAULTS

_BOTH_PLACES: Final = "Look into {mailboxes}, also among junk."
_NOTHING_CAME: Final = (
    "If nothing came after some minutes, correct default To, default From or company domain, "
    "or ask the mail server's administrator for the message {message_id}."
)
_WRONG_SETTINGS: Final = (
    "No connection to the mail server was made: the SMTP settings are probably wrong."
)
_AS_THE_STEP: Final = Advice("{title}", "{opening} {explanation}", "{advice}")
NOT_SENT: Final = "The test message was not sent."
# What comes before the explanation of the step that failed; NOT_SENT elsewhere.
OPENINGS: Final[Mapping[Stage, str]] = {
    Stage.SETTINGS: "Nothing was tried.",
    Stage.RESOLVE: _WRONG_SETTINGS,
    Stage.CONNECT: _WRONG_SETTINGS,
}

STEPS: Final[Mapping[str, Advice]] = {
    "resolved": Advice("Server found", "{server} is {detail}."),
    "connected": Advice("Connected", "{detail} answers at port {port}."),
    "greeted": Advice("It is a mail server", "The mail server is ready."),
    "encrypted": Advice("Encrypted", "The connection is encrypted, and the certificate is good."),
    "expires_soon": Advice(
        "Encrypted, but the certificate ends soon",
        "The server's certificate is good until {detail}.",
        "Its administrator should renew it before: mail stops on that day.",
    ),
    "not_encrypted": Advice(
        "Not encrypted",
        "Everybody on the way can read and change the messages.",
        "Fine for a server on this machine or in a closed network. Otherwise choose STARTTLS or "
        "TLS.",
    ),
    "logged_in": Advice("Logged in", "The server accepted the login {login}."),
    "logged_in_openly": Advice(
        "Logged in, readable on the way",
        "The server accepted the login {login}, and everybody on the way could read the password.",
        "Choose STARTTLS or TLS as soon as the server offers one of them.",
    ),
    "no_login": Advice("No login", "SMTP authentication is off, so nobody was logged in."),
    "sender_accepted": Advice("Sender accepted", "The server takes mail from {sender}."),
    "recipient_accepted": Advice("Recipient accepted", "The server takes mail to {address}."),
    "kept_in_memory": Advice("Kept in memory", "The message to {address} stays in this process."),
    "content_sent": Advice("Message handed over", "The whole test message was sent."),
    "accepted": Advice("Message accepted", "The server took responsibility for the message."),
}

# About the test as a whole.
CONCLUSIONS: Final[Mapping[str, Advice]] = {
    "passed": Advice(
        "The mail server accepted the test message",
        f"Accepted is not yet arrived. {_BOTH_PLACES}",
        _NOTHING_CAME,
    ),
    "partial": Advice(
        "The test message was sent, but not to everybody",
        "Refused: {refused}. Accepted: {accepted}, which is not yet arrived. " + _BOTH_PLACES,
        "What to do about the refused address stands at its step. " + _NOTHING_CAME,
    ),
    "cannot_connect": _AS_THE_STEP,
    "failed": _AS_THE_STEP,
    "incomplete": _AS_THE_STEP,
    "suppressed": Advice(
        "Not sent: suppressed",
        "This application is set up not to send any mail (MAIL_SUPPRESS_SEND or TESTING), so "
        "nothing was tried and nothing is known about the settings.",
        "Whoever runs the application can switch that off.",
    ),
    "stays_in_memory": Advice(
        "Not sent: mail stays in memory",
        "This application is set up to keep its mail in the memory of its own process "
        "(INTERACTION_MAIL_TRANSPORT is “memory”). The test message went there. No server was "
        "asked, so nothing is known about the settings.",
        "Whoever runs the application can change that.",
    ),
    "no_answer": Advice(
        "No answer within {limit} seconds: the test message was not sent",
        "The server is connected, but it was too slow for this test.",
        "Delivery waits longer, up to five minutes for each answer, so real messages may get "
        "through. Check port and encryption and test again; the failed step says more.",
    ),
    "no_answer_at_end": Advice(
        "No confirmation within {limit} seconds: the test may still arrive",
        "The whole message was handed over, and the server has not confirmed it. Delivery waits "
        f"longer, up to ten minutes. {_BOTH_PLACES}",
        _NOTHING_CAME,
    ),
    "lost_at_end": Advice(
        "The confirmation was lost: the test may still arrive",
        "The whole message was handed over, then this happened: {detail} " + _BOTH_PLACES,
        _NOTHING_CAME,
    ),
}

# What a test does not obey, and says so.
NOTES: Final[Mapping[str, str]] = {
    "paused": "Sending is paused; a test is sent nevertheless.",
    "diverted": "All mail is diverted to {divert_to}; a test goes to the default To nevertheless.",
}


def text_of(code: str) -> Advice:
    """The texts of ``code``: a fault, a good step or a conclusion; placeholders not filled in."""
    # A code that is not there was kept by another version of this package.
    return _ALL.get(code) or Advice(code, "")


_ALL: Final[Mapping[str, Advice]] = {
    **STEPS,
    **CONCLUSIONS,
    **{fault.value: advice for fault, advice in FAULTS.items()},
}

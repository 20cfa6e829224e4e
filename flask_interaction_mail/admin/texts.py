"""How the panel says things, for people who do not know SMTP: texts, statuses, instants.

What is not here is in the templates and in the table of settings.
"""

from __future__ import annotations

from datetime import datetime
from typing import Any, Final

from flask import current_app
from markupsafe import Markup

from .. import clock
from ..settings.model import PasswordState
from ..values import Reason, Status

PASSWORD_HINTS: Final = {
    PasswordState.USABLE: "A password is stored. Leave empty to keep it.",
    PasswordState.UNBOUND: (
        "The stored password was entered for another connection and is not used with this one: "
        "enter the password of this server."
    ),
    PasswordState.UNREADABLE: (
        "The stored password cannot be read with the secret key of this application: "
        "enter it again."
    ),
}
WEBHOOK_HINT: Final = "A secret is stored. Leave empty to keep it."
MISMATCH: Final = "The two passwords differ: type the same one twice."
OUT_OF_DATE: Final = "This page was out of date. Nothing was done: try again."
NO_ADDRESS: Final = (
    "Nothing was sent: this application knows no e-mail address of yours. The people who run it "
    "can add one."
)
TOO_MANY: Final = (
    "Nothing was sent: at most %(limit)s tests a minute are allowed. Wait a minute, then try again."
)
COPY_ACCEPTED: Final = (
    "The mail server accepted the message for %(address)s. Accepted does not yet mean arrived: "
    "look into that mailbox, including the junk folder."
)
TEMPLATES: Final = {  # of those that ship: title, and what the message is for
    "merge_request": (
        "Merge request",
        "Asks somebody who may merge two contacts to do it, when a user was not allowed to.",
    ),
    "merge_completed": (
        "Contacts merged",
        "Tells the owners of folders that two of their contacts are one now.",
    ),
    "digest": (
        "Several messages together",
        "What came for somebody within a minute above the rate, in one message.",
    ),
    "not_delivered": (
        "Not delivered",
        "Tells the default To that the mail server did not take a message, after all attempts.",
    ),
    "settings_test": (
        "Test message",
        "What Test Settings sends.",
    ),
}
ENDED: Final = {
    "paused": "Sending goes on: what waits is sent now.",
    "divert_to": "Mail goes to its own recipients again.",
}
WHICH: Final = {
    "": "All",
    "settings": "Settings",
    "tests": "Tests",
    "messages": "What was done with messages",
}
DEEDS: Final = {
    "resent": "sent again",
    "cancelled": "called back",
    "released": "released",
    "exported": "exported the list of messages",
    "read": "read the text of",
}
VERDICTS: Final = {
    "passed": "passed",
    "partial": "passed for some recipients only",
    "failed": "did not pass",
    "no_answer": "got no answer in time",
    "suppressed": "nothing was sent, as this application suppresses sending",
}
CONFLICT: Final = (
    "Somebody else has saved other settings since you opened this page. "
    "Nothing of yours was saved, nothing of theirs was overwritten."
)
PERIODS: Final = {
    "hour": "Last hour",
    "day": "Last day",
    "week": "Last 7 days",
    "month": "Last 30 days",
}
STEPS: Final = {
    "hour": "minute",
    "day": "hour",
    "week": "six hours",
    "month": "day",
}
# What the counts count, in the order of their columns.
COUNTED: Final = {
    "sent": "Sent",
    "deferred": "Deferred",
    "failed": "Failed",
    "held": "Held",
}
# Kind of an event, and its verdict where that makes a difference.
EVENTS: Final = {
    "breaker open": "The mail server is in trouble since then",
    "breaker closed": "Trouble with the mail server began, which is over now",
    "probe": "A probe of the mail server",
    "test": "A test of the settings",
}
# For each step of a test: a sign, and a word for screen readers.
STEP_MARKS: Final = {
    "ok": ("✓", "done:"),
    "warning": ("!", "with a warning:"),
    "skipped": ("–", "left out:"),
    "failed": ("✗", "failed:"),
}
STATUS: Final = {
    "queued": "waits to be sent",
    "sending": "is being sent",
    "sent": "taken by the server",
    "deferred": "will be tried again",
    "failed": "not sent",
    "held": "kept back for now",
    "suppressed": "deliberately not sent",
    "cancelled": "called back",
}
# For held messages, instead of the text of the status: above its rate, or for another reason.
_HELD_FOR_RATE: Final = "will be sent automatically, together with others"
_HELD_FOR_DECISION: Final = "waits for you"
REASON: Final = {
    "ambiguous": "The connection broke at the very end: nobody knows whether the server took it.",
    "rate": "Too many messages within a minute: they will be sent together, in one message.",
    "poison": "The program that tried to send it crashed each time.",
    "ineligible": "No recipient uses the desktop client.",
    "testing": "This application suppresses sending (MAIL_SUPPRESS_SEND).",
    "refused": "The server refused it.",
    "expired": "It was tried for as long as possible, or until its own time limit.",
    "not_configured": "E-mail was not configured: no server or no default From.",
    "unaddressed": "No recipient has an address, and there is no default To.",
    "merged": "The contacts were merged meanwhile.",
    "withdrawn": "It was called back before it was sent.",
}


def sentence(label: str, text: str) -> str:
    """Make a sentence of an error: one that begins with a verb gets ``label`` as its subject."""
    if text[:1].islower():
        text = f"{label} {text}"
    return text if text.endswith((".", "!", "?", ":")) else f"{text}."


def gettext(text: str, **values: Any) -> str:
    """``text`` in the visitor's language if the host uses Flask-Babel, else unchanged.

    Flask-Admin's own function fails where Flask-Babel is installed but not in use.
    """
    if "babel" in current_app.extensions:
        from flask_admin.babel import gettext as translate

        return str(translate(text, **values))
    return text % values if values else text


def time(instant: datetime) -> Markup:
    """An instant in naive UTC; the script of the page converts it to the reader's time zone."""
    aware = clock.from_db(instant)
    return Markup('<time datetime="{}">{} UTC</time>').format(
        aware.isoformat(timespec="seconds"), aware.strftime("%Y-%m-%d %H:%M")
    )


def duration(seconds: float) -> str:
    """A time in words, to two digits: ``350 ms``, ``12 s``, ``3 min``, ``2 h 5 min``."""
    if seconds < 1:
        return f"{_two_digits(seconds * 1000)} ms"
    if seconds < 90:
        return f"{_two_digits(seconds)} s"
    minutes = round(seconds / 60)
    if minutes < 90:
        return f"{minutes} min"
    hours, minutes = divmod(minutes, 60)
    return f"{hours} h {minutes} min" if hours < 48 else gettext("%(days)s days", days=hours // 24)


def _two_digits(value: float) -> str:
    return f"{float(f'{value:.2g}'):g}"


def status(word: str, reason: str | None = None) -> Markup:
    """The status of a message or a recipient: its word, and what it means."""
    automatic = leaves_by_itself(word, reason)
    text = STATUS.get(word, "")
    if word == Status.HELD:
        text = _HELD_FOR_RATE if automatic else _HELD_FOR_DECISION
    return Markup('<span class="im-status im-status-{}">{}</span> {}').format(
        "queued" if automatic else word, word, gettext(text)
    )


def leaves_by_itself(word: str, reason: str | None) -> bool:
    """Whether a message is held only because of its rate, so that nobody has to do anything."""
    return word == Status.HELD and reason == Reason.RATE

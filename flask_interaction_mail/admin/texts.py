"""How the panel says things, for people who do not know SMTP: texts, statuses, instants.

What is not here is in the templates and in the table of settings.
"""

from __future__ import annotations

from datetime import UTC, datetime, tzinfo
from typing import Any, Final

from flask import current_app, has_request_context, request
from markupsafe import Markup

from .. import clock
from ..settings.model import PasswordState
from ..values import Reason, Status

ZONE_COOKIE: Final = "interaction_mail_zone"  # set by pages.js
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
KEPT: Final = "A secret is stored. Leave empty to keep it."
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
TABS: Final = {
    "": "All",
    "waiting": "Waiting",
    "sent": "Sent",
    "failed": "Failed",
    "held": "Held",
    "suppressed": "Suppressed",
    "cancelled": "Cancelled",
}
NOTHING: Final = {  # what would be under a tab
    "waiting": "Messages stand here until the mail server has taken them.",
    "sent": "Messages that the mail server has taken are listed here.",
    "failed": "Messages that could not be sent are listed here, with the reason.",
    "held": "Messages that wait for your decision, or for others to the same person, are here.",
    "suppressed": "Messages that were deliberately not sent are listed here, with the reason.",
    "cancelled": "Messages that were called back before they left are listed here.",
}
FILTER_PROBLEMS: Final = {
    "status": "There is no such state, so messages of all states are shown.",
    "reason": "There is no such reason, so messages with any reason are shown.",
    "apart": "No message in this state has this reason, so nothing can match. Choose only one.",
    "since": "“From day” is no day, such as 2026-11-29, so it narrows nothing.",
    "until": "“To day” is no day, such as 2026-11-29, so it narrows nothing.",
    "order": "“From day” is after “To day”, so nothing can match.",
}
FILTERS: Final = {  # as a question names them
    "q": "Search:",
    "status": "State:",
    "reason": "Reason:",
    "kind": "Kind:",
    "since": "From day:",
    "until": "To day:",
    "zone": "Time zone:",
}
EVENTS: Final = {
    "stored": "The application stored it.",
    "claimed": "It was handed to the mail server",
    "accepted": "The server took it.",
    "transient": "The server could not take it yet.",
    "permanent": "The server refused it.",
    "server": "The server, or the way to it, was in trouble.",
    "ambiguous": "The connection broke at the very end: nobody knows whether the server took it.",
}
ENDS: Final = {  # the last event of a recipient, by status
    "queued": "It waits for its turn",
    "deferred": "It will be tried again",
    "sending": "It is being sent now.",
    "sent": "It is the mail server's now. Whether it arrived, only the recipient knows.",
    "failed": "It was not sent.",
    "held": "It waits",
    "suppressed": "It was deliberately not sent.",
    "cancelled": "It was called back.",
}
ACTIONS: Final = {  # with several messages
    "resend": "Resend",
    "cancel": "Cancel",
    "release": "Release",
}
ASKED: Final = {
    "resend": "Send these messages again? Recipients and sender are decided anew.",
    "cancel": "Cancel these messages? They will not be sent.",
    "release": "Release these messages? They are sent as they are.",
}
DONE: Final = {"resend": "sent again", "cancel": "cancelled", "release": "released"}
LEFT_OUT: Final = {
    "again": "were sent again before: open one to send it once more",
    "waiting": "still wait, or are in a digest that does: release or cancel them first",
    "changed": "have changed since you saw them: look at them again",
    "gone": "are not in the outbox any more",
    "left": "have left, are on their way with others, or were called back already",
    "free": "are not held, are on their way with others, or have no content to send",
    "unfit": "cannot be sent again: open one and press Resend to see why",
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
SERVER_EVENTS: Final = {
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


def reader_zone() -> tzinfo:
    """The time zone of the reader's browser, as the script of an earlier page told it; else UTC."""
    named = request.cookies.get(ZONE_COOKIE, "") if has_request_context() else ""
    return clock.zone_named(named) or UTC


def time(instant: datetime) -> Markup:
    """An instant (naive UTC) in the reader's time zone; the script gives it the reader's form."""
    aware = clock.from_db(instant)
    return Markup('<time datetime="{}">{}</time>').format(
        instant.isoformat(timespec="seconds") + "Z",
        aware.astimezone(reader_zone()).strftime("%Y-%m-%d %H:%M %Z"),
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
    return Markup("{} {}").format(badge(word, reason), gettext(_meaning(word, reason)))


def badge(word: str, reason: str | None = None) -> Markup:
    """The word of a status, which says what it means to whoever points at it."""
    shown = "queued" if leaves_by_itself(word, reason) else word
    return Markup('<span class="im-status im-status-{}" title="{}">{}</span>').format(
        shown, gettext(_meaning(word, reason)), word
    )


def _meaning(word: str, reason: str | None) -> str:
    if word == Status.HELD:
        return _HELD_FOR_RATE if leaves_by_itself(word, reason) else _HELD_FOR_DECISION
    return STATUS.get(word, "")


def leaves_by_itself(word: str, reason: str | None) -> bool:
    """Whether a message is held only because of its rate, so that nobody has to do anything."""
    return word == Status.HELD and reason == Reason.RATE

"""How the panel says things, for people who do not know SMTP: texts, statuses, instants.

What is not here is in the templates and in the table of settings.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import UTC, datetime, tzinfo
from typing import Any, Final

from flask import current_app, has_request_context, request
from markupsafe import Markup, escape

from .. import clock, language
from ..language import gettext, mark, ngettext, number
from ..settings.model import PasswordState
from ..values import Reason, Status

ZONE_COOKIE: Final = "interaction_mail_zone"  # set by pages.js
PASSWORD_HINTS: Final = {
    PasswordState.USABLE: mark("A password is stored. Leave empty to keep it."),
    PasswordState.UNBOUND: mark(
        "The stored password was entered for another connection and is not used with this one: "
        "enter the password of this server."
    ),
    PasswordState.UNREADABLE: mark(
        "The stored password cannot be read with the secret key of this application: "
        "enter it again."
    ),
}
ORDER: Final = mark("Order of the servers")
KEPT: Final = mark("A secret is stored. Leave empty to keep it.")
MISMATCH: Final = mark("The two passwords differ: type the same one twice.")
OUT_OF_DATE: Final = mark("This page was out of date. Nothing was done: try again.")
NO_ADDRESS: Final = mark(
    "Nothing was sent: this application knows no e-mail address of yours. The people who run it "
    "can add one."
)
TOO_MANY: Final = mark(
    "Nothing was sent: at most %(limit)s tests a minute are allowed. Wait a minute, then try again."
)
COPY_ACCEPTED: Final = mark(
    "The mail server accepted the message for %(address)s. Accepted does not yet mean arrived: "
    "look into that mailbox, including the junk folder."
)
OTHER_TEMPLATE: Final = mark("A message of your application.")  # what one of the host's is for
TEMPLATES: Final = {  # of those that ship: title, and what the message is for
    "merge_request": (
        mark("Merge request"),
        mark("Asks somebody who may merge two contacts to do it, when a user was not allowed to."),
    ),
    "merge_completed": (
        mark("Contacts merged"),
        mark("Tells the owners of folders that two of their contacts are one now."),
    ),
    "digest": (
        mark("Several messages together"),
        mark("What came for somebody within a minute above the rate, in one message."),
    ),
    "not_delivered": (
        mark("Not delivered"),
        mark(
            "Tells the default To that the mail server did not take a message, after all attempts."
        ),
    ),
    "settings_test": (
        mark("Test message"),
        mark("What Test Settings sends."),
    ),
}
ENDED: Final = {
    "paused": mark("Sending goes on: what waits is sent now."),
    "divert_to": mark("Mail goes to its own recipients again."),
}
WHICH: Final = {
    "": mark("All"),
    "settings": mark("Settings"),
    "tests": mark("Tests"),
    "messages": mark("What was done with messages"),
}
TABS: Final = {
    "": mark("All"),
    "waiting": mark("Waiting"),
    "sent": mark("Sent"),
    "failed": mark("Failed"),
    "held": mark("Held"),
    "suppressed": mark("Suppressed"),
    "cancelled": mark("Cancelled"),
}
# Shown once there is one.
RETURNED_TABS: Final = {
    "bounced": mark("Bounced"),
    "delayed": mark("Delayed"),
    "delivered": mark("Delivered"),
    "passed_on": mark("Passed on"),
}
NOTHING: Final = {  # what would be under a tab
    "waiting": mark("Messages stand here until the mail server has taken them."),
    "sent": mark("Messages that the mail server has taken are listed here."),
    "failed": mark("Messages that could not be sent are listed here, with the reason."),
    "held": mark(
        "Messages that wait for your decision, or for others to the same person, are here."
    ),
    "suppressed": mark(
        "Messages that were deliberately not sent are listed here, with the reason."
    ),
    "cancelled": mark("Messages that were cancelled before they left are listed here."),
}
FILTER_PROBLEMS: Final = {
    "status": mark("There is no such state, so messages of all states are shown."),
    "reason": mark("There is no such reason, so messages with any reason are shown."),
    "apart": mark(
        "No message in this state has this reason, so nothing can match. Choose only one."
    ),
    "since": mark("“From day” is no day, such as 2026-11-29, so it narrows nothing."),
    "until": mark("“To day” is no day, such as 2026-11-29, so it narrows nothing."),
    "order": mark("“From day” is after “To day”, so nothing can match."),
}
FILTERS: Final = {  # as a question names them
    "q": mark("Search:"),
    "status": mark("State:"),
    "reason": mark("Reason:"),
    "kind": mark("Kind:"),
    "relay": mark("Mail server:"),
    "since": mark("From day:"),
    "until": mark("To day:"),
    "zone": mark("Time zone:"),
}
EVENTS: Final = {
    "stored": mark("The application stored it."),
    "claimed": mark("It was handed to the mail server"),
    "accepted": mark("The server took it."),
    "transient": mark("The server could not take it yet."),
    "permanent": mark("The server refused it."),
    "server": mark("The server, or the way to it, was in trouble."),
    "ambiguous": mark(
        "The connection broke at the very end: nobody knows whether the server took it."
    ),
    "bounced": mark("A report came: it did not arrive."),
    "delivered": mark("A report came: it arrived."),
    "passed_on": mark("A report came: it was passed on, and nothing more will be heard of it."),
    "delayed": mark("A report came: it is delayed, and a mail server still tries."),
    "told": mark("A report came that does not say what became of it for this recipient."),
    "reply": mark("An automatic reply came, which says nothing about whether it arrived."),
}
REPORTED: Final = ("bounced", "delivered", "passed_on", "delayed", "told")
WAITS: Final = {  # the last event of a recipient who still waits, by status
    "queued": mark("It waits for its turn"),
    "deferred": mark("It will be tried again"),
    "held": mark("It waits"),
}
WAITS_UNTIL: Final = {
    "queued": mark("It waits for its turn at %(time)s"),
    "deferred": mark("Next try: %(time)s"),
    "held": mark("It waits until %(time)s"),
}
ENDS: Final = {  # the last event of another one
    "sending": mark("It is being sent now."),
    "sent": mark("It is the mail server's now. Whether it arrived, only the recipient knows."),
    "bounced": mark("It did not arrive, a report says."),
    "delivered": mark("It arrived, a report says."),
    "passed_on": mark("It was passed on. Whether it arrived, only the recipient knows."),
    "delayed": mark("It is on its way. A report says that it is delayed."),
    "failed": mark("It was not sent."),
    "suppressed": mark("It was deliberately not sent."),
    "cancelled": mark("It was cancelled."),
}
ACTIONS: Final = {  # with several messages
    "resend": mark("Resend"),
    "cancel": mark("Cancel sending"),
    "release": mark("Release"),
}
ASKED: Final = {
    "resend": mark("Send these messages again? Recipients and sender are decided anew."),
    "cancel": mark("Cancel these messages? They will not be sent."),
    "release": mark("Release these messages? They are sent as they are."),
}
DONE: Final[Mapping[str, Callable[[int], str]]] = {  # how many messages were done so
    "resend": lambda count: ngettext("%(count)s sent again", "%(count)s sent again", count),
    "cancel": lambda count: ngettext("%(count)s cancelled", "%(count)s cancelled", count),
    "release": lambda count: ngettext("%(count)s released", "%(count)s released", count),
}
LEFT_OUT: Final[Mapping[str, Callable[[int], str]]] = {  # how many were left out, and why
    "again": lambda count: ngettext(
        "%(count)s was sent again before: open it to send it once more",
        "%(count)s were sent again before: open one to send it once more",
        count,
    ),
    "waiting": lambda count: ngettext(
        "%(count)s still waits, or is in a digest that does: release or cancel it first",
        "%(count)s still wait, or are in a digest that does: release or cancel them first",
        count,
    ),
    "changed": lambda count: ngettext(
        "%(count)s has changed since you saw it: look at it again",
        "%(count)s have changed since you saw them: look at them again",
        count,
    ),
    "gone": lambda count: ngettext(
        "%(count)s is not in the outbox any more",
        "%(count)s are not in the outbox any more",
        count,
    ),
    "left": lambda count: ngettext(
        "%(count)s has left, is on its way with others, or was cancelled already",
        "%(count)s have left, are on their way with others, or were cancelled already",
        count,
    ),
    "free": lambda count: ngettext(
        "%(count)s is not held, is on its way with others, or has no content to send",
        "%(count)s are not held, are on their way with others, or have no content to send",
        count,
    ),
    "unfit": lambda count: ngettext(
        "%(count)s cannot be sent again: open it and press Resend to see why",
        "%(count)s cannot be sent again: open one and press Resend to see why",
        count,
    ),
}
DEEDS: Final = {
    "resent": mark("%(who)s sent again %(message)s"),
    "cancelled": mark("%(who)s cancelled %(message)s"),
    "released": mark("%(who)s released %(message)s"),
    "exported": mark("%(who)s exported the list of messages"),
    "connected": mark("%(who)s connected the mailbox"),
    "disconnected": mark("%(who)s disconnected the mailbox"),
    "mended": mark("%(who)s said that there is a mailbox again at"),
    "read": mark("%(who)s read the text of %(message)s"),
}
OTHER_ACCOUNT: Final = mark(
    "Another account has agreed (%(account)s) than the one that mail is to be sent from "
    "(%(mailbox)s). The mail server refuses that, unless the account may send as the mailbox."
)
VERDICTS: Final = {
    "passed": mark("passed"),
    "partial": mark("passed for some recipients only"),
    "failed": mark("did not pass"),
    "no_answer": mark("got no answer in time"),
    "suppressed": mark("nothing was sent, as this application suppresses sending"),
}
CONFLICT: Final = mark(
    "Somebody else has saved other settings since you opened this page. "
    "Nothing of yours was saved, nothing of theirs was overwritten."
)
PERIODS: Final = {
    "hour": mark("Last hour"),
    "day": mark("Last day"),
    "week": mark("Last 7 days"),
    "month": mark("Last 30 days"),
}
STEPS: Final = {  # of the table, by period
    "hour": mark(
        "Messages by the minute, oldest first. A message that is deferred twice and then sent "
        "counts three times."
    ),
    "day": mark(
        "Messages by the hour, oldest first. A message that is deferred twice and then sent "
        "counts three times."
    ),
    "week": mark(
        "Messages by the six hours, oldest first. A message that is deferred twice and then sent "
        "counts three times."
    ),
    "month": mark(
        "Messages by the day, oldest first. A message that is deferred twice and then sent "
        "counts three times."
    ),
}
RETURNED_COUNTS: Final = {  # of what was looked at in the mailbox with returned mail
    "noted": mark("Reports noted"),
    "known": mark("Reports that had been noted before"),
    "replies": mark("Automatic replies to mail of this application"),
    "foreign": mark("About no message of this application, and left alone"),
    "unreadable": mark("Not readable, and left alone"),
}
# What the counts count, in the order of their columns.
COUNTED: Final = {
    "sent": mark("Sent"),
    "deferred": mark("Deferred"),
    "failed": mark("Failed"),
    "held": mark("Held"),
}
# Kind of an event, and its verdict where that makes a difference.
SERVER_EVENTS: Final = {
    "breaker open": mark("Trouble with the mail server began and goes on"),
    "breaker closed": mark("Trouble with the mail server began, which is over now"),
    "probe": mark("A probe of the mail server"),
    "test": mark("A test of the settings"),
}
# For each step of a test: a sign, and a word for screen readers.
STEP_MARKS: Final = {
    "ok": ("✓", mark("done:")),
    "warning": ("!", mark("with a warning:")),
    "skipped": ("–", mark("left out:")),
    "failed": ("✗", mark("failed:")),
}
STATES: Final = {  # the word of a status
    "queued": mark("queued"),
    "sending": mark("sending"),
    "sent": mark("sent"),
    "deferred": mark("deferred"),
    "failed": mark("failed"),
    "held": mark("held"),
    "suppressed": mark("suppressed"),
    "cancelled": mark("cancelled"),
    "delivered": mark("delivered"),
    "passed_on": mark("passed on"),
    "delayed": mark("delayed"),
    "bounced": mark("bounced"),
}
STAGES: Final = {  # the step of a conversation at which an attempt ended
    "settings": mark("settings"),
    "resolve": mark("resolve"),
    "connect": mark("connect"),
    "greeting": mark("greeting"),
    "encryption": mark("encryption"),
    "authentication": mark("authentication"),
    "sender": mark("sender"),
    "recipient": mark("recipient"),
    "content": mark("content"),
    "accepted": mark("accepted"),
}
STATUS: Final = {  # what it means
    "queued": mark("waits to be sent"),
    "sending": mark("is being sent"),
    "sent": mark("taken by the server"),
    "deferred": mark("will be tried again"),
    "failed": mark("not sent"),
    "held": mark("kept back for now"),
    "suppressed": mark("deliberately not sent"),
    "cancelled": mark("will not be sent"),
    "delivered": mark("arrived, a report says"),
    "passed_on": mark("passed on to a server that reports no more"),
    "delayed": mark("delayed on its way"),
    "bounced": mark("did not arrive, a report says"),
}
# For held messages, instead of the text of the status: above its rate, or for another reason.
_HELD_FOR_RATE: Final = mark("will be sent automatically, together with others")
_HELD_FOR_DECISION: Final = mark("waits for you")
REASON: Final = {
    "ambiguous": mark(
        "The connection broke at the very end: nobody knows whether the server took it."
    ),
    "relay": mark("It waits for a mail server."),
    "rate": mark("Too many messages within a minute: they will be sent together, in one message."),
    "poison": mark("The program that tried to send it crashed each time."),
    "ineligible": mark("No recipient uses the desktop client."),
    "testing": mark("This application suppresses sending (MAIL_SUPPRESS_SEND)."),
    "refused": mark("The server refused it."),
    "expired": mark("It was tried for as long as possible, or until its own time limit."),
    "not_configured": mark("E-mail was not configured: no server or no default From."),
    "unaddressed": mark("No recipient has an address, and there is no default To."),
    "merged": mark("The contacts were merged meanwhile."),
    "withdrawn": mark("It was cancelled before it was sent."),
}


FINDINGS: Final = {  # what a look at DNS came to
    "fine": mark("fine"),
    "missing": mark("missing"),
    "wrong": mark("wrong"),
    "could not be checked": mark("could not be checked"),
}


def sentence(label: str, text: str) -> str:
    """Make a sentence of an error: one that begins with a verb gets ``label`` as its subject.

    A translation that begins with a capital, or in another script, is a sentence by itself.
    """
    if text[:1].islower():
        text = gettext("%(label)s %(error)s", label=label, error=text)
    return text if text.endswith((".", "!", "?", ":")) else f"{text}."


def filter_shown(name: str, value: str) -> str:
    """The value of a filter as a question names it."""
    return gettext({**TABS, **STATES}.get(value, value)) if name == "status" else value


def page_gettext(text: str, **values: Any) -> Markup:
    """``gettext`` for pages: all is escaped except values that are markup already.

    Flask-Admin's layouts ask here for their own texts, too. Its function fails where Flask-Babel
    is installed but not in use.
    """
    said = gettext(text)
    if "babel" in current_app.extensions and not language.is_known(text):
        from flask_admin.babel import gettext as translate

        said = str(translate(text))
    return escape(said) % values if values else escape(said)


def page_ngettext(one: str, many: str, count: int, **values: Any) -> Markup:
    """``ngettext`` for pages, which escapes as ``page_gettext`` does."""
    said = escape(language.plural(one, many, count))
    return said % {"count": language.number(count), **values}


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
        return gettext("%(number)s ms", number=_two_digits(seconds * 1000))
    if seconds < 90:
        return gettext("%(number)s s", number=_two_digits(seconds))
    minutes = round(seconds / 60)
    if minutes < 90:
        return gettext("%(minutes)s min", minutes=minutes)
    hours, minutes = divmod(minutes, 60)
    if hours < 48:
        return gettext("%(hours)s h %(minutes)s min", hours=hours, minutes=minutes)
    return ngettext("%(count)s day", "%(count)s days", hours // 24)


_SIZES: Final = (mark("%(number)s KiB"), mark("%(number)s MiB"), mark("%(number)s GiB"))


def size(count: int) -> str:
    """A number of bytes in words, such as ``12 Bytes`` or ``1.5 KiB``."""
    if count < 1024:
        return ngettext("%(count)s Byte", "%(count)s Bytes", count)
    power = min((count.bit_length() - 1) // 10, len(_SIZES))
    return gettext(_SIZES[power - 1], number=number(count / 1024**power, ",.1f"))


def _two_digits(value: float) -> str:
    return number(float(f"{value:.2g}"), "g")


def status(word: str, reason: str | None = None) -> Markup:
    """The status of a message or a recipient: its word, and what it means."""
    return Markup("{} {}").format(badge(word, reason), gettext(_meaning(word, reason)))


def badge(word: str, reason: str | None = None) -> Markup:
    """The word of a status, which says what it means to whoever points at it."""
    shown = "queued" if leaves_by_itself(word, reason) else word
    return Markup('<span class="im-status im-status-{}" title="{}">{}</span>').format(
        shown, gettext(_meaning(word, reason)), gettext(STATES.get(word, word))
    )


def shown_status(status: str, returned: str | None) -> str:
    """The status of a message in a list: what came back, where it is sent and something did."""
    return returned if returned and status == Status.SENT else status


def _meaning(word: str, reason: str | None) -> str:
    if word == Status.HELD:
        return _HELD_FOR_RATE if leaves_by_itself(word, reason) else _HELD_FOR_DECISION
    return STATUS.get(word, "")


def leaves_by_itself(word: str, reason: str | None) -> bool:
    """Whether a message is held only because of its rate, so that nobody has to do anything."""
    return word == Status.HELD and reason == Reason.RATE

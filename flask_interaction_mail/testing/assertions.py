"""Assertions about what was recorded; one that fails says what was sent instead."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence

from flask import has_app_context

from ..messages.recorded import RecordedMessage, Recording, in_short, whom
from ..state import state_of
from ..unit_of_work.session_events import pending_messages
from ..values import Reason, RecipientVerdict, Status


def assert_sent_to(
    sent: Recording,
    address: str,
    *,
    subject: str | None = None,
    text: str | None = None,
    html: str | None = None,
    attachment: str | None = None,
    kind: str | None = None,
) -> RecordedMessage:
    """Fail unless a message was sent to ``address``; gives the first one.

    It counts if it has left or will, and if it stays only because the application is under test.
    One that failed for this address, was cancelled or is for nobody with the desktop client (R6)
    does not.

    Args:
        address: in full, or the part before ``@``.
        subject, text, html: what it must contain.
        attachment: the name of a file that it must have.
        kind: its kind, such as ``"request"``.

    Raises:
        AssertionError: there is none; it says what was sent, what was dropped, and why.
    """
    __tracebackhide__ = True
    wanted = {"subject": subject, "text": text, "html": html}
    tests: list[Callable[[RecordedMessage], bool]] = [
        lambda message: any(_goes_to(address, one, message) for one in message.recipients),
        lambda message: all(
            part is None or part in (getattr(message, name) or "") for name, part in wanted.items()
        ),
        lambda message: (
            attachment is None or any(one.filename == attachment for one in message.attachments)
        ),
        lambda message: kind is None or message.kind == kind,
    ]
    for message in sent:
        if all(test(message) for test in tests):
            return message
    wanted |= {"attachment": attachment, "kind": kind}
    asked = "".join(f", {name} {part!r}" for name, part in wanted.items() if part is not None)
    raise AssertionError(f"Nothing was sent to {address}{asked}.\n{_account(sent)}")


def assert_nothing_sent(sent: Recording) -> None:
    """Fail if a message was sent, or failed to be.

    A message that was cancelled, or is for nobody with the desktop client (R6), does not count.

    Raises:
        AssertionError: it says what was sent, what was dropped, and why.
    """
    __tracebackhide__ = True
    if any(_was_to_go(message.status, message.reason) for message in sent):
        raise AssertionError(f"Something was sent.\n{_account(sent)}")


def _goes_to(address: str, recipient: RecipientVerdict, message: RecordedMessage) -> bool:
    theirs, wanted = recipient.address.casefold(), address.casefold()
    named = wanted in (theirs, theirs.rpartition("@")[0])
    return (
        named
        and recipient.status is not Status.FAILED
        and _was_to_go(recipient.status, message.reason)
    )


def _was_to_go(status: Status, reason: Reason | None) -> bool:
    if status is Status.SUPPRESSED:
        return reason is Reason.TESTING
    return status is not Status.CANCELLED


def _account(sent: Recording) -> str:
    """What became of all messages, for a person who looks for one of them."""
    parts = [
        *_listed("Recorded", [_line(message) for message in sent]),
        *_listed("Dropped", [_line(message) for message in sent.dropped]),
        *_listed("Still waiting for the commit of db.session", _waiting()),
    ]
    return "\n".join(parts) or "Nothing was recorded, and nothing was dropped."


def _listed(title: str, lines: Sequence[str]) -> Iterable[str]:
    return [f"{title}:", *(f"  {line}" for line in lines)] if lines else []


def _line(message: RecordedMessage) -> str:
    replies = "; ".join(
        f"{recipient.address} got {recipient.reply}"
        for recipient in message.recipients
        if recipient.reply and recipient.status is not Status.SENT
    )
    return f"{in_short(message)} {replies}".rstrip()


def _waiting() -> list[str]:
    """What the session of the current app context, if there is one, has not committed yet."""
    if not has_app_context():
        return []
    pending = pending_messages(state_of().db.session())
    return [f"{one.intent.subject!r} to {whom(one.recipients)}" for one in pending]

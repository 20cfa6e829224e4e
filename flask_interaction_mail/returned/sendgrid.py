"""Events that Twilio SendGrid posts (its *Event Webhook*), and their signature. Pure.

The signature is ECDSA with SHA-256 over the time and the bytes that were posted, by a key of which
SendGrid shows the public half.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any, Final

from ..values import Status
from . import events
from .events import Event, NotFromProvider, Unreadable
from .signatures import is_signed

SIGNATURE: Final = "X-Twilio-Email-Event-Webhook-Signature"
TIMESTAMP: Final = "X-Twilio-Email-Event-Webhook-Timestamp"

_AGE: Final = timedelta(hours=24)  # SendGrid tries for so long to post the same again
_COMPLAINT: Final = "spamreport"
_STATES: Final[Mapping[str, Status | None]] = {
    "delivered": Status.DELIVERED,
    "deferred": Status.DELAYED,
    "bounce": Status.BOUNCED,  # also of the type "blocked": it is not tried again
    "dropped": Status.BOUNCED,  # not tried at all
    _COMPLAINT: None,
}


def check(
    keys: Sequence[bytes], body: bytes, *, signature: str, timestamp: str, now: datetime
) -> None:
    """See that ``body`` was signed by one of the public ``keys`` (DER), not long before ``now``.

    Raises:
        NotFromProvider: it was not.
    """
    if not timestamp.isascii() or not timestamp.isdigit():
        raise NotFromProvider("It has no time.")
    content = timestamp.encode() + body
    if not any(is_signed(key, signature, content) for key in keys):
        raise NotFromProvider("It is signed with none of the keys that are configured.")
    try:
        at = datetime.fromtimestamp(int(timestamp), UTC)
    except (ValueError, OverflowError, OSError) as error:
        raise NotFromProvider("Its time is none.") from error
    events.check_age(at, now, _AGE)


def read(body: bytes) -> Iterator[Event]:
    """The events in ``body`` that say what became of a message.

    Raises:
        Unreadable: it is no list of events.
    """
    told = events.parsed(body)
    if not isinstance(told, list):
        raise Unreadable("This is no list of events.")
    return (_event(one) for one in told if isinstance(one, dict) and _kind(one) in _STATES)


def _event(told: Mapping[str, Any]) -> Event:
    kind, address = _kind(told), events.text(told, "email")
    words = events.text(told, "reason") or events.text(told, "response")
    said = "complaint: marked as spam" if kind == _COMPLAINT else words
    named = events.text(told, "sg_message_id")
    return events.event(
        told,
        # Its own name begins with what it answered when it took the message.
        ids=(events.text(told, "smtp-id"), named, named.partition(".")[0]),
        notes=[events.note(address, _STATES[kind], said=said, status=events.text(told, "status"))],
        server="SendGrid",
        unique=("sendgrid", kind, address, named, events.text(told, "sg_event_id")),
    )


def _kind(told: Mapping[str, Any]) -> str:
    return events.text(told, "event")

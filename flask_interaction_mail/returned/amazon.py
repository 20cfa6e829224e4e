"""Events of Amazon SES, as its notification service (SNS) posts them, and their signature. Pure.

SNS signs the texts of a notice with RSA. Its certificate is at a URL that the notice names: only
one at the server of SNS in the region of the topic counts. Which topics are ours is configured,
because everybody can have a topic, and subscribe this URL to it.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime, timedelta
from typing import Any, Final, NamedTuple

from ..settings.amazon import server_of_topic
from ..values import Status
from . import events
from .events import Event, NotFromProvider, Unreadable, each, within
from .reading import Note
from .signatures import is_signed_by_certificate
from .state import state_of

NOTIFICATION: Final = "Notification"
SUBSCRIPTION: Final = "SubscriptionConfirmation"

_AGE: Final = timedelta(hours=1)  # SNS tries for so long to post the same again
_TOKEN: Final = re.compile(r"[0-9A-Za-z]{16,512}")
_CERTIFICATE: Final = r"https://{host}/SimpleNotificationService-[0-9A-Za-z]{{1,64}}\.pem"
_SIGNED: Final = (
    *("Message", "MessageId", "Subject", "SubscribeURL"),
    *("Timestamp", "Token", "TopicArn", "Type"),
)
_KINDS: Final = (NOTIFICATION, SUBSCRIPTION, "UnsubscribeConfirmation")
_SUBSCRIBING: Final = ("SubscribeURL", "Token")  # signed only where they mean something

# What SES makes of a message that it refused; an answer of a person's mailbox is "General".
_REFUSALS: Final = ("MailboxFull", "MessageTooLarge", "ContentRejected", "AttachmentRejected")


class Notice(NamedTuple):
    """What SNS has posted: a text for the subscribers of a topic, or about the subscription."""

    kind: str
    topic: str
    told: Mapping[str, Any]

    @property
    def certificate_url(self) -> str:
        """Where the certificate is."""
        return events.text(self.told, "SigningCertURL")

    @property
    def token(self) -> str:
        """What confirms a subscription."""
        return events.text(self.told, "Token")

    def check(self, pem: bytes, now: datetime) -> None:
        """See that the certificate ``pem``, valid ``now``, has signed it.

        Raises:
            NotFromProvider: it has not.
        """
        version = events.text(self.told, "SignatureVersion")
        signature = events.text(self.told, "Signature")
        if not is_signed_by_certificate(pem, version, signature, self._signed(), now):
            raise NotFromProvider("Its signature is wrong, or its certificate is not valid now.")

    def _signed(self) -> bytes:
        """The names and texts that are signed, each on a line of its own."""
        left_out = _SUBSCRIBING if self.kind == NOTIFICATION else ("Subject",)
        names = [name for name in _SIGNED if name not in left_out]
        found = [(name, self.told[name]) for name in names if self.told.get(name) is not None]
        lines = "".join(f"{name}\n{text}\n" for name, text in found)
        return lines.encode("utf-8", "surrogatepass")  # whatever SNS has signed, it was not this


def notice(body: bytes, topics: tuple[str, ...], now: datetime) -> Notice:
    """What SNS says in ``body``, for one of our ``topics``; its signature is not checked yet.

    Raises:
        Unreadable: it is no notice of SNS.
        NotFromProvider: its topic is not ours, it is old, or its certificate is elsewhere.
    """
    told = events.parsed(body)
    if not isinstance(told, dict) or events.text(told, "Type") not in _KINDS:
        raise Unreadable(
            "This is no notice of SNS. In the subscription, raw message delivery must be off."
        )
    found = Notice(events.text(told, "Type"), events.text(told, "TopicArn"), told)
    if found.topic not in topics:
        raise NotFromProvider("The topic is none of those in INTERACTION_MAIL_SNS_TOPICS.")
    try:
        at = datetime.fromisoformat(events.text(told, "Timestamp"))
    except ValueError as error:
        raise Unreadable("It has no time.") from error
    events.check_age(at if at.tzinfo else at.replace(tzinfo=UTC), now, _AGE)
    host = re.escape(server_of_topic(found.topic))
    if not re.fullmatch(_CERTIFICATE.format(host=host), found.certificate_url):
        raise NotFromProvider("Its certificate is not at the server of SNS.")
    if found.kind == SUBSCRIPTION and not _TOKEN.fullmatch(found.token):
        raise Unreadable("It has no token.")
    return found


def read(notice: Notice) -> Iterator[Event]:
    """The event in ``notice``, if it says what became of a message of SES."""
    try:
        told = events.parsed(events.text(notice.told, "Message"))
    except Unreadable:  # what SNS and SES write when a topic is set up
        return
    if not isinstance(told, dict):
        return
    kind = events.text(told, "eventType") or events.text(told, "notificationType")
    if (reader := _READERS.get(kind)) is None:
        return
    mail, part, notes = within(told, "mail"), *reader(told)
    yield events.event(
        told,
        ids=[
            *_message_ids(mail),
            events.text(within(mail, "commonHeaders"), "messageId"),
            events.text(mail, "messageId"),
        ],
        notes=notes,
        server=events.text(part, "reportingMTA") or "Amazon SES",
        unique=(
            *("ses", kind, events.text(mail, "messageId")),
            *(events.text(part, name) for name in ("timestamp", "feedbackId")),
            *sorted(address for note in notes for address in note.original),
        ),
    )


def _message_ids(mail: Mapping[str, Any]) -> list[str]:
    """The Message-ID that we gave it, where SES tells the header fields."""
    fields = each(mail, "headers", dict)
    named = [one for one in fields if events.text(one, "name").lower() == "message-id"]
    return [events.text(one, "value") for one in named]


_Read = tuple[Mapping[str, Any], list[Note]]


def _bounce(told: Mapping[str, Any]) -> _Read:
    part = within(told, "bounce")
    permanent = events.text(part, "bounceType") == "Permanent"
    refused = permanent or events.text(part, "bounceSubType") in _REFUSALS
    words = f"{events.text(part, 'bounceType')}: {events.text(part, 'bounceSubType')}"
    notes = []
    for one in each(part, "bouncedRecipients", dict):
        # Without an action it may be an automatic reply that SES has taken for a bounce.
        action = events.text(one, "action").split("(")[0].strip().lower()
        state = state_of(action, "", retried=True, explained=True)
        notes.append(_note(one, state or (Status.BOUNCED if refused else None), words))
    return part, notes


def _complaint(told: Mapping[str, Any]) -> _Read:
    part = within(told, "complaint")
    words = events.text(part, "complaintFeedbackType") or events.text(part, "complaintSubType")
    said = f"complaint: {words or 'marked as spam'}"
    return part, [_note(one, None, said) for one in each(part, "complainedRecipients", dict)]


def _delivery(told: Mapping[str, Any]) -> _Read:
    part = within(told, "delivery")
    said = events.text(part, "smtpResponse")
    people = each(part, "recipients", str)
    return part, [events.note(address, Status.DELIVERED, said=said) for address in people]


def _delay(told: Mapping[str, Any]) -> _Read:
    part = within(told, "deliveryDelay")
    said, people = events.text(part, "delayType"), each(part, "delayedRecipients", dict)
    return part, [_note(one, Status.DELAYED, said) for one in people]


def _reject(told: Mapping[str, Any]) -> _Read:
    """SES had taken it, and found malware in it: nobody gets it."""
    part, mail = within(told, "reject"), within(told, "mail")
    said = f"rejected: {events.text(part, 'reason')}"
    people = each(mail, "destination", str)
    return part, [events.note(address, Status.BOUNCED, said=said) for address in people]


_READERS: Final = {
    "Bounce": _bounce,
    "Complaint": _complaint,
    "Delivery": _delivery,
    "DeliveryDelay": _delay,
    "Reject": _reject,
}


def _note(told: Mapping[str, Any], state: Status | None, said: str) -> Note:
    return events.note(
        events.text(told, "emailAddress"),
        state,
        said=events.text(told, "diagnosticCode") or said,
        status=events.text(told, "status"),
    )

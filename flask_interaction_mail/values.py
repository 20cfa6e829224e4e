"""The values that a host and the extension exchange: people, contacts, notifications."""

from __future__ import annotations

import enum
import operator
import uuid
from collections.abc import Callable, Mapping
from dataclasses import KW_ONLY, dataclass, field
from datetime import datetime
from decimal import Decimal
from functools import partial
from typing import Final, Literal, SupportsIndex

from .text import resolved

_LARGEST_ID = 1 << 128  # numbers below it include every UUID's


class Role(enum.Enum):
    """A person's role in the host, which decides whether mail may be sent (R5, R6)."""

    ADMINISTRATOR = "administrator"  # always eligible
    FOLDER_OWNER = "folder_owner"  # always eligible
    PROFESSIONAL = "professional"  # eligible only with the desktop client
    SECRETARY = "secretary"  # eligible only with the desktop client


@dataclass(frozen=True, slots=True)
class Party:
    """A user or a group of the host.

    ``email`` is a full address, only the part before ``@``, or None. ``id`` is the host's own
    identifier: a text, a number, or a UUID (kept as its text). Parties with the same kind and id
    are the same. ``locale``, such as ``"de"`` or a ``babel.Locale``, is the language of templates.
    Lazy texts are resolved here.

    Raises:
        TypeError: a field is of another type.
        ValueError: ``kind`` is another word, or ``id`` a number of more than 128 bits.
    """

    name: str
    email: str | None = None
    _: KW_ONLY
    id: str | int | uuid.UUID | None = None
    kind: Literal["user", "group"] = "user"
    role: Role | None = None
    uses_desktop_client: bool = False
    locale: str | None = None

    def __post_init__(self) -> None:
        set_ = _setter(self)
        set_("name", _text("Party.name", self.name))
        if self.email is not None:
            set_("email", _text("Party.email", self.email, " or None"))
        if self.id is not None:
            set_("id", _identifier("Party.id", self.id))
        set_("kind", resolved(self.kind))
        if self.kind not in ("user", "group"):
            raise ValueError(f"Party.kind must be 'user' or 'group', not {self.kind!r}")
        if self.role is not None and not isinstance(self.role, Role):
            raise TypeError(f"Party.role must be a Role or None, not {self.role!r}")
        set_("uses_desktop_client", bool(self.uses_desktop_client))
        set_("locale", _language("Party.locale", self.locale))


@dataclass(frozen=True, slots=True)
class Contact:
    """A contact that takes part in a merge; ``location`` is its folder or list.

    ``id`` is a text, a number, or a UUID (kept as its text). ``url`` is the page that shows the
    contact. Mail links to it only if it is a complete ``http`` or ``https`` URL. ``fields`` are
    label and value of what helps to tell two contacts apart, such as an address; mail shows those
    of both side by side and marks the differences. A value may be None. Lazy texts are resolved.

    Raises:
        TypeError: a field is of another type.
        ValueError: ``id`` is a number of more than 128 bits.
    """

    id: str | int | uuid.UUID
    name: str
    _: KW_ONLY
    location: str
    url: str | None = None
    # A mapping has no hash; contacts that differ only here may share theirs.
    fields: Mapping[str, str | None] = field(default_factory=dict, hash=False)

    def __post_init__(self) -> None:
        set_ = _setter(self)
        set_("id", _identifier("Contact.id", self.id))
        set_("name", _text("Contact.name", self.name))
        set_("location", _text("Contact.location", self.location))
        if self.url is not None:
            set_("url", _text("Contact.url", self.url, " or None"))
        if not isinstance(self.fields, Mapping):
            raise TypeError(
                f"Contact.fields must be a mapping of texts, not {type(self.fields).__name__}"
            )
        set_("fields", dict(map(_labelled, self.fields.items())))


@dataclass(frozen=True, slots=True)
class Merge:
    """Two contacts that were merged into one or should be, and the user who wanted it.

    ``url`` is the page on which they can be merged, or which shows the result. Mail has a button
    for it if it is a complete ``http`` or ``https`` URL.

    Raises:
        TypeError: a field is of another type.
    """

    contacts: tuple[Contact, Contact]
    _: KW_ONLY
    requester: Party | None = None
    reason: str | None = None
    url: str | None = None

    def __post_init__(self) -> None:
        contacts = tuple(self.contacts)
        if len(contacts) != 2 or not all(isinstance(item, Contact) for item in contacts):
            raise TypeError("Merge.contacts must be exactly two Contact values")
        if self.requester is not None and not isinstance(self.requester, Party):
            raise TypeError("Merge.requester must be a Party or None")
        set_ = _setter(self)
        set_("contacts", contacts)
        if self.reason is not None:
            set_("reason", _text("Merge.reason", self.reason, " or None"))
        if self.url is not None:
            set_("url", _text("Merge.url", self.url, " or None"))


def _setter(value: object) -> Callable[[str, object], None]:
    """A function that sets a field of the frozen ``value`` while it is being made."""
    return partial(object.__setattr__, value)


def _text(field: str, given: object, otherwise: str = "") -> str:
    text = resolved(given)
    if isinstance(text, str):
        return text
    raise TypeError(f"{field} must be a string{otherwise}, not {type(given).__name__}")


def _labelled(item: tuple[object, object]) -> tuple[str, str | None]:
    """A label and a value of ``Contact.fields``."""
    label, value = item
    name = _text("Contact.fields: a label", label)
    return name, None if value is None else _text(f"Contact.fields[{name!r}]", value, " or None")


def _identifier(field: str, given: object) -> str | int:
    """A host's id of something: a text, a number, or the text of a UUID."""
    text = resolved(given)
    if isinstance(text, str):
        return text
    if isinstance(given, (uuid.UUID, Decimal)):
        return str(given)
    if isinstance(given, (int, SupportsIndex)):  # the check of the protocol is slow
        number = operator.index(given)
        if abs(number) < _LARGEST_ID:
            return number
        raise ValueError(f"{field} must be a number of at most 128 bits")
    raise TypeError(
        f"{field} must be a text, a number or a UUID, not {type(given).__name__}; "
        "of anything else give its text"
    )


def _language(field: str, given: object) -> str | None:
    """A language such as ``de`` or ``pt_BR``; the identifier of a ``babel.Locale``."""
    text = resolved(given)
    if text is None or isinstance(text, str):
        return text
    if hasattr(given, "language") and hasattr(given, "territory"):
        return str(given)
    raise TypeError(
        f"{field} must be a text such as 'de', a babel.Locale or None, not {type(given).__name__}"
    )


class Kind(enum.StrEnum):
    """The kinds that the extension itself uses; a host may use any other word (R2)."""

    REQUEST = "request"  # asks for an action, so it must reach somebody
    NOTIFICATION = "notification"  # informs, so nobody else gets it instead


class Status(enum.StrEnum):
    """The state of a message, or of one of its recipients."""

    QUEUED = "queued"  # waits for its first attempt
    SENDING = "sending"  # claimed by a worker, until its lease ends
    SENT = "sent"  # accepted by the server; it may still not arrive
    DEFERRED = "deferred"  # refused for now; will be tried again
    FAILED = "failed"  # refused for good, expired, or impossible to send
    HELD = "held"  # waits for an administrator, or above the rate until its digest is done
    SUPPRESSED = "suppressed"  # deliberately not sent
    CANCELLED = "cancelled"  # withdrawn before it left
    # What came back for a recipient of a message that is sent; the message stays *sent*.
    DELIVERED = "delivered"  # in the mailbox, or taken by the last server that reports
    PASSED_ON = "passed_on"  # at a server that reports no more, or sent on to others
    DELAYED = "delayed"  # a server on the way still tries
    BOUNCED = "bounced"  # it did not arrive

    @property
    def final(self) -> bool:
        """Whether nothing more happens by itself, except to messages held for their rate."""
        return self not in UNDERWAY


class Priority(enum.StrEnum):
    """Which of the messages that are due leave first."""

    URGENT = "urgent"  # before all others, such as a code for a login
    NORMAL = "normal"
    BULK = "bulk"  # when nothing else is due, such as a newsletter

    @property
    def rank(self) -> int:
        """How the outbox stores it: lower ones leave first."""
        return _RANKS.index(self) - 1

    @classmethod
    def ranked(cls, rank: int) -> Priority:
        """The priority that is stored as ``rank``."""
        return _RANKS[rank + 1]


_RANKS: Final = tuple(Priority)
OPEN: Final = (Status.QUEUED, Status.DEFERRED)  # a worker takes them when they are due
UNDERWAY: Final = (Status.QUEUED, Status.SENDING, Status.DEFERRED)
# What reports say of a recipient: whichever comes first, the earlier one here stands.
RETURNED: Final = (Status.BOUNCED, Status.DELIVERED, Status.PASSED_ON, Status.DELAYED)
OF_MESSAGES: Final = tuple(status for status in Status if status not in RETURNED)
# Nothing waits any more: neither for a worker, nor for a person or a digest.
ENDED: Final = (Status.SENT, Status.FAILED, Status.SUPPRESSED, Status.CANCELLED)


class Reason(enum.StrEnum):
    """Why a message waits, is held, suppressed, failed or cancelled.

    One that is deferred because of a reply has none: the reply says it.
    """

    AMBIGUOUS = "ambiguous"  # held: the connection broke after the final dot, and policy is hold
    RELAY = "relay"  # waits: no relay may carry it now, or the one that may is busy or in trouble
    RATE = "rate"  # held: above the rate, goes out as one digest
    POISON = "poison"  # held: an error of the program, or three workers died while sending it
    INELIGIBLE = "ineligible"  # suppressed: no recipient uses the desktop client (R6)
    TESTING = "testing"  # suppressed: MAIL_SUPPRESS_SEND
    REFUSED = "refused"  # failed: the server said no
    EXPIRED = "expired"  # failed: all attempts used up, or past expires_at
    NOT_CONFIGURED = "not_configured"  # failed: no server or no default From (R4)
    UNADDRESSED = "unaddressed"  # failed: no address and no default To (R35)
    MERGED = "merged"  # cancelled: the contacts were merged meanwhile
    WITHDRAWN = "withdrawn"  # cancelled: by the host or an administrator

    @classmethod
    def stored(cls, word: str | None) -> Reason | None:
        """The reason that a column holds; None for none, and for one of a newer version."""
        return next((reason for reason in cls if reason == word), None)


class Right(enum.StrEnum):
    """What a visitor of the panel may do; ``access`` is asked for one at a time."""

    VIEW = "view"  # open the settings
    EDIT = "edit"  # save them
    TEST = "test"  # run Test Settings, which sends a message
    OUTBOX = "outbox"  # see who was sent what, and what became of it
    BODY = "body"  # read messages, the links in them included
    RESEND = "resend"  # send again, release, cancel
    ACTIVITY = "activity"  # see how much mail leaves, how fast, and what servers refuse
    EXPLAIN = "explain"  # see who may merge where, and who would get a request
    HISTORY = "history"  # see who changed which setting and did what with which message
    PURGE = "purge"  # remove messages before their time


@dataclass(frozen=True, slots=True, kw_only=True)
class RecipientVerdict:
    """A recipient of a notification, and what the server said of the address.

    ``status`` is what a report says of a recipient who is *sent*, if one came back; ``report`` is
    the reason that it gives, in the words of a mail server. Anybody can forge one. ``digest`` is
    the id of the digest in which the recipient gets it, None outside of a digest.
    """

    address: str
    name: str = ""
    field: Literal["to", "cc", "bcc"] = "to"
    status: Status = Status.QUEUED
    reply: str | None = None
    digest: uuid.UUID | None = None
    report: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Notification:
    """A snapshot of a notification; ``get_notification(id)`` returns a newer one.

    ``message_id`` is None until routing succeeds. ``route`` explains in sentences why these
    recipients and this sender were chosen. ``earlier`` is the id of the previous notification with
    the same key, None if this is the first. ``reason`` is None if there is nothing to explain, or
    if a newer version stored a reason that this one does not know. ``created_at`` is aware UTC.
    ``metadata`` are the names and values that the host gave it. ``relay`` is the name of the relay
    that took it last, None if none has. ``redirected_as`` is the id of the message in which this
    request went to the default To because it had reached nobody.
    """

    id: uuid.UUID
    message_id: str | None
    kind: str
    key: str | None
    status: Status
    reason: Reason | None
    subject: str
    recipients: tuple[RecipientVerdict, ...]
    route: tuple[str, ...]
    created_at: datetime
    earlier: uuid.UUID | None = None
    priority: Priority = Priority.NORMAL
    metadata: Mapping[str, str] = field(default_factory=dict, hash=False)
    relay: str | None = None
    redirected_as: uuid.UUID | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Alert:
    """Something about mail that an administrator should know; told when it begins and is over.

    ``name`` is ``"server"``, ``"waiting"``, ``"failures"``, ``"nobody"``, ``"expiry"``,
    ``"relay"``, ``"lost"``, ``"secret"``, ``"returned"``, or ``"test"``. ``title`` and ``text`` are
    sentences without addresses. ``id`` is the same wherever and however often this is told. ``at``
    is when it began, or was over. Moments are aware UTC.
    """

    id: uuid.UUID
    name: str
    state: Literal["begun", "over", "test"]
    title: str
    text: str
    began_at: datetime
    at: datetime

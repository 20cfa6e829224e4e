"""The nouns that a host and the extension exchange: people, contacts, notifications."""

from __future__ import annotations

import enum
import operator
import uuid
from collections.abc import Callable
from dataclasses import KW_ONLY, dataclass
from datetime import datetime
from decimal import Decimal
from functools import partial
from typing import Literal, SupportsIndex

from .text import resolved

_LARGEST_ID = 1 << 128  # numbers below it include every UUID's


class Role(enum.Enum):
    """What a person is to the host; decides who may be mailed (R5, R6)."""

    ADMINISTRATOR = "administrator"  # always eligible
    FOLDER_OWNER = "folder_owner"  # always eligible
    PROFESSIONAL = "professional"  # eligible only with the desktop client
    SECRETARY = "secretary"  # eligible only with the desktop client


@dataclass(frozen=True, slots=True)
class Party:
    """A user or a group of the host.

    ``email`` is a full address, or the part before ``@`` alone, or None.
    ``id`` is the host's own identifier, a text, a number or a UUID, which is kept as its text;
    two parties with the same kind and id are the same. ``locale`` (``"de"``, or a
    ``babel.Locale``) chooses the language of a template. Lazy texts are resolved here.
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
    """A contact of the host that takes part in a merge; ``location`` is its folder or list.

    ``id`` is a text, a number or a UUID, which is kept as its text.

    ``url`` is where people can see it: ``http`` or ``https``, with a host, in one piece; of
    anything else no link is made.
    """

    id: str | int | uuid.UUID
    name: str
    _: KW_ONLY
    location: str
    url: str | None = None

    def __post_init__(self) -> None:
        set_ = _setter(self)
        set_("id", _identifier("Contact.id", self.id))
        set_("name", _text("Contact.name", self.name))
        set_("location", _text("Contact.location", self.location))
        if self.url is not None:
            set_("url", _text("Contact.url", self.url, " or None"))


@dataclass(frozen=True, slots=True)
class Merge:
    """Two contacts that are, or were to be, merged into one, and who wanted it."""

    contacts: tuple[Contact, Contact]
    _: KW_ONLY
    requester: Party | None = None
    reason: str | None = None

    def __post_init__(self) -> None:
        contacts = tuple(self.contacts)
        if len(contacts) != 2 or not all(isinstance(c, Contact) for c in contacts):
            raise TypeError("Merge.contacts must be exactly two Contact values")
        if self.requester is not None and not isinstance(self.requester, Party):
            raise TypeError("Merge.requester must be a Party or None")
        set_ = _setter(self)
        set_("contacts", contacts)
        if self.reason is not None:
            set_("reason", _text("Merge.reason", self.reason, " or None"))


def _setter(value: object) -> Callable[[str, object], None]:
    """What sets a field of a frozen ``value`` that is being made."""
    return partial(object.__setattr__, value)


def _text(field: str, given: object, otherwise: str = "") -> str:
    text = resolved(given)
    if isinstance(text, str):
        return text
    raise TypeError(f"{field} must be a string{otherwise}, not {type(given).__name__}")


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
    """The kinds that the extension itself knows; a host may use any other word (R2)."""

    REQUEST = "request"  # asks somebody to act, so it must reach somebody
    NOTIFICATION = "notification"  # for information, so nobody else gets it instead


class Status(enum.StrEnum):
    """Where a message, or one of its recipients, stands."""

    QUEUED = "queued"  # stored, waits for its first attempt
    SENDING = "sending"  # claimed by a worker, until its lease ends
    SENT = "sent"  # the server took it; no proof of arrival
    DEFERRED = "deferred"  # refused for now, will be tried again by itself
    FAILED = "failed"  # refused for good, expired, or never sendable
    HELD = "held"  # waits for an administrator, or, above a rate, for its digest
    SUPPRESSED = "suppressed"  # deliberately not sent
    CANCELLED = "cancelled"  # called back before it left

    @property
    def final(self) -> bool:
        """True when nothing more happens by itself, but to what is held for its rate."""
        return self not in (Status.QUEUED, Status.SENDING, Status.DEFERRED)


class Reason(enum.StrEnum):
    """Why a message is held, suppressed, failed or cancelled; a deferred one carries the reply."""

    AMBIGUOUS = "ambiguous"  # held: the link died after the final dot, policy hold
    RATE = "rate"  # held: above the rate, goes out as one digest
    POISON = "poison"  # held: it broke the program, or three workers stopped on it
    INELIGIBLE = "ineligible"  # suppressed: no recipient uses the desktop client (R6)
    TESTING = "testing"  # suppressed: MAIL_SUPPRESS_SEND
    REFUSED = "refused"  # failed: the server said no
    EXPIRED = "expired"  # failed: tried as often as any, or past expires_at
    NOT_CONFIGURED = "not_configured"  # failed: no server or no default From (R4)
    UNADDRESSED = "unaddressed"  # failed: no address and no default To (R35)
    MERGED = "merged"  # cancelled: the pair was merged meanwhile
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
    PURGE = "purge"  # remove messages before their time


@dataclass(frozen=True, slots=True, kw_only=True)
class RecipientVerdict:
    """One recipient of a notification: who, in which field, and what the server said of them."""

    address: str
    name: str = ""
    field: Literal["to", "cc", "bcc"] = "to"
    status: Status = Status.QUEUED
    reply: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Notification:
    """A snapshot of a notification; ask again with ``get_notification(id)`` for news.

    ``message_id`` is None as long as routing has not succeeded. ``route`` tells in sentences
    why these recipients and this sender were chosen. ``earlier`` is the id of the notification
    that had the same key before, None if this is the first. ``reason`` is None where there is
    nothing to explain, and where a newer version has stored one that this version does not know.
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

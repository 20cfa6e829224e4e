"""What the host wanted to say, to whom and as whom; stored with each message to route it again."""

from __future__ import annotations

import base64
import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, NamedTuple

from ..language import mark
from ..values import Party, Priority, Role

MAILING: Final = "mailing"  # the source of what goes to many people, one message each
REDIRECT: Final = "redirect"  # of a request that goes to the default To as it reached nobody
PURGED: Final = "{}"  # the stored intent of a message whose body has been purged


@dataclass(frozen=True, slots=True, kw_only=True)
class Attachment:
    """A file of a message; always bytes, never a path."""

    filename: str
    content_type: str
    data: bytes
    disposition: str = "attachment"
    headers: tuple[tuple[str, str], ...] = ()  # such as Content-ID, which HTML refers to


class Texts(NamedTuple):
    """What was written: a subject in one line, and text, HTML or both.

    ``why`` is the sentence in them that says why their reader gets them, "" if there is none, and
    ``locale`` its language, None for English.
    """

    subject: str
    text: str | None
    html: str | None
    why: str = ""
    locale: str | None = None


class Addressees(NamedTuple):
    """The fields of an intent that decide who gets it."""

    kind: str
    source: str
    locations: tuple[str, ...] = ()
    to: tuple[Party, ...] = ()
    cc: tuple[Party, ...] = ()
    bcc: tuple[Party, ...] = ()


class Intent(NamedTuple):
    """A notification before routing: rendered texts and unresolved parties.

    ``locations`` is set for a merge request: the directory is asked for its recipients, again at
    each resend, and ``to`` is empty. ``user`` is the current user or the requester at the time of
    the event, ``sender`` a party that host code named instead, and ``host_sender`` the sender of a
    Flask-Mail message.
    """

    kind: str
    source: str
    subject: str = ""
    text: str | None = None
    html: str | None = None
    to: tuple[Party, ...] = ()
    cc: tuple[Party, ...] = ()
    bcc: tuple[Party, ...] = ()
    reply_to: tuple[Party, ...] = ()
    locations: tuple[str, ...] = ()
    user: Party | None = None
    sender: Party | None = None
    host_sender: str | None = None
    headers: tuple[tuple[str, str], ...] = ()
    attachments: tuple[Attachment, ...] = ()
    alternatives: tuple[tuple[str, str], ...] = ()  # content type and text, beside text and HTML
    in_reply_to: str | None = None
    why: str = ""  # as in ``Texts``, and its language
    locale: str | None = None
    priority: Priority = Priority.NORMAL
    metadata: tuple[tuple[str, str], ...] = ()  # names and values of the host's own

    @classmethod
    def of(cls, texts: Texts, whom: Addressees) -> Intent:
        """What ``texts`` say to ``whom``; the other fields have their defaults."""
        return cls(**whom._asdict(), **texts._asdict())

    def saying(self, texts: Texts) -> Intent:
        """The same with other ``texts``."""
        return self._replace(**texts._asdict())

    def to_json(self) -> str:
        """The intent as JSON, without the fields that have their default."""
        return self._differing_from(_DEFAULTS)

    def to_json_after(self, common: Intent, stored: str) -> str:
        """As ``to_json``; ``stored`` is that of ``common``, in which a field is ours or empty."""
        return f"{stored[:-1]},{self._differing_from(common)[1:]}"

    def _differing_from(self, others: Sequence[object]) -> str:
        plain = {
            name: _plain(value)
            for name, value, other in zip(_NAMES, self, others, strict=True)
            if value is not other and value != other
        }
        text = _ENCODER.encode(plain)
        # Half a surrogate pair can only be stored as an escape of JSON.
        if text.isascii() or not _SURROGATE.search(text):
            return text
        return _ASCII.encode(plain)

    @classmethod
    def from_json(cls, text: str) -> Intent:
        """The intent that ``to_json`` wrote; ValueError if it is damaged or of a newer version."""
        try:
            raw: dict[str, Any] = json.loads(text)
            raw.pop("gathers", None)  # version 0.1 named what was in a digest here
            return cls(**{name: _READERS.get(name, _same)(value) for name, value in raw.items()})
        except (TypeError, KeyError, AttributeError) as error:
            text = mark("the stored intent cannot be read: %(why)s", why=str(error))
            raise ValueError(text) from error


_NAMES: Final = Intent._fields
_DEFAULTS: Final = tuple(Intent._field_defaults.get(name) for name in _NAMES)
_ENCODER = json.JSONEncoder(ensure_ascii=False, separators=(",", ":"), check_circular=False)
_ASCII = json.JSONEncoder(separators=(",", ":"))
_SURROGATE = re.compile("[\ud800-\udfff]")


def _plain(value: object) -> object:
    match value:
        case Party():
            return _party_to_plain(value)
        case Attachment():
            return [
                value.filename,
                value.content_type,
                base64.b64encode(value.data).decode("ascii"),
                value.disposition,
                _plain(value.headers),
            ]
        case tuple():
            return [_plain(item) for item in value]
        case _:
            return value


def _party_to_plain(party: Party) -> dict[str, object]:
    plain: dict[str, object] = {"name": party.name, "email": party.email}
    if party.id is not None:
        plain["id"] = party.id
    if party.kind != "user":
        plain["kind"] = party.kind
    if party.role is not None:
        plain["role"] = party.role.value
    if party.uses_desktop_client:
        plain["uses_desktop_client"] = True
    if party.locale is not None:
        plain["locale"] = party.locale
    return plain


def _party(raw: Mapping[str, Any]) -> Party:
    values = dict(raw)
    if values.get("role") is not None:
        values["role"] = Role(values["role"])
    return Party(**values)


def _parties(raw: list[Mapping[str, Any]]) -> tuple[Party, ...]:
    return tuple(_party(item) for item in raw)


def _attachments(raw: list[list[Any]]) -> tuple[Attachment, ...]:
    return tuple(
        Attachment(
            filename=name,
            content_type=kind,
            data=base64.b64decode(data),
            disposition=disposition,
            headers=_pairs(headers),
        )
        for name, kind, data, disposition, headers in raw
    )


def _pairs(raw: list[list[str]]) -> tuple[tuple[str, str], ...]:
    return tuple((name, value) for name, value in raw)


def _same(value: Any) -> Any:
    return value


_READERS: dict[str, Any] = {
    "to": _parties,
    "cc": _parties,
    "bcc": _parties,
    "reply_to": _parties,
    "user": _party,
    "sender": _party,
    "locations": tuple,
    "headers": _pairs,
    "attachments": _attachments,
    "alternatives": _pairs,
    "priority": Priority,
    "metadata": _pairs,
}

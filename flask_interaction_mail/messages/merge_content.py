"""What a message about a merge says of the two contacts. Pure; the template escapes it for HTML."""

from __future__ import annotations

from collections.abc import Mapping
from itertools import islice
from typing import Any, Final, NamedTuple
from urllib.parse import quote

from ..errors import AddressError
from ..language import gettext, translated
from ..settings.model import MessagingSettings
from ..text import cut, link, one_line
from ..values import Contact, Merge, Party
from .recipients import complete

_FIELDS: Final = 20  # labels that are compared
_VALUE: Final = 200  # characters of a value


class Compared(NamedTuple):
    """A label of ``Contact.fields`` with the value of each contact, "" where it has none."""

    label: str
    values: tuple[str, str]
    differs: bool


def context_of(merge: Merge, settings: MessagingSettings) -> dict[str, Any]:
    """The names that a template may use."""
    requester = merge.requester
    first, second = merge.contacts
    return {
        "contacts": (_shown(first), _shown(second)),
        "comparison": _compared(first.fields, second.fields),
        "requester": one_line(requester.name) if requester else gettext("Somebody"),
        "requester_address": (address := _address(requester, settings)),
        "requester_link": address and f"mailto:{quote(address, safe='@')}",
        "reason": one_line(merge.reason) if merge.reason else None,
        "url": link(merge.url),
    }


def _shown(contact: Contact) -> Contact:
    return Contact(
        str(contact.id),
        one_line(translated(contact.name)),
        location=one_line(contact.location),
        url=link(contact.url),
    )


def _compared(
    first: Mapping[str, str | None], second: Mapping[str, str | None]
) -> tuple[Compared, ...]:
    labels = islice(dict.fromkeys((*first, *second)), _FIELDS)
    return tuple(_row(label, first.get(label), second.get(label)) for label in labels)


def _row(label: str, *given: str | None) -> Compared:
    one, other = (one_line(text or "") for text in given)
    return Compared(one_line(label), (cut(one, _VALUE), cut(other, _VALUE)), one != other)


def _address(party: Party | None, settings: MessagingSettings) -> str | None:
    if party is None or not (party.email or "").strip():
        return None
    try:
        return complete(party.email or "", settings)
    except AddressError:
        return None

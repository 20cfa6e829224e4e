"""What a message about a merge says of the two contacts. Pure; the template escapes it for HTML."""

from __future__ import annotations

import re
from typing import Any, Final

from ..errors import AddressError
from ..settings.model import MessagingSettings
from ..text import one_line
from ..values import Contact, Merge, Party
from .recipients import complete

# Browsers read "\\" as "/" and complete what is missing, so only the usual form is a link.
_LINK: Final = re.compile(r"https?://(?:\w[^\s\\<>\"]*|\[[\da-f:.]+\][^\s\\<>\"]*)", re.IGNORECASE)


def context_of(merge: Merge, settings: MessagingSettings) -> dict[str, Any]:
    """The names that a template may use."""
    requester = merge.requester
    return {
        "contacts": [_shown(contact) for contact in merge.contacts],
        "requester": one_line(requester.name) if requester else "Somebody",
        "requester_address": _address(requester, settings),
        "reason": one_line(merge.reason) if merge.reason else None,
        "locale": one_line(requester.locale) if requester and requester.locale else None,
    }


def _shown(contact: Contact) -> Contact:
    return Contact(
        str(contact.id),
        one_line(contact.name),
        location=one_line(contact.location),
        url=_link(contact.url),
    )


def _link(url: str | None) -> str | None:
    """``url`` if every mail program takes it for a link to a page, else None."""
    whole = (url or "").strip(" ")
    return whole if _LINK.fullmatch(whole) and whole.isprintable() else None


def _address(party: Party | None, settings: MessagingSettings) -> str | None:
    if party is None or not (party.email or "").strip():
        return None
    try:
        return complete(party.email or "", settings)
    except AddressError:
        return None

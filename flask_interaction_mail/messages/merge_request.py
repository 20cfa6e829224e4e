"""The texts of merge mail: what a request, and the news of a merge, say of contacts and people."""

from __future__ import annotations

import re
from typing import Any, Final

from flask import Flask

from ..errors import AddressError
from ..settings.model import MessagingSettings
from ..text import one_line
from ..values import Contact, Kind, Merge, Party
from . import templates
from .compose import RoutingContext
from .intent import Intent
from .recipients import complete

# Browsers read "\\" as "/" and complete what is missing, so only the usual form is a link.
_LINK: Final = re.compile(r"https?://(?:\w[^\s\\<>\"]*|\[[\da-f:.]+\][^\s\\<>\"]*)", re.IGNORECASE)


def request_intent(
    app: Flask, merge: Merge, context: RoutingContext, *, in_reply_to: str | None = None
) -> Intent:
    """What a request to merge says, and to whom; ``in_reply_to`` names an earlier request.

    Raises:
        TemplateMissing: its template cannot be rendered.
    """
    locale = templates.shared_locale(
        [party for _, parties in context.candidates for party in parties]
    )
    names = template_context(merge, context.settings)
    texts = templates.render(app, "merge_request", names, locale=locale)
    return Intent(
        kind=Kind.REQUEST,
        source="merge_denied",
        subject=texts.subject,
        text=texts.text,
        html=texts.html,
        locations=tuple(location for location, _ in context.candidates),
        user=merge.requester,
        in_reply_to=in_reply_to,
    )


def locations_of(merge: Merge) -> tuple[str, ...]:
    """The distinct locations of the contacts."""
    return tuple(dict.fromkeys(contact.location for contact in merge.contacts))


def template_context(merge: Merge, settings: MessagingSettings) -> dict[str, Any]:
    """The names that the templates of merge mail may use."""
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

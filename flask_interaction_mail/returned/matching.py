"""Whom a report concerns, of the recipients of the message that it names."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Final, NamedTuple

from ..addresses import clean_domain
from ..errors import AddressError
from .reading import Note

_IN_TEXT: Final = re.compile(r"<([^<>\s@]{1,64}@[^<>\s@]{1,255})>")


class Match(NamedTuple):
    """The place of a recipient in the message, and who behind that address is meant, or ""."""

    position: int
    behind: str


def match(note: Note, recipients: Sequence[str]) -> Match | None:
    """The one of ``recipients`` that ``note`` is about; None if it may be any, or a stranger.

    Original-Recipient names our spelling where servers in between have changed it, so it comes
    first. A message with one recipient needs no name.
    """
    position = _found(note.original, recipients)
    if position is None:
        position = _found(note.final, recipients)
    if position is None:
        if len(recipients) != 1:
            return None
        position = 0
    return Match(position, _behind(note, recipients[position]))


def _found(spellings: Sequence[str], recipients: Sequence[str]) -> int | None:
    ours = [_comparable(address) for address in recipients]
    for spelling in spellings:
        if spelling in recipients:
            return recipients.index(spelling)
        wanted = _comparable(spelling)
        if ours.count(wanted) == 1:
            return ours.index(wanted)
    return None


def _behind(note: Note, ours: str) -> str:
    """Another mailbox than ``ours`` that the report names: mail is sent on to it."""
    known = _comparable(ours)
    in_words = _IN_TEXT.findall(note.diagnostic)[:1]
    meant = in_words if known in map(_comparable, note.final) else [*note.final[:1], *in_words]
    return next((named for named in meant if "@" in named and _comparable(named) != known), "")


def _comparable(address: str) -> str:
    """Letters count alike, and a domain is the same in each of its spellings."""
    local, _, domain = address.rpartition("@")
    try:
        return f"{local.casefold()}@{clean_domain(domain)}"
    except AddressError:
        return address.casefold()

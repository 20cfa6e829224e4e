"""Whom a report concerns, of the recipients of the message that it names."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from typing import Final, NamedTuple

from ..addresses import clean_domain
from ..errors import AddressError
from .reading import Note

_IN_TEXT: Final = re.compile(r"<([^<>\s@]{1,64}@[^<>\s@]{1,255})>")


class Match(NamedTuple):
    """The place of a recipient in the message, and who behind that address is meant, or "".

    ``named`` is whether the report has the address itself.
    """

    position: int
    behind: str
    named: bool = True


class Recipients:
    """The recipients of a message, made ready once for all that its reports name.

    One that was ``diverted``, or may have been, went to somebody else. It came from the addresses
    ``senders``.
    """

    def __init__(
        self, addresses: Sequence[str], *, diverted: bool = False, senders: Iterable[str] = ()
    ) -> None:
        self._addresses = addresses
        self._diverted = diverted
        self._senders = {*map(_comparable, senders)}
        self._places = {address: at for at, address in reversed([*enumerate(addresses)])}
        self._alike = dict[str, list[int]]()
        for at, address in enumerate(addresses):
            self._alike.setdefault(_comparable(address), []).append(at)

    def match(self, note: Note) -> Match | None:
        """The one that ``note`` is about; None if it may be any, or a stranger.

        Original-Recipient names our spelling where servers in between have changed it, so it comes
        first. A message with one recipient needs no name, unless it was diverted.
        """
        position = self._found(note.original)
        if position is None:
            position = self._found(note.final)
        named = position is not None
        if position is None:
            if self._diverted or len(self._addresses) != 1:
                return None
            position = 0
        return Match(position, self._behind(note, _comparable(self._addresses[position])), named)

    def _found(self, spellings: Sequence[str]) -> int | None:
        for spelling in spellings:
            if spelling in self._places:
                return self._places[spelling]
            alike = self._alike.get(_comparable(spelling), ())
            if len(alike) == 1:
                return alike[0]
        return None

    def _behind(self, note: Note, ours: str) -> str:
        """Another mailbox than ``ours`` that the report names: mail is sent on to it.

        Of those in the server's words the first counts, after any that the message came from.
        """
        in_words = _IN_TEXT.findall(note.diagnostic)
        senders = self._senders - {ours}
        first = next((named for named in in_words if _comparable(named) not in senders), "")
        meant = [first] if ours in map(_comparable, note.final) else [*note.final[:1], first]
        return next((named for named in meant if "@" in named and _comparable(named) != ours), "")


def _comparable(address: str) -> str:
    """Letters count alike, and a domain is the same in each of its spellings."""
    local, _, domain = address.rpartition("@")
    try:
        return f"{local.casefold()}@{clean_domain(domain)}"
    except AddressError:
        return address.casefold()

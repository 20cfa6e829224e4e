"""Find a user or a contact of the host by what somebody typed, with bounded work."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import islice
from typing import Final, Generic, TypeVar

from ..directory import FOUND, People
from ..values import Contact, Party

T = TypeVar("T")
LOOKED_AT: Final = 20_000  # parties, where the host cannot search by itself


@dataclass(frozen=True, slots=True)
class Match(Generic[T]):
    """The ``one`` that was meant, or the ``several`` that it could be; neither if there is none."""

    one: T | None = None
    several: tuple[T, ...] = ()


def user(people: People, text: str) -> Match[Party]:
    """The user whose id or address is ``text``, else those in whose name or address it is."""
    found = _users(people.find_parties(text)) if people.offers("find_parties") else []
    if not found:
        parties = _users(people.parties(LOOKED_AT))
        exact = [party for party in parties if text in keys_of(party)]
        found = exact or list(islice((each for each in parties if _is_in(text, each)), FOUND))
    return _match(found, [party for party in found if text in keys_of(party)])


def contact(people: People, text: str) -> Match[Contact]:
    """The contact whose id is ``text``, else those that the host finds."""
    one = people.contact(text) if people.offers("contact") else None
    if one is not None:
        return Match(one)
    found = people.find_contacts(text) if people.offers("find_contacts") else ()
    return _match(found, [each for each in found if str(each.id) == text])


def keys_of(party: Party) -> tuple[str, ...]:
    """What names ``party`` exactly: its id, if it has one, and its address."""
    return tuple(str(key) for key in (party.id, party.email) if key is not None)


def key_of(party: Party) -> str:
    """What finds ``party`` again."""
    return next(iter(keys_of(party)), party.name)


def _users(parties: Sequence[Party]) -> list[Party]:
    return [party for party in parties if party.kind == "user"]


def _is_in(text: str, party: Party) -> bool:
    wanted = text.casefold()
    return wanted in party.name.casefold() or wanted in (party.email or "").casefold()


def _match(found: Sequence[T], exact: Sequence[T]) -> Match[T]:
    meant = exact or found
    return Match(meant[0]) if len(meant) == 1 else Match(several=tuple(meant))

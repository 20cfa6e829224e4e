"""The arguments of ``send_notification``: made plain at the call, or refused by name.

Each error tells the author of the call what the argument takes and what it got.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from typing import Any, Final, TypeVar

from .. import addresses, clock
from ..errors import ArgumentError, ContentError
from ..text import resolved, storable
from ..values import Party
from .attachments import attachment, checked_alternative
from .headers import check_header, check_subject
from .intent import Attachment

Word = TypeVar("Word", bound=StrEnum)
KEY_LENGTH: Final = 255
_KIND: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,31}")
_METADATA_NAME: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,63}")
_MOST_METADATA: Final = 20
_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_FARTHEST: Final = timedelta(days=36_525)  # a hundred years; databases end before year 10000
_PEOPLE: Final = "a Party, an address or a sequence of them"


def parties(argument: str, given: object) -> tuple[Party, ...]:
    """The people that ``argument`` names; () for None.

    Raises:
        AddressError: an address is not valid.
        HeaderError: a name has a control character.
        ArgumentError: something is neither a party nor an address.
    """
    people = resolved(given)
    if people is None:
        return ()
    if isinstance(people, Party | str):
        return (party(argument, people),)
    if isinstance(people, Mapping | bytes | bytearray) or not isinstance(people, Iterable):
        raise wrong(argument, _PEOPLE, given, _advice(given))
    _refuse_pair(argument, people)
    return tuple(party(argument, person) for person in people)


def party(argument: str, given: object, wanted: str = _PEOPLE) -> Party:
    """The party that ``given`` names; raises what ``parties`` raises."""
    person = resolved(given)
    match person:
        case Party():
            addresses.check_line(f"{argument} (name)", person.name)
            return person
        case str():
            mailbox = addresses.parse(person)
            return Party(mailbox.name, mailbox.address)
        case _:
            raise wrong(argument, wanted, given, _advice(given))


def _refuse_pair(argument: str, given: object) -> None:
    """Refuse a tuple of a name and an address, which as a sequence would be two people."""
    if not (isinstance(given, tuple) and len(given) == 2):
        return
    name, address = map(resolved, given)
    if isinstance(name, str) and isinstance(address, str) and "@" in address and "@" not in name:
        raise wrong(
            argument,
            _PEOPLE,
            given,
            f"For one person write Party({name!r:.80}, {address!r:.80}), for two a list",
        )


def _advice(given: object) -> str:
    match given:
        case tuple() | list():
            return "For a name and an address write Party(name, address)"
        case Mapping():
            return "Write Party(name, address) for each person"
        case bytes() | bytearray():
            return "Decode it first"
        case _ if hasattr(given, "email"):
            return "Make a Party of your user: Party(user.name, user.email)"
        case _:
            return "Make a Party of it: Party(name, address)"


def text(argument: str, given: object) -> str | None:
    """A text, lazy or not, or None.

    Raises:
        ArgumentError: it is something else.
    """
    found = resolved(given)
    if found is None or isinstance(found, str):
        return found
    advice = "Decode it first" if isinstance(given, bytes | bytearray) else ""
    raise wrong(argument, "a text", given, advice)


def subject(given: object) -> str:
    """A subject; raises ArgumentError, or HeaderError if it does not fit in a header."""
    found = resolved(given)
    if not isinstance(found, str):
        raise wrong("subject", "a text", given)
    return check_subject(found)


def mapping(argument: str, given: object) -> Mapping[Any, Any]:
    """A mapping; an empty one for None.

    Raises:
        ArgumentError: it is something else.
    """
    if given is None:
        return {}
    if isinstance(given, Mapping):
        return given
    raise wrong(argument, "a mapping such as {'name': 'value'}", given)


def headers(given: object) -> tuple[tuple[str, str], ...]:
    """Header fields of the caller's own; raises ArgumentError or HeaderError."""
    items = (map(resolved, item) for item in mapping("headers", given).items())
    # ``check_header`` refuses by name what is not a text.
    return tuple((name, check_header(name, value)) for name, value in items)  # type: ignore[arg-type, misc]


def alternatives(given: object) -> tuple[tuple[str, str], ...]:
    """Other forms of the text, checked: pairs of content type and text.

    Raises:
        ArgumentError: it is not a mapping of content type to text.
        HeaderError: a type is not one of text, or does not fit in a header.
    """
    if given is None:
        return ()
    items = given.items() if isinstance(given, Mapping) else [(given, None)]
    plain = [(resolved(kind), resolved(text)) for kind, text in items]
    if not all(isinstance(kind, str) and isinstance(text, str) for kind, text in plain):
        raise ArgumentError(
            'alternatives must be a mapping of content type to text, as {"text/calendar": "…"}.'
        )
    return tuple(checked_alternative(str(kind), str(text)) for kind, text in plain)


def attachments(given: object) -> tuple[Attachment, ...]:
    """Attachments, checked; raises ArgumentError, HeaderError or what ``attachment`` raises."""
    wanted = "a sequence of flask_mail.Attachment or (file name, content type, bytes)"
    if given is None:
        return ()
    if isinstance(given, str | bytes | bytearray | Mapping) or not isinstance(given, Iterable):
        raise wrong("attachments", wanted, given, "Put a single one into a list")
    items = tuple(given)
    if isinstance(given, tuple) and items and all(isinstance(item, str) for item in items[:2]):
        raise wrong("attachments", wanted, given, "Put a single one into a list")
    return tuple(map(attachment, items))


def key(given: object) -> str:
    """A key; raises ArgumentError or ContentError."""
    found = resolved(given)
    wanted = f"a text of 1 to {KEY_LENGTH} characters"
    if not isinstance(found, str):
        raise wrong("key", wanted, given, "For a UUID give str(id)")
    if not 0 < len(found) <= KEY_LENGTH or storable(found) != found:
        raise ContentError(
            f"key takes {wanted}, without NUL or half a surrogate pair, not {given!r:.80}."
        )
    return found


def kind(given: object) -> str:
    """The word for a kind of message; raises ArgumentError or ContentError."""
    found = resolved(given)
    wanted = "a word of up to 32 letters, digits, and _ . -"
    if not isinstance(found, str):
        raise wrong("kind", wanted, given)
    if not _KIND.fullmatch(found):
        raise ContentError(f"kind takes {wanted}, not {given!r:.80}.")
    return found


def word(words: type[Word], argument: str, given: object) -> Word:
    """One of ``words``, or its text; raises ArgumentError or ContentError."""
    found = resolved(given)
    wanted = f"one of {', '.join(repr(one.value) for one in words)}"
    if not isinstance(found, str):
        raise wrong(argument, wanted, given)
    try:
        return words(found)
    except ValueError:
        raise ContentError(f"{argument} takes {wanted}, not {given!r:.80}.") from None


def metadata(given: object) -> tuple[tuple[str, str], ...]:
    """Names and values of the host's own; raises ArgumentError or ContentError."""
    pairs = mapping("metadata", given).items()
    if len(pairs) > _MOST_METADATA:
        raise ContentError(f"metadata takes up to {_MOST_METADATA} names, not {len(pairs)}.")
    return tuple((_metadata_name(name), _metadata_value(name, value)) for name, value in pairs)


def _metadata_name(given: object) -> str:
    found = resolved(given)
    wanted = "names of up to 64 letters, digits, and _ . -"
    if not isinstance(found, str):
        raise wrong("metadata", wanted, given)
    if not _METADATA_NAME.fullmatch(found):
        raise ContentError(f"metadata takes {wanted}, not {given!r:.80}.")
    return found


def _metadata_value(name: object, given: object) -> str:
    found = resolved(given)
    argument, wanted = f"metadata[{name!r:.80}]", f"a text of up to {KEY_LENGTH} characters"
    if not isinstance(found, str):
        raise wrong(argument, wanted, given, "For a number give its text")
    if len(found) > KEY_LENGTH or storable(found) != found:
        raise ContentError(
            f"{argument} takes {wanted}, without NUL or half a surrogate pair, not {given!r:.80}."
        )
    return found


def span(send_at: object, expires_at: object) -> tuple[datetime | None, datetime | None]:
    """When a message may leave and when it expires, in naive UTC.

    Raises:
        ArgumentError: one is not a datetime.
        ContentError: one has no time zone, or is not between 1970 and a hundred years from now,
            or the message would expire before it may leave.
    """
    begin, end = instant("send_at", send_at), instant("expires_at", expires_at)
    if begin is not None and end is not None and end <= begin:
        raise ContentError(
            f"expires_at must come after send_at: {expires_at} is not after {send_at}."
        )
    return begin, end


def instant(argument: str, given: object) -> datetime | None:
    """A moment in naive UTC, None for None; raises what ``span`` raises."""
    if given is None:
        return None
    wanted = "an aware datetime such as datetime.now(timezone.utc)"
    if not isinstance(given, datetime):
        raise wrong(argument, wanted, given)
    if given.utcoffset() is None:
        raise ContentError(f"{argument} takes {wanted}; {given} has no time zone.")
    if not _EPOCH <= given <= clock.from_db(clock.now()) + _FARTHEST:
        never = " Leave it out for never." if argument == "expires_at" else ""
        raise ContentError(
            f"{argument} takes a time from 1970 to a hundred years from now, not {given}.{never}"
        )
    return clock.to_db(given)


def wrong(argument: str, wanted: str, given: object, advice: str = "") -> ArgumentError:
    """The error for an ``argument`` that takes what is ``wanted`` but got ``given``."""
    more = f" {advice}." if advice else ""
    return ArgumentError(f"{argument} takes {wanted}, not {_shown(given)}.{more}")


def _shown(given: object) -> str:
    """The type of ``given``, with its value if that cannot be some object's secret."""
    if given is None:
        return "None"
    if isinstance(given, str | bytes | int | float | tuple | list | dict | datetime):
        return f"{type(given).__name__} {given!r:.80}"
    return type(given).__name__

"""What a provider posts about mail of ours, as the reports that it amounts to. Pure.

A provider signs what it posts. Whether the signature is right is decided before anything of this is
read; and yet each text in it may come from somebody else's mail server.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime, timedelta
from email.utils import parseaddr
from typing import Any, Final, NamedTuple, TypeVar

from ..errors import InteractionMailError
from ..text import storable
from ..values import Status
from .reading import Note, Returned, printable, untyped
from .state import reason_code

LIMIT: Final = 1024 * 1024  # bytes of one request: SNS posts 256 KiB at most, SendGrid 768 KiB
EARLY: Final = timedelta(minutes=15)  # by which the clocks may differ

_MOST: Final = 1000  # recipients that are read of one event
_TEXT: Final = 1000  # characters of a text that are kept
_ID: Final = re.compile(r"[^<>\s]{1,250}")
T = TypeVar("T")


class NotFromProvider(InteractionMailError):
    """What was posted is not signed by the provider, is not for this application, or is too old."""


class Unreadable(InteractionMailError):
    """What was posted is not what the provider posts."""


class Event(NamedTuple):
    """One thing that a provider tells of one message; ``content`` is JSON, as it is kept."""

    returned: Returned
    content: bytes


def parsed(body: bytes | str) -> Any:
    """What the JSON text ``body`` says.

    Raises:
        Unreadable: it is none.
    """
    try:
        return json.loads(body)
    except (ValueError, RecursionError) as error:
        raise Unreadable("This is no JSON that can be read.") from error


def check_age(at: datetime, now: datetime, most: timedelta) -> None:
    """See that what was signed ``at`` is at most so old.

    Raises:
        NotFromProvider: it is older, or from the future.
    """
    if not now - most - EARLY <= at <= now + EARLY:
        raise NotFromProvider(f"It was signed at {at:%Y-%m-%d %H:%M} UTC, which is not now.")


def event(
    told: Mapping[str, Any],
    *,
    ids: Iterable[str],
    notes: Sequence[Note],
    server: str,
    unique: Sequence[str],
) -> Event:
    """The event ``told``: ``ids`` may name the message, ``unique`` tells it from all others."""
    bare = (id.strip().removeprefix("<").removesuffix(">") for id in ids)
    return Event(
        Returned(
            references=tuple(dict.fromkeys(f"<{id}>" for id in bare if _ID.fullmatch(id))),
            envelope_ids=(),
            server=untyped(printable(server))[:_TEXT],
            notes=tuple(notes[:_MOST]),
            automatic=False,
            digest=hashlib.sha256(json.dumps(unique).encode()).hexdigest(),
        ),
        # Characters stand for themselves, so that an address can be found and erased.
        storable(json.dumps(told, ensure_ascii=False, indent=1)).encode(),
    )


def note(address: str, state: Status | None, *, said: str, status: str = "") -> Note:
    """What an event says of ``address``; ``said`` are the words of a mail server or provider."""
    bare = parseaddr(address)[1] or address
    words = untyped(printable(said))
    return Note(
        original=(bare,),
        final=(bare,),
        state=state,
        action="",
        code=reason_code(status, words),
        stated=reason_code(status, ""),
        diagnostic=words[:_TEXT],
    )


def text(told: Mapping[str, Any], name: str) -> str:
    """The text ``name`` in ``told``, without what no database stores; "" where there is none."""
    found = told.get(name)
    return storable(found) if isinstance(found, str) else ""


def within(told: Mapping[str, Any], name: str) -> Mapping[str, Any]:
    """The object ``name`` in ``told``; an empty one where there is none."""
    found = told.get(name)
    return found if isinstance(found, dict) else {}


def each(told: Mapping[str, Any], name: str, kind: type[T]) -> list[T]:
    """What the list ``name`` in ``told`` holds of this ``kind``; nothing where there is none."""
    found = told.get(name)
    return [one for one in found if isinstance(one, kind)] if isinstance(found, list) else []

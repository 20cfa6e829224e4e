"""What every server gets: mixed messages, as applications send them, and small ones."""

from __future__ import annotations

import random
from collections.abc import Iterator
from typing import Any

REFUSED = "nobody"  # how the addresses begin that the servers are to refuse
GONE = "gone"  # those who are refused by the server behind, so that a report comes back
DOMAIN = "firm.example"
ELSEWHERE = "nowhere.example"  # the domain of those; some servers can only refuse a domain

Letter = dict[str, Any]  # the arguments of ``send_notification``

_GERMAN = "Grüße aus Köln: die Straße ist länger als üblich, 12 € je Meter.\n"
_DOTS = ".\n..\n.hidden\n...\nfrom the top.\n.\n\n.\nafter what looks like the end\n"


def mixed(count: int) -> Iterator[Letter]:
    """``count`` messages of every kind in turn, the same ones each time."""
    for number in range(count):
        kind = _KINDS[number % len(_KINDS)]
        yield {"subject": f"{kind.__name__[1:]} {number}"} | kind(number)


def small(count: int) -> Iterator[Letter]:
    """``count`` messages of one line to one reader each."""
    for number in range(count):
        yield {"subject": f"small {number}", "to": _readers(number, 1), "text": "Please merge.\n"}


def is_refused(address: str) -> bool:
    """True if a server that refuses anybody refuses ``address``."""
    return address.startswith(REFUSED)


def _readers(number: int, count: int, name: str = "reader") -> list[str]:
    domain = ELSEWHERE if name == REFUSED else DOMAIN
    return [f"{name}-{number}-{at}@{domain}" for at in range(count)]


def _several(number: int) -> Letter:
    return {"to": _readers(number, 3), "cc": _readers(number, 2, "copy"), "text": "To five.\n"}


def _partly_refused(number: int) -> Letter:
    good, bad = _readers(number, 4), _readers(number, 2, REFUSED)
    return {"to": [good[0], bad[0], good[1]], "cc": [bad[1], *good[2:]], "text": "To four.\n"}


def _all_refused(number: int) -> Letter:
    return {"to": _readers(number, 2, REFUSED), "text": "To no one.\n"}


def _dots(number: int) -> Letter:
    return {"to": _readers(number, 1), "text": _DOTS * 3}


def _eight_bit(number: int) -> Letter:
    return {"to": [f"Jörg Größe <reader-{number}-0@{DOMAIN}>"], "text": _GERMAN * 20}


def _long(number: int) -> Letter:
    lines = 40_000 if number % 100 == 5 else 3_000  # 2.4 MB each hundredth, else 180 kB
    text = "".join(f"{line:06} {'.' * (line % 50)}\n" for line in range(lines))
    return {"to": _readers(number, 1), "text": text}


def _attached(number: int) -> Letter:
    content = random.Random(number).randbytes(60_000)
    files = [("plan.pdf", "application/pdf", content), ("notes.txt", "text/plain", b".\r\nend\r\n")]
    return {"to": _readers(number, 2), "text": "See the plan.\n", "attachments": files}


def _hidden(number: int) -> Letter:
    return {
        "to": _readers(number, 1),
        "bcc": [*_readers(number, 2, "hidden"), *_readers(number, 1, REFUSED)],
        "text": "Who else reads this?\n",
    }


def _html(number: int) -> Letter:
    return {"to": _readers(number, 1), "text": "Hello\n", "html": f"<p>{_GERMAN}</p>" * 5}


def _many(number: int) -> Letter:
    """To twenty readers; each hundredth message has twelve bad addresses among them."""
    bad = _readers(number, 12 if number % 100 == 49 else 3, REFUSED)
    return {"to": [*bad, *_readers(number, 20)], "text": "To twenty.\n"}


_KINDS = (
    _several,
    _partly_refused,
    _all_refused,
    _dots,
    _eight_bit,
    _long,
    _attached,
    _hidden,
    _html,
    _many,
)

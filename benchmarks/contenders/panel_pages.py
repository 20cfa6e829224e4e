"""The pages of the Outbox over a long log: how long each takes, and what it weighs."""

from __future__ import annotations

import time
import uuid
from typing import Any

import sqlalchemy as sa

from flask_interaction_mail.outbox.filters import place_text
from flask_interaction_mail.storage.tables import DELIVERY, RECIPIENT

from .long_queues import grow
from .ours import host

OUTBOX = "/admin/messaging/outbox/"
WAITING = 1000
_OTHERS = {"failed": 100, "held": 1000, "cancelled": 1000}  # one message in so many
_REASONS = {"failed": "refused", "held": "ambiguous", "cancelled": "withdrawn"}
_STATIC = ("panel.css", "test.css", "outbox.css", "pages.js", "panel.js", "outbox.js")


def fill(url: str, count: int) -> dict[str, float]:
    """Make a log of ``count`` messages, most of them sent, and some that wait."""
    grow(url, queued=WAITING, sent=count - WAITING)
    state = host(url)
    of_status = sa.update(DELIVERY).where(DELIVERY.c.id == sa.bindparam("one"))
    with state.database.writing() as connection:
        for shift, (status, share) in enumerate(_OTHERS.items(), start=1):
            named = [{"one": uuid.UUID(int=n)} for n in range(shift, count - WAITING, share)]
            written = of_status.values(status=status, reason=_REASONS[status])
            if named:
                connection.execute(written, named)
    return {}


def _client(url: str) -> Any:
    state = host(url)
    state.access = lambda _right: True
    return state, state.app.test_client()


def _pages(state: Any, count: int) -> dict[str, str]:
    with state.database.reading() as connection:
        middle = uuid.UUID(int=count // 2)
        at = connection.scalar(sa.select(DELIVERY.c.created_at).where(DELIVERY.c.id == middle))
        to = connection.scalar(
            sa.select(RECIPIENT.c.address).where(RECIPIENT.c.message_id == middle)
        )
    tabs = {f"tab {word}": f"?status={word}" for word in ("waiting", "sent", "failed", "held")}
    return {
        "list": "",
        "a page in the middle": f"?before={place_text((at, middle))}&at={count // 2}",
        "details": f"{middle}/",
        **tabs,
        "whole address": f"?q={to}",
        "a word that is nowhere": "?q=nowhere-at-all",
        "a word that is everywhere": "?q=merge",
        "what has changed": f"live?newest={place_text((at, middle))}",
    }


def pages(url: str, count: int, times: int) -> dict[str, Any]:
    """ms of each look at each page, after a first one that is not counted.

    ``own`` is the processor time of this process alone, so without the time of other programs, and
    of PostgreSQL.
    """
    state, client = _client(url)
    taken: dict[str, list[float]] = {}
    own: dict[str, list[float]] = {}
    for name, page in _pages(state, count).items():
        for turn in range(times + 1):
            began, worked = time.perf_counter(), time.process_time()
            answer = client.get(OUTBOX + page)
            spent = (time.perf_counter() - began) * 1e3
            work = (time.process_time() - worked) * 1e3
            if answer.status_code != 200:
                raise SystemExit(f"{page}: {answer.status}")
            if turn:
                taken.setdefault(name, []).append(spent)
                own.setdefault(name, []).append(work)
    return {"taken": taken, "own": own}


def export(url: str, limit: int) -> dict[str, float]:
    """Lines a second of the first ``limit`` lines of an export."""
    _, client = _client(url)
    began, lines = time.perf_counter(), 0
    answer = client.get(OUTBOX + "export.csv")
    for piece in answer.iter_encoded():
        lines += piece.count(b"\r\n")
        if lines >= limit:
            break
    spent = time.perf_counter() - began
    answer.close()
    return {"rate": lines / spent}


def weights(url: str) -> dict[str, int]:
    """Bytes of each page and of its files, before compression."""
    _, client = _client(url)
    static = {name: client.get(f"{OUTBOX}static/{name}").content_length or 0 for name in _STATIC}
    both = static["panel.css"] + static["pages.js"]
    form, page = (len(client.get(one).data) for one in ("/admin/messaging/", OUTBOX))
    return {
        "settings: page": form,
        "settings: page, style and script": form + both + static["test.css"] + static["panel.js"],
        "list of 50: page": page,
        "list of 50: page, style and scripts": page
        + both
        + static["outbox.css"]
        + static["outbox.js"],
    }

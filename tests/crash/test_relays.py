"""Workers are killed at any moment while mail goes by two relays, and the first one fails.

`make torture` kills more often, and has more messages.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import suppress

import pytest
import sqlalchemy as sa

from flask_interaction_mail import clock
from flask_interaction_mail.storage.tables import CHECK
from tests.crash.accounts import account, message_id_of
from tests.crash.site import Site, Worker, dice
from tests.length import LONG
from tests.servers.scripted import Scripted, after, close, scripted, then, until

PORTION, KILLS = (40, 30) if LONG else (25, 6)  # messages for each kill, and kills
NOT_NOW = b"421 4.3.0 not now\r\n"


@pytest.fixture
def backup(site: Site) -> Iterator[Scripted]:
    """The second relay of the site."""
    with scripted({}) as server:
        server.answers["DOT"] = after(0.03, site.acknowledge)
        server_of = {"smtp_server": "127.0.0.1", "smtp_port": server.port, "encryption": "none"}
        site.configure(
            relays=("default", "backup"),
            **{f"relays.backup.{name}": value for name, value in server_of.items()},
        )
        yield server


def test_random_kills_while_the_first_relay_comes_and_goes(site: Site, backup: Scripted) -> None:
    """Nothing is lost, and nothing that one relay may have taken goes by the other."""
    chance, first = dice(23), site.server
    first.answers["DOT"] = after(0.03, site.acknowledge)
    crew = [_worker(site) for _ in range(2)]
    for number in range(KILLS):
        # A worker that dies binds what it has claimed to its relay, so not all at once.
        before = _taken(first, backup)
        site.put(PORTION)
        if number == KILLS // 3:
            first.answers["GREETING"] = NOT_NOW
            first.answers["MAIL"] = then(NOT_NOW, close)
        if number == 2 * KILLS // 3:
            del first.answers["GREETING"], first.answers["MAIL"]
            _probe_is_due(site)
        some = before + chance.random() * PORTION
        until(lambda some=some: _taken(first, backup) >= some, 5)  # what is bound may wait
        time.sleep(chance.random() * 0.03)
        victim = chance.randrange(2)
        crew[victim].kill()
        crew[victim] = _worker(site)
    released = _until_sent(site)
    site.stop(*crew)
    both = [*first.messages, *backup.messages]
    found = account(
        f"{KILLS} random kills over two relays, {site.kind}",
        site.store,
        site.expected,
        [one.content for one in both],
        site.acknowledged,
    )
    assert (found.lost, found.unexpected, found.message_ids) == (0, 0, 0)
    assert found.duplicated <= KILLS * 8 * 2  # connections of both; and younger than 10 ms
    ids = [{message_id_of(one.content) for one in at.messages} for at in (first, backup)]
    assert all(ids)
    assert ids[0] & ids[1] <= released


def _worker(site: Site) -> Worker:
    return site.start(lease=1.0, poll=0.1, connections=4)


def _taken(*servers: Scripted) -> int:
    return sum(len(one.messages) for one in servers)


def _until_sent(site: Site) -> set[str]:
    """What was refused for now, waits for the first relay or was set aside has its time come.

    Gives the Message-IDs of what was set aside.
    """
    released = set[str]()
    end = time.monotonic() + 120
    while site.store.statuses() != {"sent": len(site.messages)}:
        assert time.monotonic() < end, site.store.statuses()
        _probe_is_due(site)
        site.make_due()
        released |= site.release()
        time.sleep(0.3)
    return released


def _probe_is_due(site: Site) -> None:
    with suppress(sa.exc.OperationalError), site.store.writing() as connection:
        breakers = sa.update(CHECK).where(CHECK.c.kind == "breaker")
        connection.execute(breakers.values(until=clock.now()))

"""kill -9 at each point of a message's way: how many copies arrive, and how soon."""

from __future__ import annotations

import os
import signal
import socket
import time
from collections import Counter
from collections.abc import Callable
from contextlib import suppress
from itertools import product

import pytest

from tests.crash.site import Site, killing
from tests.crash.stock import FILES, KINDS
from tests.length import LONG
from tests.outbox_rows import a_message
from tests.servers.scripted import DEFAULTS, Action, Gone, Peer, room_for, silence, then

LEASE, POLL = 1.0, 0.1  # s; a busy machine may stop for half a second
ROUNDS = dict.fromkeys((*FILES, "postgresql"), 50) | {"mariadb": 10}  # in the long form
_BIG = b"x" * 70 + b"\r\n"
_BUFFERED = 8_000_000  # more than any buffer between client and server holds

Pid = Callable[[], int]


def _in_data(pid: Pid) -> Action:
    """354, a little of the content, and the client is gone; whatever still comes is read."""

    def act(peer: Peer) -> None:
        peer.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        peer.say(b"354 go on\r\n")
        peer.line()
        os.kill(pid(), signal.SIGKILL)
        came = peer.buffer
        with suppress(OSError):
            while received := peer.socket.recv(65536):
                came = came[-5:] + received
        assert not came.endswith(b"\r\n.\r\n"), "the message was through already"
        raise Gone

    return act


# By the answer of the server that kills its client.
AT_THE_SERVER: dict[str, tuple[str, Callable[[Pid], Action]]] = {
    "connected": ("GREETING", killing),
    "after RCPT": ("RCPT", lambda pid: then(b"250 2.1.5 ok\r\n", killing(pid))),
    "in DATA": ("DATA", _in_data),
    "after the dot": ("DOT", killing),
}
# By the store of the worker that kills itself.
IN_THE_STORE = {
    "before claim": ("before", 1),
    "claimed": ("after", 1),
    "after 250 before record": ("before", 2),
    "after record": ("after", 2),
}
COPIES = {"after the dot": 2, "after 250 before record": 2}  # else 1


# Where claims and records are concerned on each kind; the conversation is the same everywhere.
CASES = [
    *product(KINDS if LONG else ("sqlite-wal", "postgresql", "mariadb"), IN_THE_STORE),
    *product((*FILES, "postgresql") if LONG else ("sqlite-wal",), AT_THE_SERVER),
]


@pytest.mark.parametrize(("kind", "point"), CASES, indirect=["kind"])
def test_a_worker_killed_at_any_point_repeats_at_most_the_message_after_its_dot(
    site: Site, point: str
) -> None:
    """One copy, or two after the dot; picked up within lease and poll; all recorded."""
    rounds = ROUNDS[site.kind] if LONG else 1
    site.server.answers["EHLO"] = b"250-scripted.test\r\n250 PIPELINING\r\n"
    for number in range(rounds):
        _one_round(site, point, number)
    found = site.account(f"kill -9 {point}")
    assert (found.lost, found.unexpected, found.message_ids) == (0, 0, 0)
    assert found.worst == COPIES.get(point, 1)
    # Exactly: fewer would mean that the worker did not die where it was to.
    assert found.duplicated == (rounds if point in COPIES else 0)
    assert found.recovered == (0 if point in ("before claim", "after record") else rounds)
    assert site.store.statuses() == site.counted() == {"sent": rounds}


def _one_round(site: Site, point: str, number: int) -> None:
    body = _BIG * (_BUFFERED // len(_BIG)) if point == "in DATA" else b"Hello\r\n"
    heir = site.start(lease=LEASE, poll=POLL, waits=True)
    victim = site.start(lease=LEASE, poll=POLL, waits=True, dies=IN_THE_STORE.get(point))
    if point in AT_THE_SERVER:
        verb, action = AT_THE_SERVER[point]
        site.once(verb, action(lambda: victim.pid))
    site.put(1, body)
    victim.go()
    assert victim.ended() == -signal.SIGKILL
    died = time.monotonic()
    heir.go()
    site.until_sent(count=number + 1)
    took = time.monotonic() - died
    assert took < LEASE + POLL + 2, f"picked up after {took:.1f} s"
    site.stop(heir)


@pytest.mark.parametrize(("verb", "twice"), [("MAIL", 0), ("DOT", 3)])
def test_a_worker_killed_among_the_transactions_of_one_message_repeats_one_at_most(
    site: Site, verb: str, twice: int
) -> None:
    """Before the third begins nobody has two copies, after its dot those of the third."""
    people = [f"p{number}@firm.example" for number in range(10)]
    heir = site.start(lease=LEASE, poll=POLL, waits=True)
    victim = site.start(lease=LEASE, poll=POLL, waits=True)
    kill, usual = killing(lambda: victim.pid), DEFAULTS[verb]
    site.server.answers |= {"RCPT": room_for(3), verb: [usual, usual, kill, *[usual] * 9]}
    site.store.put(a_message(*people))
    victim.go()
    assert victim.ended() == -signal.SIGKILL
    heir.go()
    site.until_sent(count=1)
    copies = Counter(one for each in site.server.messages for one in each.recipients)
    assert sorted(copies) == people
    assert sum(copies.values()) == len(people) + twice
    assert len({one.content for one in site.server.messages}) == 1
    (row,) = site.rows()
    assert row.attempts == 1
    site.stop(heir)


def test_three_workers_that_die_over_one_message_are_enough(site: Site) -> None:
    """A message that kills its worker is set aside after the third, and the rest flows."""
    (poison,) = site.put(1)
    victims = [site.start(lease=0.5, poll=POLL, waits=True) for _ in range(3)]
    for victim in victims:
        site.once("DATA", killing(lambda victim=victim: victim.pid, silence))
        victim.go()
        assert victim.ended() == -signal.SIGKILL
    (good,) = site.put(1)
    heir = site.start(lease=0.5, poll=POLL)
    site.until(lambda: site.store.statuses() == {"held": 1, "sent": 1})
    row = site.store.message(poison.id)
    assert (row.status, row.reason) == ("held", "poison")
    assert site.store.message(good.id).status == "sent"
    assert site.counted() == {"held": 1, "sent": 1}
    site.stop(heir)


def test_what_was_only_claimed_is_no_reason_for_quarantine(site: Site) -> None:
    """Forty messages behind others in the claims of four dead workers: they all arrive."""
    site.put(40)
    victims = [site.start(lease=0.3, poll=POLL, connections=1, waits=True) for _ in range(4)]
    for victim in victims:
        site.once("GREETING", killing(lambda victim=victim: victim.pid))
        victim.go()
        assert victim.ended() == -signal.SIGKILL
    heir = site.start(lease=5, poll=POLL)
    site.until(lambda: set(site.store.statuses()) <= {"sent", "held"})
    assert site.store.statuses()["sent"] >= 39  # each worker had begun with one of them
    site.stop(heir)


def test_what_waited_for_the_only_connection_is_no_reason_for_quarantine(site: Site) -> None:
    """Four connections are allowed, and one is open when each of three workers dies over it."""
    site.put(4)
    victims = [site.start(lease=0.3, poll=POLL, connections=4, waits=True) for _ in range(3)]
    for victim in victims:
        site.once("GREETING", killing(lambda victim=victim: victim.pid))
        victim.go()
        assert victim.ended() == -signal.SIGKILL
    heir = site.start(lease=5, poll=POLL)
    site.until(lambda: set(site.store.statuses()) <= {"sent", "held"})
    assert site.store.statuses()["sent"] >= 3  # each worker had begun with one of them
    site.stop(heir)

"""Kills at any moment, lost answers, frozen and stopped workers: nothing is lost."""

from __future__ import annotations

import signal
import threading
import time

import pytest

from tests.crash.site import Site, Worker, dice
from tests.crash.stock import FILES, on
from tests.length import LONG
from tests.servers.scripted import Peer, after, reset

MESSAGES, KILLS = (1000, 50) if LONG else (150, 6)
LEASE, POLL, CONNECTIONS = 1.0, 0.1, 4


def test_random_kills_lose_nothing(site: Site) -> None:
    """Two workers with four connections each, one killed again and again at any moment."""
    chance = dice(7)
    # Slow enough for every kill to meet messages under way.
    site.server.answers["DOT"] = after(0.03, site.acknowledge)
    site.put(MESSAGES)
    crew = [_worker(site) for _ in range(2)]
    for number in range(KILLS):
        wanted = (number + chance.random()) * MESSAGES / (KILLS + 1)
        site.until(lambda wanted=wanted: len(site.server.messages) >= wanted, 60)
        time.sleep(chance.random() * 0.03)  # any moment of a message's way, not just its dot
        victim = chance.randrange(2)
        crew[victim].kill()
        crew[victim] = _worker(site)
    site.until(lambda: set(site.store.statuses()) <= {"sent", "held"}, 60)
    site.release()
    site.until_sent(60)
    site.stop(*crew)
    found = site.account(f"{KILLS} random kills")
    assert (found.lost, found.unexpected, found.message_ids) == (0, 0, 0)
    # For each connection the message in DATA, and one whose answer is younger than 10 ms.
    assert found.duplicated <= KILLS * CONNECTIONS * 2
    assert found.worst <= 1 + KILLS
    assert site.counted() == site.store.statuses()  # all are sent
    _no_more_copies_than_claims(site)


def _worker(site: Site) -> Worker:
    return site.start(lease=LEASE, poll=POLL, connections=CONNECTIONS)


def _no_more_copies_than_claims(site: Site) -> None:
    fences = {row.message_id: row.fence for row in site.rows()}
    for id, fence in fences.items():
        copies = sum(str(id).encode() in one.content for one in site.server.messages)
        assert copies <= fence, f"{id} left {copies} times in {fence} claims"


@pytest.mark.parametrize("policy", ["retry", "hold"])
def test_an_answer_lost_after_the_dot_is_logged_and_repeated_only_by_policy(
    site: Site, policy: str
) -> None:
    """One answer in five lost: as many extra copies as ambiguous attempts, none under hold."""
    chance, lock = dice(11), threading.Lock()

    def dot(peer: Peer) -> None:
        with lock:
            lost = chance.random() < 0.2
        peer.act(reset if lost else site.acknowledge)

    count = 1000 if LONG else 100
    site.configure(on_ambiguous=policy)
    site.server.answers["DOT"] = dot
    site.put(count)
    crew = [site.start(poll=0.05, lease=20) for _ in range(2)]
    _let_time_pass(site)
    site.stop(*crew)
    found = site.account(f"answer lost after the dot, p=0.2, {policy}")
    assert (found.lost, found.unexpected, found.message_ids) == (0, 0, 0)
    assert site.ambiguous() > count / 10
    if policy == "hold":
        assert found.duplicated == 0
        assert site.store.statuses()["held"] == site.ambiguous()
    else:
        assert found.duplicated == site.ambiguous()
        assert site.store.statuses() == {"sent": count}


def _let_time_pass(site: Site) -> None:
    """Minutes go by in moments: what is deferred is due as soon as it is seen."""

    def over() -> bool:
        if site.store.statuses().get("deferred"):
            site.make_due()
        return set(site.store.statuses()) <= {"sent", "held"}

    site.until(over, 120)


def test_a_worker_frozen_past_its_lease_repeats_at_most_what_was_on_its_way(site: Site) -> None:
    """SIGSTOP, another takes over, SIGCONT: one extra copy at most, and no state goes back."""
    reached, go_on = threading.Event(), threading.Event()

    def dot(peer: Peer) -> None:
        if not reached.is_set():
            reached.set()
            go_on.wait(20)
        site.acknowledge(peer)

    site.server.answers["DOT"] = dot
    site.put(20)
    frozen = site.start(lease=LEASE, poll=POLL, connections=1)
    assert reached.wait(10)
    frozen.signal(signal.SIGSTOP)
    other = site.start(lease=20, poll=POLL, connections=1)
    site.until_sent()
    before = [tuple(row) for row in site.rows()]
    go_on.set()
    frozen.signal(signal.SIGCONT)
    site.stop(frozen, other)
    assert [tuple(row) for row in site.rows()] == before
    found = site.account("SIGSTOP past the lease")
    assert (found.lost, found.unexpected, found.message_ids) == (0, 0, 0)
    assert found.duplicated <= 1


@on(*FILES, "postgresql")
def test_sigterm_lets_finish_what_is_in_flight(site: Site) -> None:
    """What the server has begun with is recorded, the rest is free at once, the exit is 0."""
    busy, go_on = threading.Event(), threading.Event()

    def dot(peer: Peer) -> None:
        busy.set()
        go_on.wait(20)
        site.acknowledge(peer)

    site.server.answers["DOT"] = dot
    site.put(30)
    with site.command() as worker:
        assert busy.wait(30)
        worker.send_signal(signal.SIGTERM)
        site.until(lambda: site.store.statuses().get("queued", 0) >= 22)
        go_on.set()
        assert worker.wait(30) == 0
    states = site.store.statuses()
    assert states.get("sending") is None
    assert states["sent"] == len(site.server.messages) == site.acknowledged
    assert states["sent"] + states["queued"] == 30


@on("sqlite-wal", "postgresql")
def test_sigterm_calls_ambiguous_what_still_waits_after_the_grace(site: Site) -> None:
    """The answer to a dot does not come: recorded as unknown, no claim left, the exit is 0."""
    busy, ever = threading.Event(), site.server.stopping

    def dot(peer: Peer) -> None:
        busy.set()
        ever.wait(30)

    site.server.answers["DOT"] = dot
    site.put(1)
    worker = site.start(grace=0.5, lease=20)
    assert busy.wait(10)
    site.stop(worker)
    assert site.store.statuses() == {"deferred": 1}
    assert site.ambiguous() == 1

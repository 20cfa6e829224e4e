"""Web processes: killed around the host's commit, and many of them at the same work."""

from __future__ import annotations

import signal
from contextlib import ExitStack

import pytest
import sqlalchemy as sa

from tests.crash import worker
from tests.crash.site import Site
from tests.crash.stock import FILES, on
from tests.length import LONG

THREADS, EACH = 4, 250 if LONG else 25


@pytest.mark.parametrize(("dies", "rows"), [("before", {0}), ("written", {0}), ("after", {1})])
def test_a_web_process_killed_leaves_a_row_if_and_only_if_it_committed(
    site: Site, dies: str, rows: set[int]
) -> None:
    """Our row and the host's are there together, or neither is."""
    _killed(site, dies)
    assert _things(site) == len(site.rows())
    assert {len(site.rows())} == rows


@on(*FILES, "postgresql")
def test_a_web_process_killed_anywhere_in_its_commit(site: Site) -> None:
    """At a random moment of the commit: both rows or none, whichever it is."""
    for _ in range(20 if LONG else 4):
        _killed(site, "anywhere")
        assert _things(site) == len(site.rows())


def _killed(site: Site, dies: str) -> None:
    process = site.run(worker.commit, dies)
    assert process.ended() == -signal.SIGKILL


def _things(site: Site) -> int:
    with site.store.reading() as connection:
        return int(connection.scalar(sa.text("SELECT count(*) FROM thing")) or 0)


def test_threads_of_several_web_processes_and_a_worker_share_the_work(site: Site) -> None:
    """Four web processes deliver by thread beside the command: one mail a message."""
    with ExitStack() as running:
        command = running.enter_context(site.command())
        webs = [site.run(worker.serve, EACH) for _ in range(THREADS)]
        for web in webs:
            assert web.hear(60) == "sent"
        site.until_sent(60, count=THREADS * EACH)
        command.send_signal(signal.SIGTERM)
        assert command.wait(30) == 0
        for web in webs:
            web.go()
            assert web.ended(30) == 0
    site.expected = [row.message_id for row in site.rows()]
    found = site.account(f"{THREADS} web processes and the command")
    assert found.messages == found.acknowledged == THREADS * EACH
    assert (found.lost, found.unexpected, found.duplicated) == (0, 0, 0)


def test_one_key_from_many_processes_is_one_row_and_one_mail(site: Site) -> None:
    """Eight importers say the same thing a hundred times each."""
    importers = [site.run(worker.enqueue_keyed, 100 if LONG else 25) for _ in range(8)]
    for one in importers:
        assert one.hear() == "ready"
    for one in importers:
        one.go()
    for one in importers:
        assert one.hear(120) == "done"
    assert len(site.rows()) == 1
    deliverer = site.start(lease=20)
    site.until_sent(count=1)
    site.stop(deliverer)
    assert len(site.server.messages) == 1


def test_no_message_is_claimed_twice_beside_a_writing_host(site: Site) -> None:
    """Four processes claim one by one while the host writes: no error reaches anyone."""
    count = 1000 if LONG else 100
    site.put(count)
    claimers = [site.run(worker.claim_all) for _ in range(4)]
    for one in claimers:
        assert one.hear() == "ready"
    for one in claimers:
        one.go()
    while not all(one.pipe.poll(0) for one in claimers):
        with site.store.writing() as connection:
            connection.execute(sa.text("INSERT INTO thing (name) VALUES (NULL)"))
    got: list[str] = []
    for one in claimers:
        theirs, errors = one.hear()
        assert errors == []
        got += theirs
    assert len(got) == len(set(got))
    assert len(got) >= count - 4  # who finds every row locked for a moment stops early

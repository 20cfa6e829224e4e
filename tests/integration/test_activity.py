"""The counts behind the page Activity: they agree with the rows, whatever happens in between."""

from __future__ import annotations

import threading
import uuid
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from datetime import datetime, timedelta
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa

from flask_interaction_mail import clock
from flask_interaction_mail.delivery.dispatcher import Dispatcher
from flask_interaction_mail.delivery.ports import StopCondition
from flask_interaction_mail.outbox import claim as queue
from flask_interaction_mail.outbox import counts, recount, retention, tally
from flask_interaction_mail.outbox.claimed import AttemptResult
from flask_interaction_mail.outbox.counts import (
    DAYS,
    DOMAIN,
    HOUR,
    HOURS,
    KIND,
    LATENCY,
    REFUSAL,
    TOTAL,
    begin_of,
)
from flask_interaction_mail.outbox.tally import Tally
from flask_interaction_mail.outcome import Result, Stage
from flask_interaction_mail.settings.model import MessagingSettings
from flask_interaction_mail.storage.tables import ACTIVITY, ATTEMPT, DELIVERY, MESSAGE, TALLY
from flask_interaction_mail.transport.base import TransportResult
from flask_interaction_mail.transport.memory import MemoryTransport
from flask_interaction_mail.values import Reason, Status
from tests import outbox_rows
from tests.databases import fresh_database
from tests.outbox_rows import SETTINGS, Store, a_message

LOST = TransportResult(
    result=Result.AMBIGUOUS, stage=Stage.CONTENT, reply=None, verdicts={}, note="link lost"
)
NOW = datetime(2026, 11, 28, 10, 30)  # noqa: DTZ001 - as the database has it, in UTC
Summed = dict[tuple[str, str], tuple[int, ...]]


def summed(store: Store) -> Summed:
    """What was counted, over all times, merged or not."""
    sums = [sa.func.sum(ACTIVITY.c[name]) for name in counts.COUNTED]
    query = sa.select(ACTIVITY.c.what, ACTIVITY.c.name, *sums).where(ACTIVITY.c.what != "merging")
    with store.reading() as connection:
        rows = connection.execute(query.group_by(ACTIVITY.c.what, ACTIVITY.c.name)).all()
        found = counts.Sums()
        found.add((row[0], row[1], *row[2:], None) for row in rows)
        for what, _, name, _, *four in tally.not_merged(connection, NOW - timedelta(days=999)):
            found.add([(what, name, *four)])
    return {(row[0], row[1]): tuple(row[2:6]) for row in found.rows()}


def total(store: Store) -> tuple[int, ...]:
    return summed(store).get((TOTAL, ""), (0, 0, 0, 0))


def of(store: Store, what: str) -> dict[str, tuple[int, ...]]:
    return {name: sums for (found, name), sums in summed(store).items() if found == what}


class Desk:
    """Deliveries from a store, counted."""

    def __init__(self, store: Store, settings: MessagingSettings = SETTINGS) -> None:
        self.store = store
        self.transport = MemoryTransport()
        self.ports = store.ports(
            transport=lambda _: self.transport,
            settings=lambda: settings,
            tally=cache(lambda _: Tally()),
        )

    def drain(self) -> None:
        Dispatcher(self.ports).drain(StopCondition())

    def again(self, minutes: int = 2) -> None:
        """Let what was deferred be due, as if that many minutes had passed since."""
        deferred = DELIVERY.c.status.in_((Status.DEFERRED, Status.SENDING))
        with self.store.writing() as connection:
            _earlier(connection, timedelta(minutes=minutes))
            due = sa.update(DELIVERY).where(deferred, DELIVERY.c.due_at.is_not(None))
            connection.execute(due.values(due_at=clock.now() - timedelta(seconds=1)))
        self.drain()


_TIMES = {
    ATTEMPT: ("started_at", "finished_at"),
    MESSAGE: ("created_at",),
    DELIVERY: ("created_at", "finished_at", "started_at"),
    TALLY: ("hour",),
}


def _earlier(connection: sa.Connection, ago: timedelta) -> None:
    """Move all that has happened into the past."""
    for table, columns in _TIMES.items():
        for row in connection.execute(sa.select(table)).mappings().all():
            key = sa.and_(*(column == row[column.key] for column in table.primary_key))
            given = {name: row[name] for name in columns if row[name] is not None}
            moved = {name: at - ago for name, at in given.items() if at.year > 1970}
            if moved:
                connection.execute(sa.update(table).where(key).values(moved))


def test_counts_agree_with_the_rows(store: Store) -> None:
    """Sent, deferred and failed, by kind, domain and refusal, over several attempts."""
    desk = Desk(store)
    desk.transport.refuse("eve@other.example", "550 5.1.1 <eve@other.example> unknown")
    desk.transport.refuse("bob@slow.example", "450 4.2.1 Try again, job 8F3A11")
    store.put(*(a_message(f"p{number}@firm.example") for number in range(130)))
    store.put(a_message("eve@other.example"), a_message("bob@slow.example", "ada@firm.example"))
    desk.drain()
    assert total(store) == (130, 1, 1, 0)
    desk.again()
    desk.transport.refuse("bob@slow.example", "250 2.0.0 ok")
    desk.again()

    assert store.statuses() == {"sent": 131, "failed": 1}
    assert total(store) == (131, 2, 1, 0)
    assert of(store, KIND) == {"notification": (131, 2, 1, 0)}
    assert of(store, DOMAIN) == {
        "firm.example": (131, 0, 0, 0),
        "slow.example": (1, 2, 0, 0),
        "other.example": (0, 0, 1, 0),
    }
    assert of(store, REFUSAL) == {
        "550 5.1.1 ... unknown": (0, 0, 1, 0),
        "450 4.2.1 Try again, job ...": (0, 2, 0, 0),
    }
    assert sum(sums[0] for sums in of(store, LATENCY).values()) == 131


def test_what_is_held_is_counted(store: Store) -> None:
    """By the policy for an unknown outcome, and because its worker stopped."""
    desk = Desk(store, replace(SETTINGS, on_ambiguous="hold"))
    desk.transport.answer_with(LOST)
    store.put(a_message("ada@firm.example"))
    desk.drain()
    assert total(store) == (0, 0, 0, 1)

    store.put(a_message("bob@firm.example"))
    with store.writing() as connection:
        long_ago = clock.now() - timedelta(minutes=5)
        queue.claim(connection, limit=1, worker="w", lease=timedelta(seconds=1), now=long_ago)
        outbox_rows.change(connection, lease_until=long_ago)
        late = sa.update(DELIVERY).where(DELIVERY.c.status == Status.QUEUED)
        connection.execute(late.values(status="sending", due_at=None))
        outbox_rows.change(connection, lease_until=None)
        stopped = sa.update(DELIVERY).where(DELIVERY.c.status == Status.SENDING)
        connection.execute(stopped.values(lease_until=long_ago, worker="w"))
    store.put(a_message("cleo@firm.example"))
    desk.drain()
    assert store.statuses() == {"held": 2, "sent": 1}
    assert total(store) == (1, 0, 0, 2)
    assert of(store, KIND) == {"notification": (1, 0, 0, 2)}


@contextmanager
def failing_once(store: Store, when: str) -> Iterator[list[int]]:
    """The first commit of a record fails: before it, or after the database has done it."""
    failed: list[int] = []
    writing = store.writing

    @contextmanager
    def breaking() -> Iterator[sa.Connection]:
        recorded: list[bool] = []

        def look(_c: Any, _u: Any, statement: str, *_: Any) -> None:
            recorded.append("interaction_mail_tally" in statement)

        with writing() as connection:
            sa.event.listen(connection, "before_cursor_execute", look)
            try:
                yield connection
                if when == "before" and any(recorded) and not failed:
                    failed.append(1)
                    raise sa.exc.OperationalError("", {}, Exception("gone"))
            finally:
                sa.event.remove(connection, "before_cursor_execute", look)
        if when == "after" and any(recorded) and not failed:
            failed.append(1)
            raise sa.exc.OperationalError("", {}, Exception("gone"))

    store.writing = breaking  # type: ignore[method-assign]
    yield failed
    store.writing = writing  # type: ignore[method-assign]


@pytest.mark.parametrize("when", ["before", "after"])
def test_a_record_is_counted_once_however_it_fails(store: Store, when: str) -> None:
    """Counts are in the transaction of the record: both are there, or neither."""
    desk = Desk(store)
    store.put(*(a_message(f"p{number}@firm.example") for number in range(5)))
    with failing_once(store, when) as failed:
        desk.drain()
    assert failed
    assert store.statuses() == {"sent": 5}
    assert total(store) == (5, 0, 0, 0)


def test_after_a_failed_commit_a_process_begins_another_document(store: Store) -> None:
    """Nobody knows whether the first one is in the database, so it is never written again."""
    desk = Desk(store)
    for when in ("after", "before"):
        store.put(a_message("ada@firm.example"))
        desk.drain()
        store.put(a_message("bob@firm.example"))
        with failing_once(store, when) as failed:
            desk.drain()
        assert failed
    assert total(store) == (4, 0, 0, 0)
    with store.reading() as connection:
        assert len(connection.execute(sa.select(TALLY)).all()) == 3


def test_a_process_goes_on_when_its_document_was_merged(store: Store) -> None:
    """What was in it is not counted again."""
    desk = Desk(store)
    for _ in range(2):
        store.put(a_message("ada@firm.example"))
        desk.drain()
        tally.merge(store, clock.now() + timedelta(hours=2))
    store.put(a_message("ada@firm.example"))
    desk.drain()
    assert total(store) == (3, 0, 0, 0)
    assert of(store, DOMAIN) == {"firm.example": (3, 0, 0, 0)}


@pytest.mark.parametrize("dialect", ["postgresql", "mariadb"])  # where several can write
def test_a_document_that_grows_while_it_is_merged_loses_nothing(
    dialect: str, tmp_path: Path
) -> None:
    """Whoever of the two comes second waits for the first and sees what it has done."""
    with fresh_database(dialect, tmp_path) as url:
        store = Store(url)
        desk = Desk(store)
        later = clock.now() + timedelta(hours=2)
        merging = threading.Event()

        def merge() -> None:
            while not merging.is_set():
                tally.merge(store, later)

        thread = threading.Thread(target=merge)
        thread.start()
        for _ in range(30):
            store.put(a_message("ada@firm.example"))
            desk.drain()
        merging.set()
        thread.join()
        assert store.statuses() == {"sent": 30}
        assert total(store) == (30, 0, 0, 0)
        store.engine.dispose()


def test_a_claim_that_was_lost_is_not_counted(store: Store) -> None:
    """Who records it later, counts it."""
    desk = Desk(store)
    store.put(a_message("ada@firm.example"))
    with store.writing() as connection:
        at = clock.now()
        (mine,) = queue.claim(connection, limit=1, worker="w", lease=timedelta(seconds=0), now=at)
    desk.again(0)
    assert store.message(mine.id).status == "sent"
    assert total(store) == (1, 0, 0, 0)


@pytest.mark.parametrize("lost", [False, True])
def test_counts_are_written_with_the_record_itself(
    lost: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """By one statement on PostgreSQL; whose claim was lost is counted by the next worker alone."""
    with fresh_database("postgresql", tmp_path) as url:
        store = Store(url)
        desk = Desk(store)
        store.put(a_message("ada@firm.example"))
        desk.drain()  # begins the document
        store.put(*(a_message(f"p{number}@firm.example") for number in range(3)))
        statements: list[str] = []
        sa.event.listen(
            store.engine, "before_cursor_execute", lambda _c, _u, text, *_: statements.append(text)
        )

        def lose(_: sa.Connection, results: Sequence[AttemptResult], **_named: Any) -> None:
            if lost and len(results) > 1:
                monkeypatch.undo()
                with store.writing() as other:
                    mine = DELIVERY.c.id == results[0].claimed.id
                    taken = sa.update(DELIVERY).where(mine)
                    other.execute(taken.values(fence=DELIVERY.c.fence + 1, worker="another"))

        outbox_rows.records_of(monkeypatch, 3)
        outbox_rows.before_records(monkeypatch, lose)
        desk.drain()
        counting = [text for text in statements if "interaction_mail_tally" in text]
        assert ["delivery" in text for text in counting] == ([True, False] if lost else [True])
        sent = store.statuses()["sent"]
        assert sent == (3 if lost else 4)
        assert total(store) == (sent, 0, 0, 0)
        store.engine.dispose()


def test_several_workers_write_rows_of_their_own(store: Store) -> None:
    """Side by side from one queue, and the sum is that of the rows."""
    store.put(*(a_message(f"p{number}@firm.example") for number in range(300)))
    desks = [Desk(store) for _ in range(3)]
    threads = [threading.Thread(target=desk.drain) for desk in desks]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert store.statuses() == {"sent": 300}
    assert total(store) == (300, 0, 0, 0)
    with store.reading() as connection:
        assert 1 <= len(connection.execute(sa.select(TALLY)).all()) <= 3


def put_to_many_domains(store: Store, times: int = 1) -> None:
    """So often a message to each of as many domains as a day has names."""
    numbers = [*range(counts.MOST)] * times
    store.put(*(a_message(f"ada@department-{number}.example") for number in numbers))


def test_a_long_document_has_notes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """On SQLite most records write one of those, and all together are the sum."""
    store = Store(f"sqlite:///{tmp_path}/x.sqlite")
    desk = Desk(store)
    put_to_many_domains(store)
    desk.drain()
    outbox_rows.records_of(monkeypatch, 5)
    put_to_many_domains(store)
    desk.drain()
    assert total(store) == (2 * counts.MOST, 0, 0, 0)
    assert [*of(store, DOMAIN).values()] == [(2, 0, 0, 0)] * counts.MOST
    with store.reading() as connection:
        documents = connection.scalars(sa.select(TALLY.c.counts)).all()
    assert len(documents) == 1 + tally._NOTES
    assert sum(len(document) > tally._PAGE for document in documents) == 1
    store.engine.dispose()


@pytest.mark.parametrize("gone", ["the document", "its notes", "all"])
def test_what_was_merged_of_a_long_document_is_not_counted_again(
    gone: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nor lost, whichever part of it has been merged; the process goes on with another one."""
    store = Store(f"sqlite:///{tmp_path}/x.sqlite")
    desk = Desk(store)
    outbox_rows.records_of(monkeypatch, 30)
    put_to_many_domains(store, 2)
    desk.drain()
    long = sa.func.length(TALLY.c.counts) > tally._PAGE
    which = {"the document": long, "its notes": sa.not_(long), "all": sa.true()}[gone]
    with store.reading() as connection:
        ids = connection.scalars(sa.select(TALLY.c.id).where(which)).all()
    monkeypatch.setattr(tally, "_documents", lambda *_: ids)
    tally.merge(store, clock.now() + timedelta(hours=2))
    put_to_many_domains(store, 4)  # writes all of it at least once
    desk.drain()
    number = 6 * counts.MOST
    assert store.statuses() == {"sent": number}
    assert total(store) == (number, 0, 0, 0)
    assert sum(sums[0] for sums in of(store, DOMAIN).values()) == number
    store.engine.dispose()


def put_counts(store: Store, at: datetime, *, name: str = "firm.example") -> None:
    """A message that was sent and one that was refused, by a process of its own."""
    found = counts.Counts(counts.Names())
    found.message(at, "request", Status.SENT, made_at=at - timedelta(seconds=2))
    found.recipient(at, f"ada@{name}", Status.SENT)
    found.refused(at, ["550 no"], uuid.uuid4())
    with store.writing() as connection:
        tally._insert(connection, found.hours)


def spans(store: Store, what: str) -> Counter[tuple[datetime, str]]:
    with store.reading() as connection:
        found = connection.execute(sa.select(ACTIVITY).where(ACTIVITY.c.what == what)).all()
    return Counter((row.at, row.span) for row in found)


def test_minutes_become_hours_and_hours_days(store: Store) -> None:
    """Each at its age; nothing is lost or counted twice, however often they are merged."""
    minutes = [NOW - timedelta(minutes=m) for m in (1, 90, 150, 151, 200, 60 * 24 * 3, 60 * 24 * 9)]
    for at in minutes:
        put_counts(store, at)
        put_counts(store, at)
    before = summed(store)
    for _ in range(2):
        tally.merge(store, NOW)
        assert summed(store) == before
    merged = {place for place in spans(store, TOTAL) if place[1] in (HOURS, DAYS)}
    hours = {f"{at:%m-%d %H:%M}" for at, writer in merged if writer == HOURS}
    assert hours == {"11-28 08:00", "11-28 07:00", "11-25 10:00"}
    assert {f"{at:%m-%d %H:%M}" for at, writer in merged if writer == DAYS} == {"11-19 00:00"}
    days = {at for at, writer in spans(store, DOMAIN) if writer == DAYS}
    assert {at.day for at in days} == {25, 19}


def test_two_processes_may_merge_at_the_same_time(store: Store) -> None:
    """One waits for the other, and finds nothing left to do."""
    for minute in range(40):
        put_counts(store, NOW - timedelta(hours=4, minutes=minute))
    before = summed(store)
    errors: list[Exception] = []

    def merge() -> None:
        try:
            tally.merge(store, NOW)
        except Exception as error:
            errors.append(error)

    threads = [threading.Thread(target=merge) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert errors == []
    assert summed(store) == before


def test_old_counts_go_when_nobody_merges(store: Store) -> None:
    """Two purges at once: whoever deletes waits for who merges, or MariaDB finds a deadlock."""
    put_counts(store, NOW - timedelta(days=100))
    before = NOW - timedelta(days=90)
    forgetting = threading.Thread(target=tally.forget, args=(store, before))
    with tally._alone(store):
        forgetting.start()
        forgetting.join(0.5)
        assert total(store) != (0, 0, 0, 0)
    forgetting.join()
    assert total(store) == (0, 0, 0, 0)


def test_a_day_has_two_hundred_domains_and_others(store: Store) -> None:
    """Of one process, and after the days of several were merged: the most frequent stay."""
    at = NOW - timedelta(days=4)
    for process in range(2):
        found = counts.Counts(counts.Names())
        for number in range(210):
            found.recipient(at, f"a@d{process}-{number:03}.example", Status.SENT)
        found.recipient(at, f"a@d{process}-000.example", Status.SENT)
        with store.writing() as connection:
            tally._insert(connection, found.hours)
    assert len(of(store, DOMAIN)) == 401
    tally.merge(store, NOW)
    domains = of(store, DOMAIN)
    assert len(domains) == 201
    assert sum(sums[0] for sums in domains.values()) == 422
    assert domains["d0-000.example"] == domains["d1-000.example"] == (2, 0, 0, 0)


def test_a_new_process_knows_the_domains_of_the_day(store: Store) -> None:
    """It does not name two hundred more."""
    first, second = Desk(store), Desk(store)
    store.put(*(a_message(f"a@d{number}.example") for number in range(counts.MOST)))
    first.drain()
    store.put(a_message("a@d1.example"), a_message("a@new.example"))
    second.drain()
    domains = of(store, DOMAIN)
    assert len(domains) == counts.MOST + 1
    assert (domains["d1.example"][0], domains[counts.OTHER][0]) == (2, 1)


def test_the_purge_forgets_old_counts(store: Store) -> None:
    """At the age at which messages go."""
    put_counts(store, NOW - timedelta(days=100))
    put_counts(store, NOW - timedelta(days=80))
    limits = {"bodies": timedelta(days=7), "logs": timedelta(days=90)}
    retention.purge(store, now=NOW, **limits)
    assert total(store) == (1, 0, 0, 0)


def test_rebuilt_counts_are_the_same(store: Store) -> None:
    """From the messages and attempts that are there: totals, kinds, domains, refusals, times."""
    desk = Desk(store, replace(SETTINGS, on_ambiguous="hold"))
    desk.transport.refuse("eve@other.example", "550 5.1.1 <eve@other.example> unknown")
    desk.transport.refuse("bob@slow.example", "450 4.2.1 Try again later")
    store.put(*(a_message(f"p{number}@firm.example") for number in range(20)))
    store.put(
        a_message("eve@other.example"),
        a_message("bob@slow.example", "ada@firm.example", "eve@other.example"),
        a_message("bob@slow.example", expires_at=clock.now() + timedelta(seconds=40)),
        a_message("Mixed@FIRM.example"),
    )
    failed = a_message(status=Status.FAILED)._replace(
        reason=Reason.NOT_CONFIGURED, content=None, recipients=()
    )
    store.put(failed)
    desk.drain()
    desk.again()
    with store.writing() as connection:
        outbox_rows.change(connection, expires_at=clock.now() - timedelta(seconds=1))
    desk.again()
    desk.transport.answer_with(LOST)
    store.put(a_message("dan@firm.example"))
    desk.drain()
    counted = summed(store)
    assert counted[TOTAL, ""][3] == 1
    assert len(store.statuses()) == 3

    later = clock.now() + timedelta(hours=2)
    assert recount.rebuild(store, later) == 26
    assert summed(store) == counted
    assert recount.rebuild(store, later) == 26
    assert summed(store) == counted


def test_what_is_counted_while_it_is_rebuilt_stays(store: Store) -> None:
    """This hour is that of the processes themselves."""
    desk = Desk(store)
    store.put(a_message(), a_message())
    desk.drain()
    put_counts(store, clock.now() - timedelta(hours=3))  # of what is gone
    recount.rebuild(store, clock.now())
    assert total(store) == (2, 0, 0, 0)


def test_rebuilt_counts_go_where_merged_ones_are(store: Store) -> None:
    """A message of last month counts for its day, one of yesterday for its hour."""
    desk = Desk(store)
    store.put(*(a_message() for _ in range(3)))
    desk.drain()
    hour = begin_of(HOUR, clock.now())
    with store.reading() as connection:
        ids = connection.scalars(sa.select(DELIVERY.c.id)).all()
    with store.writing() as connection:
        for id, days in zip(ids, (0, 1, 20), strict=True):
            then = hour - timedelta(days=days)
            outbox_rows.change(connection, id, created_at=then, finished_at=then)
    recount.rebuild(store, hour + timedelta(minutes=65))
    with store.reading() as connection:
        rows = connection.execute(
            sa.select(ACTIVITY).where(ACTIVITY.c.what == TOTAL).order_by(ACTIVITY.c.at)
        ).all()
    assert [(row.sent, row.span) for row in rows] == [(1, DAYS), (1, HOURS)]
    assert total(store) == (3, 0, 0, 0)


def test_what_was_to_leave_later_took_no_time_until_then(store: Store) -> None:
    """Its time to be accepted begins when it was to leave."""
    desk = Desk(store)
    late = a_message()
    store.put(late._replace(created_at=late.created_at - timedelta(days=1)))
    store.put(a_message()._replace(created_at=late.created_at - timedelta(days=1)))
    with store.writing() as connection:
        due = sa.update(DELIVERY).where(DELIVERY.c.id != late.id)
        connection.execute(due.values(due_at=DELIVERY.c.created_at))
    desk.drain()
    buckets = sorted(int(name) for name in of(store, LATENCY))
    day = counts.bucket_of(24 * 3600)
    assert [buckets[0] < counts.bucket_of(60), buckets[1] == day] == [True, True]


@contextmanager
def without_counts(store: Store) -> Iterator[None]:
    """The tables of counts cannot be used meanwhile, as where a right to them is missing."""
    names = (ACTIVITY.name, TALLY.name)
    with store.writing() as connection:
        for name in names:
            connection.execute(sa.text(f"ALTER TABLE {name} RENAME TO {name}_gone"))
    yield
    with store.writing() as connection:
        for name in names:
            connection.execute(sa.text(f"ALTER TABLE {name}_gone RENAME TO {name}"))


def test_mail_leaves_once_where_nothing_can_be_counted(
    store: Store, caplog: pytest.LogCaptureFixture
) -> None:
    """What a server accepted is written down at once, and never sent again for want of a count."""
    desk = Desk(store)
    store.put(*(a_message(f"p{number}@firm.example") for number in range(5)))
    with without_counts(store):
        desk.drain()
        assert store.statuses() == {"sent": 5}
    assert len(desk.transport.messages) == 5
    assert "activity.uncounted" in caplog.text
    assert "dispatcher.unrecorded" not in caplog.text
    store.put(a_message("ada@firm.example"))
    desk.drain()
    assert total(store) == (1, 0, 0, 0)


def test_a_claim_goes_on_where_nothing_can_be_counted(
    store: Store, caplog: pytest.LogCaptureFixture
) -> None:
    """A message that is held does not keep the others from leaving."""
    desk = Desk(store)
    store.put(a_message("ada@firm.example"), a_message("bob@firm.example"))
    with store.writing() as connection:
        now = clock.now()
        (lost,) = queue.claim(connection, limit=1, worker="w", lease=timedelta(0), now=now)
        outbox_rows.change(connection, lost.id, lost_leases=3)
    with without_counts(store):
        desk.drain()
        assert store.statuses() == {"held": 1, "sent": 1}
    assert "activity.uncounted" in caplog.text


def test_old_mail_goes_where_nothing_can_be_counted(store: Store) -> None:
    """Personal data is not kept because counts cannot be merged (T18)."""
    store.put(a_message("ada@firm.example"))
    Desk(store).drain()
    long = timedelta(days=90)
    with without_counts(store), pytest.raises(sa.exc.DBAPIError):
        retention.purge(store, now=clock.now() + timedelta(days=91), bodies=long, logs=long)
    assert store.statuses() == {}


def test_a_host_commits_where_nothing_can_be_counted(store: Store) -> None:
    """A message that has failed when it is stored is stored with the host's own work."""
    with without_counts(store):
        store.put(a_message("ada@firm.example", status=Status.FAILED))
        assert store.statuses() == {"failed": 1}
    assert total(store) == (0, 0, 0, 0)


@pytest.mark.parametrize("dialect", ["postgresql", "mariadb"])  # where several can write
def test_old_counts_go_without_waiting_for_new_ones(dialect: str, tmp_path: Path) -> None:
    """Who counts at this moment has rows that no purge looks at, and keeps it from nothing."""
    now = clock.now()
    with fresh_database(dialect, tmp_path) as url:
        store = Store(url)
        with store.writing() as connection:
            for days in range(1, 120):
                tally.add_failed(connection, ["old"], now - timedelta(days=days))
        with store.engine.connect() as counting, counting.begin():
            tally.add_failed(counting, ["new"], now)
            with impatient(store):
                tally.forget(store, begin_of(HOUR, now - timedelta(days=90)))
        assert of(store, KIND) == {"old": (0, 0, 90, 0), "new": (0, 0, 1, 0)}
        store.engine.dispose()


@contextmanager
def impatient(store: Store) -> Iterator[None]:
    """New connections wait for a lock for a second at most."""
    say = {
        "postgresql": "SET lock_timeout = '1s'",
        "mariadb": "SET SESSION innodb_lock_wait_timeout = 1",
    }[store.engine.dialect.name]

    def begin(connection: sa.Connection) -> None:
        connection.exec_driver_sql(say)

    sa.event.listen(store.engine, "begin", begin)
    yield
    sa.event.remove(store.engine, "begin", begin)

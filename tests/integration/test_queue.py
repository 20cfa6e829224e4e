"""The outbox as a queue, on every database: claims, leases, fences, records."""

from __future__ import annotations

import threading
import time
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa

from flask_interaction_mail import clock
from flask_interaction_mail.delivery.resolution import result_of
from flask_interaction_mail.messages.message import NewMessage
from flask_interaction_mail.outbox import claim as queue
from flask_interaction_mail.outbox import messages
from flask_interaction_mail.outbox.claimed import ANY, Attempt, Claimed
from flask_interaction_mail.outbox.fenced import by_index
from flask_interaction_mail.outbox.insert import insert
from flask_interaction_mail.outbox.record import record
from flask_interaction_mail.outcome import Reply, Result, Stage
from flask_interaction_mail.storage.tables import DELIVERY, RECIPIENT
from flask_interaction_mail.transport.base import TransportResult
from flask_interaction_mail.values import Priority, Reason, Status
from tests.databases import LOCKING, be_impatient, fresh_database
from tests.outbox_rows import Store, a_message

LEASE = timedelta(seconds=60)
OK = Reply(250, "2.0.0", "ok")


def claim(
    store: Store, limit: int = 50, worker: str = "w", *, lease: timedelta = LEASE
) -> list[Claimed]:
    with store.writing() as connection:
        return queue.claim(connection, limit=limit, worker=worker, lease=lease, now=clock.now())


def record_one(
    store: Store, claimed: Claimed, delivery: TransportResult, *, hold: bool = False
) -> int:
    now = clock.now()
    attempt = Attempt.of(
        delivery, started_at=now, finished_at=now, server="mail:25", diverted_to=None
    )
    verdict = result_of(claimed, delivery, attempt, hold=hold, now=now, chance=0.0)
    with store.writing() as connection:
        return len(record(connection, [verdict], worker="w", now=now))


def delivered(**replies: Reply) -> TransportResult:
    """The server took the message; ``replies`` are by the part before the @."""
    verdicts = {f"{name}@firm.example": reply for name, reply in replies.items()}
    return TransportResult(result=Result.ACCEPTED, stage=Stage.CONTENT, reply=OK, verdicts=verdicts)


def test_what_is_due_is_claimed_once_and_in_its_order(store: Store) -> None:
    """Two workers never get the same message; what is due later is left alone."""
    store.put(*(a_message() for _ in range(5)), a_message(due_in=timedelta(hours=1)))
    first, second = claim(store, 3), claim(store, 3)
    assert [len(first), len(second), len(claim(store))] == [3, 2, 0]
    assert not {one.id for one in first} & {one.id for one in second}


def test_many_workers_at_once_share_the_queue_without_a_double_claim(store: Store) -> None:
    """Eight threads claim two hundred messages in small bites: each message exactly once."""
    store.put(*(a_message() for _ in range(200)))
    got: list[Claimed] = []
    errors: list[Exception] = []

    def work(name: str) -> None:
        try:
            while batch := claim(store, 7, name):
                got.extend(batch)
        except Exception as error:
            errors.append(error)

    threads = [threading.Thread(target=work, args=(str(n),)) for n in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not errors
    assert len(got) == len({one.id for one in got})
    # A worker may find every free row locked for a moment and stop early; nothing is lost then.
    assert len(got) + len(claim(store, 200)) == 200


def test_a_late_writer_changes_nothing(store: Store) -> None:
    """Who lost the lease holds an old fence: its record is dropped."""
    message = a_message()
    store.put(message)
    (late,) = claim(store)
    with store.writing() as connection:
        queue.recover(connection, clock.now() + 2 * LEASE, hold=False)
    with store.writing() as connection:
        (again,) = queue.claim(
            connection, limit=1, worker="v", lease=LEASE, now=clock.now() + 3 * LEASE
        )
    assert again.fence > late.fence
    assert record_one(store, late, delivered(ada=OK)) == 0
    assert store.message(message.id).status == "sending"
    assert record_one(store, again, delivered(ada=OK)) == 1
    assert store.message(message.id).status == "sent"


def test_a_missing_column_stops_the_claim_and_damages_nothing(store: Store) -> None:
    """The new code on the tables of the old one: the error names the column, and all mail waits."""
    store.put(*(a_message() for _ in range(3)))
    with store.writing() as connection:
        if connection.dialect.name == "sqlite":  # the others drop the index with its column
            connection.exec_driver_sql("DROP INDEX ix_interaction_mail_recipient_digest")
        connection.exec_driver_sql("ALTER TABLE interaction_mail_recipient DROP COLUMN digest_id")
    with pytest.raises(sa.exc.DBAPIError, match="digest_id"):
        claim(store)
    assert store.statuses() == {"queued": 3}


@pytest.mark.parametrize("store", ["sqlite"], indirect=True)
def test_a_text_that_sqlite_cannot_decode_is_damage_of_one_message(store: Store) -> None:
    """Its driver raises the same error as for a missing column; the others are claimed."""
    damaged, *good = a_message(), a_message(), a_message()
    store.put(damaged, *good)
    with store.writing() as connection:
        broken = {"address": sa.literal_column("CAST(X'ff40ff' AS TEXT)")}
        its_own = RECIPIENT.c.message_id == damaged.id
        connection.execute(sa.update(RECIPIENT).where(its_own).values(broken))
    assert {claimed.id for claimed in claim(store)} == {message.id for message in good}
    row = store.message(damaged.id)
    assert (row.status, row.reason) == ("held", "poison")


def test_a_lost_lease_is_taken_back_twice_and_then_quarantined(store: Store) -> None:
    """Three workers that stop over one message are enough."""
    message = a_message()
    store.put(message)
    for _ in range(3):
        with store.writing() as connection:
            taken = queue.claim(
                connection, limit=1, worker="w", lease=-LEASE, now=clock.now() + LEASE
            )
            assert len(taken) == 1
            queue.recover(connection, clock.now() + LEASE, hold=False)
    row = store.message(message.id)
    assert (row.status, row.reason) == ("held", "poison")


def test_a_lost_lease_waits_for_the_administrator_under_hold(store: Store) -> None:
    """With the policy hold a message that may have left is not sent again by itself."""
    message = a_message()
    store.put(message)
    claim(store)
    with store.writing() as connection:
        queue.recover(connection, clock.now() + 2 * LEASE, hold=True)
    assert (store.message(message.id).status, store.message(message.id).reason) == (
        "held",
        "ambiguous",
    )
    with store.writing() as connection:
        assert messages.release(connection, [message.id], clock.now()) == [message.id]
    assert len(claim(store)) == 1


def test_three_verdicts_in_one_message(store: Store) -> None:
    """250, 450 and 550: one is done, one is retried alone, one has failed; the replies stay."""
    message = a_message("ada@firm.example", "bob@firm.example", "eve@firm.example")
    store.put(message)
    (claimed,) = claim(store)
    later, never = Reply(450, "4.2.1", "greylisted"), Reply(550, "5.1.1", "unknown")
    record_one(store, claimed, delivered(ada=OK, bob=later, eve=never))
    assert store.verdicts(message.id) == {
        "ada@firm.example": ("sent", "250 2.0.0 ok"),
        "bob@firm.example": ("deferred", "450 4.2.1 greylisted"),
        "eve@firm.example": ("failed", "550 5.1.1 unknown"),
    }
    row = store.message(message.id)
    assert row.status == "deferred"
    assert timedelta(seconds=59) < row.due_at - clock.now() < timedelta(seconds=75)
    with store.writing() as connection:
        (again,) = queue.claim(
            connection, limit=5, worker="w", lease=LEASE, now=clock.now() + timedelta(minutes=5)
        )
    assert again.envelope.recipients == ("bob@firm.example",)
    record_one(store, again, delivered(bob=OK))
    row = store.message(message.id)
    assert (row.status, row.reason, row.attempts) == ("failed", "refused", 2)


def test_unknown_outcome_is_retried_or_held(store: Store) -> None:
    """The link died after the final dot: the policy decides."""
    retried, held = a_message(), a_message()
    store.put(retried, held)
    lost = TransportResult(
        result=Result.AMBIGUOUS, stage=Stage.CONTENT, reply=None, verdicts={}, note="link lost"
    )
    for claimed in claim(store):
        record_one(store, claimed, lost, hold=claimed.id == held.id)
    assert store.message(retried.id).status == "deferred"
    assert (store.message(held.id).status, store.message(held.id).reason) == ("held", "ambiguous")


@pytest.mark.parametrize("store", LOCKING, indirect=True)
def test_nobody_waits_for_a_message_that_somebody_else_has(store: Store) -> None:
    """A host's transaction has changed one message, a worker is late with another one: neither
    has ended, and the others leave meanwhile.
    """
    of_host, late, *others = (a_message() for _ in range(6))
    store.put(late)
    claim(store, lease=-LEASE)
    store.put(of_host, *others)
    be_impatient(store.engine)
    with store.engine.connect() as host:
        theirs = DELIVERY.c.id.in_([of_host.id, late.id])
        host.execute(sa.update(DELIVERY).where(theirs).values(detail="mine"))
        taken = claim(store)
        assert [one.id for one in taken] == [one.id for one in others]
        with store.writing() as connection:
            assert len(queue.renew(connection, taken, lease=LEASE, now=clock.now())) == 4
        with store.writing() as connection:
            queue.give_back(connection, taken[2:], due_at=clock.now(), detail=None)
        assert [record_one(store, one, delivered(ada=OK)) for one in taken[:2]] == [1, 1]
    assert store.statuses() == {"queued": 3, "sent": 2, "sending": 1}


def test_giving_back_burns_no_attempt(store: Store) -> None:
    """A server in trouble costs a message nothing but time."""
    message = a_message()
    store.put(message)
    claimed = claim(store)
    later = clock.now() + timedelta(minutes=1)
    with store.writing() as connection:
        queue.give_back(connection, claimed, due_at=later, detail="Waiting for the server")
    row = store.message(message.id)
    assert (row.status, row.attempts, row.detail) == ("queued", 0, "Waiting for the server")
    assert claim(store) == []


def test_a_key_is_one_row_whoever_comes_first(store: Store) -> None:
    """Eight threads store the same key at once: one row, and one of them is told so."""
    won: list[NewMessage] = []
    barrier = threading.Barrier(8)

    def work() -> None:
        message = a_message(key="import-7")
        barrier.wait()
        with store.writing() as connection:
            won.extend(insert(connection, [message]))

    threads = [threading.Thread(target=work) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(won) == 1
    assert store.statuses() == {"queued": 1}
    assert store.message(won[0].id).origin == won[0].origin


def test_calling_back_is_only_for_what_has_not_left(store: Store) -> None:
    """A queued message is cancelled with its recipients; a sent one stays sent."""
    waiting, gone = a_message(), a_message()
    store.put(waiting, gone)
    for claimed in claim(store):
        if claimed.id == gone.id:
            record_one(store, claimed, delivered(ada=OK))
        else:
            with store.writing() as connection:
                queue.give_back(connection, [claimed], due_at=clock.now(), detail=None)
    with store.writing() as connection:
        cancelled = messages.cancel(
            connection, [waiting.id, gone.id], Reason.WITHDRAWN, clock.now()
        )
    assert cancelled == [waiting.id]
    assert store.verdicts(waiting.id)["ada@firm.example"][0] == Status.CANCELLED
    assert store.message(gone.id).status == "sent"


def test_a_lease_can_be_renewed(store: Store) -> None:
    """A slow server may take longer than a lease."""
    store.put(a_message())
    claimed = claim(store)
    with store.writing() as connection:
        queue.renew(connection, claimed, lease=LEASE, now=clock.now() + 10 * LEASE)
        queue.recover(connection, clock.now() + 5 * LEASE, hold=False)
    assert store.statuses() == {"sending": 1}


def test_the_claim_uses_its_index_on_sqlite(tmp_path: Path) -> None:
    """A claim must not read the whole outbox."""
    store = Store(f"sqlite:///{tmp_path}/plan.sqlite")
    with store.reading() as connection:
        plan = connection.execute(
            sa.text(
                "EXPLAIN QUERY PLAN SELECT id FROM interaction_mail_delivery "
                "WHERE status = 'queued' AND priority = 0 AND due_at <= '2030-01-01' "
                "ORDER BY due_at LIMIT 50"
            )
        ).all()
    assert "ix_interaction_mail_delivery_due" in str(plan)
    assert "TEMP" not in str(plan)
    store.engine.dispose()


def test_a_claim_goes_by_index_on_postgresql_before_anybody_has_counted(tmp_path: Path) -> None:
    """Statistics come minutes late; until then a claim must not sort the whole queue."""
    with fresh_database("postgresql", tmp_path) as url:
        store = Store(url)
        store.put(*(a_message() for _ in range(3000)))
        try:
            for query in (queue._PICK_DUE.statement, queue._head(*queue._WHICH)):
                asked = {
                    "wanted": "queued",
                    "rank": Priority.NORMAL.rank,
                    "now": clock.now(),
                    "most": 50,
                }
                plan = _plan(store, query, **asked, **ANY._asdict())
                assert "using ix_interaction_mail_delivery_due" in plan
                assert not {"Sort", "Seq", "Bitmap"} & set(plan.split())
        finally:
            store.engine.dispose()


def _plan(store: Store, query: sa.Select[Any], **asked: object) -> str:
    text = query.compile(store.engine, compile_kwargs={"render_postcompile": True})
    given = {**text.params, **asked}
    with store.reading() as connection:
        by_index(connection)
        return "\n".join(connection.exec_driver_sql(f"EXPLAIN {text}", given).scalars())


def test_two_who_claim_fresh_mail_at_once_get_different_messages(store: Store) -> None:
    """Where rows cannot be locked the second one has to wait before it looks."""
    store.put(*(a_message() for _ in range(4)))
    taken: list[Claimed] = []

    def other() -> None:
        with store.writing() as connection:
            taken.extend(fresh(connection))

    def fresh(connection: sa.Connection) -> list[Claimed]:
        return queue.claim(
            connection, limit=2, worker="w", lease=LEASE, now=clock.now(), only_fresh=True
        )

    with store.writing() as connection:
        ours = fresh(connection)
        beside = threading.Thread(target=other)
        beside.start()
        time.sleep(0.3)
    beside.join(20)
    assert len({one.id for one in [*ours, *taken]}) == len(ours) + len(taken) == 4

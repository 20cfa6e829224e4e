"""Tables divided by day on PostgreSQL, with the SQL of docs/scale.md."""

from __future__ import annotations

import uuid
from collections.abc import Callable, Iterator
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa

from flask_interaction_mail import clock, get_notification, operations, send_notification
from flask_interaction_mail.outbox import claim as queue
from flask_interaction_mail.outbox import retention
from flask_interaction_mail.outbox.insert import insert
from flask_interaction_mail.storage import migrations
from flask_interaction_mail.storage.tables import DELIVERY, MESSAGE, RECIPIENT
from flask_interaction_mail.values import ENDED, Status
from scale.partitions import divide, documented, run
from tests.catcher import Catcher
from tests.databases import fresh_database
from tests.host import ADA, Host, opened
from tests.outbox_rows import a_message

DEFAULT = "interaction_mail_days.interaction_mail_message"
LONG_AGO = timedelta(days=20)  # older than what the daily script keeps


@pytest.fixture
def host(tmp_path: Path, catcher: Catcher) -> Iterator[Host]:
    """A host whose tables are divided: a part for today and one for long ago."""
    with fresh_database("postgresql", tmp_path) as url, opened(url) as host:
        host.configure(smtp_port=catcher.port)
        divide(engine(host), [today(), today() - LONG_AGO])
        yield host


def engine(host: Host) -> sa.Engine:
    found = host.state.database.bind
    assert isinstance(found, sa.Engine)
    return found


def today() -> date:
    return datetime.now(UTC).date()


def part_of(day: date) -> str:
    return f"{DEFAULT}_{day:%Y%m%d}"


def send(host: Host, subject: str, key: str | None = None) -> uuid.UUID:
    with host.app.app_context():
        stored = send_notification(ADA, subject, text="x", key=key)
        host.db.session.commit()
        return stored.id


def put_on(host: Host, day: date, status: Status) -> uuid.UUID:
    """A message with an id of another day."""
    with engine(host).begin() as connection:
        low = connection.scalar(sa.select(sa.func.interaction_mail_days.first_id(day)))
        message = a_message(status=status)
        id = uuid.UUID(int=uuid.UUID(str(low)).int | message.id.int & (1 << 80) - 1)
        insert(connection, [message._replace(id=id)])
    return id


def parts(host: Host, table: sa.Table = MESSAGE) -> dict[uuid.UUID, str]:
    """The part of the table in which each message is found."""
    place = sa.text(
        f"SELECT {'message_id' if table is RECIPIENT else 'id'}, tableoid::regclass::text"
    )
    with engine(host).connect() as connection:
        return dict(connection.execute(sa.text(f"{place} FROM {table.name}")).all())


def daily(host: Host) -> None:
    with engine(host).begin() as connection:
        run(connection, documented()[1])


def test_messages_with_and_without_a_key_are_stored_and_delivered(
    host: Host, catcher: Catcher
) -> None:
    """One lies in the part of its day, one with a key in the default part; each leaves once."""
    plain, keyed = send(host, "plain"), send(host, "keyed", key="invoice-7")
    assert send(host, "again", key="invoice-7") == keyed

    assert host.dispatcher().drain().sent == 2

    assert sorted(mail.message["Subject"] for mail in catcher.mails) == ["keyed", "plain"]
    expected = {plain: part_of(today()), keyed: DEFAULT}
    assert parts(host) == expected
    for table in (DELIVERY, RECIPIENT):
        assert parts(host, table) == {
            id: part.replace("message", table.name.rpartition("_")[2])
            for id, part in expected.items()
        }


def test_what_was_there_before_stays_and_is_delivered(tmp_path: Path, catcher: Catcher) -> None:
    """Dividing copies nothing: what was stored becomes the default part, and its day is emptied
    out of it."""
    with fresh_database("postgresql", tmp_path) as url, opened(url) as host:
        host.configure(smtp_port=catcher.port)
        before = send(host, "before")

        divide(engine(host), [])
        assert parts(host) == {before: DEFAULT}
        with engine(host).begin() as connection:
            connection.execute(sa.select(sa.func.interaction_mail_days.add_day(today())))

        assert parts(host) == {before: part_of(today())}
        assert host.dispatcher().drain().sent == 1


def test_a_day_is_dropped_and_what_still_waits_is_kept(host: Host, catcher: Catcher) -> None:
    """The final ones go with their recipients; one that waits moves, and is delivered."""
    gone = put_on(host, today() - LONG_AGO, Status.SENT)
    waiting = put_on(host, today() - LONG_AGO, Status.QUEUED)
    held = put_on(host, today() - LONG_AGO, Status.HELD)
    new = send(host, "new")
    assert set(parts(host).values()) == {part_of(today() - LONG_AGO), part_of(today())}

    daily(host)

    assert parts(host) == {waiting: DEFAULT, held: DEFAULT, new: part_of(today())}
    assert gone not in parts(host, RECIPIENT)
    assert host.dispatcher().drain().sent == 2
    with host.app.app_context():
        assert get_notification(gone) is None
        found = get_notification(waiting)
        assert found is not None
        assert found.status is Status.SENT


def test_the_daily_script_may_run_again(host: Host) -> None:
    """Days that are there are left alone; tomorrow gets its part before it begins."""
    daily(host)
    daily(host)
    tomorrow = put_on(host, today() + timedelta(days=1), Status.QUEUED)
    assert parts(host) == {tomorrow: part_of(today() + timedelta(days=1))}


def test_nothing_is_dropped_where_somebody_is_in_the_way(host: Host) -> None:
    """A long transaction of the host: the script gives up after two seconds, to be run again."""
    gone = put_on(host, today() - LONG_AGO, Status.SENT)
    with engine(host).connect() as reader:
        reader.execute(sa.select(MESSAGE.c.id)).all()
        with pytest.raises(Exception, match="lock timeout"):
            daily(host)
    assert set(parts(host)) == {gone}
    daily(host)
    assert parts(host) == {}


def test_a_day_whose_ids_are_in_the_default_part_already_is_added(host: Host) -> None:
    """Ids of keys may fall on any day, and a day may be added late: the rows move over."""
    early = put_on(host, today() + timedelta(days=2), Status.DEFERRED)
    assert parts(host) == {early: DEFAULT}
    daily(host)
    assert parts(host) == {early: part_of(today() + timedelta(days=2))}
    assert set(parts(host, RECIPIENT)) == {early}


def test_claims_use_the_indexes_of_every_part(host: Host) -> None:
    """What is due is found in its order by merging indexes; no part with rows is read whole."""
    with engine(host).begin() as connection:
        insert(connection, [a_message() for _ in range(2000)])
        connection.execute(sa.text("ANALYZE interaction_mail_delivery"))

    looks = [plan for sql, plan in explained(host, claim) if "SKIP LOCKED" in sql]

    # What was lost; of what is urgent, and of the rest: what is to be tried again, what is new.
    assert len(looks) == 5
    for plan in looks:
        assert uses_an_index_of_today(plan)
    assert "Merge Append" in looks[-1]


def claim(host: Host) -> None:
    with engine(host).connect() as connection:
        lease = timedelta(seconds=60)
        assert queue.claim(connection, limit=400, worker="w", lease=lease, now=clock.now())
        connection.rollback()


def explained(host: Host, action: Callable[[Host], object]) -> list[tuple[str, str]]:
    """The statements of ``action`` with the database's plans for them."""
    seen: list[tuple[str, Any]] = []

    def note(_: object, __: object, statement: str, parameters: Any, *___: object) -> None:
        seen.append((statement, parameters))

    sa.event.listen(engine(host), "before_cursor_execute", note)
    action(host)
    sa.event.remove(engine(host), "before_cursor_execute", note)
    with engine(host).connect() as connection:
        return [
            (sql, "\n".join(connection.exec_driver_sql(f"EXPLAIN {sql}", values).scalars()))
            for sql, values in seen
            if not sql.startswith(("SAVEPOINT", "RELEASE"))
        ]


def uses_an_index_of_today(plan: str) -> bool:
    part = part_of(today()).partition(".")[2].replace("message", "delivery")
    return f"using {part}" in plan and f"Seq Scan on {part}" not in plan


def test_the_purge_uses_an_index(host: Host) -> None:
    """It reads no part as a whole to find that nothing in it is old enough."""
    with engine(host).begin() as connection:
        insert(connection, [a_message(status=Status.SENT) for _ in range(2000)])
        connection.execute(sa.text("ANALYZE interaction_mail_delivery"))

    looks = [
        plan
        for sql, plan in explained(host, lambda host: operations.purge(host.state))
        if "LIMIT" in sql
    ]

    assert len(looks) == 1 + len(ENDED)  # whole messages, and texts of each status
    for plan in looks:
        assert uses_an_index_of_today(plan)


def test_the_purge_removes_rows_wherever_they_lie(host: Host) -> None:
    """Of a part that is kept, and of the default part."""
    old = [put_on(host, today(), Status.SENT), put_on(host, date(2020, 1, 1), Status.SENT)]
    kept = put_on(host, today(), Status.SENT)
    with engine(host).begin() as connection:
        at = clock.now() - timedelta(days=100)
        connection.execute(
            sa.update(DELIVERY).where(DELIVERY.c.id.in_(old)).values(created_at=at, finished_at=at)
        )

    assert operations.purge(host.state).messages == 2

    assert set(parts(host)) == {kept}


def test_an_address_is_erased_from_all_parts(host: Host) -> None:
    """From today's, from an old one, and from the default part."""
    for day in (today(), today() - LONG_AGO, date(2020, 1, 1)):
        put_on(host, day, Status.SENT)

    erased = retention.erase(host.state.database, "ada@firm.example", now=clock.now())

    assert erased.messages == 3
    assert set(host.recipients()) == {retention.ERASED}


def test_nobody_else_sees_the_parts(host: Host) -> None:
    """The tables are found to be as they must be, though only the parts have foreign keys."""
    assert migrations.differences(engine(host)) == []
    names = sa.inspect(engine(host)).get_table_names()
    assert not [name for name in names if name[-1].isdigit()]


def test_parts_are_stored_as_the_default_part_is(host: Host) -> None:
    """Room for verdicts, and what an operator has set for autovacuum, is there on new days, too."""
    with engine(host).begin() as connection:
        run(connection, f"ALTER TABLE {DEFAULT} SET (autovacuum_vacuum_scale_factor = 0.02)")
    daily(host)
    tomorrow = part_of(today() + timedelta(days=1))
    query = sa.text("SELECT reloptions FROM pg_class WHERE oid = CAST(:name AS regclass)")
    with engine(host).connect() as connection:
        for table in ("message", "recipient", "attempt"):
            new, default = (
                connection.scalar(query, {"name": one.replace("message", table)})
                for one in (tomorrow, DEFAULT)
            )
            assert new == default


def test_a_day_that_lacks_the_newer_tables_is_completed(host: Host, catcher: Catcher) -> None:
    """As after an update of a site that was divided before there were these tables."""
    id = send(host, "before")
    part = part_of(today()).replace("message", "delivery")
    with engine(host).begin() as connection:
        for statement in (
            f"ALTER TABLE {DEFAULT.replace('message', 'delivery')}"
            " DROP CONSTRAINT fk_interaction_mail_delivery_message",
            f"ALTER TABLE interaction_mail_delivery DETACH PARTITION {part}",
            f"INSERT INTO interaction_mail_delivery SELECT * FROM {part}",
            f"DROP TABLE {part}",
        ):
            connection.execute(sa.text(statement))
        connection.execute(sa.select(sa.func.interaction_mail_days.add_day(today())))
    assert parts(host, DELIVERY) == {id: part}
    assert host.dispatcher().drain().sent == 1
    daily(host)
    assert parts(host, DELIVERY) == {id: part}

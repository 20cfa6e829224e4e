"""Rows that go to SQLite's driver as they are."""

from __future__ import annotations

import uuid
from collections.abc import Iterator
from datetime import datetime
from typing import Any

import pytest
import sqlalchemy as sa

from flask_interaction_mail.storage.driver_rows import add_rows, change_rows, takes_rows
from flask_interaction_mail.storage.tables import (
    DELIVERY,
    MESSAGE,
    METADATA,
    OURS,
    RECIPIENT,
    TALLY,
)
from flask_interaction_mail.values import Reason

MOMENT = datetime(2026, 11, 29, 12, 0, 0)  # noqa: DTZ001 - as the database keeps it
VALUES: dict[type, Any] = {
    sa.Uuid: uuid.UUID(int=7),
    sa.Boolean: True,
    sa.Integer: 3,
    sa.DateTime: MOMENT,
    sa.LargeBinary: "Zoë".encode(),
    sa.String: Reason.EXPIRED,
    sa.Text: "Zoë",
}


@pytest.fixture
def connection() -> Iterator[sa.Connection]:
    engine = sa.create_engine("sqlite://", execution_options={"schema_translate_map": {None: "o"}})
    with engine.connect() as connection:
        connection.exec_driver_sql("ATTACH ':memory:' AS o")
        OURS.create_all(connection)
        yield connection
    engine.dispose()


@pytest.mark.parametrize("table", [MESSAGE, DELIVERY, RECIPIENT, METADATA], ids=str)
def test_they_are_stored_as_sqlalchemy_stores_them(
    connection: sa.Connection, table: sa.Table
) -> None:
    """Value by value, with its type in the file; in the schema of the connection."""
    row = {column.key: value_for(column) for column in table.c}
    assert takes_rows(connection)
    assert add_rows(connection, table, [row, row | another(table)]) == 2
    ours = stored(connection, table)
    connection.execute(sa.delete(table))
    connection.execute(sa.insert(table), [row, row | another(table)])
    assert ours == stored(connection, table)
    nothing = add_rows(connection, table, [row], behind=" ON CONFLICT DO NOTHING")
    assert nothing == 0


def test_rows_are_changed_as_sqlalchemy_changes_them(connection: sa.Connection) -> None:
    """In the schema of the connection, and no other row; it tells how many there were."""
    first, second, third = ({"id": uuid.UUID(int=number), "hour": MOMENT} for number in (7, 8, 9))
    add_rows(connection, TALLY, [one | {"counts": "{}"} for one in (first, second)])
    counts = {"counts": '{"Zoë":1}'}
    assert change_rows(connection, TALLY, [(counts, first)]) == 1
    ours = stored(connection, TALLY)
    its = sa.and_(TALLY.c.id == first["id"], TALLY.c.hour == first["hour"])
    found = sa.select(sa.func.count()).select_from(TALLY).where(its, TALLY.c.counts != "{}")
    assert connection.scalar(found) == 1
    connection.execute(sa.update(TALLY).where(its).values(counts))
    assert ours == stored(connection, TALLY)
    assert change_rows(connection, TALLY, [(counts, second), (counts, third)]) == 1
    assert change_rows(connection, TALLY, [(counts, third)]) == 0


def value_for(column: sa.Column[Any]) -> object:
    return next(value for kind, value in VALUES.items() if isinstance(column.type, kind))


def another(table: sa.Table) -> dict[str, object]:
    """Another primary key, and NULL where that may be."""
    changed: dict[str, object] = {column.key: None for column in table.c if column.nullable}
    changed[next(iter(table.primary_key.columns)).key] = uuid.UUID(int=8)
    return changed


def stored(connection: sa.Connection, table: sa.Table) -> list[Any]:
    columns = ", ".join(f'"{column.name}", typeof("{column.name}")' for column in table.c)
    rows = connection.exec_driver_sql(f"SELECT {columns} FROM o.{table.name}")
    return sorted(map(tuple, rows), key=repr)

"""Rows fetched in one document, on every database: as the driver would give them one by one."""

from __future__ import annotations

import uuid
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path

import pytest
import sqlalchemy as sa

from flask_interaction_mail.storage.json_rows import JsonQuery
from tests.databases import DIALECTS, fresh_database

_THINGS = sa.Table(
    "things",
    sa.MetaData(),
    sa.Column("place", sa.Integer, primary_key=True, autoincrement=False),
    sa.Column("id", sa.Uuid),
    sa.Column("at", sa.DateTime),
    sa.Column("yes", sa.Boolean),
    sa.Column("text", sa.Text),
    sa.Column("data", sa.LargeBinary),
    sa.Column("large", sa.BigInteger),
)
_ID = uuid.UUID("01900000-0000-7000-8000-00000000000a")
_TEXT = "quote ' double \" back \\ \u00e9\u4e2d\n\t\x1b"
_ROWS = [
    (0, _ID, datetime(2026, 3, 1, 12, 30, 0, 0), True, _TEXT, bytes(range(256)), 2**62),  # noqa: DTZ001 - as the database keeps it
    (1, None, None, None, None, b"", None),
    (2, _ID, None, False, "", b"x", -1),
]
_ALL = JsonQuery(
    sa.select(_THINGS)
    .where(_THINGS.c.place < sa.bindparam("below"))
    .order_by(_THINGS.c.place.desc())
    .limit(sa.bindparam("most"))
)


@pytest.fixture(params=DIALECTS)
def connection(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[sa.Connection]:
    with fresh_database(request.param, tmp_path) as url:
        engine = sa.create_engine(url)
        with engine.connect() as connection:
            _THINGS.create(connection)
            for row in _ROWS:
                connection.execute(sa.insert(_THINGS).values(row))
            connection.commit()
            yield connection
        engine.dispose()


@pytest.mark.parametrize("few_bytes", [True, False])
def test_rows_come_as_they_went_in(connection: sa.Connection, few_bytes: bool) -> None:
    """Of every type, with nothing in them too, in the order of the query."""
    rows = _ALL.rows(connection, {"below": 3, "most": 10}, few_bytes=few_bytes)
    assert [tuple(row) for row in rows] == _ROWS[::-1]
    rows = _ALL.rows(connection, {"below": 3, "most": 2}, few_bytes=few_bytes)
    assert [row[0] for row in rows] == [2, 1]


def test_no_rows(connection: sa.Connection) -> None:
    """Nothing is found, and nothing breaks."""
    assert list(_ALL.rows(connection, {"below": 0, "most": 10})) == []

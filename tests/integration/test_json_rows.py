"""Rows given to a statement as one document, on every database."""

from __future__ import annotations

from datetime import datetime

import pytest
import sqlalchemy as sa

from flask_interaction_mail.messages.message import new_id
from flask_interaction_mail.storage.json_rows import json_table, rows_parameter
from flask_interaction_mail.storage.tables import ATTEMPT, MESSAGE
from tests.outbox_rows import Store, a_message

MOMENT = datetime(2026, 3, 1, 12, 30, 0, 5)  # noqa: DTZ001 - as the database keeps it


def test_values_come_out_as_they_went_in(store: Store) -> None:
    """Ids, times with and without a fraction, numbers, nothing, and every kind of text."""
    message = a_message()
    store.put(message)
    text = "quote ' double \" back \\ percent %s :name {}\u00e9\U0001f600\n"
    rows = [
        (
            message.id,
            1,
            MOMENT,
            MOMENT.replace(microsecond=0),
            "a:25",
            "w",
            "x",
            "y",
            text,
            "",
            None,
            "0102-1",
        ),
        (message.id, 2, MOMENT, None, "a:25", "w", "x", "y", None, "{}", "bob@firm.example", None),
    ]
    table = json_table(*ATTEMPT.c)
    insert = sa.insert(ATTEMPT).from_select(list(ATTEMPT.c.keys()), sa.select(table))
    with store.writing() as connection:
        connection.execute(insert, rows_parameter(rows))
    with store.reading() as connection:
        stored = connection.execute(sa.select(ATTEMPT).order_by(ATTEMPT.c.number)).all()
    assert [tuple(row) for row in stored] == rows


def test_no_row_and_many_rows(store: Store) -> None:
    """Nothing is found for no row; a thousand are one statement."""
    messages = [a_message() for _ in range(1000)]
    store.put(*messages)
    table = json_table(MESSAGE.c.id, sa.column("place", sa.Integer()))
    query = sa.select(table.c.place).join_from(table, MESSAGE, MESSAGE.c.id == table.c.id)
    with store.reading() as connection:
        assert connection.scalars(query, rows_parameter([])).all() == []
        wanted = [(one.id, at) for at, one in enumerate(messages)]
        wanted.append((new_id(), 1000))
        assert sorted(connection.scalars(query, rows_parameter(wanted))) == list(range(1000))


def test_what_has_no_place_in_a_row_is_refused() -> None:
    """Bytes would come out as something else."""
    with pytest.raises(TypeError, match="bytes"):
        rows_parameter([(b"x",)])

"""What is too large for the database is refused at the call; nothing is sent larger than it is."""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa

from flask_interaction_mail import ContentError, send_notification
from flask_interaction_mail.outbox.insert import insert
from flask_interaction_mail.storage.tables import MESSAGE
from tests.databases import fresh_database
from tests.host import Host, opened
from tests.outbox_rows import a_message

LIMIT = 2_097_152  # bytes; multiples of 1024 alone


@pytest.fixture
def mariadb(tmp_path: Path) -> Iterator[Host]:
    """A host whose database takes 2 MiB at once, as its server gave 16."""
    with fresh_database("mariadb", tmp_path) as url, opened(url) as host:
        server = sa.create_engine(url, isolation_level="AUTOCOMMIT")
        with server.connect() as connection:
            # Not for the whole server, which other tests use: for those who connect meanwhile.
            connection.execute(sa.text(f"SET GLOBAL max_allowed_packet = {LIMIT}"))
            try:
                with host.app.app_context():
                    host.db.engine.dispose()
                    kept = [host.db.engine.connect() for _ in range(3)]
                    for one in kept:
                        one.close()
            finally:
                connection.execute(sa.text("SET GLOBAL max_allowed_packet = DEFAULT"))
        server.dispose()
        host.state.database.tables_seen = False
        host.configure()
        yield host


def send(host: Host, **content: Any) -> None:
    with host.app.app_context():
        host.db.session.add(host.Thing(name="t"))
        send_notification("bob", "Hello", **({"text": "x"} | content))
        host.db.session.commit()


def attached(size: int) -> dict[str, Any]:
    return {"attachments": [("a.pdf", "application/pdf", os.urandom(size))]}


KINDS = {
    "attachment": lambda size: attached(int(size * 0.75)),
    "text": lambda size: {"text": 'A line that is "quoted", and ended.\n' * (size // 36)},
    "letters": lambda size: {"text": "ř" * (size // 2)},
    "backslashes": lambda size: {"text": "\\" * (size // 2)},
    "control characters": lambda size: {"text": "\x01" * (size // 3)},
    "emoji in HTML": lambda size: {"html": "<p>😀" * (size // 7)},
}


@pytest.mark.parametrize("keyed", [False, True])
@pytest.mark.parametrize("kind", KINDS)
def test_what_passes_the_call_is_stored(mariadb: Host, kind: str, keyed: bool) -> None:
    """Around the limit: an error at the call or a commit that goes through, none that fails."""
    refused: list[str] = []
    for number, share in enumerate((0.1, 0.3, 0.4, 0.42, 0.44, 0.46, 0.48, 0.5, 0.8, 1.2)):
        content = KINDS[kind](int(LIMIT * share))
        key = {"key": f"k{number}"} if keyed else {}
        try:
            with mariadb.app.app_context():
                send_notification("bob", "Hello", **({"text": "x"} | content | key))
                mariadb.db.session.commit()
        except ContentError as error:
            refused.append(str(error))
    assert 0 < len(refused) < 9
    assert all("which takes 2.1 MB at once (max_allowed_packet)" in one for one in refused)
    assert len(mariadb.rows()) == 10 - len(refused)


def test_an_attachment_takes_no_more_than_both_its_copies(mariadb: Host) -> None:
    """What is stored twice, in base64, is not sent in hexadecimal digits as well."""
    size = 700_000
    sent: list[int] = []

    def look(_connection: Any, cursor: Any, statement: str, *_: Any) -> None:
        if statement.startswith("INSERT INTO interaction_mail_message"):
            sent.append(len(cursor._executed))

    with mariadb.app.app_context():
        sa.event.listen(mariadb.db.engine, "after_cursor_execute", look)
        send(mariadb, **attached(size))
    assert size * 2 * 4 / 3 < sent[0] < size * 2.8
    (row,) = mariadb.rows()
    assert row.content.isascii()
    assert len(row.content) == row.size


def test_a_message_with_other_than_ascii_bytes_is_stored_byte_for_byte(mariadb: Host) -> None:
    """SMTPUTF8 brings such headers; they go as bytes."""
    wanted = ["Subject: ř😀\r\n\r\n\0\x1a'\"\\".encode(), bytes(range(128)), b"", bytes(range(256))]
    with mariadb.state.database.writing() as connection:
        for content in wanted:
            insert(connection, [a_message(content=content)])
            insert(connection, [a_message(content=content, key=f"k{len(content)}")])
    with mariadb.state.database.reading() as connection:
        found = list(connection.scalars(sa.select(MESSAGE.c.content)))
    assert sorted(found) == sorted(wanted * 2)


def test_sqlite_refuses_at_the_call_too(tmp_path: Path) -> None:
    """Its limit is that of the library that is in use."""

    def smaller(raw: Any, _: object) -> None:
        raw.setlimit(sqlite3.SQLITE_LIMIT_LENGTH, 1_000_000)

    with opened(f"sqlite:///{tmp_path}/host.sqlite") as host:
        with host.app.app_context():
            sa.event.listen(host.db.engine, "connect", smaller)
            host.db.engine.dispose()
        host.state.database.tables_seen = False
        host.configure()
        send(host, **attached(300_000))
        with pytest.raises(
            ContentError, match=r"takes 1\.1 MB in the database, which takes 1\.0 MB"
        ):
            send(host, **attached(400_000))
        assert len(host.rows()) == 1

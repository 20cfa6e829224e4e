"""MariaDB whose own character set lacks letters: our tables have all of them."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
import sqlalchemy as sa

from flask_interaction_mail import Notification, Party, get_notification, send_notification
from flask_interaction_mail.storage.tables import MESSAGE, TABLES
from tests.catcher import Catcher, catching
from tests.databases import fresh_database
from tests.host import Host, opened
from tests.terminal import done, run

LETTERS = "Dvořák 😀 ඔ"


@pytest.fixture
def catcher() -> Iterator[Catcher]:
    with catching() as catcher:
        yield catcher


@pytest.fixture(
    params=["latin1", "utf8mb3", "utf8mb4 COLLATE utf8mb4_unicode_ci", "latin1 COLLATE latin1_bin"]
)
def url(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[str]:
    options = f"CHARACTER SET {request.param}"
    with fresh_database("mariadb", tmp_path, options=options) as url:
        yield url


def send(host: Host, *to: str, **others: str) -> Notification:
    with host.app.app_context():
        people = [Party(LETTERS, one) for one in to]
        sent = send_notification(people, LETTERS, text=LETTERS, **others)
        host.db.session.commit()
        return sent


def test_every_letter_is_kept_at_every_stage(url: str, catcher: Catcher) -> None:
    """Names, subject, key, and what the server said."""
    catcher.refuse["zoe@firm.example"] = f"550 5.1.1 {LETTERS}"
    with opened(url) as host:
        host.configure(smtp_port=catcher.port, sender_name=LETTERS)
        sent = send(host, "zoe", "bob", key=LETTERS)
        host.state.dispatcher().drain()
        with host.app.app_context():
            found = get_notification(key=LETTERS)
        assert found is not None
        assert (found.id, found.subject) == (sent.id, LETTERS)
        assert [one.name for one in found.recipients] == [LETTERS] * 2
        assert found.recipients[0].reply == f"550 5.1.1 {LETTERS}"
        assert LETTERS in host.rows()[0].detail
        assert LETTERS in done(host, "outbox", "show", str(sent.id)).out
        assert characters(host)["health"] == "ok"


def test_what_was_held_leaves(url: str, catcher: Catcher) -> None:
    """Addresses are compared with what is given beside them."""
    with opened(url, INTERACTION_MAIL_RATE=1) as host:
        host.configure(smtp_port=catcher.port)
        for _ in range(2):
            send(host, "bob")
        host.state.dispatcher().drain()
        with host.state.database.writing() as connection:
            over = sa.update(MESSAGE).where(MESSAGE.c.status == "held")
            connection.execute(over.values(due_at=MESSAGE.c.created_at))
        host.state.dispatcher().drain()
        assert [row.status for row in host.rows()] == ["sent", "sent"]


@pytest.mark.parametrize("old", ["latin1", "utf8mb3"])
def test_doctor_names_old_tables_and_what_mends_them(tmp_path: Path, old: str) -> None:
    """The statements that it gives are right as they stand, and keep what is stored."""
    with fresh_database("mariadb", tmp_path) as url, opened(url) as host:
        host.configure()
        with host.app.app_context():
            send_notification(Party("Zoë", "bob"), "Grüße", text="x")
            host.db.session.commit()
        with host.app.app_context(), host.db.engine.begin() as connection:
            connection.execute(sa.text("SET foreign_key_checks = 0"))
            for table in TABLES:
                convert = f"ALTER TABLE {table.name} CONVERT TO CHARACTER SET {old}"
                connection.execute(sa.text(convert))
            connection.execute(sa.text("SET foreign_key_checks = 1"))

        said = characters(host)
        assert said["health"] == "wrong"
        assert f"interaction_mail_message ({old})" in said["text"]
        statements = said["text"].partition("in one session: ")[2].split(";")
        with host.app.app_context(), host.db.engine.begin() as connection:
            for statement in filter(str.strip, statements):
                connection.execute(sa.text(statement))

        assert characters(host)["health"] == "ok"
        assert host.subjects() == ["Grüße"]
        assert {one["topic"]: one["health"] for one in looks(host)}["tables"] == "ok"
        send(host, "bob", key=LETTERS)
        assert host.subjects() == [LETTERS, "Grüße"]


def looks(host: Host) -> list[dict[str, str]]:
    found: list[dict[str, str]] = run(host, "doctor", "--json").json
    return found


def characters(host: Host) -> dict[str, str]:
    return next(one for one in looks(host) if one["topic"] == "characters")


def test_doctor_names_a_connection_that_lacks_letters(tmp_path: Path) -> None:
    """The best table is of no use then."""
    with fresh_database("mariadb", tmp_path) as url, opened(f"{url}?charset=latin1") as host:
        host.configure()
        said = characters(host)
        assert said["health"] == "wrong"
        assert "speaks latin1" in said["text"]
        assert "charset=utf8mb4" in said["text"]


@pytest.mark.parametrize("level", ["SERIALIZABLE", "REPEATABLE READ"])
def test_doctor_says_what_serializable_means(tmp_path: Path, level: str) -> None:
    """It is the application's choice, so this is a note."""
    options = {"isolation_level": level}
    with (
        fresh_database("postgresql", tmp_path) as url,
        opened(url, SQLALCHEMY_ENGINE_OPTIONS=options) as host,
    ):
        host.configure()
        said = next(one for one in looks(host) if one["topic"] == "isolation")
        strict = level == "SERIALIZABLE"
        assert said["health"] == ("note" if strict else "ok")
        assert ("Try such a transaction again" in said["text"]) is strict

"""Databases whose own character set lacks letters: mail has all of them nevertheless."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
import sqlalchemy as sa

from flask_interaction_mail import (
    ContentError,
    Notification,
    Party,
    cancel_notification,
    get_notification,
    operations,
    request_merge,
    send_notification,
)
from flask_interaction_mail.outbox.returned import Outcome
from flask_interaction_mail.storage.tables import DELIVERY, TABLES
from tests.catcher import Catcher
from tests.databases import fresh_database
from tests.host import Host, a_merge, opened
from tests.reports import report
from tests.terminal import done, run

LETTERS = "Dvořák 😀 ඔ"


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
        host.dispatcher().drain()
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
        host.dispatcher().drain()
        with host.state.database.writing() as connection:
            over = sa.update(DELIVERY).where(DELIVERY.c.status == "held")
            connection.execute(over.values(due_at=DELIVERY.c.created_at))
        host.dispatcher().drain()
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
    with fresh_database("mariadb", tmp_path) as url, opened(f"{url}&charset=latin1") as host:
        host.configure()
        said = characters(host)
        assert said["health"] == "wrong"
        assert "speaks latin1" in said["text"]
        assert "charset=utf8mb4" in said["text"]


LATIN = "ENCODING 'LATIN1' TEMPLATE template0 LC_COLLATE 'C' LC_CTYPE 'C'"


@pytest.fixture(params=["psycopg", "psycopg2"])
def latin(request: pytest.FixtureRequest, tmp_path: Path, catcher: Catcher) -> Iterator[Host]:
    """A host on a PostgreSQL database that has no other letters than Latin-1."""
    with (
        fresh_database("postgresql", tmp_path, options=LATIN) as url,
        opened(url.replace("+psycopg:", f"+{request.param}:")) as host,
    ):
        host.configure(smtp_port=catcher.port)
        yield host


def test_letters_that_postgresql_lacks_leave_and_break_no_commit(
    latin: Host, catcher: Catcher
) -> None:
    """The outbox shows their numbers; the mail has them, and so has what is sent again."""
    latin.configure(smtp_port=catcher.port, default_from_name=LETTERS)
    sent = send(latin, "bob")
    latin.dispatcher().drain()
    operations.resend(latin.state, sent.id)
    latin.dispatcher().drain()
    with latin.app.app_context():
        found = get_notification(sent.id)
    shown = LETTERS.encode("latin-1", "backslashreplace").decode("latin-1")
    assert found is not None
    assert (found.subject, found.recipients[0].name) == (shown, shown)
    for mail in catcher.mails:
        assert mail.message["Subject"] == LETTERS
        assert LETTERS in mail.message["To"]
        assert mail.message.get_content().strip() == LETTERS
    assert len(catcher.mails) == 2


def test_what_comes_back_is_noted_whatever_letters_it_has(latin: Host) -> None:
    """None of them stops the reading of a mailbox, in which it would be met again and again."""
    sent = send(latin, "bob")
    latin.dispatcher().drain()
    named = f"<a\0b@x> <{LETTERS[0]}😀@x>"
    foreign = report(named, "bob@firm.example")
    ours = report(
        f"{named} {sent.message_id}", "bob@firm.example", diagnostic=f"smtp; 550 {LETTERS}"
    )
    with latin.app.app_context():
        assert operations.outcome_of_report(latin.state, foreign) is Outcome.FOREIGN
        assert operations.outcome_of_report(latin.state, ours) is Outcome.NOTED
        found = get_notification(sent.id)
    assert found is not None
    shown = LETTERS.encode("ascii", "backslashreplace").decode()
    assert found.recipients[0].report == f"550 {shown}"


def test_a_denial_in_letters_that_postgresql_lacks_is_stored(latin: Host) -> None:
    """A visitor's name is no reason to lose what the page tells of."""
    with latin.app.app_context():
        latin.db.session.add(latin.Thing(name="t"))
        assert request_merge(a_merge(requester=Party(LETTERS, "ann", id=LETTERS))) is not None
        latin.db.session.commit()
    (row,) = latin.rows()
    assert row.status == "queued"


def test_what_postgresql_must_store_to_the_letter_is_refused_at_the_call(latin: Host) -> None:
    """A key or an address with other letters would be another one."""
    with latin.app.app_context():
        latin.db.session.add(latin.Thing(name="t"))
        for arguments in ({"key": LETTERS}, {"cc": ["dvořák@firm.example"]}):
            with pytest.raises(ContentError, match=r"'ř' .* LATIN1"):
                send_notification("bob", "Hello", text="x", **arguments)
        for function in (get_notification, cancel_notification):
            with pytest.raises(ContentError, match=r"key .*'ř' .* LATIN1"):
                function(key=LETTERS)
        latin.db.session.commit()
    assert latin.rows() == []


def test_doctor_names_a_postgresql_database_that_lacks_letters(latin: Host) -> None:
    """And what to do about it."""
    said = characters(latin)
    assert said["health"] == "wrong"
    assert "LATIN1" in said["text"]
    assert "ENCODING 'UTF8'" in said["text"]


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

"""What a key stands for: one notification, as long as that waits or has left."""

from __future__ import annotations

import threading
import uuid
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa

from flask_interaction_mail import (
    ContentError,
    Notification,
    cancel_notification,
    clock,
    get_notification,
    send_notification,
)
from flask_interaction_mail.messages.message import id_of_key
from flask_interaction_mail.storage.tables import ATTEMPT, MESSAGE, RECIPIENT
from tests import outbox_rows
from tests.catcher import Catcher
from tests.databases import fresh_database
from tests.host import Host

KEY = "order-1"


def send(host: Host, subject: str = "Hello", key: str | None = KEY) -> Notification:
    with host.app.app_context():
        notification = send_notification("bob", subject, text="x", key=key)
        host.db.session.commit()
        return notification


def ask(host: Host, *given: Any, **named: Any) -> Notification | None:
    with host.app.app_context():
        return get_notification(*given, **named)


def call_back(host: Host, *given: Any, **named: Any) -> bool:
    with host.app.app_context():
        return cancel_notification(*given, **named)


def change(host: Host, id: uuid.UUID, **values: Any) -> None:
    with host.app.app_context(), host.db.engine.begin() as connection:
        outbox_rows.change(connection, id, **values)


# -- which one is meant ------------------------------------------------------------------

NAMES = [str(uuid.UUID(int=7, version=4)), "d41d8cd98f00b204e9800998ecf8427e", "order-1"]


@pytest.mark.parametrize("key", NAMES, ids=["uuid4", "md5", "word"])
@pytest.mark.parametrize("committed", [True, False])
def test_a_key_that_looks_like_an_id_is_a_key(host: Host, key: str, committed: bool) -> None:
    """A bare text is tried as a key first, stored or waiting; as ``key=`` it is nothing else."""
    with host.app.app_context():
        sent = send_notification("bob", "Hello", text="x", key=key)
        if committed:
            host.db.session.commit()
        assert get_notification(key) == get_notification(key=key) == sent
        assert cancel_notification(key) is True
        assert cancel_notification(key=key) is False
        host.db.session.commit()


def test_a_bare_text_is_an_id_where_no_key_is_like_it(any_host: Host) -> None:
    """The text of an id, and ``id=`` in both forms, name the message with that id."""
    sent = send(any_host)
    for found in (
        ask(any_host, sent.id),
        ask(any_host, str(sent.id)),
        ask(any_host, id=sent.id),
        ask(any_host, id=str(sent.id)),
    ):
        assert found == sent
    assert ask(any_host, "nothing") is None
    assert ask(any_host, key=str(sent.id)) is None
    assert call_back(any_host, key=str(sent.id)) is False
    assert call_back(any_host, id=str(sent.id)) is True


def test_an_id_is_never_taken_for_a_key(host: Host) -> None:
    """``id=`` finds nothing where a key alone has that form."""
    send(host, key=NAMES[0])
    assert ask(host, id=NAMES[0]) is None
    assert call_back(host, uuid.UUID(NAMES[0])) is False


def test_keys_that_differ_in_case_or_accents_are_different(any_host: Host) -> None:
    """Also in a database that compares texts more loosely."""
    ids = {send(any_host, key=key).id for key in ("Order", "order", "ørder", "order ", "órder")}
    assert len(ids) == 5
    assert call_back(any_host, key="ORDER") is False


@pytest.mark.parametrize("function", [get_notification, cancel_notification])
def test_what_is_meant_has_to_be_said_once(host: Host, function: Any) -> None:
    """Nothing, both, or an id that is none are errors that say what is wanted."""
    with host.app.app_context():
        with pytest.raises(TypeError, match="give one of them"):
            function()
        with pytest.raises(TypeError, match="give one of them"):
            function("x", key="x")
        with pytest.raises(TypeError, match="not int"):
            function(7)
        with pytest.raises(ContentError, match="id must be a UUID, not 'order-1'"):
            function(id=KEY)


@pytest.mark.parametrize("function", [get_notification, cancel_notification])
def test_what_cannot_be_a_key_is_said_before_the_database_is_asked(
    any_host: Host, function: Any
) -> None:
    """Some databases have errors of their own for such texts."""
    with any_host.app.app_context():
        for text in ("", "k" * 256, "a\0b", "\ud800"):
            with pytest.raises(ContentError, match="key takes a text of 1 to 255"):
                function(key=text)
            with pytest.raises(ContentError, match="key takes a text of 1 to 255"):
                function(text)
        with pytest.raises(TypeError, match=r"For a UUID give str\(id\)"):
            function(key=uuid.uuid4())


# -- when it is free again ---------------------------------------------------------------


def refuse(host: Host, catcher: Catcher) -> Notification:
    catcher.refuse["bob@firm.example"] = "550 5.1.1 unknown"
    sent = send(host)
    host.dispatcher().drain()
    catcher.refuse.clear()
    return sent


def expire(host: Host, _: Catcher) -> Notification:
    sent = send(host)
    change(host, sent.id, expires_at=clock.now())
    host.dispatcher().drain()
    return sent


def suppress(host: Host, _: Catcher) -> Notification:
    host.app.config["MAIL_SUPPRESS_SEND"] = True
    sent = send(host)
    host.app.config["MAIL_SUPPRESS_SEND"] = False
    return sent


def withdraw(host: Host, _: Catcher) -> Notification:
    sent = send(host)
    assert call_back(host, key=KEY)
    return sent


@pytest.mark.parametrize("end", [withdraw, refuse, expire, suppress])
def test_a_final_message_that_has_not_left_frees_its_key(
    any_host: Host, catcher: Catcher, end: Any
) -> None:
    """The next call sends; it is the one that the key means now, and names the one before."""
    host = any_host
    host.configure(smtp_port=catcher.port)
    first = end(host, catcher)
    assert first.earlier is None

    second = send(host, "Again")

    assert (second.subject, second.earlier, second.status) == ("Again", first.id, "queued")
    assert second.id != first.id
    assert ask(host, key=KEY) == second
    found = ask(host, second.earlier)
    assert found is not None
    assert found.status.final
    assert send(host, "Once more").id == second.id  # it waits
    host.dispatcher().drain()
    assert send(host, "Once more").id == second.id  # it has left
    assert len(catcher.mails) == 1


def test_the_third_follows_the_second(host: Host) -> None:
    """Each names the one before, and their ids follow from key and number alone."""
    sent = []
    for _ in range(3):
        sent.append(send(host))
        call_back(host, KEY)
    assert [one.earlier for one in sent] == [None, sent[0].id, sent[1].id]
    assert [one.id for one in sent] == [id_of_key(KEY, number) for number in range(3)]
    assert sent[0].id == uuid.uuid5(uuid.UUID("3d5d1cf4-6d1e-4f0c-9d0e-52b3c5b1a0f6"), KEY)


def test_the_number_goes_on_when_the_log_has_forgotten_the_first(host: Host) -> None:
    """A number is never given twice while a later one is known."""
    first = send(host)
    call_back(host, KEY)
    second = send(host)
    call_back(host, KEY)
    with host.app.app_context(), host.db.engine.begin() as connection:
        for column in (RECIPIENT.c.message_id, MESSAGE.c.id):
            connection.execute(sa.delete(column.table).where(column == first.id))
    third = send(host)
    assert (third.earlier, third.status) == (second.id, "queued")
    assert ask(host, key=KEY) == third


@pytest.mark.parametrize("status", ["queued", "sending", "deferred", "held", "sent"])
def test_one_that_waits_or_was_sent_keeps_its_key(host: Host, status: str) -> None:
    """Whatever it waits for: the same key gives the same notification."""
    first = send(host)
    change(host, first.id, status=status)
    assert send(host, "Again").id == first.id
    assert len(host.rows()) == 1


def test_one_recipient_that_was_reached_keeps_the_key(host: Host, catcher: Catcher) -> None:
    """It has left, though the message as a whole has failed."""
    host.configure(smtp_port=catcher.port)
    catcher.refuse["eve@firm.example"] = "550 5.1.1 unknown"
    with host.app.app_context():
        first = send_notification(["bob", "eve"], "Hello", text="x", key=KEY)
        host.db.session.commit()
    host.dispatcher().drain()
    assert host.rows()[0].status == "failed"
    assert send(host).id == first.id


def ambiguous(host: Host, id: uuid.UUID) -> None:
    values = {"worker": "w", "server": "s", "stage": "content", "verdicts": "{}"}
    with host.app.app_context(), host.db.engine.begin() as connection:
        attempt = {"message_id": id, "number": 1, "started_at": clock.now(), **values}
        connection.execute(sa.insert(ATTEMPT), attempt | {"result": "ambiguous"})


def stopped(host: Host, id: uuid.UUID) -> None:
    change(host, id, lost_leases=1)


@pytest.mark.parametrize("doubt", [ambiguous, stopped])
def test_one_that_may_have_left_keeps_its_key(host: Host, doubt: Any) -> None:
    """An attempt whose end nobody knows counts as one that reached somebody."""
    first = send(host)
    doubt(host, first.id)
    assert call_back(host, KEY)
    assert send(host).id == first.id


def test_a_rollback_of_the_calling_back_keeps_the_key(any_host: Host) -> None:
    """In the transaction that calls back the key is free, after its rollback it is not."""
    first = send(any_host)
    with any_host.app.app_context():
        any_host.db.session.execute(sa.select(1))
        assert cancel_notification(key=KEY) is True
        second = send_notification("bob", "Again", text="x", key=KEY)
        assert (second.earlier, get_notification(key=KEY)) == (first.id, second)
        any_host.db.session.rollback()
        assert get_notification(key=KEY) == first
        assert send_notification("bob", "Again", text="x", key=KEY).id == first.id


def test_eight_who_use_a_freed_key_at_once_make_one(any_host: Host) -> None:
    """Each commits, none is told an error, and there is one message more."""
    first = send(any_host)
    call_back(any_host, KEY)
    errors: list[BaseException] = []
    barrier = threading.Barrier(8)

    def work() -> None:
        try:
            with any_host.app.app_context():
                sent = send_notification("bob", "Again", text="x", key=KEY)
                barrier.wait(20)
                any_host.db.session.commit()
                assert sent.earlier == first.id
        except BaseException as error:
            errors.append(error)

    threads = [threading.Thread(target=work) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not errors
    assert any_host.subjects() == ["Again", "Hello"]


def strict(url: str, level: str) -> Host:
    """A host in whose transactions a row that others changed meanwhile is an error."""
    host = Host(url, SQLALCHEMY_ENGINE_OPTIONS={"isolation_level": level})
    with host.app.app_context():
        engine = host.db.engine
    if engine.dialect.name == "mariadb":

        @sa.event.listens_for(engine, "connect")
        def connect(connection: Any, _: object) -> None:
            connection.cursor().execute("SET SESSION innodb_snapshot_isolation = ON")

        engine.dispose()
    host.configure()
    return host


def elsewhere(work: Any) -> None:
    thread = threading.Thread(target=work)
    thread.start()
    thread.join()


@pytest.mark.parametrize(
    ("dialect", "level"),
    # At MariaDB's SERIALIZABLE a mere look already fails, as the host's own do.
    [
        ("postgresql", "REPEATABLE READ"),
        ("postgresql", "SERIALIZABLE"),
        ("mariadb", "REPEATABLE READ"),
    ],
)
def test_what_others_did_after_the_snapshot_breaks_no_commit(
    tmp_path: Path, dialect: str, level: str
) -> None:
    """A key that was taken, and a message that is being sent, are no affair of the host's rows."""
    with fresh_database(dialect, tmp_path) as url:
        host = strict(url, level)
        underway = send(host, "On its way", key=None)
        thing = host.Thing.id if dialect == "mariadb" else 1

        def others() -> None:
            change(host, underway.id, status="sending", fence=1)
            send(host, "Other")

        with host.app.app_context():
            host.db.session.execute(sa.select(thing)).all()  # takes the snapshot
            elsewhere(others)
            assert cancel_notification(underway.id) is False
            host.db.session.add(host.Thing(name="t"))
            send_notification("bob", "Mine", text="x", key=KEY)
            host.db.session.commit()
            assert host.db.session.scalars(sa.select(host.Thing.name)).all() == ["t"]
        assert host.subjects() == ["On its way", "Other"]
        host.close()

"""``InteractionMail.record``: what an application stores, in a test of it."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa
from flask import abort
from flask_mail import Mail, Message
from sqlalchemy import event

from flask_interaction_mail import (
    Party,
    RecordedMessage,
    Recording,
    Role,
    cancel_notification,
    merge_denied,
    notification_queued,
    operations,
    send_notification,
)
from flask_interaction_mail.messages.recorded import recorded
from flask_interaction_mail.testing import deliver
from flask_interaction_mail.unit_of_work import retry_queue
from flask_interaction_mail.unit_of_work.pending_work import PendingWork, StoreMessage
from flask_interaction_mail.unit_of_work.recording import (
    messages_of,
    note_given_up,
    note_stored,
)
from tests.catcher import Catcher
from tests.host import Host, a_merge, opened
from tests.outbox_rows import a_message


@contextmanager
def hosting(folder: Path, **config: Any) -> Iterator[Host]:
    with opened(f"sqlite:///{folder}/host.sqlite", **config) as host:
        host.configure()
        yield host


@pytest.fixture
def host(tmp_path: Path) -> Iterator[Host]:
    with hosting(tmp_path, TESTING=True) as host:
        yield host


@pytest.fixture
def sent(host: Host) -> Iterator[Recording]:
    with host.messaging.record(host.app) as sent:
        yield sent


def subjects(messages: list[RecordedMessage]) -> list[str]:
    return [message.subject for message in messages]


def send(subject: str, to: Any = "ada", **others: Any) -> Any:
    return send_notification(to, subject, text="Hello", **others)


def commit(host: Host, *subjects: str, **others: Any) -> None:
    """Send each in a transaction of its own."""
    with host.app.app_context():
        for subject in subjects:
            send(subject, **others)
            host.db.session.commit()


def test_a_message_is_recorded_with_all_that_it_says(host: Host, sent: Recording) -> None:
    """Texts, files, recipients in full, the way to them, and its bytes."""
    with host.app.app_context():
        stored = send_notification(
            Party("Ada", "ada"),
            "Invoice",
            text="Due today",
            html="<p>Due today</p>",
            bcc="eve",
            reply_to="desk",
            attachments=[("invoice.pdf", "application/pdf", b"%PDF")],
        )
        host.db.session.commit()
    (message,) = sent
    assert message.id == stored.id
    assert (message.subject, message.text, message.html) == (
        "Invoice",
        "Due today",
        "<p>Due today</p>",
    )
    assert [(one.field, one.address) for one in message.recipients] == [
        ("to", "ada@firm.example"),
        ("bcc", "eve@firm.example"),
    ]
    (file,) = message.attachments
    assert (file.filename, file.content_type, file.data) == (
        "invoice.pdf",
        "application/pdf",
        b"%PDF",
    )
    assert (message.status, message.reason) == ("suppressed", "testing")
    assert message.route == stored.route
    assert message.email is not None
    assert message.email["Reply-To"] == "desk@firm.example"
    assert message.sender == message.email["From"]
    assert repr(message) == (
        "<'Invoice' to ada@firm.example, eve@firm.example (suppressed: testing)>"
    )


def test_what_flask_mail_sends_is_recorded(host: Host, sent: Recording) -> None:
    """As a reset of a password is, with its link."""
    mail = Mail(host.app)
    with host.app.app_context():
        mail.send(Message("Reset", recipients=["ada@firm.example"], body="https://x.test/1"))
    (message,) = sent
    assert (message.subject, message.text) == ("Reset", "https://x.test/1")


def test_messages_come_in_the_order_of_their_commits(host: Host, sent: Recording) -> None:
    """Not in that of the calls; nothing is there before its commit."""
    with host.app.app_context():
        other = sa.orm.Session(host.db.engine)
        send("second", session=other)
        send("first")
        assert sent == []
        host.db.session.commit()
        assert subjects(sent) == ["first"]
        other.commit()
        other.close()
        send("third, by the end of the context")
    assert subjects(sent) == ["first", "second", "third, by the end of the context"]


def test_all_threads_are_recorded_but_no_other_application(
    host: Host, sent: Recording, tmp_path: Path
) -> None:
    """Another application in the same process has records of its own."""
    (tmp_path / "other").mkdir()
    with hosting(tmp_path / "other", TESTING=True) as other:
        works = [
            threading.Thread(target=commit, args=(host, "mine")),
            threading.Thread(target=commit, args=(other, "theirs")),
        ]
        for work in works:
            work.start()
        for work in works:
            work.join()
    assert subjects(sent) == ["mine"]


def test_records_nest(host: Host, sent: Recording) -> None:
    """The inner one ends, and the outer one goes on, although both were equal."""
    with host.app.app_context(), host.messaging.record() as inner:
        assert inner == sent
        send("both")
        host.db.session.commit()
    commit(host, "outer alone")
    assert subjects(inner) == ["both"]
    assert subjects(sent) == ["both", "outer alone"]


def test_it_costs_nothing_while_nothing_records(host: Host) -> None:
    """At most 10 µs of processor time a message."""
    state = host.app.extensions["interaction_mail"]
    works = [StoreMessage(a_message()) for _ in range(2000)]
    began = time.process_time()
    note_stored(state, messages_of(works))
    note_given_up([PendingWork(work, state, None, done=True) for work in works], "nobody asks")
    assert (time.process_time() - began) / len(works) < 10e-6


def test_nothing_is_recorded_after_the_block(host: Host) -> None:
    """And nobody listens to the signals any more."""
    before = len(notification_queued.receivers)
    with host.messaging.record(host.app) as sent:
        commit(host, "within")
    commit(host, "after")
    assert subjects(sent) == ["within"]
    assert host.state.recordings == ()
    assert len(notification_queued.receivers) == before


# -- what was dropped ------------------------------------------------------------------


def dropped(sent: Recording) -> list[tuple[str, str | None]]:
    return [(message.subject, message.dropped_because) for message in sent.dropped]


def test_what_was_rolled_back_is_dropped(host: Host, sent: Recording) -> None:
    """Alone or to a savepoint."""
    with host.app.app_context():
        send("wrong")
        host.db.session.rollback()
        savepoint = host.db.session.begin_nested()
        send("inner")
        savepoint.rollback()
        send("right")
        host.db.session.commit()
    assert subjects(sent) == ["right"]
    because = "its transaction was rolled back"
    assert dropped(sent) == [("wrong", because), ("inner", because)]
    assert repr(sent.dropped[0]) == f"<'wrong' to ada@firm.example ({because})>"


def test_what_a_failed_view_has_sent_is_dropped(host: Host, sent: Recording) -> None:
    """A request to merge is not: it states a fact."""

    @host.app.get("/")
    def view() -> None:
        send("news")
        merge_denied.send(host.app, merge=a_merge())
        abort(500)

    host.app.test_client().get("/")
    assert [message.kind for message in sent] == ["request"]
    assert dropped(sent) == [("news", "the response was 500 INTERNAL SERVER ERROR")]


def test_what_was_called_back_in_time_is_dropped(host: Host, sent: Recording) -> None:
    """Once the transaction has committed in which it was called back."""
    with host.app.app_context():
        id = send("news").id
        assert cancel_notification(id)
        assert sent.dropped == []
        host.db.session.commit()
    assert sent == []
    assert dropped(sent) == [("news", "it was called back before it was stored")]


def test_a_failed_commit_drops_its_messages(host: Host, sent: Recording) -> None:
    """The host's own change broke a rule of its table."""
    with host.app.app_context():
        host.db.session.add(host.Thing(name="t"))
        host.db.session.commit()
        send("news")
        host.db.session.add(host.Thing(name="t"))
        with pytest.raises(sa.exc.IntegrityError):
            host.db.session.commit()
        host.db.session.rollback()
    assert sent == []
    assert dropped(sent) == [("news", "its transaction was rolled back")]


def test_what_the_database_refuses_is_dropped(
    host: Host, sent: Recording, monkeypatch: pytest.MonkeyPatch
) -> None:
    """After the last attempt to store it."""
    monkeypatch.setattr(retry_queue, "DELAYS", ())
    monkeypatch.setattr(retry_queue, "is_away", lambda _: False)
    with host.app.app_context():
        send("news")
        host.db.session.rollback()  # so that the next one waits for the end of the context
        send("more")
        host.db.session.close()
        with host.db.engine.begin() as connection:
            connection.exec_driver_sql("DROP TABLE interaction_mail_recipient")
    assert dropped(sent)[1:] == [("more", "the database did not take it")]


# -- what became of it -----------------------------------------------------------------


def test_what_nobody_can_get_has_its_status(host: Host, sent: Recording, tmp_path: Path) -> None:
    """Suppressed: nobody has the client; failed: nothing is configured."""
    commit(host, "news", to=Party("Bob", "bob", role=Role.SECRETARY))
    assert [(message.status, message.reason) for message in sent] == [("suppressed", "ineligible")]
    with opened(f"sqlite:///{tmp_path}/bare.sqlite") as bare:
        with bare.messaging.record(bare.app) as failed, bare.app.app_context():
            merge_denied.send(bare.app, merge=a_merge())
        assert [(one.status, one.reason) for one in failed] == [("failed", "not_configured")]
        assert failed[0].email is None


@pytest.mark.parametrize("mode", ["sync", "worker", "thread"])
def test_what_becomes_of_it_is_seen(tmp_path: Path, catcher: Catcher, mode: str) -> None:
    """In whatever way this process delivers; a snapshot that was taken stays as it was."""
    catcher.refuse["bob@firm.example"] = "550 5.1.1 no such mailbox"
    with hosting(tmp_path, INTERACTION_MAIL_DELIVERY=mode) as host:
        host.configure(smtp_port=catcher.port)
        with host.messaging.record(host.app) as sent:
            host.app.before_request_funcs.clear()  # no thread before there is something to see
            with host.app.app_context():
                send("good")
                send("bad", to="bob")
                host.db.session.commit()
                first = sent[0]
            if mode == "worker":
                assert deliver(host.app) == 1
            host.state.delivery.stop()
            assert [message.status for message in sent] == ["sent", "failed"]
        if mode == "worker":
            assert first.status == "queued"
        assert sent[1].reason == "refused"
        assert sent[1].recipients[0].reply == "550 5.1.1 no such mailbox"
        assert sent[1].text == "Hello"


def test_a_held_message_is_seen_and_released(tmp_path: Path, catcher: Catcher) -> None:
    """News of a release count; those of a commit, which come late, do not."""
    with hosting(tmp_path, INTERACTION_MAIL_RATE=1) as host:
        host.configure(smtp_port=catcher.port)
        with host.messaging.record(host.app) as sent:
            commit(host, "one", "two", "three")
            deliver(host.app)
            assert [(message.status, message.reason) for message in sent][1:] == [
                ("held", "rate"),
                ("held", "rate"),
            ]
            with host.app.app_context():
                operations.release(host.state, sent[1].id)
                assert sent[1].status == "queued"
            assert sent[0].status == "sent"
            late = a_message("ada@firm.example")._replace(id=sent[0].id)
            sent.changed(host.app, late.snapshot())
            assert sent[0].status == "sent"


def test_a_resend_is_recorded(host: Host, sent: Recording) -> None:
    """It is a message of its own, stored in a transaction of its own."""
    commit(host, "news")
    with host.app.app_context():
        again = operations.resend(host.state, sent[0].id)
    assert [message.id for message in sent] == [sent[0].id, again.id]


def test_news_before_the_record_is_kept(host: Host) -> None:
    """A thread may have sent a message before its commit was told."""
    message, sent = a_message("ada@firm.example"), Recording()
    sent.changed(host.app, replace(message.snapshot(), status="sent"))
    sent.stored(recorded(message))
    assert [one.status for one in sent] == ["sent"]


def test_a_cleared_list_begins_anew(tmp_path: Path, catcher: Catcher) -> None:
    """News of what was removed change nothing that came after."""
    with hosting(tmp_path) as host:
        host.configure(smtp_port=catcher.port)
        with host.messaging.record(host.app) as sent:
            commit(host, "one")
            sent.clear()
            deliver(host.app)
            commit(host, "two")
            assert [(one.subject, one.status) for one in sent] == [("two", "queued")]
            deliver(host.app)
            assert [(one.subject, one.status) for one in sent] == [("two", "sent")]


# -- tests that are wrapped in a transaction -------------------------------------------


@contextmanager
def wrapped(host: Host) -> Iterator[sa.Connection]:
    """All sessions work in one transaction, which is rolled back at the end."""
    with host.app.app_context():
        engines, engine = host.db.engines, host.db.engine

    @event.listens_for(engine, "begin")
    def begin(connection: sa.Connection) -> None:
        connection.exec_driver_sql("BEGIN")

    @event.listens_for(engine, "connect")
    def leave_transactions_to_us(connection: Any, _: Any) -> None:
        connection.isolation_level = None

    engine.dispose()
    with engine.connect() as connection, connection.begin() as outer:
        engines[None] = connection
        before, host.db.session = (
            host.db.session,
            host.db._make_scoped_session({"join_transaction_mode": "create_savepoint"}),
        )
        yield connection
        outer.rollback()
        engines[None], host.db.session = engine, before


def test_a_commit_counts_within_an_outer_transaction(host: Host) -> None:
    """That of the test's own session, and those of a request; a rollback drops."""

    @host.app.get("/")
    def view() -> str:
        send("by a view")
        host.db.session.commit()
        return ""

    with wrapped(host), host.messaging.record(host.app) as sent:
        with host.app.app_context():
            send("by the test")
            host.db.session.commit()
            assert subjects(sent) == ["by the test"]
            with host.db.session.begin_nested():
                send("in a savepoint")
            assert subjects(sent) == ["by the test"]
            host.db.session.commit()
            send("rolled back")
            host.db.session.rollback()
        host.app.test_client().get("/")
    assert subjects(sent) == ["by the test", "in a savepoint", "by a view"]
    assert subjects(sent.dropped) == ["rolled back"]
    assert host.subjects() == []

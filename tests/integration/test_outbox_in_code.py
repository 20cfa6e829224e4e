"""``messaging.outbox``: the host's code finds messages and decides about them."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
import sqlalchemy as sa

from flask_interaction_mail import (
    AddressError,
    ArgumentError,
    ContentError,
    InteractionMailError,
    Notification,
    Outbox,
    Priority,
    SentAgain,
    StillWaiting,
    cancel_notification,
    clock,
    notification_queued,
    send_notification,
)
from flask_interaction_mail.outbox import exporting, listing, wanted
from flask_interaction_mail.outbox.filters import Filters
from flask_interaction_mail.storage.tables import DELIVERY
from tests.catcher import Catcher
from tests.host import Host
from tests.servers.scripted import room_for, scripted
from tests.terminal import done

pytestmark = pytest.mark.usefixtures("catcher")  # which gets the mail of each host


@pytest.fixture
def host(host: Host) -> Iterator[Host]:
    """Within its application context."""
    with host.app.app_context():
        yield host


def send(host: Host, to: Any = "bob", subject: str = "Hello", **others: Any) -> Notification:
    with host.app.app_context():
        queued = send_notification(to, subject, **({"text": "Hello Bob"} | others))
        host.db.session.commit()
    return queued


FILTERS: list[tuple[dict[str, Any], list[str]]] = [
    ({}, ["Third", "Second", "First"]),
    ({"status": "queued"}, ["Third", "Second"]),
    ({"status": ["queued", "cancelled"]}, ["Third", "Second", "First"]),
    ({"reason": "withdrawn"}, ["First"]),
    ({"reason": "withdrawn", "status": "queued"}, []),
    ({"kind": "invoice"}, ["Second"]),
    ({"to": "Eve@firm.example"}, ["Third", "Second"]),
    ({"to": "eve@firm.example", "kind": "invoice"}, ["Second"]),
    ({"to": "nobody@firm.example"}, []),
    ({"text": "IRS"}, ["First"]),
    ({"text": "eve@", "status": "queued"}, ["Third", "Second"]),
    ({"metadata": {"campaign": "autumn"}}, ["Third", "Second"]),
    ({"metadata": {"campaign": "autumn", "step": "2"}}, ["Third"]),
    ({"metadata": {"campaign": "winter"}}, []),
    ({"metadata": {"campaign": "autumn"}, "kind": "invoice"}, ["Second"]),
    ({"message_id": "<nothing@firm.example>"}, []),
    ({"limit": 2}, ["Third", "Second"]),
    ({"limit": 0}, []),
]


@pytest.fixture
def three(any_host: Host) -> Host:
    """Three messages, the oldest of them called back."""
    send(any_host, "bob", "First")
    autumn = {"campaign": "autumn"}
    send(any_host, ["bob", "eve"], "Second", kind="invoice", metadata=autumn | {"step": "1"})
    send(any_host, "eve", "Third", metadata=autumn | {"step": "2"}, priority="urgent")
    with any_host.app.app_context():
        (first,) = Outbox().query(text="First")
        cancel_notification(first.id)
    return any_host


@pytest.mark.parametrize("few", [1000, 0])
def test_each_filter_finds_what_has_it(
    three: Host, monkeypatch: pytest.MonkeyPatch, few: int
) -> None:
    """Alone and together, whether few messages have it or too many to name; count agrees."""
    monkeypatch.setattr(wanted, "_FEW", few)
    outbox = three.messaging.outbox
    with three.app.app_context():
        for given, subjects in FILTERS:
            assert [one.subject for one in outbox.query(**given)] == subjects, given
            if "limit" not in given:
                assert outbox.count(**given) == len(subjects), given


def test_what_is_found_has_all_that_a_notification_has(three: Host) -> None:
    """Priority and metadata are there, in signals as well; the Message-ID finds it."""
    heard: list[Notification] = []

    def hear(_: Any, notification: Notification) -> None:
        heard.append(notification)

    with notification_queued.connected_to(hear, three.app):
        sent = send(three, "joe", "Fourth", metadata={"a": "b"}, priority="bulk")
    with three.app.app_context():
        (found,) = three.messaging.outbox.query(message_id=(sent.message_id or "").strip("<>"))
    assert found == sent
    assert (found.priority, found.metadata) == (Priority.BULK, {"a": "b"})
    assert [(one.priority, one.metadata) for one in heard] == [(Priority.BULK, {"a": "b"})]


@pytest.mark.parametrize("few", [1000, 0])
def test_each_name_that_a_provider_gave_finds_the_message(
    any_host: Host, monkeypatch: pytest.MonkeyPatch, few: int
) -> None:
    """In code, on the command line, in the list and in the export; nothing else is found."""
    monkeypatch.setattr(wanted, "_FEW", few)
    names = [f"0100018f-aaaa-bbbb-cccc-{number:012}" for number in range(3)]
    script = {"RCPT": room_for(1), "DOT": [f"250 Ok {name}\r\n".encode() for name in names]}
    with scripted(script) as server:
        any_host.configure(smtp_port=server.port)
        for people, subject in ((["bob", "eve"], "in two"), (["joe"], "in one")):
            send(any_host, people, subject)
            any_host.dispatcher().drain()
    outbox = any_host.messaging.outbox
    for name, subject in zip(names, ("in two", "in two", "in one"), strict=True):
        with any_host.app.app_context():
            assert [one.subject for one in outbox.query(provider_id=name)] == [subject]
            assert outbox.count(provider_id=name) == 1
            with any_host.state.database.reading() as connection:
                page = listing.page(connection, Filters(q=name))
                exported = exporting.piece(connection, Filters(q=name))
        assert page.exact == "provider_id"
        listed = done(any_host, "outbox", "list", "--provider-id", name, "--json").json
        shown = (*(line.row for line in page.lines), *exported.rows)
        assert [*(one["subject"] for one in listed), *(row.subject for row in shown)] == 3 * [
            subject
        ]


def test_time_narrows(three: Host) -> None:
    """From a moment on, and up to one that is not included."""
    outbox = three.messaging.outbox
    with three.app.app_context():
        newest = next(outbox.query())
        assert [one.subject for one in outbox.query(since=newest.created_at)] == ["Third"]
        assert outbox.count(until=newest.created_at) == 2
        assert outbox.count(until=datetime.now(UTC) - timedelta(days=1)) == 0


def test_many_are_read_in_pieces(host: Host, monkeypatch: pytest.MonkeyPatch) -> None:
    """All of them, once each and in order, though a piece holds few; new ones do not disturb."""
    monkeypatch.setattr("flask_interaction_mail.api.outbox._TOGETHER", 3)
    for number in range(10):
        send_notification("bob", f"{number}", text="x")
        host.db.session.commit()
    found = host.messaging.outbox.query(status="queued")
    subjects = [next(found).subject]
    send_notification("bob", "later", text="x")
    host.db.session.commit()
    subjects += [one.subject for one in found]
    assert subjects == [str(number) for number in reversed(range(10))]


WRONG: list[tuple[dict[str, Any], type[Exception], str]] = [
    ({"status": "gone"}, ContentError, "status takes one of 'queued', "),
    ({"status": 3}, ArgumentError, "status takes one of"),
    ({"reason": "mood"}, ContentError, "reason takes one of 'ambiguous', "),
    ({"to": "bob"}, AddressError, "a whole address"),
    ({"since": datetime(2026, 1, 1)}, ContentError, "has no time zone"),  # noqa: DTZ001 - the case
    ({"until": "yesterday"}, ArgumentError, "until takes an aware datetime"),
    ({"metadata": "a=b"}, ArgumentError, "metadata takes a mapping"),
    ({"metadata": {"a b": "c"}}, ContentError, "metadata takes names"),
    ({"sender": "bob"}, TypeError, "there is no filter 'sender': status, reason,"),
]


@pytest.mark.parametrize(("given", "error", "text"), WRONG)
def test_a_wrong_filter_is_named(
    host: Host, given: dict[str, Any], error: type[Exception], text: str
) -> None:
    """At the call, not at the first message."""
    for ask in (host.messaging.outbox.query, host.messaging.outbox.count):
        with pytest.raises(error, match=text):
            ask(**given)


def test_messages_are_resent_released_and_called_back(host: Host, catcher: Catcher) -> None:
    """What has ended is sent again once, or again if that is wanted, or to somebody else."""
    outbox, sent = host.messaging.outbox, send(host)
    with pytest.raises(StillWaiting):
        outbox.resend(sent.id)
    assert not outbox.release(sent.id)  # it is not held
    host.dispatcher().drain()
    again = outbox.resend(str(sent.id))
    with pytest.raises(SentAgain):
        outbox.resend(sent.id)
    other = outbox.resend(sent.id, "eve@firm.example", again=True)
    assert [to.address for to in other.recipients] == ["eve@firm.example"]
    assert outbox.cancel(again.id)
    assert not outbox.cancel(sent.id)
    with pytest.raises(LookupError):
        outbox.resend("0" * 32)
    assert outbox.count(status="cancelled") == 1


def test_a_resend_keeps_priority_and_metadata(host: Host) -> None:
    """They belong to what was to be said."""
    sent = send(host, priority="urgent", metadata={"a": "b"})
    host.dispatcher().drain()
    again = host.messaging.outbox.resend(sent.id)
    assert (again.priority, again.metadata) == (Priority.URGENT, {"a": "b"})


def test_an_open_write_of_the_host_is_no_deadlock(host: Host) -> None:
    """SQLite has one writer: who holds its lock is told so instead of waiting for themselves."""
    sent = send(host)
    host.dispatcher().drain()
    host.db.session.add(host.Thing(name="t"))
    host.db.session.flush()
    for act in (host.messaging.outbox.resend, host.messaging.outbox.release):
        with pytest.raises(InteractionMailError, match="has written to SQLite and not committed"):
            act(sent.id)
    host.db.session.commit()
    host.messaging.outbox.resend(sent.id)
    assert host.messaging.outbox.count() == 2


def test_what_is_urgent_leaves_first(any_host: Host, catcher: Catcher) -> None:
    """Then what is normal, tried before or not; bulk mail last, though it has waited longest."""
    catcher.refuse["bob@firm.example"] = "450 4.2.0 later"
    send(any_host, "bob", "tried")
    any_host.dispatcher(connections=1).drain()
    catcher.refuse.clear()
    for priority in ("bulk", "normal", "urgent"):
        for number in range(3):
            send(any_host, "eve", f"{priority} {number}", priority=priority)
    with any_host.app.app_context(), any_host.db.engine.begin() as connection:
        due = sa.update(DELIVERY).where(DELIVERY.c.due_at.is_not(None))
        connection.execute(due.values(due_at=clock.now()))
    any_host.dispatcher(connections=1).drain()
    left = [str(mail.message["Subject"]).split()[0] for mail in catcher.mails]
    assert left[:3] == ["urgent"] * 3
    assert sorted(left[3:7]) == ["normal"] * 3 + ["tried"]
    assert left[7:] == ["bulk"] * 3


def test_commands_filter_alike(three: Host) -> None:
    """The options are the filters of ``query``; programs read numbers and lists."""
    listed = done(three, "outbox", "list", "--metadata", "campaign=autumn", "--json").json
    assert [one["subject"] for one in listed] == ["Third", "Second"]
    assert (listed[0]["priority"], listed[0]["metadata"]["step"]) == ("urgent", "2")
    given = ["--to", "eve@firm.example", "--kind", "invoice", "--since", "2026-01-01"]
    assert done(three, "outbox", "count", *given).out.strip() == "1"
    assert done(three, "outbox", "count", "--reason", "withdrawn", "--json").json == {"count": 1}
    (cancelled,) = done(three, "outbox", "cancel", listed[0]["id"], "--json").json
    assert cancelled == {"id": listed[0]["id"], "cancelled": True}


def test_the_panel_finds_metadata(host: Host) -> None:
    """``name=value`` in the search finds those messages, unless it stands in a subject alone."""
    from flask_interaction_mail.outbox import listing
    from flask_interaction_mail.outbox.filters import Filters

    send(host, subject="about a=b")
    with host.state.database.reading() as connection:
        found = listing.page(connection, Filters(q="a=b"))
        assert (found.exact, len(found.lines)) == ("", 1)
    send(host, subject="marked", metadata={"a": "b"})
    with host.state.database.reading() as connection:
        found = listing.page(connection, Filters(q="a=b"))
    assert (found.exact, [line.row.subject for line in found.lines]) == ("metadata", ["marked"])

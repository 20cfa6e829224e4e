"""A large message does not stop the others."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest
import sqlalchemy as sa

from flask_interaction_mail.delivery.dispatcher import Dispatcher
from flask_interaction_mail.delivery.ports import DispatcherPorts
from flask_interaction_mail.messages.message import NewMessage
from flask_interaction_mail.outbox import claim as queue
from flask_interaction_mail.outbox.claimed import Claimed
from flask_interaction_mail.storage.tables import MESSAGE
from flask_interaction_mail.transport.smtp.transport import SmtpTransport
from tests.outbox_rows import Store, a_message
from tests.servers.clients import PATIENT, settings
from tests.servers.scripted import PIPELINING, Peer, scripted, until

BIG = b"Subject: x\r\n\r\n" + (b"x" * 70 + b"\r\n") * 70_000
OK = b"250 2.1.5 ok\r\n"


def ports(store: Store, port: int, **changes: Any) -> DispatcherPorts:
    chosen = settings(port)
    return store.ports(
        settings=lambda: chosen,
        transport=lambda one: SmtpTransport(one, timeouts=PATIENT),
        **changes,
    )


def small(name: str, count: int = 30) -> list[NewMessage]:
    return [a_message(f"{name}{number}@firm.example") for number in range(count)]


def test_the_others_leave_before_a_large_message_and_beside_it(store: Store) -> None:
    """Those that wait behind it first, and meanwhile those that come while it leaves."""
    first, later = small("first"), small("later")
    store.put(a_message("big@firm.example", content=BIG), *first)
    beside = []

    def hold_up(peer: Peer) -> None:
        before = until(lambda: arrived(first), 20)
        store.put(*later)
        beside.append((before, until(lambda: arrived(later), 20)))
        peer.say(OK)

    with scripted({"EHLO": PIPELINING, "RCPT big@firm.example": hold_up}) as server:

        def arrived(messages: list[NewMessage]) -> bool:
            got = {one.recipients[0] for one in server.messages}
            return {one.recipients[0].address for one in messages} <= got

        assert Dispatcher(ports(store, server.port)).drain().sent == 61
        assert server.connections == 2
    assert beside == [(True, True)]
    assert store.statuses() == {"sent": 61}


def test_large_messages_leave_one_after_the_other(store: Store) -> None:
    """Each is claimed when the one before it is done, however many connections there are."""
    bodies = [b"Subject: %d\r\n" % number + BIG for number in range(3)]
    store.put(*(a_message(content=one) for one in bodies), *small("p", 5))
    with scripted({"EHLO": PIPELINING}) as server:
        assert Dispatcher(ports(store, server.port, connections=4)).drain().sent == 8
        big = [one.content for one in server.messages if len(one.content) > 1000]
        assert big == bodies


@contextmanager
def pieces_of(store: Store, *, fails: int = 0) -> Iterator[list[str]]:
    """The reads of stored content; the database is away for the first ``fails`` of them."""
    read: list[str] = []

    def note(_: object, __: object, statement: str, *___: object) -> None:
        if "substr" in statement:
            read.append(statement)
            if len(read) <= fails:
                raise sa.exc.OperationalError(statement, {}, Exception("away"))

    sa.event.listen(store.engine, "before_cursor_execute", note)
    try:
        yield read
    finally:
        sa.event.remove(store.engine, "before_cursor_execute", note)


def test_content_is_read_in_pieces_where_it_is_needed(store: Store) -> None:
    """Eight megabytes at a time, when the server has said that it takes so much."""
    body = b"".join(b"%070d\r\n" % number for number in range(165_000))  # 12 MB
    store.put(message := a_message(content=b"Subject: x\r\n\r\n" + body))
    with scripted({"EHLO": PIPELINING}) as server, pieces_of(store) as read:
        assert Dispatcher(ports(store, server.port)).drain().sent == 1
        assert [one.content for one in server.messages] == [message.content]
    assert len(read) == 2


def test_what_the_server_does_not_take_is_not_read(store: Store) -> None:
    """It has said so (SIZE, RFC 1870) before anybody asks for the content."""
    store.put(message := a_message(content=BIG))
    ehlo = b"250-scripted.test\r\n250 SIZE 1000000\r\n"
    with scripted({"EHLO": ehlo}) as server, pieces_of(store) as read:
        assert Dispatcher(ports(store, server.port)).drain().others == 1
        assert server.count("MAIL") == 0
    assert read == []
    row = store.message(message.id)
    assert (row.status, row.reason) == ("failed", "refused")
    assert f"{len(BIG):,} bytes" in str(row.detail)


def test_a_database_that_is_away_while_content_is_read_burns_no_attempt(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The message goes back, and leaves by the next claim; one before that had found nothing."""
    store.put(message := a_message(content=BIG))
    claim = queue.claim

    def slow(connection: sa.Connection, **named: Any) -> list[Claimed]:
        if not (found := claim(connection, **named)) and connection.dialect.name != "sqlite":
            until(lambda: store.message(message.id).status == "queued", 1)
        return found

    monkeypatch.setattr(queue, "claim", slow)
    with scripted({"EHLO": PIPELINING}) as server, pieces_of(store, fails=1) as read:
        assert Dispatcher(ports(store, server.port)).drain().sent == 1
        assert len(server.messages) == 1
    assert len(read) == 2
    assert store.message(message.id).attempts == 1


@pytest.mark.parametrize("left", [None, b"Subject: x\r\n\r\n"])
def test_content_that_is_gone_meanwhile_waits_with_its_reason(
    store: Store, left: bytes | None
) -> None:
    """Nothing leaves in its stead."""
    store.put(message := a_message(content=BIG))

    def erase(peer: Peer) -> None:
        with store.writing() as connection:
            connection.execute(sa.update(MESSAGE).values(content=left))
        peer.say(PIPELINING)

    with scripted({"EHLO": erase}) as server:
        Dispatcher(ports(store, server.port)).drain()
        assert server.messages == []
    row = store.message(message.id)
    assert (row.status, row.reason) == ("held", "poison")

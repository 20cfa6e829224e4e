"""One attempt in several transactions, where a server takes few recipients in each."""

from __future__ import annotations

import json
import threading
from collections import Counter
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa

from flask_interaction_mail import clock
from flask_interaction_mail.delivery.dispatcher import Dispatcher
from flask_interaction_mail.delivery.ports import DispatcherPorts, StopCondition
from flask_interaction_mail.messages.message import NewMessage
from flask_interaction_mail.outbox import messages
from flask_interaction_mail.outbox.server_limits import RECIPIENTS, learn, read
from flask_interaction_mail.settings.model import relay_of
from flask_interaction_mail.storage.tables import ATTEMPT, CHECK, DELIVERY
from flask_interaction_mail.transport.smtp.transport import SmtpTransport
from tests.outbox_rows import Store, a_message
from tests.servers.clients import PATIENT, settings
from tests.servers.scripted import (
    OK,
    Action,
    Peer,
    Scripted,
    close,
    refusing,
    room_for,
    scripted,
    then,
)

EVERYBODY = [f"p{number}@firm.example" for number in range(10)]


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    store = Store(f"sqlite:///{tmp_path}/outbox.sqlite")
    yield store
    store.engine.dispose()


def ports(store: Store, port: int, *, changes: Any = None, **parts: Any) -> DispatcherPorts:
    chosen = settings(port, **(changes or {}))
    values: dict[str, Any] = {
        "settings": lambda: chosen,
        "transport": lambda one: SmtpTransport(one, timeouts=PATIENT),
    }
    return store.ports(**{**values, **parts})


def drain(store: Store, port: int, **others: Any) -> Any:
    return Dispatcher(ports(store, port, **others)).drain()


def put(store: Store, addresses: list[str], **others: Any) -> NewMessage:
    message = a_message(*addresses, **others)
    store.put(message)
    return message


def transactions(server: Scripted) -> list[int]:
    """How many recipients each message that the server took had."""
    return [len(one.recipients) for one in server.messages]


def attempts(store: Store) -> list[Any]:
    with store.reading() as connection:
        return list(connection.execute(sa.select(ATTEMPT).order_by(ATTEMPT.c.number)))


def states(store: Store, message: NewMessage) -> Counter[str]:
    return Counter(status for status, _ in store.verdicts(message.id).values())


def make_due(store: Store) -> None:
    with store.writing() as connection:
        connection.execute(
            sa.update(DELIVERY).where(DELIVERY.c.due_at.is_not(None)).values(due_at=clock.now())
        )


def test_a_thousand_recipients_at_a_limit_of_a_hundred_are_one_attempt(any_store: Store) -> None:
    """Ten transactions with the same bytes, each recorded before the next begins."""
    people = [f"p{number}@firm.example" for number in range(1000)]
    message = put(any_store, people)
    recorded = []

    def look(peer: Peer) -> None:
        recorded.append(states(any_store, message)["sent"])
        peer.say(OK)

    with scripted({"MAIL": look, "RCPT": room_for(100)}) as server:
        stats = drain(any_store, server.port)
        assert (stats.sent, stats.others) == (1, 0)
        assert transactions(server) == [100] * 10
        assert {one.content for one in server.messages} == {message.content}
        assert [one for each in server.messages for one in each.recipients] == people
    assert recorded == [*range(0, 1000, 100)]
    row = any_store.message(message.id)
    assert (row.status, row.attempts, row.lost_leases) == ("sent", 1, 0)
    assert states(any_store, message) == {"sent": 1000}
    assert [len(json.loads(one.verdicts)) for one in attempts(any_store)][1:] == [100] * 9


def test_who_is_refused_on_the_way_is_not_asked_again_in_the_same_attempt(store: Store) -> None:
    """Each for itself, whichever transaction it was in; the worst decides the message's state."""
    message = put(store, EVERYBODY)
    answers: dict[str, Action | list[Action]] = {
        "RCPT": room_for(3),
        "RCPT p1@firm.example": [refusing(b"450 4.2.1 later\r\n")],
        "RCPT p4@firm.example": [refusing(b"550 5.1.1 unknown\r\n")],
    }
    with scripted(answers) as server:
        drain(store, server.port)
        assert states(store, message) == {"sent": 8, "deferred": 1, "failed": 1}
        row = store.message(message.id)
        assert (row.status, row.attempts, row.detail) == ("deferred", 1, "450 4.2.1 later")
        make_due(store)
        drain(store, server.port)
        assert server.messages[-1].recipients == ["p1@firm.example"]
    row = store.message(message.id)
    assert (row.status, row.reason, row.detail) == ("failed", "refused", "550 5.1.1 unknown")
    reached = sorted(address for one in server.messages for address in one.recipients)
    assert reached == sorted({*EVERYBODY} - {"p4@firm.example"})


@pytest.mark.parametrize(
    ("answers", "came_to"),
    [
        ({"MAIL": [OK, *[b"451 4.3.0 later\r\n"] * 2, OK]}, {"sent": 3, "deferred": 7}),
        ({"DOT": [OK, b"451 4.3.0 later\r\n", OK]}, {"sent": 3, "deferred": 7}),
        ({"DATA": [b"354 go on\r\n", b"451 later\r\n"]}, {"sent": 3, "deferred": 7}),
        ({"DOT": [OK, b"554 5.7.1 no\r\n", OK]}, {"sent": 3, "failed": 3, "deferred": 4}),
        ({"MAIL": [OK, b"550 5.7.1 no\r\n", OK]}, {"sent": 3, "failed": 7}),
        ({"DOT": [OK, close, OK]}, {"sent": 3, "deferred": 7}),
        ({"DATA": [b"354 go on\r\n", close]}, {"sent": 3, "deferred": 7}),
    ],
)
def test_a_transaction_that_nobody_is_accepted_in_ends_the_attempt(
    store: Store, answers: dict[str, Any], came_to: dict[str, int]
) -> None:
    """The rest is deferred, as one attempt, and none of the first ones gets it twice."""
    message = put(store, EVERYBODY)
    with scripted({"RCPT": room_for(3), **answers}) as server:
        drain(store, server.port)
        assert states(store, message) == came_to
        row = store.message(message.id)
        assert (row.attempts, row.status) == (1, "deferred" if "deferred" in came_to else "failed")
        make_due(store)
        drain(store, server.port)
        again = [one for each in server.messages[1:] for one in each.recipients]
        assert not {*EVERYBODY[:3]} & {*again}
    assert store.message(message.id).status == ("failed" if "failed" in came_to else "sent")


@pytest.mark.parametrize("dot", [OK, b"451 4.3.0 later\r\n", b"554 5.7.1 no\r\n", close])
@pytest.mark.parametrize("reply", [b"552 too many\r\n", b"552 5.5.3 no more\r\n"])
def test_a_552_that_means_too_many_fails_nobody(store: Store, reply: bytes, dot: Action) -> None:
    """RFC 5321 §4.5.3.1.10: it is temporary, whatever becomes of those who were accepted."""
    message = put(store, EVERYBODY)
    with scripted({"RCPT": room_for(4, reply), "DOT": [dot, OK, OK, OK]}) as server:
        drain(store, server.port)
        late = [store.verdicts(message.id)[address][0] for address in EVERYBODY[4:]]
        assert late == (["sent"] * 6 if dot is OK else ["deferred"] * 6)
        make_due(store)
        drain(store, server.port)
    late = [store.verdicts(message.id)[address][0] for address in EVERYBODY[4:]]
    assert late == ["sent"] * 6
    assert store.message(message.id).status == ("failed" if dot == b"554 5.7.1 no\r\n" else "sent")


@pytest.mark.parametrize("reply", [b"552 too many\r\n", b"552 5.5.3 no\r\n", b"552 4.5.3 no\r\n"])
def test_a_server_that_takes_no_more_at_all_fails_nobody(store: Store, reply: bytes) -> None:
    """Some count by connection or minute: the rest waits for the next attempt."""
    message = put(store, EVERYBODY)
    late = {f"RCPT {one}": [refusing(reply)] * 2 for one in EVERYBODY[3:6]}
    with scripted({"RCPT": room_for(3, reply), **late}) as server:
        drain(store, server.port)
        assert states(store, message) == {"sent": 3, "deferred": 7}
        make_due(store)
        drain(store, server.port)
        assert sorted(transactions(server)) == [0, 1, 3, 3, 3]
    row = store.message(message.id)
    assert (row.status, row.attempts) == ("sent", 2)


@pytest.mark.parametrize(
    ("reply", "attempts"), [(b"552 mailbox full\r\n", 1), (b"552 storage exceeded\r\n", 2)]
)
def test_a_mailbox_that_is_full_fails_with_a_bare_552(
    store: Store, reply: bytes, attempts: int
) -> None:
    """At once, or where it does not say so when nobody else is asked for."""
    message = put(store, EVERYBODY[:3])
    with scripted({f"RCPT {EVERYBODY[2]}": refusing(reply)}) as server:
        for _ in range(attempts):
            make_due(store)
            drain(store, server.port)
    row = store.message(message.id)
    assert (row.status, row.attempts) == ("failed", attempts)
    assert states(store, message) == {"sent": 2, "failed": 1}


def test_in_doubt_only_those_of_that_transaction_are_held(store: Store) -> None:
    """With "hold" the others, who were not yet asked for, get it without anybody's help."""
    message = put(store, EVERYBODY)
    hold = {"on_ambiguous": "hold"}
    with scripted({"RCPT": room_for(3), "DOT": [OK, close, OK]}) as server:
        drain(store, server.port, changes=hold)
        assert states(store, message) == {"sent": 3, "held": 3, "deferred": 4}
        make_due(store)
        drain(store, server.port, changes=hold)
        assert states(store, message) == {"sent": 7, "held": 3}
        assert store.message(message.id).status == "held"
        with store.writing() as connection:
            messages.release(connection, [message.id], clock.now())
        drain(store, server.port, changes=hold)
    assert states(store, message) == {"sent": 10}
    assert store.message(message.id).status == "sent"


def test_the_limit_is_shared_by_workers_for_a_day(any_store: Store) -> None:
    """Another worker asks for no more than fit; a day later for all; and of another server."""
    with scripted({"RCPT": room_for(3)}) as server, scripted() as other:
        put(any_store, EVERYBODY)
        drain(any_store, server.port)
        refused = server.count("RCPT") - 10
        put(any_store, EVERYBODY)
        drain(any_store, server.port, worker="another")
        assert server.count("RCPT") == 20 + refused
        assert transactions(server) == [3, 3, 3, 1] * 2
        put(any_store, EVERYBODY)
        drain(any_store, other.port)
        assert transactions(other) == [10]
        a_day_passes(any_store)
        server.answers["RCPT"] = room_for(100)
        put(any_store, EVERYBODY)
        drain(any_store, server.port)
        assert transactions(server)[8:] == [10]


def test_a_limit_that_got_lower_is_learned_anew(store: Store) -> None:
    """And of two workers that learn at once either is right."""
    with scripted({"RCPT": room_for(5)}) as server:
        put(store, EVERYBODY)
        drain(store, server.port)
        server.answers["RCPT"] = room_for(2)
        put(store, EVERYBODY)
        drain(store, server.port)
        assert transactions(server) == [5, 5, 2, 2, 2, 2, 2]
        with store.reading() as connection:
            assert connection.scalar(sa.select(sa.func.count()).select_from(CHECK)) == 1
            assert read(connection, relay_of(settings(server.port)), clock.now()).recipients == 2


def a_day_passes(store: Store) -> None:
    with store.writing() as connection:
        for at in (CHECK.c.at, CHECK.c.until):
            moved = connection.execute(sa.select(CHECK.c.id, at)).all()
            for id, when in moved:
                change = sa.update(CHECK).where(CHECK.c.id == id)
                connection.execute(change.values({at.key: when - timedelta(days=1)}))


def test_diverted_mail_needs_no_room(store: Store) -> None:
    """One mailbox stands in for all, so there is one recipient."""
    message = put(store, EVERYBODY)
    diverted = {"divert_to": "tester@firm.example"}
    with scripted({"RCPT": room_for(1)}) as server:
        with store.writing() as connection:
            learn(
                connection,
                relay_of(settings(server.port)),
                RECIPIENTS,
                1,
                worker="test",
                now=clock.now(),
            )
        drain(store, server.port, changes=diverted)
        assert [one.recipients for one in server.messages] == [["tester@firm.example"]]
    assert states(store, message) == {"sent": 10}


@pytest.mark.parametrize("action", [close, then(b"421 4.3.2 going down\r\n", close)])
def test_a_server_that_goes_away_in_between_burns_no_attempt(store: Store, action: Action) -> None:
    """The rest waits for the breaker; nobody who has it is asked for again."""
    message = put(store, EVERYBODY)
    server_is_away: dict[str, Any] = {"RCPT": room_for(3), "MAIL": [OK, action, OK, OK, OK]}
    with scripted({**server_is_away, "GREETING": [b"220 x\r\n", b"421 away\r\n"]}) as server:
        drain(store, server.port)
        row = store.message(message.id)
        assert (row.status, row.attempts) == ("queued", 0)
        assert states(store, message)["sent"] == 3
        with store.writing() as connection:
            connection.execute(sa.update(CHECK).values(until=clock.now()))
        drain(store, server.port)
        assert Counter(one for each in server.messages for one in each.recipients) == Counter(
            EVERYBODY
        )
    assert store.statuses() == {"sent": 1}


def test_stopping_gives_back_what_is_left(store: Store) -> None:
    """No claim stays behind, and the next worker goes on where this one was."""
    message = put(store, EVERYBODY)
    stop = threading.Event()

    def stop_here(peer: Peer) -> None:
        stop.set()
        peer.say(OK)

    with scripted({"RCPT": room_for(3), "DOT": [OK, stop_here, OK]}) as server:
        Dispatcher(ports(store, server.port)).drain(StopCondition(stop))
        row = store.message(message.id)
        assert (row.status, row.attempts, row.lease_until) == ("queued", 0, None)
        assert states(store, message) == {"sent": 6, "queued": 4}
        drain(store, server.port)
        assert transactions(server) == [3, 3, 3, 1]


def test_a_claim_that_was_lost_does_not_go_on(store: Store) -> None:
    """What another worker has taken over meanwhile is not sent by this one any more."""
    message = put(store, EVERYBODY)

    def take_over(peer: Peer) -> None:
        with store.writing() as connection:
            connection.execute(sa.update(DELIVERY).values(fence=DELIVERY.c.fence + 1))
        peer.say(OK)

    with scripted({"RCPT": room_for(3), "DOT": [take_over, OK]}) as server:
        drain(store, server.port)
        assert transactions(server) == [3]
    assert store.message(message.id).status == "sending"
    assert states(store, message) == {"queued": 10}

"""Delivery over several relays: order, fail-over and return, From domains, first copies."""

from __future__ import annotations

import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from datetime import timedelta
from functools import cache
from typing import Any

import pytest
import sqlalchemy as sa

from flask_interaction_mail import clock
from flask_interaction_mail.delivery import side_by_side
from flask_interaction_mail.delivery.dispatcher import Dispatcher
from flask_interaction_mail.delivery.ports import DrainStats, StopCondition
from flask_interaction_mail.outbox import breaker, claim, lanes, messages
from flask_interaction_mail.outbox.claimed import ANY
from flask_interaction_mail.outbox.fenced import by_index
from flask_interaction_mail.outbox.tally import Tally
from flask_interaction_mail.settings.relay import Encryption, Relay
from flask_interaction_mail.storage.tables import ATTEMPT, CHECK, DELIVERY, TALLY
from flask_interaction_mail.transport.smtp.transport import SmtpTransport
from flask_interaction_mail.values import Priority
from tests.outbox_rows import SETTINGS, Store, a_message, change
from tests.servers.scripted import Scripted, after, reset, scripted, then, until

TAKEN = b"250 2.0.0 taken\r\n"


def relay(name: str, port: int, **others: Any) -> Relay:
    return Relay(name=name, server="127.0.0.1", port=port, encryption=Encryption.NONE, **others)


def dispatcher(store: Store, *relays: Relay, **changes: Any) -> Dispatcher:
    parts: dict[str, Any] = {
        "relays": lambda _: relays,
        "transport": SmtpTransport,
        "tally": cache(lambda _: Tally()),
    }
    return Dispatcher(store.ports(**{**parts, "connections": 4, **changes}))


def put(store: Store, count: int, sender: str = "crm@firm.example", **others: Any) -> list[Any]:
    """Messages that can be told apart by their recipients."""
    made = []
    for _ in range(count):
        message = a_message(**others)
        to = replace(message.recipients[0], address=f"{message.id.hex}@firm.example")
        made.append(message._replace(recipients=(to,), sender=sender))
    store.put(*made)
    return made


def got(server: Scripted) -> Counter[str]:
    """How many copies of each message a server has."""
    return Counter(one.recipients[0].partition("@")[0] for one in server.messages)


@contextmanager
def running(work: Dispatcher) -> Iterator[None]:
    stop, wake = threading.Event(), threading.Event()
    thread = threading.Thread(target=work.run, args=(stop, wake), kwargs={"poll": 0.2})
    thread.start()
    try:
        yield
    finally:
        stop.set()
        wake.set()
        thread.join(30)


def probe_is_due(store: Store) -> None:
    with store.writing() as connection:
        connection.execute(
            sa.update(CHECK).where(CHECK.c.kind == "breaker").values(until=clock.now())
        )


def in_trouble(store: Store, one: Relay, *, minutes: int = 0) -> None:
    """Have the breaker of ``one`` open, for so many minutes already."""
    from flask_interaction_mail.errors import TransportError
    from flask_interaction_mail.outcome import Stage

    error = TransportError("It is silent.", stage=Stage.CONNECT)
    since = clock.now() - timedelta(minutes=minutes)
    with store.writing() as connection:
        breaker.trip(connection, one, error, worker="w", now=since)
        breaker.trip(connection, one, error, worker="w", now=clock.now())


def make_due(store: Store, **values: Any) -> None:
    with store.writing() as connection:
        change(connection, due_at=clock.now(), **values)


# -- fail-over -------------------------------------------------------------------------


def test_fail_over_under_load_and_the_way_back(any_store: Store) -> None:
    """A thousand messages, and the first relay dies in the middle: none is lost.

    The second one has mail within 5 s of the breaker opening. What the first may have taken waits
    for it; when it is back one message finds that out, and the rest follows.
    """
    store = any_store
    with ExitStack() as first_lives, scripted({}) as second:
        first = first_lives.enter_context(scripted({"DOT": after(0.002, TAKEN)}))
        a, b = relay("a", first.port), relay("b", second.port)
        made = put(store, 1000)
        with running(dispatcher(store, a, b)):
            assert until(lambda: len(first.messages) >= 300)
            first_lives.close()
            assert until(lambda: is_open(store, a), 30)
            opened = time.monotonic()
            assert until(lambda: len(second.messages) > 0, 10)
            assert time.monotonic() - opened < 5
            assert until(lambda: not waiting(store), 120)
            doubtful = ambiguous(store)
            assert bound(store) == ({"a": doubtful} if doubtful else {})
            assert doubtful <= 4  # one for each connection
            with scripted({"DOT": after(0.05, TAKEN)}, port=first.port) as returned:
                make_due_again(store)
                more = put(store, 40)
                time.sleep(1)
                assert not returned.messages  # its breaker is still open
                while is_open(store, a):  # the second may be faster than the probe
                    probe_is_due(store)
                    more += put(store, 1)
                    time.sleep(0.2)
                last = put(store, 40)
                assert until(lambda: store.statuses() == {"sent": 1040 + len(more)}, 60)
                copies = got(first) + got(second) + got(returned)
                assert sum(got(returned)[one.id.hex] for one in last) == 40
                assert first_alone(returned)
    wanted = {one.id.hex for one in (*made, *more, *last)}
    assert copies.keys() == wanted
    assert sum(copies.values()) - len(wanted) <= doubtful
    assert {name for name, count in by_relay(store).items() if count} == {"a", "b"}


def is_open(store: Store, one: Relay) -> bool:
    with store.reading() as connection:
        return breaker.read(connection, one) is not None


def waiting(store: Store) -> bool:
    """Whether any message can still leave by a relay that works."""
    return any(store.statuses().get(word) for word in ("queued", "sending"))


def ambiguous(store: Store) -> int:
    query = sa.select(sa.func.count()).select_from(ATTEMPT)
    with store.reading() as connection:
        return connection.scalar(query.where(ATTEMPT.c.result == "ambiguous")) or 0


def bound(store: Store) -> dict[str | None, int]:
    """How many messages are bound to which relay."""
    counted = sa.select(DELIVERY.c.relay, sa.func.count()).group_by(DELIVERY.c.relay)
    waits = sa.and_(DELIVERY.c.status == "deferred", DELIVERY.c.relay.is_not(None))
    with store.reading() as connection:
        return {row[0]: row[1] for row in connection.execute(counted.where(waits))}


def make_due_again(store: Store) -> None:
    with store.writing() as connection:
        connection.execute(
            sa.update(DELIVERY).where(DELIVERY.c.status == "deferred").values(due_at=clock.now())
        )


def first_alone(server: Scripted) -> bool:
    """Whether the first message was answered before a second one began."""
    commands = server.commands()
    first = commands.index("MAIL")
    return "MAIL" not in commands[first + 1 : commands.index(".", first)]


def by_relay(store: Store) -> dict[str | None, int]:
    with store.reading() as connection:
        counted = sa.select(DELIVERY.c.relay, sa.func.count()).group_by(DELIVERY.c.relay)
        return {row[0]: row[1] for row in connection.execute(counted)}


def test_mail_keeps_going_by_the_second_while_the_probe_of_the_first_fails(store: Store) -> None:
    """One message finds out that the first one is still in trouble, and none is charged for it."""
    with scripted({"GREETING": b"421 4.3.0 not now\r\n"}) as first, scripted({}) as second:
        a, b = relay("a", first.port), relay("b", second.port)
        put(store, 5)
        work = dispatcher(store, a, b)
        assert work.drain().sent == 5
        assert first.connections == 1
        for _ in range(30):  # the second relay may be the first to take what there is
            put(store, 2)
            probe_is_due(store)
            assert work.drain().sent == 2
            if first.connections == 2:
                break
        assert first.connections == 2
        with store.reading() as connection:
            assert connection.scalar(sa.select(sa.func.max(DELIVERY.c.attempts))) == 1
    assert {*by_relay(store)} == {"b"}


def test_nothing_is_sent_while_all_are_in_trouble(store: Store) -> None:
    """It is said why, and the first that works again gets all."""
    with scripted({}) as server:
        a, b = relay("a", 1), relay("b", server.port)
        made = put(store, 3)
        in_trouble(store, a)
        in_trouble(store, b)
        work = dispatcher(store, a, b)
        stats = work.drain()
        assert (stats.sent, stats.held_up_by) == (0, "It is silent.")
        with store.writing() as connection:
            breaker.close(connection, b)
        assert work.drain().sent == len(made)
    assert by_relay(store) == {"b": 3}


# -- From domains ----------------------------------------------------------------------


def test_each_domain_goes_by_its_own_relay(any_store: Store) -> None:
    """Both have their mail at the same time, though it was queued one after the other."""
    store = any_store
    with scripted({}) as first, scripted({}) as second:
        own = relay("own", first.port, from_domains=("own.example",))
        other = relay("other", second.port, from_domains=("other.example",))
        ours = put(store, 30, "Ada <ada@own.example>")
        theirs = put(store, 30, "bob@other.example")
        assert dispatcher(store, own, other).drain().sent == 60
        assert got(first).keys() == {one.id.hex for one in ours}
        assert got(second).keys() == {one.id.hex for one in theirs}
    assert by_relay(store) == {"own": 30, "other": 30}
    with store.reading() as connection:
        assert not connection.execute(sa.select(DELIVERY).where(DELIVERY.c.reason != "")).all()


def test_each_relay_counts_in_a_document_of_its_own(store: Store) -> None:
    """One for each, in whichever threads they work: the page has few to read."""
    with scripted({}) as first, scripted({}) as second:
        ours = relay("ours", first.port, from_domains=("firm.example",))
        work = dispatcher(store, ours, relay("any", second.port))
        for _ in range(3):
            put(store, 2)
            put(store, 2, "shop@other.example")
            with ThreadPoolExecutor(1) as pool:  # a new thread each time
                assert pool.submit(work.drain).result().sent == 4
    with store.reading() as connection:
        assert len(connection.execute(sa.select(TALLY.c.id)).all()) == 2


def test_a_slow_relay_keeps_nobody_waiting(store: Store) -> None:
    """A hundred messages for a slow one stand before ten for another: those leave at once."""
    with scripted({"DOT": after(0.5, TAKEN)}) as slow, scripted({}) as fast:
        one = relay("slow", slow.port, from_domains=("slow.example",), max_connections=1)
        other = relay("fast", fast.port)
        put(store, 400, "a@slow.example")
        put(store, 10, "a@fast.example")
        with running(dispatcher(store, one, other)):
            assert until(lambda: len(fast.messages) == 10, 20)
            assert len(slow.messages) < 40
            late = put(store, 10, "a@fast.example")
            assert until(lambda: len(fast.messages) == 20, 5)
        assert {one.id.hex for one in late} <= got(fast).keys()
        assert slow.connections == 1


def test_mail_for_a_relay_in_trouble_lets_other_mail_pass(store: Store) -> None:
    """It waits aside with the reason, and leaves when its own relay works again."""
    with scripted({}) as first, scripted({}) as second:
        own = relay("own", first.port, from_domains=("own.example",))
        other = relay("other", second.port, from_domains=("other.example",))
        in_trouble(store, own)
        ours = put(store, 120, "a@own.example")
        put(store, 5, "a@other.example")
        work = dispatcher(store, own, other)
        assert work.drain().sent == 5
        row = store.message(ours[0].id)
        assert (row.status, row.reason, row.attempts) == ("queued", "relay", 0)
        assert row.detail == "Waiting for the mail server “own”: It is silent."
        probe_is_due(store)
        assert work.drain().sent == 120
        assert len(got(first)) == 120
        assert first_alone(first)


def test_what_no_relay_may_carry_waits_and_says_so(store: Store) -> None:
    """It is not lost: other settings let it go."""
    with scripted({}) as server:
        own = relay("own", server.port, from_domains=("own.example",))
        (message,) = put(store, 1, "a@other.example")
        work = dispatcher(store, own)
        assert work.drain().sent == 0
        row = store.message(message.id)
        assert (row.status, row.reason, row.relay) == ("queued", "relay", "/")
        assert "No mail server may carry mail from other.example" in row.detail
        with store.writing() as connection:
            lanes.recall(connection, clock.now())
        row = store.message(message.id)
        assert (row.reason, row.detail, row.relay) == (None, None, None)
        assert dispatcher(store, relay("own", server.port)).drain().sent == 1
    assert not server.messages[0].content.startswith(b"From: a@own")


def test_what_waits_aside_is_found_again_even_if_its_word_is_forgotten(store: Store) -> None:
    """Ten minutes later it is due like anything else."""
    with scripted({}) as server:
        put(store, 1, "a@other.example")
        dispatcher(store, relay("own", server.port, from_domains=("own.example",))).drain()
        now = clock.now()
        with store.reading() as connection:
            due = connection.scalar(sa.select(DELIVERY.c.due_at))
        assert due is not None
        assert due - now < timedelta(minutes=11)
        make_due(store)
        assert dispatcher(store, relay("b", server.port)).drain().sent == 1


# -- what may have left already ---------------------------------------------------------


def lost_at(store: Store, a: Relay, b: Relay, **changes: Any) -> Any:
    """A message that ``a`` may have taken: the answer to its dot was lost."""
    (message,) = put(store, 1)
    dispatcher(store, a, b, connections=1, **changes).drain()
    row = store.message(message.id)
    assert row.relay == "a"
    return message


def test_a_first_copy_binds(any_store: Store) -> None:
    """A message with an unknown outcome goes by the same relay again, wherever that stands."""
    store = any_store
    with scripted({"DOT": [reset, TAKEN]}) as first, scripted({}) as second:
        a, b = relay("a", first.port), relay("b", second.port)
        lost_at(store, a, b)
        make_due(store)
        assert dispatcher(store, b, a).drain().sent == 1
        assert (len(first.messages), len(second.messages)) == (2, 0)
    assert by_relay(store) == {"a": 1}


def test_it_stays_bound_when_it_is_refused_for_now(store: Store) -> None:
    """The second answer says nothing of the first copy."""
    answers = [reset, b"451 4.3.0 later\r\n", TAKEN]
    with scripted({"DOT": answers}) as first, scripted({}) as second:
        a, b = relay("a", first.port), relay("b", second.port)
        message = lost_at(store, a, b)
        make_due(store)
        dispatcher(store, b, a).drain()
        assert store.message(message.id).relay == "a"
        make_due(store)
        assert dispatcher(store, b, a).drain().sent == 1
        assert not second.messages


def test_a_refusal_for_now_binds_nobody(store: Store) -> None:
    """A message that nobody has goes by whichever relay is right at its next attempt."""
    with scripted({"DOT": b"451 4.3.0 later\r\n"}) as first, scripted({}) as second:
        a, b = relay("a", first.port), relay("b", second.port)
        (message,) = put(store, 1)
        dispatcher(store, a, b).drain()
        assert store.message(message.id).relay is None
        make_due(store)
        assert dispatcher(store, b, a).drain().sent == 1
        assert len(second.messages) == 1


def test_it_waits_for_its_relay_an_hour_and_is_held_then(any_store: Store) -> None:
    """*Release* sends it by the next one."""
    store = any_store
    with scripted({"DOT": [reset]}) as first, scripted({}) as second:
        a, b = relay("a", first.port), relay("b", second.port)
        message = lost_at(store, a, b)
        in_trouble(store, a, minutes=50)
        make_due(store)
        work = dispatcher(store, a, b)
        assert work.drain().done == 0
        row = store.message(message.id)
        assert (row.status, row.reason, row.relay) == ("deferred", "relay", "a")
        assert "It may have left by the mail server “a” already" in row.detail
        assert row.due_at - clock.now() <= timedelta(minutes=10)
        with store.writing() as connection:
            connection.execute(
                sa.update(CHECK)
                .where(CHECK.c.kind == "breaker")
                .values(at=clock.now() - timedelta(hours=1))
            )
        make_due(store)
        work.drain()
        row = store.message(message.id)
        assert (row.status, row.reason) == ("held", "ambiguous")
        assert "in trouble for an hour" in row.detail
        assert not second.messages
        with store.writing() as connection:
            assert messages.release(connection, [message.id], clock.now()) == [message.id]
        assert work.drain().sent == 1
        assert len(second.messages) == 1
    assert by_relay(store) == {"b": 1}


@pytest.mark.parametrize("left", [["b"], ["b", "c"]])
def test_it_is_held_when_its_relay_is_removed(store: Store, left: Sequence[str]) -> None:
    """Also where a single relay is left."""
    with scripted({"DOT": [reset]}) as first, scripted({}) as second:
        a, b = relay("a", first.port), relay("b", second.port)
        message = lost_at(store, a, b)
        make_due(store)
        dispatcher(store, *(relay(name, second.port) for name in left)).drain()
        row = store.message(message.id)
        assert (row.status, row.reason) == ("held", "ambiguous")
        assert "which may not carry it any more" in row.detail
        assert not second.messages


def test_many_that_are_held_let_the_rest_pass(store: Store) -> None:
    """In one drain, although no message of the first claims leaves."""
    with scripted({}) as server:
        put(store, 120)
        with store.writing() as connection:
            change(connection, relay="gone")
        put(store, 5)
        assert dispatcher(store, relay("a", server.port)).drain().sent == 5
    assert store.statuses() == {"held": 120, "sent": 5}


def test_what_a_worker_had_in_hand_is_bound_to_its_relay(any_store: Store) -> None:
    """A worker dies over messages for the first relay, which is in trouble when that is found."""
    store = any_store
    with scripted({}) as first, scripted({}) as second:
        a, b = relay("a", first.port), relay("b", second.port)
        put(store, 3)
        with store.writing() as connection:
            claim.claim(
                connection,
                limit=3,
                worker="dead",
                relay="a",
                lease=timedelta(seconds=-1),
                now=clock.now(),
            )
        in_trouble(store, a)
        more = put(store, 2)
        work = dispatcher(store, a, b)
        assert work.drain().sent == 2
        assert got(second).keys() == {one.id.hex for one in more}
        assert store.statuses() == {"queued": 3, "sent": 2}
        with store.writing() as connection:
            breaker.close(connection, a)
        assert work.drain().sent == 3
        assert len(first.messages) == 3


# -- runs side by side -----------------------------------------------------------------


def run_all(work: Callable[[str, DrainStats], bool], *, in_turn: bool = False) -> DrainStats:
    stats = DrainStats()
    both = (relay("a", 1), relay("b", 2))
    side_by_side.run_all(
        both,
        lambda one, counted: work(one.name, counted),
        stats,
        StopCondition(deadline=time.monotonic() + 20),
        in_turn=in_turn,
    )
    return stats


@pytest.mark.parametrize("in_turn", [False, True])
def test_runs_end_when_none_has_anything_to_do(in_turn: bool) -> None:
    """What each has counted is added up."""
    left = {"a": 3, "b": 1}

    def work(name: str, stats: DrainStats) -> bool:
        if left[name]:
            left[name] -= 1
            stats.sent += 1
        return False

    began = time.monotonic()
    assert run_all(work, in_turn=in_turn).sent == 4
    assert time.monotonic() - began < 5


def test_a_run_that_fails_is_tried_again_while_another_works(
    caplog: pytest.LogCaptureFixture,
) -> None:
    """Its error is logged once, and raised if it has not got over it."""
    tries: list[float] = []
    over = threading.Event()

    def work(name: str, stats: DrainStats) -> bool:
        if name == "a":
            over.wait(20)
        elif len(tries) < 2:
            tries.append(time.monotonic())
            raise ValueError("no")
        else:
            over.set()
        return False

    run_all(work)
    assert len(tries) == 2
    assert caplog.text.count("relay.failed: b") == 1

    def always(name: str, _: DrainStats) -> bool:
        if name == "b":
            raise ValueError("never")
        return False

    with pytest.raises(ValueError, match="never"):
        run_all(always)


def test_without_threads_all_relays_have_their_turn(monkeypatch: pytest.MonkeyPatch) -> None:
    """A system that starts no more of them sends one after the other."""
    monkeypatch.setattr(side_by_side.threads, "start", lambda *_: None)
    seen: list[str] = []

    def work(name: str, _: DrainStats) -> bool:
        seen.append(name)
        return False

    run_all(work)
    assert {*seen} == {"a", "b"}


def test_held_up_only_if_all_are() -> None:
    """One relay in trouble is no reason to call delivery stopped."""

    def work(name: str, stats: DrainStats) -> bool:
        stats.held_up_by = "silent" if name == "a" else None
        return False

    assert run_all(work).held_up_by is None


def test_max_connections_of_a_relay(store: Store) -> None:
    """However many the worker may have."""
    at_once: list[int] = []
    lock = threading.Lock()

    def count(step: int) -> Callable[[Any], None]:
        def act(_: Any) -> None:
            with lock:
                at_once.append((at_once[-1] if at_once else 0) + step)

        return act

    answers: dict[str, Any] = {
        "MAIL": then(count(1), b"250 2.1.0 ok\r\n"),
        "DOT": then(after(0.03, count(-1)), TAKEN),
    }
    with scripted(answers) as server:
        put(store, 60)
        assert dispatcher(store, relay("a", server.port, max_connections=2)).drain().sent == 60
    assert max(at_once) == 2
    assert SETTINGS.relays == ("default",)


def test_max_messages_per_connection_of_a_relay(store: Store) -> None:
    """A new connection after so many."""
    with scripted({}) as server:
        put(store, 9)
        one = relay("a", server.port, max_messages_per_connection=3, max_connections=1)
        assert dispatcher(store, one).drain().sent == 9
        assert server.connections == 3


# -- messages a minute -----------------------------------------------------------------


@pytest.fixture
def standing_clock(monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """The time that all see: its one item can be replaced."""
    now = [clock.now().replace(second=10)]
    monkeypatch.setattr(clock, "stopped_at", lambda: now[0])
    monkeypatch.setattr(clock, "now", lambda: now[0])
    return now


def test_max_per_minute_counts_all_workers_together(
    any_store: Store, standing_clock: list[Any]
) -> None:
    """What is more waits for the next minute, and nothing is charged for it."""
    store, now = any_store, standing_clock
    with scripted({}) as server:
        one = relay("a", server.port, max_per_minute=20)
        made = put(store, 50)
        now[0] += timedelta(seconds=1)
        works = [dispatcher(store, one, worker=name) for name in ("x", "y")]
        threads = [threading.Thread(target=work.drain) for work in works]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(60)
        assert len(server.messages) == 20
        assert works[0].drain().done == 0
        now[0] += timedelta(minutes=1)
        assert sum(work.drain().sent for work in works) == 20
        now[0] += timedelta(minutes=1)
        assert sum(work.drain().sent for work in works) == 10
        assert got(server).keys() == {one.id.hex for one in made}
    with store.reading() as connection:
        assert connection.scalar(sa.select(sa.func.max(DELIVERY.c.attempts))) == 1


def test_a_relay_at_its_limit_keeps_no_other_mail_waiting(
    store: Store, standing_clock: list[Any]
) -> None:
    """Its own mail waits, and does not go by the next: it is not in trouble."""
    with scripted({}) as first, scripted({}) as second:
        own = relay("own", first.port, from_domains=("own.example",), max_per_minute=2)
        other = relay("other", second.port)
        put(store, 70, "a@own.example")
        put(store, 3, "a@other.example")
        standing_clock[0] += timedelta(seconds=1)
        assert dispatcher(store, own, other).drain().sent == 5
        assert (len(first.messages), len(second.messages)) == (2, 3)


# -- the cost --------------------------------------------------------------------------


def test_what_waits_aside_is_found_by_index(any_store: Store) -> None:
    """However much waits, and before anybody has counted it."""
    store, plans = any_store, []
    store.put(*(a_message(due_in=timedelta(hours=1)) for _ in range(3000)))
    explain = "EXPLAIN QUERY PLAN" if store.engine.dialect.name == "sqlite" else "EXPLAIN"

    def look(_: Any, cursor: Any, statement: str, parameters: Any, *more: Any) -> None:
        if "reason" in statement:
            cursor.execute(f"{explain} {statement}", parameters)
            plans.append("\n".join(map(str, cursor.fetchall())))

    with store.writing() as connection:
        change(connection, reason="relay", relay="/own")
        by_index(connection)
        sa.event.listen(connection, "before_cursor_execute", look)
        found = claim._aside(connection, ["/own"], clock.now(), 10, ANY, Priority.NORMAL)
    assert len(found) == 10
    assert len(plans) == 2
    assert all("ix_interaction_mail_delivery_due" in plan for plan in plans), plans

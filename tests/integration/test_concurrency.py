"""As many connections as the line wants, and the server takes."""

from __future__ import annotations

import threading
import time
from typing import Any

import pytest

from flask_interaction_mail import clock
from flask_interaction_mail.delivery.dispatcher import Dispatcher
from flask_interaction_mail.outbox import breaker
from flask_interaction_mail.outbox.server_limits import read
from flask_interaction_mail.settings.model import MessagingSettings, relay_of
from flask_interaction_mail.transport.base import Envelope, TransportResult
from flask_interaction_mail.transport.memory import MemoryTransport
from flask_interaction_mail.transport.smtp.transport import SmtpTransport
from tests.outbox_rows import Store, a_message
from tests.servers.certificates import pki
from tests.servers.clients import PATIENT, settings
from tests.servers.scripted import OK, Action, Gone, Peer, after, encrypt, scripted, until


def put(store: Store, count: int) -> None:
    store.put(*(a_message(f"p{number}@firm.example") for number in range(count)))


class FarAway(MemoryTransport):
    """Takes a tenth of a second for each message."""

    def deliver(self, envelope: Envelope) -> TransportResult:
        time.sleep(0.1)
        return super().deliver(envelope)


def test_a_server_far_away_gets_more_connections(store: Store) -> None:
    """Most of the time is spent waiting: each connection brings as much as the others."""
    opened: list[FarAway] = []

    def connect(_: MessagingSettings) -> FarAway:
        opened.append(FarAway())
        return opened[-1]

    put(store, 300)
    assert Dispatcher(store.ports(transport=connect, connections=16)).drain().sent == 300
    assert 8 <= len(opened) <= 16


class Door:
    """Greets those for whom there is room, and says ``farewell`` to the others."""

    def __init__(self, room: int, farewell: bytes, welcome: Action = b"") -> None:
        self.turned_away = 0
        self._room = room
        self._farewell = farewell
        self._welcome = welcome
        self._lock = threading.Lock()
        self._entering = 0
        self._inside: list[Peer] = []

    def nobody_inside(self) -> bool:
        """Whether all have gone."""
        self._inside = [one for one in self._inside if one.socket.fileno() >= 0]
        return not self._inside

    def take(self, peer: Peer) -> None:
        """Be slow enough for more connections to pay, and sure to see one too many."""
        time.sleep(0.03)
        if len(peer.server.messages) > 20:
            until(lambda: self.turned_away > 0)
        peer.say(OK)

    def __call__(self, peer: Peer) -> None:
        with self._lock:
            self.nobody_inside()
            full = self._entering + len(self._inside) >= self._room
            self._entering += not full
        if full:
            self.turned_away += 1
            peer.say(self._farewell)
            raise Gone
        peer.act(self._welcome)
        with self._lock:
            self._entering -= 1
            self._inside.append(peer)
        peer.say(b"220 scripted.test ESMTP\r\n")


def drain(store: Store, port: int, chosen: MessagingSettings | None = None, **changes: Any) -> int:
    chosen = chosen or settings(port)
    ports = store.ports(
        settings=lambda: chosen,
        transport=lambda one: SmtpTransport(one, timeouts=PATIENT),
        connections=8,
        **changes,
    )
    return Dispatcher(ports).drain().sent


def test_a_server_that_has_enough_of_us_gets_fewer_connections(store: Store) -> None:
    """As Exchange says it, to each message beside too many: half of them end, the rest goes on."""
    inside: list[Peer] = []
    refused: list[float] = []

    def open_now() -> int:
        return sum(one.socket.fileno() >= 0 for one in inside)

    def greet(peer: Peer) -> None:
        inside.append(peer)
        peer.say(b"220 scripted.test ESMTP\r\n")

    def take(peer: Peer) -> None:
        time.sleep(0.05)
        if open_now() > 4 and len(server.messages) > 60:
            refused.append(time.monotonic())
            peer.say(b"432 4.3.2 Concurrent connections limit exceeded\r\n")
        else:
            peer.say(OK)

    with scripted({"GREETING": greet, "DOT": take}) as server:
        put(store, 400)
        sent = drain(store, server.port)
        assert max(refused) - min(refused) < 2  # then there are four
        assert len(inside) == 8
    assert refused
    assert sent == 400 - len(refused)
    assert store.statuses() == {"sent": sent, "deferred": len(refused)}


@pytest.mark.parametrize("farewell", [b"421 4.7.0 too many connections\r\n", b""])
def test_a_server_that_takes_three_connections_is_in_no_trouble(
    store: Store, farewell: bytes
) -> None:
    """The fourth one leaves quietly, no message is late, and the next worker opens three.

    Courier says nothing to it at all.
    """
    door = Door(3, farewell)
    with scripted({"GREETING": door, "DOT": [*[door.take] * 60, after(0.03, OK)]}) as server:
        put(store, 60)
        assert drain(store, server.port) == 60
        assert door.turned_away
        there = relay_of(settings(server.port))
        with store.reading() as connection:
            assert read(connection, there, clock.now()).connections == 3
            assert breaker.read(connection, there) is None
        assert until(door.nobody_inside)
        door.turned_away = 0
        put(store, 60)
        assert drain(store, server.port) == 60
        assert not door.turned_away
    assert store.statuses() == {"sent": 120}


def test_one_connection_too_many_may_end_before_the_encryption(store: Store) -> None:
    """At port 465 the greeting comes after it."""
    door = Door(3, b"", welcome=encrypt)
    with scripted({"GREETING": door, "DOT": door.take}, tls=pki().server()) as server:
        chosen = settings(server.port, encryption="tls", ca_certificate=pki().pem)
        put(store, 60)
        assert drain(store, server.port, chosen) == 60
        assert door.turned_away
        with store.reading() as connection:
            assert read(connection, relay_of(chosen), clock.now()).connections == 3
            assert breaker.read(connection, relay_of(chosen)) is None

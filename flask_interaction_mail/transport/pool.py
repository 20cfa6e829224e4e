"""Connections that are kept for a while, so that sparse mail does not open one for each message."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Sequence
from functools import partial
from typing import Final, NamedTuple

from .. import threads
from ..settings.relay import Relay
from .base import Transport

_IDLE: Final = 10.0  # s without a message after which a connection is given up


class _Kept(NamedTuple):
    since: float  # of time.monotonic
    relay: Relay
    transport: Transport


class KeptTransports:
    """Transports by the relay that they were made for; for any number of threads."""

    def __init__(self, connect: Callable[[Relay], Transport], *, idle: float = _IDLE) -> None:
        self._connect = connect
        self._idle = idle
        self._lock = threading.Lock()
        self._kept: list[_Kept] = []
        self._open = False

    def take(self, relay: Relay) -> Transport:
        """One to ``relay`` that nobody else has."""
        with self._lock:
            self._open = True
            newest_first = reversed(self._kept)
            found = next((kept for kept in newest_first if kept.relay == relay), None)
            if found is not None:
                self._kept.remove(found)
        return self._connect(relay) if found is None else found.transport

    def keep_only(self, relays: Sequence[Relay]) -> None:
        """Close those to others than ``relays``; does not wait for their farewell."""
        if not self._kept:
            return
        with self._lock:
            others = [kept.transport for kept in self._kept if kept.relay not in relays]
            self._kept = [kept for kept in self._kept if kept.relay in relays]
        _close_aside(others)

    def give_back(self, relay: Relay, transport: Transport) -> None:
        """Keep ``transport`` for the next one; closed at once where nothing is kept any more."""
        with self._lock:
            if self._open:
                self._kept.append(_Kept(time.monotonic(), relay, transport))
                return
        transport.close()

    def close_idle(self) -> None:
        """Give up those that had nothing to do for a while; does not wait for their farewell."""
        if not self._kept:
            return
        end = time.monotonic() - self._idle
        with self._lock:
            idle = [kept.transport for kept in self._kept if kept.since <= end]
            self._kept = [kept for kept in self._kept if kept.since > end]
        _close_aside(idle)

    def close(self) -> None:
        """Give all of them up, politely."""
        with self._lock:
            kept, self._kept, self._open = self._kept, [], False
        _close([transport for _, _, transport in kept])


def _close_aside(transports: list[Transport]) -> None:
    if transports and not threads.start(partial(_close, transports), "interaction-mail-farewell"):
        _close(transports)


def _close(transports: Sequence[Transport]) -> None:
    for transport in transports:
        transport.farewell()  # to all of them first: the answers are waited for together
    for transport in transports:
        transport.close()

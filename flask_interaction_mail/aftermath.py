"""What a host's transaction left to be stored: in one of our own, now or later.

Nothing here raises into the host: its transaction, or its app context, has ended already. What
cannot be stored now is tried again in the background, and once more when the process ends.
"""

from __future__ import annotations

import atexit
import enum
import logging
import os
import threading
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

import sqlalchemy as sa
from flask import Flask
from flask_sqlalchemy import SQLAlchemy

from .database import Database

log = logging.getLogger("flask_interaction_mail")

RETRY = (1.0, 2.0, 4.0, 8.0, 15.0, 30.0, 60.0, 120.0, 240.0)  # s to wait before each new try


class Fate(enum.Enum):
    """What becomes of a work when its transaction ends."""

    JOIN = "join"  # stored with the commit, gone with a rollback
    ALWAYS = "always"  # stored in a transaction of its own, however the host's ends


class Work(Protocol):
    """Something to be stored; its ``str`` names it in the log."""

    @property
    def fate(self) -> Fate: ...


class WorkKeeper(Protocol):
    """Who knows how to store works."""

    def write(self, connection: sa.Connection, works: Sequence[Any]) -> Sequence[Any]:
        """Store, and commit nothing; gives those very works that changed something."""
        ...

    def announce(self, works: Sequence[Any]) -> None:
        """Tell of what is committed."""
        ...


class Owner(Protocol):
    """The app that a work belongs to, with its database and its keeper."""

    app: Flask
    db: SQLAlchemy
    database: Database

    @property
    def keeper(self) -> WorkKeeper: ...

    def context_ends(self) -> None:
        """Everything that an app context had to store is stored."""
        ...


@dataclass(eq=False, slots=True)
class Home:
    """What an app context has still to store: items that have no transaction any more."""

    owner: Owner
    items: list[Item] = field(default_factory=list)
    failed: str | None = None  # why joined items are dropped at the end of the context


@dataclass(eq=False, slots=True)
class Item:
    """A work, and where it is to go when its transaction is gone."""

    work: Any
    owner: Owner
    home: Home | None  # None with session=: nothing without a commit
    settled: bool = False  # stored, taken back or dropped: nothing is left to do

    @property
    def joins(self) -> bool:
        return self.work.fate is Fate.JOIN

    def __del__(self) -> None:
        # The net below the net: a session or an app context that was never ended.
        if not self.settled:
            _log(logging.ERROR, "lost", [self], "its session was thrown away without an end")


def settle(items: Iterable[Item]) -> None:
    """Nothing more is to be done for ``items``."""
    for item in items:
        item.settled = True


def drop(items: Iterable[Item], because: str) -> None:
    """Give up those of ``items`` that are not settled, and say so."""
    dropped = _open(items)
    settle(dropped)
    if dropped:
        _log(logging.WARNING, "dropped", dropped, because)


def write(connection: sa.Connection, items: Sequence[Item]) -> list[Item]:
    """Store the works of ``items``; gives those items that changed something."""
    written: list[Item] = []
    for owner, group in _by_owner(items):
        done = {id(work) for work in owner.keeper.write(connection, [one.work for one in group])}
        written += [item for item in group if id(item.work) in done]
    return written


def announce(items: Sequence[Item]) -> None:
    """Tell of ``items``, which are committed. Never raises."""
    settle(items)
    for owner, group in _by_owner(items):
        try:
            owner.keeper.announce([item.work for item in group])
        except Exception:
            log.exception("notification.announce_failed: stored, but not everybody was told")


def store(items: Iterable[Item]) -> None:
    """Store what is open of ``items`` in a transaction of our own. Never raises."""
    for owner, group in _by_owner(_open(items)):
        _store_or_delay(owner, group, RETRY)


def _store_or_delay(owner: Owner, items: Sequence[Item], waits: Sequence[float]) -> None:
    try:
        stored = _store_now(owner, items)
    except Exception as error:
        if waits:
            _log(logging.ERROR, "delayed", items, _in_short(error))
            _Delayed(owner, items, waits).start()
        else:
            _give_up(items, error)
    else:
        announce(stored)


def _store_now(owner: Owner, items: Sequence[Item]) -> list[Item]:
    with owner.database.writing() as connection:
        stored = write(connection, items)
    settle(items)  # also those whose key somebody else had: they are in the database
    return stored


def _give_up(items: Sequence[Item], error: Exception) -> None:
    settle(items)
    _log(logging.ERROR, "lost", items, _in_short(error))


@dataclass(eq=False, slots=True)
class _Delayed:
    """Items that could not be stored yet, and when they are tried again."""

    owner: Owner
    items: Sequence[Item]
    waits: Sequence[float]  # s; the first is running
    timer: threading.Timer = field(init=False)

    def start(self) -> None:
        self.timer = threading.Timer(self.waits[0], self.again)
        self.timer.daemon = True
        _delayed.add(self)
        self.timer.start()

    def again(self) -> None:
        _delayed.discard(self)
        with self.owner.app.app_context():  # receivers of the signals expect one
            _store_or_delay(self.owner, self.items, self.waits[1:])

    def last_try(self) -> None:
        self.timer.cancel()
        try:
            _store_now(self.owner, self.items)
        except Exception as error:
            _give_up(self.items, error)


_delayed: set[_Delayed] = set()


@atexit.register
def _process_ends() -> None:
    # Nobody is told any more: signals belong to a living application, and delivery looks itself.
    while _delayed:
        _delayed.pop().last_try()


if hasattr(os, "register_at_fork"):  # not on Windows
    # A fork copies no threads: what waits is the parent's to store.
    os.register_at_fork(after_in_child=_delayed.clear)


def _open(items: Iterable[Item]) -> list[Item]:
    return [item for item in items if not item.settled]


def _by_owner(items: Iterable[Item]) -> Iterator[tuple[Owner, list[Item]]]:
    groups: dict[int, list[Item]] = {}
    for item in items:
        groups.setdefault(id(item.owner), []).append(item)
    return ((group[0].owner, group) for group in groups.values())


def _in_short(error: Exception) -> str:
    # Further lines quote the statement and the row, and so bodies and addresses.
    return f"{type(error).__name__}: {error}".partition("\n")[0]


def _log(level: int, event: str, items: Sequence[Item], because: str) -> None:
    names = [str(item.work) for item in items]
    text = "notification.%s: %s: %s"
    log.log(level, text, event, ", ".join(names), because, extra={"works": names})

"""What a host's transaction left to be stored: in one of our own, now or later.

Nothing here raises into the host: its transaction, or its app context, has ended already. What
cannot be stored now is tried again in the background, and once more when the process ends.
"""

from __future__ import annotations

import enum
import logging
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any, Protocol

import sqlalchemy as sa
from flask import Flask
from flask_sqlalchemy import SQLAlchemy

from ..storage.database import Database
from . import delayed
from .delayed import Job

log = logging.getLogger("flask_interaction_mail")


class CommitRule(enum.Enum):
    """What becomes of a work when its transaction ends."""

    JOIN = "join"  # stored with the commit, gone with a rollback
    ALWAYS = "always"  # stored in a transaction of its own, however the host's ends


class Work(Protocol):
    """Something to be stored; its ``str`` says in the log what it is and for whom."""

    @property
    def fate(self) -> CommitRule: ...

    @property
    def size(self) -> int:
        """About how many bytes it takes in memory."""
        ...


class Writing(Protocol):
    """Who knows how to store works."""

    def write(self, connection: sa.Connection, works: Sequence[Any]) -> Sequence[Any]:
        """Store, and commit nothing; gives those very works that changed something."""
        ...

    def announce(self, works: Sequence[Any]) -> None:
        """Tell of what is committed."""
        ...


class Delivery(Protocol):
    """A way of delivery, as far as others know it."""

    def ensure_running(self) -> None:
        """A request begins."""
        ...

    def wake(self) -> None:
        """There is something to deliver."""
        ...

    def context_ends(self) -> None:
        """An app context has stored what it had to store."""
        ...

    def stop(self, timeout: float = ...) -> None:
        """Finish what is in flight, for ``timeout`` seconds at most."""
        ...


class Owner(Protocol):
    """The app that a work belongs to, with its database, and who stores and delivers for it."""

    app: Flask
    db: SQLAlchemy
    database: Database

    @property
    def writer(self) -> Writing: ...

    @property
    def delivery(self) -> Delivery: ...


@dataclass(eq=False, slots=True)
class ContextQueue:
    """What an app context has still to store: items that have no transaction any more."""

    owner: Owner
    request: object = None  # in which the calls were
    after: bool = False  # those calls report on a failure, or on a response: no share in its fate
    items: list[PendingWork] = field(default_factory=list)
    failed: str | None = None  # why joined items are dropped at the end of the context


@dataclass(eq=False, slots=True)
class PendingWork:
    """A work, and where it is to go when its transaction is gone."""

    work: Any
    owner: Owner
    home: ContextQueue | None  # None with session=: nothing without a commit
    settled: bool = False  # stored, taken back or dropped: nothing is left to do

    @property
    def joins(self) -> bool:
        return self.work.fate is CommitRule.JOIN

    def __del__(self) -> None:
        # The net below the net: a session or an app context that was never ended.
        if not self.settled:
            _log(logging.ERROR, "lost", [self], "its session was thrown away without an end")


def settle(items: Iterable[PendingWork]) -> None:
    """Nothing more is to be done for ``items``."""
    for item in items:
        item.settled = True


def drop(items: Iterable[PendingWork], because: str) -> None:
    """Give up those of ``items`` that are not settled, and say so."""
    dropped = _open(items)
    settle(dropped)
    if dropped:
        _log(logging.WARNING, "dropped", dropped, because)


def write(connection: sa.Connection, items: Sequence[PendingWork]) -> list[PendingWork]:
    """Store the works of ``items``; gives those items that changed something."""
    written: list[PendingWork] = []
    for owner, group in _by_owner(items):
        own = owner.database.in_schema(connection)
        done = {id(work) for work in owner.writer.write(own, [one.work for one in group])}
        written += [item for item in group if id(item.work) in done]
    return written


def announce(items: Sequence[PendingWork]) -> None:
    """Tell of ``items``, which are committed. Never raises."""
    settle(items)
    for owner, group in _by_owner(items):
        try:
            owner.writer.announce([item.work for item in group])
        except Exception:
            log.exception("notification.announce_failed: stored, but not everybody was told")


def store(items: Iterable[PendingWork]) -> None:
    """Store what is open of ``items`` in a transaction of our own, now or later. Never raises."""
    for owner, group in _by_owner(_open(items)):
        try:
            _store(owner, group)
        except Exception as error:
            names = [str(item.work) for item in group]
            job = Job(
                app=owner.app,
                attempt=partial(_store, owner, group),
                give_up=partial(settle, group),
                names=names,
                size=sum(item.work.size for item in group),
            )
            delayed.keep(job, error)


def _store(owner: Owner, items: Sequence[PendingWork]) -> None:
    with owner.database.writing() as connection:
        stored = write(connection, items)
    settle(items)  # also those whose key somebody else had: they are in the database
    if not delayed.process_ends():
        announce(stored)  # signals belong to a living application, and delivery looks by itself


def _open(items: Iterable[PendingWork]) -> list[PendingWork]:
    return [item for item in items if not item.settled]


def _by_owner(items: Iterable[PendingWork]) -> Iterator[tuple[Owner, list[PendingWork]]]:
    groups: dict[int, list[PendingWork]] = {}
    for item in items:
        groups.setdefault(id(item.owner), []).append(item)
    return ((group[0].owner, group) for group in groups.values())


def _log(level: int, event: str, items: Sequence[PendingWork], because: str) -> None:
    delayed.tell(level, event, [str(item.work) for item in items], because)

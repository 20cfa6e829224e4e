"""Writes pending works into the database: in the host's commit, or in a transaction of our own.

No public function but ``write`` raises: the host's transaction, or its app context, has ended
already. What cannot be stored now goes to the retry queue.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable, Iterator, Sequence
from functools import partial

import sqlalchemy as sa

from .. import clock
from ..logs import log
from ..messages.message import NewMessage
from ..outbox import messages
from ..outbox.insert import insert
from ..storage.write_conflicts import change_or_skip
from ..values import Status
from . import retry_queue
from .announce import announce_ids, emit, is_heard
from .app_context import wake
from .pending_work import (
    CancelMessages,
    Owner,
    PendingWork,
    Work,
    log_works,
    mark_done,
)
from .recording import messages_of, note_given_up, note_stored


def write(connection: sa.Connection, items: Sequence[PendingWork]) -> list[PendingWork]:
    """Write the works of ``items``; returns the items that changed something.

    The owner of ``connection`` commits.
    """
    changed: list[PendingWork] = []
    for owner, group in _by_owner(items):
        changed += _write(owner.database.in_schema(connection), group)
    return changed


def store(items: Iterable[PendingWork]) -> None:
    """Store what is open of ``items`` in a transaction of our own, now or later. Never raises."""
    for owner, group in _by_owner(_open(items)):
        try:
            _store(owner, group)
        except Exception as error:
            job = retry_queue.Job(
                app=owner.app,
                attempt=partial(_store, owner, group),
                give_up=partial(forget, group, "the database did not take it"),
                names=[str(item.work) for item in group],
                size=sum(item.work.size for item in group),
            )
            retry_queue.add(job, error)


def store_now(owner: Owner, new: Sequence[NewMessage]) -> list[NewMessage]:
    """Store ``new`` in a transaction of our own, and announce it; gives those that were stored.

    One whose key is taken is not. The rest of this module never raises; this raises what the
    database raises, with nothing stored.
    """
    with owner.database.writing() as connection:
        stored = insert(connection, new)
    note_stored(owner, stored)
    for message in stored:
        _emit(owner, message)
    _wake_for(owner, stored)
    return stored


def drop(items: Iterable[PendingWork], because: str) -> None:
    """Give up what is open of ``items``, and log it as a WARNING."""
    if dropped := forget(items, because):
        names = [str(item.work) for item in dropped]
        log_works(logging.WARNING, "dropped", names, because)


def forget(items: Iterable[PendingWork], because: str) -> list[PendingWork]:
    """Give up what is open of ``items``, which is given, as the host wants it."""
    forgotten = _open(items)
    mark_done(forgotten)
    note_given_up(forgotten, because)
    return forgotten


def announce(items: Sequence[PendingWork]) -> None:
    """Send the signals of ``items``, which are committed, and wake delivery. Never raises."""
    mark_done(items)
    for owner, group in _by_owner(items):
        try:
            _announce(owner, [item.work for item in group])
        except Exception:
            log.exception("notification.announce_failed: stored, but not everybody was told")


def _store(owner: Owner, items: Sequence[PendingWork]) -> None:
    with owner.database.writing() as connection:
        changed = write(connection, items)
    mark_done(items)  # all of them: a key that another process took first is in the database
    if not retry_queue.process_ends():
        announce(changed)  # signals belong to a living application, and delivery looks by itself


def _write(connection: sa.Connection, items: Sequence[PendingWork]) -> list[PendingWork]:
    new = [*messages_of(item.work for item in items)]
    # By origin, not by id: of two messages with one key the first must win.
    stored = {message.origin for message in insert(connection, new)}
    return [
        item
        for item in items
        if (
            _cancel(connection, item.work)
            if isinstance(item.work, CancelMessages)
            else item.work.message.origin in stored
        )
    ]


def _cancel(connection: sa.Connection, work: CancelMessages) -> bool:
    ids = work.ids if work.pair is None else messages.of_pair(connection, work.pair)
    cancel = partial(messages.cancel, connection, ids, work.reason, clock.now())
    cancelled = change_or_skip(connection, cancel)
    if work.pair is not None:
        work.ids = cancelled or ()
    return bool(work.ids)


def _announce(owner: Owner, works: Sequence[Work]) -> None:
    new = [*messages_of(works)]
    note_stored(owner, new)
    for work in works:
        if isinstance(work, CancelMessages):
            announce_ids(owner.app, owner.database, work.ids)
        else:
            _emit(owner, work.message)
    _wake_for(owner, new)


def _emit(owner: Owner, message: NewMessage) -> None:
    if is_heard(message.status):
        emit(owner.app, message.snapshot())


def _wake_for(owner: Owner, new: Iterable[NewMessage]) -> None:
    if any(message.status is Status.QUEUED for message in new):
        wake(owner)


def _open(items: Iterable[PendingWork]) -> list[PendingWork]:
    return [item for item in items if not item.done]


def _by_owner(items: Iterable[PendingWork]) -> Iterator[tuple[Owner, list[PendingWork]]]:
    groups: dict[int, list[PendingWork]] = {}
    for item in items:
        groups.setdefault(id(item.owner), []).append(item)
    return ((group[0].owner, group) for group in groups.values())

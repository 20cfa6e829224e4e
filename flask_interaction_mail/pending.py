"""What waits for the end of a host's transaction, and what becomes of it then.

A *work* belongs to the innermost transaction of a session, a savepoint included, begun at the
call if there is none: a rollback without a transaction would not be seen. It is written in the
outermost commit, as late as possible, because an earlier insert would hold SQLite's write lock.
What is still there when the app context ends is written then, in a transaction of its own.

The listeners hang on SQLAlchemy's ``Session`` class, once for every app and every session; what
waits hangs on the session itself, by transaction.
"""

from __future__ import annotations

import enum
import logging
import threading
from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

import sqlalchemy as sa
from flask import Flask, Response, appcontext_tearing_down, g, request_finished
from flask_sqlalchemy import SQLAlchemy
from sqlalchemy import event
from sqlalchemy.orm import Session, SessionTransaction

from .database import MESSAGE, connected
from .errors import InteractionMailError

log = logging.getLogger("flask_interaction_mail")

_KEY = "interaction_mail_pending"  # in Session.info and in flask.g
RETRY = (1.0, 2.0, 4.0, 8.0, 15.0, 30.0, 60.0, 120.0, 240.0)  # s, for a transaction of our own


class Fate(enum.Enum):
    """What becomes of a work when its transaction ends."""

    JOIN = "join"  # stored with the commit, gone with a rollback
    ALWAYS = "always"  # stored in a transaction of its own, however the host's ends


class Work(Protocol):
    """Something to be stored."""

    @property
    def fate(self) -> Fate: ...


class WorkKeeper(Protocol):
    """Who knows how to store works."""

    def write(self, connection: sa.Connection, works: Sequence[Any]) -> Sequence[Any]:
        """Store; gives the works that changed something."""
        ...

    def announce(self, works: Sequence[Any]) -> None:
        """Tell of what is committed; must not raise."""
        ...


class Owner(Protocol):
    """The app that a work belongs to."""

    app: Flask
    db: SQLAlchemy

    @property
    def keeper(self) -> WorkKeeper: ...

    def context_ends(self) -> None:
        """Everything of an app context is stored."""
        ...


class SessionOver(InteractionMailError):
    """``session=`` is in a transaction that has failed or is over."""


@dataclass(eq=False, slots=True)
class _Item:
    work: Any
    owner: Owner
    home: _Home | None  # None with session=: nothing without a commit
    settled: bool = False

    @property
    def always(self) -> bool:
        return bool(self.work.fate is Fate.ALWAYS)

    def __del__(self) -> None:
        # The net below the net: a session or a context that never ended.
        if not self.settled:
            log.error("notification.lost: its session was thrown away without an end")


@dataclass(eq=False, slots=True)
class _Home:
    """What an app context has still to store: works that have no transaction any more."""

    owner: Owner
    items: list[_Item] = field(default_factory=list)
    failed: str | None = None


@dataclass(eq=False, slots=True)
class _Box:
    """What one transaction, outermost or savepoint, carries."""

    waiting: list[_Item] = field(default_factory=list)
    written: list[_Item] = field(default_factory=list)
    committed: bool = False


_Boxes = defaultdict[SessionTransaction, _Box]


def enrol(work: Work, owner: Owner, *, session: Session | None = None) -> None:
    """Let ``work`` share the fate of the transaction of ``session``, default ``db.session``.

    Raises:
        SessionOver: the transaction of an explicit ``session`` has failed or is over.
    """
    home = attend(owner)
    if session is not None:
        _enrol_strictly(_Item(work, owner, None), session)
        return
    item = _Item(work, owner, home)
    own = owner.db.session()
    if not own.in_transaction():
        own.begin()  # takes no connection
    if own.is_active:
        _boxes(own)[_innermost(own)].waiting.append(item)
    else:  # a failed flush not rolled back yet, or a listener after the commit
        home.items.append(item)


def _enrol_strictly(item: _Item, session: Session) -> None:
    if not session.in_transaction():
        session.begin()
    if not session.is_active:
        item.settled = True
        raise SessionOver("the transaction of session= has failed or is over: roll it back first")
    _boxes(session)[_innermost(session)].waiting.append(item)


def attend(owner: Owner) -> _Home:
    """See to it that ``owner`` hears of the end of this app context."""
    home: _Home | None = g.get(_KEY)
    if home is None:
        home = _Home(owner)
        setattr(g, _KEY, home)
    return home


def pending_of(session: Session) -> Iterator[Any]:
    """The works that wait for the commit of ``session``."""
    for box in session.info.get(_KEY, {}).values():
        yield from (item.work for item in box.waiting)


def withdraw(session: Session, chosen: Callable[[Any], bool]) -> bool:
    """Take the ``chosen`` works out of what waits for the commit of ``session``."""
    found = False
    for box in session.info.get(_KEY, {}).values():
        gone = [item for item in box.waiting if chosen(item.work)]
        box.waiting = [item for item in box.waiting if item not in gone]
        _settle(gone)
        found = found or bool(gone)
    return found


# -- the transaction's way -------------------------------------------------------------


@event.listens_for(Session, "before_commit")
def _before_commit(session: Session) -> None:
    if not session.info.get(_KEY) or session.in_nested_transaction():
        return  # the release of a savepoint, or nothing to do
    session.flush()  # a flush listener of the host may send, too
    box = session.info[_KEY].get(session.get_transaction())
    if box is None:
        return
    # From here on an end without a commit is a failed commit.
    box.written = [item for item in box.waiting if not item.always]
    box.waiting = [item for item in box.waiting if item.always]
    try:
        box.written = _write(session, box.written)
    except sa.exc.StatementError as error:
        error.hide_parameters = True  # no body and no address in the host's log
        raise


@event.listens_for(Session, "after_commit")
def _after_commit(session: Session) -> None:
    boxes = session.info.get(_KEY)
    transaction = _innermost(session)
    if not boxes or transaction not in boxes:
        return
    if transaction.nested:  # a savepoint was released: what it carried goes up
        boxes[_enclosing(transaction)].waiting += boxes.pop(transaction).waiting
    else:
        boxes[transaction].committed = True


@event.listens_for(Session, "after_rollback")
def _after_rollback(session: Session) -> None:
    boxes = session.info.get(_KEY)
    transaction = _innermost(session)
    if not boxes or transaction not in boxes:
        return
    box = boxes[transaction]
    _settle([item for item in box.waiting if not item.always] + box.written)
    box.waiting, box.written = [item for item in box.waiting if item.always], []


@event.listens_for(Session, "after_transaction_end")
def _after_transaction_end(session: Session, transaction: SessionTransaction) -> None:
    boxes = session.info.get(_KEY)
    box = boxes.pop(transaction, None) if boxes else None
    if box is None:
        return
    if transaction.nested:
        boxes[_enclosing(transaction)].waiting += box.waiting
        return
    if not box.committed:  # closed, or its COMMIT failed
        box.waiting = _left_without_commit(box)
    _store_each(box.waiting, session)  # ALWAYS, or enrolled by a later listener of this commit
    if box.committed:
        _announce(box.written)


def _left_without_commit(box: _Box) -> list[_Item]:
    """Send joined works home; gives those that are stored all the same."""
    joined = [item for item in box.waiting if not item.always]
    homeless = [item for item in joined if item.home is None]
    _drop(box.written + homeless, "its transaction was not committed")
    for item in joined:
        if item.home is not None:
            item.home.items.append(item)
    return [item for item in box.waiting if item.always]


# -- the end of an app context ---------------------------------------------------------


@request_finished.connect
def _request_finished(_app: Flask, response: Response, **_: Any) -> None:
    # A handled exception: the teardown functions are told of none.
    home: _Home | None = g.get(_KEY)
    if home is not None and response.status_code >= 500:
        home.failed = response.status


@appcontext_tearing_down.connect  # comes after every teardown function, whatever the order
def _context_ends(_app: Flask, exc: BaseException | None = None, **_: Any) -> None:
    home: _Home | None = g.get(_KEY)
    if home is None:
        return
    session = home.owner.db.session
    session.remove()  # usually done; one still open gives back here what it carries
    # Not GeneratorExit (the reader has gone), SystemExit or KeyboardInterrupt.
    failed = repr(exc) if isinstance(exc, Exception) else home.failed
    items, home.items = home.items, []
    if failed is not None:
        _drop([item for item in items if not item.always], f"the app context ended with {failed}")
        items = [item for item in items if item.always]
    if items:
        _store(items, session().get_bind(clause=MESSAGE))
    home.owner.context_ends()
    session.remove()  # receivers of the signals may have used it


# -- storing ---------------------------------------------------------------------------


def _write(session: Session, items: list[_Item]) -> list[_Item]:
    if not items:
        return []
    # Not through Session.execute: hooks of the host on it are not for our statements.
    connection = session.connection(bind_arguments={"clause": MESSAGE})
    return _write_on(connection, items)


def _write_on(connection: sa.Connection, items: list[_Item]) -> list[_Item]:
    written: list[_Item] = []
    for owner, group in _by_owner(items):
        done = {id(work) for work in owner.keeper.write(connection, [one.work for one in group])}
        _settle([item for item in group if id(item.work) not in done])
        written += [item for item in group if id(item.work) in done]
    return written


def _store_each(items: list[_Item], session: Session) -> None:
    if items:
        _store(items, session.get_bind(clause=MESSAGE))


def _store(
    items: list[_Item], bind: sa.Engine | sa.Connection, waits: tuple[float, ...] | None = None
) -> None:
    """Write ``items`` in a transaction of our own; later if it cannot be now. Never raises."""
    waits = RETRY if waits is None else waits
    try:
        with connected(bind) as connection, Session(connection) as own, own.begin():
            stored = _write_on(own.connection(), items)
        _announce(stored)
    except Exception as error:
        cause = getattr(error, "orig", error)
        if not waits:
            log.error("notification.lost: %s could not be stored: %s", len(items), cause)
            _settle(items)
            return
        log.error("notification.delayed: %s not stored yet: %s", len(items), cause)
        timer = threading.Timer(waits[0], _store, (items, bind, waits[1:]))
        timer.daemon = True
        timer.start()


def _announce(items: list[_Item]) -> None:
    _settle(items)
    for owner, group in _by_owner(items):
        owner.keeper.announce([item.work for item in group])


def _settle(items: Sequence[_Item]) -> None:
    for item in items:
        item.settled = True


def _drop(items: Sequence[_Item], because: str) -> None:
    _settle(items)
    if items:
        log.warning("notification.dropped: %s: %s", len(items), because)


def _by_owner(items: Sequence[_Item]) -> list[tuple[Owner, list[_Item]]]:
    groups: dict[int, tuple[Owner, list[_Item]]] = {}
    for item in items:
        groups.setdefault(id(item.owner), (item.owner, []))[1].append(item)
    return list(groups.values())


def _boxes(session: Session) -> _Boxes:
    boxes: _Boxes = session.info.setdefault(_KEY, defaultdict(_Box))
    return boxes


def _innermost(session: Session) -> SessionTransaction:
    transaction = session.get_nested_transaction() or session.get_transaction()
    assert transaction is not None  # noqa: S101 - every caller has seen one
    return transaction


def _enclosing(transaction: SessionTransaction) -> SessionTransaction:
    outer = transaction.parent
    while outer is not None and not outer.nested and outer.parent is not None:
        outer = outer.parent
    assert outer is not None  # noqa: S101 - a savepoint has a transaction around it
    return outer

"""What waits for the end of a host's transaction, and what becomes of it then.

A *work* belongs to the innermost transaction of a session, a savepoint included, begun at the
call if there is none: a rollback without a transaction would not be seen. It is written in the
outermost commit, as late as possible, because an earlier insert would hold SQLite's write lock.
What is still there when the app context ends is stored then, in a transaction of its own; what
the host throws away earlier with all that it has written is gone with that.

The listeners hang on SQLAlchemy's ``Session`` class, once for every app and every session; what
waits hangs on the session itself, by transaction.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from typing import Any

import sqlalchemy as sa
from sqlalchemy import event
from sqlalchemy.orm import Session, SessionTransaction

from ..errors import SessionOver
from ..storage.database import BIND_ARGUMENTS, plain_session, usable_connection
from . import written
from .contexts import homes_of, is_ending, watch_context
from .deferred import Owner, PendingWork, Work, announce, drop, settle, store, write
from .written import enclosing, innermost

_KEY = "interaction_mail_pending"  # in Session.info


@dataclass(eq=False, slots=True)
class _Box:
    """What one transaction, outermost or savepoint, carries."""

    waiting: list[PendingWork] = field(default_factory=list)
    withdrawn: list[PendingWork] = field(default_factory=list)  # called back, if this is committed
    joined: list[PendingWork] = field(default_factory=list)  # handed over in the commit under way
    written: list[PendingWork] = field(default_factory=list)  # those of them that changed something
    committed: bool = False
    notes: dict[object, Any] = field(default_factory=dict)

    def take_over(self, inner: _Box) -> None:
        """Carry what a savepoint carried."""
        self.waiting += inner.waiting
        self.withdrawn += inner.withdrawn


_Boxes = defaultdict[SessionTransaction, _Box]


def register(work: Work, owner: Owner, *, session: Session | None = None) -> None:
    """Let ``work`` share the fate of the transaction of ``session``, default ``db.session``.

    Needs an app context of ``owner.app``.

    Raises:
        SessionOver: the transaction of an explicit ``session`` has failed or is over.
        TablesMissing: the tables are not there yet.
        TypeError: ``session`` is not a ``Session``.
    """
    home = watch_context(owner)
    own = owner.db.session() if session is None else plain_session(session)
    if not own.in_transaction():
        own.begin()  # takes no connection
    if own.is_active:
        _check_tables(owner, own)
        written.watch(own)
        _box(own).waiting.append(PendingWork(work, owner, home if session is None else None))
    elif session is None:  # a failed flush not rolled back yet, or a listener after the commit
        home.items.append(PendingWork(work, owner, home))
    else:
        raise SessionOver(
            "The transaction of session= has failed or is over, so nothing can be stored with "
            "it: call its rollback() first, or leave session= out."
        )


def per_transaction(session: Session) -> dict[object, Any]:
    """What need be found out only once in the outermost transaction of ``session``.

    They go with that transaction, which is begun if there is none.
    """
    transaction = session.get_transaction() or session.begin()
    return _boxes(session)[transaction].notes


def pending_of(session: Session) -> Iterator[Any]:
    """The works that wait for the commit of ``session``, or for the end of its app context."""
    return (item.work for item in _open_items(plain_session(session)))


def withdraw(session: Session, chosen: Callable[[Any], bool]) -> bool:
    """Call back the ``chosen`` of the works that wait; False if there are none.

    This, too, belongs to the innermost transaction of ``session``: rolled back, they wait again.
    """
    own = plain_session(session)
    found = [item for item in _open_items(own) if chosen(item.work)]
    if not found:
        return False
    if not own.in_transaction():
        own.begin()
    if own.is_active:
        _box(own).withdrawn += found
    else:
        settle(found)
    return True


def _check_tables(owner: Owner, session: Session) -> None:
    if owner.database.tables_seen:
        return
    # On the session's own connection: a second one may be more than the pool has.
    if (connection := usable_connection(session)) is not None:
        owner.database.check_tables(connection)
    else:
        with owner.database.reading():
            pass  # that looks as well


def _open_items(session: Session) -> list[PendingWork]:
    boxes: Iterable[_Box] = session.info.get(_KEY, {}).values()
    withdrawn = {id(item) for box in boxes for item in box.withdrawn}
    waiting = [item for box in boxes for item in box.waiting]
    waiting += [item for home in homes_of(session) for item in home.items]
    return [item for item in waiting if not item.settled and id(item) not in withdrawn]


# -- the transaction's way -------------------------------------------------------------


@event.listens_for(Session, "before_commit")
def _before_commit(session: Session) -> None:
    if not session.info.get(_KEY) or session.in_nested_transaction():
        return  # the release of a savepoint, or nothing to do
    session.flush()  # a flush listener of the host may send, too
    if (box := _box_of(session, session.get_transaction())) is None:
        return
    # From here on an end without a commit is a failed commit.
    box.joined = [item for item in box.waiting if item.joins]
    box.waiting = [item for item in box.waiting if not item.joins]
    gone = {id(item) for item in box.withdrawn}
    try:
        box.written = _write(session, [item for item in box.joined if id(item) not in gone])
    except sa.exc.StatementError as error:
        error.hide_parameters = True  # no body and no address in the host's log
        raise


def _write(session: Session, items: list[PendingWork]) -> list[PendingWork]:
    # Not through Session.execute: hooks of the host on it are not for our statements.
    return write(session.connection(bind_arguments=BIND_ARGUMENTS), items) if items else []


@event.listens_for(Session, "after_commit")
def _after_commit(session: Session) -> None:
    if (box := _box_of(session, innermost(session))) is not None:
        box.committed = True  # of a released savepoint it says nothing yet


@event.listens_for(Session, "after_rollback")
def _after_rollback(session: Session) -> None:
    written.undone(session)
    if (box := _box_of(session, innermost(session))) is None:
        return
    settle(item for item in box.waiting + box.joined if item.joins)
    box.waiting = [item for item in box.waiting if not item.joins]
    box.withdrawn = []


@event.listens_for(Session, "after_transaction_end")
def _after_transaction_end(session: Session, transaction: SessionTransaction) -> None:
    wrote = written.ended(session, transaction)
    if (box := _box_of(session, transaction)) is None:
        return
    del _boxes(session)[transaction]
    if transaction.nested:  # released or rolled back: what is left goes on with the outer one
        _boxes(session)[enclosing(transaction)].take_over(box)
    elif box.committed:
        settle(box.joined + box.withdrawn)
        store(box.waiting)  # ALWAYS, or enrolled by a later listener of this commit
        announce(box.written)
    else:
        if wrote and not is_ending():
            _throw_away(box)
        _end_without_commit(box)


def _throw_away(box: _Box) -> None:
    """The host closed the session in mid-work: as a rollback, of its changes and of this."""
    box.withdrawn = [item for item in box.withdrawn if item in box.waiting]  # others wait again
    for item in box.waiting:
        item.home = None


def _end_without_commit(box: _Box) -> None:
    """The transaction was closed, rolled back, or its COMMIT failed."""
    settle(item for item in box.withdrawn if item.joins)  # nobody took it back again
    joined = [item for item in box.waiting if item.joins]
    homeless = [item for item in joined if item.home is None]
    drop(box.joined + homeless, "its transaction was not committed")
    for item in joined:
        if item.home is not None:
            item.home.items.append(item)
    store(item for item in box.waiting if not item.joins)


# -- transactions of a session ---------------------------------------------------------


def _boxes(session: Session) -> _Boxes:
    boxes: _Boxes = session.info.setdefault(_KEY, defaultdict(_Box))
    return boxes


def _box(session: Session) -> _Box:
    return _boxes(session)[innermost(session)]


def _box_of(session: Session, transaction: SessionTransaction | None) -> _Box | None:
    boxes = session.info.get(_KEY)
    return boxes.get(transaction) if boxes else None

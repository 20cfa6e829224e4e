"""What waits for the end of a host's transaction, and what becomes of it then.

A work belongs to the innermost transaction of a session, a savepoint included, begun at the call
if there is none: a rollback without a transaction would not be noticed. It is written in the
outermost commit, as late as possible, because an earlier insert would hold SQLite's write lock.
What still waits when the app context ends is stored then, in a transaction of its own. If the
host closes the session earlier and loses its own changes with that, the work is lost too.

The listeners hang on SQLAlchemy's ``Session`` class, once for every app and every session. What
waits hangs on the session itself, by transaction.
"""

from __future__ import annotations

import uuid
from collections import defaultdict
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Any, Final

import sqlalchemy as sa
from click.exceptions import Abort, Exit
from flask import Flask, appcontext_tearing_down
from sqlalchemy import event
from sqlalchemy.orm import Session, SessionTransaction

from ..errors import SessionOver
from ..logs import about, log
from ..messages.message import NewMessage
from ..storage.database import BIND_ARGUMENTS, plain_session
from ..values import Notification
from . import change_tracking
from .app_context import ContextProgress, current_progress, is_ending, queues_of, watch_context
from .change_tracking import enclosing, innermost
from .pending_work import CommitRule, Owner, PendingWork, StoreMessage, Work, mark_done
from .recording import messages_of
from .writer import announce, drop, forget, store, write

_KEY: Final = "interaction_mail_pending"  # in Session.info
_WITHDRAWN: Final = "it was called back before it was stored"
_ROUNDS: Final = 8  # how often receivers may send again while a context ends
_CROWD: Final = 100  # visible recipients, above which somebody has probably forgotten a loop


@dataclass(eq=False, slots=True)
class _Carried:
    """What one transaction, outermost or savepoint, carries."""

    waiting: list[PendingWork] = field(default_factory=list)
    withdrawn: list[PendingWork] = field(default_factory=list)  # if this is committed
    written: list[PendingWork] = field(default_factory=list)  # in the commit under way
    changed: list[PendingWork] = field(default_factory=list)  # those written that had an effect
    committed: bool = False
    cache: dict[object, Any] = field(default_factory=dict)

    def take_over(self, inner: _Carried) -> None:
        """Carry what a savepoint carried."""
        self.waiting += inner.waiting
        self.withdrawn += inner.withdrawn


_ByTransaction = defaultdict[SessionTransaction, _Carried]


def register(work: Work, owner: Owner, *, session: Session | None = None) -> None:
    """Let the transaction of ``session`` (default ``db.session``) carry ``work``.

    Needs an app context of ``owner.app``. Commits nothing.

    Raises:
        SessionOver: the transaction of an explicit ``session`` has failed or is over.
        TablesMissing: the tables are not there yet.
        TypeError: ``session`` is not a ``Session``.
    """
    queue = watch_context(owner)
    own = owner.db.session() if session is None else plain_session(session)
    if not own.in_transaction():
        own.begin()  # takes no connection
    if own.is_active:
        if not owner.database.tables_seen:
            # On the session's own connection: a second one may be more than the pool has.
            with owner.database.reading_in(own):
                pass  # the check is all that is wanted
        change_tracking.watch_closing(own)
        item = PendingWork(work, owner, queue if session is None else None)
        _carried_by(own)[innermost(own)].waiting.append(item)
    elif session is None:  # a failed flush not rolled back yet, or a listener after the commit
        queue.items.append(PendingWork(work, owner, queue))
    else:
        raise SessionOver(
            "The transaction of session= has failed or is over, so nothing can be stored with "
            "it: call its rollback() first, or leave session= out."
        )


def register_message(
    message: NewMessage,
    owner: Owner,
    *,
    rule: CommitRule = CommitRule.JOIN,
    session: Session | None = None,
) -> Notification:
    """``register`` a message to be stored; raises what that raises."""
    register(StoreMessage(message, rule), owner, session=session)
    visible = sum(recipient.field != "bcc" for recipient in message.recipients)
    if visible > _CROWD:
        log.warning(
            "notification.crowd: message %s shows the addresses of %d people to all of them; "
            "call send_notification once for each in a loop, or name them in bcc",
            message.id,
            visible,
            extra=about(message.id),
        )
    return message.snapshot()


def per_transaction(session: Session) -> dict[object, Any]:
    """A cache that lives as long as the outermost transaction of ``session``.

    The transaction is begun if there is none.
    """
    transaction = session.get_transaction() or session.begin()
    return _carried_by(session)[transaction].cache


def pending_works(session: Session) -> list[Work]:
    """The works that wait for the commit of ``session``, or for the end of its app context."""
    return [item.work for item in _open_items(plain_session(session))]


def pending_messages(session: Session) -> list[NewMessage]:
    """The messages among ``pending_works``."""
    return [*messages_of(pending_works(session))]


def pending_notification(session: Session, id: uuid.UUID) -> Notification | None:
    """The notification ``id``, if it is among ``pending_messages``."""
    pending = pending_messages(session)
    return next((message.snapshot() for message in pending if message.id == id), None)


def withdraw(session: Session, chosen: Callable[[Work], bool]) -> bool:
    """Cancel those of the ``pending_works`` that are ``chosen``; False if there are none.

    This belongs to the innermost transaction of ``session`` as well: with a rollback they wait
    again.
    """
    own = plain_session(session)
    items = [item for item in _open_items(own) if chosen(item.work)]
    if not items:
        return False
    if not own.in_transaction():
        own.begin()
    if own.is_active:
        _carried_by(own)[innermost(own)].withdrawn += items
    else:
        forget(items, _WITHDRAWN)
    return True


def _open_items(session: Session) -> list[PendingWork]:
    transactions: Iterable[_Carried] = session.info.get(_KEY, {}).values()
    withdrawn = {id(item) for carried in transactions for item in carried.withdrawn}
    waiting = [item for carried in transactions for item in carried.waiting]
    waiting += [item for queue in queues_of(session) for item in queue.items]
    return [item for item in waiting if not item.done and id(item) not in withdrawn]


def _carried_by(session: Session) -> _ByTransaction:
    carried: _ByTransaction = session.info.setdefault(_KEY, defaultdict(_Carried))
    return carried


def _find(session: Session, transaction: SessionTransaction | None) -> _Carried | None:
    carried = session.info.get(_KEY)
    return carried.get(transaction) if carried else None


# -- the end of a transaction ----------------------------------------------------------


@event.listens_for(Session, "before_commit")
def _before_commit(session: Session) -> None:
    if not session.info.get(_KEY) or session.in_nested_transaction():
        return  # nothing to do, or the release of a savepoint
    session.flush()  # a flush listener of the host may send, too
    if (carried := _find(session, session.get_transaction())) is None:
        return
    # From here on an end without a commit is a failed commit.
    joining = [item for item in carried.waiting if item.joins]
    carried.waiting = [item for item in carried.waiting if not item.joins]
    carried.written += joining
    withdrawn = {id(item) for item in carried.withdrawn}
    items = [item for item in joining if id(item) not in withdrawn]
    if not items:
        return
    try:
        # Not through Session.execute, whose hooks are for statements of the host.
        carried.changed += write(session.connection(bind_arguments=BIND_ARGUMENTS), items)
    except sa.exc.StatementError as error:
        error.hide_parameters = True  # no body and no address in the host's log
        raise


@event.listens_for(Session, "after_commit")
def _after_commit(session: Session) -> None:
    if (carried := _find(session, innermost(session))) is not None:
        carried.committed = True  # means nothing for a released savepoint


@event.listens_for(Session, "after_rollback")
def _after_rollback(session: Session) -> None:
    change_tracking.rolled_back(session)
    if (carried := _find(session, innermost(session))) is None:
        return
    ended = (item for item in carried.waiting + carried.written if item.joins)
    forget(ended, "its transaction was rolled back")
    carried.waiting = [item for item in carried.waiting if not item.joins]
    carried.withdrawn = []


@event.listens_for(Session, "after_transaction_end")
def _after_transaction_end(session: Session, transaction: SessionTransaction) -> None:
    had_changes = change_tracking.ended(session, transaction)
    if (carried := _find(session, transaction)) is None:
        return
    del _carried_by(session)[transaction]
    if transaction.nested:  # released or rolled back: what is left goes on with the outer one
        _carried_by(session)[enclosing(transaction)].take_over(carried)
    elif carried.committed:
        forget(carried.withdrawn, _WITHDRAWN)
        mark_done(carried.written)
        store(carried.waiting)  # ALWAYS, or registered by a later listener of this commit
        announce(carried.changed)
    else:
        if had_changes and not is_ending():
            _lose_with_session(carried)
        _end_without_commit(carried)


def _lose_with_session(carried: _Carried) -> None:
    """The host closed the session in mid-work: the same as a rollback, of its changes and ours."""
    # What was withdrawn but registered elsewhere waits again.
    carried.withdrawn = [item for item in carried.withdrawn if item in carried.waiting]
    for item in carried.waiting:
        item.queue = None


def _end_without_commit(carried: _Carried) -> None:
    """The transaction was closed, rolled back, or its COMMIT failed."""
    forget((item for item in carried.withdrawn if item.joins), _WITHDRAWN)
    joining = [item for item in carried.waiting if item.joins]
    without_queue = [item for item in joining if item.queue is None]
    drop(carried.written + without_queue, "its transaction was not committed")
    for item in joining:
        if item.queue is not None:
            item.queue.items.append(item)
    store(item for item in carried.waiting if not item.joins)


# -- the end of an app context ---------------------------------------------------------


@appcontext_tearing_down.connect  # comes after every teardown function, whatever the order
def _context_ends(_app: Flask, exc: BaseException | None = None, **_: Any) -> None:
    failed = f"the app context ended with {type(exc).__name__}" if _is_failure(exc) else None
    progress = current_progress()
    for _round in range(_ROUNDS):
        if progress is None or not progress.queues:
            return
        _end(progress, failed)
        failed = None  # what receivers of our signals send now is not the host's work


def _end(progress: ContextProgress, failed: str | None) -> None:
    owner = progress.queues[0].owner
    owner.db.session.remove()  # usually done; one still open hands over here what it carries
    queues = progress.take_queues()
    for queue in queues:
        if because := queue.failed or (None if queue.after else failed):
            drop((item for item in queue.items if item.joins), because)
    store(item for queue in queues for item in queue.items)
    owner.delivery.context_ends()
    owner.db.session.remove()  # receivers of the signals may have used it


def _is_failure(exc: BaseException | None) -> bool:
    # Neither a lost client nor Ctrl-C, sys.exit() and the like of a command: the work was done.
    return isinstance(exc, Exception) and not isinstance(exc, Abort | Exit)

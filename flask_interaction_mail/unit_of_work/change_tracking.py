"""Whether a session has changed anything in its transaction, which its ``close()`` would lose.

SQLAlchemy has no event before a close. So every statement of a session is examined after it was
executed, and unflushed objects are looked for when the session expunges them.
"""

from __future__ import annotations

import re
import weakref
from typing import Any, Final

import sqlalchemy as sa
from sqlalchemy import event
from sqlalchemy.orm import Session, SessionTransaction

_KEY: Final = "interaction_mail_written"  # in Session.info: the transactions with changes

# A comment or a bracket may come first; a WITH may end in a change, or hold one.
_CHANGE: Final = re.compile(
    r"(?>\s+|\(|--[^\n]*\n|/\*.*?\*/)*+"
    r"(?:(?:INSERT|UPDATE|DELETE|REPLACE|MERGE)\b"
    r"|WITH\b.*?\b(?:INSERT(?:\s+\w+){0,2}\s+INTO|UPDATE(?:\s+\S+){1,5}?\s+SET"
    r"|DELETE(?:\s+\S+)?\s+FROM|(?:REPLACE|MERGE)\s+INTO)\b)",
    re.IGNORECASE | re.DOTALL,
)

_sessions: weakref.WeakKeyDictionary[sa.Connection, weakref.ref[Session]] = (
    weakref.WeakKeyDictionary()
)


def watch_closing(session: Session) -> None:
    """Count unflushed objects as changes when ``session`` is closed, removed or reset."""
    if "expunge_all" in vars(session):
        return
    watched = weakref.ref(session)

    def expunge_all() -> None:  # close(), remove() and reset() begin with it
        if (own := watched()) is not None:
            if own.in_transaction() and _has_unflushed(own):
                _mark_changed(own)
            type(own).expunge_all(own)

    vars(session)["expunge_all"] = expunge_all


def innermost(session: Session) -> SessionTransaction:
    """The innermost transaction that ``session`` is in; a savepoint counts."""
    transaction = session.get_nested_transaction() or session.get_transaction()
    assert transaction is not None  # noqa: S101 - every caller has seen one
    return transaction


def enclosing(transaction: SessionTransaction) -> SessionTransaction:
    """The transaction or savepoint around the savepoint ``transaction``."""
    outer = transaction.parent
    while outer is not None and not outer.nested and outer.parent is not None:
        outer = outer.parent
    assert outer is not None  # noqa: S101 - a savepoint has a transaction around it
    return outer


def rolled_back(session: Session) -> None:
    """The innermost transaction of ``session`` was rolled back: it has no changes any more."""
    _transactions(session).discard(innermost(session))


def ended(session: Session, transaction: SessionTransaction) -> bool:
    """Forget ``transaction``, which is over; True if it had changes.

    The changes of a savepoint become those of the transaction around it.
    """
    transactions = _transactions(session)
    if transaction not in transactions:
        return False
    transactions.discard(transaction)
    if transaction.nested:
        transactions.add(enclosing(transaction))
    return True


def _transactions(session: Session) -> set[SessionTransaction]:
    transactions: set[SessionTransaction] = session.info.get(_KEY, set())
    return transactions


def _mark_changed(session: Session) -> None:
    session.info.setdefault(_KEY, set()).add(innermost(session))


def _has_unflushed(session: Session) -> bool:
    return bool(session.new or session.deleted) or any(map(session.is_modified, session.dirty))


@event.listens_for(Session, "after_begin")
def _after_begin(session: Session, _: SessionTransaction, connection: sa.Connection) -> None:
    _sessions[connection] = weakref.ref(session)


@event.listens_for(sa.Engine, "after_cursor_execute")
def _after_execute(connection: sa.Connection, _cursor: Any, statement: str, *_: Any) -> None:
    if (ref := _sessions.get(connection)) is None or not _CHANGE.match(statement):
        return
    if (session := ref()) is not None and session.in_transaction():
        _mark_changed(session)

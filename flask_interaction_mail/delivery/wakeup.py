"""Tells other processes that there is something to deliver (PostgreSQL's LISTEN and NOTIFY).

This only saves time: workers look by themselves within a second, so a lost notice does no harm. It
is sent after the host's commit, on a connection of its own, because NOTIFY in the host's
transaction would rule out a two-phase commit.
"""

from __future__ import annotations

import selectors
import threading
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from typing import Any

import sqlalchemy as sa

from .. import threads
from ..errors import InteractionMailError
from ..logs import log
from ..storage.database import Database, in_short

_CHANNEL = "interaction_mail"
_PATIENCE = 1.0  # s between two checks of whether to stop
_LULL = 0.02  # s in which further notices are ignored: each would cost a wake-up under load
_AGAIN = 5.0  # s after a connection that failed


def notify(database: Database) -> None:
    """Tell the workers on the same PostgreSQL database; nothing elsewhere. Never raises."""
    bind = database.bind
    # A host's test that binds to one connection rolls back all that it does.
    if bind.dialect.name != "postgresql" or isinstance(bind, sa.Connection):
        return
    try:
        with closing(bind.raw_connection()) as pooled:
            _send_notice(pooled)
    except Exception as error:
        log.info("wakeup.not_sent: %s; workers look by themselves", type(error).__name__)


def is_heard(engine: sa.Engine) -> bool | None:
    """Whether a notice to itself arrives within a second; None without PostgreSQL.

    A connection pooler in between may accept LISTEN and never pass on a notice.

    Raises:
        InteractionMailError: the connection failed.
    """
    wait = _WAITS.get(engine.driver) if engine.dialect.name == "postgresql" else None
    if wait is None:
        return None
    try:
        with closing(_own_connection(engine)) as listener:
            with closing(engine.raw_connection()) as pooled:
                _send_notice(pooled)
            return wait(listener)
    except engine.dialect.loaded_dbapi.Error as error:  # as SQLAlchemy does not wrap these
        raise InteractionMailError(in_short(error)) from error


def _send_notice(pooled: sa.PoolProxiedConnection) -> None:
    connection: Any = pooled.driver_connection
    before = connection.autocommit
    connection.autocommit = True  # a transaction would be two more round trips
    try:
        pooled.cursor().execute(f"NOTIFY {_CHANNEL}")
    finally:
        connection.autocommit = before


@contextmanager
def listening(engine: sa.Engine, wake: threading.Event) -> Iterator[None]:
    """Set ``wake`` at each notice while this lasts; does nothing without PostgreSQL."""
    wait = _WAITS.get(engine.driver) if engine.dialect.name == "postgresql" else None
    if wait is None:
        yield
        return
    stop, gone = threading.Event(), threading.Event()

    def listen() -> None:
        try:
            _listen(engine, wait, wake, stop)
        finally:
            gone.set()

    if threads.start(listen, "interaction-mail-wakeup") is None:
        log.info("wakeup.no_thread: looking by ourselves")
        gone.set()
    try:
        yield
    finally:
        stop.set()
        gone.wait(2 * _PATIENCE)


def _listen(
    engine: sa.Engine, wait: Callable[[Any], bool], wake: threading.Event, stop: threading.Event
) -> None:
    while not stop.is_set():
        try:
            with closing(_own_connection(engine)) as connection:
                wake.set()  # a notice may have come before this listened
                while not stop.is_set():
                    if wait(connection):
                        wake.set()
                        stop.wait(_LULL)
        except Exception as error:
            log.info("wakeup.away: %s; looking by ourselves", type(error).__name__)
            stop.wait(_AGAIN)


def _own_connection(engine: sa.Engine) -> Any:
    """A connection that listens, taken out of the pool, which opens another in its place."""
    pooled = engine.raw_connection()
    connection: Any = pooled.driver_connection
    pooled.detach()
    try:
        connection.autocommit = True
        connection.cursor().execute(f"LISTEN {_CHANNEL}")
    except Exception:
        connection.close()
        raise
    return connection


def _wait_psycopg(connection: Any) -> bool:
    # With a timeout, ``notifies`` itself wakes up ten times a second.
    return _is_readable(connection) and bool(list(connection.notifies(timeout=0)))


def _wait_psycopg2(connection: Any) -> bool:
    if not _is_readable(connection):
        return False
    connection.poll()
    heard = bool(connection.notifies)
    connection.notifies.clear()
    return heard


def _is_readable(connection: Any) -> bool:
    """Whether anything arrives within a second."""
    with selectors.DefaultSelector() as selector:
        selector.register(connection, selectors.EVENT_READ)
        return bool(selector.select(_PATIENCE))


_WAITS: dict[str, Callable[[Any], bool]] = {
    "psycopg": _wait_psycopg,
    "psycopg2": _wait_psycopg2,
}

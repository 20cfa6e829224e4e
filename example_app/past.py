"""A past for the demo: what happens now is made to have happened some time ago.

Nothing else of the demo knows how. A story is played from its first day to the present, with the
extension at work. Whenever time is to pass, all that is stored becomes older by as much. So each
moment of the story is the present while it is played: a message that is tried again in five
minutes is tried again five minutes later.
"""

from __future__ import annotations

import re
import uuid
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime, parsedate_to_datetime
from functools import cache
from pathlib import Path
from typing import Any, Final

import sqlalchemy as sa
from flask import Flask
from flask_login import login_user  # type: ignore[import-untyped]

from flask_interaction_mail.catcher import Catcher, Inbox
from flask_interaction_mail.delivery import watch
from flask_interaction_mail.transport.registry import Transports

from .database import db
from .models import User

_OURS: Final = "interaction_mail_"
# A date says which second had begun; nothing in a story takes as long.
_SECOND: Final = timedelta(seconds=1) - timedelta.resolution
_DATE: Final = re.compile(rb"^Date: (.+)\r\n", re.MULTILINE)


class Past:
    """The time in which a story of ``app`` is played; it begins ``ago`` before the present.

    ``app`` delivers at the end of each app context. ``url`` is where its pages are.
    """

    def __init__(self, app: Flask, url: str, ago: timedelta) -> None:
        self.app = app
        self._url = url
        self._left = ago  # until the present is reached
        self._written: dict[uuid.UUID, timedelta] = {}  # message -> what was left
        self._state = app.extensions["interaction_mail"]
        self._transports = Transports(self._state.connect_policy)
        _trust_the_system(app)

    @property
    def now(self) -> datetime:
        """The present of the story."""
        return datetime.now(UTC) - self._left

    def real(self, moment: datetime) -> datetime:
        """A moment of the story as the application is to be told it now."""
        return moment + self._left

    def go_to(self, moment: datetime) -> None:
        """Let time pass until ``moment``; what falls due on the way is delivered in time."""
        while (due := self._next_due()) is not None and due < moment:
            self._pass(due - self.now)
            self.deliver()
        self._pass(moment - self.now)

    def end(self) -> None:
        """Reach the present, and write into each message the date that it would bear."""
        self.go_to(datetime.now(UTC) - timedelta(seconds=1))
        self._pass(self._left)
        self._date_messages()

    @contextmanager
    def request(self) -> Iterator[None]:
        """A request by nobody; commits, then delivers."""
        with self.app.test_request_context(base_url=self._url):
            yield
            db.session.commit()

    @contextmanager
    def request_of(self, login: str) -> Iterator[User]:
        """A request by the user with that login; commits, then delivers."""
        with self.request():
            user = db.session.scalars(db.select(User).filter_by(login=login)).one()
            login_user(user)
            yield user

    @contextmanager
    def receiving(self, catcher: Catcher) -> Iterator[None]:
        """Have what ``catcher`` takes come in at its time."""
        present = catcher.inbox
        catcher.inbox = _InboxOfThePast(present.folder, lambda: self._left)
        try:
            yield
        finally:
            catcher.inbox = present

    def deliver(self) -> None:
        """Deliver what is due."""
        with self.app.app_context():
            self._state.delivery.wake()
            self._state.delivery.context_ends()

    def watch(self) -> None:
        """Look whether mail is in trouble, as a process that delivers does each minute."""
        with self.app.app_context():
            watch.turn(self._state, self._transports)

    def _pass(self, span: timedelta) -> None:
        if span <= timedelta(0):
            return
        self._note_messages()
        with self.app.app_context(), db.engine.begin() as connection:
            for table in _tables():
                _age(connection, table, span)
        self._left -= span

    def _next_due(self) -> datetime | None:
        """When, in the story, the next message is due that is not due yet."""
        due = _table("delivery").c.due_at
        later = sa.select(sa.func.min(due)).where(due > datetime.now(UTC).replace(tzinfo=None))
        with self.app.app_context(), db.engine.connect() as connection:
            first = connection.scalar(later)
        return first.replace(tzinfo=UTC) - self._left if first else None

    def _note_messages(self) -> None:
        with self.app.app_context(), db.engine.connect() as connection:
            for id in connection.scalars(sa.select(_table("message").c.id)):
                self._written.setdefault(id, self._left)

    def _date_messages(self) -> None:
        message = _table("message")
        change = sa.update(message).where(message.c.id == sa.bindparam("of"))
        with self.app.app_context(), db.engine.begin() as connection:
            found = sa.select(message.c.id, message.c.content).where(message.c.content.is_not(None))
            rows = [
                {"of": id, "content": dated(content, self._written.get(id, timedelta(0)))}
                for id, content in connection.execute(found)
            ]
            connection.execute(change, rows)


class _InboxOfThePast(Inbox):
    """The same folder, with messages that came as long ago as ``left`` says."""

    def __init__(self, folder: Path, left: Callable[[], timedelta]) -> None:
        super().__init__(folder)
        self._left = left

    def store(
        self,
        content: bytes,
        *,
        sender: str,
        recipients: Sequence[str],
        ago: timedelta = timedelta(0),
    ) -> str:
        ago += self._left()
        return super().store(dated(content, ago), sender=sender, recipients=recipients, ago=ago)


def dated(content: bytes, ago: timedelta) -> bytes:
    """The message ``content`` as it would be if it had been written ``ago``."""

    def earlier(found: re.Match[bytes]) -> bytes:
        moment = parsedate_to_datetime(found[1].decode("ascii")) - ago + _SECOND
        return b"Date: " + format_datetime(moment).encode("ascii") + b"\r\n"

    return _DATE.sub(earlier, content, count=1)


def _trust_the_system(app: Flask) -> None:
    """Do not wait for the disk: if the power goes meanwhile, the next demo begins anew anyway."""
    with app.app_context():
        if db.engine.dialect.name == "sqlite":
            sa.event.listen(db.engine, "connect", _write_without_waiting)


def _write_without_waiting(connection: Any, _record: object) -> None:
    connection.execute("PRAGMA synchronous = OFF")


def _tables() -> list[sa.Table]:
    return [table for name, table in db.metadata.tables.items() if name.startswith(_OURS)]


def _table(name: str) -> sa.Table:
    return db.metadata.tables[_OURS + name]


def _age(connection: sa.Connection, table: sa.Table, span: timedelta) -> None:
    """Make every moment in the rows of ``table`` earlier by ``span``."""
    keys, moments, look, change = _aging(table)
    values: list[dict[str, Any]] = [
        dict(zip(keys, row[: len(keys)], strict=True))
        | {
            name: moment and moment - span
            for name, moment in zip(moments, row[len(keys) :], strict=True)
        }
        for row in (connection.execute(look) if moments else ())
    ]
    if values:
        connection.execute(change, values)


@cache
def _aging(table: sa.Table) -> tuple[list[str], list[str], sa.Select[Any], sa.Update]:
    """The parameters for keys and moments of a row, what reads both, and what changes moments."""
    moments = [column for column in table.c if isinstance(column.type, sa.DateTime)]
    keys = {f"of_{key.name}": key for key in table.primary_key}
    # The earliest first, so that where a moment is a part of the key none meets another.
    look = sa.select(*keys.values(), *moments).order_by(*keys.values())
    same = (key == sa.bindparam(name) for name, key in keys.items())
    change = sa.update(table).where(*same)
    if moments:
        change = change.values({column: sa.bindparam(column.name) for column in moments})
    return [*keys], [column.name for column in moments], look, change

"""Reads the mailbox with returned mail: every few minutes, by one of all workers.

A message is looked at once, by its structure; only what may be a report, or answers mail of ours,
is fetched. Nothing in the mailbox changes, but that noted reports are moved to their folder. No
transaction is open while the server is talked to.
"""

from __future__ import annotations

import collections
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from datetime import datetime
from typing import Final

import sqlalchemy as sa

from .. import operations, threads
from ..errors import InteractionMailError, TransportError
from ..language import mark
from ..logs import log
from ..outbox import mailboxes, returned
from ..outbox.claim import Time
from ..outbox.mailboxes import Lease
from ..outbox.returned import DONE, Outcome
from ..returned.reading import LIMIT
from ..settings.mailbox import Mailbox
from ..settings.model import mailbox_of
from ..state import State
from ..storage.database import in_short
from ..transport.imap.answers import Found
from ..transport.imap.session import Folder, ImapSession
from ..transport.smtp.replies import safe_text
from ..transport.smtp.timeouts import Until
from .mailbox import batches, closed_by
from .tokens import tokens_of

_LOOK: Final = 1800.0  # s for a look; the next one goes on where it ended
_READING: Final = "interaction_mail_reading"  # in app.extensions: the thread that reads

Counts = collections.Counter[Outcome]


class BrokenOff(Exception):
    """The look cannot go on: another worker has the lease by now, or the folder is another one."""


def begin(state: State) -> None:
    """Read the mailbox in a thread of its own, if a look is due and this process reads none.

    Never raises.
    """
    with _logged():
        if _is_reading(state):
            return
        present = state.settings.current()
        mailbox = mailbox_of(present.settings)
        if mailbox is None or closed_by(state, present) or not _is_due(state, mailbox):
            return
        task = threads.start(lambda: _look_if_due(state), "interaction-mail-returned")
        state.app.extensions[_READING] = task


def look(state: State, *, due: bool = False) -> Counts | None:
    """Read what is new in the mailbox, and note what it reports; commits transactions of its own.

    With ``due`` only if it is time. None if it is not, or if another worker reads at this moment.

    Raises:
        InteractionMailError: no mailbox is set, or this process may read none.
        TransportError: it cannot be read, or not to its end; what was noted by then stays noted.
    """
    present = state.settings.current()
    mailbox = mailbox_of(present.settings)
    if mailbox is None:
        raise InteractionMailError(mark("No mailbox with returned mail is set."))
    if why := closed_by(state, present):
        raise InteractionMailError(why)
    name = mailboxes.name_of(mailbox)
    with state.database.reading() as connection:
        now = Time().look(connection)
        known = mailboxes.read(connection, name)
    if known is None:
        with suppress(sa.exc.IntegrityError), state.database.writing() as connection:
            mailboxes.add(connection, name, now)
    with state.database.writing() as connection:
        lease = mailboxes.claim(connection, name, now, due=due)
    return None if lease is None else _Look(state, mailbox, lease).go()


class _Look:
    """One look, under its lease."""

    def __init__(self, state: State, mailbox: Mailbox, lease: Lease) -> None:
        self._state = state
        self._mailbox = mailbox
        self._lease = lease
        self._time = Time()
        self._counts = Counts()
        self._folder = Folder(0, 0)
        self._selected = False
        self._unmoved: str | None = None  # why noted reports stay where they are

    def go(self) -> Counts:
        every = self._state.config.returns_every
        session = ImapSession(
            mailbox=self._mailbox,
            limit=LIMIT,
            policy=self._state.connect_policy,
            tokens=tokens_of(self._state) if self._mailbox.relay else None,
            until=Until.within(_LOOK),
        )
        try:
            with session:
                self._read(session)
        except TransportError as error:
            with self._writing() as (connection, now):
                mailboxes.fail(connection, self._lease, self._counts, error, now=now, every=every)
            raise
        except BaseException:
            with suppress(Exception), self._state.database.writing() as connection:
                mailboxes.give_back(connection, self._lease)
            raise
        with self._writing() as (connection, now):
            trouble = self._unmoved
            mailboxes.finish(
                connection, self._lease, self._counts, trouble=trouble, now=now, every=every
            )
        return self._counts

    def _read(self, session: ImapSession) -> None:
        self._folder = session.open(self._mailbox.folder, read_only=True)
        with self._state.database.reading() as connection:
            place = mailboxes.read(connection, self._lease.name)
        same = place is not None and place.uid_validity == self._folder.uid_validity
        first = place.uid + 1 if place is not None and same else 1
        uids = session.uids_from(first) if self._folder.messages else []
        for batch in batches(uids):
            self._read_batch(session, batch)

    def _read_batch(self, session: ImapSession, batch: Sequence[int]) -> None:
        seen = session.look(batch)
        wanted = self._wanted(seen)
        self._counts[Outcome.FOREIGN] += len(seen) - len(wanted)
        self._counts[Outcome.UNREADABLE] += len(batch) - len(seen)
        done = []
        for uid in wanted:
            self._renew()
            content = session.content(uid)
            outcome = self._outcome(content)
            self._counts[outcome] += 1
            if outcome in DONE:
                done.append(uid)
        if done:
            self._move(session, done)
        validity = self._folder.uid_validity
        with self._writing() as (connection, now):
            mine = mailboxes.advance(connection, self._lease, validity, batch[-1], now)
        if not mine:
            raise BrokenOff

    def _wanted(self, seen: Sequence[Found]) -> list[int]:
        """What has to be read: what may be a report, and what answers mail of ours."""
        answered = [id for found in seen if not found.is_report for id in found.answers_to]
        if answered:
            with self._state.database.reading() as connection:
                ours = returned.ours_of(connection, list(dict.fromkeys(answered)))
        else:
            ours = set()
        return sorted(
            found.uid for found in seen if found.is_report or not ours.isdisjoint(found.answers_to)
        )

    def _outcome(self, content: bytes | None) -> Outcome:
        if content is None:  # gone, or larger than asked for
            return Outcome.UNREADABLE
        with self._state.app.app_context():
            return operations.outcome_of_report(self._state, content)

    def _move(self, session: ImapSession, uids: Sequence[int]) -> None:
        folder = self._mailbox.moved_to
        if folder is None or not session.moves:
            return
        if not self._selected:
            opened = session.open(self._mailbox.folder, read_only=False)
            if opened.uid_validity != self._folder.uid_validity:
                raise BrokenOff  # the numbers are of other messages now: the next look begins anew
            self._selected = True
        said = session.move(uids, folder)
        if not said.ok:
            self._unmoved = mark(
                "Noted reports could not be moved to “%(folder)s”: %(reply)s",
                folder=folder,
                reply=safe_text(str(said)),
            )

    def _renew(self) -> None:
        with self._writing() as (connection, now):
            if not mailboxes.renew(connection, self._lease, now):
                raise BrokenOff

    @contextmanager
    def _writing(self) -> Iterator[tuple[sa.Connection, datetime]]:
        """Write in a transaction; gives the time of the database, too."""
        with self._state.database.writing() as connection:
            yield connection, self._time.look(connection)


def _is_reading(state: State) -> bool:
    task = state.app.extensions.get(_READING)
    return task is not None and not task.over


def _is_due(state: State, mailbox: Mailbox) -> bool:
    with state.database.reading() as connection:
        place = mailboxes.read(connection, mailboxes.name_of(mailbox))
        now = Time().look(connection)
    return place is None or (place.due_at <= now and not place.is_read(now))


def _look_if_due(state: State) -> None:
    with _logged():
        look(state, due=True)


@contextmanager
def _logged() -> Iterator[None]:
    """Log what goes wrong: the next turn comes in a minute."""
    try:
        yield
    except BrokenOff:
        log.warning("returned.lost: another process reads the mailbox by now")
    except TransportError as error:  # without its text, which may quote the server
        log.warning("returned.failed: %s: %s", error.stage, error.fault)
    except sa.exc.SQLAlchemyError as error:
        log.warning("returned.database: %s", in_short(error))
    except InteractionMailError as error:
        log.warning("returned.held_up: %s", error)

"""What one application has of the extension: ``app.extensions["interaction_mail"]``."""

from __future__ import annotations

import logging
import os
import uuid
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

import sqlalchemy as sa
from flask import Flask, current_app, has_app_context
from flask_admin import Admin
from flask_sqlalchemy import SQLAlchemy
from sqlalchemy.orm import Session

from . import clock, signals
from .config import Config, suppressed
from .directory import People
from .errors import InteractionMailError, StillWaiting
from .messages import compose as notify
from .messages.compose import Circumstances, Identity
from .messages.intent import Intent
from .messages.message import NewMessage
from .outbox import messages, resends
from .outbox.fitted import fitted
from .settings.model import MessagingSettings
from .settings.store import InForce, SettingsStore
from .storage.database import Database, usable
from .unit_of_work import session_events
from .unit_of_work.writer import Keeper, announce_ids, send_signal
from .values import Notification, Reason, Status

if TYPE_CHECKING:
    from .delivery.dispatcher import Dispatcher
    from .delivery.modes import Delivery
    from .outbox.presence import How, Pulse
    from .outbox.retention import Purged

KEY = "interaction_mail"
log = logging.getLogger("flask_interaction_mail")

Access = Callable[[str], bool]


@dataclass(slots=True, eq=False)
class State:
    """The extension in one application: its parts, and the few things done with all of them."""

    app: Flask
    db: SQLAlchemy
    admin: Admin | None
    people: People
    access: Access | None
    config: Config
    database: Database
    settings: SettingsStore
    keeper: Keeper = field(init=False)
    deliver_by: Callable[[], Delivery] | None = None  # a way of delivery that an extra brings
    _delivery: Delivery | None = None
    _pulses: dict[tuple[int, str], Pulse] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.keeper = Keeper(self)

    # -- surroundings ---------------------------------------------------------------

    def context(self) -> AbstractContextManager[object]:
        """An app context of this app: the present one, or a new one."""
        if has_app_context() and current_app._get_current_object() is self.app:  # type: ignore[attr-defined]
            return nullcontext()
        return self.app.app_context()

    @property
    def suppressed(self) -> bool:
        """Whether the application suppresses sending (``MAIL_SUPPRESS_SEND``), asked anew."""
        return suppressed(self.app.config)

    @property
    def organisation(self) -> str:
        """The name after "via" where the settings have none."""
        name = getattr(self.admin, "name", None)
        return str(name) if name else self.app.name

    def connection(self, session: Session) -> sa.Connection | None:
        """The connection of the host's transaction, to read on; None where it has failed."""
        connection = usable(session)
        return None if connection is None else self.database.ours(connection)

    @contextmanager
    def reading(self, session: Session) -> Iterator[sa.Connection]:
        """The connection of the host's transaction; one of ours where that has failed.

        Raises:
            TablesMissing: the tables are not there yet.
        """
        connection = usable(session)
        if connection is not None:
            self.database.check_tables(connection)
            yield self.database.ours(connection)
            return
        with self.database.reading() as own:
            yield own

    def circumstances(self, settings: MessagingSettings, locations: Iterable[str]) -> Circumstances:
        """What routing needs to know now; asks the directory about ``locations``."""
        return Circumstances(
            settings=settings,
            now=clock.now(),
            organisation=self.organisation,
            places=[(location, self.people.merge_recipients(location)) for location in locations],
            suppressed=self.suppressed,
        )

    # -- settings -------------------------------------------------------------------

    def settings_for(self, session: Session) -> MessagingSettings:
        """The settings in force, read once in a transaction of ``session``.

        What this process saves meanwhile counts all the same.

        Raises:
            TablesMissing: the tables are not there yet.
        """
        notes = session_events.notes_of(session)
        found: InForce | None = notes.get(self)
        if found is None or not self.settings.is_newest_known(found):
            with self.reading(session) as connection:
                found = notes[self] = self.settings.current(connection)
        return found.settings

    def save_settings(
        self, changes: dict[str, Any], *, base: int | None, changed_by: str
    ) -> InForce:
        """Save, then tell the host with ``settings_changed``; commits a transaction of its own.

        Raises:
            SettingsError: a field breaks a rule; nothing is saved.
            SettingsConflict: somebody else saved since ``base``.
        """
        previous = self.settings.current()
        saved = self.settings.save(changes, base=base, changed_by=changed_by)
        self._settings_changed(previous, saved, changed_by)
        return saved

    def restore_settings(self, revision: int, *, changed_by: str) -> InForce:
        """Make ``revision`` the newest one again; otherwise as ``save_settings``."""
        previous = self.settings.current()
        saved = self.settings.restore(revision, changed_by=changed_by)
        self._settings_changed(previous, saved, changed_by)
        return saved

    def _settings_changed(self, previous: InForce, saved: InForce, changed_by: str) -> None:
        from .outbox import breaker  # late: for those who deliver, or open the panel

        try:
            with self.database.writing() as connection:
                breaker.close_all(connection)  # a new password may be the right one
        except sa.exc.SQLAlchemyError:
            # What is saved is saved; the breaker's next probe comes by itself.
            log.exception("settings.breaker: it could not be closed")
        send_signal(
            self,
            signals.settings_changed,
            previous=replace(previous.settings, password=None),
            settings=replace(saved.settings, password=None),
            changed_by=changed_by,
        )
        self.wake()

    # -- messages -------------------------------------------------------------------

    def resend(
        self, id: uuid.UUID, *, by: str | None = None, after: uuid.UUID | None = None
    ) -> Notification:
        """Route the intent of message ``id`` anew and queue it as a message of its own.

        ``by`` says who asks, ``after`` which resend of it he knows to be the latest. Commits a
        transaction of its own.

        Raises:
            LookupError: there is no such message.
            StillWaiting: it has not ended yet.
            SentAgain: it was sent again after ``after``.
            InteractionMailError: it cannot be composed with the settings that are in force.
            ValueError: the intent is damaged, or the body has been purged.
        """
        with self.database.reading() as connection:
            resends.check(connection, id, after)
            original = resends.original(connection, id)
            settings = self.settings.current(connection).settings
        identity = Identity.again(original, resend_of=id, by=by)
        message = self.compose(original.intent, identity, settings)
        with self.database.writing() as connection:
            resends.lock(connection, id)
            resends.check(connection, id, after)
            if not messages.insert(connection, [message]):
                raise StillWaiting("Another message with its key was made meanwhile: look at that.")
        return self._told([message.id])[message.id]

    def compose(
        self, intent: Intent, identity: Identity, settings: MessagingSettings
    ) -> NewMessage:
        """``compose.compose`` in the circumstances of this app; raises what that raises."""
        world = self.circumstances(settings, intent.locations)
        message = notify.compose(intent, identity, world)
        self.database.check_size(message.content or b"", message.stored_intent)
        return fitted(message, self.database.encoding)

    def compose_anyhow(
        self, intent: Intent, identity: Identity, world: Circumstances
    ) -> NewMessage:
        """As ``compose``; what cannot be sent is logged, and kept with the reason (R4)."""
        try:
            return fitted(notify.compose(intent, identity, world), self.database.encoding)
        except InteractionMailError as error:
            log.error("notification.failed: %s", error)
            failed = notify.failed(intent, identity, world, error)
            return fitted(failed, self.database.encoding)

    def cancel(self, *ids: uuid.UUID) -> bool:
        """Call back those messages that have not left; commits a transaction of its own."""
        with self.database.writing() as connection:
            cancelled = messages.cancel(connection, ids, Reason.WITHDRAWN, clock.now())
        self._told(cancelled)
        return bool(cancelled)

    def release(self, id: uuid.UUID) -> bool:
        """Let a held message go, unchanged; commits a transaction of its own."""
        with self.database.writing() as connection:
            released = messages.release(connection, [id], clock.now())
        self._told(released)
        return bool(released)

    def _told(self, ids: Sequence[uuid.UUID]) -> dict[uuid.UUID, Notification]:
        with self.database.reading() as connection:
            snapshots = messages.load(connection, ids)
        announce_ids(self, ids)
        if any(one.status is Status.QUEUED for one in snapshots.values()):
            self.wake()
        return snapshots

    def purge(self) -> Purged:
        """Forget what is older than the configuration keeps; commits transactions of its own."""
        from .outbox import retention  # late: needed once an hour, where mail is delivered

        return retention.purge(
            self.database,
            now=clock.now(),
            bodies=self.config.body_retention,
            logs=self.config.log_retention,
        )

    # -- delivery -------------------------------------------------------------------

    def dispatcher(self, how: How | None = None, **changes: Any) -> Dispatcher:
        """As ``factory.dispatcher_of``, with the settings that are in force at each look."""
        from .delivery.factory import dispatcher_of  # late: brings the dispatcher and the wire

        return dispatcher_of(self, how, **changes)

    def pulse(self, how: How) -> Pulse:
        """The signs of life of this process, the same object each time."""
        from .delivery.factory import pulse_of  # late, as above

        key = (os.getpid(), how)
        if key not in self._pulses:
            self._pulses[key] = pulse_of(self, how)
        return self._pulses[key]

    @property
    def delivery(self) -> Delivery:
        """Who delivers; decided at the first use, when the database is configured for sure."""
        if self._delivery is None:
            from .delivery.modes import chosen  # late: at the first use

            self._delivery = chosen(self)
        return self._delivery

    def wake(self) -> None:
        """There is something to deliver."""
        if has_app_context():
            session_events.attend(self)
        self.delivery.wake()

    def context_ends(self) -> None:
        """Everything that an app context had to store is stored."""
        self.delivery.context_ends()

    def ensure_running(self) -> None:
        """Start a delivery thread where one is due; called before each request."""
        self.delivery.ensure_running()


def state_of(app: Flask | None = None) -> State:
    """The state of ``app``, or of the current app.

    Raises:
        RuntimeError: there is no current app, or ``init_app`` was not called for it.
    """
    target = app if app is not None else current_app
    try:
        state: State = target.extensions[KEY]
    except KeyError:
        raise RuntimeError(
            "Flask-Interaction-Mail is not set up for this application: "
            "call InteractionMail(...).init_app(app) in its factory"
        ) from None
    return state

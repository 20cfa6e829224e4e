"""What is done with the extension of one application, its parts together.

Settings are saved, messages composed, sent again, called back, released and forgotten. Who is
asked in a host's transaction reads there; all else commits transactions of its own.
"""

from __future__ import annotations

import logging
import uuid
from collections.abc import Iterable, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import sqlalchemy as sa
from sqlalchemy.orm import Session

from . import clock, signals
from .announce import announce_ids, send_signal
from .errors import InteractionMailError, StillWaiting
from .messages.compose import Identity, RoutingContext, compose_message, failed_message
from .messages.intent import Intent
from .messages.message import NewMessage
from .outbox import messages, resends
from .outbox.fitted import fitted
from .settings.layers import InForce
from .settings.model import MessagingSettings
from .state import State
from .unit_of_work.app_context import wake
from .unit_of_work.session_events import per_transaction
from .values import Notification, Reason, Status

if TYPE_CHECKING:  # needed once an hour, where mail is delivered
    from .outbox.retention import Purged

log = logging.getLogger("flask_interaction_mail")

# -- settings --------------------------------------------------------------------------


def settings_for(state: State, session: Session) -> MessagingSettings:
    """The settings in force, read once in a transaction of ``session``.

    What this process saves meanwhile counts all the same.

    Raises:
        TablesMissing: the tables are not there yet.
    """
    notes = per_transaction(session)
    found: InForce | None = notes.get(state)
    if found is None or not state.settings.is_newest_known(found):
        with state.database.reading_in(session) as connection:
            found = notes[state] = state.settings.current(connection)
    return found.settings


def save_settings(
    state: State, changes: dict[str, Any], *, base: int | None, changed_by: str
) -> InForce:
    """Save, then tell the host with ``settings_changed``; commits a transaction of its own.

    Raises:
        SettingsError: a field breaks a rule; nothing is saved.
        SettingsConflict: somebody else saved since ``base``.
    """
    previous = state.settings.current()
    saved = state.settings.save(changes, base=base, changed_by=changed_by)
    _settings_changed(state, previous, saved, changed_by)
    return saved


def restore_settings(state: State, revision: int, *, changed_by: str) -> InForce:
    """Make ``revision`` the newest one again; otherwise as ``save_settings``."""
    previous = state.settings.current()
    saved = state.settings.restore(revision, changed_by=changed_by)
    _settings_changed(state, previous, saved, changed_by)
    return saved


def _settings_changed(state: State, previous: InForce, saved: InForce, changed_by: str) -> None:
    from .outbox import breaker  # late: for those who deliver, or open the panel

    try:
        with state.database.writing() as connection:
            breaker.close_all(connection)  # a new password may be the right one
    except sa.exc.SQLAlchemyError:
        # What is saved is saved; the breaker's next probe comes by itself.
        log.exception("settings.breaker: it could not be closed")
    send_signal(
        state.app,
        signals.settings_changed,
        previous=replace(previous.settings, password=None),
        settings=replace(saved.settings, password=None),
        changed_by=changed_by,
    )
    wake(state)


# -- composing -------------------------------------------------------------------------


def routing_context(
    state: State, settings: MessagingSettings, locations: Iterable[str]
) -> RoutingContext:
    """What routing needs to know now; asks the directory about ``locations``."""
    return RoutingContext(
        settings=settings,
        now=clock.now(),
        organisation=_organisation(state),
        candidates=[(location, state.people.merge_recipients(location)) for location in locations],
        suppressed=state.suppressed,
    )


def _organisation(state: State) -> str:
    """The name after "via" where the settings have none."""
    name = getattr(state.admin, "name", None)
    return str(name) if name else state.app.name


def compose(
    state: State, intent: Intent, identity: Identity, settings: MessagingSettings
) -> NewMessage:
    """Compose a message in this app as ``compose_message`` does; raises what that raises."""
    context = routing_context(state, settings, intent.locations)
    message = compose_message(intent, identity, context)
    state.database.limits.check_size(message.content or b"", message.stored_intent)
    return fitted(message, state.database.limits)


def compose_or_fail(
    state: State, intent: Intent, identity: Identity, context: RoutingContext
) -> NewMessage:
    """As ``compose``; what cannot be sent is logged, and kept with the reason (R4)."""
    limits = state.database.limits
    try:
        return fitted(compose_message(intent, identity, context), limits)
    except InteractionMailError as error:
        log.error("notification.failed: %s", error)
        return fitted(failed_message(intent, identity, context, error), limits)


# -- messages --------------------------------------------------------------------------


def resend(
    state: State, id: uuid.UUID, *, by: str | None = None, after: uuid.UUID | None = None
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
    with state.database.reading() as connection:
        resends.check(connection, id, after)
        original = resends.original(connection, id)
        settings = state.settings.current(connection).settings
    identity = Identity.again(original, resend_of=id, by=by)
    message = compose(state, original.intent, identity, settings)
    with state.database.writing() as connection:
        resends.lock(connection, id)
        resends.check(connection, id, after)
        if not messages.insert(connection, [message]):
            raise StillWaiting("Another message with its key was made meanwhile: look at that.")
    return _told(state, [message.id])[message.id]


def cancel(state: State, *ids: uuid.UUID) -> bool:
    """Call back those messages that have not left; commits a transaction of its own."""
    with state.database.writing() as connection:
        cancelled = messages.cancel(connection, ids, Reason.WITHDRAWN, clock.now())
    _told(state, cancelled)
    return bool(cancelled)


def release(state: State, id: uuid.UUID) -> bool:
    """Let a held message go, unchanged; commits a transaction of its own."""
    with state.database.writing() as connection:
        released = messages.release(connection, [id], clock.now())
    _told(state, released)
    return bool(released)


def _told(state: State, ids: Sequence[uuid.UUID]) -> dict[uuid.UUID, Notification]:
    with state.database.reading() as connection:
        snapshots = messages.load(connection, ids)
    announce_ids(state.app, state.database, ids)
    if any(one.status is Status.QUEUED for one in snapshots.values()):
        wake(state)
    return snapshots


def purge(state: State) -> Purged:
    """Forget what is older than the configuration keeps; commits transactions of its own."""
    from .outbox import retention  # late: needed once an hour, where mail is delivered

    return retention.purge(
        state.database,
        now=clock.now(),
        bodies=state.config.body_retention,
        logs=state.config.log_retention,
    )

"""Merge mail: the request of a user who may not merge, and the news of a merge."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from typing import Any, Final

import sqlalchemy as sa
from flask import Flask
from sqlalchemy.orm import Session

from . import language, operations, signals
from .api.sending import actor_of
from .clock import from_db, now
from .errors import TablesMissing
from .logs import log
from .messages import merge_content, templates
from .messages.compose import Identity
from .messages.intent import Addressees, Intent
from .messages.message import id_of_key, new_id
from .outbox import messages
from .outbox.messages import Earlier
from .settings.model import MessagingSettings
from .state import KEY, State, state_of
from .storage.database import DatabaseBusy, context_of
from .text import one_line
from .unit_of_work import retry_queue, session_events
from .unit_of_work.pending_work import CancelMessages, CommitRule
from .values import Kind, Merge, Notification, Party, Reason, Status

_SIZE: Final = 4000  # approximate bytes of a request that waits for the database


def request_merge(merge: Merge) -> Notification | None:
    """Ask somebody who may merge two contacts to do so; the same as sending ``merge_denied``.

    The request is stored in a transaction of its own as soon as the host's has ended, whether
    committed or rolled back. Further calls for the same contacts and requester return the same
    notification until ``INTERACTION_MAIL_REQUEST_WINDOW`` has passed.

    Never raises. A request that cannot be sent has the status ``failed``. None is returned if it
    could not be stored; the log says why. While the database is away, the request waits in this
    process as long as memory allows.
    """
    try:
        state = state_of()
        merge = replace(merge, requester=merge.requester or state.people.current_user())
        return _request_or_delay(state, merge)
    except Exception:
        log.exception("merge_denied.failed: the merge request could not be queued")
        return None


def _request_or_delay(state: State, merge: Merge) -> Notification | None:
    try:
        return _request(state, merge)
    except (sa.exc.SQLAlchemyError, DatabaseBusy, TablesMissing) as error:
        requester = merge.requester.name if merge.requester else "somebody"
        contacts = " and ".join(contact.name for contact in merge.contacts)
        job = retry_queue.Job(
            app=state.app,
            attempt=partial(_request, state, merge),
            give_up=lambda: None,
            names=[one_line(f"the request of {requester} to merge {contacts}")],
            size=_SIZE + sum(len(str(contact.fields)) for contact in merge.contacts),
        )
        retry_queue.add(job, error)
        return None


def _request(state: State, merge: Merge) -> Notification:
    session = state.db.session()
    settings = operations.settings_for(state, session)
    pair, actor = pair_of(merge), actor_of(merge.requester)
    actor = actor and state.database.limits.escape(actor)
    with state.database.reading_in(session) as connection:
        earlier = messages.latest_request(connection, pair, actor)
        if earlier is not None and _still_stands(state, earlier, settings):
            return messages.load(connection, [earlier.id])[earlier.id]
    # The key has the earlier request's id, so two processes make the same next request.
    key = f"merge:{pair}:{_short(actor)}:{earlier.id if earlier else ''}"
    if (queued := session_events.pending_notification(session, id_of_key(key))) is not None:
        return queued
    origin = new_id()
    identity = Identity(id=id_of_key(key), origin=origin, key=key, pair=pair, actor=actor)
    locations = operations.locations_of(merge)
    context = operations.routing_context(state, settings, locations, session=session)
    before = earlier.message_id if earlier else None
    intent, context = operations.request_intent(state, merge, context, in_reply_to=before)
    message = operations.compose_or_fail(state, intent, identity, context)
    return session_events.register_message(message, state, rule=CommitRule.ALWAYS)


def _still_stands(state: State, earlier: Earlier, settings: MessagingSettings) -> bool:
    """Whether ``earlier`` is still the request for a new denial of the same pair."""
    if from_db(earlier.created_at) + state.config.request_window <= from_db(now()):
        return False
    if earlier.status is Status.FAILED:
        # It never left. As long as mail is not configured, another one would fail as well.
        return earlier.reason == Reason.NOT_CONFIGURED and not settings.configured
    return earlier.status is not Status.CANCELLED


def complete_merge(merge: Merge) -> None:
    """Notify the owners of the folders, except the actor, and cancel requests for the pair.

    Both belong to the transaction of ``db.session``, as with ``send_notification``.
    """
    state = state_of()
    actor = merge.requester or state.people.current_user()
    merge = replace(merge, requester=actor)
    session_events.register(CancelMessages(pair=pair_of(merge), reason=Reason.MERGED), state)
    owners = _owners(state, merge, actor)
    if not owners:
        return
    session: Session = state.db.session()
    settings = operations.settings_for(state, session)
    context = operations.routing_context(state, settings, ())
    whom = Addressees(kind=Kind.NOTIFICATION, source="merge_completed", to=owners)
    locale = templates.shared_locale(owners)
    with language.speaking(locale, *context.translations):
        names = merge_content.context_of(merge, settings)
    texts, context = operations.written(
        state, "merge_completed", names, whom, context, locale=locale
    )
    intent = Intent.of(texts, whom)._replace(user=actor)
    identity = Identity.fresh(actor=actor_of(actor))
    message = operations.compose_or_fail(state, intent, identity, context)
    session_events.register_message(message, state)


def _owners(state: State, merge: Merge, actor: Party | None) -> tuple[Party, ...]:
    owners = dict.fromkeys(
        owner
        for location in operations.locations_of(merge)
        for owner in state.people.folder_owners(location)
    )
    return tuple(owner for owner in owners if actor is None or not _is_same(owner, actor))


def _is_same(party: Party, other: Party) -> bool:
    if party.id is not None and other.id is not None:
        return (party.kind, party.id) == (other.kind, other.id)
    return party == other


def pair_of(merge: Merge) -> str:
    """A name for the two contacts, the same in either order."""
    ids = sorted(f"{type(contact.id).__name__}:{contact.id}" for contact in merge.contacts)
    return _short(json.dumps(ids))


def _short(text: str | None) -> str:
    return hashlib.sha256((text or "").encode("utf-8", "surrogatepass")).hexdigest()


# -- signals: one receiver of the module for every app and sender -----------------------


def _app_of(sender: Any) -> Flask | None:
    app = sender._get_current_object() if hasattr(sender, "_get_current_object") else sender
    return app if isinstance(app, Flask) and KEY in app.extensions else None


def on_merge_denied(sender: Any, merge: Merge | None = None, **_: Any) -> None:
    """Receiver of ``merge_denied``; never raises, so that the host's request goes on."""
    _receive("merge_denied", sender, merge, request_merge)


def on_merge_completed(sender: Any, merge: Merge | None = None, **_: Any) -> None:
    """Receiver of ``merge_completed``; never raises, so that the host's request goes on."""
    _receive("merge_completed", sender, merge, complete_merge)


def _receive(
    event: str, sender: Any, merge: object, act: Callable[[Merge], Notification | None]
) -> None:
    app = _app_of(sender)
    if app is None:
        return
    try:
        with context_of(app):
            if not isinstance(merge, Merge):
                raise TypeError(f"the signal needs merge=Merge(...), not {type(merge).__name__}")
            act(merge)
    except Exception:
        log.exception(f"{event}.failed: the mail for it could not be queued")


signals.merge_denied.connect(on_merge_denied)
signals.merge_completed.connect(on_merge_completed)

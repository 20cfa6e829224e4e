"""Merges: the request of somebody who may not, and the news that somebody did."""

from __future__ import annotations

import hashlib
import json
import logging
import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from functools import partial
from typing import Any

import sqlalchemy as sa
from flask import Flask
from sqlalchemy.orm import Session

from . import addresses, operations, signals
from .api import actor_of, shared_locale
from .clock import from_db, now
from .errors import AddressError, TablesMissing
from .messages import templates
from .messages.compose import Identity, RoutingContext
from .messages.intent import Intent
from .messages.message import id_of_key, new_id
from .messages.recipients import own_domains
from .outbox import messages
from .outbox.messages import Earlier
from .settings.model import MessagingSettings
from .state import KEY, State, state_of
from .storage.database import DatabaseBusy, context_of
from .text import one_line
from .unit_of_work import retry_queue, session_events
from .unit_of_work.pending_work import CancelMessages, CommitRule
from .values import Contact, Kind, Merge, Notification, Party, Reason, Status

log = logging.getLogger("flask_interaction_mail")

# Browsers read "\\" as "/" and skip what is missing: only the usual form is certain to stay one.
_LINK = re.compile(r"https?://(?:\w[^\s\\<>\"]*|\[[\da-f:.]+\][^\s\\<>\"]*)", re.IGNORECASE)

_SIZE = 4000  # bytes of a request that waits for the database, about
_REQUEST = "merge_denied"  # the source of a merge request
_COMPLETED = "merge_completed"


def request_merge(merge: Merge) -> Notification | None:
    """Ask somebody who may to merge two contacts; what ``merge_denied`` does, as a call.

    The request is stored in a transaction of its own as soon as the host's has ended, however
    that ends. Ten clicks within the window make one request, and each call gets that
    notification back. Never raises for a mail problem: one that cannot be sent comes back with
    status ``failed``. None where it could not be stored, which the log explains: while the
    database is away it waits in this process, as far as memory allows.
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
        whose = merge.requester.name if merge.requester else "somebody"
        names = " and ".join(contact.name for contact in merge.contacts)
        job = retry_queue.Job(
            app=state.app,
            attempt=partial(_request, state, merge),
            give_up=lambda: None,
            names=[one_line(f"the request of {whose} to merge {names}")],
            size=_SIZE,
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
        if earlier is not None and _counts(state, earlier, settings):
            return messages.load(connection, [earlier.id])[earlier.id]
    # The key names the request before: two processes that make the next one make the same.
    key = f"merge:{pair}:{_short(actor)}:{earlier.id if earlier else ''}"
    if (queued := session_events.pending_notification(session, id_of_key(key))) is not None:
        return queued
    origin = new_id()
    identity = Identity(id=id_of_key(key), origin=origin, key=key, pair=pair, actor=actor)
    world = operations.routing_context(state, settings, _locations(merge))
    message = operations.compose_or_fail(
        state, _request_intent(state, merge, world, earlier), identity, world
    )
    return session_events.register_message(message, state, rule=CommitRule.ALWAYS)


def _counts(state: State, earlier: Earlier, settings: MessagingSettings) -> bool:
    """Whether ``earlier`` is still the answer to a new denial of the same pair."""
    if from_db(earlier.created_at) + state.config.request_window <= from_db(now()):
        return False
    if earlier.status is Status.FAILED:
        # It never left. While nothing is configured another one would only fail again.
        return earlier.reason == Reason.NOT_CONFIGURED and not settings.configured
    return earlier.status is not Status.CANCELLED


def _request_intent(
    state: State, merge: Merge, world: RoutingContext, earlier: Earlier | None
) -> Intent:
    candidates = [one for _, parties in world.places for one in parties]
    context = _context(merge, world.settings)
    texts = templates.render(state.app, "merge_request", context, locale=shared_locale(candidates))
    return Intent(
        kind=Kind.REQUEST,
        source=_REQUEST,
        subject=texts.subject,
        text=texts.text,
        html=texts.html,
        locations=tuple(location for location, _ in world.places),
        user=merge.requester,
        in_reply_to=earlier.message_id if earlier else None,
    )


def complete_merge(state: State, merge: Merge) -> None:
    """Tell the owners of the folders, except the actor, and call back requests for the pair.

    Belongs to the transaction of ``db.session``, as ``send_notification`` does.
    """
    actor = merge.requester or state.people.current_user()
    merge = replace(merge, requester=actor)
    session_events.register(CancelMessages(pair=pair_of(merge), reason=Reason.MERGED), state)
    owners = _owners(state, merge, actor)
    if not owners:
        return
    session: Session = state.db.session()
    settings = operations.settings_for(state, session)
    texts = templates.render(
        state.app, _COMPLETED, _context(merge, settings), locale=shared_locale(owners)
    )
    intent = Intent(
        kind=Kind.NOTIFICATION,
        source=_COMPLETED,
        subject=texts.subject,
        text=texts.text,
        html=texts.html,
        to=owners,
        user=actor,
    )
    identity = Identity.fresh(actor=actor_of(actor))
    message = operations.compose_or_fail(
        state, intent, identity, operations.routing_context(state, settings, ())
    )
    session_events.register_message(message, state)


def _owners(state: State, merge: Merge, actor: Party | None) -> tuple[Party, ...]:
    found = (one for location in _locations(merge) for one in state.people.folder_owners(location))
    return tuple(dict.fromkeys(one for one in found if actor is None or not _same(one, actor)))


def _same(one: Party, other: Party) -> bool:
    if one.id is not None and other.id is not None:
        return (one.kind, one.id) == (other.kind, other.id)
    return one == other


def pair_of(merge: Merge) -> str:
    """One name for two contacts, in whichever order."""
    ids = sorted(f"{type(one.id).__name__}:{one.id}" for one in merge.contacts)
    return _short(json.dumps(ids))


def _short(text: str | None) -> str:
    return hashlib.sha256((text or "").encode("utf-8", "surrogatepass")).hexdigest()


def _locations(merge: Merge) -> tuple[str, ...]:
    return tuple(dict.fromkeys(contact.location for contact in merge.contacts))


def _context(merge: Merge, settings: MessagingSettings) -> dict[str, Any]:
    requester = merge.requester
    return {
        "contacts": [_shown(contact) for contact in merge.contacts],
        "requester": one_line(requester.name) if requester else "Somebody",
        "requester_address": _address(requester, settings),
        "reason": one_line(merge.reason) if merge.reason else None,
        "locale": one_line(requester.locale) if requester and requester.locale else None,
    }


def _shown(contact: Contact) -> Contact:
    return Contact(
        str(contact.id),
        one_line(contact.name),
        location=one_line(contact.location),
        url=_link(contact.url),
    )


def _link(url: str | None) -> str | None:
    """``url`` where every mail program takes it for a link to a page, else None."""
    whole = (url or "").strip(" ")
    return whole if _LINK.fullmatch(whole) and whole.isprintable() else None


def _address(party: Party | None, settings: MessagingSettings) -> str | None:
    if party is None or not (party.email or "").strip():
        return None
    try:
        return addresses.complete(
            party.email or "",
            company_domain=settings.company_domain,
            own_domains=own_domains(settings),
        )
    except AddressError:
        return None


# -- signals: one module-level receiver for every app and every sender ------------------


def _app_of(sender: Any) -> Flask | None:
    app = sender._get_current_object() if hasattr(sender, "_get_current_object") else sender
    return app if isinstance(app, Flask) and KEY in app.extensions else None


def on_merge_denied(sender: Any, merge: Merge | None = None, **_: Any) -> None:
    """Receiver of ``merge_denied``: never raises, so that the host's request goes on."""
    app = _app_of(sender)
    if app is None:
        return
    with _logged("merge_denied"), context_of(app):
        request_merge(_checked(merge))


def on_merge_completed(sender: Any, merge: Merge | None = None, **_: Any) -> None:
    """Receiver of ``merge_completed``: never raises, so that the host's request goes on."""
    app = _app_of(sender)
    if app is None:
        return
    state = state_of(app)
    with _logged("merge_completed"), context_of(state.app):
        complete_merge(state, _checked(merge))


def _checked(merge: object) -> Merge:
    if isinstance(merge, Merge):
        return merge
    raise TypeError(f"the signal needs merge=Merge(...), not {type(merge).__name__}")


@contextmanager
def _logged(event: str) -> Iterator[None]:
    try:
        yield
    except Exception:
        log.exception("%s.failed: the mail for it could not be queued", event)


signals.merge_denied.connect(on_merge_denied)
signals.merge_completed.connect(on_merge_completed)

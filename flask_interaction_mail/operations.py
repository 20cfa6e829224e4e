"""Use cases of one application: save settings, compose messages, resend, cancel, release, purge.

Functions that take a session read in the host's transaction; functions that change something
commit transactions of their own.
"""

from __future__ import annotations

import uuid
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from typing import TYPE_CHECKING, Any, Final

import sqlalchemy as sa
from sqlalchemy.orm import Session

from . import clock, language, signals
from .errors import (
    AddressError,
    InteractionMailError,
    MessagingNotConfigured,
    NoRecipient,
    StillWaiting,
    UnreadableReport,
)
from .language import mark, translated
from .logs import about, log
from .messages import compose as composing
from .messages import merge_content, templates
from .messages.compose import Draft, Identity, RoutingContext, compose_message, failed_message
from .messages.explain import DryRun, explain
from .messages.intent import Addressees, Intent, Texts
from .messages.letterhead import letterhead_of
from .messages.message import NewMessage, elsewhere, with_step
from .messages.recipients import Routing, default_to
from .messages.redirected import redirected
from .messages.route import SOMEBODY, step
from .outbox import messages
from .outbox.insert import fitted, insert
from .settings.layers import InForce
from .settings.model import MessagingSettings, mailbox_of, relays_of
from .state import State
from .storage.database import AWAY
from .unit_of_work.announce import announce_ids, announce_returned, send_signal
from .unit_of_work.app_context import wake
from .unit_of_work.recording import note_stored
from .unit_of_work.session_events import per_transaction
from .values import Kind, Merge, Notification, Reason, Status

if TYPE_CHECKING:  # needed once an hour, where mail is delivered
    from .outbox.dead_addresses import Dead
    from .outbox.lost import Lost
    from .outbox.retention import Purged
    from .outbox.returned import Noted, Outcome
    from .returned.reading import Returned


APPLICATION: Final = "the application"  # has sent a message again, and no person


# -- settings --------------------------------------------------------------------------


def settings_for(state: State, session: Session) -> MessagingSettings:
    """The settings in force, read once in each transaction of ``session``.

    If this process saves others meanwhile, those are read.

    Raises:
        TablesMissing: the tables are not there yet.
    """
    cache = per_transaction(session)
    in_force: InForce | None = cache.get(state)
    if in_force is None or not state.settings.is_newest_known(in_force):
        with state.database.reading_in(session) as connection:
            in_force = cache[state] = state.settings.current(connection)
    return in_force.settings


def save_settings(
    state: State, changes: dict[str, Any], *, base: int | None, changed_by: str
) -> InForce:
    """Save ``changes``, then send ``settings_changed``; commits transactions of its own.

    Raises:
        SettingsError: a field breaks a rule; nothing is saved.
        SettingsConflict: somebody else saved since ``base``.
    """
    previous = state.settings.current()
    saved = state.settings.save(changes, base=base, changed_by=changed_by)
    _settings_changed(state, previous, saved, changed_by)
    return saved


def restore_settings(state: State, revision: int, *, changed_by: str) -> InForce:
    """Save the settings of ``revision`` as the newest; otherwise as ``save_settings``."""
    previous = state.settings.current()
    saved = state.settings.restore(revision, changed_by=changed_by)
    _settings_changed(state, previous, saved, changed_by)
    return saved


def rotate_keys(state: State) -> int:
    """Encrypt what is stored under the newest key; gives how many revisions had an older one.

    Access tokens are asked for again, where a person has agreed without asking that person. Commits
    transactions of its own.

    Raises:
        SecretUnreadable: no key can read the newest revision's secrets.
    """
    from .outbox import consents, tokens  # late: this is rare

    count = state.settings.rotate_keys()
    with state.database.writing() as connection:
        tokens.drop_all(connection)
        consents.rotate(connection, state.settings.keyring)
    return count


def _settings_changed(state: State, previous: InForce, saved: InForce, changed_by: str) -> None:
    from .outbox import breaker, lanes, mailboxes  # late: who only enqueues does not need them

    before, after = (
        {*relays_of(found.settings, state.config.transport)} for found in (previous, saved)
    )
    # Who saves the same again wants another try.
    same = previous.settings == saved.settings
    changed = after if same else before ^ after
    try:
        with state.database.writing() as connection:
            lanes.recall(connection, clock.now())
            breaker.close(connection, *changed)  # a new password may be the right one
            if same or mailbox_of(previous.settings) != mailbox_of(saved.settings):
                mailboxes.all_due(connection, clock.now())
    except sa.exc.SQLAlchemyError:
        # The settings are saved all the same, the breaker probes the server by itself, and what
        # waits aside does so for some minutes.
        log.exception("settings.breaker: it could not be closed")
    send_signal(
        state.app,
        signals.settings_changed,
        previous=previous.settings.without_secrets,
        settings=saved.settings.without_secrets,
        changed_by=changed_by,
    )
    wake(state)


# -- composing -------------------------------------------------------------------------


def routing_context(
    state: State,
    settings: MessagingSettings,
    locations: Iterable[str],
    *,
    kind: str = "",
    session: Session | None = None,
) -> RoutingContext:
    """What routing depends on; asks the directory who may merge at each of ``locations``.

    Dead addresses count for a request alone, which ``kind`` or a location tells. They are read in
    the transaction of ``session``, if there is one.
    """
    locations = tuple(locations)
    skips = settings.skip_dead_addresses and (locations or kind == Kind.REQUEST)
    return RoutingContext(
        dead=dead_addresses(state, session) if skips else {},
        settings=settings,
        now=clock.now(),
        organisation=state.organisation,
        candidates=[(location, state.people.merge_recipients(location)) for location in locations],
        suppressed=state.suppressed,
        translations=state.translations,
    )


def dead_addresses(state: State, session: Session | None = None) -> Mapping[str, Dead]:
    """The addresses that do not exist any more, as reports say, by their spelling in lower case.

    They are read in the transaction of ``session``, if there is one.
    """
    from .outbox import dead_addresses  # late: for those who want to know

    database = state.database
    # A host that holds a connection may be waiting for each other one that does.
    with database.reading() if session is None else database.reading_in(session) as connection:
        return dead_addresses.read(connection)


def mend(state: State, address: str, *, by: str) -> bool:
    """Count ``address`` as one that exists again; gives whether it was dead.

    ``by`` is the name of who says so, for the history. Commits a transaction of its own.
    """
    from .outbox import dead_addresses, deeds  # late, as above

    with state.database.writing() as connection:
        if mended := dead_addresses.mend(connection, address):
            named = dead_addresses.spelled(address)
            deeds.note_mailbox(connection, deeds.What.MENDED, by, named, clock.now())
    return mended


def written(
    state: State,
    name: str,
    names: Mapping[str, Any],
    whom: Addressees,
    context: RoutingContext,
    *,
    locale: str | None,
) -> tuple[Texts, RoutingContext]:
    """Render the template ``name`` in ``locale``; it may use ``names``, and why ``whom`` gets it.

    The context that is returned knows the route, so that it is not decided twice.

    Raises:
        TemplateMissing: there is no such template, or it cannot be rendered.
    """
    ((texts, routing),) = written_each(state, name, [(names, whom)], context, locale=locale)
    return texts, context._replace(routing=routing)


def written_each(
    state: State,
    name: str,
    readers: Sequence[tuple[Mapping[str, Any], Addressees]],
    context: RoutingContext,
    *,
    locale: str | None,
) -> list[tuple[Texts, Routing | None]]:
    """Render as ``written`` for each of ``readers``; gives the route with each text.

    The route is None where none is found, which composing reports.
    """
    letterhead = letterhead_of(context.settings, context.organisation)
    with templates.speaking(state.app, locale, *context.translations):
        routed = [_routed(whom, context) for _, whom in readers]
        contexts = [
            {"letterhead": letterhead, "why": why, **names}
            for (names, _), (_, why) in zip(readers, routed, strict=True)
        ]
        rendered = templates.render_each(state.app.jinja_env, name, contexts)
    # A sentence of the host's own stays as it is, whoever gets the message in a resend.
    return [
        (texts._replace(why="" if "why" in names else why, locale=locale), routing)
        for texts, (names, _), (routing, why) in zip(rendered, readers, routed, strict=True)
    ]


def _routed(whom: Addressees, context: RoutingContext) -> tuple[Routing | None, str]:
    """The route to ``whom``, and why they get it."""
    with suppress(NoRecipient, AddressError):
        routing = composing.route(whom, context)
        return routing, composing.why(whom, routing, context.settings)
    return None, ""


def compose(
    state: State, intent: Intent, identity: Identity, settings: MessagingSettings
) -> NewMessage:
    """Compose a message as this app is now; raises what ``compose_message`` raises.

    Raises:
        ContentError: the database cannot store it.
    """
    context = routing_context(state, settings, intent.locations, kind=intent.kind)
    return compose_in(state, intent, identity, context)


def compose_in(
    state: State, intent: Intent, identity: Identity, context: RoutingContext
) -> NewMessage:
    """As ``compose``, in the ``context`` in which its texts were written."""
    return _storable(state, compose_message(intent, identity, context))


def compose_all(state: State, drafts: Sequence[Draft], context: RoutingContext) -> list[NewMessage]:
    """As ``compose_in``, for many that are routed."""
    return [_storable(state, message) for message in composing.compose_all(drafts, context)]


def _storable(state: State, message: NewMessage) -> NewMessage:
    state.database.limits.check_size(message.content or b"", message.stored_intent)
    return fitted(message, state.database.limits)


def locations_of(merge: Merge) -> tuple[str, ...]:
    """The distinct locations of the contacts."""
    return tuple(dict.fromkeys(contact.location for contact in merge.contacts))


def request_intent(
    state: State, merge: Merge, context: RoutingContext, *, in_reply_to: str | None = None
) -> tuple[Intent, RoutingContext]:
    """What a request to merge says, and to whom; ``in_reply_to`` names an earlier request.

    The context that is returned knows the route, as that of ``written``.

    Raises:
        TemplateMissing: its template cannot be rendered.
    """
    locations = tuple(location for location, _ in context.candidates)
    whom = Addressees(kind=Kind.REQUEST, source="merge_denied", locations=locations)
    readers = [party for _, parties in context.candidates for party in parties]
    locale = templates.shared_locale(readers)
    with language.speaking(locale, *context.translations):
        names = merge_content.context_of(merge, context.settings)
    texts, context = written(state, "merge_request", names, whom, context, locale=locale)
    intent = Intent.of(texts, whom)
    return intent._replace(user=merge.requester, in_reply_to=in_reply_to), context


def dry_runs(state: State, merge: Merge, drafts: Sequence[MessagingSettings]) -> list[DryRun]:
    """What a request for ``merge`` would come to under each of ``drafts``; nothing is stored.

    The directory is asked once for all of them.
    """
    context = routing_context(state, drafts[0], locations_of(merge))
    context = context._replace(dead=dead_addresses(state))  # each draft says what it makes of them
    return [_dry_run(state, merge, context._replace(settings=settings)) for settings in drafts]


def _dry_run(state: State, merge: Merge, context: RoutingContext) -> DryRun:
    settings = context.settings
    try:
        found = explain(context, merge.requester)
    except (MessagingNotConfigured, AddressError) as problem:
        return DryRun(settings=settings, error=translated(problem))
    content, error = None, found.error
    if error is None:
        try:
            intent, context = request_intent(state, merge, context)
            content = compose_message(intent, Identity.fresh(), context).content
        except InteractionMailError as problem:
            error = translated(problem)
    return DryRun(
        settings=settings,
        to=found.to,
        sender=found.sender,
        route=found.route,
        content=content,
        error=error,
    )


def compose_or_fail(
    state: State, intent: Intent, identity: Identity, context: RoutingContext
) -> NewMessage:
    """As ``compose``, but a message that cannot be sent is logged and fails with a reason (R4)."""
    limits = state.database.limits
    try:
        return fitted(compose_message(intent, identity, context), limits)
    except InteractionMailError as error:
        log.error("notification.failed: %s", error, extra=about(identity.id))
        return fitted(failed_message(intent, identity, context, error), limits)


# -- messages --------------------------------------------------------------------------


def resend(
    state: State,
    id: uuid.UUID,
    *,
    by: str | None = None,
    after: uuid.UUID | None = None,
    to: str | None = None,
    job: uuid.UUID | None = None,
) -> Notification:
    """Route the intent of message ``id`` again and queue it as a new message.

    ``by`` is the name of who asks. ``after`` is the latest resend that they know of, None if they
    know of none. With ``to``, one address, the copy goes there and to nobody else. ``job`` is that
    of which it is a part. Commits a transaction of its own.

    Raises:
        LookupError: there is no such message.
        StillWaiting: the message is not in a final state.
        SentAgain: it was resent after ``after``.
        InteractionMailError: it cannot be composed with the settings in force.
        ValueError: the intent is damaged, or the body has been purged.
    """
    from .outbox import resends  # late: few processes are asked for one

    with state.database.reading() as connection:
        resends.check(connection, id, after)
        original = resends.original(connection, id)
        settings = state.settings.current(connection).settings
    if to is not None:
        original = elsewhere(original, to)
    identity = Identity.again(original, resend_of=id, by=by, job=job)
    intent = original.intent
    context = routing_context(state, settings, intent.locations, kind=intent.kind)
    if to is not None:
        context = context._replace(dead={})  # whoever names an address knows better than reports
    message = compose_in(state, intent, identity, context)
    if to is not None:
        to = message.recipients[0].address  # in full, so that it can be found and erased
        message = with_step(message, step("elsewhere", who=by or SOMEBODY, address=to))
    with state.database.writing() as connection:
        resends.lock(connection, id)
        resends.check(connection, id, after)
        if not insert(connection, [message]):
            raise StillWaiting(
                mark("Another message with its key was made meanwhile: look at that.")
            )
        _note(connection, "resent", by, [id], job, detail=to or "")
    note_stored(state, [message])
    return _announce(state, [message.id])[message.id]


def cancel(
    state: State, *ids: uuid.UUID, by: str | None = None, job: uuid.UUID | None = None
) -> list[uuid.UUID]:
    """Cancel those of the messages that have not left; gives those that were.

    ``by`` is the name of who asks, for the history; None for the host's own code. ``job`` is that
    of which it is a part.

    Commits a transaction of its own.
    """
    with state.database.writing() as connection:
        cancelled = messages.cancel(connection, ids, Reason.WITHDRAWN, clock.now())
        _note(connection, "cancelled", by, cancelled, job)
    _announce(state, cancelled)
    return cancelled


def release(
    state: State, *ids: uuid.UUID, by: str | None = None, job: uuid.UUID | None = None
) -> list[uuid.UUID]:
    """Queue held messages unchanged; gives those that were still held.

    ``by`` is the name of who asks, for the history. ``job`` is that of which it is a part.

    Commits a transaction of its own.
    """
    with state.database.writing() as connection:
        released = messages.release(connection, ids, clock.now())
        _note(connection, "released", by, released, job)
    _announce(state, released)
    return released


def _note(
    connection: sa.Connection,
    what: str,
    by: str | None,
    ids: Iterable[uuid.UUID],
    job: uuid.UUID | None,
    *,
    detail: str = "",
) -> None:
    if by is not None:
        from .outbox import deeds  # late: what an administrator does is rare

        deeds.note(connection, deeds.What(what), by, ids, clock.now(), job=job, detail=detail)


def _announce(state: State, ids: Sequence[uuid.UUID]) -> dict[uuid.UUID, Notification]:
    """Send the signals of these messages and wake delivery; returns what they are now."""
    with state.database.reading() as connection:
        snapshots = messages.load(connection, ids)
    announce_ids(state.app, state.database, ids)
    if any(snapshot.status is Status.QUEUED for snapshot in snapshots.values()):
        wake(state)
    return snapshots


def take_report(state: State, content: bytes) -> Noted | None:
    """Note what the message ``content`` reports, and announce it; None if it is none of ours.

    ``content`` is what came back, as it lies in a mailbox; 256 KiB of it are read. An automatic
    reply is noted, and changes nothing. Commits transactions of its own.

    Raises:
        UnreadableReport: it is no message, or one that was made to be hard to read.
    """
    from .returned.reading import read  # late: what reads a mailbox is a process of its own

    found = read(content)
    return note_returned(state, found, content) if found.notes or found.automatic else None


def note_returned(state: State, found: Returned, content: bytes) -> Noted | None:
    """Note what ``found`` says, which was read of ``content``; otherwise as ``take_report``."""
    from .outbox import returned

    redirects: list[NewMessage] = []

    def bounced(connection: sa.Connection, id: uuid.UUID) -> None:
        if message := redirect(state, connection, id):
            redirects.append(message)

    now = clock.now()
    noted = returned.note(state.database, found, content, now, bounced=bounced)
    if noted is not None and noted.changed:
        announce_returned(state.app, state.database, noted.id, sorted(noted.changed))
    if noted is not None and not noted.known and redirects:
        note_stored(state, redirects)
        _announce(state, [message.id for message in redirects])
    return noted


def outcome_of_report(state: State, content: bytes) -> Outcome:
    """Note ``content`` as ``take_report`` does; gives what became of it, readable or not."""
    from .outbox.returned import Outcome  # late, as above

    try:
        noted = take_report(state, content)
    except UnreadableReport:
        return Outcome.UNREADABLE
    except (sa.exc.DataError, sa.exc.IntegrityError, UnicodeEncodeError):
        log.exception("returned.failed: a report could not be stored")
        return Outcome.UNREADABLE  # the next time as well, and others wait behind it
    return Outcome.FOREIGN if noted is None else noted.outcome


def redirect(state: State, connection: sa.Connection, id: uuid.UUID) -> NewMessage | None:
    """Queue the request ``id`` for the default To if it has reached nobody; gives the new message.

    That is done once. Where the default To is among those whom it did not reach, or the text is
    gone, an alert tells it instead. ``connection`` has locked the message; its owner commits.

    Raises:
        sqlalchemy.exc.OperationalError: the database is away, or has rolled back the whole
            transaction, as MariaDB does at a deadlock. So do the other errors of ``AWAY``.
    """
    from .outbox import lost  # late: what comes back, and what is refused, is rare

    found = lost.find(connection, id)
    if found is None or (found.expires_at is not None and found.expires_at <= clock.now()):
        return None
    try:
        with connection.begin_nested():
            if message := _redirected(state, connection, id, found):
                return message
    except AWAY:
        raise
    except Exception:
        log.exception("request.redirect: it cannot be made anew")
    log.error("request.lost: %s: it cannot go to the default To either", id, extra=about(id))
    lost.note(connection, id, clock.now())
    return None


def _redirected(
    state: State, connection: sa.Connection, id: uuid.UUID, found: Lost
) -> NewMessage | None:
    from .outbox import keys, resends  # late, as above

    settings = state.settings.current(connection).settings
    missed = [recipient.address for recipient in found.missed]
    if found.final or _default_to_is_among(missed, settings):
        return None
    original = resends.original(connection, id)
    if original.key and keys.use_of(connection, original.key).taken_by is not None:
        original = original._replace(key=None, number=0)  # it has left, and keeps its key
    context = routing_context(state, settings, ())
    with language.speaking(original.intent.locale, *context.translations):
        intent = redirected(original.intent, found.missed, found.message_id)
    identity = Identity.again(original, resend_of=id, by=APPLICATION)
    identity = identity._replace(expires_at=found.expires_at)
    message = compose_or_fail(state, intent, identity, context)
    if message.status is Status.FAILED:
        return None
    message = with_step(message, step("redirected", who=", ".join(missed), id=str(id)))
    insert(connection, [message])  # unless its key was used meanwhile: then that is sent
    return message


def _default_to_is_among(addresses: Iterable[str], settings: MessagingSettings) -> bool:
    with suppress(NoRecipient, AddressError):
        address = default_to(settings).address.casefold()
        return address in {one.casefold() for one in addresses}
    return False


def purge(state: State) -> Purged:
    """Delete bodies and messages older than their retention; commits transactions of its own.

    Before that, what is held for a digest that has ended is ended as well, and announced.
    """
    from .outbox import retention  # late: needed once an hour, where mail is delivered

    ended = retention.end_digests(state.database, now=clock.now())
    announce_ids(state.app, state.database, ended, context=state.app.app_context)
    return retention.purge(
        state.database,
        now=clock.now(),
        bodies=state.config.body_retention,
        logs=state.config.log_retention,
    )


def rebuild_activity(state: State) -> int:
    """Count anew what the outbox still has; gives how many messages that were.

    Commits a transaction of its own.
    """
    from .outbox import recount  # late: for mail from before there were counts

    return recount.rebuild(state.database, clock.now())

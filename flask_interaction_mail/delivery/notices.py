"""Tells the default To of messages that were given up, and sends it requests that reach nobody."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import sqlalchemy as sa

from .. import operations
from ..clock import from_db
from ..logs import log
from ..messages.compose import Identity
from ..messages.intent import REDIRECT, Addressees, Intent
from ..messages.message import NewMessage, id_of_key, new_id
from ..outbox import lost, messages
from ..outbox.claimed import AttemptResult
from ..outbox.insert import insert
from ..settings.model import MessagingSettings
from ..state import State
from ..storage.database import AWAY, context_of
from ..values import Kind, Status
from .resolution import given_up

SOURCE: Final = "notice"
_SUBJECT_LENGTH: Final = 135  # of the other message's subject; more helps nobody


def report(state: State, connection: sa.Connection, results: Sequence[AttemptResult]) -> None:
    """Queue one notice for each message that was given up and is no notice itself.

    A request that has reached nobody, because servers have refused or returned it, is queued anew
    instead; one that was returned from some and given up for others, too. Either is stored with the
    record of the last attempt, whose transaction ``connection`` is in, and stands in ``made`` of
    the result; the caller commits. What fails is logged, the record stays.

    Raises:
        sqlalchemy.exc.OperationalError: the database is away or has rolled back the record, too,
            as MariaDB does at a deadlock. So do the other errors of ``AWAY``.
    """
    about = {result.claimed.id: result for result in results if result.claimed.source != SOURCE}
    told = [id for id in about if given_up(about[id]) and about[id].claimed.source != REDIRECT]
    failed = [id for id in about if about[id].status is Status.FAILED and id not in told]
    sent = [id for id in about if about[id].status is Status.SENT]
    # Of what was given up somebody may have had it before, from whom it came back.
    for id in (*failed, *lost.came_back(connection, [*sent, *told])):
        if message := operations.redirect(state, connection, id):
            about[id].made = [message]
    if told:
        _tell(state, connection, [about[id] for id in told])


def _tell(state: State, connection: sa.Connection, results: Sequence[AttemptResult]) -> None:
    try:
        with connection.begin_nested():
            settings = state.settings.current(connection).settings
            notices = [_notice(state, connection, settings, result) for result in results]
            insert(connection, notices)
    except AWAY:
        raise
    except Exception:
        log.exception("notice.failed: default To is not told of messages that failed")
        return
    for result, notice in zip(results, notices, strict=True):
        result.made = [*result.made, notice]


def _notice(
    state: State, connection: sa.Connection, settings: MessagingSettings, result: AttemptResult
) -> NewMessage:
    id = result.claimed.id
    subject = messages.load(connection, [id])[id].subject
    names = {
        "subject": subject[:_SUBJECT_LENGTH],
        "attempts": result.claimed.attempts + 1,
        "written": from_db(result.claimed.created_at),
        "missed": _missed(result),
    }
    context = operations.routing_context(state, settings, ())
    whom = Addressees(kind=Kind.NOTIFICATION, source=SOURCE)
    with context_of(state.app):  # a template of the host may need it
        texts, context = operations.written(
            state, "not_delivered", names, whom, context, locale=None
        )
    key = f"interaction-mail:given-up:{id}"
    identity = Identity(id=id_of_key(key), origin=new_id(), key=key)
    return operations.compose_or_fail(state, Intent.of(texts, whom), identity, context)


def _missed(result: AttemptResult) -> list[tuple[str, str | None]]:
    """Each address that did not get it, and what the mail server said last."""
    return [
        (address, reply)
        for address, (status, reply) in result.recipients.items()
        if status is Status.FAILED
    ]

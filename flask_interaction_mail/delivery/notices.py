"""Tells the default To of messages that were given up, and sends it requests that reach nobody."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Final

import sqlalchemy as sa

from .. import operations
from ..addresses import needs_smtputf8
from ..clock import from_db
from ..logs import about, log
from ..messages.compose import Identity
from ..messages.intent import Addressees, Intent
from ..messages.message import NewMessage, id_of_key, new_id
from ..messages.route import step
from ..outbox import messages, resends
from ..outbox.claimed import AttemptResult
from ..outbox.insert import insert
from ..settings.model import MessagingSettings
from ..state import State
from ..storage.database import AWAY, context_of
from ..values import Kind, Status

SOURCE: Final = "notice"
_BY: Final = "the application"  # sent it again
_SUBJECT_LENGTH: Final = 135  # of the other message's subject; more helps nobody


def report(state: State, connection: sa.Connection, results: Sequence[AttemptResult]) -> None:
    """Queue one notice for each message that was given up and is no notice itself.

    Of a request whose recipients the server cannot take, queue the request itself instead. Either
    is stored with the record of the last attempt, whose transaction ``connection`` is in; the
    caller commits. A notice that fails is logged, the record stays.

    Raises:
        sqlalchemy.exc.OperationalError: the database is away or has rolled back the record, too,
            as MariaDB does at a deadlock. So do the other errors of ``AWAY``.
    """
    about = [result for result in results if result.claimed.source != SOURCE]
    if not about:
        return
    try:
        with connection.begin_nested():
            settings = state.settings.current(connection).settings
            told = [
                (_request if result.unreached else _notice)(state, connection, settings, result)
                for result in about
            ]
            insert(connection, [message for message in told if message is not None])
    except AWAY:
        raise
    except Exception:
        log.exception("notice.failed: default To is not told of messages that failed")


def _request(
    state: State, connection: sa.Connection, settings: MessagingSettings, result: AttemptResult
) -> NewMessage | None:
    """The request for the default To; None where it is none, or default To is out of reach, too."""
    id = result.claimed.id
    original = resends.original(connection, id)
    if original.intent.kind != Kind.REQUEST:
        return None
    identity = Identity.again(original, resend_of=id, by=_BY)
    message = operations.compose_or_fail(
        state,
        original.intent._replace(to=(), cc=(), bcc=(), locations=()),
        identity._replace(expires_at=result.claimed.expires_at),
        operations.routing_context(state, settings, ()),
    )
    if any(needs_smtputf8(recipient.address) for recipient in message.recipients):
        text = "request.unreached: %s: nor can the default To be reached"
        log.error(text, id, extra=about(id))
        return None
    why = step("unreached", who=", ".join(result.recipients), id=str(id))
    return replace(message, route=(why, *message.route))


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

"""The one notice to default To about a message that was given up after five days of trying."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from typing import TYPE_CHECKING, Final

import sqlalchemy as sa

from . import outbox
from .clock import from_db
from .intent import Intent
from .notify import Identity
from .queue import Verdict
from .settings import MessagingSettings
from .values import Kind, Status

if TYPE_CHECKING:
    from .outbox import NewMessage
    from .state import State

log = logging.getLogger("flask_interaction_mail")

SOURCE: Final = "notice"
_SUBJECT_LENGTH: Final = 150  # of the other message's subject; more helps nobody
_TEXT: Final = """\
A message could not be delivered for five days, so it is not tried any more.

Subject: {subject}
Written: {written:%Y-%m-%d %H:%M} UTC

Who did not get it, and what the mail server said last:
{recipients}

Configuration -> Outbox in the application shows every attempt, and can send it again.
"""


def report(state: State, connection: sa.Connection, given_up: Sequence[Verdict]) -> None:
    """Queue one notice for each message in ``given_up`` that is no notice itself.

    It is stored with the record of the last attempt, whose transaction ``connection`` is in; the
    caller commits. Never raises: a notice that fails is logged, the record stays.
    """
    about = [verdict for verdict in given_up if verdict.claimed.source != SOURCE]
    if not about:
        return
    try:
        with connection.begin_nested():
            settings = state.settings.current(connection).settings
            outbox.insert(connection, [_notice(state, connection, settings, one) for one in about])
    except Exception:
        log.exception("notice.failed: nobody is told of messages that were given up")


def _notice(
    state: State, connection: sa.Connection, settings: MessagingSettings, verdict: Verdict
) -> NewMessage:
    id = verdict.claimed.id
    subject = outbox.load(connection, [id])[id].subject
    intent = Intent(
        kind=Kind.NOTIFICATION,
        source=SOURCE,
        subject=f"Not delivered: {subject}"[:_SUBJECT_LENGTH],
        text=_TEXT.format(
            subject=subject,
            written=from_db(verdict.claimed.created_at),
            recipients=_missed(verdict),
        ),
    )
    key = f"interaction-mail:given-up:{id}"
    identity = Identity(id=outbox.id_of_key(key), origin=outbox.new_id(), key=key)
    return state.compose_anyhow(intent, identity, state.circumstances(settings, ()))


def _missed(verdict: Verdict) -> str:
    return "\n".join(
        f"- {address}: {reply or 'nothing'}"
        for address, (status, reply) in verdict.recipients.items()
        if status is Status.FAILED
    )

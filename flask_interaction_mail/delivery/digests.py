"""Mail above the rates of an application waits a minute, and leaves in digests (T14)."""

from __future__ import annotations

import uuid
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Final

import sqlalchemy as sa

from .. import operations
from ..logs import log
from ..messages.compose import Identity
from ..messages.intent import Addressees, Intent
from ..messages.message import NewMessage
from ..outbox import digests, rate_limit
from ..outbox.claimed import Claimed
from ..outbox.digests import SOURCE, HeldMessages
from ..outbox.insert import insert
from ..outbox.rates import Rates
from ..state import State
from ..storage.database import AWAY, context_of
from ..unit_of_work.announce import announce_ids
from ..values import Party

_AT_ONCE: Final = 100  # digests in one transaction


@dataclass(frozen=True, slots=True)
class RateLimiter:
    """The limits that ``state`` is configured with."""

    state: State

    def hold_excess(
        self, connection: sa.Connection, claimed: Sequence[Claimed], now: datetime
    ) -> set[uuid.UUID]:
        """Hold what is above a rate; see ``rate_limit.hold_excess``."""
        config = self.state.config
        rates = Rates(recipient=config.rate, actor=config.actor_rate)
        return rate_limit.hold_excess(connection, claimed, rates=rates, now=now)

    def is_due(self, connection: sa.Connection, now: datetime) -> bool:
        """Whether anybody's minute is over."""
        return digests.is_due(connection, now)

    def gather(self, connection: sa.Connection, now: datetime) -> list[uuid.UUID]:
        """Queue a digest for each recipient whose minute is over; gives the ids of what leaves.

        A message that is the only one held for its address leaves as it is. The caller commits.
        Where a digest cannot be made, that is logged, and its messages are held for another minute.
        What another worker has locked a part of stays for the next look: two workers would make
        two digests of it.

        Raises:
            sqlalchemy.exc.OperationalError: the database is away, or there was a deadlock; nothing
                of it may be committed. So do the other errors of ``AWAY``.
        """
        due = digests.held_and_due(connection, now)
        several = [held for held in due if len(held.ids) > 1]
        ready = [held for held in several if held.fully_locked][:_AT_ONCE]
        made = {held: self._digest(connection, held, now) for held in ready}
        # A message that goes on waiting for one of its recipients leaves as it is for none.
        waiting = {id for held in several if made.get(held) is None for id in held.ids}
        single = [held for held in due if held.fully_locked and len(held.ids) == 1]
        alone = [held for held in single if not waiting.intersection(held.ids)]
        if alone:
            digests.release(connection, alone, now)
        leaving = dict.fromkeys(id for held in alone for id in held.ids)
        return [*leaving, *(id for id in made.values() if id is not None)]

    def announce(self, ids: Sequence[uuid.UUID]) -> None:
        """The signals of messages that were held, or are let go again."""
        announce_ids(self.state.app, self.state.database, ids, context=self.state.app.app_context)

    def _digest(
        self, connection: sa.Connection, held: HeldMessages, now: datetime
    ) -> uuid.UUID | None:
        try:
            with connection.begin_nested():
                message = _composed(self.state, connection, held)
                insert(connection, [message])
                digests.assign_to_digest(connection, held, message.id)
        except AWAY:  # at a deadlock MariaDB rolls back the other digests, too
            raise
        except Exception:
            log.exception("digest.failed: %s messages go on waiting", len(held.ids))
            digests.postpone(connection, held, now)
            return None
        return message.id


def _composed(state: State, connection: sa.Connection, held: HeldMessages) -> NewMessage:
    from ..messages.digest_content import IN_FULL, summary_of  # late: most mail leaves in none

    contents = digests.contents(connection, held.ids[:IN_FULL])
    names = digests.names(connection, held.ids)
    summary = summary_of(contents, names, state.translations)
    settings = state.settings.current(connection).settings
    context = operations.routing_context(state, settings, ())
    whom = Addressees(kind=summary.kind, source=SOURCE, to=(Party(held.name, held.address),))
    with context_of(state.app):  # a template of the host may need it
        texts, context = operations.written(
            state, SOURCE, summary.context(), whom, context, locale=summary.locale
        )
    intent = Intent.of(texts, whom)._replace(attachments=summary.attachments)
    return operations.compose_in(state, intent, Identity.fresh(), context)

"""Limits of one application: what is above its rates waits, and goes out as one digest (T14)."""

from __future__ import annotations

import logging
import uuid
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Final

import sqlalchemy as sa

from .. import operations
from ..messages import templates
from ..messages.compose import Identity
from ..messages.digest_content import IN_FULL, summary_of
from ..messages.intent import Intent
from ..messages.message import NewMessage
from ..outbox import digests as gathering
from ..outbox import messages, rate_limit
from ..outbox.claimed import AttemptResult, Claimed
from ..outbox.digests import SOURCE, Gathering
from ..outbox.rates import Rates
from ..state import State
from ..storage.database import context_of
from ..unit_of_work.announce import announce_ids
from ..values import Party

log = logging.getLogger("flask_interaction_mail")

_AT_ONCE: Final = 100  # digests in one transaction


@dataclass(frozen=True, slots=True)
class RateLimiter:
    """The limits that ``state`` is configured with."""

    state: State

    def sieve(
        self, connection: sa.Connection, claimed: Sequence[Claimed], now: datetime
    ) -> set[uuid.UUID]:
        """Hold what is above a rate; see ``rate_limit.sift``."""
        config = self.state.config
        rates = Rates(recipient=config.rate, actor=config.actor_rate)
        return rate_limit.sift(connection, claimed, rates=rates, now=now)

    def is_due(self, connection: sa.Connection, now: datetime) -> bool:
        """Whether anybody's minute is over."""
        return gathering.is_due(connection, now)

    def gather(self, connection: sa.Connection, now: datetime) -> list[uuid.UUID]:
        """Queue a digest for each recipient whose minute is over; gives the ids of what leaves.

        Where a single message was held for somebody, it leaves as it is. The caller commits. What
        cannot be gathered is logged, and stays held for another minute. What somebody else has a
        part of stays for the next look: the parts of two workers would be two digests.
        """
        found = gathering.gatherings(connection, now)
        floods = [one for one in found if len(one.ids) > 1]
        whole = [one for one in floods if one.whole]
        digests = {one: self._digest(connection, one, now) for one in whole[:_AT_ONCE]}
        # What still waits for one of its recipients leaves for none as it is.
        waiting = {id for one in floods if digests.get(one) is None for id in one.ids}
        single = [one for one in found if one.whole and len(one.ids) == 1]
        alone = [one for one in single if not waiting.intersection(one.ids)]
        if alone:
            gathering.release(connection, alone, now)
        leaving = dict.fromkeys(id for one in alone for id in one.ids)
        return [*leaving, *(id for id in digests.values() if id is not None)]

    def announce(self, ids: Sequence[uuid.UUID]) -> None:
        """The signals of messages that were held, or are let go again."""
        announce_ids(self.state.app, self.state.database, ids, context=self.state.app.app_context)

    def _digest(self, connection: sa.Connection, one: Gathering, now: datetime) -> uuid.UUID | None:
        try:
            with connection.begin_nested():
                message = _composed(self.state, connection, one)
                messages.insert(connection, [message])
                gathering.assign_to_digest(connection, one, message.id)
        except Exception:
            log.exception("digest.failed: %s messages go on waiting", len(one.ids))
            gathering.postpone(connection, one, now)
            return None
        return message.id


def digest_members(state: State, verdicts: Sequence[AttemptResult]) -> list[uuid.UUID]:
    """The messages in those digests whose ``verdicts``, which are final, were theirs, too."""
    final = (one for one in verdicts if one.status.final)
    digests = [one.claimed.id for one in final if one.claimed.source == SOURCE]
    if not digests:
        return []
    try:
        with state.database.reading() as connection:
            return gathering.members(connection, digests)
    except Exception:
        log.exception("signal.lost: cannot read what was in digests")
        return []


def _composed(state: State, connection: sa.Connection, one: Gathering) -> NewMessage:
    contents = gathering.contents(connection, one.ids[:IN_FULL])
    names = gathering.names(connection, one.ids)
    summary = summary_of(contents, names)
    with context_of(state.app):  # a template of the host may need it
        texts = templates.render(state.app, SOURCE, summary.context(), locale=summary.locale)
        intent = Intent(
            kind=summary.kind,
            source=SOURCE,
            subject=texts.subject,
            text=texts.text,
            html=texts.html,
            to=(Party(one.name, one.address),),
            attachments=summary.attachments,
            gathers=tuple(id.hex for id in one.ids),
        )
        settings = state.settings.current(connection).settings
        return operations.compose(state, intent, Identity.fresh(), settings)

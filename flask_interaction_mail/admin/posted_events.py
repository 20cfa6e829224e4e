"""What a provider has posted: who has signed it, what is noted of it, and the answer."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable
from typing import Final

import sqlalchemy as sa
from flask import jsonify, request
from flask.typing import ResponseReturnValue

from .. import clock, operations
from ..errors import InteractionMailError
from ..logs import log
from ..returned import amazon, sendgrid
from ..returned.events import LIMIT, Event, NotFromProvider, Unreadable
from ..settings.amazon import server_of_topic
from ..storage.database import in_short, is_away
from ..text import one_line
from ..transport.sns import SnsServers, SnsUnavailable
from .panel_view import state

_FAILED: Final = "failed"  # it is posted again, and what was noted is known then


def from_amazon(servers: SnsServers, body: bytes) -> Iterable[Event]:
    """The events in a notice of SNS; confirms a subscription of a topic of ours.

    ``servers`` are asked for certificates.

    Raises:
        Unreadable: it is no notice.
        NotFromProvider: its signature, its topic or its time are wrong.
        SnsUnavailable: what decides that cannot be had now.
    """
    now = clock.from_db(clock.now())
    notice = amazon.notice(body, state().config.sns_topics, now)
    notice.check(servers.certificate(notice.certificate_url), now)
    if notice.kind == amazon.NOTIFICATION:
        return amazon.read(notice)
    if notice.kind == amazon.SUBSCRIPTION:
        servers.confirm(server_of_topic(notice.topic), notice.topic, notice.token)
    else:
        log.warning("events.unsubscribed: somebody has ended the one of %s", notice.topic)
    return ()


def from_sendgrid(body: bytes) -> Iterable[Event]:
    """The events that SendGrid has signed; raises as ``from_amazon``."""
    sendgrid.check(
        state().config.sendgrid_keys,
        body,
        signature=request.headers.get(sendgrid.SIGNATURE, ""),
        timestamp=request.headers.get(sendgrid.TIMESTAMP, ""),
        now=clock.from_db(clock.now()),
    )
    return sendgrid.read(body)


def answered(events_in: Callable[[bytes], Iterable[Event]]) -> ResponseReturnValue:
    """Note the events in the request; 5xx asks the provider to post it again."""
    if (request.content_length or 0) > LIMIT:
        return _refused("It is too long.", 413)
    # A host that reads all requests has read this one, too.
    body = request.stream.read(LIMIT + 1) or request.get_data()
    if len(body) > LIMIT:
        return _refused("It is too long.", 413)
    try:
        counted = Counter(map(_noted, events_in(body)))
    except Unreadable as error:
        return _refused(str(error), 400)
    except NotFromProvider as error:
        return _refused(str(error), 403)
    except SnsUnavailable as error:
        return _refused(str(error), 503)
    except (InteractionMailError, sa.exc.SQLAlchemyError) as error:
        return _refused(in_short(error), 503, "The database does not answer.")
    log.info("events.taken: %s", dict(counted))
    return jsonify(counted), 503 if counted[_FAILED] else 200


def _noted(event: Event) -> str:
    """What became of the event, in one word; one that cannot be stored keeps no other back.

    Raises:
        SQLAlchemyError, DatabaseBusy, TablesMissing: the same may succeed later.
    """
    try:
        noted = operations.note_returned(state(), event.returned, event.content)
    except sa.exc.SQLAlchemyError as error:
        if is_away(error):
            raise
        log.exception("events.failed: one could not be stored")
        return _FAILED
    if noted is None:
        return "unknown"
    return "known" if noted.known else "noted"


def _refused(why: str, status: int, told: str | None = None) -> ResponseReturnValue:
    log.warning("events.refused: %s: %s", request.path, one_line(why))
    return jsonify(error=told or why), status

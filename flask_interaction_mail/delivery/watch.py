"""Watches over delivery: tries the server when no mail does, and tells what is in trouble.

One turn a minute, aside from delivery, in each process that delivers; what has to be done once is
claimed in the database. No transaction is open while the server or a webhook is talked to.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime, timedelta
from typing import Final

import sqlalchemy as sa

from ..config import DeliveryMode
from ..errors import InteractionMailError, TransportError
from ..logs import log
from ..outbox import alerts, breaker, conditions, logins, probes, vitals
from ..outbox.claim import Time
from ..outbox.conditions import AlertName, Vitals
from ..outcome import Stage
from ..settings import grant
from ..settings.model import MessagingSettings, relays_of
from ..settings.relay import APPLICATION, MAILBOX, Relay
from ..state import State
from ..storage.database import in_short
from ..transport.registry import Transports
from .ports import worker_name
from .telling import tell

# The certificate is looked at so often, however much mail goes.
_LOOK_EVERY: Final = timedelta(days=1)
_SIGNED: Final = (DeliveryMode.WORKER, DeliveryMode.THREAD)  # whose processes leave signs of life
_BEFORE_MAIL: Final = (
    Stage.RESOLVE,
    Stage.CONNECT,
    Stage.GREETING,
    Stage.ENCRYPTION,
    Stage.TOKEN,
    Stage.AUTHENTICATION,
)


def turn(state: State, transports: Transports) -> None:
    """Probe if it is time, find out what is in trouble, and tell it. Never raises."""
    with _logged():
        if state.suppressed:
            return
        settings = state.settings.current().settings
        relays = relays_of(settings, state.config.transport) if settings.configured else ()
        for relay in relays:
            with _logged():
                _probe(state, settings, relay, transports, others=len(relays) > 1)
    with _logged():
        check(state)


def check(state: State) -> None:
    """Find out what is in trouble, and tell what has begun or is over since; commits."""
    settings = state.settings.current().settings
    with state.database.reading() as connection:
        before = alerts.seen(connection)  # first, as another worker may change it meanwhile
        found = take(connection, state, settings)
    holding = holding_now(state, settings, found)
    if alerts.changed(holding, before):
        with state.database.writing() as connection:
            alerts.write(connection, holding, before=before, now=found.now)
    _tell(state, settings)


def take(connection: sa.Connection, state: State, settings: MessagingSettings) -> Vitals:
    """How mail is doing."""
    return vitals.take(connection, settings, relays_of(settings, state.config.transport))


def holding_now(state: State, settings: MessagingSettings, found: Vitals) -> dict[AlertName, str]:
    """The alerts that hold; none where the application suppresses sending."""
    if state.suppressed:
        return {}
    watched = state.config.delivery in _SIGNED
    return conditions.holding(
        found,
        settings,
        ends=_ends(settings),
        secret_ends=_secret_ends(settings),
        watched=watched,
    )


def _secret_ends(settings: MessagingSettings) -> datetime | None:
    """When the first secret that tokens are asked for with ends; None if that is not known."""
    each = (_secret_of_relay_ends(settings.with_relay(name)) for name in settings.relays)
    return min(filter(None, each), default=None)


def _secret_of_relay_ends(settings: MessagingSettings) -> datetime | None:
    """When the one of this relay does, naive UTC."""
    if not settings.by_token or settings.sign_in not in (APPLICATION, MAILBOX):
        return None
    if settings.oauth_certificate is not None and settings.sign_in is APPLICATION:
        return grant.ends(settings.oauth_certificate)
    return datetime.fromisoformat(settings.oauth_expires) if settings.oauth_expires else None


def _ends(settings: MessagingSettings) -> list[tuple[str, datetime]]:
    """When the certificates of the settings end."""
    each = (settings.with_relay(name).ca_certificate for name in settings.relays)
    if not (own := dict.fromkeys(filter(None, each))):
        return []
    from ..transport.smtp import probe  # late: brings cryptography, and few have a CA of their own

    return [("A CA certificate of the settings", at) for one in own for at in probe.ends(one)]


def _tell(state: State, settings: MessagingSettings) -> None:
    with state.database.reading() as connection:
        untold = alerts.untold(connection, Time().look(connection))
    for change in untold:
        with state.database.writing() as connection:
            claimed = alerts.claim(connection, change, Time().look(connection))
        if not claimed:
            continue
        done = tell(state, settings, change)
        with state.database.writing() as connection:
            if done:
                alerts.told(connection, change)
            elif not alerts.put_off(connection, change, Time().look(connection)):
                log.error("alert.given_up: %s: the webhook was not told", change.name)


def _probe(
    state: State,
    settings: MessagingSettings,
    relay: Relay,
    transports: Transports,
    *,
    others: bool,
) -> None:
    """Try ``relay`` if nothing else does; ``others`` says whether there are others."""
    every = timedelta(minutes=settings.probe_every)
    if relay.stands_in or not every:
        return
    with state.database.reading() as connection:
        now = Time().look(connection)
        known = probes.read(connection, relay)
        needed = _is_needed(connection, relay, known, now, every, others=others)
        mechanism = _mechanism(connection, state, relay) if needed else None
    if not needed:
        return
    with state.database.writing() as connection:
        mine = probes.begin(connection, relay, every=every, worker=worker_name(), now=now)
    if not mine:
        return
    try:
        expires = transports.look(relay, mechanism=mechanism)
    except TransportError as error:
        log.warning("probe.failed: %s: %s", relay, error.stage)
        _failed(state, relay, error, known, now)
    else:
        _passed(state, relay, expires, every, now)


def _is_needed(
    connection: sa.Connection,
    relay: Relay,
    known: probes.Probe | None,
    now: datetime,
    every: timedelta,
    *,
    others: bool,
) -> bool:
    broken = breaker.read(connection, relay)
    if broken is not None:
        # Delivery tries it with the mail that waits, if any does. What waits may be for others.
        return broken.until <= now and (others or vitals.oldest(connection, now) is None)
    seen = known is not None and known.at > now - _LOOK_EVERY
    by = relay.name if others else None
    return not (seen and vitals.sent_since(connection, now - every, by=by))


def _mechanism(connection: sa.Connection, state: State, relay: Relay) -> str | None:
    if not relay.by_password:
        return None
    return logins.read(connection, state.settings.keyring, relay)


def _failed(
    state: State, relay: Relay, error: TransportError, known: probes.Probe | None, now: datetime
) -> None:
    with state.database.writing() as connection:
        probes.failed(connection, relay, error, known=known, worker=worker_name(), now=now)


def _passed(
    state: State, relay: Relay, expires: datetime | None, every: timedelta, now: datetime
) -> None:
    with state.database.reading() as connection:
        broken = breaker.read(connection, relay)
    with state.database.writing() as connection:
        probes.passed(connection, relay, expires, every=every, worker=worker_name(), now=now)
        if broken is not None and broken.stage in _BEFORE_MAIL:
            breaker.close(connection, relay)  # what stood in the way does so no more


@contextmanager
def _logged() -> Iterator[None]:
    """Log what goes wrong: the next turn comes in a minute."""
    try:
        yield
    except sa.exc.SQLAlchemyError as error:
        log.warning("watch.database: %s", in_short(error))
    except InteractionMailError as error:  # such as: there are no tables yet
        log.warning("watch.held_up: %s", error)
    except Exception:
        log.exception("watch.failed: trying again in a minute")

"""Transports that log in by the mechanism by which the last test of the settings has passed."""

from __future__ import annotations

from collections.abc import Callable

import sqlalchemy as sa

from ..logs import log
from ..outbox import logins
from ..settings.keyring import Keyring
from ..settings.relay import Relay
from ..transport.base import Transport
from .ports import Store


class Logins:
    """Opens transports that log in as the last test did.

    ``connect`` is ``Transports.open``. ``look`` is for the thread that speaks with the database
    for a relay, ``transport`` for any.
    """

    def __init__(self, store: Store, keyring: Keyring, connect: Callable[..., Transport]) -> None:
        self._store = store
        self._keyring = keyring
        self._connect = connect
        self._first: dict[str, str | None] = {}

    def look(self, relay: Relay) -> None:
        """Find out how to log in at ``relay``; never raises because of the database."""
        if not relay.by_password:
            return
        try:
            with self._store.reading() as connection:
                self._first[relay.name] = logins.read(connection, self._keyring, relay)
        except sa.exc.SQLAlchemyError:
            log.warning("login.unknown: how it passed its test cannot be read now", exc_info=True)

    def transport(self, relay: Relay) -> Transport:
        """A transport to ``relay``, which ``look`` was asked about."""
        return self._connect(relay, mechanism=self._first.get(relay.name))

"""By which SASL mechanism a login has passed a test of the settings: delivery begins with that one.

A row for each login, server and password that were tested, under their fingerprint; it stays, as
without it a server that refuses the usual mechanism like a wrong password would lock delivery out.
"""

from __future__ import annotations

import json
import logging
import uuid
from datetime import datetime
from typing import Final

import sqlalchemy as sa

from ..settings.keyring import Keyring
from ..settings.model import MessagingSettings
from ..storage.check_rows import upsert
from ..storage.tables import CHECK
from ..transport.base import Transport
from ..transport.registry import Transports
from ..transport.relay import Relay
from .ports import Store

log = logging.getLogger("flask_interaction_mail")

KIND: Final = "login"
_ROWS: Final = uuid.UUID("0f4c7a52-5b0e-4f0b-8f2e-6f5f0b1f7a31")


def keep(
    connection: sa.Connection,
    keyring: Keyring,
    relay: Relay,
    mechanism: str,
    now: datetime,
) -> None:
    """A test of ``relay`` has logged in by ``mechanism``; who owns the connection commits."""
    fingerprint = keyring.fingerprint(_login_alone(relay))
    upsert(
        connection,
        uuid.uuid5(_ROWS, fingerprint),
        kind=KIND,
        at=now,
        by="",
        fingerprint=fingerprint,
        verdict="known",
        steps=json.dumps({"mechanism": mechanism}),
    )


def kept(connection: sa.Connection, keyring: Keyring, relay: Relay) -> str | None:
    """By which mechanism the login at ``relay`` has passed; None where that is not known."""
    fingerprints = keyring.fingerprints(_login_alone(relay))
    query = (
        sa.select(CHECK.c.steps)
        .where(CHECK.c.fingerprint.in_(fingerprints), CHECK.c.kind == KIND)
        .order_by(CHECK.c.at.desc())
        .limit(1)
    )
    told = connection.scalar(query)
    return None if told is None else str(json.loads(told)["mechanism"])


class Logins:
    """Opens transports that log in as the last test did.

    ``look`` is for the thread that speaks with the database, ``transport`` for any.
    """

    def __init__(self, store: Store, keyring: Keyring, transports: Transports) -> None:
        self._store = store
        self._keyring = keyring
        self._transports = transports
        self._first: str | None = None

    def look(self, relay: Relay) -> None:
        """Find out how to log in at ``relay``; never raises because of the database."""
        if not (relay.use_authentication and relay.secret):
            return
        try:
            with self._store.reading() as connection:
                self._first = kept(connection, self._keyring, relay)
        except sa.exc.SQLAlchemyError:
            log.warning("login.unknown: how it passed its test cannot be read now", exc_info=True)

    def transport(self, relay: Relay) -> Transport:
        """A transport to ``relay``, which ``look`` was asked about."""
        return self._transports.open(relay, mechanism=self._first)


def _login_alone(relay: Relay) -> MessagingSettings:
    """Of ``relay`` what a login depends on: the rest may change without another test."""
    return MessagingSettings(
        smtp_server=relay.server,
        smtp_port=relay.port,
        encryption=relay.encryption,
        ca_certificate=relay.ca_certificate,
        use_authentication=True,
        login=relay.login,
        password=relay.secret,
    )

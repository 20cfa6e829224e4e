"""By which SASL mechanism a login has passed a test of the settings: delivery begins with that one.

A row for each login, server and password that were tested, under their fingerprint; it stays, as
without it a server that refuses the usual mechanism like a wrong password would lock delivery out.
"""

from __future__ import annotations

import json
import logging
import uuid
from collections import defaultdict
from datetime import datetime
from typing import Final

import sqlalchemy as sa

from ..settings.keyring import Keyring
from ..settings.model import MessagingSettings
from ..storage.check_rows import put
from ..storage.tables import CHECK
from ..transport.policy import ConnectPolicy
from ..transport.smtp.endurance import Endurance
from ..transport.smtp.transport import SmtpTransport
from .ports import Store

log = logging.getLogger("flask_interaction_mail")

KIND: Final = "login"
_ROWS: Final = uuid.UUID("0f4c7a52-5b0e-4f0b-8f2e-6f5f0b1f7a31")


def keep(
    connection: sa.Connection,
    keyring: Keyring,
    settings: MessagingSettings,
    mechanism: str,
    now: datetime,
) -> None:
    """A test of ``settings`` has logged in by ``mechanism``; who owns the connection commits."""
    fingerprint = keyring.fingerprint(_login_alone(settings))
    put(
        connection,
        uuid.uuid5(_ROWS, fingerprint),
        kind=KIND,
        at=now,
        by="",
        fingerprint=fingerprint,
        verdict="known",
        steps=json.dumps({"mechanism": mechanism}),
    )


def kept(connection: sa.Connection, keyring: Keyring, settings: MessagingSettings) -> str | None:
    """By which mechanism the login of ``settings`` has passed; None where that is not known."""
    fingerprints = keyring.fingerprints(_login_alone(settings))
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

    def __init__(self, store: Store, keyring: Keyring, policy: ConnectPolicy) -> None:
        self._store = store
        self._keyring = keyring
        self._policy = policy
        self._first: str | None = None
        self._endurance: defaultdict[tuple[str | None, int], Endurance] = defaultdict(Endurance)

    def look(self, settings: MessagingSettings) -> None:
        """Find out how ``settings`` log in; never raises because of the database."""
        if not (settings.use_authentication and settings.password):
            return
        try:
            with self._store.reading() as connection:
                self._first = kept(connection, self._keyring, settings)
        except sa.exc.SQLAlchemyError:
            log.warning("login.unknown: how it passed its test cannot be read now", exc_info=True)

    def transport(self, settings: MessagingSettings) -> SmtpTransport:
        """A transport for ``settings``, which ``look`` was asked about."""
        return SmtpTransport(
            settings,
            policy=self._policy,
            mechanism=self._first,
            endurance=self._endurance[settings.smtp_server, settings.smtp_port],
        )


def _login_alone(settings: MessagingSettings) -> MessagingSettings:
    """Of ``settings`` what a login depends on: others may change without another test."""
    return MessagingSettings(
        smtp_server=settings.smtp_server,
        smtp_port=settings.smtp_port,
        encryption=settings.encryption,
        ca_certificate=settings.ca_certificate,
        use_authentication=True,
        login=settings.login,
        password=settings.password,
    )

"""By which SASL mechanism a login has passed a test of the settings: delivery begins with that one.

A row for each login, server and password that were tested, under their fingerprint; it stays, as
without it a server that refuses the usual mechanism like a wrong password would lock delivery out.
Functions work on the connection given; its owner commits.
"""

from __future__ import annotations

import json
import uuid
from datetime import datetime
from typing import Final

import sqlalchemy as sa

from ..settings.keyring import Keyring
from ..settings.model import MessagingSettings
from ..settings.relay import Relay
from ..storage.check_rows import upsert
from ..storage.tables import CHECK

KIND: Final = "login"
_ROWS: Final = uuid.UUID("0f4c7a52-5b0e-4f0b-8f2e-6f5f0b1f7a31")


def record(
    connection: sa.Connection, keyring: Keyring, relay: Relay, mechanism: str, now: datetime
) -> None:
    """A test of ``relay`` has logged in by ``mechanism``."""
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


def read(connection: sa.Connection, keyring: Keyring, relay: Relay) -> str | None:
    """By which mechanism the login at ``relay`` has passed; None where that is not known."""
    fingerprints = keyring.fingerprints(_login_alone(relay))
    query = (
        sa.select(CHECK.c.steps)
        .where(CHECK.c.fingerprint.in_(fingerprints), CHECK.c.kind == KIND)
        .order_by(CHECK.c.at.desc())
        .limit(1)
    )
    steps = connection.scalar(query)
    return None if steps is None else str(json.loads(steps)["mechanism"])


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

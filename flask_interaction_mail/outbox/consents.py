"""What people have agreed to: a refresh token for each mailbox that is connected.

It stands in the row of the access tokens that are asked for with it, so that both are stored by
one statement, with the fence of whoever asked: a refresh token may be good for one request only.
A connection that was begun has a row of its own for ten minutes. Functions work on the connection
given; its owner commits.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import asdict, dataclass
from datetime import datetime, timedelta
from typing import Any, Final, NamedTuple

import sqlalchemy as sa

from ..errors import SecretUnreadable
from ..logs import log
from ..settings.keyring import Keyring
from ..settings.relay import Relay
from ..settings.secret import Secret
from ..storage.tables import TOKEN
from ..transport.base import AccessToken
from .tokens import opened, row_of, seal

PATIENCE: Final = timedelta(minutes=10)  # for a person to log in and agree


@dataclass(frozen=True, slots=True, kw_only=True)
class Consent:
    """What ``by`` has had somebody agree to, ``at`` (naive UTC).

    ``account`` is who the provider says that was, None if it does not. ``refused`` is why the
    provider does not count it any more, "" while it does.
    """

    refresh_token: Secret
    account: str | None
    by: str
    at: datetime
    refused: str = ""


class Begun(NamedTuple):
    """A connection that ``by`` began: the row that it is for, and what the answer needs."""

    row: str
    verifier: Secret
    redirect_url: str
    by: str


class Seen(NamedTuple):
    """What a row holds; ``unreadable`` says that there is a consent, under a key that is gone."""

    consent: Consent | None
    token: AccessToken | None
    refresh_at: datetime
    fence: int
    lease_until: datetime | None
    unreadable: bool = False


def name_of(relay: Relay) -> str:
    """The row of ``relay``; another one when anything changes that the consent is for.

    Its client's secret may change. The digest has no key: what is in it stands in the settings,
    and the row must be found when the keys have changed.
    """
    grant = relay.grant
    where = grant and (grant.token_url, grant.client_id, grant.mailbox, grant.scope)
    also = (grant.also,) if grant and grant.also else ()
    facts = repr((relay.destination, where, *also))
    return hashlib.sha256(f"consent {facts}".encode()).hexdigest()


def look(connection: sa.Connection, keyring: Keyring, name: str) -> Seen | None:
    """What the row ``name`` holds, None if there is no such row."""
    row = row_of(connection, name)
    if row is None:
        return None
    consent = opened(keyring, name, row.consent)
    agreed = _parsed(consent) if consent else None
    token = opened(keyring, name, row.token)
    return Seen(
        consent=agreed,
        token=AccessToken(token, row.ends_at, None, agreed.account) if agreed and token else None,
        refresh_at=row.refresh_at,
        fence=row.fence,
        lease_until=row.lease_until,
        unreadable=row.consent is not None and consent is None,
    )


def connect(
    connection: sa.Connection,
    keyring: Keyring,
    name: str,
    consent: Consent,
    token: AccessToken,
    refresh_at: datetime,
) -> None:
    """Store a new consent in the row, which is there, with its first access token.

    Whoever asks with an older one just now will store nothing.
    """
    _change(
        connection,
        TOKEN.c.name == name,
        **_sealed(keyring, name, consent, token, refresh_at),
        fence=TOKEN.c.fence + 1,
    )


def renewed(
    connection: sa.Connection,
    keyring: Keyring,
    name: str,
    fence: int,
    consent: Consent,
    token: AccessToken,
    refresh_at: datetime,
) -> bool:
    """Store what was asked for under the lease ``fence``, which ends; False if it has ended."""
    values = _sealed(keyring, name, consent, token, refresh_at)
    return _change(connection, TOKEN.c.name == name, TOKEN.c.fence == fence, **values)


def put_off(
    connection: sa.Connection,
    keyring: Keyring,
    name: str,
    fence: int,
    consent: Consent,
    refresh_at: datetime,
) -> None:
    """End the lease ``fence`` without a token; the one that is there is used until then."""
    _change(
        connection,
        TOKEN.c.name == name,
        TOKEN.c.fence == fence,
        consent=seal(keyring, name, _spelled(consent)),
        refresh_at=refresh_at,
        lease_until=None,
    )


def disconnect(connection: sa.Connection, name: str) -> bool:
    """Forget consent and token; False if there was none. Whoever asks just now stores nothing."""
    return _change(
        connection,
        TOKEN.c.name == name,
        TOKEN.c.consent.is_not(None),
        consent=None,
        token=None,
        ends_at=None,
        lease_until=None,
        fence=TOKEN.c.fence + 1,
    )


def begin(
    connection: sa.Connection, keyring: Keyring, name: str, begun: Begun, now: datetime
) -> None:
    """Keep what the answer will need, encrypted, in a row that only its session can name."""
    kept = Secret(json.dumps(begun._asdict() | {"verifier": begun.verifier.reveal()}))
    ends = now + PATIENCE
    values = {"name": name, "fence": 0, "token": seal(keyring, name, kept), "ends_at": ends}
    connection.execute(sa.insert(TOKEN), values | {"refresh_at": ends})


def take(connection: sa.Connection, keyring: Keyring, name: str, now: datetime) -> Begun | None:
    """What was begun under ``name``, once; None if nothing was, or if it is too long ago."""
    row = row_of(connection, name)
    taken = connection.execute(sa.delete(TOKEN).where(TOKEN.c.name == name)).rowcount
    if row is None or taken != 1 or row.ends_at is None or row.ends_at <= now:
        return None
    kept = opened(keyring, name, row.token)
    if kept is None:
        return None
    told = json.loads(kept.reveal())
    return Begun(**told | {"verifier": Secret(told["verifier"])})


def rotate(connection: sa.Connection, keyring: Keyring) -> None:
    """Encrypt each consent under the newest key; one that no key can read stays as it is."""
    kept = sa.select(TOKEN.c.name, TOKEN.c.consent).where(TOKEN.c.consent.is_not(None))
    for row in connection.execute(kept).all():
        try:
            sealed = keyring.rotate(row.consent)
        except SecretUnreadable as error:
            log.warning("consent.unreadable: %s", error)
            continue
        # One that was renewed meanwhile is under the newest key already.
        same = (TOKEN.c.name == row.name, TOKEN.c.consent == row.consent)
        _change(connection, *same, consent=sealed)


def _change(connection: sa.Connection, *which: sa.ColumnElement[bool], **values: Any) -> bool:
    return connection.execute(sa.update(TOKEN).where(*which).values(**values)).rowcount == 1


def _sealed(
    keyring: Keyring, name: str, consent: Consent, token: AccessToken, refresh_at: datetime
) -> dict[str, Any]:
    return {
        "consent": seal(keyring, name, _spelled(consent)),
        "token": seal(keyring, name, token.secret),
        "ends_at": token.ends,
        "refresh_at": refresh_at,
        "lease_until": None,
    }


def _spelled(consent: Consent) -> Secret:
    plain = {"refresh_token": consent.refresh_token.reveal(), "at": consent.at.isoformat()}
    return Secret(json.dumps(asdict(consent) | plain))


def _parsed(text: Secret) -> Consent:
    told: dict[str, Any] = json.loads(text.reveal())
    at = datetime.fromisoformat(told["at"])
    return Consent(**told | {"at": at, "refresh_token": Secret(told["refresh_token"])})

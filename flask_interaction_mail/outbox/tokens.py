"""The access tokens that all workers share: a row for each relay and what is asked for there.

Those for which a person agrees are in ``consents``, with the same lease.

Who wants to ask takes a lease on the row, and stores the answer with the lease's fence; the others
wait for the row. Functions work on the connection given; its owner commits.
"""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any, Final, NamedTuple

import sqlalchemy as sa

from ..errors import SecretUnreadable
from ..settings.keyring import Keyring
from ..settings.relay import Relay
from ..settings.secret import BoundSecret, Secret
from ..storage.tables import TOKEN
from ..transport.base import AccessToken

LEASE: Final = timedelta(seconds=30)  # longer than a request takes
_KEPT: Final = timedelta(days=1)  # after a token has ended
_UNUSED: Final = timedelta(days=180)  # of a consent, as Google has it; Microsoft: 90 days
_ROW: Final = sa.select(TOKEN).where(TOKEN.c.name == sa.bindparam("row"))


def name_of(keyring: Keyring, relay: Relay) -> str:
    """The row of ``relay``; another one when anything changes that a token depends on."""
    grant = relay.grant
    if grant is None:
        return keyring.digest(relay.destination)
    secrets = (grant.client_secret, grant.certificate, grant.account)
    where = (relay.destination, grant.token_url, grant.client_id, grant.mailbox, grant.scope)
    also = [grant.also] if grant.also else []
    return keyring.digest(*where, *also, *(secret or "" for secret in secrets))


class Seen(NamedTuple):
    """What a row holds: the token that may be used, when another is due, and its fence, if any.

    ``free`` says that nobody has the lease.
    """

    found: tuple[AccessToken, datetime, int] | None
    free: bool


def row_of(connection: sa.Connection, name: str) -> sa.Row[Any] | None:
    """The row ``name`` as it is."""
    return connection.execute(_ROW, {"row": name}).first()


def read(connection: sa.Connection, keyring: Keyring, name: str, now: datetime) -> Seen | None:
    """What the row ``name`` holds, None if there is no such row; workers that wait ask often."""
    row = row_of(connection, name)
    if row is None:
        return None
    free = row.lease_until is None or row.lease_until <= now
    return Seen(_found(row, keyring, name, now), free)


def _found(
    row: sa.Row[Any], keyring: Keyring, name: str, now: datetime
) -> tuple[AccessToken, datetime, int] | None:
    if row.refresh_at <= now:
        return None
    secret = opened(keyring, name, row.token)
    if secret is None:  # or it is another row's, or under a key that is gone: it is asked for again
        return None
    return AccessToken(secret, row.ends_at), row.refresh_at, row.fence


def seal(keyring: Keyring, name: str, secret: Secret) -> str:
    """``secret`` as the row ``name`` may keep it, and no other."""
    return keyring.seal_bound(BoundSecret(secret, name))


def opened(keyring: Keyring, name: str, sealed: str | None) -> Secret | None:
    """What was sealed for the row ``name``; None if nothing was, or no key can read it."""
    if sealed is None:
        return None
    try:
        bound = keyring.open_bound(sealed)
    except SecretUnreadable:
        return None
    return bound.secret if bound.to == name else None


def claim(
    connection: sa.Connection, name: str, now: datetime, margin: timedelta = timedelta(0)
) -> int | None:
    """Take the lease; gives its fence.

    None while another worker has it, or if the token is good for longer than ``margin``.
    """
    taken = connection.execute(
        sa.update(TOKEN)
        .where(TOKEN.c.name == name)
        .where(sa.or_(TOKEN.c.lease_until.is_(None), TOKEN.c.lease_until <= now))
        .where(sa.or_(TOKEN.c.token.is_(None), TOKEN.c.refresh_at <= now + margin))
        .values(fence=TOKEN.c.fence + 1, lease_until=now + LEASE)
    )
    if taken.rowcount == 1:
        return connection.scalar(sa.select(TOKEN.c.fence).where(TOKEN.c.name == name))
    return None


def add(connection: sa.Connection, name: str, now: datetime) -> None:
    """Make the row, empty; raises IntegrityError if another worker has made it meanwhile."""
    connection.execute(sa.insert(TOKEN).values(name=name, fence=0, refresh_at=now))


def store(
    connection: sa.Connection,
    keyring: Keyring,
    name: str,
    fence: int,
    token: AccessToken,
    refresh_at: datetime,
) -> bool:
    """Store ``token`` and end the lease; False if another worker has it by now."""
    sealed = seal(keyring, name, token.secret)
    stored = connection.execute(
        sa.update(TOKEN)
        .where(TOKEN.c.name == name, TOKEN.c.fence == fence)
        .values(token=sealed, ends_at=token.ends, refresh_at=refresh_at, lease_until=None)
    )
    return stored.rowcount == 1


def give_back(connection: sa.Connection, name: str, fence: int) -> None:
    """End the lease without a token."""
    connection.execute(
        sa.update(TOKEN)
        .where(TOKEN.c.name == name, TOKEN.c.fence == fence)
        .values(lease_until=None)
    )


def drop(connection: sa.Connection, name: str, fence: int) -> None:
    """Forget the token that was stored with ``fence``; a newer one stays."""
    connection.execute(
        sa.update(TOKEN).where(TOKEN.c.name == name, TOKEN.c.fence == fence).values(token=None)
    )


def drop_all(connection: sa.Connection) -> None:
    """Forget all tokens: each is asked for again when it is needed."""
    connection.execute(sa.update(TOKEN).values(token=None))


def purge(connection: sa.Connection, now: datetime) -> None:
    """Remove rows whose token has ended long ago, or never came."""
    old = now - _KEPT
    never = sa.and_(TOKEN.c.token.is_(None), TOKEN.c.refresh_at < old)
    free = sa.or_(TOKEN.c.lease_until.is_(None), TOKEN.c.lease_until < old)
    # What a person agreed to does not end with a token, but nobody needs it any more.
    unused = sa.or_(TOKEN.c.consent.is_(None), TOKEN.c.refresh_at < now - _UNUSED)
    connection.execute(sa.delete(TOKEN).where(sa.or_(TOKEN.c.ends_at < old, never), free, unused))

"""Access tokens that a person has agreed to, asked for with the refresh token of the mailbox.

As with others, one worker takes the lease of the row and asks, with no transaction open, and all
others wait for the row. But a refresh token may be good for one request only: the next one is
stored with the fence before anybody uses the access token that came with it. Each connection to a
mail server looks into the row, so that *Disconnect* holds at once and for all workers.
"""

from __future__ import annotations

import time
from contextlib import suppress
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Final

import sqlalchemy as sa

from .. import clock
from ..errors import SecretUnreadable, TablesMissing, TransportError
from ..language import mark, said_by
from ..logs import log
from ..outbox import consents as rows
from ..outbox import tokens
from ..outbox.claim import Time
from ..outbox.consents import Consent, Seen
from ..outcome import Fault, Stage
from ..settings.keyring import Keyring
from ..settings.relay import Relay
from ..storage.database import DatabaseBusy, in_short
from ..storage.transactions import Transactions
from ..transport.base import AccessToken
from ..transport.policy import ConnectPolicy
from ..transport.smtp.timeouts import Until

EARLY: Final = timedelta(minutes=5)  # before its end a token is renewed
WAIT: Final = 60.0  # s for another worker
LOOK: Final = 0.1  # s between two looks at its row
_ANEW: Final = timedelta(days=3650)  # longer than any token lasts
AGAIN: Final = timedelta(seconds=30)  # after a renewal that failed, while the old one lasts
# No row is there to share: the database is away or old, or there is no key to encrypt with.
NOT_NOW: Final = (sa.exc.SQLAlchemyError, SecretUnreadable, TablesMissing, DatabaseBusy)


class ConsentTokens:
    """Gives tokens of connected mailboxes to any number of threads."""

    def __init__(self, keyring: Keyring, policy: ConnectPolicy, database: Transactions) -> None:
        self._keyring = keyring
        self._policy = policy
        self._database = database
        self._failed: dict[str, tuple[float, TransportError]] = {}

    def take(self, relay: Relay, until: Until) -> AccessToken:
        """The token for ``relay``; asks for one if there is none, or if it ends soon.

        Raises:
            TransportError: there is none, with ``Stage.TOKEN``.
        """
        return self._taken(relay, until, timedelta(0))

    def renew(self, relay: Relay, until: Until) -> AccessToken:
        """A token that was asked for now, for a test; raises as ``take``."""
        return self._taken(relay, until, _ANEW)

    def drop(self, relay: Relay, token: AccessToken) -> None:
        """Give ``token`` to nobody again, unless there is another one already."""
        name = rows.name_of(relay)
        with suppress(*NOT_NOW):
            seen = self._look(name)[0]
            if seen is None or seen.token is None or seen.token.secret != token.secret:
                return
            with self._database.writing() as connection:
                tokens.drop(connection, name, seen.fence)

    def _taken(self, relay: Relay, until: Until, margin: timedelta) -> AccessToken:
        try:
            return self._shared(rows.name_of(relay), relay, until.step(WAIT), margin)
        except NOT_NOW as error:
            log.warning("consent.database: %s", in_short(error))
            raise TransportError(
                mark("The database, which has the connection of the mailbox, does not answer."),
                stage=Stage.TOKEN,
                fault=Fault.TOKEN_SILENT,
            ) from error

    def _shared(self, name: str, relay: Relay, until: Until, margin: timedelta) -> AccessToken:
        """The token of the row, stored by this worker or by another one."""
        began = time.monotonic()
        while True:
            seen, now = self._look(name)
            if seen is None or seen.consent is None:
                raise not_connected(seen)
            if seen.token is not None and seen.refresh_at > now + margin:
                return seen.token
            failed_at, error = self._failed.get(name, (0.0, None))
            if error is not None and failed_at > began:
                raise again(error)  # what another thread was told meanwhile
            if seen.lease_until is None or seen.lease_until <= now:
                with self._database.writing() as connection:
                    fence = tokens.claim(connection, name, now, margin)
                if fence is not None and (token := self._asked(name, relay, fence, until)):
                    return token
            elif seen.token is not None and lasts(seen.token) and not margin:
                return seen.token  # nobody waits for a renewal
            if not until.left:
                raise nobody_answers()
            time.sleep(min(LOOK, until.left))

    def _asked(self, name: str, relay: Relay, fence: int, until: Until) -> AccessToken | None:
        """Ask with no transaction open, and store the answer; None if that is not ours any more."""
        from ..transport.oauth2 import client  # late: most applications log in with a password

        assert relay.grant is not None  # noqa: S101 - for the type checker
        seen, _ = self._look(name)  # again: what was there before the lease may have been used up
        if seen is None or seen.consent is None or seen.fence != fence:
            return None
        try:
            granted = client.renew(
                relay.grant, seen.consent.refresh_token, policy=self._policy, until=until
            )
        except TransportError as error:
            return self._unanswered(name, fence, seen, seen.consent, error)
        except BaseException:
            with suppress(*NOT_NOW), self._database.writing() as connection:
                tokens.give_back(connection, name, fence)
            raise
        consent = replace(
            seen.consent,
            refresh_token=granted.refresh_token or seen.consent.refresh_token,
            account=granted.token.account or seen.consent.account,
            refused="",
        )
        if not self._stored(name, fence, consent, granted.token, until):
            return None
        return granted.token._replace(account=consent.account)

    def _unanswered(
        self, name: str, fence: int, seen: Seen, consent: Consent, error: TransportError
    ) -> AccessToken:
        """The token that is there, if it lasts for a while; else raises ``error``."""
        if error.fault is Fault.TOKEN_CONNECT_AGAIN:
            consent = replace(consent, refused=said_by(error))
            error = _to_be_connected(error)
        self._failed[name] = time.monotonic(), again(error)
        usable = seen.token if seen.token is not None and lasts(seen.token) else None
        later = clock.now() + AGAIN if usable else seen.refresh_at
        with suppress(*NOT_NOW), self._database.writing() as connection:
            rows.put_off(connection, self._keyring, name, fence, consent, later)
        if usable is None:
            raise error
        log.warning("token.renewal: %s; the one that is there is used to its end", error)
        return usable

    def _stored(
        self, name: str, fence: int, consent: Consent, token: AccessToken, until: Until
    ) -> bool:
        """Store what came; False if the lease has ended, or the mailbox was disconnected.

        It is tried until it works: the refresh token from before may be good for nothing now.
        """
        from ..transport.oauth2 import client  # late, as above

        until = until.step(tokens.LEASE.total_seconds() - client.LIMIT)
        while True:
            try:
                with self._database.writing() as connection:
                    return rows.renewed(
                        connection, self._keyring, name, fence, consent, token, refresh_at(token)
                    )
            except NOT_NOW as error:
                if not until.left:
                    raise
                log.warning("consent.unstored: %s; trying again", in_short(error))
                time.sleep(min(LOOK, until.left))

    def _look(self, name: str) -> tuple[Seen | None, datetime]:
        with self._database.reading() as connection:
            return rows.look(connection, self._keyring, name), Time().look(connection)


def refresh_at(token: AccessToken) -> datetime:
    """When ``token`` is to be renewed: five minutes before its end, or a tenth of its life."""
    now = clock.now()
    ends = token.ends or now
    return ends - min(EARLY, (ends - now) / 10)


def lasts(token: AccessToken) -> bool:
    """Whether ``token`` can still be used for a login that begins now."""
    return token.ends is not None and clock.now() + timedelta(seconds=5) < token.ends


def again(error: TransportError) -> TransportError:
    """The same for another thread."""
    return TransportError(
        said_by(error), stage=error.stage, transient=error.transient, fault=error.fault
    )


def nobody_answers() -> TransportError:
    """The error of who has waited for another worker."""
    return TransportError(
        mark("Another process asks for the access token and has no answer yet."),
        stage=Stage.TOKEN,
        fault=Fault.TOKEN_SILENT,
    )


def _to_be_connected(error: TransportError) -> TransportError:
    """The same, saying what to do also where it is read without advice, as in an alert."""
    return TransportError(
        mark("Connect the mailbox again in the panel. %(why)s", why=error),
        stage=error.stage,
        transient=error.transient,
        fault=error.fault,
    )


def not_connected(seen: Seen | None) -> TransportError:
    """The error of a mailbox without a consent that can be read."""
    if seen is not None and seen.unreadable:
        text = mark(
            "The connection of the mailbox cannot be read with the secret key of this application."
        )
        return TransportError(
            text, stage=Stage.TOKEN, transient=False, fault=Fault.TOKEN_CONNECT_AGAIN
        )
    return TransportError(
        mark("The mailbox is not connected: nobody has agreed that mail is sent from it."),
        stage=Stage.TOKEN,
        transient=False,
        fault=Fault.TOKEN_NOT_CONNECTED,
    )


def add_row(database: Transactions, name: str, now: datetime) -> None:
    """Make the row ``name``, empty, if nobody has made it meanwhile."""
    # In a transaction of its own: MariaDB would lock where the row is missing, as others do.
    with suppress(sa.exc.IntegrityError), database.writing() as connection:
        tokens.add(connection, name, now)

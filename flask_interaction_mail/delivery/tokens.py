"""Access tokens for all threads and workers, with one request for each.

One worker takes a lease on the token's row, asks with no transaction open, and stores the answer;
the others wait for the row. Within a process one thread does that for all. A token is renewed
before it ends; where that does not work yet, the old one is used to its end.
"""

from __future__ import annotations

import os
import threading
import time
from collections import defaultdict
from collections.abc import Callable
from contextlib import suppress
from datetime import datetime
from typing import Final, NamedTuple

from .. import clock
from ..config import TokenStorage
from ..errors import TransportError
from ..language import mark
from ..logs import log
from ..outbox import tokens as rows
from ..outbox.claim import Time
from ..outcome import Fault, Stage
from ..settings.keyring import Keyring
from ..settings.relay import Relay
from ..settings.secret import Secret
from ..state import State
from ..storage.database import in_short
from ..storage.transactions import Transactions
from ..transport.base import AccessToken
from ..transport.policy import ConnectPolicy
from ..transport.smtp.connect import within
from ..transport.smtp.timeouts import Until
from .consents import (
    AGAIN,
    LOOK,
    NOT_NOW,
    WAIT,
    ConsentTokens,
    add_row,
    again,
    lasts,
    nobody_answers,
    refresh_at,
)

_FROM_HOST: Final = 10.0  # s
_TOKENS: Final = "interaction_mail_tokens"  # in app.extensions, by process

FromHost = Callable[[str], object]


def tokens_of(state: State) -> SharedTokens:
    """The tokens of this process, the same object each time."""
    known: dict[int, SharedTokens] = state.app.extensions.setdefault(_TOKENS, {})
    if os.getpid() not in known:
        in_memory = state.config.tokens is TokenStorage.MEMORY
        shared = not (in_memory or state.database.single_connection)
        known[os.getpid()] = SharedTokens(
            state.settings.keyring,
            state.connect_policy,
            database=state.database if shared else None,
            from_host=state.access_token,
            consents=_consents_of(state),
        )
    return known[os.getpid()]


def tokens_for_test(state: State) -> TokenOfTest:
    """The token of one test."""
    return TokenOfTest(state.connect_policy, state.access_token, _consents_of(state))


def _consents_of(state: State) -> ConsentTokens:
    # Wherever other tokens are kept: what a person agreed to is in the database.
    return ConsentTokens(state.settings.keyring, state.connect_policy, state.database)


class _Kept(NamedTuple):
    token: AccessToken
    refresh_at: datetime
    fence: int  # of its row; 0 without one


class SharedTokens:
    """Gives tokens to any number of threads.

    Without a ``database`` each process keeps its own. ``from_host`` brings a token for a mailbox
    where the application signs in, ``consents`` one that a person has agreed to.
    """

    def __init__(
        self,
        keyring: Keyring,
        policy: ConnectPolicy,
        *,
        database: Transactions | None = None,
        from_host: FromHost | None = None,
        consents: ConsentTokens | None = None,
    ) -> None:
        self._keyring = keyring
        self._policy = policy
        self._database = database
        self._from_host = from_host
        self._consents = consents
        self._kept: dict[str, _Kept] = {}
        self._locks: defaultdict[str, threading.Lock] = defaultdict(threading.Lock)
        self._failed: dict[str, tuple[float, TransportError]] = {}

    def take(self, relay: Relay, until: Until) -> AccessToken:
        """The token for ``relay``; asks for one if there is none, or if it ends soon.

        Raises:
            TransportError: there is none, with ``Stage.TOKEN``.
        """
        if relay.grant is None:
            return from_host(self._from_host, relay, until)
        if relay.by_consent and self._consents is not None:
            return self._consents.take(relay, until)
        name = rows.name_of(self._keyring, relay)
        kept = self._kept.get(name)
        if kept is not None and clock.now() < kept.refresh_at:
            return kept.token
        usable = kept is not None and lasts(kept.token)
        began, until = time.monotonic(), until.step(WAIT)
        # Who has a token that still lasts does not wait for the thread that renews it.
        if not self._locks[name].acquire(timeout=0 if usable else until.left):
            if kept is not None and usable:
                return kept.token
            raise nobody_answers()
        try:
            return self._renewed(name, relay, until, began)
        finally:
            self._locks[name].release()

    def drop(self, relay: Relay, token: AccessToken) -> None:
        """Give ``token`` to nobody again, unless there is another one already."""
        if relay.by_consent and self._consents is not None:
            self._consents.drop(relay, token)
            return
        name = rows.name_of(self._keyring, relay)
        kept = self._kept.get(name)
        if kept is None or kept.token.secret != token.secret:
            return
        self._kept.pop(name, None)
        if self._database is not None and kept.fence:
            with suppress(*NOT_NOW), self._database.writing() as connection:
                rows.drop(connection, name, kept.fence)

    def _renewed(self, name: str, relay: Relay, until: Until, began: float) -> AccessToken:
        """The token, for the one thread of this process that may ask for it."""
        kept = self._kept.get(name)
        if kept is not None and clock.now() < kept.refresh_at:
            return kept.token  # another thread was faster
        failed_at, error = self._failed.get(name, (0.0, None))
        if error is not None and failed_at > began:
            raise again(error)  # what another thread was told meanwhile
        try:
            self._kept[name] = found = self._found(name, relay, until)
        except TransportError as failure:
            self._failed[name] = time.monotonic(), again(failure)
            if kept is None or not lasts(kept.token):
                raise
            log.warning("token.renewal: %s; the one that is there is used to its end", failure)
            self._kept[name] = kept._replace(refresh_at=clock.now() + AGAIN)
            return kept.token
        return found.token

    def _found(self, name: str, relay: Relay, until: Until) -> _Kept:
        if self._database is None:
            return self._asked(relay, until)
        try:
            return self._shared(self._database, name, relay, until)
        except NOT_NOW as error:
            log.warning("token.unshared: %s", in_short(error))
            return self._asked(relay, until)

    def _shared(self, database: Transactions, name: str, relay: Relay, until: Until) -> _Kept:
        """The token of the row, stored by this worker or by another one."""
        while True:
            with database.reading() as connection:
                now = Time().look(connection)
                seen = rows.read(connection, self._keyring, name, now)
            if seen is None:
                add_row(database, name, now)
            elif seen.found is not None:
                return _Kept(*seen.found)
            elif seen.free and (fence := _claimed(database, name, now)) is not None:
                return self._asked_for_all(database, name, fence, relay, until)
            if not until.left:
                raise nobody_answers()
            if seen is not None:
                time.sleep(min(LOOK, until.left))

    def _asked_for_all(
        self, database: Transactions, name: str, fence: int, relay: Relay, until: Until
    ) -> _Kept:
        """Ask with no transaction open, and store the token for the others."""
        try:
            asked = self._asked(relay, until)
        except BaseException:
            with suppress(*NOT_NOW), database.writing() as connection:
                rows.give_back(connection, name, fence)
            raise
        try:
            with database.writing() as connection:
                stored = rows.store(
                    connection, self._keyring, name, fence, asked.token, asked.refresh_at
                )
        except NOT_NOW as error:
            log.warning("token.unshared: it could not be stored: %s", in_short(error))
            return asked
        return asked._replace(fence=fence if stored else 0)

    def _asked(self, relay: Relay, until: Until) -> _Kept:
        token = _asked(relay, self._policy, self._from_host, until)
        return _Kept(token, refresh_at(token), 0)


class TokenOfTest:
    """A token that is asked for once, for a test: whether the token service works is part of it."""

    def __init__(
        self,
        policy: ConnectPolicy,
        from_host: FromHost | None,
        consents: ConsentTokens | None = None,
    ) -> None:
        self._policy = policy
        self._from_host = from_host
        self._consents = consents
        self._token: AccessToken | None = None

    def take(self, relay: Relay, until: Until) -> AccessToken:
        """As ``SharedTokens.take``, and the same token each time."""
        if self._token is None:
            if relay.by_consent and self._consents is not None:
                self._token = self._consents.renew(relay, until)
            else:
                self._token = _asked(relay, self._policy, self._from_host, until)
        return self._token

    def drop(self, relay: Relay, token: AccessToken) -> None:
        """Do nothing: a test does not try another one."""


def _asked(
    relay: Relay, policy: ConnectPolicy, bring: FromHost | None, until: Until
) -> AccessToken:
    if relay.grant is None:
        return from_host(bring, relay, until)
    from ..transport.oauth2 import client  # late: most applications log in with a password

    return client.ask(relay.grant, policy=policy, until=until)


def from_host(bring: FromHost | None, relay: Relay, until: Until) -> AccessToken:
    """The token that the application brings for the mailbox of ``relay``, within 10 seconds.

    Raises:
        TransportError: it brings none; the log says why.
    """
    if bring is None:
        raise _missing(
            mark(
                "The sign-in is left to the application, and it was given no access_token function."
            ),
            transient=False,
        )
    mailbox = relay.login or ""
    try:
        text = within(until.step(_FROM_HOST), lambda: bring(mailbox))
    except Exception as error:
        # Not its text, which may quote a secret; the host knows its own code.
        log.warning("token.from_host: its function raised %s", type(error).__name__)
        raise _missing(
            mark("The application's own function raised %(error)s.", error=type(error).__name__),
            transient=True,
        ) from None
    if text is None:
        text = mark("The application's own function gave nothing in time.")
        raise _missing(text, transient=True)
    # Whatever its annotation says.
    if not (isinstance(text, str) and text and text.isascii() and text.isprintable()):
        raise _missing(mark("The application's own function gave no text that can be one."))
    return AccessToken(Secret(text))


def _claimed(database: Transactions, name: str, now: datetime) -> int | None:
    with database.writing() as connection:
        return rows.claim(connection, name, now)


def _missing(text: str, *, transient: bool = True) -> TransportError:
    return TransportError(text, stage=Stage.TOKEN, transient=transient, fault=Fault.TOKEN_FROM_HOST)

"""Processes that share an access token: each takes it, and says which it was.

Run as a module, one obeys orders: the URL of a database, the port of the token service, a number
of threads, and whose token they take. ``die`` and ``lose`` are done by a fork that ends there.
``again`` runs in a process that is killed.
"""

from __future__ import annotations

import os
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import replace
from datetime import timedelta
from multiprocessing.connection import Connection

from flask_interaction_mail.delivery.consents import ConsentTokens
from flask_interaction_mail.delivery.tokens import SharedTokens
from flask_interaction_mail.errors import TransportError
from flask_interaction_mail.outbox import consents
from flask_interaction_mail.outbox import tokens as rows
from flask_interaction_mail.settings.grant import Grant
from flask_interaction_mail.settings.keyring import Keyring
from flask_interaction_mail.settings.relay import Relay, SignIn
from flask_interaction_mail.settings.secret import Secret
from flask_interaction_mail.transport.oauth2 import client
from flask_interaction_mail.transport.policy import ConnectPolicy
from flask_interaction_mail.transport.smtp.timeouts import FOREVER
from tests import forking
from tests.outbox_rows import Store
from tests.servers.token_server import CLIENT, SECRET

KEY = "k" * 32


def relay_at(url: str) -> Relay:
    """A relay that wants a token of the service at ``url``."""
    grant = Grant(token_url=url, client_id=CLIENT, client_secret=Secret(SECRET))
    return Relay(
        server="mail.x.test",
        use_authentication=True,
        sign_in=SignIn.OAUTH_APPLICATION,
        login="crm@x.test",
        grant=grant,
    )


def mailbox_at(url: str) -> Relay:
    """A relay for which a person has to agree there."""
    grant = Grant(
        token_url=url,
        authorization_url=url.replace("/token", "/authorize"),
        client_id=CLIENT,
        mailbox="crm@x.test",
    )
    return Relay(
        server="mail.x.test",
        use_authentication=True,
        sign_in=SignIn.OAUTH_MAILBOX,
        login="crm@x.test",
        grant=grant,
    )


def shared(store: Store) -> SharedTokens:
    """The tokens of one process."""
    keyring, policy = Keyring([KEY]), ConnectPolicy()
    consents = ConsentTokens(keyring, policy, store)
    return SharedTokens(keyring, policy, database=store, consents=consents)


RELAYS = {"application": relay_at, "mailbox": mailbox_at, "die": relay_at, "lose": mailbox_at}


def obey() -> None:
    """Begin anew with each order, as a process that has just been started."""
    for url, port, threads, whose in forking.orders():
        ends = whose in ("die", "lose")
        forking.answer((_end if ends else _taken)(url, port, threads, whose))


def _taken(url: str, port: int, threads: int, whose: str) -> list[str]:
    store = Store(url)
    tokens, relay = shared(store), RELAYS[whose](f"http://127.0.0.1:{port}/token")
    with ThreadPoolExecutor(threads) as pool:
        taking = [pool.submit(tokens.take, relay, FOREVER) for _ in range(threads)]
        found = [one.result().secret.reveal() for one in taking]
    store.engine.dispose()
    return found


def _end(url: str, port: int, threads: int, whose: str) -> int:
    """The exit status of a process that dies as if it was killed."""
    if (pid := os.fork()) == 0:
        if whose == "die":  # in the middle of the request
            client.ask = lambda *_, **__: os._exit(9)
        else:  # between the answer and its commit
            consents.renewed = lambda *_, **__: os._exit(9)
        with suppress(Exception):
            _taken(url, port, threads, whose)
        os._exit(0)
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])


def again(url: str, port: int, whose: str, pipe: Connection) -> None:
    """Take one for each word on the pipe, or say why there is none; a lease takes two seconds."""
    rows.LEASE = timedelta(seconds=2)
    tokens, relay = shared(Store(url)), RELAYS[whose](f"http://127.0.0.1:{port}/token")
    pipe.send("ready")
    with suppress(EOFError):
        while pipe.recv():
            try:
                pipe.send(tokens.take(relay, FOREVER).secret.reveal())
            except TransportError as error:
                pipe.send(str(error.fault))


def other(relay: Relay, **changes: object) -> Relay:
    """The same with other parts of what is asked for."""
    assert relay.grant is not None
    return replace(relay, grant=replace(relay.grant, **changes))  # type: ignore[arg-type]


if __name__ == "__main__":
    obey()

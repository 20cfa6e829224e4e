"""One process of several that share an access token: its threads take it, and say which it was.

Arguments: the database's URL, the port of the token service, threads, and a command: ``die`` in the
middle of the request, or ``again``: take one for each line of standard input, with leases of 2
seconds. For a mailbox that is connected: ``agreed`` takes one, ``agreed-again`` one for each line,
or says why there is none, and ``lose`` dies between the answer and its commit. Without arguments it
obeys orders, each of which is a URL, a port and a number of threads.
"""

from __future__ import annotations

import json
import os
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import timedelta

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


def main(url: str, port: str, threads: str, command: str) -> None:
    store = Store(url)
    tokens, relay = shared(store), relay_at(f"http://127.0.0.1:{port}/token")
    if command in ("agreed", "agreed-again", "lose"):
        relay = mailbox_at(f"http://127.0.0.1:{port}/token")
    if command == "lose":
        consents.renewed = lambda *_, **__: os._exit(9)  # as if it was killed before the commit
    if command == "die":
        client.ask = lambda *_, **__: os._exit(9)  # as if it was killed while it asks
    found: list[str] = []
    if command.endswith("again"):
        rows.LEASE = timedelta(seconds=2)
        _say("ready")
        for _ in sys.stdin:
            try:
                _say(tokens.take(relay, FOREVER).secret.reveal())
            except TransportError as error:
                _say(str(error.fault))
        return
    _say("ready")
    sys.stdin.readline()

    def take() -> None:
        found.append(tokens.take(relay, FOREVER).secret.reveal())

    workers = [threading.Thread(target=take) for _ in range(int(threads))]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    _say(json.dumps(found))


def obey() -> None:
    """Begin anew with each order, as a process that has just been started."""
    for url, port, threads in forking.orders():
        store = Store(url)
        tokens, relay = shared(store), relay_at(f"http://127.0.0.1:{port}/token")
        with ThreadPoolExecutor(threads) as pool:
            taking = [pool.submit(tokens.take, relay, FOREVER) for _ in range(threads)]
            forking.answer([one.result().secret.reveal() for one in taking])
        store.engine.dispose()


def _say(text: str) -> None:
    sys.stdout.write(f"{text}\n")
    sys.stdout.flush()


def other(relay: Relay, **changes: object) -> Relay:
    """The same with other parts of what is asked for."""
    assert relay.grant is not None
    return replace(relay, grant=replace(relay.grant, **changes))  # type: ignore[arg-type]


if __name__ == "__main__":
    main(*sys.argv[1:]) if sys.argv[1:] else obey()

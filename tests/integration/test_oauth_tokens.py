"""Access tokens for all threads and workers: one request for each, renewed before it ends."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from dataclasses import replace
from datetime import timedelta

import pytest
import sqlalchemy as sa

from flask_interaction_mail import clock
from flask_interaction_mail.delivery.tokens import SharedTokens, TokenOfTest
from flask_interaction_mail.errors import TransportError
from flask_interaction_mail.outbox import tokens as rows
from flask_interaction_mail.outcome import Fault, Stage
from flask_interaction_mail.settings.keyring import Keyring
from flask_interaction_mail.settings.relay import Encryption, SignIn
from flask_interaction_mail.settings.secret import Secret
from flask_interaction_mail.storage.tables import TOKEN
from flask_interaction_mail.transport.policy import ConnectPolicy
from flask_interaction_mail.transport.smtp.timeouts import FOREVER, Until
from tests.canary import STEM, spellings
from tests.forking import Forker, at_once
from tests.outbox_rows import Store
from tests.servers import token_server as service
from tests.servers.token_process import KEY, other, relay_at, shared
from tests.servers.token_server import TokenServer, token_server


@pytest.fixture
def server() -> Iterator[TokenServer]:
    with token_server() as running:
        yield running


def take(tokens: SharedTokens, server: TokenServer) -> str:
    return tokens.take(relay_at(server.url), FOREVER).secret.reveal()


def row(store: Store) -> sa.Row:
    with store.reading() as connection:
        return connection.execute(sa.select(TOKEN)).one()


def change(store: Store, **values: object) -> None:
    with store.writing() as connection:
        connection.execute(sa.update(TOKEN).values(**values))


def age(store: Store, tokens: SharedTokens, **left: timedelta) -> None:
    """Have the token end soon, in the row and in the memory of ``tokens``."""
    now = clock.now()
    ends, refresh = now + left.get("ends", timedelta(hours=1)), now - timedelta(seconds=1)
    change(store, ends_at=ends, refresh_at=refresh)
    for name, kept in list(tokens._kept.items()):
        token = kept.token._replace(ends=ends)
        tokens._kept[name] = kept._replace(token=token, refresh_at=refresh)


def test_one_request_for_each_token(store: Store, server: TokenServer) -> None:
    """Kept in memory, and in the database for the others."""
    first, second = shared(store), shared(store)
    assert {take(first, server), take(first, server), take(second, server)} == {
        f"{service.TOKEN}-1"
    }
    assert len(server.asked) == 1


def test_four_processes_with_eight_threads_ask_once(
    store: Store, token_processes: list[Forker]
) -> None:
    """All at the same moment, and again when the token has ended."""
    with token_server(service.after(0.5, service.issue())) as server:
        order = (store.engine.url.render_as_string(hide_password=False), server.port, 8)
        for expected in (1, 2):
            found = at_once(token_processes, *order, "application")
            assert found == [[f"{service.TOKEN}-{expected}"] * 8] * 4
            assert len(server.asked) == expected
            change(store, refresh_at=clock.now() - timedelta(seconds=1))


def test_a_process_that_dies_while_it_asks_is_followed(
    store: Store, server: TokenServer, token_processes: list[Forker]
) -> None:
    """When its lease has ended, another one asks."""
    url = store.engine.url.render_as_string(hide_password=False)
    assert token_processes[0].ask((url, server.port, 1, "die")) == 9
    assert row(store).lease_until > clock.now()
    with pytest.raises(TransportError, match="Another process asks"):
        shared(store).take(relay_at(server.url), Until.within(0.5))
    change(store, lease_until=clock.now() - timedelta(seconds=1))
    assert take(shared(store), server) == f"{service.TOKEN}-1"


def test_who_was_overtaken_stores_nothing(store: Store, server: TokenServer) -> None:
    """The lease ended while it asked, and the row has another's token by then."""
    keyring, name = Keyring([KEY]), "n" * 64
    with store.writing() as connection:
        rows.add(connection, name, clock.now())
        slow = rows.claim(connection, name, clock.now())
        later = clock.now() + rows.LEASE
        fast = rows.claim(connection, name, later)
        assert (slow, fast) == (1, 2)
        assert rows.claim(connection, name, later) is None
        token = service_token("fast", later)
        assert rows.store(connection, keyring, name, fast, token, later)
        assert not rows.store(connection, keyring, name, slow, service_token("slow", later), later)
        seen = rows.read(connection, keyring, name, clock.now())
        assert seen is not None
        assert seen.found is not None
        assert seen.found[0].secret == Secret("fast")


def service_token(text: str, ends):
    from flask_interaction_mail.transport.base import AccessToken

    return AccessToken(Secret(text), ends)


@pytest.mark.parametrize(
    ("lasts", "early"), [(3600, 300), (86_400, 300), (300, 30), (60, 6), (3000, 300), (2000, 200)]
)
def test_it_is_renewed_early(any_store: Store, server: TokenServer, lasts: int, early: int) -> None:
    """By five minutes, or by a tenth of its life."""
    server.lasts = lasts
    take(shared(any_store), server)
    found = row(any_store)
    assert abs((found.ends_at - found.refresh_at).total_seconds() - early) < 0.1


def test_a_renewal_that_fails_lets_the_old_one_last(store: Store, server: TokenServer) -> None:
    """To its end, and asks again in half a minute; then there is none."""
    tokens = shared(store)
    first = take(tokens, server)
    server.behaviours = [service.answer(503, "")]
    age(store, tokens)
    assert take(tokens, server) == first
    assert take(tokens, server) == first
    assert len(server.asked) == 2
    age(store, tokens, ends=timedelta(seconds=1))
    with pytest.raises(TransportError) as caught:
        take(tokens, server)
    assert caught.value.fault is Fault.TOKEN_UNAVAILABLE
    server.behaviours = []
    assert take(tokens, server) == f"{service.TOKEN}-2"


def test_nobody_waits_for_a_renewal(any_store: Store, server: TokenServer) -> None:
    """Who has a token that lasts goes on with it."""
    tokens = shared(any_store)
    first = take(tokens, server)
    age(any_store, tokens)
    server.behaviours = [service.stall]
    asking = threading.Thread(target=take, args=(tokens, server), daemon=True)
    asking.start()
    while len(server.asked) < 2:
        time.sleep(0.01)
    begun = time.monotonic()
    assert take(tokens, server) == first
    assert time.monotonic() - begun < 5
    server.stopping.set()
    asking.join(20)


def test_threads_that_waited_are_told_what_the_first_was(
    any_store: Store, server: TokenServer
) -> None:
    """They do not ask again one after the other."""
    server.behaviours = [service.after(0.5, service.refuse("invalid_client"))]
    tokens, told = shared(any_store), []

    def ask() -> None:
        try:
            take(tokens, server)
        except TransportError as error:
            told.append((error.stage, error.fault, error.transient))

    threads = [threading.Thread(target=ask) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    assert told == [(Stage.TOKEN, Fault.TOKEN_CLIENT_REFUSED, False)] * 8
    assert len(server.asked) == 1


def test_a_dropped_token_is_dropped_for_all(store: Store, server: TokenServer) -> None:
    """A worker that has the same one in memory finds the fresh one when it drops its own."""
    first, second, relay = shared(store), shared(store), relay_at(server.url)
    old = first.take(relay, FOREVER)
    assert second.take(relay, FOREVER).secret == old.secret
    first.drop(relay, old)
    fresh = first.take(relay, FOREVER)
    assert fresh.secret != old.secret
    second.drop(relay, old)
    assert second.take(relay, FOREVER).secret == fresh.secret
    first.drop(relay, old)
    assert first.take(relay, FOREVER).secret == fresh.secret
    assert len(server.asked) == 2


def test_another_request_is_another_token(any_store: Store, server: TokenServer) -> None:
    """Whatever the token depends on, and wherever it is shown."""
    tokens, relay = shared(any_store), relay_at(server.url)
    others = [
        other(relay, scope="x"),
        other(relay, client_id="y"),
        other(relay, client_secret=Secret("z")),
        other(relay, mailbox="m@x.test"),
        replace(relay, server="evil.test"),
        replace(relay, port=26),
        replace(relay, encryption=Encryption.NONE),
        replace(relay, ca_certificate="c"),
    ]
    found = {tokens.take(one, FOREVER).secret.reveal() for one in (relay, *others, relay)}
    assert len(found) == len(server.asked) == 9


def test_the_row_shows_no_token_and_is_no_good_elsewhere(
    any_store: Store, server: TokenServer
) -> None:
    """It is encrypted together with the row's name."""
    take(shared(any_store), server)
    found = row(any_store)
    for canary in spellings(STEM):
        assert canary.decode() not in repr(found)
    keyring = Keyring([KEY])
    with any_store.writing() as connection:
        connection.execute(sa.update(TOKEN).values(name="other"))
        seen = rows.read(connection, keyring, "other", clock.now())
        assert seen is not None
        assert seen.found is None
        assert rows.read(connection, Keyring(["another key"]), found.name, clock.now()) is None


def test_in_memory_each_process_asks_once(server: TokenServer) -> None:
    """Nothing is stored."""
    for number in (1, 2):
        tokens = SharedTokens(Keyring([KEY]), ConnectPolicy())
        assert {take(tokens, server) for _ in range(3)} == {f"{service.TOKEN}-{number}"}


def test_without_a_table_it_is_kept_in_memory(any_store: Store, server: TokenServer) -> None:
    """Mail goes on before somebody has migrated."""
    with any_store.writing() as connection:
        TOKEN.drop(connection)
    tokens = shared(any_store)
    assert take(tokens, server) == take(tokens, server)
    assert len(server.asked) == 1


def test_old_rows_are_purged(store: Store, server: TokenServer) -> None:
    """A day after their token has ended, or never came."""
    now = clock.now()
    with store.writing() as connection:
        for name, days, token in (("old", 2, "x"), ("ended", 0.5, "x"), ("never", 2, None)):
            then = now - timedelta(days=days)
            values = {"token": token, "ends_at": then if token else None, "refresh_at": then}
            connection.execute(sa.insert(TOKEN).values(name=name, fence=0, **values))
        rows.purge(connection, now)
        assert connection.scalars(sa.select(TOKEN.c.name)).all() == ["ended"]
        rows.drop_all(connection)
        assert connection.scalars(sa.select(TOKEN.c.token)).all() == [None]


def test_a_test_asks_for_its_own(server: TokenServer) -> None:
    """Once: whether the service works is what it wants to know."""
    relay = relay_at(server.url)
    token = TokenOfTest(ConnectPolicy(), None)
    first = token.take(relay, FOREVER)
    token.drop(relay, first)
    assert token.take(relay, FOREVER) is first
    assert len(server.asked) == 1


def by_host(function) -> SharedTokens:
    return SharedTokens(Keyring([KEY]), ConnectPolicy(), from_host=function)


HOST = replace(relay_at("http://x.test"), sign_in=SignIn.HOST, grant=None)


def test_the_host_brings_a_token_for_the_mailbox() -> None:
    """It is asked each time: its own library keeps it."""
    mailboxes = []

    def bring(mailbox: str) -> str:
        mailboxes.append(mailbox)
        return f"token-{len(mailboxes)}"

    tokens = by_host(bring)
    assert [tokens.take(HOST, FOREVER).secret.reveal() for _ in range(2)] == ["token-1", "token-2"]
    assert mailboxes == ["crm@x.test"] * 2
    tokens.drop(HOST, tokens.take(HOST, FOREVER))


def _raise(_: str) -> str:
    raise RuntimeError(f"{STEM} is in its text")


@pytest.mark.parametrize(
    ("function", "said", "transient"),
    [
        (None, "no access_token function", False),
        (_raise, "raised RuntimeError", True),
        (lambda _: None, "gave nothing", True),
        (lambda _: "", "no text that can be one", True),
        (lambda _: b"x", "no text that can be one", True),
        (lambda _: "a\r\nQUIT", "no text that can be one", True),
    ],
)
def test_what_the_host_does_not_bring_is_told(function, said, transient) -> None:
    """Without the text of its error, which may quote a secret."""
    with pytest.raises(TransportError, match=said) as caught:
        by_host(function).take(HOST, FOREVER)
    assert (caught.value.stage, caught.value.fault) == (Stage.TOKEN, Fault.TOKEN_FROM_HOST)
    assert caught.value.transient is transient
    assert STEM not in str(caught.value)


def test_a_host_that_takes_too_long_is_left() -> None:
    """A library may wait for ever."""
    over = threading.Event()
    try:
        with pytest.raises(TransportError, match="in time"):
            by_host(lambda _: str(over.wait(30))).take(HOST, Until.within(0.3))
    finally:
        over.set()

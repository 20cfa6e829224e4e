"""Access tokens of connected mailboxes: one request for all, and no refresh token is lost."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from dataclasses import replace
from datetime import timedelta
from itertools import chain
from typing import Any

import pytest
import sqlalchemy as sa

from flask_interaction_mail import clock
from flask_interaction_mail.delivery.consents import ConsentTokens
from flask_interaction_mail.errors import TransportError
from flask_interaction_mail.outbox import consents as rows
from flask_interaction_mail.outbox import tokens as token_rows
from flask_interaction_mail.outbox.consents import Consent, Seen
from flask_interaction_mail.outcome import Fault
from flask_interaction_mail.settings.keyring import Keyring
from flask_interaction_mail.settings.secret import Secret
from flask_interaction_mail.storage.tables import TOKEN
from flask_interaction_mail.transport.base import AccessToken
from flask_interaction_mail.transport.policy import ConnectPolicy
from flask_interaction_mail.transport.smtp.timeouts import FOREVER, Until
from tests.canary import STEM
from tests.forking import Forker, at_once
from tests.outbox_rows import Store
from tests.servers import token_server as service
from tests.servers.token_process import KEY, mailbox_at, shared
from tests.servers.token_server import TokenServer, token_server

KEYRING = Keyring([KEY])
FIRST = f"{STEM}-first-refresh-token"


@pytest.fixture
def server() -> Iterator[TokenServer]:
    with token_server(service.by_consent) as running:
        running.refresh_tokens.add(FIRST)
        yield running


def connect(store: Store, server: TokenServer) -> str:
    """As somebody has just agreed, and the first token has ended; gives the row's name."""
    name, now = rows.name_of(mailbox_at(server.url)), clock.now()
    consent = Consent(refresh_token=Secret(FIRST), account=None, by="Ada", at=now)
    with store.writing() as connection:
        token_rows.add(connection, name, now)
        rows.connect(connection, KEYRING, name, consent, AccessToken(Secret("old"), now), now)
    return name


def tokens_of(store: Store) -> ConsentTokens:
    return ConsentTokens(KEYRING, ConnectPolicy(), store)


def seen(store: Store, name: str) -> Seen:
    with store.reading() as connection:
        found = rows.look(connection, KEYRING, name)
    assert found is not None
    return found


def change(store: Store, **values: object) -> None:
    with store.writing() as connection:
        connection.execute(sa.update(TOKEN).values(**values))


def test_four_processes_with_eight_threads_ask_once(
    store: Store, server: TokenServer, token_processes: list[Forker]
) -> None:
    """With a refresh token that is good once; and again when the token has ended."""
    name = connect(store, server)
    server.behaviours = [service.after(0.5, service.by_consent)]
    url = store.engine.url.render_as_string(hide_password=False)
    for expected in (1, 2):
        found = [*chain(*at_once(token_processes, url, server.port, 8, "mailbox"))]
        assert len(found) == 32
        assert len(set(found)) == 1
        assert len(server.asked) == expected
        change(store, refresh_at=clock.now() - timedelta(seconds=1), token=None)
    consent = seen(store, name).consent
    assert consent is not None
    assert {consent.refresh_token.reveal()} == server.refresh_tokens


def test_a_crash_between_answer_and_commit_says_connect_again(
    store: Store, server: TokenServer, token_processes: list[Forker]
) -> None:
    """The refresh token was used up, and the next one is lost: nothing can bring it back."""
    name = connect(store, server)
    url = store.engine.url.render_as_string(hide_password=False)
    assert token_processes[0].ask((url, server.port, 1, "lose")) == 9
    assert len(server.asked) == 1
    change(store, lease_until=clock.now() - timedelta(seconds=1))
    for _ in range(2):
        with pytest.raises(TransportError) as caught:
            tokens_of(store).take(mailbox_at(server.url), Until.within(5))
        assert caught.value.fault is Fault.TOKEN_CONNECT_AGAIN
        assert not caught.value.transient
    consent = seen(store, name).consent
    assert consent is not None
    assert "invalid_grant" in consent.refused


def test_the_next_refresh_token_is_stored_before_the_token_is_used(
    store: Store, server: TokenServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """While the database does not take it nobody gets the token; then nothing is lost."""
    name = connect(store, server)
    real, tries = rows.renewed, []

    def failing(*args: Any) -> bool:
        tries.append(1)
        if len(tries) < 4:
            raise sa.exc.OperationalError("UPDATE", {}, Exception("away"))
        return real(*args)

    monkeypatch.setattr(rows, "renewed", failing)
    token = tokens_of(store).take(mailbox_at(server.url), FOREVER)
    found = seen(store, name)
    assert found.token is not None
    assert found.token.secret == token.secret
    assert found.consent is not None
    assert {found.consent.refresh_token.reveal()} == server.refresh_tokens
    assert len(tries) == 4
    assert len(server.asked) == 1


def test_an_overtaken_worker_stores_no_consent(store: Store, server: TokenServer) -> None:
    """Its lease has ended, or the mailbox was connected again or disconnected meanwhile."""
    name = connect(store, server)
    before = seen(store, name)
    assert before.consent is not None
    now, later = clock.now(), clock.now() + token_rows.LEASE
    token = AccessToken(Secret("fresh"), later)
    with store.writing() as connection:
        slow = token_rows.claim(connection, name, now)
        fast = token_rows.claim(connection, name, later + timedelta(seconds=1))
        assert slow is not None
        assert fast is not None
        mine, other = (replace(before.consent, account=who) for who in ("fast", "slow"))
        arguments = (connection, KEYRING, name)
        assert rows.renewed(*arguments, fast, mine, token, later)
        assert not rows.renewed(*arguments, slow, other, token, later)
        third = token_rows.claim(connection, name, later + timedelta(seconds=1))
        assert third is not None
        rows.connect(*arguments, mine, token, later)
        assert not rows.renewed(*arguments, third, other, token, later)
        assert rows.disconnect(connection, name)
        assert not rows.renewed(*arguments, third + 1, other, token, later)
        assert not rows.disconnect(connection, name)
    assert seen(store, name).consent is None


def test_disconnected_while_it_is_asked_for(store: Store, server: TokenServer) -> None:
    """The answer is thrown away, and nobody gets the token."""
    name = connect(store, server)
    server.behaviours = [service.after(1, service.by_consent)]
    caught: list[TransportError] = []

    def take() -> None:
        try:
            tokens_of(store).take(mailbox_at(server.url), FOREVER)
        except TransportError as error:
            caught.append(error)

    asking = threading.Thread(target=take)
    asking.start()
    while not server.asked:
        time.sleep(0.01)
    with store.writing() as connection:
        assert rows.disconnect(connection, name)
    asking.join(30)
    assert [error.fault for error in caught] == [Fault.TOKEN_NOT_CONNECTED]
    assert seen(store, name).token is None


def test_a_consent_is_no_good_in_another_row(store: Store, server: TokenServer) -> None:
    """Whoever can write to the database brings it to no other token service (T22)."""
    name = connect(store, server)
    with token_server(service.by_consent) as elsewhere:
        relay = mailbox_at(elsewhere.url)
        with store.writing() as connection:
            moved = sa.update(TOKEN).where(TOKEN.c.name == name)
            connection.execute(moved.values(name=rows.name_of(relay)))
        with pytest.raises(TransportError) as caught:
            tokens_of(store).take(relay, FOREVER)
        assert caught.value.fault is Fault.TOKEN_CONNECT_AGAIN
        assert elsewhere.asked == []


def test_threads_share_what_one_is_told(store: Store) -> None:
    """A token service that refuses is not asked by each of them in turn."""
    with token_server(service.after(0.5, service.refuse("invalid_client"))) as server:
        connect(store, server)
        tokens, caught = shared(store), []

        def take() -> None:
            with pytest.raises(TransportError) as error:
                tokens.take(mailbox_at(server.url), FOREVER)
            caught.append(error.value.fault)

        threads = [threading.Thread(target=take) for _ in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(30)
        assert caught == [Fault.TOKEN_CLIENT_REFUSED] * 8
        assert len(server.asked) == 1


def test_a_database_that_is_away_is_weather(store: Store, server: TokenServer) -> None:
    """Mail waits, and nothing is said of the consent."""
    connect(store, server)
    with store.writing() as connection:
        connection.execute(sa.text(f"ALTER TABLE {TOKEN.name} RENAME TO elsewhere"))
    with pytest.raises(TransportError, match="The database, which has the connection") as caught:
        tokens_of(store).take(mailbox_at(server.url), FOREVER)
    assert caught.value.transient

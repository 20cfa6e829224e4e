"""Relays of different kinds and sign-ins side by side, on the page, by command, and at work."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from bs4 import BeautifulSoup, Tag

from flask_interaction_mail import operations
from flask_interaction_mail.settings.model import relays_of
from flask_interaction_mail.settings.secret import Secret
from flask_interaction_mail.testing import mail_server
from flask_interaction_mail.transport.ses import client
from tests.canary import STEM
from tests.panel import HISTORY, HOME, OUTBOX, TEST, Panel, form_values, opened_panel, send
from tests.servers import token_server as service
from tests.servers.scripted import Scripted, scripted
from tests.servers.ses import KEY, REGION, SECRET, Ses, ses_server
from tests.servers.token_server import CLIENT, TokenServer, token_server
from tests.terminal import done, run

RELAYS = HOME + "relays"
AMAZON = "relays-amazon-"
EHLO = b"250-scripted.test\r\n250 AUTH PLAIN XOAUTH2\r\n"
MAILBOX = "crm@firm.example"
OTHER_KEY, OTHER_SECRET = "AKIAOTHERKEY00000000", "o" * 40


@pytest.fixture(autouse=True)
def no_role(monkeypatch: pytest.MonkeyPatch) -> None:
    """The machine has no credentials."""
    monkeypatch.setattr(client, "_of_machine", lambda: None)


@pytest.fixture
def amazon() -> Iterator[Ses]:
    with ses_server() as running:
        yield running


@pytest.fixture
def server() -> Iterator[Scripted]:
    with scripted({"EHLO": EHLO}) as running:
        yield running


@pytest.fixture
def tokens() -> Iterator[TokenServer]:
    with token_server(service.by_consent) as running:
        running.account = MAILBOX
        yield running


@pytest.fixture
def panel(tmp_path: Path, server: Scripted) -> Iterator[Panel]:
    """The relay "default" is a mail server without a login."""
    with opened_panel(tmp_path, MAIL_SUPPRESS_SEND=False) as opened:
        opened.host.configure(smtp_port=server.port, helo_name="here.test")
        yield opened


def of_amazon(amazon: Ses, relay: str = "amazon", **changes: Any) -> dict[str, Any]:
    """The settings of a relay at Amazon SES."""
    own = {
        "kind": "ses",
        "region": REGION,
        "endpoint": amazon.url,
        "access_key": KEY,
        "secret_key": SECRET,
    }
    return {f"relays.{relay}.{name}": value for name, value in (own | changes).items()}


def save(panel: Panel, **changes: Any) -> None:
    with panel.host.app.app_context():
        operations.save_settings(panel.host.state, changes, base=None, changed_by="ada")


def with_amazon(panel: Panel, amazon: Ses, **changes: Any) -> None:
    save(panel, relays=("default", "amazon"), **of_amazon(amazon, **changes))


def of_mailbox(
    server: Scripted, tokens: TokenServer, relay: str = "mailbox", **changes: Any
) -> dict[str, Any]:
    """The settings of a relay at which a person's consent is needed."""
    own = {
        "smtp_server": "127.0.0.1",
        "smtp_port": server.port,
        "encryption": "none",
        "allow_unencrypted_auth": True,
        "sign_in": "oauth_mailbox",
        "oauth_authorization_url": tokens.authorization_url,
        "oauth_token_url": tokens.url,
        "oauth_client_id": CLIENT,
        "oauth_client_secret": service.SECRET,
        "oauth_scope": "mail.send offline_access",
    }
    return {f"relays.{relay}.{name}": value for name, value in (own | changes).items()}


def with_mailbox(panel: Panel, server: Scripted, tokens: TokenServer, **changes: Any) -> None:
    save(panel, relays=("default", "mailbox"), **of_mailbox(server, tokens, **changes))


def card(panel: Panel, relay: str) -> Tag:
    found = panel.get().select_one(f"[data-im-relay={relay}]")
    assert found is not None
    return found


# -- Amazon SES beside a mail server ------------------------------------------------------


def test_amazon_is_added_tested_and_saved_on_the_page(
    panel: Panel, server: Scripted, amazon: Ses
) -> None:
    """Its secret is its own, and stays when the form is saved again."""
    answer = panel.post(RELAYS, do="add", relay_name="amazon")
    values = form_values(BeautifulSoup(answer.text, "lxml"))
    own = {
        "kind": "ses",
        "region": REGION,
        "endpoint": amazon.url,
        "access_key": KEY,
        "secret_key": SECRET,
    }
    typed = values | {AMAZON + name: value for name, value in own.items()}
    tested = panel.client.post(TEST + "?relay=amazon", data=typed, buffered=True)
    assert "signed in" in tested.text.lower(), tested.text
    assert (len(server.messages), len(amazon.taken)) == (0, 1)
    saved = panel.client.post(HOME, data=typed)
    assert saved.status_code == 303, saved.text
    assert "Tested by" in card(panel, "amazon").text
    assert panel.post(HOME, default_to="other-desk").status_code == 303
    one, two = relays_of(panel.in_force().settings)
    assert (one.kind, two.kind, two.name, two.region) == ("smtp", "ses", "amazon", REGION)
    assert two.secret == Secret(SECRET)
    assert SECRET not in panel.get().prettify() + panel.get(HISTORY).prettify()
    assert REGION in (card(panel, "amazon").select_one("summary") or card).text


def test_each_access_key_is_used_by_its_own_relay(panel: Panel, amazon: Ses) -> None:
    """Two accounts at Amazon SES: a change of one asks for the secret of that one."""
    third = of_amazon(amazon, "third", access_key=OTHER_KEY, secret_key=OTHER_SECRET)
    save(panel, relays=("default", "amazon", "third"), **of_amazon(amazon), **third)
    answer = panel.post(HOME, **{"relays-third-region": "eu-central-1"})
    assert answer.status_code == 400
    page = BeautifulSoup(answer.text, "lxml")
    assert page.select_one("#im-relays-third-secret_key-error")
    assert not page.select_one("#im-relays-amazon-secret_key-error, #im-secret_key-error")
    found = panel.in_force()
    assert found.of("third").settings.secret_key == Secret(OTHER_SECRET)
    save(panel, **{"relays.third.secret_key": "n" * 40})
    with panel.host.app.app_context():
        restored = operations.restore_settings(panel.host.state, 2, changed_by="ada")
    secrets = [relay.secret for relay in relays_of(restored.settings)[1:]]
    assert secrets == [Secret(SECRET), Secret(OTHER_SECRET)]


def test_mail_goes_by_amazon_while_the_mail_server_is_silent(
    panel: Panel, server: Scripted, amazon: Ses
) -> None:
    """The outbox names it, in the list and to the host's code."""
    with_amazon(panel, amazon)
    save(panel, smtp_port=1)
    send(panel, "Hello")
    panel.host.dispatcher().drain()
    assert len(amazon.taken) == 1
    outbox = panel.host.messaging.outbox
    with panel.host.app.app_context():
        (found,) = outbox.query(relay="amazon")
        assert (found.relay, found.subject) == ("amazon", "Hello")
        assert outbox.count(relay="default") == 0
    assert "amazon" in panel.get(OUTBOX).text


def test_the_list_of_relays_tells_what_amazon_has(panel: Panel, amazon: Ses) -> None:
    """Not the port and the encryption of a mail server that it has not."""
    with_amazon(panel, amazon)
    line = next(
        one for one in done(panel.host, "relays", "list").out.splitlines() if "amazon" in one
    )
    assert REGION in line or "127.0.0.1" in line
    assert "starttls" not in line
    told = done(panel.host, "relays", "list", "--json").json[1]
    assert (told["kind"], told["region"]) == ("ses", REGION)
    assert SECRET not in json.dumps(told)


def test_commands_add_and_edit_it(panel: Panel, amazon: Ses) -> None:
    """The secret comes from standard input, for the relay that is named."""
    own = ["--kind", "ses", "--region", REGION, "--endpoint", amazon.url, "--access-key", KEY]
    host = panel.host
    done(host, "relays", "add", "amazon", *own, "--secret-key-stdin", typed=f"{SECRET}\n")
    assert relays_of(panel.in_force().settings)[1].secret == Secret(SECRET)
    done(host, "relays", "test", "amazon")
    assert len(amazon.taken) == 1
    refused = run(host, "relays", "edit", "amazon", "--access-key", OTHER_KEY)
    assert refused.status != 0
    assert "relays.amazon.secret_key" in refused.err
    key = ("--access-key", OTHER_KEY, "--secret-key-stdin")
    done(host, "relays", "edit", "amazon", *key, typed=f"{OTHER_SECRET}\n")
    assert relays_of(panel.in_force().settings)[1].secret == Secret(OTHER_SECRET)
    assert "amazon: not needed: requests to Amazon SES are signed" in run(host, "doctor").out


def test_amazon_of_the_overrides_is_shown_as_such(tmp_path: Path, amazon: Ses) -> None:
    """Its region, and no port of a mail server."""
    own = {name.rpartition(".")[2]: value for name, value in of_amazon(amazon).items()}
    config = {"INTERACTION_MAIL_OVERRIDES": {"relays": {"amazon": own}}}
    with opened_panel(tmp_path, **config) as panel:
        assert panel.save().status_code == 303
        text = (
            panel.get().select_one("#im-h-relay-amazon").find_parent("li").get_text(" ", strip=True)
        )  # type: ignore[union-attr]
        assert "no server yet" not in text
        assert REGION in text
        assert SECRET not in panel.get().prettify()
        assert panel.post(TEST + "?relay=amazon").status_code == 200
        assert len(amazon.taken) == 1
        panel.host.state.access = lambda right: right == "view"
        only_looked = panel.get().get_text(" ", strip=True)
        assert f"Mail server (amazon) Amazon SES by HTTPS, region {REGION}" in only_looked


def test_a_former_mail_server_is_not_named_for_amazon(panel: Panel, amazon: Ses) -> None:
    """The fields of a mail server stay filled, and mean nothing then."""
    with_amazon(panel, amazon, smtp_server="former.example")
    summary = card(panel, "amazon").select_one("summary")
    assert summary is not None
    assert summary.text == f"Amazon SES by HTTPS, region {REGION}"


def test_what_a_relay_has_of_its_own_opens_its_part_alone(panel: Panel, amazon: Ses) -> None:
    """An endpoint of default stands in its part, not among what all relays share."""
    own = {name.rpartition(".")[2]: value for name, value in of_amazon(amazon).items()}
    save(panel, helo_name=None, **own)
    assert panel.get().select_one("#im-advanced[open] #im-endpoint")
    with_amazon(panel, amazon)
    page = panel.get()
    assert not page.select_one("#im-advanced[open]")
    assert page.select_one("[data-im-relay=default] #im-endpoint")


def test_who_may_only_look_sees_the_fields_of_its_kind(tmp_path: Path, amazon: Ses) -> None:
    """No port and no encryption that nobody uses."""
    with opened_panel(tmp_path, access=lambda right: right == "view") as panel:
        panel.host.configure()
        with_amazon(panel, amazon)
        text = panel.get().get_text(" ", strip=True)
        assert f"amazon: Region of Amazon SES {REGION}" in text
        assert "amazon: Secret access key stored, never shown" in text
        assert "amazon: Port" not in text
        assert "amazon: Encryption" not in text
        assert "Region of Amazon SES" not in text.replace("amazon: Region of Amazon SES", "")


def test_a_preset_of_a_mail_server_replaces_amazon(panel: Panel, amazon: Ses) -> None:
    """In the relay that is chosen, and back again."""
    with_amazon(panel, amazon)
    preset = HOME + "preset"
    answer = panel.post(preset, preset="microsoft365", preset_relay="amazon")
    values = form_values(BeautifulSoup(answer.text, "lxml"))
    assert (values[AMAZON + "kind"], values["kind"]) == ("smtp", "smtp")
    answer = panel.post(preset, preset="amazon_ses_https", preset_relay="default")
    values = form_values(BeautifulSoup(answer.text, "lxml"))
    assert (values["kind"], values[AMAZON + "region"]) == ("ses", REGION)


def test_a_server_of_the_overrides_is_a_mail_server(tmp_path: Path, amazon: Ses) -> None:
    """Whatever is stored: a copy of a site that sends by SES must not do so as well."""
    config = {"INTERACTION_MAIL_OVERRIDES": {"smtp_server": "127.0.0.1", "smtp_port": 2525}}
    with opened_panel(tmp_path, **config) as panel:
        save(panel, kind="ses", region=REGION, default_to="a@b.example", default_from="c@b.example")
        (relay,) = relays_of(panel.in_force().settings)
        assert (relay.kind, relay.server, relay.port) == ("smtp", "127.0.0.1", 2525)
        assert "kind" in panel.in_force().overridden


def test_the_server_of_a_test_takes_all_mail(panel: Panel, amazon: Ses) -> None:
    """Of an application that sends by SES, for some domains, a few in a minute."""
    stored = {name.rpartition(".")[2]: value for name, value in of_amazon(amazon).items()}
    save(panel, from_domains="other.example", max_per_minute=1, **stored)
    with mail_server(panel.host.app) as testing:
        for number in range(3):
            send(panel, f"Hello {number}")
        panel.host.dispatcher().drain()
        assert len(testing.messages) == 3
    assert amazon.taken == []


# -- a mailbox that is connected beside others --------------------------------------------


def button(panel: Panel, relay: str, what: str) -> Any:
    """Press a button of a relay, as a browser does."""
    return panel.post(HOME + what, relay=relay)


def come_back(panel: Panel, url: str) -> str:
    found = panel.client.get(url.partition("http://localhost")[2] or url)
    assert found.status_code == 303
    return str(found.location)


def test_the_mailbox_of_a_relay_is_connected_and_ended(
    panel: Panel, server: Scripted, tokens: TokenServer
) -> None:
    """By the buttons in its own part of the page; commands tell of it by its name."""
    with_mailbox(panel, server, tokens)
    assert "Not connected" in card(panel, "mailbox").text
    assert card(panel, "mailbox").select_one("button[name=relay][value=mailbox]")
    url = button(panel, "mailbox", "connect").location
    assert come_back(panel, tokens.agree(url)).endswith("#im-mailbox-mailbox")
    assert f"Connected as {MAILBOX} since" in card(panel, "mailbox").text
    assert "Connected as" not in card(panel, "default").text
    assert f"Mailbox of mailbox: connected as {MAILBOX}" in done(panel.host, "settings", "show").out
    told = done(panel.host, "settings", "show", "--json").json
    assert [str(one["mailbox"])[:9] for one in told["relays"]] == ["None", "connected"]
    assert [
        bool(one["mailbox"]) for one in done(panel.host, "status", "--json").json["relays"]
    ] == [
        False,
        True,
    ]
    assert f"mailbox connected as {MAILBOX}" in done(panel.host, "status").out
    assert button(panel, "mailbox", "disconnect").location.endswith("#im-mailbox-mailbox")
    assert "Not connected" in card(panel, "mailbox").text


def test_what_was_typed_in_a_relay_is_not_lost_by_connecting(
    panel: Panel, server: Scripted, tokens: TokenServer
) -> None:
    """A secret as well."""
    with_mailbox(panel, server, tokens)
    for name, value in {"smtp_server": "x.example", "oauth_client_secret": f"{STEM}-new"}.items():
        answer = panel.post(HOME + "connect", relay="mailbox", **{f"relays-mailbox-{name}": value})
        assert answer.status_code == 409, name
        assert STEM not in answer.text


def test_commands_say_that_a_mailbox_is_to_be_connected(
    panel: Panel, server: Scripted, tokens: TokenServer
) -> None:
    """As soon as the relay is added or edited."""
    with_mailbox(panel, server, tokens)
    said = done(panel.host, "relays", "edit", "mailbox", "--oauth-client-id", "another").out
    assert "Mailbox of mailbox: not connected: in the panel, press Connect mailbox" in said


def test_a_mailbox_of_the_overrides_can_be_connected(
    tmp_path: Path, server: Scripted, tokens: TokenServer
) -> None:
    """Nothing else of that relay can be changed on the page."""
    own = {name.rpartition(".")[2]: value for name, value in of_mailbox(server, tokens).items()}
    config = {"INTERACTION_MAIL_OVERRIDES": {"relays": {"mailbox": own}}}
    with opened_panel(tmp_path, **config) as panel:
        assert panel.save().status_code == 303
        page = panel.get()
        assert page.select_one("button[name=relay][value=mailbox]")
        url = button(panel, "mailbox", "connect").location
        come_back(panel, tokens.agree(url))
        assert f"Connected as {MAILBOX} since" in panel.get().get_text(" ", strip=True)


def test_a_conflict_says_that_a_key_has_to_be_typed_again(panel: Panel, amazon: Ses) -> None:
    """As for a password: the page that asks brings no secret back."""
    with_amazon(panel, amazon)
    values = panel.fields()
    save(panel, sender_name="Theirs", **{"relays.amazon.secret_key": "n" * 40})
    typed = values | {"sender_name": "Mine", AMAZON + "secret_key": OTHER_SECRET}
    answer = panel.client.post(HOME, data=typed)
    assert answer.status_code == 409
    text = BeautifulSoup(answer.text, "lxml").select_one(".im-alert-bad").get_text(" ", strip=True)  # type: ignore[union-attr]
    assert "They have entered another secret or key of the sign-in" in text
    assert "Enter the secret or key of the sign-in again" in text

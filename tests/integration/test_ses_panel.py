"""Amazon SES over HTTPS in the panel: its settings, its test, and its names for messages."""

from __future__ import annotations

import csv
import json
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from bs4 import BeautifulSoup

from flask_interaction_mail.outbox import listing
from flask_interaction_mail.outbox.filters import Filters
from flask_interaction_mail.settings.secret import Secret
from flask_interaction_mail.transport.ses import client
from tests.panel import HOME, OUTBOX, TEST, Panel, error_at, opened_panel, send
from tests.servers import ses as double
from tests.servers.ses import KEY, REGION, SECRET, Ses, refuse, ses_server


@pytest.fixture(autouse=True)
def no_role(monkeypatch: pytest.MonkeyPatch) -> None:
    """The machine has no credentials."""
    monkeypatch.setattr(client, "_of_machine", lambda: None)


@pytest.fixture
def service() -> Iterator[Ses]:
    with ses_server() as running:
        yield running


@pytest.fixture
def panel(tmp_path: Path) -> Iterator[Panel]:
    with opened_panel(tmp_path) as panel:
        yield panel


def typed(service: Ses, **changes: Any) -> dict[str, Any]:
    return {
        "kind": "ses",
        "region": REGION,
        "endpoint": service.url,
        "access_key": KEY,
        "secret_key": SECRET,
        "smtp_server": "",
        "company_domain": "firm.example",
        "default_to": "merge-desk",
        "default_from": "crm",
        **changes,
    }


def test_no_smtp_server_is_needed(panel: Panel, service: Ses) -> None:
    """What is saved is in force, and the secret is in no page."""
    assert panel.save(**typed(service)).status_code == 303
    settings = panel.in_force().settings
    assert settings.configured
    assert (settings.smtp_server, settings.region, settings.secret_key) == (
        None,
        REGION,
        Secret(SECRET),
    )
    assert panel.get().select_one("#im-secret_key")["value"] == ""  # type: ignore[index]
    assert panel.save(**typed(service, secret_key="", default_to="desk")).status_code == 303
    assert panel.in_force().settings.secret_key == Secret(SECRET)


@pytest.mark.parametrize(
    ("name", "value", "said"),
    [
        ("region", "", "Enter the region"),
        ("region", "Ireland", "must be the code of a region"),
        ("access_key", "kanarie", "must be the ID of an access key"),
        ("access_key", "", "Enter the ID of the access key"),
        ("secret_key", "", "Enter the secret access key"),
        ("secret_key", "two words of it", "must be one word"),
        ("endpoint", "http://ses.example", "must be a complete https"),
        ("endpoint", "https://ses.example/v2", "must end with the name of the server"),
        ("kind", "pigeon", "must be"),
    ],
)
def test_what_is_wrong_is_said_at_its_field(
    panel: Panel, service: Ses, name: str, value: str, said: str
) -> None:
    """And nothing is saved."""
    answer = panel.save(**typed(service, **{name: value}))
    assert answer.status_code == 400
    assert said in error_at(BeautifulSoup(answer.text, "lxml"), name)
    assert panel.in_force().revision == 0


@pytest.mark.parametrize(
    "pasted", ["EU-WEST-1 ", "email.eu-west-1.amazonaws.com", "email-smtp.eu-west-1.amazonaws.com"]
)
def test_a_region_is_taken_out_of_what_was_pasted(panel: Panel, service: Ses, pasted: str) -> None:
    """The console shows it in several ways."""
    panel.save(**typed(service, region=pasted))
    assert panel.in_force().settings.region == REGION


@pytest.mark.parametrize(
    "change",
    [
        {"region": "us-east-1"},
        {"endpoint": "https://ses.elsewhere.example"},
        {"access_key": "AKIAI44QH8DHBEXAMPLE"},
    ],
)
def test_the_secret_is_used_only_where_it_was_entered_for(
    panel: Panel, service: Ses, change: dict[str, str]
) -> None:
    """Nobody gets it to sign for another place by changing one field, neither saved nor tested."""
    panel.save(**typed(service))
    answer = panel.save(**typed(service, secret_key="", **change))
    assert "is not used with this one" in error_at(BeautifulSoup(answer.text, "lxml"), "secret_key")
    assert panel.in_force().revision == 1
    panel.post(TEST, **typed(service, secret_key="", **change))
    assert service.asked == []


def result(panel: Panel, service: Ses, **changes: Any) -> tuple[str, str]:
    """Verdict and text of Test Settings."""
    page = BeautifulSoup(panel.post(TEST, **typed(service, **changes)).text, "lxml")
    verdict = page.select_one("[data-im-verdict]")
    assert verdict is not None, page.text
    return str(verdict["data-im-verdict"]), " ".join(page.text.split())


def test_a_test_goes_all_the_way(panel: Panel, service: Ses) -> None:
    """It reaches the service, signs in, tells the quotas and sends one message."""
    verdict, text = result(panel, service)
    assert verdict == "passed"
    (taken,) = service.taken
    assert taken.recipients == ("merge-desk@firm.example", "crm@firm.example")
    assert f"through 127.0.0.1, port {service.port}".encode() in taken.content
    for said in ("Signed in", "messages a day: 50000", "messages a second: 1", taken.id):
        assert said in text


@pytest.mark.parametrize(
    ("state", "changes", "verdict", "said"),
    [
        ({"sandbox": True}, {}, "passed", "the account is in the sandbox"),
        ({"sandbox": True}, {"default_to": "a@own.example"}, "partial", "is not verified"),
        ({"verified": set()}, {}, "failed", "verify the domain of the default From"),
        ({"account": {"EnforcementStatus": "PROBATION"}}, {}, "passed", "under review"),
        ({"account": {"SendingEnabled": False}}, {}, "failed", "sending is switched off"),
        (
            {},
            {"access_key": "AKIAI44QH8DHBEXAMPLE"},
            "failed",
            "Amazon SES does not accept the key",
        ),
        ({}, {"secret_key": f"{SECRET}x"}, "failed", "Copy access key ID and secret again"),
        ({}, {"access_key": "", "secret_key": ""}, "failed", "There is no key to sign in with"),
        (
            {"behaviours": [refuse(403, "AccessDeniedException", "ses:SendRawEmail")]},
            {},
            "failed",
            "allow the user or role ses:SendEmail and ses:SendRawEmail",
        ),
        (
            {"behaviours": [refuse(400, "SendingPausedException")]},
            {},
            "failed",
            "Sending is stopped for this account",
        ),
        (
            {"behaviours": [refuse(400, "BadRequestException", "Missing final '@domain'")]},
            {},
            "failed",
            "Missing final '@domain'",
        ),
        (
            {"behaviours": [double.take_and_lose]},
            {},
            "no_answer",
            "the test may still arrive",
        ),
    ],
)
def test_what_stands_in_the_way_is_told(
    panel: Panel,
    service: Ses,
    state: dict[str, Any],
    changes: dict[str, Any],
    verdict: str,
    said: str,
) -> None:
    """With what to do about it."""
    for name, value in state.items():
        setattr(service, name, value)
    found, text = result(panel, service, **changes)
    assert said in text
    assert found == verdict


def test_a_clock_that_is_wrong_is_told(panel: Panel, service: Ses) -> None:
    """Every request is refused then, whatever the key is."""
    service.clock = timedelta(hours=1)
    verdict, text = result(panel, service)
    assert verdict == "failed"
    assert "The clock of this machine is wrong" in text


def test_a_key_that_may_not_read_the_account_will_do(
    panel: Panel, service: Ses, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A key with the least rights sends."""

    def forbidden(*_: Any) -> Any:
        raise double.Refused(403, "AccessDeniedException", "not authorized: ses:GetAccount")

    service.on_account = forbidden
    verdict, text = result(panel, service)
    assert (verdict, len(service.taken)) == ("passed", 1)
    assert "The key may not read what the account may send" in text


def test_its_preset_shows_what_it_needs(panel: Panel) -> None:
    """And another preset leads back to a server."""
    page = BeautifulSoup(panel.post(f"{HOME}preset", preset="amazon_ses_https").text, "lxml")
    assert page.select_one("#im-kind option[selected]")["value"] == "ses"  # type: ignore[index]
    assert "ses:SendRawEmail" in page.select_one("#im-preset-note").text  # type: ignore[union-attr]
    for name in ("region", "access_key", "secret_key", "endpoint"):
        assert page.select_one(f"#im-{name}").find_parent(attrs={"data-im-kind": "ses"})  # type: ignore[union-attr]
    again = panel.post(f"{HOME}preset", preset="mailgun", kind="ses")
    page = BeautifulSoup(again.text, "lxml")
    assert page.select_one("#im-kind option[selected]")["value"] == "smtp"  # type: ignore[index]


def test_the_provider_s_name_is_found_again(panel: Panel, service: Ses) -> None:
    """In the details, by the search, in the export and in JSON; as SES itself writes it, too."""
    panel.host.configure(**typed(service))
    for number in range(3):
        send(panel, f"Subject {number}")
    panel.host.dispatcher().drain()
    id = service.taken[1].id
    for spelled in (id, f"<{id}@{REGION}.amazonses.com>", f"{id}@email.amazonses.com"):
        with panel.host.state.database.reading() as connection:
            found = listing.page(connection, Filters(q=spelled))
        assert (len(found.lines), found.exact) == (1, "provider_id")
    assert "The message that the mail provider calls so." in panel.get(f"{OUTBOX}?q={id}").text
    message = found.lines[0].row.id
    assert id in panel.get(f"{OUTBOX}{message}/").text
    file = panel.client.get(f"{OUTBOX}export.csv").text.lstrip("\ufeff")
    exported = {line["provider id"] for line in csv.DictReader(file.splitlines())}
    assert exported == {one.id for one in service.taken}
    run = panel.host.app.test_cli_runner().invoke
    shown = run(args=["interaction-mail", "outbox", "show", str(message), "--json"])
    assert json.loads(shown.output)["provider_id"] == id


def test_the_command_sets_it_up(panel: Panel, service: Ses) -> None:
    """The secret comes from standard input, and doctor says how requests are signed."""
    run = panel.host.app.test_cli_runner().invoke
    options = [
        *("--kind", "ses", "--region", REGION, "--endpoint", service.url, "--access-key", KEY),
        *("--company-domain", "firm.example", "--default-to", "desk", "--default-from", "crm"),
    ]
    done = run(
        args=["interaction-mail", "settings", "set", *options, "--secret-key-stdin"],
        input=f"{SECRET}\n",
    )
    assert done.exit_code == 0, done.output
    assert run(args=["interaction-mail", "test"]).exit_code == 0
    assert len(service.taken) == 1
    assert "signed with that of the settings" in run(args=["interaction-mail", "doctor"]).output

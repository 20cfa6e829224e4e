"""The tab Returned mail, and the mailbox in the settings."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import astuple
from pathlib import Path

import pytest
from bs4 import BeautifulSoup

from flask_interaction_mail import language, operations, send_notification
from flask_interaction_mail.delivery import returning
from flask_interaction_mail.diagnosis.texts import MAILBOX_FAULTS
from flask_interaction_mail.errors import TransportError
from flask_interaction_mail.monitoring.returned import returned_mail
from tests.canary import PASSWORD
from tests.panel import HOME, RETURNED, Panel, error_at, form_values, opened_panel
from tests.reports import automatic_reply, report
from tests.servers.certificates import pki
from tests.servers.imap import ImapServer, running_imap

MAILBOX = HOME + "mailbox"


@pytest.fixture(scope="module")
def server() -> Iterator[ImapServer]:
    with running_imap() as server:
        yield server


@pytest.fixture
def panel(tmp_path: Path) -> Iterator[Panel]:
    with opened_panel(tmp_path) as opened:
        yield opened


def typed(server: ImapServer) -> dict[str, str]:
    return {
        "returns_server": "127.0.0.1",
        "returns_port": str(server.tls),
        "returns_login": server.user,
        "returns_password": server.password,
        "returns_ca_certificate": pki().pem,
    }


def test_the_mailbox_in_the_form_is_looked_into(panel: Panel, server: ImapServer) -> None:
    """12 messages, 3 reports, 2 of ours: before anything is saved, and nothing changes."""
    assert panel.save().status_code == 303
    server.emptied()
    with panel.host.app.app_context():
        id = str(send_notification(["bob"], "Hello", text="Hello").message_id)
        panel.host.db.session.commit()
    ours = [report(id, "bob@firm.example", number=number) for number in range(2)]
    server.put(*[b"Subject: Lunch?\n\n"] * 9, *ours, report("<a@b.example>", "bob@firm.example"))
    before = panel.in_force()
    answer = panel.post(MAILBOX, **typed(server))
    assert answer.status_code == 200
    assert "12 messages, 3 reports, 2 of ours" in answer.text
    assert PASSWORD not in answer.text
    assert panel.in_force() == before
    assert server.count() == 12
    wrong = panel.post(MAILBOX, **typed(server) | {"returns_password": "wrong"})
    assert "Login or password is wrong" in wrong.text


def test_a_mailbox_needs_a_login_and_its_password(panel: Panel, server: ImapServer) -> None:
    """What is missing is said at its field; the password is used with no other server."""
    assert panel.save().status_code == 303
    refused = panel.save(returns_server="imap.firm.example")
    assert refused.status_code == 400
    assert panel.save(**typed(server)).status_code == 303
    assert panel.in_force().settings.returns_password.reveal() == server.password
    for change in (
        {"returns_server": "localhost"},
        {"returns_port": "994"},
        {"returns_encryption": "starttls"},
        {"returns_login": "eve"},
        {"returns_ca_certificate": ""},
    ):
        values = typed(server) | {"returns_password": ""} | change
        answer = panel.save(**values)
        assert answer.status_code == 400, change
        assert "is not used with this one" in answer.text
        assert panel.post(MAILBOX, **values).status_code == 400
    assert panel.save(**typed(server) | {"returns_password": ""}).status_code == 303
    assert panel.in_force().settings.returns_password is not None
    assert panel.get().select_one("#im-returns_password").get("value", "") == ""


def test_without_encryption_or_oauth_it_is_refused(panel: Panel, server: ImapServer) -> None:
    """As for the mail server; and OAuth 2 needs a mail server with it."""
    assert panel.save().status_code == 303
    for name, value in {"returns_encryption": "none", "returns_sign_in": "relay"}.items():
        answer = panel.save(**typed(server) | {name: value})
        assert answer.status_code == 400
        assert error_at(BeautifulSoup(answer.text, "lxml"), name)


def test_advice_on_a_mailbox_names_the_ports_of_imap(panel: Panel, server: ImapServer) -> None:
    """Neither those of mail servers, nor a choice that a mailbox does not have."""
    assert panel.save().status_code == 303
    answer = panel.post(MAILBOX, **typed(server) | {"returns_port": "1"})
    assert "993 is usual with TLS" in answer.text
    assert "587" not in BeautifulSoup(answer.text, "html.parser").select_one(".im-alert-bad").text
    for advice in MAILBOX_FAULTS.values():
        assert not re.search("SMTP|587|465", " ".join(astuple(advice)))


def test_the_address_of_a_test_can_be_opened_again(panel: Panel) -> None:
    """As a browser does that comes back to it, or a login that leads there."""
    assert panel.client.get(RETURNED + "test").headers["Location"] == RETURNED


def test_the_tab_shows_the_mailbox_and_what_came_back(panel: Panel, server: ImapServer) -> None:
    """Counts, when it was read and is due, the last reports with links, and a test."""
    assert "No mailbox is read" in panel.get(RETURNED).text
    server.emptied()
    assert panel.save(**typed(server)).status_code == 303
    with panel.host.app.app_context():
        sent = send_notification(["bob"], "Hello <b>", text="Hello")
        panel.host.db.session.commit()
        id = str(sent.message_id)
        server.put(
            report(id, "bob@firm.example", diagnostic="smtp; 550 5.1.1 <script>alert(1)</script>"),
            automatic_reply(id),
        )
        returning.look(panel.host.state)
    page = panel.get(RETURNED)
    text = page.get_text(" ", strip=True)
    for words in ("127.0.0.1", "Reports noted: 1", "bob@firm.example", "bounced", "Next look"):
        assert words in text
    assert "an automatic reply" in text
    assert page.find("script", string="alert(1)") is None
    assert page.select_one(f'a[href*="{sent.id}"]') is not None
    answer = panel.client.post(RETURNED + "test", data=form_values(page))
    assert "1 message, 0 reports, 0 of ours" in answer.text


def test_what_is_wrong_stands_on_the_tab_with_advice(panel: Panel, server: ImapServer) -> None:
    """In words, since when, and what to do."""
    assert panel.save(**typed(server) | {"returns_folder": "Nowhere"}).status_code == 303
    with panel.host.app.app_context(), pytest.raises(TransportError):
        returning.look(panel.host.state)
    text = panel.get(RETURNED).get_text(" ", strip=True)
    assert "It cannot be read" in text
    assert text.count("Mailbox doesn't exist: Nowhere") == 1
    assert "The folder cannot be opened" in text
    assert "INBOX is always there" in text
    assert PASSWORD not in text
    with panel.host.app.app_context(), language.speaking("fr"):
        advice = returned_mail(panel.host.state).advice
    assert advice is not None
    assert "The folder" not in advice.explanation


def test_reports_of_erased_and_foreign_mail_are_not_shown(panel: Panel) -> None:
    """A report that names nobody of ours is not there at all."""
    assert panel.save().status_code == 303
    with panel.host.app.app_context():
        assert operations.take_report(panel.host.state, report("<x@y.example>", "bob@x.y")) is None
    assert "Nothing yet." in panel.get(RETURNED).text

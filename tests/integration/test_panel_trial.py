"""Test Settings in the panel: with the form's values, beside the form, saving nothing."""

from __future__ import annotations

import re
import socket
from collections.abc import Iterator
from email import message_from_bytes
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa
from aiosmtpd.controller import Controller
from aiosmtpd.smtp import AuthResult, LoginPassword
from bs4 import BeautifulSoup

from flask_interaction_mail import Party
from flask_interaction_mail.models import CheckRow
from tests.host import PASSWORD
from tests.panel import HOME, TEST, Panel, opened_panel
from tests.servers.programs import free_port
from tests.servers.scripted import scripted


class Mailbox:
    """Keeps every message that was accepted."""

    def __init__(self) -> None:
        self.envelopes: list[Any] = []
        self.logins: list[str] = []

    async def handle_DATA(self, server: Any, session: Any, envelope: Any) -> str:
        self.envelopes.append(envelope)
        return "250 taken"

    def authenticate(
        self, server: Any, session: Any, envelope: Any, mechanism: str, auth_data: Any
    ) -> AuthResult:
        if isinstance(auth_data, LoginPassword):
            self.logins.append(f"{auth_data.login!r} {auth_data.password!r}")
        return AuthResult(success=True)


class Server:
    """A mail server on loopback with its mailbox."""

    def __init__(self, box: Mailbox | None = None) -> None:
        self.box = box or Mailbox()
        self.port = free_port()

    def __enter__(self) -> Server:
        self.controller = Controller(
            self.box,
            hostname="127.0.0.1",
            port=self.port,
            authenticator=self.box.authenticate,
            auth_require_tls=False,
        )
        self.controller.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.controller.stop()

    @property
    def typed(self) -> dict[str, str]:
        """What is to be typed into the form to use it."""
        return typed_for(self.port)


def typed_for(port: int) -> dict[str, str]:
    """What is to be typed into the form for a server at ``port`` of this machine."""
    return {
        "company_domain": "firm.example",
        "smtp_server": "127.0.0.1",
        "smtp_port": str(port),
        "encryption": "none",
        "default_to": "merge-desk",
        "default_from": "crm",
    }


@pytest.fixture
def server() -> Iterator[Server]:
    with Server() as running:
        yield running


@pytest.fixture
def panel(tmp_path: Path) -> Iterator[Panel]:
    with opened_panel(tmp_path, MAIL_SUPPRESS_SEND=False) as opened:
        yield opened


def soup(response: Any) -> BeautifulSoup:
    return BeautifulSoup(response.text, "lxml")


def verdict(response: Any) -> str:
    section = soup(response).select_one("[data-im-verdict]")
    return "" if section is None else str(section["data-im-verdict"])


def checks(panel: Panel) -> list[Any]:
    with panel.host.app.app_context(), panel.host.state.database.reading() as connection:
        return list(connection.execute(sa.select(CheckRow.verdict, CheckRow.by)))


def test_r47_a_test_uses_the_form_and_saves_nothing(panel: Panel, server: Server) -> None:
    """The message arrives with the typed settings, and none of them is in force after it."""
    response = panel.post(TEST, **server.typed)
    assert verdict(response) == "passed"
    assert len(server.box.envelopes) == 1
    assert panel.in_force().revision == 0
    assert panel.in_force().settings.smtp_server is None


def test_r48_r49_r50_the_test_message_goes_to_both_mailboxes(panel: Panel, server: Server) -> None:
    """To is default To, From is default From whatever the policy, and From is in Cc."""
    panel.post(TEST, **server.typed, from_policy="current_user")
    (envelope,) = server.box.envelopes
    message = message_from_bytes(envelope.content)
    assert envelope.mail_from == "crm@firm.example"
    assert envelope.rcpt_tos == ["merge-desk@firm.example", "crm@firm.example"]
    assert "merge-desk@firm.example" in message["To"]
    assert "crm@firm.example" in message["From"]
    assert "crm@firm.example" in message["Cc"]


def test_the_tester_gets_a_copy_if_they_want_one(panel: Panel, server: Server) -> None:
    """At their own address, completed with the domain in the form."""
    panel.host.people.user = Party("Ada Byron", "ada")
    assert "Send the test also to me" in panel.get().text
    response = panel.post(TEST, **server.typed, also_me="y")
    assert verdict(response) == "passed"
    (envelope,) = server.box.envelopes
    assert envelope.rcpt_tos[2:] == ["ada@firm.example"]
    message = message_from_bytes(envelope.content)
    assert "ada@firm.example" in message["Cc"]
    assert b"ada@firm.example (who tests)" in envelope.content


def test_a_visitor_without_an_address_is_offered_no_copy(panel: Panel, server: Server) -> None:
    """And asking for one changes nothing."""
    panel.host.people.user = Party("Ada Byron")
    assert "Send the test also to me" not in panel.get().text
    assert verdict(panel.post(TEST, **server.typed, also_me="y")) == "passed"
    assert len(server.box.envelopes[0].rcpt_tos) == 2


def test_an_address_of_the_tester_that_cannot_be_used_is_named(
    panel: Panel, server: Server
) -> None:
    """Before any connection, at no field, as it is in none."""
    panel.host.people.user = Party("Ada Byron", "a da@@")
    response = panel.post(TEST, **server.typed, also_me="y")
    assert verdict(response) == "failed"
    assert "a da@@" in response.text
    assert server.box.envelopes == []


def test_the_result_names_what_the_server_offers_and_when_each_line_was_said(
    panel: Panel, server: Server
) -> None:
    """For the person who is asked for help."""
    page = BeautifulSoup(panel.post(TEST, **server.typed).text, "lxml")
    offered = {row.text: row.find_next("dd").text for row in page.select(".im-facts dt")}
    assert offered["text as it is (8BITMIME)"] == "yes"
    assert offered["encryption on request (STARTTLS)"] == "no"
    lines = page.select_one("#im-transcript").text.splitlines()  # type: ignore[union-attr]
    assert all(re.match(r" *\d+\.\d\d [CS]: ", line) for line in lines)
    seconds = [float(line.split()[0]) for line in lines]
    assert seconds == sorted(seconds)


def test_r52_r53_the_page_says_that_accepted_is_not_arrived(panel: Panel, server: Server) -> None:
    """The verdict names both mailboxes, each step has its line, and the transcript unfolds."""
    page = BeautifulSoup(panel.post(TEST, **server.typed).text, "lxml")
    said = page.select_one("[data-im-verdict]").text  # type: ignore[union-attr]
    assert "merge-desk@firm.example" in said
    assert "crm@firm.example" in said
    assert len(page.select(".im-step")) >= 8
    assert "RCPT TO" in page.select_one("#im-transcript").text  # type: ignore[union-attr]


def test_r54_no_connection_says_that_the_settings_are_probably_wrong(panel: Panel) -> None:
    """A port where nobody listens gets the advice to check and try again."""
    response = panel.post(TEST, **typed_for(free_port()))
    assert verdict(response) == "failed"
    assert "settings are probably wrong" in response.text


def test_r51_suppressed_sending_is_no_success(tmp_path: Path, server: Server) -> None:
    """Where the application suppresses sending the verdict says so, and no mail leaves."""
    with opened_panel(tmp_path, MAIL_SUPPRESS_SEND=True) as panel:
        response = panel.post(TEST, **server.typed)
        panel.post(HOME, **server.typed)
        assert "Never tested" in panel.get().text
    assert verdict(response) == "suppressed"
    assert "Not sent: suppressed" in response.text
    assert server.box.envelopes == []


def test_r56_the_result_is_a_page_of_its_own_beside_the_form(panel: Panel) -> None:
    """The button sends the same form to a tab with a name; nothing needs a script or a frame."""
    page = panel.get(HOME)
    button = page.find("button", string="Test Settings")
    assert button is not None
    assert page.find("iframe") is None
    assert button["formtarget"] == "interaction_mail_test"  # type: ignore[index]
    assert button["formaction"] == TEST  # type: ignore[index]
    assert button.has_attr("formnovalidate")  # type: ignore[union-attr]
    assert "Press “Test Settings”" in panel.get(TEST).text


def test_r56_eleven_tests_in_a_minute_are_too_many(panel: Panel, server: Server) -> None:
    """Ten a minute by one user; the eleventh gets a friendly page and reaches no server."""
    typed = panel.fields() | server.typed
    answers = [panel.client.post(TEST, data=typed, buffered=True) for _ in range(11)]
    assert [answer.status_code for answer in answers] == [200] * 10 + [429]
    assert "wait a minute" in answers[-1].text
    assert len(server.box.envelopes) <= 10
    panel.host.people.user = None
    assert panel.client.post(TEST, data=typed, buffered=True).status_code == 200


def test_wrong_values_are_listed_and_nothing_is_connected(panel: Panel, server: Server) -> None:
    """The result names the fields, and the server sees nobody."""
    response = panel.post(TEST, **server.typed | {"default_to": "", "smtp_port": "0"})
    assert response.status_code == 400
    assert "Default To" in response.text
    assert "Port" in response.text
    assert server.box.envelopes == []
    assert checks(panel) == []


def test_r56_the_password_of_the_form_is_used_and_not_shown(panel: Panel) -> None:
    """A typed password logs in, without its confirmation, and is in no part of the answer."""
    with Server() as server:
        typed = server.typed | {
            "use_authentication": "y",
            "login": "crm",
            "password": PASSWORD,
            "allow_unencrypted_auth": "y",
        }
        response = panel.post(TEST, **typed)
        assert verdict(response) == "passed"
        assert server.box.logins == [f"{b'crm'!r} {PASSWORD.encode()!r}"]
    assert PASSWORD not in response.text
    wrong = panel.post(TEST, **typed | {"password_confirm": "other"})
    assert "differ" in wrong.text


def test_the_stored_password_is_not_tried_at_another_server(panel: Panel) -> None:
    """A blank password works with the connection it was stored for and no other (T1)."""
    with Server() as server:
        stored = server.typed | {
            "use_authentication": "y",
            "login": "crm",
            "password": PASSWORD,
            "password_confirm": PASSWORD,
            "allow_unencrypted_auth": "y",
        }
        assert panel.post(HOME, **stored).status_code == 303
        assert verdict(panel.post(TEST)) == "passed"
        for change in ({"smtp_server": "localhost"}, {"login": "other"}):
            response = panel.post(TEST, **change)
            assert response.status_code == 400
            assert "Password needed for this server" in response.text
        assert len(server.box.logins) == 1


def test_the_badge_tells_never_tested_tested_and_changed(panel: Panel, server: Server) -> None:
    """By fingerprint: another value that a test depends on is 'changed since'."""
    panel.post(HOME, **server.typed)
    assert "Never tested" in panel.get().text
    panel.post(TEST)
    assert "Tested by Ada Byron" in panel.get().text
    panel.post(HOME, default_to="other")
    assert "Changed since the last passed test" in panel.get().text
    panel.post(HOME, default_to="merge-desk")
    assert "Tested by Ada Byron" in panel.get().text


def test_a_test_is_written_down_with_its_verdict(panel: Panel, server: Server) -> None:
    """One row for each test, with who made it."""
    panel.post(TEST, **server.typed)
    panel.post(TEST, **server.typed | {"smtp_port": str(free_port())})
    assert sorted(checks(panel)) == [("failed", "Ada Byron"), ("passed", "Ada Byron")]


def test_the_steps_stream_while_the_test_goes_on(panel: Panel) -> None:
    """The first steps are sent while a server that says nothing is still waited for."""
    listener = socket.create_server(("127.0.0.1", 0))
    typed = panel.fields() | typed_for(listener.getsockname()[1])
    response = panel.client.post(TEST, data=typed)
    seen = ""
    for piece in response.iter_encoded():
        seen += piece.decode()
        if "Connected" in seen:
            break
    response.close()
    listener.close()
    assert "data-im-verdict" not in seen
    assert response.headers["X-Accel-Buffering"] == "no"
    assert response.headers["Cache-Control"] == "no-store"
    assert response.headers["X-Frame-Options"] == "SAMEORIGIN"


def test_the_result_brings_the_badge_that_fits_its_verdict(panel: Panel, server: Server) -> None:
    """Passed and saved, passed and not saved, failed, in part: the badge says what the test did."""

    def badge(response: Any) -> str:
        return str(soup(response).select_one("[data-im-badge]").text)  # type: ignore[union-attr]

    panel.post(HOME, **server.typed)
    assert "Tested by Ada Byron" in badge(panel.post(TEST))
    assert "not saved" not in badge(panel.post(TEST))
    unsaved = badge(panel.post(TEST, default_to="other"))
    assert "Tested by Ada Byron" in unsaved
    assert "not saved yet" in unsaved
    assert "did not pass" in badge(panel.post(TEST, smtp_port=str(free_port())))

    class Picky(Mailbox):
        async def handle_RCPT(self, _s: Any, _session: Any, envelope: Any, to: str, _o: Any) -> str:
            if to.startswith("crm"):
                return "550 5.1.1 no such user"
            envelope.rcpt_tos.append(to)
            return "250 OK"

    with Server(Picky()) as other:
        panel.post(HOME, **other.typed)
        assert "some recipients only" in badge(panel.post(TEST))
    assert "some recipients only" in panel.get(HOME).text


@pytest.mark.parametrize(
    ("replies", "fields"),
    [
        ({"GREETING": b"554 5.7.1 go away\r\n"}, {"helo_name"}),
        ({"MAIL": b"550 5.7.1 not you\r\n"}, {"default_from"}),
        ({"RCPT": b"550 5.1.1 no such user\r\n"}, {"default_to", "default_from"}),
        ({"RCPT": b"553 Sender address rejected: not owned by x\r\n"}, {"default_from"}),
        ({"RCPT": b"504 5.5.2 <x>: Helo command rejected\r\n"}, {"helo_name"}),
        ({"RCPT": b"554 5.7.1 Client host rejected\r\n"}, set()),
        (None, {"smtp_server", "smtp_port"}),
    ],
)
def test_a_failed_test_names_the_fields_to_look_at(
    panel: Panel, replies: dict[str, bytes] | None, fields: set[str]
) -> None:
    """Each with the title of the step that failed, which the script puts beside the field."""
    with scripted(replies or {}) as running:
        port = free_port() if replies is None else running.port
        page = soup(panel.post(TEST, **typed_for(port)))
    named = page.select("[data-im-verdict] [data-im-field]")
    assert {field["data-im-field"] for field in named} == fields
    assert all("The test failed here: " in field.text for field in named)
    failed = page.select(".im-step-failed")
    assert failed
    assert all(step.has_attr("open") for step in failed)
    assert [step for step in page.select(".im-step-ok") if step.has_attr("open")] == []


def test_a_servers_reply_stays_text(panel: Panel) -> None:
    """Markup in what a server says is shown, not obeyed (T5)."""

    class Naughty(Mailbox):
        async def handle_RCPT(self, *_: Any) -> str:
            return "550 <script>alert(1)</script>"

    with Server(Naughty()) as server:
        response = panel.post(TEST, **server.typed)
    assert "<script>alert" not in response.text
    assert "&lt;script&gt;alert" in response.text

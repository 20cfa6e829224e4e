"""What the pages about providers show: a transport of one's own, a policy, lines of Postfix."""

from __future__ import annotations

import base64
import json
import re
import subprocess
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from typing import Any

import pytest
from bs4 import BeautifulSoup
from flask import Flask

from flask_interaction_mail.diagnosis.texts import text_of
from flask_interaction_mail.outcome import Fault
from flask_interaction_mail.storage.tables import DELIVERY
from flask_interaction_mail.transport.ses.transport import OFFERED, RECIPIENTS
from tests.canary import STEM
from tests.documentation import shown
from tests.panel import HOME, TEST, Panel, opened_panel, send
from tests.servers.answering import answering
from tests.servers.certificates import pki
from tests.servers.programs import program

DOCS = Path(__file__).parents[2] / "docs"
KEY = f"{STEM}-of-the-provider"


class Provider:
    """Takes messages as the page says; ``answers`` are for the next ones, as status and text."""

    def __init__(self) -> None:
        self.port = 0
        self.taken: list[dict[str, Any]] = []
        self.answers: list[tuple[int, str]] = []

    def answer(self, handler: BaseHTTPRequestHandler, body: bytes) -> None:
        assert handler.headers["Authorization"] == f"Bearer {KEY}"
        status, said = self.answers.pop(0) if self.answers else (202, '{"id": "m-17"}')
        if not status:
            handler.connection.shutdown(2)
            return
        if status == 202:
            self.taken.append(json.loads(body))
        handler.send_response(status)
        handler.end_headers()
        handler.wfile.write(said.encode())


@pytest.fixture
def provider() -> Iterator[Provider]:
    running = Provider()
    with answering(running.answer, threading.Event(), pki().server()) as running.port:
        yield running


@pytest.fixture
def panel(
    tmp_path: Path, provider: Provider, trusted_ca: None, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Panel]:
    """A host that uses the example of the page."""
    names: dict[str, Any] = {}
    exec(shown("docs/transports.md", "class ApiTransport"), names)  # noqa: S102 - our own page
    monkeypatch.setenv("PROVIDER_HOST", f"127.0.0.1:{provider.port}")
    monkeypatch.setenv("PROVIDER_KEY", KEY)
    app = Flask("given")
    names["use_provider"](app)
    given = {name: app.config[name] for name in app.config if name.startswith("INTERACTION_MAIL")}
    given["INTERACTION_MAIL_OVERRIDES"] = {"smtp_server": "127.0.0.1"}  # a name without a port
    with opened_panel(tmp_path, **given) as panel:
        panel.host.configure()
        yield panel


def rows(panel: Panel) -> list[Any]:
    with panel.host.state.database.reading() as connection:
        return list(connection.execute(DELIVERY.select()))


def test_the_example_sends(panel: Panel, provider: Provider) -> None:
    """What is queued leaves by it, and the provider's name is kept."""
    send(panel, "Hello", cc=("eve@firm.example",))
    panel.host.dispatcher().drain()
    (taken,) = provider.taken
    assert (taken["from"], taken["to"]) == (
        "crm@firm.example",
        ["ada@firm.example", "eve@firm.example"],
    )
    assert b"Subject: Hello" in base64.b64decode(taken["raw"])
    (row,) = rows(panel)
    assert (row.status, row.provider_id, row.reply) == ("sent", "m-17", "250 taken as m-17")


@pytest.mark.parametrize(
    ("answer", "status", "attempts"),
    [
        ((400, "no such\x1b domain"), "failed", 1),
        ((503, "later"), "queued", 0),
        ((401, "bad key"), "queued", 0),
        ((0, ""), "deferred", 1),
    ],
)
def test_the_example_tells_trouble_apart(
    panel: Panel, provider: Provider, answer: tuple[int, str], status: str, attempts: int
) -> None:
    """A message is refused, the provider is in trouble, or nobody knows."""
    provider.answers = [answer]
    send(panel, "Hello")
    panel.host.dispatcher().drain()
    (row,) = rows(panel)
    assert (row.status, row.attempts) == (status, attempts)
    assert provider.taken == []


def test_the_pages_say_that_the_application_sends(panel: Panel, provider: Provider) -> None:
    """In the panel, the test and doctor; the test passes, as somebody gets it."""
    assert "This application hands mail over itself" in panel.get(HOME).text
    page = BeautifulSoup(panel.post(TEST).text, "lxml")
    assert page.select_one("[data-im-verdict=passed]"), page.text
    assert "this application hands mail over itself" in page.text
    assert len(provider.taken) == 1
    run = panel.host.app.test_cli_runner().invoke
    assert (
        "handed over by this application itself" in run(args=["interaction-mail", "doctor"]).output
    )


def test_tests_send_nothing_by_it(panel: Panel, provider: Provider) -> None:
    """As with a server: with TESTING, what would leave is suppressed."""
    panel.host.app.config["TESTING"] = True
    send(panel, "Hello")
    panel.host.dispatcher().drain()
    assert [row.status for row in rows(panel)] == ["suppressed"]
    assert provider.taken == []


def test_the_example_is_short() -> None:
    """Some sixty lines, and one function that wires it."""
    lines = shown("docs/transports.md", "class ApiTransport").splitlines()
    code = [line for line in lines if line.strip()]
    assert len(code) <= 70
    assert max(map(len, lines)) <= 100


def test_the_policy_of_iam_allows_what_is_asked() -> None:
    """It is JSON, with the three actions that the test of the settings names."""
    block = re.search(r"```json\n(.*?)```", (DOCS / "amazon-ses.md").read_text(), re.DOTALL)
    assert block is not None
    policy = json.loads(block[1])
    (statement,) = policy["Statement"]
    assert statement["Action"] == ["ses:SendEmail", "ses:SendRawEmail", "ses:GetAccount"]
    advice = text_of(Fault.SES_FORBIDDEN).advice
    assert all(action in advice for action in statement["Action"])


def test_the_figures_of_the_page_are_those_of_the_program() -> None:
    """Recipients, megabytes, and the titles of what the test says."""
    text = (DOCS / "amazon-ses.md").read_text("utf-8")
    assert f"| {RECIPIENTS}; more are split" in text
    assert OFFERED.size == 40_000_000
    assert "SES takes 40 MB" in text
    for said in (
        Fault.SES_KEY_REFUSED,
        Fault.SES_NOT_VERIFIED,
        Fault.SES_FORBIDDEN,
        Fault.SES_NO_KEY,
        Fault.SES_CLOCK,
        "ses_sandbox",
    ):
        assert f"*{text_of(said).title}*" in text


def test_what_the_test_says_of_a_postfix_is_what_it_says() -> None:
    """Titles that the page quotes."""
    text = (DOCS / "postfix.md").read_text("utf-8")
    for fault in (
        Fault.REFUSED,
        Fault.RELAY_DENIED,
        Fault.CERTIFICATE_UNKNOWN_CA,
        Fault.CERTIFICATE_OTHER_HOST,
        Fault.AUTH_NOT_OFFERED,
        Fault.AUTH_REJECTED,
    ):
        assert f"*{text_of(fault).title}*" in text


def test_postfix_takes_each_line_of_the_page(tmp_path: Path) -> None:
    """Every parameter exists, and the entries of master.cf are right."""
    postconf = program("postconf", package="postfix")
    (tmp_path / "main.cf").write_text("compatibility_level = 3.6\n")
    (tmp_path / "master.cf").write_text("")
    text = (DOCS / "postfix.md").read_text("utf-8")
    lines = re.findall(r"sudo postconf (-\w) (.+)$", text, re.MULTILINE)
    assert len(lines) > 15
    for option, argument in lines:
        change = [postconf, "-c", str(tmp_path), option, argument.replace('"', "")]
        done = subprocess.run(change, capture_output=True, text=True, check=False)
        assert (done.returncode, done.stderr) == (0, ""), argument
    found = subprocess.run(
        [postconf, "-c", str(tmp_path), "-n"], capture_output=True, text=True, check=True
    )
    assert "unused parameter" not in found.stderr
    assert "smtpd_sasl_path = private/auth" in found.stdout

"""The consent of a person at a provider that others wrote: panva's oidc-provider.

It is certified for OpenID Connect, wants PKCE, names itself in its answers (RFC 9207), and lets a
refresh token be used once. Who logs in there is whoever is typed, by its own pages.
"""

from __future__ import annotations

import urllib.parse
import urllib.request
from collections.abc import Iterator
from http.cookiejar import CookieJar
from pathlib import Path
from typing import Any

import pytest
from bs4 import BeautifulSoup

from flask_interaction_mail.storage.tables import TOKEN
from tests.integration.test_oauth_consent import (
    CONNECTED,
    EHLO,
    MAILBOX,
    begin,
    change,
    come_back,
    deliver,
    row,
    said,
    settings,
    trial,
)
from tests.panel import Panel, opened_panel
from tests.servers.programs import found, free_port
from tests.servers.scripted import Scripted, scripted
from tests.servers.stand.running import NODE, process
from tests.servers.token_server import CLIENT, SECRET

REDIRECT = f"http://localhost{CONNECTED}"


@pytest.fixture
def provider(tmp_path: Path) -> Iterator[str]:
    """The URL of one."""
    node = found("node")
    if node is None or not (NODE / "node_modules" / "oidc-provider").exists():
        pytest.skip("oidc-provider is missing: `make node-servers` fetches it from npm")
    script = Path(__file__).parents[1] / "servers/stand/npm/oidc-provider.mjs"
    port, modules = free_port(), {"NODE_PATH": str(NODE / "node_modules")}
    command = [node, script, str(port), CLIENT, SECRET, REDIRECT]
    with process(command, port, tmp_path / "log", environment=modules):
        yield f"http://127.0.0.1:{port}"


@pytest.fixture
def server() -> Iterator[Scripted]:
    with scripted({"EHLO": EHLO}) as running:
        yield running


@pytest.fixture
def panel(tmp_path: Path, server: Scripted, provider: str) -> Iterator[Panel]:
    class Urls:
        authorization_url, url = f"{provider}/auth", f"{provider}/token"

    (tmp_path / "crm").mkdir()
    with opened_panel(tmp_path / "crm", MAIL_SUPPRESS_SEND=False) as opened:
        scope = {"oauth_scope": "openid email offline_access"}
        opened.host.configure(**settings(server, Urls, **scope))  # type: ignore[arg-type]
        yield opened


class _Back(Exception):
    """The provider sends the browser back."""


class _Stopping(urllib.request.HTTPRedirectHandler):
    def redirect_request(
        self, req: Any, fp: Any, code: Any, msg: Any, headers: Any, url: str
    ) -> Any:
        if url.startswith(REDIRECT):
            raise _Back(url)
        return super().redirect_request(req, fp, code, msg, headers, url)


def in_browser(url: str, login: str, *, agree: bool = True) -> str:
    """Log in as ``login`` and agree, page by page; gives where the browser is sent back to."""
    opener = urllib.request.build_opener(
        urllib.request.HTTPCookieProcessor(CookieJar()), _Stopping()
    )
    fields: bytes | None = None
    for _ in range(6):
        try:
            with opener.open(url, fields, timeout=30) as answer:
                page, here = BeautifulSoup(answer.read(), "lxml"), answer.url
        except _Back as back:
            return str(back)
        form = page.select_one("form")
        assert form is not None, page.text
        if not agree:
            cancel = page.select_one("a[href*=abort]")
            assert cancel is not None
            url, fields = urllib.parse.urljoin(here, str(cancel["href"])), None
            continue
        typed = {"login": login, "password": "any"}
        values = {
            str(field["name"]): typed.get(str(field["name"]), str(field.get("value", "")))
            for field in form.select("input[name]")
        }
        url = urllib.parse.urljoin(here, str(form["action"]))
        fields = urllib.parse.urlencode(values).encode()
    raise AssertionError("it goes on for ever")


def test_mail_leaves_with_the_consent_of_a_person(panel: Panel, server: Scripted) -> None:
    """Connected, renewed twice, with a refresh token that changes; then disconnected."""
    text = come_back(panel, in_browser(begin(panel), MAILBOX))
    assert f"Connected as {MAILBOX}" in text
    deliver(panel)
    kept = {row(panel).consent}
    for _ in range(2):
        change(panel, token=None)
        deliver(panel)
        kept.add(row(panel).consent)
    assert len(kept) == 3
    assert len(server.messages) == 3
    assert "The mail server accepted the test message" in trial(panel)


def test_a_used_refresh_token_says_connect_again(panel: Panel, server: Scripted) -> None:
    """Which is what a crash leaves behind; the provider ends the whole consent then."""
    come_back(panel, in_browser(begin(panel), MAILBOX))
    before = row(panel)
    change(panel, token=None)
    deliver(panel)
    change(panel, token=None, consent=before.consent)
    deliver(panel)
    assert "Connect again: the provider does not count the consent any more" in said(panel)
    assert len(server.messages) == 1
    come_back(panel, in_browser(begin(panel), MAILBOX))
    panel.host.dispatcher().drain()
    assert len(server.messages) == 2


def test_who_does_not_agree_is_told_so(panel: Panel) -> None:
    """And so is who logs in as somebody else."""
    text = come_back(panel, in_browser(begin(panel), MAILBOX, agree=False))
    assert "Nothing was connected. The person did not agree, or may not." in text
    text = come_back(panel, in_browser(begin(panel), "boss@firm.example"))
    assert "Another account has agreed (boss@firm.example)" in text
    assert TOKEN.name not in text

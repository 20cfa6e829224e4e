"""What the page about OAuth 2 shows: the host's function with msal and with google-auth."""

from __future__ import annotations

import json
from types import SimpleNamespace
from typing import Any

import pytest

from flask_interaction_mail.delivery.tokens import from_host
from flask_interaction_mail.settings.relay import Relay, SignIn
from flask_interaction_mail.transport.smtp.timeouts import Until
from tests.canary import GIVEN
from tests.documentation import shown
from tests.servers.keys import service_account_json
from tests.servers.token_server import CLIENT, SECRET, TOKEN, token_server

RELAY = Relay(
    server="mail.x.test", use_authentication=True, sign_in=SignIn.HOST, login="crm@x.test"
)


class Given:
    """Takes the place of ``InteractionMail``: what it is given."""

    def __init__(self, **given: Any) -> None:
        self.access_token = given["access_token"]


def ran(library: str, **names: Any) -> Any:
    """The function that the page makes with ``library``."""
    block = shown("docs/oauth.md", library)
    names = {"InteractionMail": Given, "db": None, "admin": None, "directory": None, **names}
    exec(block, names)  # noqa: S102 - our own documentation
    return names["messaging"].access_token


def taken(function: Any) -> str:
    return from_host(function, RELAY, Until.within(10)).secret.reveal()


class Microsoft:
    """What msal speaks with, which insists on Microsoft's own addresses."""

    def __init__(self) -> None:
        self.asked: list[dict[str, str]] = []

    def get(self, url: str, **_: Any) -> Any:
        found = {
            "authorization_endpoint": f"{url}/authorize",
            "token_endpoint": f"{url}/token",
            "issuer": "https://login.microsoftonline.com/contoso.com/v2.0",
            "tenant_discovery_endpoint": url,
            "metadata": [],
        }
        return self._answer(found)

    def post(self, url: str, data: Any = None, **_: Any) -> Any:
        self.asked.append(dict(data))
        told = {"access_token": f"{TOKEN}-1", "token_type": "Bearer", "expires_in": 3600}
        return self._answer(told)

    def close(self) -> None: ...

    @staticmethod
    def _answer(told: Any) -> Any:
        return SimpleNamespace(
            status_code=200, text=json.dumps(told), headers={}, raise_for_status=lambda: None
        )


def test_the_hosts_function_with_msal(monkeypatch: pytest.MonkeyPatch) -> None:
    """It keeps the token by itself."""
    msal = pytest.importorskip("msal", reason="pip install msal")
    microsoft, application = Microsoft(), msal.ConfidentialClientApplication
    monkeypatch.setattr(
        msal,
        "ConfidentialClientApplication",
        lambda *given, **named: application(*given, **named, http_client=microsoft),
    )
    names = {"CLIENT_ID": CLIENT, "CLIENT_SECRET": SECRET, "TENANT": "contoso.com"}
    function = ran("import msal", **names)
    assert [taken(function), taken(function)] == [f"{TOKEN}-1"] * 2
    (asked,) = microsoft.asked
    assert asked["grant_type"] == "client_credentials"
    assert asked["scope"] == "https://outlook.office365.com/.default"


def test_the_hosts_function_with_google_auth(tmp_path: Any) -> None:
    """For the mailbox, and kept until it ends."""
    pytest.importorskip("google.oauth2", reason="pip install google-auth requests")
    pytest.importorskip("requests", reason="pip install google-auth requests")
    with token_server() as server:
        path = tmp_path / GIVEN / "key.json"
        path.parent.mkdir()
        path.write_text(service_account_json(server.url), "utf-8")
        function = ran("from google.oauth2", KEY_FILE=str(path))
        assert [taken(function), taken(function)] == [f"{TOKEN}-1"] * 2
        (asked,) = server.asked
        assert "assertion" in asked.fields
